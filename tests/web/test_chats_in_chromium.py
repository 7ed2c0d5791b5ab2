"""The chat modules in Chromium, in every mode and delivery: reloads, tabs, networks that come and go, stops, failures.

Whatever happens to a tab, in the end it shows what the source gave, with no word lost and none doubled. After the end
only session mode has something to show to who comes then: the others keep no history.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page
from playwright.async_api import TimeoutError as PlaywrightTimeout

from perdure.server import serving
from tests.browser import open_chromium
from tests.resumable.anthropic_scripts import (
    MESSAGE_STOP,
    Event,
    block_start,
    block_stop,
    delta,
    message_delta,
    message_start,
    text_delta,
)
from tests.web.chats_served import CREATE, MODES, Answer, ChatsServed
from tests.web.relay import Relay, relaying

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

REPOSITORY = Path(__file__).parents[2]
WAIT_MS = 30_000
POLLING_MS = 20
WAIT_S = WAIT_MS / 1000
SHOWN = "[...document.querySelectorAll('#log li')].map(line => line.textContent)"

CELLS = [
    pytest.param(adapter, mode, delivery, id=f"{adapter}-{mode}-{delivery}")
    for adapter in CREATE
    for mode in MODES
    for delivery in ("response", "replay")
]


@dataclass(frozen=True)
class Served:
    chats: ChatsServed
    port: int


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    with serving.listen("127.0.0.1", 0) as listener:
        async with (
            ChatsServed(tmp_path_factory.mktemp("chats") / "data") as chats,
            serving.Serving(chats.app, listener),
        ):
            yield Served(chats, listener.getsockname()[1])


Stop: TypeAlias = Callable[[str, str, str], Awaitable[bool]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stop_elsewhere(served: Served) -> AsyncIterator[Stop]:
    """Stops the answer of a stream, by adapter, mode and name, from a process that shares nothing but the directory."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.web.stopping_process", str(served.chats.store)),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    async def stop(adapter: str, mode: str, stream: str) -> bool:
        requests.write(f"{adapter} {mode} {stream}\n".encode())
        async with asyncio.timeout(WAIT_S):
            return await answers.readline() == b"True\n"

    try:
        async with asyncio.timeout(WAIT_S):
            assert await answers.readline() == b"ready\n"
        yield stop
    finally:
        requests.close()
        async with asyncio.timeout(WAIT_S):
            await process.wait()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with open_chromium() as chromium:
        yield chromium


class Tab:
    """A page of one chat."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def shows(self, *lines: str) -> None:
        await self._comes_true(SHOWN, list(lines))

    async def shows_last(self, line: str) -> None:
        await self._comes_true("[document.querySelector('#log').lastElementChild?.textContent]", [line])

    async def is_idle(self) -> None:
        await self._comes_true("[document.body.dataset.state]", ["idle"])

    async def becomes(self, visibility: str) -> None:
        """Tell the page that it is "hidden" or "visible"; in this browser all tabs are seen."""
        await self.page.evaluate(
            """visibility => {
                Object.defineProperty(document, "visibilityState", { value: visibility, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            visibility,
        )

    async def is_ready(self) -> None:
        await self._comes_true("[document.title]", ["Ready"])

    async def _comes_true(self, expression: str, values: list[str]) -> None:
        """Wait until a list in the page has these values, without the pauses of `expect`."""
        try:
            is_so = f"values => JSON.stringify({expression}) === JSON.stringify(values)"
            await self.page.wait_for_function(is_so, arg=values, polling=POLLING_MS, timeout=WAIT_MS)
        except PlaywrightTimeout:
            assert await self.page.evaluate(expression) == values

    async def say(self, text: str) -> None:
        await self.page.evaluate("text => say(text)", text)

    async def stop(self) -> None:
        await self.page.evaluate("stop()")

    async def reload(self) -> None:
        await self.page.reload()
        await self.is_ready()


class Chat:
    """One chat of one cell, in a browser context of its own and with a network of its own."""

    _numbers = count()

    def __init__(
        self, chats: ChatsServed, context: BrowserContext, relay: Relay, *, adapter: str, mode: str, delivery: str
    ) -> None:
        self.adapter, self.mode, self.delivery = adapter, mode, delivery
        self._id = f"c{next(self._numbers)}"
        self._chats = chats
        self._context = context
        self._relay = relay
        self._tabs: list[Tab] = []

    @property
    def keeps_history(self) -> bool:
        return self.mode == "session"

    @property
    def is_live(self) -> bool:
        """Whether its tabs listen to all turns."""
        return self.keeps_history and self.delivery == "replay"

    @property
    def stream(self) -> str:
        return self._chats.name_of(self.adapter, self.mode, self._id)

    async def open_tab(self) -> Tab:
        tab = Tab(await self._context.new_page())
        self._tabs.append(tab)
        query = f"adapter={self.adapter}&mode={self.mode}&delivery={self.delivery}&chat={self._id}"
        await tab.page.goto(f"http://127.0.0.1:{self._relay.port}/?{query}")
        await tab.is_ready()
        return tab

    async def ask(self, tab: Tab, text: str, *stages: list[Event], failure: Exception | None = None) -> Answer:
        """Send `text`; gives the answer, which begins, and waits with its first stage.

        The tab shows the question, so it follows: what was over before, only a mode with a history would show it.
        """
        answer = Answer(*stages, failure=failure)
        self._chats.answers[self._id].append(answer)
        await tab.say(text)
        async with asyncio.timeout(WAIT_S):
            await answer.begins()
        await tab.shows_last(f"user: {text}")
        return answer

    @asynccontextmanager
    async def network_away(self) -> AsyncIterator[None]:
        """The browser is told that it is offline, and its connections are cut, as where a network goes."""
        await self._context.set_offline(True)
        self._relay.cut()
        yield
        self._relay.is_away = False
        await self._context.set_offline(False)

    async def comes_to_rest(self, tab: Tab, *lines: str) -> None:
        """`tab` shows these lines in the end, and after a reload what the mode keeps of them."""
        await self.has_ended(tab, *lines)
        await tab.reload()
        await self.has_ended(tab, *(lines if self.keeps_history else ()))
        assert [error for tab in self._tabs for error in tab.errors] == []

    async def has_ended(self, tab: Tab, *lines: str) -> None:
        if not self.is_live:  # a listener has no end
            await tab.is_idle()
        await tab.shows(*lines)


@pytest_asyncio.fixture(loop_scope="module")
async def chat(served: Served, browser: Browser, adapter: str, mode: str, delivery: str) -> AsyncIterator[Chat]:
    async with relaying(served.port) as relay:
        context = await browser.new_context()
        yield Chat(served.chats, context, relay, adapter=adapter, mode=mode, delivery=delivery)
        await context.close()


def text(*pieces: str, message_id: str = "msg_1") -> tuple[list[Event], list[Event]]:
    """A message with one text, in two stages."""
    first, *rest = map(text_delta, pieces)
    return [message_start(message_id), block_start(), first], [*rest, *ending("end_turn")]


def ending(reason: str) -> list[Event]:
    return [block_stop(), message_delta(reason), MESSAGE_STOP]


TOOL_CALL = [
    [message_start("msg_1"), block_start(0, type="tool_use", id="toolu_1", name="weather", input={})],
    [delta(0, "input_json_delta", partial_json='{"city":"Sao')],
    [delta(0, "input_json_delta", partial_json=' Paulo"}'), *ending("tool_use")],
]


in_every_cell = pytest.mark.parametrize(("adapter", "mode", "delivery"), CELLS)


@in_every_cell
async def test_an_answer_survives_a_reload_at_every_stage(chat: Chat) -> None:
    tab = await chat.open_tab()
    answer = await chat.ask(tab, "Weather?", *TOOL_CALL, *text("It is ", "sunny \u2028 ☀", message_id="msg_2"))
    called = ["user: Weather?", 'assistant: weather {"city":"Sao Paulo"}']
    for lines in (
        ["user: Weather?"],  # no token yet
        ["user: Weather?", "assistant: weather "],
        ["user: Weather?", 'assistant: weather {"city":"Sao'],
        called,  # the tool runs
        [*called, "assistant: It is "],
        [*called, "assistant: It is sunny \u2028 ☀"],  # nothing says yet that this is the end
    ):
        await tab.shows(*lines)
        await tab.reload()
        await tab.shows(*lines)
        await answer.go_on()
    await chat.comes_to_rest(tab, *lines)


@in_every_cell
async def test_three_turns_of_which_one_fails_are_the_same_in_all_tabs(chat: Chat) -> None:
    sender, before = await chat.open_tab(), await chat.open_tab()
    answer = await chat.ask(sender, "one", *text("1st ", "answer"))
    await answer.go_on()
    lines = ["user: one", "assistant: 1st "]
    await sender.shows(*lines)
    after = await chat.open_tab()
    await after.shows(*lines)
    if not chat.is_live:  # who does not listen sees it on the next visit
        await before.shows()
        await before.reload()
    await before.shows(*lines)
    await answer.go_on()
    await answer.go_on()
    lines[-1] += "answer"
    for tab in (sender, before, after):
        await chat.has_ended(tab, *lines)

    failing = await chat.ask(after, "two", *text("2nd ", message_id="msg_2")[:1], failure=RuntimeError("a secret"))
    await failing.go_on()
    await failing.go_on()
    lines += ["user: two", "assistant: 2nd ", "error: An error occurred."]
    await chat.has_ended(after, *lines)

    third = await chat.ask(after, "three", *text("3rd ", "answer", message_id="msg_3"))
    for _ in range(3):
        await third.go_on()
    lines += ["user: three", "assistant: 3rd answer"]
    await chat.comes_to_rest(after, *lines)
    if chat.is_live:
        await sender.shows(*lines)


@in_every_cell
async def test_an_answer_goes_on_while_the_network_is_away(chat: Chat) -> None:
    tab = await chat.open_tab()
    answer = await chat.ask(tab, "one", *text("begun", ", gone on, "), [])
    await answer.go_on()
    lines = ["user: one", "assistant: begun"]
    await tab.shows(*lines)
    async with chat.network_away():
        await answer.go_on()
        await tab.shows(*lines)
    lines[-1] += ", gone on, "
    await tab.shows(*lines)
    await answer.go_on()
    await answer.go_on()
    await chat.has_ended(tab, *lines)

    answer = await chat.ask(tab, "two", *text("begun", ", ended", message_id="msg_2"))
    await answer.go_on()
    lines += ["user: two", "assistant: begun"]
    await tab.shows(*lines)
    async with chat.network_away():
        await answer.go_on()
        await answer.go_on()
        await answer.is_stored()
    if chat.keeps_history:
        lines[-1] += ", ended"
    await chat.comes_to_rest(tab, *lines)  # what has ended without being kept cannot be had any more


@in_every_cell
async def test_an_answer_is_stopped_from_another_tab_and_from_another_process(chat: Chat, stop_elsewhere: Stop) -> None:
    told = ["stopped"] if chat.adapter == "events" else []  # Anthropic's format has no event for it
    tab = await chat.open_tab()
    answer = await chat.ask(tab, "one", *text("begun", "never said"))
    await answer.go_on()
    lines = ["user: one", "assistant: begun"]
    await tab.shows(*lines)
    other = await chat.open_tab()
    await other.shows(*lines)
    await other.stop()
    async with asyncio.timeout(WAIT_S):
        await answer.closed.wait()
    lines += told
    for each in (tab, other):
        await chat.has_ended(each, *lines)

    answer = await chat.ask(tab, "two", *text("begun again", "never said", message_id="msg_2"))
    await answer.go_on()
    lines += ["user: two", "assistant: begun again"]
    await tab.shows(*lines)
    assert await stop_elsewhere(chat.adapter, chat.mode, chat.stream)
    async with asyncio.timeout(WAIT_S):
        await answer.closed.wait()
    lines += told
    await chat.comes_to_rest(tab, *lines)


CONNECTIONS = 6
"""That a browser opens to one server over HTTP/1.1."""


@pytest.mark.parametrize(("adapter", "mode", "delivery"), [("anthropic", "session", "replay")])
async def test_tabs_that_are_hidden_leave_their_connections_to_others_and_catch_up_when_they_are_shown(
    chat: Chat,
) -> None:
    hidden = [await chat.open_tab() for _ in range(CONNECTIONS)]
    for tab in hidden:
        await tab.becomes("hidden")
    tab = await chat.open_tab()  # without a connection it would wait for ever
    answer = await chat.ask(tab, "one", *text("begun", ", ended"))
    await answer.go_on()
    await tab.shows("user: one", "assistant: begun")
    await hidden[0].becomes("visible")
    await hidden[0].shows("user: one", "assistant: begun")
    await answer.go_on()
    await answer.go_on()
    await hidden[1].shows()
    await hidden[1].becomes("visible")
    for each in (tab, *hidden[:2]):
        await chat.has_ended(each, "user: one", "assistant: begun, ended")
