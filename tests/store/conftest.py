"""Fixtures for tests of the store: each runs on every engine."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from perdure.store.engine import Engine
from tests.store.stores import KINDS, Kind, Store, opened, store_maker

pytest.register_assert_rewrite("tests.store.engine_suite", "tests.store.usage_suite")


@pytest.fixture(autouse=True)
def never_block_the_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx("perdure") as blockbuster:
        for function in blockbuster.functions.values():
            # Opening and closing happen once, and touch a few small files beside the database.
            function.can_block_in("perdure/store/sqlite/engine.py", {"_start", "aclose"})
            function.can_block_in("asyncpg/connect_utils.py", {"_parse_connect_arguments"})
        yield blockbuster


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def store(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return store_maker(request)(kind, tmp_path / "data")


@pytest.fixture
async def engine(store: Store) -> AsyncIterator[Engine]:
    async with opened(store) as engine:
        yield engine
