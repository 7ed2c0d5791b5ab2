"""Rates and storage as plots: what they show is what the API says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from playwright.async_api import Locator, Page, expect

from perdure import AppendRecord
from perdure.model.metrics import AccumulationMetric, BasinMetricSet, GaugeMetric, StreamMetricSet, TimeseriesInterval
from tests.inspector.conftest import Inspector
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

MEASURED: Final = "measured-basin"
APPENDS: Final = 7
BODY: Final = b"x" * 1016  # 1,024 metered bytes


def panel(page: Page, title: str) -> Locator:
    return page.locator(".panel").filter(has=page.get_by_role("heading", name=title, exact=True))


async def until_told(told: Callable[[], Awaitable[bool]]) -> None:
    """Usage is counted at once and told a little later."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await told():  # noqa: ASYNC110 - what it looks at rings no bell
            await asyncio.sleep(0.05)


async def test_plots_of_a_basin_show_what_its_metrics_say(inspector: Inspector, page: Page) -> None:
    s2 = inspector.s2
    await s2.basins.create(MEASURED)
    await s2.basin(MEASURED).streams.create("one")
    for _ in range(APPENDS):
        await s2.basin(MEASURED).stream("one").append([AppendRecord(BODY)])

    async def appended() -> float:
        metrics = await s2.metrics.basin(
            MEASURED,
            BasinMetricSet.APPEND_OPS,
            start=datetime.now(UTC) - timedelta(hours=1),
            interval=TimeseriesInterval.MINUTE,
        )
        return sum(value for one in metrics if isinstance(one, AccumulationMetric) for _, value in one.values)

    async def all_are() -> bool:
        return await appended() == APPENDS

    await until_told(all_are)
    await page.goto(inspector.at(MEASURED, view="plots"))
    appends = panel(page, "Appends")
    await expect(appends.locator(".figure")).to_have_text(str(APPENDS))
    await expect(panel(page, "Appended").locator(".figure")).to_have_text("7.00 KiB")
    described = appends.get_by_role("img", name=re.compile(rf"Appends: {APPENDS} in all, at most \d per minute\."))
    await expect(described.locator("canvas")).to_be_visible()
    await appends.get_by_text("As a table").click()
    cells = await appends.get_by_role("cell").all_inner_texts()
    assert sum(int(cell) for cell in cells if cell.isdigit()) == APPENDS
    for label, told in (("1 d", "The last day, by hour"), ("30 d", "The last 30 days, by day")):
        await page.get_by_role("radio", name=label).check()
        await expect(page.get_by_text(told)).to_be_visible()
        await expect(appends.locator(".figure")).to_have_text(str(APPENDS))


async def test_a_stream_shows_its_storage_and_what_arrives_now(inspector: Inspector, page: Page) -> None:
    s2 = inspector.s2
    await s2.basins.ensure(MEASURED)
    await s2.basin(MEASURED).streams.create("arriving")
    stream = s2.basin(MEASURED).stream("arriving")
    await stream.append([AppendRecord(BODY)])

    async def stored() -> bool:
        start = datetime.now(UTC) - timedelta(hours=1)
        metrics = await s2.metrics.stream(MEASURED, "arriving", StreamMetricSet.STORAGE, start=start)
        return any(isinstance(one, GaugeMetric) and one.values and one.values[-1][1] == 1024 for one in metrics)

    await until_told(stored)
    await page.goto(inspector.at(MEASURED, "arriving", view="plots"))
    await expect(panel(page, "Storage").locator(".figure")).to_have_text("1.00 KiB")
    live = panel(page, "Records, live")
    await live.get_by_text("As a table").click()
    await expect(live.get_by_text("Zero all the time.")).to_be_visible()
    # A read session counts from the tail that it began at, so what is appended until then is not seen.
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await live.get_by_role("row").count():
            await stream.append([AppendRecord(b"") for _ in range(5)])
            await asyncio.sleep(0.2)
    await expect(live.get_by_role("row").nth(1)).to_contain_text(re.compile(r"\d"))
    await expect(panel(page, "Bytes, live").get_by_role("img")).to_have_attribute(
        "aria-label", re.compile(r"Bytes, live: .*/s in all|Bytes, live: .*at most [1-9]")
    )


async def test_the_account_shows_the_basins_in_use(inspector: Inspector, page: Page) -> None:
    await inspector.s2.basins.ensure(MEASURED)
    await inspector.s2.basin(MEASURED).streams.ensure("used")
    await page.goto(inspector.at(view="plots"))
    await expect(panel(page, "Operations").get_by_role("img")).to_be_visible()
    await page.get_by_role("button", name=MEASURED).click()
    await expect(panel(page, "Storage")).to_be_visible()
    await expect(page).to_have_url(re.compile(MEASURED))
