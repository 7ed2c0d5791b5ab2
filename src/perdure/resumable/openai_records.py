"""The events of the Responses API: which are the last, how they are numbered, and how a failure is told among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .chunks import SourceChunk
from .events_records import checked_key
from .json_body import JsonObject, encode_body

TERMINAL_TYPES: Final = frozenset({"response.completed", "response.failed", "response.incomplete", "error"})


def is_terminal(event: JsonObject) -> bool:
    """Whether `event` is the last one of a response."""
    return type_of(event) in TERMINAL_TYPES


def error_event(text: str, sequence_number: int) -> JsonObject:
    """A failure in the documented form, which the SDKs hand out as an event."""
    return {
        "type": "error",
        "code": "stream_error",
        "message": text,
        "param": None,
        "sequence_number": sequence_number,
    }


class Numbers:
    """What number comes next in a response."""

    def __init__(self) -> None:
        self.next: int = 0

    def seen(self, event: JsonObject) -> None:
        """`event` is part of the response."""
        number = event.get("sequence_number")
        if isinstance(number, int):
            self.next = number + 1

    def passed(self, chunk: SourceChunk) -> Sequence[SourceChunk]:
        """What is stored for a chunk: itself."""
        self.seen(chunk.value)
        return (chunk,)

    def error_body(self, text: str) -> bytes:
        """The record that tells of a failure here."""
        return encode_body(error_event(text, self.next))


def as_sent(event: JsonObject) -> JsonObject:
    """`event` without what the stream helper adds: with it a text would take space as its length squared."""
    if "snapshot" in event and (type_of(event) or "").endswith(".delta"):
        event = {key: value for key, value in event.items() if key != "snapshot"}
    return checked_key(type_of, event)


def type_of(event: JsonObject) -> str | None:
    """The name under which `event` is sent."""
    kind = event.get("type")
    return kind if isinstance(kind, str) else None
