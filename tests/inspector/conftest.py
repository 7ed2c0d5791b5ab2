"""One server with its inspector, and one Chromium, for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request

from perdure import S2
from tests.browser import open_chromium
from tests.serve_command import ServeCommand

BASIN = "inspected-basin"


@dataclass(frozen=True)
class Inspector:
    """A server that shows its inspector, and an SDK client of it."""

    url: str
    s2: S2

    def at(self, *names: str, **parameters: str) -> str:
        """The address of the page for a basin, or a basin and a stream."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"{self.url}/ui#/{'/'.join(quote(name, safe='') for name in names)}{query}"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def inspector(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inspector]:
    """A server that is open to everybody, with an empty basin `BASIN`."""
    data: Path = tmp_path_factory.mktemp("inspected")
    async with ServeCommand(data, "--ui") as server, S2(endpoints=server.url, access_token="any") as s2:
        await s2.basins.create(BASIN)
        yield Inspector(server.url, s2)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with open_chromium() as chromium:
        yield chromium


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab of its own. What goes wrong in it fails the test, and so does a request to anywhere else."""
    async with await browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        tab = await context.new_page()
        faults = watch(tab)
        yield tab
        assert faults == []


def watch(tab: Page) -> list[str]:
    """What goes wrong in a tab from now on. An answer of the API that refuses something is no fault of the page."""
    faults: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        refused = message.text.startswith("Failed to load resource") and "/v1/" in str(message.location.get("url"))
        if message.type in ("error", "warning") and not refused:
            faults.append(f"console: {message.text}")

    def on_request(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:")):
            faults.append(f"a request left: {request.url}")

    tab.on("pageerror", lambda error: faults.append(f"page error: {error}"))
    tab.on("console", on_console)
    tab.on("request", on_request)
    return faults
