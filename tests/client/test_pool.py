"""A client belongs to one event loop, and does not go unnoticed (`client.pool`)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from perdure import S2, Stream, StreamPosition, UsageError
from perdure.store.sqlite import SqliteEngine
from tests.client.http_server import HOST, serving_app
from tests.client.losing_proxy import LosingProxy, losing

BASIN = "one-loop-basin"


@pytest.fixture
async def proxy() -> AsyncIterator[LosingProxy]:
    engine = await SqliteEngine.open(":memory:")
    try:
        async with serving_app(engine) as (port, _), losing(port) as proxy:
            yield proxy
    finally:
        await engine.aclose()


@pytest.fixture
async def stream(proxy: LosingProxy) -> AsyncIterator[Stream]:
    async with S2(endpoints=f"http://{HOST}:{proxy.port}") as s2:
        yield await (await s2.basins.create(BASIN)).streams.create("s")


async def test_another_loop_is_refused_and_the_first_goes_on(stream: Stream) -> None:
    assert await stream.check_tail() == StreamPosition(0, 0)

    def elsewhere() -> None:
        for call in (stream.check_tail, stream.append_session().__aenter__, stream.read_session().__aenter__):
            with pytest.raises(UsageError, match="another event loop"):
                asyncio.run(call())

    await asyncio.to_thread(elsewhere)
    assert await stream.check_tail() == StreamPosition(0, 0)


async def test_a_client_may_not_be_closed_from_another_loop(stream: Stream, proxy: LosingProxy) -> None:
    s2 = S2(endpoints=f"http://{HOST}:{proxy.port}")
    await s2.basins.list()
    with pytest.raises(UsageError, match="another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(s2.aclose()))
    await s2.basins.list()
    await s2.aclose()


async def test_a_client_that_was_forgotten_is_noticed_and_its_connections_close(proxy: LosingProxy) -> None:
    async def forget() -> None:
        await S2(endpoints=f"http://{HOST}:{proxy.port}").basins.list()
        gc.collect()

    with pytest.warns(ResourceWarning, match="a client was not closed"):
        await forget()
    await proxy.wait_idle()


async def test_a_client_that_was_closed_goes_silently(proxy: LosingProxy) -> None:
    async with S2(endpoints=f"http://{HOST}:{proxy.port}") as s2:
        await s2.basins.list()
    del s2
    gc.collect()
