"""Fixtures for tests of the client: an open client on each kind of store, with everything in place."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal, get_args

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from perdure import S2, Basin, Stream
from perdure.client.settings import ForcedTransport
from perdure.client.transports.local import LocalTransport
from tests.client.http_server import HOST, serving_engine
from tests.store.stores import Kind, Store, opened, store_maker

Carrier = Literal["memory", "sqlite", "http", "http1"]
CARRIERS: tuple[Carrier, ...] = ("memory", "sqlite", "http", "http1")


@pytest.fixture(autouse=True)
def never_block_the_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx("perdure") as blockbuster:
        for function in blockbuster.functions.values():
            # Opening and closing happen once, and touch a few small files beside the database.
            function.can_block_in("perdure/store/sqlite/engine.py", {"_start", "aclose"})
            function.can_block_in("asyncpg/connect_utils.py", {"_parse_connect_arguments"})
            function.can_block_in("perdure/server/serving.py", {"__aenter__", "__aexit__"})
            function.can_block_in("tests/client/http_server.py", {"serving_app"})
        yield blockbuster


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    """What stands between the client and its store: nothing, or HTTP/2 ("http"), or what is there without it."""
    carrier: Carrier = request.param
    return carrier


@pytest.fixture(params=get_args(ForcedTransport))
def forced(request: pytest.FixtureRequest) -> ForcedTransport:
    """How requests are carried, for tests that always go over HTTP."""
    forced: ForcedTransport = request.param
    return forced


@pytest.fixture
def kind(carrier: Carrier) -> Kind:
    return "memory" if carrier == "memory" else "sqlite"


@pytest.fixture
def store(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return store_maker(request)(kind, tmp_path / "data")


@pytest.fixture
async def s2(carrier: Carrier, store: Store) -> AsyncIterator[S2]:
    if carrier in ("memory", "sqlite"):
        async with S2(transport=LocalTransport(store.open)) as s2:
            yield s2
        return
    async with (
        opened(store) as engine,
        serving_engine(engine) as port,
        S2(endpoints=f"http://{HOST}:{port}", force_transport="fetch" if carrier == "http1" else None) as s2,
    ):
        yield s2


@pytest.fixture
async def basin(s2: S2) -> Basin:
    return await s2.basins.create("client-basin")


@pytest.fixture
async def stream(basin: Basin) -> Stream:
    return await basin.streams.create("s")
