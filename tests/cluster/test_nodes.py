"""The nodes of `deploy/` do what they are for: another leads soon, and has everything that was acknowledged."""

from __future__ import annotations

import asyncio

import pytest

from tools.cluster.nodes import PostgresCluster
from tools.cluster.programs import ProgramFailed

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.soak
async def test_a_primary_that_crashes_is_replaced_by_a_node_that_has_everything(cluster: PostgresCluster) -> None:
    primary = await cluster.wait_for_leader()
    await primary.execute("CREATE TABLE crash AS SELECT generate_series(1, 100) AS x")
    primary.kill_postgres()
    successor = await cluster.wait_for_leader(other_than=primary)
    assert await successor.execute("SELECT count(*) FROM crash") == "100"
    await successor.execute("INSERT INTO crash VALUES (101)")
    await cluster.wait_until_whole()
    assert await primary.execute("SELECT pg_is_in_recovery()") == "t"


async def test_nothing_is_acknowledged_by_one_node_alone(cluster: PostgresCluster) -> None:
    primary = await cluster.wait_for_leader()
    await primary.execute("CREATE TABLE alone (x int)")
    standbys = await cluster.standbys()
    for standby in standbys:
        standby.pause()
    insert = asyncio.create_task(primary.execute("INSERT INTO alone VALUES (1)"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'INSERT INTO alone%'"
    async with asyncio.timeout(60):
        while await primary.execute(waiting) != "1":  # noqa: ASYNC110  # seen from within the database only
            await asyncio.sleep(0.1)
    assert not insert.done()
    assert await primary.execute("SELECT count(*) FROM alone") == "0", "nobody sees it either"
    standbys[0].resume()
    await insert
    assert await primary.execute("SELECT count(*) FROM alone") == "1"


@pytest.mark.soak
async def test_the_primary_is_moved_on_purpose(cluster: PostgresCluster) -> None:
    primary = await cluster.wait_for_leader()
    await primary.execute("CREATE TABLE moved (x int)")
    successor = (await cluster.standbys())[0]
    await cluster.switch_over(to=successor)
    assert await cluster.wait_for_leader() is successor
    await successor.execute("INSERT INTO moved VALUES (1)")
    await cluster.wait_until_whole()
    with pytest.raises(ProgramFailed, match="read-only"):
        await primary.execute("INSERT INTO moved VALUES (2)")


@pytest.mark.soak
async def test_a_primary_that_hangs_is_replaced_and_follows_when_it_wakes(cluster: PostgresCluster) -> None:
    primary = await cluster.wait_for_leader()
    await primary.execute("CREATE TABLE hung (x int)")
    primary.pause()
    successor = await cluster.wait_for_leader(other_than=primary)
    await successor.execute("INSERT INTO hung VALUES (1)")
    primary.resume()
    await cluster.wait_until_whole()
    assert await cluster.leader() is successor
    assert await primary.execute("SELECT count(*) FROM hung") == "1"


@pytest.mark.soak
async def test_a_node_whose_power_fails_is_replaced_and_follows_when_it_is_back(cluster: PostgresCluster) -> None:
    primary = await cluster.wait_for_leader()
    await primary.execute("CREATE TABLE dark (x int)")
    await primary.kill()
    successor = await cluster.wait_for_leader(other_than=primary)
    await successor.execute("INSERT INTO dark VALUES (1)")
    await cluster.heal()
    assert await primary.execute("SELECT count(*) FROM dark") == "1"
