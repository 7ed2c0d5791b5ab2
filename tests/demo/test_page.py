"""The demo in a real browser: what a person sees of an answer that survives."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.demo.chat_page import READY_MS, ChatPage, expected_answer, is_beginning
from tests.demo.demo_server import DemoServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

QUESTION = "Tell me of tides and of swifts, those birds"
NEXT_QUESTION = "And of clocks and birds?"
LONG_STORY = "A long story of tides and swifts, please"


async def test_an_answer_survives_reloads_without_a_lost_or_doubled_word(demo: DemoServer, browser: Browser) -> None:
    tab = await ChatPage.open(browser, demo.chat_url("reload"))
    await tab.send(QUESTION)
    for seen in (5, 40, 80):
        before = await tab.wait_for_words(seen)
        await tab.page.reload()
        after = await tab.wait_for_words(seen)
        assert after[: seen - 1] == before[: seen - 1]
    await tab.wait_until_ready()
    assert await tab.answer() == await expected_answer(QUESTION)
    await tab.page.reload()
    await expect(tab.answers).to_have_count(1)
    assert await tab.answer() == await expected_answer(QUESTION)
    await expect(tab.questions).to_have_count(1)
    assert tab.errors == []


async def test_tabs_opened_before_and_after_the_send_follow_it_live(slow_demo: DemoServer, browser: Browser) -> None:
    url = slow_demo.chat_url("tabs")
    before, sender = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    await sender.send(LONG_STORY)
    await before.wait_for_words(10)
    after = await ChatPage.open(browser, url)
    await after.wait_for_words(20)
    await expect(sender.status).to_have_text("streaming")  # they saw it while it was written
    await sender.stop.click()
    await sender.wait_until_ready()
    kept = await sender.answer()
    assert is_beginning(kept, await expected_answer(LONG_STORY))
    for tab in (sender, before, after):
        await tab.wait_until_ready()
        assert await tab.answer() == kept
        await expect(tab.questions).to_have_count(1)
        await expect(tab.answers).to_have_count(1)
        assert tab.errors == []


async def test_three_turns_from_different_tabs_are_one_conversation(demo: DemoServer, browser: Browser) -> None:
    url = demo.chat_url("turns")
    first, second = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    asked: list[str] = []
    for turn, tab in enumerate((first, second, first), start=1):
        asked.append(f"{QUESTION}, part {turn}")
        await tab.send(asked[-1])
        for seen_by in (first, second):
            await expect(seen_by.answers).to_have_count(turn, timeout=READY_MS)
            await seen_by.wait_until_ready()
    for tab in (first, second):
        for turn in range(3):
            assert await tab.answer(turn) == await expected_answer(*asked[: turn + 1])


async def test_stop_from_the_other_tab_ends_the_answer_everywhere(slow_demo: DemoServer, browser: Browser) -> None:
    url = slow_demo.chat_url("stop")
    sender = await ChatPage.open(browser, url)
    await sender.send(LONG_STORY)
    await sender.wait_for_words(10)
    other = await ChatPage.open(browser, url)
    await other.wait_for_words(15)
    await other.stop.click()
    await sender.wait_until_ready()
    await other.wait_until_ready()
    kept = await sender.answer()
    assert is_beginning(kept, await expected_answer(LONG_STORY))
    await expect(other.answers.last).to_have_text(await sender.answers.last.inner_text(), use_inner_text=True)
    await sender.page.reload()
    await expect(sender.answers).to_have_count(1)
    assert await sender.answer() == kept


async def test_history_is_there_after_the_server_was_killed(demo: DemoServer, browser: Browser) -> None:
    tab = await ChatPage.open(browser, demo.chat_url("restart"))
    await tab.send(QUESTION)
    await expect(tab.answers).to_have_count(1)
    await tab.wait_until_ready()
    await demo.kill()
    await expect(tab.connection).to_have_attribute("data-state", "offline", timeout=READY_MS)
    await demo.start()
    await expect(tab.connection).to_have_attribute("data-state", "online", timeout=READY_MS)
    await tab.page.reload()
    await expect(tab.questions).to_contain_text(QUESTION)
    assert await tab.answer() == await expected_answer(QUESTION)
    await expect(tab.page.get_by_test_id("chat-list-item")).to_have_count(1)
    await tab.send(NEXT_QUESTION)
    await expect(tab.answers).to_have_count(2)
    await tab.wait_until_ready()
    assert await tab.answer() == await expected_answer(QUESTION, NEXT_QUESTION)


async def test_a_server_killed_in_mid_answer_leaves_the_part_and_a_chat_that_works(
    demo: DemoServer, browser: Browser
) -> None:
    tab = await ChatPage.open(browser, demo.chat_url("crash"))
    await tab.send(QUESTION)
    await tab.wait_for_words(20)
    await demo.kill()
    await expect(tab.connection).to_have_attribute("data-state", "offline", timeout=READY_MS)
    await demo.start()
    await expect(tab.connection).to_have_attribute("data-state", "online", timeout=READY_MS)
    await tab.page.reload()
    # The lease of the dead writer runs out, and the page comes to rest by itself with what was written.
    await tab.wait_for_words(15)
    await tab.wait_until_over()
    kept = await tab.answer()
    assert is_beginning(kept, await expected_answer(QUESTION))
    await tab.send(NEXT_QUESTION)
    await expect(tab.answers).to_have_count(2, timeout=READY_MS)
    await tab.wait_until_ready()
    assert await tab.answer() == await expected_answer(QUESTION, NEXT_QUESTION)


async def test_a_failing_answer_shows_the_generic_text_and_keeps_the_part(demo: DemoServer, browser: Browser) -> None:
    tab = await ChatPage.open(browser, demo.chat_url("fail"))
    await tab.send("Please fail")
    shown = tab.page.get_by_test_id("error")
    await expect(shown).to_contain_text("An error occurred.", timeout=READY_MS)
    await expect(tab.page.get_by_text("asked to fail, and did")).to_have_count(0)
    assert len(await tab.answer()) >= 20
