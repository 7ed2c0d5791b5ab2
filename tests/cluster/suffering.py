"""A cluster under load, with servers in front of it, to which faults are done one after the other."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.client.cutting_proxy import CuttingProxy, Fate, cutting
from tests.client.enduring import PATIENT
from tests.cluster.faults import Fault, World
from tests.cluster.load import Load, clients_of
from tests.linearizable.clients import NEVER_TWICE
from tools.cluster.nodes import PASSWORD, ROLE, PostgresCluster
from tools.cluster.programs import HOST
from tools.cluster.servers import PerdureServer, running

SERVERS = 3
FATES = (Fate.CUT, Fate.CLOSE, Fate.SWALLOW, Fate.HALF_CLOSE, Fate.DELAY, Fate.STALL)


@asynccontextmanager
async def linked_servers(
    cluster: PostgresCluster, database: str, logs: Path, seed: int
) -> AsyncIterator[tuple[list[PerdureServer], list[CuttingProxy]]]:
    """Three servers that reach each node through a proxy that may mistreat their connections."""
    async with AsyncExitStack() as opened:
        links = [await opened.enter_async_context(cutting(node.port, seed, FATES)) for node in cluster.nodes]
        for link in links:
            link.mischief = False
        hosts = ",".join(f"{HOST}:{link.port}" for link in links)
        url = f"postgresql://{ROLE}:{PASSWORD}@{hosts}/{database}"
        servers = [PerdureServer(f"perdure{n}", url, logs / f"perdure{n}.log") for n in range(SERVERS)]
        await opened.enter_async_context(running(servers))
        yield servers, links


async def suffer(cluster: PostgresCluster, faults: Sequence[Fault], seed: int, logs: Path) -> None:
    """Do all of it, one thing after the other, to a cluster under load."""
    print(f"seed {seed}: {', '.join(fault.__name__ for fault in faults)}")
    database = f"proof_{seed}"
    await cluster.create_database(database)
    async with linked_servers(cluster, database, logs, seed) as (servers, links):
        urls = [server.url for server in servers]
        async with clients_of(urls, PATIENT) as patient, clients_of(urls, NEVER_TWICE) as exact:
            load = Load(patient, exact, seed)
            world = World(cluster, servers, links, load, random.Random(seed))
            async with asyncio.TaskGroup() as tasks:
                await load.begin(tasks)
                await load.wait_for_progress()
                for fault in faults:
                    begun = time.monotonic()
                    await fault(world)
                    print(f"{fault.__name__}: {time.monotonic() - begun:.1f} s until all was well again")
                await load.wait_for_progress()
                load.end()
            print(await load.check(logs / f"history-{seed}.jsonl"))
