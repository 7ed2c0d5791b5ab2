"""A run of AG-UI events: a model of the Messages API and its tools, some of which wait until the user has agreed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perdure.resumable.anthropic import create_accumulator

from .messages_model import MessagesModel, Said
from .tool_loop import MAX_STEPS, calls_in, exchange
from .tools import NEEDS_APPROVAL, TOOLS_WITH_MAIL, ToolCall, ToolResult, run_tool

Event = Mapping[str, object]

_DENIED: Final = "Not sent: you did not allow it."


@dataclass(frozen=True, slots=True)
class Run:
    """What events tell of the run that they belong to."""

    thread_id: str
    run_id: str


def result_of(call: ToolCall, *, approved: bool) -> ToolResult:
    """What comes of a call that the user was asked about."""
    return run_tool(call) if approved else ToolResult(call.id, _DENIED, is_error=True)


async def events_of_run(
    model: MessagesModel, run: Run, said: Sequence[Said], results: Sequence[ToolResult] = ()
) -> AsyncIterator[Event]:
    """The events of all that it takes to answer `said`, which ends with `results` if it continues a turn.

    The run ends with its answer, or with a call that has to be approved; the turn then goes on in another run.
    """
    yield {"type": "RUN_STARTED", "threadId": run.thread_id, "runId": run.run_id}
    for result in results:
        yield _result(result)
    for step in range(MAX_STEPS):
        message = _Message()
        async for event in model.stream(said, may_call=step < MAX_STEPS - 1, tools=TOOLS_WITH_MAIL):
            for shown in message.feed(event):
                yield shown
        calls = calls_in(message.final())
        waiting = [call for call in calls if call.name in NEEDS_APPROVAL]
        done = [run_tool(call) for call in calls if call.name not in NEEDS_APPROVAL]
        for result in done:
            yield _result(result)
        for call in waiting:
            yield _approval_request(call)
        if not calls or waiting:
            break
        said = [*said, *exchange(message.final()["content"], done)]
    yield {"type": "RUN_FINISHED", "threadId": run.thread_id, "runId": run.run_id, "finishReason": "stop"}


class _Message:
    """One message of the Messages API, in the events of AG-UI."""

    def __init__(self) -> None:
        self._fold = create_accumulator()
        self._id = f"msg-{secrets.token_hex(8)}"
        self._thought_id = f"{self._id}-thought"
        self._calls: dict[object, object] = {}
        self._thoughts: set[object] = set()
        """The open blocks, by their index."""

    def final(self) -> Mapping[str, object]:
        return self._fold.final_message()

    def feed(self, event: Event) -> list[Event]:
        self._fold.push(event)
        index = event.get("index")
        match event:
            case {"type": "message_start"}:
                return [{"type": "TEXT_MESSAGE_START", "messageId": self._id, "role": "assistant"}]
            case {"type": "message_stop"}:
                return [{"type": "TEXT_MESSAGE_END", "messageId": self._id}]
            case {"type": "content_block_start", "content_block": {"type": "thinking"}}:
                self._thoughts.add(index)
                return [{"type": "REASONING_MESSAGE_START", "messageId": self._thought_id, "role": "reasoning"}]
            case {"type": "content_block_start", "content_block": {"type": "tool_use", "id": call_id, "name": name}}:
                self._calls[index] = call_id
                names = {"toolCallId": call_id, "toolCallName": name, "parentMessageId": self._id}
                return [{"type": "TOOL_CALL_START", **names}]
            case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}:
                return [{"type": "TEXT_MESSAGE_CONTENT", "messageId": self._id, "delta": text}]
            case {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": thought}}:
                return [{"type": "REASONING_MESSAGE_CONTENT", "messageId": self._thought_id, "delta": thought}]
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": piece}}:
                return [{"type": "TOOL_CALL_ARGS", "toolCallId": self._calls.get(index), "delta": piece}]
            case {"type": "content_block_stop"} if index in self._calls:
                return [{"type": "TOOL_CALL_END", "toolCallId": self._calls.pop(index)}]
            case {"type": "content_block_stop"} if index in self._thoughts:
                self._thoughts.remove(index)
                return [{"type": "REASONING_MESSAGE_END", "messageId": self._thought_id}]
        return []


def _result(result: ToolResult) -> Event:
    names = {"toolCallId": result.id, "messageId": f"result-{result.id}"}
    event = {"type": "TOOL_CALL_RESULT", **names, "content": result.output}
    return {**event, "state": "output-error"} if result.is_error else event


def _approval_request(call: ToolCall) -> Event:
    """Clients of all ages show this one, in every tab and after a reload, and answer it by sending the messages."""
    asked = {
        "toolCallId": call.id,
        "toolName": call.name,
        "input": call.input,
        "approval": {"id": f"approval-{call.id}", "needsApproval": True},
    }
    return {"type": "CUSTOM", "name": "approval-requested", "value": asked}
