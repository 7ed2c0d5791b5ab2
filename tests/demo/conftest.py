from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser import open_chromium
from tests.demo.demo_server import DemoServer


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[DemoServer]:
    async with DemoServer(tmp_path / "data") as server:
        yield server


@pytest.fixture
async def slow_demo(tmp_path: Path) -> AsyncIterator[DemoServer]:
    """A server whose long stories take a minute and more, for tests that need an answer to be under way."""
    async with DemoServer(tmp_path / "data", tokens_per_second=10) as server:
        yield server


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_chromium() as chromium:
        yield chromium
