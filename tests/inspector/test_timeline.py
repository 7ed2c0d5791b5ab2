"""Positions on a time line: which record was written when, and how to get there."""

from __future__ import annotations

import re
from typing import Final

import pytest
from playwright.async_api import Locator, Page, Request, expect

from perdure import AppendRecord
from tests.inspector.conftest import BASIN, Inspector

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

START_MS: Final = 1_760_000_000_000
MINUTE_MS: Final = 60_000
RECORDS: Final = 50_000


def picture(page: Page) -> Locator:
    return page.get_by_role("slider", name=re.compile("Time"))


def opened(page: Page, seq_num: int) -> Locator:
    return page.get_by_role("complementary", name=f"Record {seq_num}", exact=True)


async def small_stream(inspector: Inspector, name: str) -> None:
    """Ten records, a minute between two of them: a fence is the fourth."""
    stream = inspector.s2.basin(BASIN).stream(name)
    await inspector.s2.basin(BASIN).streams.create(name)
    for number in range(10):
        at = START_MS + number * MINUTE_MS
        record = (
            AppendRecord.fence("the writer", timestamp=at) if number == 3 else AppendRecord(f"{number}", timestamp=at)
        )
        await stream.append([record], fencing_token="the writer" if number > 3 else None)


async def test_keys_move_zoom_and_open(inspector: Inspector, page: Page) -> None:
    await small_stream(inspector, "keys")
    await page.goto(inspector.at(BASIN, "keys", view="timeline"))
    await expect(page.get_by_text("every record read")).to_be_visible()
    await expect(page.get_by_text("tail #10")).to_be_visible()
    await picture(page).focus()
    await page.keyboard.press("Home")
    await expect(page.get_by_role("status").filter(has_text="about #0")).to_be_visible()
    await page.keyboard.press("+")
    await expect(page.get_by_role("button", name="Whole stream")).to_be_enabled()
    await page.keyboard.press("0")
    await expect(page.get_by_role("button", name="Whole stream")).to_be_disabled()
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(opened(page, 9)).to_be_visible()


async def test_a_click_opens_the_record_of_that_time_and_a_drag_zooms(inspector: Inspector, page: Page) -> None:
    await small_stream(inspector, "clicks")
    await page.goto(inspector.at(BASIN, "clicks", view="timeline"))
    await expect(page.get_by_text("every record read")).to_be_visible()
    box = await picture(page).bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 100)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 120, steps=4)
    await page.mouse.up()
    await expect(page.get_by_role("button", name="Whole stream")).to_be_enabled()
    await page.get_by_role("button", name="Whole stream").click()
    await expect(page.get_by_role("button", name="Whole stream")).to_be_disabled()
    # In the middle of nine minutes: after the record of minute 4, and before that of minute 5.
    await page.mouse.click(box["x"] + 76 + (box["width"] - 96) * 0.485, box["y"] + 100)
    await expect(opened(page, 5)).to_be_visible()


async def test_one_jumps_to_a_time_or_to_a_fence(inspector: Inspector, page: Page) -> None:
    await small_stream(inspector, "jumps")
    await page.goto(inspector.at(BASIN, "jumps", view="timeline"))
    field = page.get_by_label("Jump to a time")
    await field.fill("tomorrow, perhaps")
    await field.press("Enter")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await field.fill(str(START_MS + 6 * MINUTE_MS - 1))
    await field.press("Enter")
    await expect(opened(page, 6)).to_be_visible()
    await page.go_back()
    await page.get_by_role("list", name="Fences and trims").get_by_role("button", name="the writer").click()
    await expect(opened(page, 3)).to_be_visible()


async def test_what_is_trimmed_is_marked_and_an_empty_stream_says_so(inspector: Inspector, page: Page) -> None:
    await small_stream(inspector, "trims")
    stream = inspector.s2.basin(BASIN).stream("trims")
    await stream.append([AppendRecord.trim(5)], fencing_token="the writer")
    await page.goto(inspector.at(BASIN, "trims", view="timeline"))
    await expect(page.get_by_text("trimmed before #5")).to_be_visible()
    await inspector.s2.basin(BASIN).streams.create("nothing")
    await page.goto(inspector.at(BASIN, "nothing", view="timeline"))
    await expect(page.get_by_text("Nothing was appended to this stream yet.")).to_be_visible()


async def test_a_long_stream_is_drawn_from_few_reads_of_one_record(inspector: Inspector, page: Page) -> None:
    await inspector.s2.basin(BASIN).streams.create("long-line")
    stream = inspector.s2.basin(BASIN).stream("long-line")
    for start in range(0, RECORDS, 1000):
        # A burst each minute, but for a pause of an hour in the middle.
        at = START_MS + start * 60 + (3_600_000 if start >= RECORDS // 2 else 0)
        await stream.append([AppendRecord(b"", timestamp=at + number // 10) for number in range(1000)])
    reads: list[str] = []

    def on_request(request: Request) -> None:
        if "/records?" in request.url:
            reads.append(request.url)

    page.on("request", on_request)
    await page.goto(inspector.at(BASIN, "long-line", view="timeline"))
    await expect(page.get_by_text(re.compile(r"50,000 records.*drawn from [1-9]\d* looks"))).to_be_visible()
    await page.get_by_text("As a table").click()
    halves = page.get_by_role("row").filter(has_text="#25,000")
    await expect(halves.first).to_be_visible()  # the pause, as flat as it is
    assert len(reads) < 300
    assert not any("count=1000" in url for url in reads)
    await page.get_by_label("Jump to a time").fill(str(START_MS + 49_000 * 60 + 3_600_000))
    await page.keyboard.press("Enter")
    await expect(opened(page, 49_000)).to_be_visible()
