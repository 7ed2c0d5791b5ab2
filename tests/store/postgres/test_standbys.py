"""Commits that wait for a synchronous standby: what is not there yet is not acknowledged, whatever the server says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from perdure.model.batches import AppendAck
from perdure.store.catalogue import StreamId
from perdure.store.postgres import PostgresEngine
from tests.store.making import batch, bodies_of, eventually, make_stream
from tests.store.postgres.cutting_proxy import cutting_proxy
from tools.cluster.postgres import PostgresServer, postgres_server

_WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, whose settings it changes."""
    with postgres_server() as server:
        yield server


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_that_did_not_wait_for_its_standby_is_not_acknowledged(server: PostgresServer, end: str) -> None:
    """An administrator who ends the wait makes the commit succeed, with a warning that it may be lost."""

    async def execute(sql: str) -> str:
        return await asyncio.to_thread(server.execute, sql)

    async def waiting() -> set[str]:
        return set((await execute(_WAITING)).split())

    engine = await PostgresEngine.open(server.url(), maintain=False)
    try:
        stream = await make_stream(engine)
        await engine.append(stream, batch("first"))
        await execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await execute("SELECT pg_reload_conf()")

        async def nobody_is_waited_for() -> bool:
            return await execute("SHOW synchronous_standby_names") == "nobody"

        await eventually(nobody_is_waited_for)
        appending, number = await append_until_one_waits(engine, stream, execute)
        ended: set[str] = set()

        async def another_waits() -> bool:
            return not await waiting() <= ended

        for _ in range(3):  # the commit, and the looks at what became of it
            await eventually(another_waits)
            now = await waiting() - ended
            ended.update(now)
            for pid in now:
                await execute(f"SELECT {end}({pid})")
            assert not appending.done()
        await execute("ALTER SYSTEM RESET synchronous_standby_names")
        await execute("SELECT pg_reload_conf()")
        assert (await appending).end.seq_num == 1 + number
        assert await bodies_of(engine, stream) == ["first", *["second"] * number]
    finally:
        await execute("ALTER SYSTEM RESET synchronous_standby_names")
        await execute("SELECT pg_reload_conf()")
        await engine.aclose()


async def test_while_a_standby_is_away_commits_do_not_pile_up(server: PostgresServer) -> None:
    """Each connection that registers would wait for the standby as well, and the server would run out of them."""

    async def execute(sql: str) -> str:
        return await asyncio.to_thread(server.execute, sql)

    async with cutting_proxy(server.port) as (proxy, port):
        engine = await PostgresEngine.open(server.url().replace(f":{server.port}/", f":{port}/"), maintain=False)
        try:
            stream = await make_stream(engine)
            await engine.append(stream, batch("first"))
            await execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            await execute("SELECT pg_reload_conf()")
            appending, number = await append_until_one_waits(engine, stream, execute)
            proxy.cut_all()
            before = proxy.accepted

            async def has_tried_often() -> bool:
                return proxy.accepted > before + 5

            await eventually(has_tried_often)
            assert await holds(execute, f"SELECT count(*) = 1 FROM ({_WAITING}) AS w")
            assert not appending.done()
            await execute("ALTER SYSTEM RESET synchronous_standby_names")
            await execute("SELECT pg_reload_conf()")
            assert (await appending).end.seq_num == 1 + number
            assert await bodies_of(engine, stream) == ["first", *["second"] * number]
        finally:
            await execute("ALTER SYSTEM RESET synchronous_standby_names")
            await execute("SELECT pg_reload_conf()")
            await engine.aclose()


async def append_until_one_waits(
    engine: PostgresEngine, stream: StreamId, execute: Callable[[str], Awaitable[str]]
) -> tuple[asyncio.Future[AppendAck], int]:
    """An append that waits for its standby, and how many there were: a setting takes effect some time after `SHOW` has
    it, and what is committed until then waits for nobody."""
    number = 0
    while True:
        number += 1
        appending = engine.append(stream, batch("second"))

        async def is_decided(appending: asyncio.Future[AppendAck] = appending) -> bool:
            return appending.done() or await holds(execute, f"SELECT count(*) = 1 FROM ({_WAITING}) AS w")

        await eventually(is_decided)
        if not appending.done():
            return appending, number


async def holds(execute: Callable[[str], Awaitable[str]], sql: str) -> bool:
    return await execute(sql) == "t"


async def test_a_crash_loses_and_doubles_nothing(server: PostgresServer) -> None:
    """Clients append one after the other while the server is killed and started again."""
    engine = await PostgresEngine.open(server.url(), maintain=False)
    try:
        stream = await make_stream(engine)
        stop = asyncio.Event()

        async def append(who: str) -> list[tuple[int, str]]:
            acked: list[tuple[int, str]] = []
            while not stop.is_set():
                text = f"{who} {len(acked)}"
                acked.append(((await engine.append(stream, batch(text))).start.seq_num, text))
            return acked

        async with asyncio.TaskGroup() as tasks:
            appending = [tasks.create_task(append(f"c{number}")) for number in range(5)]
            for _ in range(2):
                before = (await engine.state(stream)).tail

                async def has_grown(before: int = before) -> bool:
                    return (await engine.state(stream)).tail > before + 20

                await eventually(has_grown)
                server.kill()
                server.start()  # from this thread, with whose end the server would end
            await eventually(has_grown)
            stop.set()
        bodies = await bodies_of(engine, stream)
        acked = [entry for task in appending for entry in task.result()]
        assert sorted(bodies) == sorted(text for _, text in acked)
        assert all(bodies[seq_num] == text for seq_num, text in acked)
    finally:
        await engine.aclose()
