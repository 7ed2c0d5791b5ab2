"""Chats as the inspector shows them: what was said, by which generation, and how that ended; live."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from playwright.async_api import Locator, Page, expect

from perdure import AppendRecord, Stream
from perdure.resumable import openai
from perdure.resumable.anthropic import user_message
from perdure.resumable.openai import ResponsesChat
from tests.inspector.conftest import Inspector
from tests.resumable.anthropic_scripts import Event, text_turn
from tests.resumable.chats import CREATE, Chat, Source, leased, text
from tests.resumable.tanstack_scripts import echo, run_finished, run_started, text_content, text_end, text_start

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

CHATS: Final = "inspected-chats"
MAKE: Final[dict[str, Callable[..., Chat | ResponsesChat]]] = {**CREATE, "openai": openai.create_resumable_chat}
NAMES: Final = {
    "aisdk": "AI SDK",
    "anthropic": "Anthropic Messages",
    "events": "Events",
    "openai": "OpenAI Responses",
    "tanstack_ai": "TanStack AI",
}
WHOLE_ANTHROPIC = [user_message("Which time is it?"), *text_turn("Half ", "past **eight**.")]
WHOLE_AISDK: Final[list[Event]] = [
    {"type": "start", "messageId": "m1"},
    {"type": "text-start", "id": "t"},
    text("Half "),
    text("past **eight**."),
    {"type": "text-end", "id": "t"},
    {"type": "finish"},
]
WHOLE: Final[dict[str, list[Event]]] = {
    "aisdk": WHOLE_AISDK,
    "anthropic": WHOLE_ANTHROPIC,
    "events": [{"type": "said", "text": "Half "}, {"type": "said", "text": "past **eight**."}],
    "openai": [
        {"type": "user_message", "message": "Which time is it?"},
        {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-test"}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Half "},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "past **eight**."},
        {"type": "response.completed", "response": {"usage": {"input_tokens": 5, "output_tokens": 6}}},
    ],
    "tanstack_ai": [
        *echo("Which time is it?"),
        run_started(),
        text_start(),
        text_content("Half "),
        text_content("past **eight**."),
        text_end(),
        run_finished(),
    ],
}
"""An answer in each format; it says the same in all of them."""


@asynccontextmanager
async def chat_on(inspector: Inspector, adapter: str, **options: Any) -> AsyncIterator[Chat | ResponsesChat]:
    async with MAKE[adapter](s2=inspector.s2, basin=CHATS, mode="session", **options) as chat:
        yield chat


def generation(page: Page, state: str) -> Locator:
    return page.get_by_role("article", name=re.compile(rf", {state}$"))


def said(page: Page, role: str) -> Locator:
    return page.get_by_role("region", name=role, exact=True)


async def append(stream: Stream, *records: AppendRecord | Event) -> None:
    await stream.append(
        [each if isinstance(each, AppendRecord) else AppendRecord(json.dumps(each)) for each in records]
    )


@pytest.mark.parametrize("adapter", MAKE)
async def test_an_answer_is_shown_while_it_comes_and_when_it_is_over(
    inspector: Inspector, page: Page, adapter: str
) -> None:
    name = f"live/{adapter}"
    begun = next(index for index, event in enumerate(WHOLE[adapter]) if "Half " in json.dumps(event)) + 1
    async with chat_on(inspector, adapter) as chat:
        source = Source(*WHOLE[adapter][:begun])
        await chat.make_resumable(name, source, delivery="replay", wait_until=chat.background)
        await page.goto(inspector.at(CHATS, name, view="chat"))
        running = generation(page, "running")
        await expect(running).to_contain_text("Half")
        await expect(running.get_by_role("timer")).to_contain_text("left of 30 s")
        await expect(page.get_by_text(NAMES[adapter], exact=True)).to_be_visible()
        source.give(*WHOLE[adapter][begun:])
        source.end()
        await chat.drain()
        over = generation(page, "over")
        await expect(over.get_by_role("timer")).to_have_count(0)
        if adapter == "events":
            await expect(over.get_by_role("listitem").filter(has_text="eight")).to_be_visible()
        else:
            await expect(said(page, "assistant").locator("strong")).to_have_text("eight")
            await expect(said(page, "assistant")).to_contain_text("Half past eight.")
        if adapter not in ("aisdk", "events"):
            await expect(said(page, "user")).to_contain_text("Which time is it?")


async def test_what_is_shown_of_a_turn_is_what_the_history_has(inspector: Inspector, page: Page) -> None:
    async with chat_on(inspector, "anthropic") as chat:
        for number in range(3):
            question = user_message(f"Question {number}")
            source = Source(question, *text_turn(f"Answer {number}.", message_id=f"msg_{number}"))
            source.end()
            await chat.make_resumable("turns", source, delivery="replay", wait_until=chat.background)
            await chat.drain()
        history: Any = await chat.history("turns")
    await page.goto(inspector.at(CHATS, "turns", view="chat"))
    await expect(generation(page, "over")).to_have_count(3)
    users = [await each.locator(".markdown").inner_text() for each in await said(page, "user").all()]
    answers = [await each.locator(".markdown").inner_text() for each in await said(page, "assistant").all()]
    assert users == [turn["user"] for turn in history["turns"]]
    assert answers == [turn["assistant"]["content"][0]["text"] for turn in history["turns"]]


async def test_stopped_failed_and_abandoned_answers_are_told_apart(inspector: Inspector, page: Page) -> None:
    stream = inspector.s2.basin(CHATS).stream("ends")
    async with chat_on(inspector, "aisdk", on_error=lambda _: "The model is overloaded.") as chat:
        source = Source(*WHOLE_AISDK[:3])
        await chat.make_resumable("ends", source, delivery="replay", wait_until=chat.background)
        await page.goto(inspector.at(CHATS, "ends", view="chat"))
        await expect(generation(page, "running")).to_contain_text("Half")
        await chat.stop("ends")
        await expect(generation(page, "stopped")).to_contain_text("Half")

        source = Source(*WHOLE_AISDK[:3])
        source.fail(RuntimeError("gone"))
        await chat.make_resumable("ends", source, delivery="replay", wait_until=chat.background)
        await expect(generation(page, "failed")).to_contain_text("The model is overloaded.")
        await chat.drain()

        await append(stream, AppendRecord.fence(leased(1)), *WHOLE_AISDK[:3])  # its process dies at once
        await expect(generation(page, "lease expired")).to_contain_text("expired")
        await expect(generation(page, "lease expired")).to_contain_text("lease 1 ms")
        source = Source(*WHOLE_AISDK)
        source.end()
        await chat.make_resumable("ends", source, delivery="replay", wait_until=chat.background)
        await chat.drain()
    await expect(generation(page, "abandoned")).to_have_count(1)
    await expect(generation(page, "over")).to_contain_text("Half past eight.")
    await expect(page.get_by_text("4 generations: 1 stopped, 1 failed, 1 abandoned, 1 over")).to_be_visible()


async def test_a_sequence_number_leads_to_its_record(inspector: Inspector, page: Page) -> None:
    stream = inspector.s2.basin(CHATS).stream("numbers")
    await append(stream, AppendRecord.fence(leased(30_000)), *WHOLE_AISDK, AppendRecord.fence("end-AAAAAA=="))
    await page.goto(inspector.at(CHATS, "numbers", view="chat"))
    await generation(page, "over").get_by_role("button", name="record #7").click()
    await expect(page).to_have_url(re.compile(r"seq=7"))
    await expect(page.get_by_role("complementary", name="Record 7", exact=True)).to_contain_text("end-AAAAAA==")


async def test_a_chat_of_many_generations_draws_those_in_sight(inspector: Inspector, page: Page) -> None:
    stream = inspector.s2.basin(CHATS).stream("many")
    for number in range(200):
        turn = [{**WHOLE_AISDK[0], "messageId": f"m{number}"}, *WHOLE_AISDK[1:2], text(f"Answer {number}.\n\n" * 20)]
        await append(stream, AppendRecord.fence(leased(30_000)), *turn, AppendRecord.fence("end-AAAAAA=="))
    await page.goto(inspector.at(CHATS, "many", view="chat"))
    await expect(page.get_by_text("200 generations: 200 over")).to_be_visible()
    await expect(page.get_by_text("Answer 199.").first).to_be_visible()
    drawn = page.get_by_role("article")
    await expect(drawn.filter(has_text="Answer 0.")).to_have_count(0)
    assert await drawn.count() < 50
    await page.keyboard.press("g")
    await expect(drawn.filter(has_text="Answer 0.")).to_be_in_viewport()
    await page.keyboard.press("j")
    await expect(page.locator(":focus")).to_contain_text("Answer 1.")
    await page.keyboard.press("Shift+G")
    await expect(drawn.filter(has_text="Answer 199.")).to_be_in_viewport()


async def test_ten_thousand_events_are_one_text_and_a_list_that_stays_short(inspector: Inspector, page: Page) -> None:
    basin = inspector.s2.basin(CHATS)
    await append(basin.stream("long"), AppendRecord.fence(leased(30_000)), *WHOLE_AISDK[:2])
    await append(basin.stream("long-events"), AppendRecord.fence(leased(30_000)))
    for start in range(0, 10_000, 1000):
        numbers = range(start, start + 1000)
        await append(basin.stream("long"), *(text(f"{number} ") for number in numbers))
        await append(basin.stream("long-events"), *({"type": "step", "number": number} for number in numbers))
    await page.goto(inspector.at(CHATS, "long", view="chat"))
    shown = said(page, "assistant").locator(".markdown")
    await expect(shown).to_contain_text("9999")
    assert (await shown.inner_text()).split() == [str(number) for number in range(10_000)]
    await page.goto(inspector.at(CHATS, "long-events", view="chat"))
    await expect(page.get_by_role("listitem").filter(has_text='"number":9999')).to_be_visible()
    assert await page.locator(".events > li").count() < 100
    await page.get_by_role("button", name=re.compile("earlier events of 9,960")).click()
    await expect(page.get_by_role("listitem").filter(has_text='"number":9900')).to_be_visible()


async def test_streams_without_a_chat_say_so(inspector: Inspector, page: Page) -> None:
    basin = inspector.s2.basin(CHATS)
    await append(basin.stream("plain"), AppendRecord("just a line"))
    await basin.streams.ensure("empty")
    await page.goto(inspector.at(CHATS, "empty", view="chat"))
    await expect(page.get_by_text("No chat here yet")).to_be_visible()
    await page.goto(inspector.at(CHATS, "plain", view="chat"))
    await expect(page.get_by_text("No fence of a chat stands among these records")).to_be_visible()
    await expect(generation(page, "no claim")).to_contain_text("just a line")
    await append(basin.stream("empty"), AppendRecord.fence(leased(30_000)), *WHOLE_AISDK)
    await page.goto(inspector.at(CHATS, "empty", view="chat"))
    await expect(generation(page, "running")).to_contain_text("Half past eight.")
