"""Fixtures for tests of what Perdure tells of its work."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from perdure import S2, RetryPolicy, Stream
from tests.server.running import Running, running
from tests.telemetry.recorder import Recorder, recording


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "served") as server:
        yield server


@pytest.fixture
async def s2(server: Running) -> AsyncIterator[S2]:
    async with S2(access_token="sk-secret-token", endpoints=server.url, retries=RetryPolicy(min_delay_ms=1)) as s2:
        await s2.basins.create("basin-one", create_stream_on_append=True)
        yield s2


@pytest.fixture
def stream(s2: S2) -> Stream:
    return s2.basin("basin-one").stream("stream/one")
