"""Appends through `perdure serve`: unary at 64 connections and alone, then s2s sessions, over HTTP/1.1."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import uvloop

from perdure import AppendRecord

from .measure import Rates, Samples
from .payload import KIB, LARGEST_BODY, MIB, numbered
from .raw_http import Frames, Repeating, append_frame, head, records_path, unary_append
from .scenario import Limit, Row, Run, alone, at_least, at_most, check
from .served import Served, served

CONNECTIONS = 64
IN_FLIGHT_BYTES = 8 * MIB


async def _repeat(
    server: Served, stream: str, connections: int, each: int, *, shared: bool = False
) -> tuple[float, Samples]:
    """Requests a second of so many connections, and their latencies; each has a stream of its own unless `shared`.

    Every worker has as many connections: left to themselves, one may accept them all, and the others are idle.
    """
    loop = asyncio.get_running_loop()
    clients: list[Repeating] = []
    workers = server.workers()
    for turn, worker in enumerate(workers):
        with server.only(worker):
            for number in range(turn, connections, len(workers)):
                name = stream if shared else f"{stream}-{number}"
                request = unary_append(name, [AppendRecord(numbered(number, KIB))])
                _, client = await loop.create_connection(partial(Repeating, request, each), server.host, server.port)
                clients.append(client)
    started = time.perf_counter()
    for client in clients:
        client.start()
    await asyncio.gather(*(client.done for client in clients))
    seconds = time.perf_counter() - started
    samples = Samples()
    for client in clients:
        samples.extend(client.samples.values())
    return connections * each / seconds, samples


async def _unary(run: Run, server: Served) -> list[Row]:
    rows = [await _unary_at_once(run, server, shared=shared) for shared in (True, False)]
    _, lone = await _repeat(server, "lone", 1, run.pick(3000, 300))
    notes = f"p99 {lone.p99_ms:.2f} ms"
    return [*rows, Row("server: a lone unary append of 1 KB, p50", lone.p50_ms, "ms", at_most(1), notes)]


async def _unary_at_once(run: Run, server: Served, *, shared: bool) -> Row:
    stream, what = ("shared", "one stream") if shared else ("unary", f"{CONNECTIONS} streams")
    rounds, each = run.pick(5, 2), run.pick(800, 200)
    await _repeat(server, stream, CONNECTIONS, 100, shared=shared)
    rates, samples, cpu = Rates(), Samples(), 0.0
    for number in range(rounds):
        run.progress(f"unary appends to {what}: round {number + 1} of {rounds}")
        before = server.cpu_seconds()
        rate, found = await _repeat(server, stream, CONNECTIONS, each, shared=shared)
        cpu += server.cpu_seconds() - before
        rates.add(rate)
        samples.extend(found.values())
    return Row(
        f"server: unary appends of 1 KB on {CONNECTIONS} connections to {what}",
        rates.median,
        "requests/s",
        at_least(12_000),
        f"{rates.spread()}; p50 {samples.p50_ms:.1f} ms, p99 {samples.p99_ms:.1f} ms; "
        f"{cpu / len(samples) * 1e6:.0f} µs of the server's CPU a request",
    )


class AppendSession:
    """One s2s append session over HTTP/1.1 that counts its acks."""

    def __init__(self) -> None:
        self.acked = 0
        self._lost: Exception | None = None
        self._moved = asyncio.Event()
        self.frames: Frames

    @classmethod
    async def open(cls, server: Served, stream: str) -> AppendSession:
        session = cls()
        loop = asyncio.get_running_loop()
        _, session.frames = await loop.create_connection(
            lambda: Frames(session._on_ack, session._on_lost), server.host, server.port
        )
        fields = [("content-type", "s2s/proto"), ("transfer-encoding", "chunked")]
        session.frames.transport.write(head("POST", records_path(stream), fields))
        await session.frames.opened
        return session

    def _on_ack(self, _: bytes) -> None:
        self.acked += 1
        self._moved.set()

    def _on_lost(self, error: Exception) -> None:
        self._lost = error
        self._moved.set()

    async def wait_acked(self, count: int) -> None:
        while self.acked < count:
            if self._lost is not None:
                raise self._lost
            self._moved.clear()
            await self._moved.wait()

    async def close(self) -> None:
        self.frames.end_body()
        await self.frames.ended
        self.frames.close()


async def stream_batches(server: Served, stream: str, frame: bytes, batches: int) -> float:
    """Seconds for so many equal batches on one session, with a bounded number of bytes in flight."""
    window = max(2, IN_FLIGHT_BYTES // len(frame))
    session = await AppendSession.open(server, stream)
    started = time.perf_counter()
    for sent in range(batches):
        await session.wait_acked(sent + 1 - window)
        await session.frames.send_chunk(frame)
    await session.wait_acked(batches)
    seconds = time.perf_counter() - started
    await session.close()
    check(session.acked == batches, f"{batches} batches were sent, {session.acked} acknowledged")
    return seconds


async def _sessions(run: Run, server: Served) -> list[Row]:
    rows: list[Row] = []
    shapes: list[tuple[str, list[AppendRecord], int, str, Limit]] = [
        (
            "100 records of 1 KB",
            [AppendRecord(numbered(n, KIB)) for n in range(100)],
            1500,
            "records/s",
            at_least(60_000),
        ),
        (
            "1,000 records of 100 B",
            [AppendRecord(numbered(n, 100)) for n in range(1000)],
            800,
            "records/s",
            at_least(400_000),
        ),
        ("one record of 1 MiB", [AppendRecord(numbered(0, LARGEST_BODY))], 300, "MiB/s", at_least(80)),
    ]
    for what, records, batches, unit, limit in shapes:
        frame = append_frame(records)
        rates, cpu, count = Rates(), 0.0, run.pick(batches, batches // 10)
        rounds = run.pick(5, 2)
        stream = f"session-{len(rows)}"
        await stream_batches(server, stream, frame, max(count // 5, 10))
        for number in range(rounds):
            run.progress(f"s2s, {what}: round {number + 1} of {rounds}")
            before = server.cpu_seconds()
            rates.add(count * len(records) / await stream_batches(server, stream, frame, count))
            cpu += server.cpu_seconds() - before
        notes = f"{rates.spread()}; {cpu / rounds / count * 1e3:.2f} ms of the server's CPU a batch"
        rows.append(Row(f"server: one s2s append session, {what} a batch", rates.median, unit, limit, notes))
    rows.append(await _lone_batch(run, server))
    return rows


async def _lone_batch(run: Run, server: Served) -> Row:
    session, samples = await AppendSession.open(server, "session-lone"), Samples()
    frame = append_frame([AppendRecord(numbered(0, KIB))])
    for sent in range(run.pick(3000, 300)):
        with samples.timed():
            await session.frames.send_chunk(frame)
            await session.wait_acked(sent + 1)
    await session.close()
    return Row(
        "server: ack of a lone 1 KB batch in a session, p50",
        samples.p50_ms,
        "ms",
        at_most(1),
        f"p99 {samples.p99_ms:.2f} ms",
    )


async def _with_client_loop(run: Run) -> list[Row]:
    with served(run.store("served-append")) as server:
        return [*await _unary(run, server), *await _sessions(run, server)]


async def _two_workers(run: Run) -> Row:
    costs: list[float] = []
    rates: list[float] = []
    shares = 0.0
    for workers in (1, 2):
        run.progress(f"unary appends with {workers} worker(s)")
        with served(run.store(f"served-{workers}"), workers=workers) as server:
            await _repeat(server, "unary", CONNECTIONS, 100)
            before = server.cpu_seconds()
            rate, samples = await _repeat(server, "unary", CONNECTIONS, run.pick(1500, 200))
            costs.append((server.cpu_seconds() - before) / len(samples) * 1e6)
            rates.append(rate)
            shares = samples.p99_ms / samples.p50_ms
    return Row(
        "server: CPU a unary append, two workers against one",
        costs[1] / costs[0],
        "×",
        at_most(1.15),
        f"{costs[0]:.0f} and {costs[1]:.0f} µs; {rates[0]:,.0f} and {rates[1]:,.0f} requests/s; "
        f"p99 / p50 with two {shares:.1f}",
    )


async def run(run: Run) -> list[Row]:
    # The client must not be what is measured, so it gets the fast loop as the server does.
    def on_fast_loop() -> list[Row]:
        async def both() -> list[Row]:
            return [*await _with_client_loop(run), await _two_workers(run)]

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(both())

    return await asyncio.to_thread(on_fast_loop)


if __name__ == "__main__":
    alone(run)
