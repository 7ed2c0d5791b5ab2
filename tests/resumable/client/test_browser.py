"""A page of a real application, with the modules that the application serves, in Chromium."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser import open_chromium
from tests.resumable.client.test_real_chat import ChatServer

pytestmark = pytest.mark.browser


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_chromium() as chromium:
        yield chromium


async def open_tab(browser: Browser, server: ChatServer) -> Page:
    page = await browser.new_page()
    await page.goto(server.url)
    await expect(page).to_have_title("Listening")
    return page


async def shows(page: Page, *lines: str) -> None:
    await expect(page.locator("#log li")).to_have_text(list(lines))


async def test_tabs_see_the_same_after_a_reload_and_across_a_restart(browser: Browser, tmp_path: Path) -> None:
    async with ChatServer(tmp_path / "data") as server:
        one, other = await open_tab(browser, server), await open_tab(browser, server)
        await one.evaluate("say('one')")
        lines = ["user: one", "assistant: You said: one"]
        await shows(one, *lines)
        await shows(other, *lines)
        await other.reload()
        await shows(other, *lines)
        await expect(other).to_have_title("Listening")
        await other.evaluate("say('stall')")
        lines += ["user: stall", "assistant: You said: "]
        await shows(one, *lines)
        await server.kill()
        await server.start()
        lines += ["error: An error occurred."]
        await shows(one, *lines)
        await shows(other, *lines)
        await one.evaluate("say('two')")
        lines += ["user: two", "assistant: You said: two"]
        await shows(one, *lines)
        await shows(other, *lines)
