"""How far one PostgreSQL goes, what gives way first, and what it costs: a model of a few lines on measured numbers.

    python -m tools.scaling              the tables of docs/beyond-one-machine.md
    python -m tools.scaling --write      the same, into the page

It is a model: CPU, log and notifications are taken as proportional to what is done, which was measured on two cores.
What it leaves out is said in the page.
"""

from __future__ import annotations

import argparse
import heapq
import random
import re
import sys
from math import ceil
from pathlib import Path
from statistics import quantiles
from typing import Final

from msgspec import Struct

PAGE: Final = Path(__file__).parents[1] / "docs" / "beyond-one-machine.md"
MIB: Final = 1 << 20
GIB: Final = 1 << 30
MONTH_SECONDS: Final = 30 * 86_400
ROOM: Final = 0.6
"""How much of a resource is used at most: the rest is for vacuum, checkpoints and a node that is being replaced."""


class Measured(Struct, frozen=True):
    """On two cores with PostgreSQL 15, in November 2026: `bench.replicated`, and what the database said of itself."""

    primary_batch_us: float = 50.0  # 2 cores at 26,580 batches of 1 KB a second are 75 µs, of which 25 are the engine's
    primary_mib_us: float = 1500.0  # more for each MiB in the batches: blocks of 100 KB at 2,340 a second
    log_batch_bytes: float = 440.0
    log_factor: float = 1.07
    stored_factor: float = 1.08
    commit_ms: float = 1.2  # on two of three nodes, alone
    ring_us: float = 10.0
    ring_listener_us: float = 6.5  # for each server that listens: 93 µs with 10 of them, 253 with 40
    rings: float = 1000.0  # of one server at most; what comes meanwhile goes with the next
    server_batch_us: float = 25.0
    server_delivery_us: float = 40.0  # a batch to a follower as a server-sent event: an assumption
    connections: int = 9
    failover_seconds: float = 2.3


class Node(Struct, frozen=True):
    """A machine for PostgreSQL, as an assumption: eight cores, a disk that syncs so much, and what it costs."""

    cores: int = 8
    log_mib: float = 200.0
    disk_gib: float = 16_384.0
    connections: int = 500
    month: float = 400.0
    disk_gib_month: float = 0.10


class Prices(Struct, frozen=True):
    """Of s2.dev in USD, as public repositories quote its price page in 2026; nobody here could look at the page."""

    read_minute: float = 1e-6
    written_gib: float = 0.05
    read_gib: float = 0.10
    stored_gib_month: float = 0.05


class Workload(Struct, frozen=True):
    """What is done at the peak, and how much of it on average."""

    name: str
    average: float
    batches: float
    batch_bytes: float
    followers: float
    read_factor: float
    kept_days: float


WORKLOADS: Final = (
    Workload(
        "1,000 answers at once, 5 batches of 500 bytes a second each, two tabs on each", 0.25, 5_000, 500, 2_000, 2, 30
    ),
    Workload("20,000 answers at once, the same", 0.25, 100_000, 500, 40_000, 2, 30),
    Workload("an event log: 50 MB/s in batches of 100 KB, read three times, kept a week", 1.0, 500, 100_000, 3, 3, 7),
)


class Plan(Struct, frozen=True):
    """What a workload takes, for the clusters that it is spread over."""

    servers: int
    clusters: int
    shares: dict[str, float]
    """How much of each resource of a cluster is used, its room taken as the whole."""

    @property
    def first(self) -> str:
        """What gives way first."""
        return max(self.shares, key=lambda name: self.shares[name])


def stored_gib(work: Workload) -> float:
    """What is kept of the records."""
    return work.average * work.batches * work.batch_bytes * work.kept_days * 86_400 / GIB


def servers_for(work: Workload, measured: Measured) -> int:
    """Processes of `perdure serve`, a core each."""
    deliveries = work.batches * work.read_factor
    cores = (work.batches * measured.server_batch_us + deliveries * measured.server_delivery_us) / 1e6
    return max(2, ceil(cores / ROOM))


def shares(work: Workload, clusters: int, measured: Measured, node: Node) -> dict[str, float]:
    """How much of each resource of one of so many clusters is used."""
    batches, servers = work.batches / clusters, servers_for(work, measured)
    each_rings = min(measured.rings, batches / servers)
    ring_us = measured.ring_us + measured.ring_listener_us * servers
    appending = batches * (measured.primary_batch_us + work.batch_bytes / MIB * measured.primary_mib_us)
    ringing = servers * each_rings * ring_us
    log = batches * (measured.log_batch_bytes + measured.log_factor * work.batch_bytes) / MIB
    stored = stored_gib(work) * measured.stored_factor / clusters
    return {
        "CPU of the primary": (appending + ringing) / 1e6 / node.cores / ROOM,
        "its log": log / node.log_mib / ROOM,
        "its disk": stored / node.disk_gib / ROOM,
        "its connections": servers * measured.connections / node.connections / ROOM,
    }


def plan(work: Workload, measured: Measured, node: Node) -> Plan:
    """The fewest clusters, each a location, that leave the room that `ROOM` says."""
    clusters = 1
    while True:
        used = shares(work, clusters, measured, node)
        shared = {name: share for name, share in used.items() if name != "its connections"}
        if max(shared.values()) <= 1 or clusters >= 1000:  # every server is connected to every location
            return Plan(servers_for(work, measured), clusters, used)
        clusters += 1


def cost(work: Workload, made: Plan, node: Node) -> float:
    """A month of three nodes for each cluster, with the disks that are filled, and of a core for each server."""
    stored = stored_gib(work) * Measured().stored_factor
    machines = 3 * made.clusters * node.month + made.servers * node.month / node.cores
    return machines + 3 * stored / ROOM * node.disk_gib_month


def cost_at_s2(work: Workload, prices: Prices) -> float:
    """A month, with a session for each follower and appends over sessions, whose price is next to nothing."""
    written = work.average * work.batches * work.batch_bytes * MONTH_SECONDS / GIB
    moved = written * (prices.written_gib + work.read_factor * prices.read_gib)
    following = work.average * work.followers * MONTH_SECONDS / 60 * prices.read_minute
    return moved + following + stored_gib(work) * prices.stored_gib_month


def latencies(
    load: float, measured: Measured, node: Node, *, seconds: float = 0.5, seed: int = 1
) -> tuple[float, float]:
    """The p50 and p99 of appends in milliseconds while the primary's CPU is used to `load`.

    Simulated: batches come at random to eight servers with two writers each; a writer takes all that waits, has a core
    work on it, and waits for the commit.
    """
    dice = random.Random(seed)
    rate = load * node.cores * 1e6 / measured.primary_batch_us
    queues: list[list[float]] = [[] for _ in range(16)]
    cores = [0.0] * node.cores
    events: list[tuple[float, int, bool]] = [(0.0, 0, True)]
    busy = [False] * len(queues)
    taken: list[float] = []

    def begin(now: float, writer: int) -> None:
        group, queues[writer] = queues[writer], []
        busy[writer] = True
        start = max(now, heapq.heappop(cores))
        worked = start + len(group) * measured.primary_batch_us / 1e6
        heapq.heappush(cores, worked)
        done = worked + measured.commit_ms / 1e3
        taken.extend([done - came for came in group])
        heapq.heappush(events, (done, writer, False))

    while events:
        now, writer, is_new = heapq.heappop(events)
        if is_new:
            chosen = dice.randrange(len(queues))
            queues[chosen].append(now)
            if not busy[chosen]:
                begin(now, chosen)
            if now < seconds:
                heapq.heappush(events, (now + dice.expovariate(rate), 0, True))
        elif queues[writer]:
            begin(now, writer)
        else:
            busy[writer] = False
    cuts = quantiles(taken, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


def tables(measured: Measured, node: Node, prices: Prices) -> str:
    lines = [
        "| workload | clusters | servers | of one cluster's room | a month here | at s2.dev |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for work in WORKLOADS:
        made = plan(work, measured, node)
        used = ", ".join(f"{name} {share:.0%}" for name, share in made.shares.items() if share >= 0.005)
        here, there = cost(work, made, node), cost_at_s2(work, prices)
        lines.append(f"| {work.name} | {made.clusters} | {made.servers} | {used} | ${here:,.0f} | ${there:,.0f} |")
    lines += ["", "| load of the primary's CPU | batches a second | p50 | p99 |", "|---:|---:|---:|---:|"]
    for load in (0.25, 0.5, 0.75, 0.95):
        p50, p99 = latencies(load, measured, node)
        rate = load * node.cores * 1e6 / measured.primary_batch_us
        lines.append(f"| {load:.0%} | {rate:,.0f} | {p50:.1f} ms | {p99:.1f} ms |")
    return "\n".join(lines)


_PLACE: Final = re.compile(r"(<!-- scaling -->\n\n)(?:.*?\n\n)??(<!-- end -->)", re.DOTALL)


def page(text: str, found: str) -> str:
    """The page with these tables in it."""
    return _PLACE.sub(lambda place: f"{place[1]}{found}\n\n{place[2]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.scaling")
    parser.add_argument("--write", action="store_true", help="write them into the page")
    parser.add_argument("--cores", type=int, default=Node().cores, help="of each node of PostgreSQL")
    parser.add_argument("--month", type=float, default=Node().month, help="what such a node costs, without its disk")
    chosen = parser.parse_args()
    found = tables(Measured(), Node(cores=chosen.cores, month=chosen.month), Prices())
    if chosen.write:
        PAGE.write_text(page(PAGE.read_text(), found))
    else:
        sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main()
