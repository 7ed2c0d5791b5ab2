"""The stock clients of TanStack AI in a browser, newest and older: what they show is what the source said, once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser

from tests.browser import open_chromium
from tests.resumable.tanstack_pages import App, Tab, Version, application, bundle_page, told
from tests.resumable.tanstack_scripts import (
    Event,
    run_finished,
    run_started,
    text_content,
    text_end,
    text_message,
    text_start,
    thought,
    tool_call,
    tool_result,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
both_versions = pytest.mark.parametrize("version", ["newest", "older"])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    bundle_page(folder)
    return folder


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_chromium() as chromium:
        yield chromium


@pytest.fixture
async def app(tmp_path: Path, page: Path) -> AsyncIterator[App]:
    async with application(tmp_path / "data", page) as app:
        yield app


def asks_for_approval(call: str, approval: str) -> Event:
    asked = {"toolCallId": call, "toolName": "weather", "approval": {"id": approval, "needsApproval": True}}
    return {"type": "CUSTOM", "name": "approval-requested", "value": asked}


def interrupt(call: str, approval: str) -> Event:
    """How newer servers ask."""
    about = {"kind": "approval", "toolName": "weather", "input": {"city": "Bonn"}}
    asked = {"id": approval, "reason": "approval_required", "toolCallId": call, "metadata": about}
    return {"type": "interrupt", "interrupts": [asked]}


GREETING: Final = [run_started("r1"), *text_message("Hel", "lo"), run_finished("r1")]
WEATHER: Final = [
    run_started("r2"),
    text_start("a2"),
    thought("h"),
    thought("m"),
    *tool_call('{"city":', '"Köln"}', parentMessageId="a2"),
    tool_result("21"),
    *text_message("It is ", "warm.\u2028", message="a3"),
    run_finished("r2"),
]
REQUEST: Final = [
    run_started("r3"),
    *text_message("May I?", message="a4"),
    *tool_call('{"city":"Bonn"}', call="c2", parentMessageId="a4"),
    asks_for_approval("c2", "yes-or-no"),
    run_finished("r3"),
]
CONSENT: Final = [
    run_started("r4"),
    tool_result("sent", "c2"),
    *text_message("Done.", message="a5"),
    run_finished("r4"),
]


def user(text: str) -> Any:
    return ("user", [("text", text)])


def assistant(*parts: Any) -> Any:
    return ("assistant", [*parts])


def call(city: str, state: str, output: object) -> Any:
    return ("call", "weather", f'{{"city":"{city}"}}', state, output)


# --- a session that every tab follows ---


@both_versions
async def test_three_turns_are_the_same_in_every_tab(app: App, browser: Browser, version: Version) -> None:
    """With a thought, a tool call and an approval; `sessionGenerating` tells the other tab of the answer."""
    sender = await Tab.open(browser, app, version, "session", "c")
    other = await Tab.open(browser, app, version, "session", "c")
    source = app.generate("c", *GREETING[:3], ends=False)
    await sender.send("hi")
    for tab in (sender, other):
        await tab.until_text("Hel")
        await tab.until("s.sessionGenerating")
    assert ((await sender.state())["isLoading"], (await other.state())["isLoading"]) == (True, False)
    source.give(*GREETING[3:])
    source.end()
    await _all_rest(sender, other, after="Hello")

    app.generate("c", *WEATHER)
    await other.send("Is it warm?")
    await _all_rest(sender, other, after="It is warm.\u2028")

    app.generate("c", *REQUEST)
    await sender.send("Tell Bonn")
    for tab in (sender, other):
        await tab.until("s.messages.at(-1)?.parts.at(-1)?.state === 'approval-requested'")
        await tab.until_rest()
    late = await Tab.open(browser, app, version, "session", "c")
    await late.until("s.messages.at(-1)?.parts.at(-1)?.state === 'approval-requested'")
    app.generate("c", *CONSENT)
    await late.decide("yes-or-no", approved=True)
    await _all_rest(sender, other, late, after="Done.")
    parts = [part for message in app.posted[-1]["messages"] for part in message["parts"]]
    (approved,) = [part["approval"] for part in parts if "approval" in part]
    assert approved["approved"] is True

    def expected(state: str, output: object = "sent") -> list[Any]:
        return [
            *(user("hi"), assistant(("text", "Hello")), user("Is it warm?")),
            assistant(("thinking", "hm"), call("Köln", "complete" if output else state, 21)),
            *(assistant(("text", "It is warm.\u2028")), user("Tell Bonn")),
            assistant(("text", "May I?"), call("Bonn", state, output)),
            assistant(("text", "Done.")),
        ]

    complete = expected("complete")
    assert told(await app.messages("c")) == complete
    reloaded = await Tab.open(browser, app, version, "session", "c")
    await reloaded.until_text("Done.")
    assert await reloaded.told() == complete
    assert [chunk["type"] for chunk in (await reloaded.state())["chunks"]] == ["MESSAGES_SNAPSHOT"]
    if version == "newest":
        assert [await tab.told() for tab in (sender, other, late)] == [complete] * 3
    else:  # it does not set the state of a call that has its result, nor shows the result where it was allowed
        told_by_sender = await sender.told()
        assert told_by_sender == await other.told()
        assert _without_states(told_by_sender) == _without_states(complete)
        assert _without_states(await late.told())[:6] == _without_states(complete)[:6]
        assert (await late.told())[6:] == [
            assistant(("text", "May I?"), call("Bonn", "approval-responded", None)),
            assistant(("text", "Done.")),
        ]
    assert [tab.errors for tab in (sender, other, late, reloaded)] == [[]] * 4


@both_versions
async def test_a_reload_in_mid_run_shows_a_snapshot_and_the_run(app: App, browser: Browser, version: Version) -> None:
    tab = await Tab.open(browser, app, version, "session", "c")
    app.generate("c", *GREETING)
    await tab.send("hi")
    await _all_rest(tab, after="Hello")
    source = app.generate("c", *WEATHER[:9], ends=False)
    await tab.send("Is it warm?")
    await tab.until("s.messages.at(-1)?.parts.some(part => part.output === 21)")
    await tab.reload()
    await tab.until("s.messages.at(-1)?.parts.some(part => part.output === 21)")
    state = await tab.state()
    assert (state["sessionGenerating"], state["isLoading"]) == (True, False)
    source.give(*WEATHER[9:])
    source.end()
    await _all_rest(tab, after="It is warm.\u2028")
    state = await tab.state()
    assert [chunk["type"] for chunk in state["chunks"]] == ["MESSAGES_SNAPSHOT", *(event["type"] for event in WEATHER)]
    assert [message["role"] for message in state["chunks"][0]["messages"]] == ["user", "assistant", "user"]
    assert _without_states(told(state["messages"])) == _without_states(told(await app.messages("c")))
    assert tab.errors == []


@both_versions
async def test_a_subscription_that_breaks_goes_on_where_it_was(app: App, browser: Browser, version: Version) -> None:
    cuts = [1, 2, 1, 1, 3, 1, 2, 1, 1, 1]
    whole = await Tab.open(browser, app, version, "session", "c")
    broken = await Tab.open(browser, app, version, "session", "c", cuts=cuts)
    app.generate("c", *WEATHER)
    await broken.send("Is it warm?")
    await _all_rest(whole, broken, after="It is warm.\u2028")
    got, expected = await broken.state(), await whole.state()
    assert got["chunks"] == expected["chunks"]
    assert [chunk["type"] for chunk in got["chunks"][3:]] == [event["type"] for event in WEATHER]
    cursors = [request["url"].partition("&from=")[2] for request in got["requests"] if request["method"] == "GET"]
    assert len(cursors) == len(cuts) + 1
    assert cursors[0] == ""
    assert [int(cursor) for cursor in cursors[1:]] == sorted({int(cursor) for cursor in cursors[1:]})
    assert broken.errors == []


@both_versions
async def test_a_stop_here_or_in_another_process_ends_the_run_in_every_tab(
    app: App, browser: Browser, version: Version
) -> None:
    sender = await Tab.open(browser, app, version, "session", "c")
    other = await Tab.open(browser, app, version, "session", "c")
    first = app.generate("c", *GREETING[:3], ends=False)
    await sender.send("hi")
    for tab in (sender, other):
        await tab.until_text("Hel")
    third = await Tab.open(browser, app, version, "session", "c")
    await third.until_text("Hel")
    await third.send("me too")  # while an answer is written
    await third.until("s.error !== null")
    assert "409" in (await third.state())["error"]
    await sender.stop()
    await _all_rest(sender, other, after="Hel")
    second = app.generate("c", run_started("r2"), text_start("a2"), text_content("On", "a2"), ends=False)
    await sender.send("go on")
    for tab in (sender, other):
        await tab.until_text("On")
    assert await app.stop_from_another_process("c") == 202
    await _all_rest(sender, other, after="On")
    assert await app.stop_from_another_process("c") == 204
    for source in (first, second):
        async with asyncio.timeout(30):
            await source.closed.wait()
    late = await Tab.open(browser, app, version, "session", "c")
    await late.until_text("On")
    expected = [user("hi"), assistant(("text", "Hel")), user("go on"), assistant(("text", "On"))]
    assert await sender.told() == await late.told() == expected
    assert len(app.posted) == 2, "the refused turn has not reached the source"
    ends = [chunk for chunk in (await other.state())["chunks"] if chunk["type"] == "RUN_FINISHED"]
    assert [(end["runId"], end["finishReason"]) for end in ends] == [("r1", "stop"), ("r2", "stop")]


@both_versions
async def test_a_failure_is_told_in_every_tab_and_the_chat_goes_on(
    app: App, browser: Browser, version: Version
) -> None:
    sender = await Tab.open(browser, app, version, "session", "c")
    other = await Tab.open(browser, app, version, "session", "c")
    source = app.generate("c", *GREETING[:3], ends=False)
    await sender.send("hi")
    for tab in (sender, other):
        await tab.until_text("Hel")
    source.fail(RuntimeError("secret"))
    for tab in (sender, other):
        await tab.until("s.error === 'An error occurred.'")
        await tab.until_rest()
    app.generate("c", run_started("r2"), *text_message("Better", message="a2"), run_finished("r2"))
    await sender.send("again")
    await _all_rest(sender, other, after="Better")
    assert (await sender.state())["error"] is None
    expected = [user("hi"), assistant(("text", "Hel")), user("again"), assistant(("text", "Better"))]
    assert await sender.told() == await other.told() == told(await app.messages("c")) == expected


@both_versions
async def test_a_replay_with_nothing_to_show_ends_in_peace(app: App, browser: Browser, version: Version) -> None:
    """A replay that is not live answers 204 from the end of an idle chat on; the client must not wait for ever."""
    app.generate("c", *GREETING)
    sender = await Tab.open(browser, app, version, "session", "c")
    await sender.send("hi")
    await _all_rest(sender, after="Hello")
    end = (await app.chat.history("c-c"))["nextSeqNum"]
    tab = await Tab.open(browser, app, version, "session", "c", replay=f"from={end}")
    await tab.until("!s.isSubscribed")
    state = await tab.state()
    assert [chunk["type"] for chunk in state["chunks"]] == ["RUN_FINISHED"]
    assert (state["messages"], state["error"], state["sessionGenerating"]) == ([], None, False)


# --- the stock connection, `fetchServerSentEvents` ---

AGENT: Final = [
    *(run_started("r1"), text_start("a1"), thought("hm"), *tool_call('{"city":"Köln"}', parentMessageId="a1")),
    *(tool_result("21"), run_finished("r1", "tool_calls"), *text_message("It is ", "warm.\u2028", message="a2")),
    run_finished("r1"),
]
"""A run of two steps, of which the first ends with `RUN_FINISHED` too."""


async def test_the_stock_connection_resumes_after_every_event(app: App, browser: Browser) -> None:
    tab = await Tab.open(browser, app, "newest", "stock", "c", cuts=[1] * 100)
    app.generate("c", *AGENT)
    await tab.send("Is it warm?")
    await _all_rest(tab, after="It is warm.\u2028")
    expected = [
        user("Is it warm?"),
        assistant(("thinking", "hm"), call("Köln", "complete", 21)),
        assistant(("text", "It is warm.\u2028")),
    ]
    state = await tab.state()
    assert told(state["messages"]) == told(await app.messages("c")) == expected
    assert [chunk["type"] for chunk in state["chunks"][3:]] == [event["type"] for event in AGENT]
    posts = [request["lastEventId"] for request in state["requests"] if request["method"] == "POST"]
    assert len(posts) > len(AGENT)
    assert posts[0] is None
    assert None not in posts[1:]
    assert len(app.posted) == 1, "no resume has started another run"


async def test_a_stock_page_that_is_reloaded_loads_the_thread_and_joins_the_run(app: App, browser: Browser) -> None:
    tab = await Tab.open(browser, app, "newest", "stock", "c")
    app.generate("c", *GREETING)
    await tab.send("hi")
    await _all_rest(tab, after="Hello")
    source = app.generate("c", run_started("r2"), text_start("a2"), text_content("Go", "a2"), ends=False)
    await tab.send("on")
    await tab.until_text("Go")
    await tab.reload()
    await tab.until_text("Go")
    assert (await tab.state())["isLoading"]
    source.give(text_content("ing", "a2"), text_end("a2"), run_finished("r2"))
    source.end()
    await _all_rest(tab, after="Going")
    expected = [user("hi"), assistant(("text", "Hello")), user("on"), assistant(("text", "Going"))]
    assert await tab.told() == told(await app.messages("c")) == expected
    asked = [(request["method"], request["url"].partition("&")[2]) for request in (await tab.state())["requests"]]
    assert [(method, query.partition("=")[0]) for method, query in asked] == [("GET", "threadId"), ("GET", "offset")]
    app.generate("c", run_started("r3"), *text_message("On.", message="a3"), run_finished("r3"))
    await tab.send("and on")
    await _all_rest(tab, after="On.")
    assert await tab.told() == told(await app.messages("c")) == [*expected, user("and on"), assistant(("text", "On."))]


async def test_a_stock_run_that_is_interrupted_goes_on_when_it_is_allowed(app: App, browser: Browser) -> None:
    tab = await Tab.open(browser, app, "newest", "stock", "c")
    app.generate("c", *REQUEST[:-2], run_finished("r3", outcome=interrupt("c2", "yes-or-no")))
    await tab.send("Tell Bonn")
    await tab.until("s.messages.at(-1)?.parts.at(-1)?.state === 'approval-requested'")
    await tab.until_rest()
    app.generate("c", *CONSENT)
    await tab.decide("yes-or-no", approved=True)
    await _all_rest(tab, after="Done.")
    (answer,) = app.posted[-1]["resume"]
    assert (answer["interruptId"], answer["payload"]) == ("yes-or-no", {"approved": True})
    expected = [
        user("Tell Bonn"),
        assistant(("text", "May I?"), call("Bonn", "complete", "sent")),
        assistant(("text", "Done.")),
    ]
    assert await tab.told() == told(await app.messages("c")) == expected


@both_versions
async def test_a_stock_run_may_be_stopped_by_another_process_and_may_fail(
    app: App, browser: Browser, version: Version
) -> None:
    tab = await Tab.open(browser, app, version, "stock", "c")
    app.generate("c", *WEATHER[:-2], ends=False)
    await tab.send("Is it warm?")
    await tab.until_text("It is warm.\u2028")
    assert await app.stop_from_another_process("c") == 202
    await _all_rest(tab, after="It is warm.\u2028")
    source = app.generate("c", run_started("r3"), text_start("a4"), text_content("Ma", "a4"), ends=False)
    await tab.send("Tell Bonn")
    await tab.until_text("Ma")
    source.fail(RuntimeError("secret"))
    await tab.until("s.error === 'An error occurred.'")
    await tab.until_rest()
    expected = [
        user("Is it warm?"),
        assistant(("thinking", "hm"), call("Köln", "complete", 21)),
        assistant(("text", "It is warm.\u2028")),
        user("Tell Bonn"),
        assistant(("text", "Ma")),
    ]
    assert told(await app.messages("c")) == expected
    assert _without_states(await tab.told()) == _without_states(expected)
    assert len(app.posted) == 2
    assert tab.errors == []


async def _all_rest(*tabs: Tab, after: str) -> None:
    """Wait until all tabs show this text, and nothing is generated any more."""
    for tab in tabs:
        await tab.until_text(after)
        await tab.until_rest()


def _without_states(messages: list[Any]) -> list[Any]:
    """Calls without their state, which an older client does not set at the result."""
    return [(role, [part[:3] + part[4:] if part[0] == "call" else part for part in parts]) for role, parts in messages]
