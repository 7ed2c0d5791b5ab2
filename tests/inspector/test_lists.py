"""Basins and streams as the inspector lists them."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.inspector.conftest import BASIN, Inspector

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


async def test_a_basin_and_a_stream_are_created_found_and_deleted_with_the_keyboard_alone(
    inspector: Inspector, page: Page
) -> None:
    await page.goto(inspector.at())
    await expect(page.get_by_role("row", name=BASIN)).to_be_visible()

    await page.keyboard.press("c")
    await page.keyboard.type("made-by-keyboard")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("#/made-by-keyboard$"))
    await expect(page.get_by_text("There is no stream in this basin.")).to_be_visible()

    await page.keyboard.press("c")
    await page.keyboard.type("chats/42 with a space")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("#/made-by-keyboard/chats%2F42%20with%20a%20space$"))

    await page.keyboard.press("u")
    await expect(page.get_by_role("row", name="chats/42 with a space")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("chats/4")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("#/made-by-keyboard/chats%2F42"))


async def test_a_prefix_narrows_the_list_and_pages_come_as_one_scrolls(inspector: Inspector, page: Page) -> None:
    await inspector.s2.basins.create("many-streams")
    basin = inspector.s2.basin("many-streams")
    for number in range(1100):
        await basin.streams.create(f"stream-{number:04}")
    await page.goto(inspector.at("many-streams"))
    grid = page.get_by_role("grid", name="streams")
    await expect(grid.get_by_role("row", name="stream-0000")).to_be_visible()
    await grid.focus()
    await page.keyboard.press("End")
    await page.keyboard.press("End")
    await expect(page.get_by_role("status")).to_have_text("1,100 streams")
    await page.keyboard.press("End")
    await expect(grid.get_by_role("row", name="stream-1099")).to_be_visible()

    await page.keyboard.press("/")
    await page.keyboard.type("stream-01")
    await expect(page.get_by_role("status")).to_have_text("100 streams")
    await page.keyboard.type("99x")
    await expect(page.get_by_text("No stream has a name that begins with “stream-0199x”.")).to_be_visible()


async def test_deleting_asks_for_the_name(inspector: Inspector, page: Page) -> None:
    await inspector.s2.basin(BASIN).streams.create("unwanted")
    await page.goto(inspector.at(BASIN))
    await page.get_by_role("row", name="unwanted").hover()
    await page.get_by_role("button", name="Delete unwanted").click()
    dialog = page.get_by_role("dialog", name="Delete unwanted?")
    act = dialog.get_by_role("button", name="Delete")
    await expect(act).to_be_disabled()
    await dialog.get_by_label("Type its name to go on").fill("unwanted")
    await act.click()
    await expect(dialog).to_be_hidden()
    row = page.get_by_role("row", name="unwanted")
    await expect(
        row.get_by_text("being deleted").or_(page.get_by_text("There is no stream in this basin."))
    ).to_be_visible()
