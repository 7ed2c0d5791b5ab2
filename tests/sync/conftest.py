"""A blocking client, embedded and over HTTP, on a private store with a basin and a stream in it."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from perdure.store.sqlite import SqliteEngine
from perdure.sync import S2, Basin, Stream
from perdure.sync.background import BackgroundLoop
from tests.client.http_server import HOST, serving_engine


class Served:
    """A server for a private store."""

    def __init__(self) -> None:
        self.port = 0
        self._entered = AsyncExitStack()

    async def enter(self) -> None:
        engine = await SqliteEngine.open(":memory:")
        self._entered.push_async_callback(engine.aclose)
        self.port = await self._entered.enter_async_context(serving_engine(engine))

    async def aclose(self) -> None:
        await self._entered.aclose()


@pytest.fixture
def debugged_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops made from now on notice when they are touched from another thread."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


@pytest.fixture(params=["embedded", "http"])
def s2(request: pytest.FixtureRequest) -> Iterator[S2]:
    if request.param == "embedded":
        with S2.open(":memory:") as s2:
            yield s2
        return
    loop = BackgroundLoop()  # the server wants one as well
    try:
        served = loop.open(Served, Served.enter)
        with S2(endpoints=f"http://{HOST}:{served.port}") as s2:
            yield s2
    finally:
        loop.close()


@pytest.fixture
def basin(s2: S2) -> Basin:
    return s2.basins.create("blocking-basin")


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.streams.create("s")
