"""What the TanStack page's server makes of a conversation, and of decisions about calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from perdure.demo.agui_run import Run, events_of_run, result_of
from perdure.demo.messages_model import Said
from perdure.demo.messages_stand_in import MessagesStandIn
from perdure.demo.tools import SEND_EMAIL, ToolCall, ToolResult
from perdure.demo.ui_messages import conversation_of, decided_calls, decisions_in

MODEL = MessagesStandIn(note="", tokens_per_second=1e6)
CALL = ToolCall("c1", SEND_EMAIL, {"to": "ada@example.com"})


def question(text: str, message_id: str = "u1") -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "content": text}]}


def call_part(**more: object) -> dict[str, Any]:
    part = {"type": "tool-call", "id": "c1", "name": SEND_EMAIL, "arguments": "", "input": CALL.input}
    return {**part, "state": "approval-requested", "approval": {"id": "ap1", "needsApproval": True}, **more}


def answer(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "a1", "role": "assistant", "parts": [{"type": "text", "content": "May I?"}, *parts]}


async def types_of(events: AsyncIterator[Any]) -> list[str]:
    """The kinds of events, each run of the same kind once."""
    found: list[str] = []
    async for event in events:
        if not found or found[-1] != event["type"]:
            found.append(event["type"])
    return found


def test_only_a_call_of_the_log_that_waits_is_decided() -> None:
    page = [answer(call_part(approval={"id": "ap1", "approved": True}, input={"to": "eve@example.com"}))]
    decisions = decisions_in(page)
    assert decided_calls([question("hi"), answer(call_part())], decisions) == [(CALL, True)]
    assert decided_calls([question("hi"), answer(call_part(state="complete", output="sent"))], decisions) == []
    assert decided_calls([question("hi")], decisions) == []


def test_a_denied_call_is_not_run() -> None:
    assert "Sent to ada@example.com" in result_of(CALL, approved=True).output
    denied = result_of(CALL, approved=False)
    assert "Sent" not in denied.output
    assert denied.is_error


def test_a_conversation_has_a_result_for_each_call() -> None:
    asked = answer(call_part())
    said = conversation_of([question("mail"), asked], asked, [ToolResult("c1", "done")])
    blocks = [
        {"type": "text", "text": "May I?"},
        {"type": "tool_use", "id": "c1", "name": SEND_EMAIL, "input": CALL.input},
    ]
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "done"}
    assert said == [Said("user", "mail"), Said("assistant", blocks), Said("user", [result])]
    undecided = conversation_of([question("mail"), asked], question("and now?", "u2"), [])
    told = undecided[2].content
    assert isinstance(told, list)
    assert told[0]["is_error"]
    assert undecided[3] == Said("user", "and now?")


def test_a_question_that_is_asked_again_replaces_what_followed() -> None:
    history = [question("hi"), answer(), question("more", "u2")]
    assert conversation_of(history, question("hi"), []) == [Said("user", "hi")]


async def test_a_run_ends_with_the_call_that_has_to_be_approved() -> None:
    asked = [Said("user", "Think: mail ada@example.com")]
    assert await types_of(events_of_run(MODEL, Run("t", "r1"), asked)) == [
        *("RUN_STARTED", "TEXT_MESSAGE_START"),
        *("REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END"),
        *("TEXT_MESSAGE_CONTENT", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TEXT_MESSAGE_END"),
        *("CUSTOM", "RUN_FINISHED"),
    ]


async def test_the_run_after_the_decision_begins_with_its_result() -> None:
    result = ToolResult("c1", "Sent.")
    told = [{"type": "tool_result", "tool_use_id": "c1", "content": "Sent."}]
    said = [Said("user", "mail ada@example.com"), Said("assistant", []), Said("user", told)]
    events = [event async for event in events_of_run(MODEL, Run("t", "r2"), said, [result])]
    assert [event["type"] for event in events[:3]] == ["RUN_STARTED", "TOOL_CALL_RESULT", "TEXT_MESSAGE_START"]
    assert events[-1]["type"] == "RUN_FINISHED"
    assert "CUSTOM" not in [event["type"] for event in events]
