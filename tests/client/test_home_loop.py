"""A client belongs to one event loop, embedded and over HTTP; elsewhere it says so and does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from perdure import S2, AppendRecord, SeqNum, UsageError
from perdure.store.sqlite import SqliteEngine
from tests.client.http_server import HOST, serving_engine

BASIN = "one-loop-basin"


@pytest.fixture(params=["embedded", "http"])
async def s2(request: pytest.FixtureRequest) -> AsyncIterator[S2]:
    if request.param == "embedded":
        async with S2.open(":memory:") as s2:
            yield s2
        return
    engine = await SqliteEngine.open(":memory:")
    try:
        async with serving_engine(engine) as port, S2(endpoints=f"http://{HOST}:{port}") as s2:
            yield s2
    finally:
        await engine.aclose()


async def test_another_loop_is_refused_and_the_first_goes_on(s2: S2) -> None:
    stream = await (await s2.basins.create(BASIN)).streams.create("s")
    calls: list[Callable[[], Awaitable[object]]] = [
        stream.check_tail,
        lambda: stream.append([AppendRecord("x")]),
        lambda: stream.read(SeqNum(0)),
        stream.append_session().__aenter__,
        stream.producer().__aenter__,
        stream.read_session().__aenter__,
        s2.basins.list,
        s2.aclose,
    ]

    async def elsewhere() -> None:
        for call in calls:
            with pytest.raises(UsageError, match="another event loop"):
                await call()

    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert (await stream.append([AppendRecord("x")])).start.seq_num == 0
    async with stream.append_session() as session:
        assert (await (await session.submit([AppendRecord("y")]))).start.seq_num == 1
