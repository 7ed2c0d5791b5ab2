"""The operations of the store mean the same over several locations: the tests of `StreamStore`, on another store."""

from collections.abc import AsyncIterator

import pytest

from perdure.store.account import DEFAULT_LOCATION
from perdure.store.engine import Engine
from perdure.store.locations import LocatedStore
from perdure.store.place import Place
from tests.store.stores import Kind, MemoryStore, opened
from tests.store.test_service import (
    TestAccessTokens,
    TestAppending,
    TestAutoCreation,
    TestBasins,
    TestListing,
    TestReading,
    TestStreams,
    basin,
    idle,
)

__all__ = [
    "TestAccessTokens",
    "TestAppending",
    "TestAutoCreation",
    "TestBasins",
    "TestListing",
    "TestReading",
    "TestStreams",
    "basin",
    "idle",
]


@pytest.fixture
def kind() -> Kind:
    """What differs with locations does not depend on the engine."""
    return "memory"


@pytest.fixture
async def service(engine: Engine) -> AsyncIterator[LocatedStore]:
    """The engine is not the home, but where basins are made by default."""
    async with opened(MemoryStore()) as home:

        async def open_home() -> Engine:
            return home

        async def open_engine() -> Engine:
            return engine

        located = LocatedStore([Place("home", open_home), Place(DEFAULT_LOCATION, open_engine)])
        await located.open()
        await located.set_default_location(DEFAULT_LOCATION)
        yield located
        await located.aclose()
