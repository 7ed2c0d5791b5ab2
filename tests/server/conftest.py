"""Fixtures for tests of the server: a real one, on a free port, over a store in a temporary directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest

from perdure.server.context import ServerSettings
from perdure.store.account import DEFAULT_LOCATION
from tests.server.running import BASIN, Running, Serve, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    """A server with default settings."""
    async with running(tmp_path / "data") as server:
        yield server


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts a server with other settings."""
    started = 0

    def start(
        settings: ServerSettings | None = None, *, location: str = DEFAULT_LOCATION, root_token: str | None = None
    ) -> AbstractAsyncContextManager[Running]:
        nonlocal started
        started += 1
        return running(tmp_path / f"data-{started}", settings, location=location, root_token=root_token)

    return start


@pytest.fixture
async def basin(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose requests are about the basin `running.BASIN`, which exists."""
    await server.store.create_basin(BASIN)
    async with server.in_basin() as client:
        yield client
