"""Fixtures for tests of the client: an open client on each kind of store, with everything in place."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from perdure import S2, Basin, Stream
from perdure.client.transports.local import LocalTransport
from tests.store.stores import KINDS, Kind, Store, store_of


@pytest.fixture(autouse=True)
def never_block_the_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx("perdure") as blockbuster:
        for function in blockbuster.functions.values():
            # Opening and closing happen once, and touch a few small files beside the database.
            function.can_block_in("perdure/store/sqlite/engine.py", {"_start", "aclose"})
        yield blockbuster


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def store(kind: Kind, tmp_path: Path) -> Store:
    return store_of(kind, tmp_path / "data")


@pytest.fixture
async def s2(store: Store) -> AsyncIterator[S2]:
    async with S2(transport=LocalTransport(store.open)) as s2:
        yield s2


@pytest.fixture
async def basin(s2: S2) -> Basin:
    return await s2.basins.create("client-basin")


@pytest.fixture
async def stream(basin: Basin) -> Stream:
    return await basin.streams.create("s")
