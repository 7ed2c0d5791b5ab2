"""The routes of the Anthropic page over real HTTP, and the models that answer there."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdure import UsageError
from perdure.demo.anthropic_routes import MAX_QUESTION_CHARACTERS
from perdure.demo.claude import choose_messages_model
from perdure.demo.messages_model import Said
from perdure.demo.messages_stand_in import MessagesStandIn
from perdure.demo.tool_loop import MAX_STEPS, events_of_turn
from perdure.demo.tools import COMPANY_LOOKUP, Tool, ToolCall, run_tool
from perdure.resumable.anthropic import messages_from_events
from tests.demo.demo_server import DemoServer
from tests.patience import PATIENCE_SECONDS
from tests.resumable.anthropic_scripts import text_turn, tool_turn
from tests.resumable.messages_api import messages_api

CHAT = "/api/anthropic/chat"


@pytest.fixture
async def http(demo: DemoServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as client:
        yield client


async def followed(http: httpx.AsyncClient, chat_id: str, last: str = "message_stop") -> list[dict[str, Any]]:
    """The events of a chat, up to the first of the type `last`."""
    events: list[dict[str, Any]] = []
    async with http.stream("GET", f"{CHAT}/stream?id={chat_id}&live=1") as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
                if events[-1]["type"] == last:
                    break
    return events


async def test_a_question_is_taken_once_and_read_from_the_log(http: httpx.AsyncClient) -> None:
    asked = {"id": "one", "text": "  a long story "}
    assert (await http.post(CHAT, json=asked)).status_code == 202
    second = await http.post(CHAT, json=asked)
    assert (second.status_code, second.text) == (409, "Stream already in use")
    events = await followed(http, "one", last="content_block_delta")
    assert [event["type"] for event in events[:3]] == ["user_message", "message_start", "content_block_start"]
    assert events[0]["message"] == "a long story"
    assert (await http.delete(CHAT, params={"id": "one"})).status_code == 202
    assert (await http.delete(CHAT, params={"id": "one"})).status_code == 204
    history = (await http.get(f"{CHAT}/history?id=one")).json()
    assert [(turn["user"], turn["stopped"]) for turn in history["turns"]] == [("a long story", True)]
    assert (await http.get(f"{CHAT}/stream?id=one&from={history['nextSeqNum']}")).status_code == 204


async def test_bad_requests_are_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post(CHAT, json={"id": "a b", "text": "hello"})).status_code == 400
    assert (await http.get(f"{CHAT}/history?id=..")).status_code == 400
    for text in ("", "   ", "x" * (MAX_QUESTION_CHARACTERS + 1)):
        assert (await http.post(CHAT, json={"id": "x", "text": text})).status_code == 422
    assert (await http.get("/api/chats")).json() == {"chats": []}


async def test_the_plain_pages_and_their_modules_are_served(http: httpx.AsyncClient) -> None:
    for page in ("/demos", "/anthropic", "/agent"):
        response = await http.get(page)
        assert response.status_code == 200
        assert "/pages/pages.css" in response.text
    for module in ("/pages/anthropic.js", "/pages/agent.js", "/web/anthropic.js"):
        response = await http.get(module)
        assert response.headers["content-type"].startswith("text/javascript")
        assert response.headers["cache-control"] == "no-cache"


async def test_a_signal_ends_the_server_though_a_replay_is_followed(tmp_path: Path) -> None:
    async with (
        DemoServer(tmp_path / "data") as demo,
        httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as http,
        http.stream("GET", f"{CHAT}/stream?id=open&live=1") as replay,
    ):
        assert replay.status_code == 200
        assert await demo.stop() == 0


async def test_claude_answers_through_the_sdk_and_calls_tools(tmp_path: Path) -> None:
    async with messages_api() as api:
        call = tool_turn('{"expression":', '"1840 + 960"}', message_id="msg_1")
        call[1]["content_block"]["name"] = "calculate"
        api.answer(*call)
        api.answer(*text_turn("They employ ", "2800.", message_id="msg_2"))
        api.answer(*text_turn("Again.", message_id="msg_3"))
        async with (
            DemoServer(
                tmp_path / "data",
                ANTHROPIC_API_KEY="test",
                ANTHROPIC_BASE_URL=api.url,
                ANTHROPIC_MODEL="claude-small",
            ) as demo,
            httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as http,
        ):
            assert (await http.get("/api/info")).json()["messagesModel"]["name"] == "claude-small"
            await http.post(CHAT, json={"id": "c", "text": "how many?"})
            await ended(http, "c", turns=1)
            await http.post(CHAT, json={"id": "c", "text": "and again?"})
            history = await ended(http, "c", turns=2)
    assert [message["id"] for message in history["messages"]] == ["msg_1", "msg_2", "msg_3"]
    first, second, third = api.requests
    assert (first["model"], first["tool_choice"], len(first["tools"])) == ("claude-small", {"type": "auto"}, 2)
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "2800"}
    assert second["messages"][-1] == {"role": "user", "content": [result]}
    assert third["messages"] == [
        *second["messages"],
        {"role": "assistant", "content": [{"type": "text", "text": "They employ 2800."}]},
        {"role": "user", "content": "and again?"},
    ]


async def ended(http: httpx.AsyncClient, chat_id: str, *, turns: int) -> Any:
    """The history once so many turns are over."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await (await http.get(f"{CHAT}/stream?id={chat_id}")).aread()  # ends with the generation
        history = (await http.get(f"{CHAT}/history?id={chat_id}")).json()
    assert len(history["turns"]) == turns
    return history


@pytest.mark.parametrize(
    ("status", "told"),
    [
        pytest.param(401, "The provider refused the API key.", id="key"),
        pytest.param(400, "An error occurred.", id="request"),
    ],
)
async def test_a_refusal_of_the_provider_is_told_without_its_words(tmp_path: Path, status: int, told: str) -> None:
    async with messages_api() as api:
        api.refuse(status, "some_error", "secret words")
        async with (
            DemoServer(tmp_path / "data", ANTHROPIC_API_KEY="test", ANTHROPIC_BASE_URL=api.url) as demo,
            httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as http,
        ):
            await http.post(CHAT, json={"id": "c", "text": "hi"})
            events = await followed(http, "c", last="error")
    assert events[-1]["error"] == {"type": "api_error", "message": told}


def test_without_the_package_the_stand_in_answers_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)  # as Python itself marks what cannot be imported
    info = choose_messages_model({"ANTHROPIC_API_KEY": "test"}).info
    assert info.kind == "stand-in"
    assert "pip install anthropic" in info.note
    assert "pip install" not in choose_messages_model({}).info.note


def test_a_bad_limit_of_tokens_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="ANTHROPIC_MAX_TOKENS must be a whole number"):
        choose_messages_model({"ANTHROPIC_API_KEY": "test", "ANTHROPIC_MAX_TOKENS": "many"})


async def test_a_question_after_an_interrupted_tool_call_is_answered() -> None:
    """It comes in one message with the results of the call."""
    told = [{"type": "tool_result", "tool_use_id": "t", "content": "none"}, {"type": "text", "text": "what is 2 + 2?"}]
    said = [Said("user", "first"), Said("assistant", []), Said("user", told)]
    events = events_of_turn(MessagesStandIn(note="", tokens_per_second=1e6), said)
    messages = [message async for message in messages_from_events(events)]
    assert "**4**" in str(messages[-1]["content"])


class Caller(MessagesStandIn):
    """A model that would call tools for ever."""

    async def stream(
        self, said: object, *, may_call: bool, tools: Sequence[Tool] = ()
    ) -> AsyncIterator[dict[str, Any]]:
        for event in tool_turn("{}") if may_call else text_turn("enough"):
            yield event


async def test_a_model_that_calls_tools_for_ever_has_to_answer_in_the_last_step() -> None:
    events = events_of_turn(Caller(note=""), [Said("user", "go")])
    messages = [message async for message in messages_from_events(events)]
    assert len(messages) == MAX_STEPS
    assert messages[-1]["content"] == [{"type": "text", "text": "enough"}]


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        (COMPANY_LOOKUP, {"name": "fenwick"}, '"employees": 960'),
        (COMPANY_LOOKUP, {"name": "Nobody & Sons"}, "no company is called 'Nobody & Sons'"),
        (COMPANY_LOOKUP, {}, "no company is called"),
        ("calculate", {"expression": "1 +"}, "not an expression"),
        ("format_disk", {}, "there is no tool 'format_disk'"),
    ],
)
def test_a_tool_always_answers(name: str, given: dict[str, object], told: str) -> None:
    result = run_tool(ToolCall("t1", name, given))
    assert told in result.output
    assert result.is_error == ("employees" not in told)
