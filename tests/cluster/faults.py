"""What can befall a cluster, one thing at a time: each is done, appends go on, and what was broken is mended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from tests.client.cutting_proxy import CuttingProxy
from tests.cluster.load import PROGRESS_SECONDS, Load
from tools.cluster.nodes import PostgresCluster
from tools.cluster.servers import PerdureServer

CUTS: Final = 12


class World:
    """A cluster under load, and what decides at random."""

    def __init__(
        self,
        cluster: PostgresCluster,
        servers: Sequence[PerdureServer],
        links: Sequence[CuttingProxy],
        load: Load,
        chance: random.Random,
    ) -> None:
        self.cluster = cluster
        self.servers = servers
        self.links = links
        """Between the servers and the nodes; they do no mischief unless told to."""
        self.load = load
        self.chance = chance


Fault: TypeAlias = Callable[[World], Awaitable[None]]


async def crash_postgres(world: World) -> None:
    """PostgreSQL of the primary crashes, and its Patroni hands over."""
    primary = await world.cluster.wait_for_leader()
    primary.kill_postgres()
    await world.cluster.wait_for_leader(other_than=primary)
    await world.load.wait_for_progress()
    await world.cluster.heal()


async def kill_primary(world: World) -> None:
    """The machine of the primary is gone, and later there again."""
    primary = await world.cluster.wait_for_leader()
    await primary.kill()
    await world.load.wait_for_progress()
    assert await world.cluster.wait_for_leader() is not primary
    await world.cluster.heal()


async def kill_standby(world: World) -> None:
    standby = world.chance.choice(await world.cluster.standbys())
    await standby.kill()
    await world.load.wait_for_progress()
    await world.cluster.heal()


async def kill_server(world: World) -> None:
    """A Perdure server is gone, and there again at once: its clients have no other address."""
    server = world.chance.choice(world.servers)
    await server.kill()
    await server.start()
    await world.load.wait_for_progress()


async def hang_primary(world: World) -> None:
    """The primary stops in the middle of whatever it does, wakes when another leads, and must follow that."""
    primary = await world.cluster.wait_for_leader()
    primary.pause()
    try:
        await world.cluster.wait_for_leader(other_than=primary)
        await world.load.wait_for_progress()
    finally:
        primary.resume()
    await world.load.wait_for_progress()
    await world.cluster.heal()
    assert await world.cluster.wait_for_leader() is not primary


async def switch_over(world: World) -> None:
    """Another node leads, on purpose."""
    await world.cluster.switch_over(to=world.chance.choice(await world.cluster.standbys()))
    await world.load.wait_for_progress()
    await world.cluster.heal()


async def cut_links(world: World) -> None:
    """Connections between the servers and the database are cut, half cut and stalled."""
    met = sum(len(link.fates) for link in world.links)
    for link in world.links:
        link.mischief = True
    async with asyncio.timeout(PROGRESS_SECONDS):
        while sum(len(link.fates) for link in world.links) < met + CUTS:
            await world.load.wait_for_progress()
    for link in world.links:
        link.mischief = False
    await world.load.wait_for_progress()


SHORT: tuple[Fault, ...] = (crash_postgres, kill_server)
ALL: tuple[Fault, ...] = (
    crash_postgres,
    kill_primary,
    kill_standby,
    kill_server,
    hang_primary,
    switch_over,
    cut_links,
)
