"""A client does not go unnoticed (`client.pool`)."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import pytest

from perdure import S2
from perdure.store.sqlite import SqliteEngine
from tests.client.http_server import HOST, serving_app
from tests.client.losing_proxy import LosingProxy, losing


@pytest.fixture
async def proxy() -> AsyncIterator[LosingProxy]:
    engine = await SqliteEngine.open(":memory:")
    try:
        async with serving_app(engine) as (port, _), losing(port) as proxy:
            yield proxy
    finally:
        await engine.aclose()


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
