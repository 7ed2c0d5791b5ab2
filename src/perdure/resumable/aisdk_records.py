"""The chunks that Perdure itself adds to an AI SDK generation: errors, and what ends a stopped answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .adapter import SourceReportedError
from .json_body import JsonObject

ABORT: Final[JsonObject] = {"type": "abort"}
"""The last chunk of a stopped generation; the stock reader keeps what came before it."""

_FORGETS_ALL: Final = ("finish-step", "reset-step")


def error_chunk(text: str) -> JsonObject:
    """What tells a client that the generation failed."""
    return {"type": "error", "errorText": text}


def rewrite_error_chunk(chunk: JsonObject, text_of: Callable[[Exception], str]) -> JsonObject:
    """An error chunk of the source with its text put through `text_of`, so that it leaks nothing; else `chunk`.

    Frameworks report what went wrong in the provider's own words, which are not meant for the people who chat.
    """
    if chunk.get("type") != "error":
        return chunk
    return {**chunk, "errorText": text_of(SourceReportedError(str(chunk.get("errorText", ""))))}


class OpenParts:
    """Which text and reasoning parts of a generation still need their end, so that a stop can write it.

    Feed it every chunk. An end for a part that is not open breaks stock readers, and readers of versions 5 and 6
    forget open parts when a step finishes, so a part counts as open only where all versions agree.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], None] = {}
        self._message_id: object = None

    def feed(self, chunk: JsonObject) -> None:
        """Take the next chunk of the generation."""
        kind = chunk.get("type")
        if kind == "text-start" or kind == "reasoning-start":
            key = _key(chunk)
            # A repeated id is a new part; only that one can be ended.
            self._open.pop(key, None)
            self._open[key] = None
        elif kind == "text-end" or kind == "reasoning-end":
            self._open.pop(_key(chunk), None)
        elif kind == "start":
            # A resuming reader starts over at a new message.
            message_id = chunk.get("messageId")
            if message_id is not None and message_id != self._message_id:
                self._open.clear()
                self._message_id = message_id
        elif kind in _FORGETS_ALL:
            self._open.clear()

    def closing_chunks(self) -> list[JsonObject]:
        """What a stop writes: an end for each open part, in the order in which they began, and `abort`."""
        ends: list[JsonObject] = [{"type": f"{kind}-end", "id": part_id} for kind, part_id in self._open]
        return [*ends, ABORT]


def _key(chunk: JsonObject) -> tuple[str, str]:
    """What an end names: the kind of the part, and its id."""
    return str(chunk["type"]).partition("-")[0], str(chunk.get("id"))
