"""The TanStack page in a real browser: the stock `useChat`, live on one log for each chat."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.demo.anthropic_answers import expected_anthropic_answer
from tests.demo.chat_page import READY_MS, ChatPage, is_beginning
from tests.demo.demo_server import DemoServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

STORY = "Tell me of tides and of swifts, those birds"
LONG_STORY = "A long story of tides and swifts, please"
TOOLS = "Think: how many people do Aldermoor Paper and Fenwick Lenses employ together?"
MAIL = "Send an e-mail to ada@example.com"

SHOW = """isShown => {
  Object.defineProperty(document, "hidden", { value: !isShown, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""What a browser does when somebody goes to another tab, or comes back; Chromium without a window does not."""

STOP_FROM_OUTSIDE = """
import asyncio, sys
from perdure.resumable.tanstack_ai import create_resumable_chat

async def main():
    async with create_resumable_chat(path=sys.argv[1], basin="perdure-demo", mode="session") as chat:
        print(await chat.stop(sys.argv[2]))

asyncio.run(main())
"""


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[DemoServer]:
    async with DemoServer(tmp_path / "data", tokens_per_second=60) as server:
        yield server


async def test_turns_from_two_tabs_are_one_conversation(demo: DemoServer, browser: Browser) -> None:
    url = demo.tanstack_url("turns")
    first, second = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    asked: list[str] = []
    for turn, tab in enumerate((first, second, first), start=1):
        asked.append(f"{STORY}, part {turn}")
        await tab.send(asked[-1])
        for seen_by in (first, second):
            await expect(seen_by.answers).to_have_count(turn, timeout=READY_MS)
        for seen_by in (first, second):
            await seen_by.wait_until_ready()
            await expect(generating(seen_by.page)).to_have_count(0)
    await first.page.reload()
    await expect(first.answers).to_have_count(3, timeout=READY_MS)
    for tab in (first, second):
        await expect(tab.questions).to_have_count(3)
        for turn in range(3):
            assert await tab.answer(turn) == await expected_anthropic_answer(*asked[: turn + 1])
        assert tab.errors == []


async def test_a_turn_with_thoughts_and_tools_survives_reloads(demo: DemoServer, browser: Browser) -> None:
    tab = await ChatPage.open(browser, demo.tanstack_url("tools"))
    await tab.send(TOOLS)
    for stage in (
        tab.page.get_by_text("How it got there"),
        tab.page.get_by_test_id("tool").nth(1),
        tab.page.get_by_role("table"),
    ):
        await expect(stage).to_be_visible(timeout=READY_MS)
        await tab.page.reload()
        await expect(tab.questions).to_have_count(1, timeout=READY_MS)
    await tab.wait_until_ready()
    await tab.page.reload()
    await expect(tab.page.get_by_text("That comes to 2800.")).to_be_visible(timeout=READY_MS)
    calls = tab.page.get_by_test_id("tool")
    await expect(calls).to_have_count(3)
    await expect(calls.locator("summary")).to_have_text(
        [re.compile("company_lookup done"), re.compile("company_lookup done"), re.compile("calculate done")]
    )
    await expect(tab.page.get_by_text("How it got there")).to_have_count(1)
    await expect(tab.questions).to_have_count(1)
    assert tab.errors == []


async def test_a_tool_waits_until_one_tab_allows_it_and_is_not_run_when_denied(
    demo: DemoServer, browser: Browser
) -> None:
    url = demo.tanstack_url("approval")
    asking, deciding = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    await asking.send(MAIL)
    for tab in (asking, deciding):
        await expect(tab.page.get_by_test_id("approve")).to_be_enabled(timeout=READY_MS)
    await deciding.page.reload()
    # By the keyboard alone.
    await expect(deciding.page.get_by_test_id("approve")).to_be_enabled(timeout=READY_MS)
    await deciding.page.get_by_test_id("approve").focus()
    await deciding.page.keyboard.press("Enter")
    for tab in (asking, deciding):
        await expect(tab.answers.last).to_contain_text("Sent to ada@example.com.", timeout=READY_MS)
        await tab.wait_until_ready()
        await expect(tab.page.get_by_test_id("approve")).to_have_count(0)
    await asking.send(MAIL.replace("ada", "bob"))
    await expect(asking.page.get_by_test_id("deny")).to_be_enabled(timeout=READY_MS)
    await asking.page.get_by_test_id("deny").click()
    for tab in (asking, deciding):
        await expect(tab.answers.last).to_contain_text("Not sent: you did not allow it.", timeout=READY_MS)
        await tab.wait_until_ready()
    await asking.send(MAIL.replace("ada", "eve"))
    await expect(asking.page.get_by_test_id("deny")).to_be_enabled(timeout=READY_MS)
    await asking.send(STORY)  # without a decision
    await expect(asking.answers.last).to_contain_text("swifts", timeout=READY_MS)
    await asking.wait_until_ready()
    late = await ChatPage.open(browser, url)
    await expect(late.page.get_by_test_id("tool").locator("summary span")).to_have_text(
        ["done", "denied", "was not decided"], timeout=READY_MS
    )
    assert [tab.errors for tab in (asking, deciding, late)] == [[], [], []]


async def test_a_stop_in_the_other_tab_or_in_another_process_ends_the_answer(
    slow_demo: DemoServer, browser: Browser
) -> None:
    url = slow_demo.tanstack_url("stop")
    sender, other = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    await sender.send(LONG_STORY)
    await other.wait_for_words(15)
    await expect(generating(other.page)).to_be_visible()
    await expect(generating(sender.page)).to_have_count(0)
    await other.stop.click()
    await sender.wait_until_ready()
    await other.wait_until_ready()
    kept = await sender.answer()
    assert is_beginning(kept, await expected_anthropic_answer(LONG_STORY))
    assert await other.answer() == kept
    await sender.send(LONG_STORY)
    await expect(other.answers).to_have_count(2, timeout=READY_MS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOP_FROM_OUTSIDE, str(slow_demo.data), "tanstack-stop", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.strip() == b"True"
    await sender.wait_until_ready()
    await other.wait_until_ready()
    assert await other.answer() == await sender.answer()


async def test_a_server_that_was_killed_leaves_the_part_and_a_chat_that_works(
    demo: DemoServer, browser: Browser
) -> None:
    tab = await ChatPage.open(browser, demo.tanstack_url("crash"))
    await tab.send(LONG_STORY)
    await tab.wait_for_words(20)
    await demo.kill()
    await expect(tab.connection).to_have_attribute("data-state", "offline", timeout=READY_MS)
    await demo.start()
    await expect(tab.connection).to_have_attribute("data-state", "online", timeout=READY_MS)
    # The lease of the dead writer runs out; the open tab hears of it without a reload.
    await expect(tab.page.get_by_test_id("error")).to_contain_text("An error occurred.", timeout=READY_MS)
    kept = await tab.answer()
    assert is_beginning(kept, await expected_anthropic_answer(LONG_STORY))
    await tab.send("And of clocks and birds?")
    await expect(tab.answers).to_have_count(2, timeout=READY_MS)
    await tab.wait_until_ready()
    assert await tab.answer() == await expected_anthropic_answer(LONG_STORY, "And of clocks and birds?")
    assert tab.errors == []


async def test_of_two_messages_at_once_one_is_answered_and_the_other_is_back_in_its_box(
    demo: DemoServer, browser: Browser
) -> None:
    url = demo.tanstack_url("race")
    tabs = [await ChatPage.open(browser, url), await ChatPage.open(browser, url)]
    texts = ["Tides?", "Swifts?"]
    for tab, text in zip(tabs, texts, strict=True):
        await tab.composer.fill(text)
    await asyncio.gather(*(tab.composer.press("Enter") for tab in tabs))
    for tab in tabs:
        await expect(tab.answers).to_have_count(1, timeout=READY_MS)
        await tab.wait_until_ready()
        await expect(tab.questions).to_have_count(1)
    asked = (await tabs[0].questions.inner_text()).split()[-1]
    assert asked in texts
    for tab, text in zip(tabs, texts, strict=True):
        await expect(tab.questions).to_contain_text(asked)
        await expect(tab.composer).to_have_value("" if text == asked else text, timeout=READY_MS)
        assert tab.errors == []


async def test_a_tab_that_was_hidden_gives_its_connection_back_and_catches_up_in_mid_answer(
    slow_demo: DemoServer, browser: Browser
) -> None:
    url = slow_demo.tanstack_url("hidden")
    hidden, other = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    async with hidden.page.expect_event("requestfailed", lambda lost: "/replay" in lost.url, timeout=READY_MS):
        await hidden.page.evaluate(SHOW, False)
    await other.send(LONG_STORY)
    await other.wait_for_words(10)
    await expect(hidden.questions).to_have_count(0)
    await hidden.page.evaluate(SHOW, True)
    await expect(generating(hidden.page)).to_be_visible(timeout=READY_MS)
    await expect(hidden.questions).to_have_count(1, timeout=READY_MS)
    await hidden.stop.click()
    for tab in (hidden, other):
        await tab.wait_until_ready()
    kept = await hidden.answer()
    assert kept == await other.answer()
    assert is_beginning(kept, await expected_anthropic_answer(LONG_STORY))
    assert (hidden.errors, other.errors) == ([], [])


async def test_the_streams_of_all_front_ends_are_in_one_list(slow_demo: DemoServer, browser: Browser) -> None:
    demos = await browser.new_page()
    await demos.goto(f"{slow_demo.url}/demos")
    rows = demos.get_by_test_id("stream")
    await expect(demos.get_by_role("link", name="TanStack AI chat")).to_be_visible()
    for url in (slow_demo.chat_url("a"), slow_demo.anthropic_url("b"), slow_demo.tanstack_url("c")):
        tab = await ChatPage.open(browser, url)
        await tab.send(LONG_STORY)
        await expect(rows.first).to_have_attribute("data-active", "true", timeout=READY_MS)
        await expect(rows.first.get_by_role("link")).to_have_attribute("href", url.removeprefix(slow_demo.url))
        before = int(await rows.first.locator("td").nth(2).inner_text())
        await expect(rows.first.locator("td").nth(2)).not_to_have_text(str(before), timeout=READY_MS)
        await expect(tab.stop).to_be_enabled(timeout=READY_MS)
        await tab.stop.click()
        await tab.wait_until_ready()
        await expect(rows.first).to_have_attribute("data-active", "false", timeout=READY_MS)
    await expect(rows.locator("code")).to_have_text(["tanstack-c", "anthropic-b", "chat-a"])
    await rows.first.get_by_role("link").click()
    await expect(demos.get_by_test_id("message-user")).to_have_text(re.compile(LONG_STORY), timeout=READY_MS)


def generating(page: Page) -> Locator:
    return page.get_by_test_id("session-generating")
