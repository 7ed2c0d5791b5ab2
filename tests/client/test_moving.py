"""Sessions follow the advice of a server that is about to stop: they move, and nothing is lost, doubled or late."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure import S2, AppendRecord, AppendSession, ReadSession, SeqNum, Stream
from perdure.client.retries import RetryPolicy
from perdure.server.app import ServerApp
from perdure.store.sqlite import SqliteEngine
from tests.client.http_server import HOST, serving_app
from tests.client.losing_proxy import LosingProxy, losing
from tests.serve_command import ServeCommand

BASIN = "moving-basin"
LAST = "the last one"
NEVER_AGAIN = RetryPolicy(max_attempts=1)
"""What fails, fails: a move must not need a retry."""
ONE_MOVE = RetryPolicy(max_attempts=1, min_delay_ms=3_600_000, max_delay_ms=3_600_000)
"""The same, and no second move within the time of a test."""


@dataclass(frozen=True)
class Server:
    port: int
    app: ServerApp


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    engine = await SqliteEngine.open(":memory:")
    try:
        async with serving_app(engine) as (port, app):
            yield Server(port, app)
    finally:
        await engine.aclose()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[LosingProxy]:
    async with losing(server.port) as proxy:
        yield proxy


@pytest.fixture
async def stream(proxy: LosingProxy) -> AsyncIterator[Stream]:
    async with S2(endpoints=f"http://{HOST}:{proxy.port}", retries=ONE_MOVE) as s2:
        basin = await s2.basins.create(BASIN)
        yield await basin.streams.create("s")


def one(number: int) -> list[AppendRecord]:
    return [AppendRecord(str(number))]


async def bodies(stream: Stream) -> list[str]:
    async with stream.read_session(SeqNum(0), wait=0) as records:
        return [record.text async for record in records]


async def test_an_append_session_moves_once_and_keeps_the_order(
    server: Server, proxy: LosingProxy, stream: Stream
) -> None:
    async with stream.append_session() as session:
        await (await session.submit(one(0), match_seq_num=0))
        assert proxy.connections == 1
        server.app.advise_reconnect()
        tickets = [await session.submit(one(number), match_seq_num=number) for number in range(1, 100)]
        await tickets[0]  # by it comes the advice
        tickets += [await session.submit(one(number), match_seq_num=number) for number in range(100, 200)]
        await asyncio.gather(*tickets)
        assert proxy.connections == 2, "the advice of the new session, which is on the same server, leads nowhere"
        for number in range(200, 210):
            await (await session.submit(one(number), match_seq_num=number))
        assert proxy.connections == 2
    assert await bodies(stream) == [str(number) for number in range(210)]


async def test_sessions_that_came_to_a_server_that_stops_as_well_move_again(server: Server, proxy: LosingProxy) -> None:
    """Workers that are replaced at the same time do not hear of it in the same moment."""
    at_once = RetryPolicy(max_attempts=1, min_delay_ms=0, max_delay_ms=0)
    async with S2(endpoints=f"http://{HOST}:{proxy.port}", retries=at_once) as s2:
        stream = await (await s2.basins.create(BASIN)).streams.create("s")
        server.app.advise_reconnect()
        count = 0
        async with stream.append_session() as session:
            while proxy.connections < 4:
                await (await session.submit(one(count), match_seq_num=count))
                count += 1
        before = proxy.connections
        async with stream.read_session(SeqNum(0)) as records:
            seen = [(await anext(records)).text for _ in range(count)]
            while proxy.connections < before + 3:
                await stream.append(one(count))
                seen.append((await anext(records)).text)
                count += 1
        assert seen == [str(number) for number in range(count)]


async def test_an_append_session_that_finds_no_other_server_stays(
    server: Server, proxy: LosingProxy, stream: Stream
) -> None:
    async with stream.append_session() as session:
        await (await session.submit(one(0)))
        assert proxy.server is not None
        proxy.server.close()  # no new connection, and the old one goes on
        server.app.advise_reconnect()
        for number in range(1, 50):
            await (await session.submit(one(number)))
    assert proxy.connections == 1
    async with S2(endpoints=f"http://{HOST}:{server.port}") as s2:
        assert len(await bodies(s2.basin(BASIN).stream("s"))) == 50


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_closing_while_it_moves(server: Server, stream: Stream, steps: int) -> None:
    before = asyncio.all_tasks()
    session = await stream.append_session().__aenter__()
    server.app.advise_reconnect()
    tickets = [await session.submit(one(number)) for number in range(3)]
    await tickets[0]
    for _ in range(steps):
        await asyncio.sleep(0)
    await session.abandon()
    assert [task for task in asyncio.all_tasks() - before if "perdure.client" in str(task.get_coro())] == []


async def test_a_read_session_moves_once_and_misses_nothing(server: Server, proxy: LosingProxy, stream: Stream) -> None:
    async with stream.read_session(SeqNum(0)) as records:
        await stream.append(one(0))
        assert (await anext(records)).text == "0"
        server.app.advise_reconnect()
        for number in range(1, 20):
            await stream.append(one(number))
            assert (await anext(records)).text == str(number)
        assert await records.caught_up() == await stream.check_tail()
    assert proxy.connections == 2


async def test_a_read_session_that_finds_no_other_server_stays(
    server: Server, proxy: LosingProxy, stream: Stream
) -> None:
    async with S2(endpoints=f"http://{HOST}:{server.port}") as s2:
        direct = s2.basin(BASIN).stream("s")
        async with stream.read_session(SeqNum(0)) as records:
            assert proxy.server is not None
            proxy.server.close()
            server.app.advise_reconnect()
            for number in range(20):
                await direct.append(one(number))
                assert (await anext(records)).text == str(number)


async def test_a_read_with_nothing_left_does_not_move(server: Server, proxy: LosingProxy, stream: Stream) -> None:
    await stream.append(one(0))
    server.app.advise_reconnect()
    async with stream.read_session(SeqNum(0), count=1) as records:
        assert [record.text async for record in records] == ["0"]
    async with stream.read_session(SeqNum(0)) as following:
        await anext(following)
    assert proxy.connections == 1


async def test_a_call_leaves_a_server_that_refuses_it_because_it_stops(server: Server, proxy: LosingProxy) -> None:
    """Each attempt would be refused on that connection, however long the server takes to drain."""
    endpoints = f"http://{HOST}:{proxy.port}"
    async with S2(endpoints=endpoints, retries=RetryPolicy(max_attempts=2, min_delay_ms=1)) as s2:
        await s2.basins.create(BASIN)
        async with losing(server.port):
            server.app.start_draining()
            with pytest.raises(Exception, match="stop"):
                await s2.basins.get_config(BASIN)
    assert proxy.connections == 2


async def append_until(over: asyncio.Event, session: AppendSession) -> int:
    """Append five records at a time, each of which must get the next number. Gives how many there are."""
    count = 0
    while not over.is_set():
        tickets = [await session.submit(one(count + index), match_seq_num=count + index) for index in range(5)]
        for ticket in tickets:
            assert (await ticket).start.seq_num == count
            count += 1
    _ = await session.submit([AppendRecord(LAST)])
    return count


async def follow(session: ReadSession) -> int:
    """Read to the last record, each of which must be the next. Gives how many there were before it."""
    seen = 0
    async for record in session:
        assert record.seq_num == seen
        if record.text == LAST:
            break
        assert record.text == str(seen)
        seen += 1
    return seen


async def test_workers_are_replaced_under_sessions_that_may_not_fail(tmp_path: Path) -> None:
    init = tmp_path / "init.json"
    init.write_text(json.dumps({"basins": [{"name": BASIN, "streams": [{"name": "s"}]}]}))
    over = asyncio.Event()
    async with ServeCommand(tmp_path / "data", "--workers", "2", "--init-file", str(init)) as server:
        async with S2(endpoints=server.url, retries=NEVER_AGAIN) as s2:
            stream = s2.basin(BASIN).stream("s")
            async with (
                stream.append_session() as session,
                stream.read_session(SeqNum(0)) as records,
                asyncio.TaskGroup() as tasks,
            ):
                following = tasks.create_task(follow(records))
                appending = tasks.create_task(append_until(over, session))
                for times in (1, 2):
                    server.send(signal.SIGHUP)
                    await server.wait_for_log("all workers were replaced", times=times)
                over.set()
            assert following.result() == appending.result() > 0
        assert await server.stop() == 0
