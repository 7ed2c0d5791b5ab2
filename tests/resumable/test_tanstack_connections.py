"""The connections of web/tanstack-ai.js between stock clients, the newest and an older one, and a real application."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure import S2
from tests.resumable.frame_cutter import frame_cutter
from tests.resumable.session_page import page_on, tabs
from tests.serve_command import ServeCommand

pytestmark = pytest.mark.timeout(180)


def said(text: str) -> list[tuple[str, str]]:
    """A turn as a tab shows it."""
    return [("user", text), ("assistant", f"You said: {text}\u2028")]


CALM = {"loading": False, "generating": False}


@pytest.mark.parametrize("version", ["new", "old"])
@pytest.mark.parametrize("make", ["createConnection", "createS2Connection"])
async def test_tabs_show_the_same_whoever_writes_and_whenever_they_open(s2: S2, version: str, make: str) -> None:
    async with page_on(s2) as page, tabs() as tab:
        await tab.open("one", page.url, version, make)
        await tab.open("two", page.url, version, make)
        await tab.tell("send", "one", text="hello")
        await tab.tell("settled", "one")
        for name in ("one", "two"):
            await tab.show(name, *said("hello"), **CALM)
        await tab.tell("send", "two", text="more")
        await tab.tell("settled", "two")
        await tab.open("late", page.url, version, make)
        for name in ("one", "two", "late"):
            shown = await tab.show(name, *said("hello"), *said("more"), **CALM)
            assert shown["errors"] == []
        ids = [message["id"] for message in (await page.chat.history("chat-c1"))["messages"]]
        assert len(ids) == 4


@pytest.mark.parametrize("version", ["new", "old"])
async def test_a_turn_is_seen_by_who_opens_meanwhile_and_stopped_by_anybody(s2: S2, version: str) -> None:
    async with page_on(s2) as page, tabs() as tab:
        await tab.open("one", page.url, version)
        await tab.tell("send", "one", text="stall")
        begun = [("user", "stall"), ("assistant", "You said: ")]
        await tab.show("one", *begun, generating=True, loading=True)
        await tab.open("two", page.url, version)
        await tab.show("two", *begun, generating=True, loading=False)
        refused = await tab.tell("send", "two", text="me too")
        refused = await tab.tell("settled", "two")
        assert refused["errors"] == ["HttpError: HTTP 409 Conflict"]
        await tab.tell("stop", "two")
        await tab.tell("settled", "one")
        await tab.show("one", *begun, **CALM)
        await tab.open("three", page.url, version)
        await tab.show("three", *begun, **CALM)
        await tab.tell("send", "three", text="again")
        await tab.tell("settled", "three")
        for name in ("one", "three"):
            shown = await tab.show(name, *begun, *said("again"), **CALM)
            assert shown["errors"] == []


@pytest.mark.parametrize("version", ["new", "old"])
async def test_a_question_is_answered_in_a_tab_that_opened_after_it(s2: S2, version: str) -> None:
    """As after a reload: the tab that was asked is gone."""
    async with page_on(s2) as page, tabs() as tab:
        await tab.open("one", page.url, version)
        await tab.tell("send", "one", text="ask")
        asked = [("user", "ask"), ("assistant", "weather: approval-requested")]
        await tab.show("one", *asked, **CALM)
        await tab.tell("close", "one")
        await tab.open("two", page.url, version)
        questions = ["ask-c1"] if version == "new" else []
        await tab.show("two", *asked, **CALM, asked=questions)
        await tab.tell("approve", "two")
        state = "complete" if version == "new" else "approval-responded"
        now = await tab.tell("until", "two", loading=False, generating=False, asked=[])
        assert now["errors"] == []
        assert now["messages"][1][1].startswith(f"weather: {state}"), now
        assert len(page.bodies) == 2
        assert page.bodies[1].get("resume") == (
            [{"interruptId": "ask-c1", "status": "resolved", "payload": {"approved": True}}]
            if version == "new"
            else None
        )


@pytest.mark.parametrize("version", ["new", "old"])
async def test_a_connection_that_breaks_anywhere_loses_nothing_and_tells_nothing_twice(s2: S2, version: str) -> None:
    async with page_on(s2) as page, tabs() as tab:
        await tab.open("one", page.url, version)
        await tab.tell("send", "one", text="hello")
        await tab.tell("settled", "one")
        chunks_of_a_turn = 10
        for frames in range(1, chunks_of_a_turn + 1):
            turns = said("hello") * frames
            # The first frame of each is the snapshot, and `frames - 1` chunks of the turn follow it.
            async with frame_cutter(page.port, frames) as cutter:
                await tab.open("cut", f"http://127.0.0.1:{cutter.port}", version)
                await tab.show("cut", *turns)
                await tab.tell("send", "cut", text="hello")
                shown = await tab.show("cut", *turns, *said("hello"), **CALM)
                assert shown["errors"] == []
                assert cutter.left == 0
                await tab.tell("close", "cut")


async def test_a_session_over_a_server_of_streams(tmp_path: Path) -> None:
    async with (
        ServeCommand(tmp_path / "data") as server,
        S2(access_token="none", endpoints=server.url) as s2,
        page_on(s2) as page,
        tabs() as tab,
    ):
        await tab.open("one", page.url)
        await tab.tell("send", "one", text="hello")
        await tab.tell("settled", "one")
        await tab.open("two", page.url, "old", "createConnection")
        for name in ("one", "two"):
            await tab.show(name, *said("hello"), **CALM)
