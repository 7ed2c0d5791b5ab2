"""The records of an Anthropic generation: which events of a source are stored, and those that Perdure itself adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..errors import Invalid
from .adapter import SourceReportedError
from .json_body import JsonObject, JsonValue, encode_body, parse_object

USER_MESSAGE_TYPE: Final = "user_message"
TOOL_RESULT_TYPE: Final = "tool_result"
API_ERROR: Final = "api_error"
"""The type of an error whose cause is not told."""

UNWANTED_TYPES: Final = frozenset(
    {"ping", "text", "citation", "thinking", "signature", "input_json", "compaction"},
)
"""Pings, and what `messages.stream()` of the SDK derives from the raw events: each with a snapshot of all so far."""

_SNAPSHOTS: Final = {"message_stop": "message", "content_block_stop": "content_block"}
"""The field in which `messages.stream()` adds a snapshot to a raw event."""


class AnthropicError(SourceReportedError):
    """A source told of a failure by an `error` event. `error_type` is the API's own, such as `overloaded_error`."""

    def __init__(self, message: str, error_type: str) -> None:
        super().__init__(message)
        self.error_type: str = error_type


def user_message(message: str) -> JsonObject:
    """The event that keeps what the user said in the log; yield it before the events of the model.

    It is stored under the same claim as the answer, so a turn that is refused stores nothing.
    """
    if not isinstance(message, str):
        raise Invalid(f"user_message takes the text of the user, got {type(message).__name__}")
    return {"type": USER_MESSAGE_TYPE, "message": message}


def tool_result(
    tool_use_id: str, content: str | Sequence[Mapping[str, JsonValue]], *, is_error: bool = False
) -> JsonObject:
    """The event that keeps what a tool gave in the log; yield it once the tool has run. It is a content block as well.

    So the same value goes into the next request of a tool loop. With it, `conversation` tells a later turn of the call;
    without it, a call is left out there.

    Args:
        tool_use_id: the `id` of the `tool_use` block that asked for it.
        content: text, or content blocks of the API.
        is_error: the tool failed, and `content` says why.
    """
    if not isinstance(tool_use_id, str):
        raise Invalid(f"tool_result takes the id of a tool_use block, got {type(tool_use_id).__name__}")
    told: JsonValue = content if isinstance(content, str) else [dict(block) for block in content]
    block: JsonObject = {"type": TOOL_RESULT_TYPE, "tool_use_id": tool_use_id, "content": told}
    return block | {"is_error": True} if is_error else block


def error_event(text: str) -> JsonObject:
    """What tells a client that the generation failed."""
    return {"type": "error", "error": {"type": API_ERROR, "message": text}}


def stored_event(event: JsonObject) -> JsonObject:
    """What is stored for an event of a source: the raw event, whatever an SDK added to it.

    Raises `AnthropicError` for an `error` event, so that the words of the API reach clients by `on_error` only.
    """
    kind = event.get("type")
    if kind == "error":
        raise _reported(event.get("error"))
    field = _SNAPSHOTS.get(kind) if isinstance(kind, str) else None
    if field is None or field not in event:
        return event
    return {key: value for key, value in event.items() if key != field}


def _reported(error: JsonValue) -> AnthropicError:
    told = error if isinstance(error, dict) else {}
    message, kind = told.get("message"), told.get("type")
    return AnthropicError(
        message if isinstance(message, str) else "the source reported an error",
        kind if isinstance(kind, str) else API_ERROR,
    )


class ClosingEvents:
    """The events that make a stopped message whole for every reader: a partial answer with `stop_reason` null.

    Where the model has said why it stops, nothing is missing but the `message_stop`: the answer is not partial then.
    Readers of the API accept that, while an `error` event would make them raise. A generation that was stopped before
    its first message gets one without content, since all readers end at `message_stop`.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._begun = False
        self._whole = False
        self._reason_told = False
        self._open_blocks: set[int] = set()
        self._output_tokens: JsonValue = 0

    def feed(self, body: bytes) -> None:
        """Take the next data record of the generation."""
        event = parse_object(body)
        if event is None:
            return
        kind, index = event.get("type"), event.get("index")
        if kind == "message_start":
            self._begun, self._whole, self._reason_told, self._open_blocks = True, False, False, set()
            self._output_tokens = 0
            message = event.get("message")
            self._count(message.get("usage") if isinstance(message, dict) else None)
        elif not self._begun or self._whole:
            return
        elif kind == "content_block_start" and isinstance(index, int):
            self._open_blocks.add(index)
        elif kind == "content_block_stop" and isinstance(index, int):
            self._open_blocks.discard(index)
        elif kind == "message_delta":
            self._count(event.get("usage"))
            delta = event.get("delta")
            if isinstance(delta, dict) and "stop_reason" in delta:
                self._reason_told = delta["stop_reason"] is not None
        elif kind == "message_stop":
            self._whole = True

    def records(self) -> list[bytes]:
        """The bodies that close what is open, and then the message."""
        if self._whole:
            return []
        events: list[JsonObject] = []
        if self._begun:
            events += ({"type": "content_block_stop", "index": index} for index in sorted(self._open_blocks))
        else:
            events.append({"type": "message_start", "message": self._empty_message()})
        return [*map(encode_body, events), *self.essential()]

    def essential(self) -> list[bytes]:
        """The bodies that close the message, whichever of its blocks have been closed meanwhile."""
        if self._whole:
            return []
        end = encode_body({"type": "message_stop"})
        if self._reason_told:
            return [end]
        ending: JsonObject = {
            "type": "message_delta",
            "delta": {"stop_reason": None, "stop_sequence": None},
            "usage": {"output_tokens": self._output_tokens},
        }
        return [encode_body(ending), end]

    def _count(self, usage: JsonValue) -> None:
        if isinstance(usage, dict) and usage.get("output_tokens") is not None:
            self._output_tokens = usage["output_tokens"]

    def _empty_message(self) -> JsonObject:
        return {
            "id": f"msg_perdure_stop_{self._now_ms()}",
            "type": "message",
            "role": "assistant",
            "model": "perdure-stop",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
