"""The Python client of TanStack AI sessions with a real application, and what it makes of answers that go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from perdure import S2
from perdure.errors import ProtocolViolation, UsageError
from perdure.resumable.client import HttpError, TanstackClient, create_tanstack_client
from perdure.resumable.json_body import JsonObject
from tests.resumable.client.cases import OVER, body, frame
from tests.resumable.client.scripted_peer import Answer, ScriptedPeer, Stall
from tests.resumable.frame_cutter import frame_cutter
from tests.resumable.session_page import Page, page_on
from tests.resumable.tanstack_scripts import run_finished


@pytest.fixture(autouse=True)
async def _time_limit() -> AsyncIterator[None]:
    async with asyncio.timeout(60):
        yield


@pytest.fixture
async def page(s2: S2) -> AsyncIterator[Page]:
    async with page_on(s2) as page:
        yield page


def client_of(url: str, *, loads: bool = True) -> TanstackClient:
    return create_tanstack_client(
        send_url=f"{url}/send",
        subscribe_url=f"{url}/replay?id=c1&live=1",
        history_url=f"{url}/history?id=c1" if loads else None,
        stop_url=f"{url}/send",
        thread_id="t1",
        body={"id": "c1"},
        reconnect_backoff_ms=[0, 20],
    )


def shown(messages: Sequence[JsonObject]) -> list[tuple[object, str]]:
    """What somebody reads, and how tool calls stand."""
    told: list[tuple[object, str]] = []
    for message in messages:
        parts = message["parts"]
        assert isinstance(parts, list)
        texts = [
            part["content"] if part["type"] == "text" else part["state"] for part in parts if isinstance(part, dict)
        ]
        told.append((message["role"], "|".join(map(str, texts))))
    return told


def said(text: str) -> list[tuple[object, str]]:
    return [("user", text), ("assistant", f"You said: {text}\u2028")]


async def until(client: TanstackClient, is_so: Callable[[], bool]) -> None:
    async for _ in client.changes():
        if is_so():
            return


@pytest.mark.parametrize("loads", [True, False])
async def test_clients_show_what_the_chat_amounts_to_whoever_asked(page: Page, loads: bool) -> None:
    async with client_of(page.url, loads=loads) as one, client_of(page.url, loads=loads) as two:
        answered = await one.ask("hello")
        assert shown(answered.messages) == said("hello")[1:]
        assert (answered.error, answered.interrupts) == (None, ())
        await until(two, lambda: shown(two.messages) == said("hello") and not two.is_generating)
        parts: list[JsonObject] = [{"type": "text", "content": "more"}]
        await two.ask(parts, data={"mood": "good"})
        assert page.bodies[-1]["data"] == {"mood": "good"}
        assert [message["role"] for message in page.bodies[-1]["messages"]] == ["user", "assistant", "user"]
        await until(one, lambda: shown(one.messages) == [*said("hello"), *said("more")] and not one.is_generating)
        async with client_of(page.url, loads=loads) as late:
            await until(late, lambda: late.messages == one.messages)
        history = (await page.chat.history("chat-c1"))["messages"]
        assert list(one.messages) == list(two.messages) == history


async def test_an_answer_is_stopped_by_another_client(page: Page) -> None:
    async with client_of(page.url) as one, client_of(page.url) as two, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(one.ask("stall"))
        await until(two, lambda: two.is_generating and shown(two.messages)[1:] == [("assistant", "You said: ")])
        with pytest.raises(HttpError, match="HTTP 409"):
            await two.ask("me too")
        await two.stop()
        assert shown((await asking).messages) == [("assistant", "You said: ")]
        assert shown((await two.ask("again")).messages) == said("again")[1:]


async def test_an_answer_that_fails_says_why(page: Page) -> None:
    async with client_of(page.url) as client:
        failed = await client.ask("fail")
        assert failed.error == "An error occurred."
        assert shown(failed.messages) == [("assistant", "You said: ")]
        assert not client.is_generating


@pytest.mark.parametrize("loads", [True, False])
async def test_a_question_is_answered_by_a_client_that_came_after_it(page: Page, loads: bool) -> None:
    async with client_of(page.url) as one:
        asked = await one.ask("ask")
        assert [interrupt["id"] for interrupt in asked.interrupts] == ["ask-c1"]
        assert shown(asked.messages) == [("assistant", "approval-requested")]
        with pytest.raises(UsageError, match="nobody asks for these approvals: \\['other'\\]"):
            await one.respond({"other": True, "ask-c1": True})
    async with client_of(page.url, loads=loads) as two:
        await until(two, lambda: two.interrupts == asked.interrupts)
        answered = await two.respond({"ask-c1": True})
        # The result of the tool, and the answer after it, in the message of the question.
        assert shown(answered.messages)[0][1].startswith("complete|complete")
        assert two.interrupts == ()
    sent = page.bodies[1]
    assert sent["resume"] == [{"interruptId": "ask-c1", "status": "resolved", "payload": {"approved": True}}]
    assert (sent["parentRunId"], sent["threadId"]) == (page.bodies[0]["runId"], "t1")
    call = sent["messages"][1]["parts"][0]
    assert (call["state"], call["approval"]["approved"]) == ("approval-responded", True)


async def test_connections_that_break_lose_nothing(page: Page) -> None:
    turns: list[tuple[object, str]] = []
    for frames in range(10):
        async with frame_cutter(page.port, frames) as cutter, client_of(f"http://127.0.0.1:{cutter.port}") as client:
            await client.ask("hello")
            turns += said("hello")
            assert cutter.left == 0
            assert shown(client.messages) == turns


@pytest.mark.parametrize("asks", [False, True])
async def test_a_turn_that_was_over_before_the_subscription_began_is_over(page: Page, asks: bool) -> None:
    """The subscription then begins with the messages, and has no end of a run but of one that asks something."""
    is_open = False

    def replay(cursor: int | None) -> str:
        return f"{page.url if is_open else 'http://127.0.0.1:9'}/replay?id=c1&live=1"

    async with (
        create_tanstack_client(
            send_url=f"{page.url}/send", subscribe_url=replay, body={"id": "c1"}, reconnect_backoff_ms=[5]
        ) as client,
        client_of(page.url) as other,
        asyncio.TaskGroup() as tasks,
    ):
        asking = tasks.create_task(client.ask("ask" if asks else "hello"))
        answered = [("assistant", "approval-requested")] if asks else said("hello")[1:]
        await until(other, lambda: shown(other.messages)[1:] == answered and not other.is_generating)
        is_open = True
        answer = await asking
        assert shown(answer.messages) == answered
        assert [interrupt["id"] for interrupt in answer.interrupts] == (["ask-c1"] if asks else [])


async def test_a_replay_that_ends_is_asked_for_again_when_something_is_sent() -> None:
    async with ScriptedPeer([OVER, Answer(202), body(frame(run_finished(), 3), Stall())]) as peer:
        async with create_tanstack_client(send_url=f"{peer.url}/send", subscribe_url=f"{peer.url}/stream") as client:
            await until(client, lambda: not client.is_following)
            await client.send("hi")
            await peer.mark("reached/here").wait()
        await peer.mark("gone/here").wait()
    assert [str(request) for request in peer.requests] == ["GET /stream", "POST /send", "GET /stream"]


async def test_a_chat_that_is_refused_is_an_error_of_whoever_waits() -> None:
    async with (
        ScriptedPeer([Answer(403)]) as peer,
        create_tanstack_client(send_url=f"{peer.url}/send", subscribe_url=f"{peer.url}/stream") as client,
    ):
        with pytest.raises(HttpError, match="HTTP 403"):
            await until(client, lambda: False)
        with pytest.raises(HttpError, match="HTTP 403"):
            await client.ask("hi")
    async with ScriptedPeer([Answer(200, b"<html>"), Answer(404)]) as peer:
        for error in (ProtocolViolation, HttpError):
            with pytest.raises(error):
                async with create_tanstack_client(
                    send_url=peer.url, subscribe_url=peer.url, history_url=f"{peer.url}/history"
                ):
                    pass


async def test_closing_ends_every_wait(page: Page) -> None:
    async with client_of(page.url) as client:
        asking = asyncio.create_task(client.ask("stall"))
        await until(client, lambda: client.is_generating)
        watching = asyncio.create_task(until(client, lambda: False))
        await asyncio.sleep(0)
    with pytest.raises(UsageError, match="closed before the answer was over"):
        await asking
    await watching
    with pytest.raises(UsageError, match="closed"):
        await client.send("hi")
    async with client_of(page.url) as other:
        asking = asyncio.create_task(other.ask("stall"))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await other.stop()
