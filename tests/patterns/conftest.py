"""Fixtures for tests of the patterns: one stream of an embedded store."""

from collections.abc import AsyncIterator

import pytest

from perdure import S2, Stream


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    async with S2.open(":memory:") as s2:
        basin = await s2.basins.create("patterns-basin")
        yield await basin.streams.create("s")
