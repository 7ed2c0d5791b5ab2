"""What is stored for the events of a TanStack AI source: the same, slimmed, and in forms that all clients read.

* The running total beside each increment of a text is dropped: it would make a log grow with the square of its answers.
* `…_CHUNK` events, which the clients ignore, become the start, content and end that they stand for.
* The `THINKING_…` events of older protocols become `REASONING_…`.
* A tool's result that came with the end of its call only gets the event that newer clients read it from.
* A run that the source leaves open is finished: clients would wait for its end, or report the stream as cut off.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from .chunks import SourceChunk
from .generation import ChunkSource
from .json_body import JsonObject, JsonValue, encode_body, encode_record
from .tanstack_records import RunState, run_finished

NewId: TypeAlias = Callable[[str], str]
"""Gives a fresh id that begins with the given text."""


class _Family(Struct, frozen=True, gc=False):
    """The events that tell one text, tool call or thought, and how they name it."""

    chunk: str
    start: str
    content: str
    end: str
    id_key: str
    id_prefix: str
    start_keys: tuple[str, ...]
    """What a chunk carries for the start; everything else belongs to the content."""


_TEXT: Final = _Family(
    "TEXT_MESSAGE_CHUNK",
    "TEXT_MESSAGE_START",
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_END",
    "messageId",
    "msg-",
    ("role", "name"),
)
_TOOL: Final = _Family(
    "TOOL_CALL_CHUNK",
    "TOOL_CALL_START",
    "TOOL_CALL_ARGS",
    "TOOL_CALL_END",
    "toolCallId",
    "call-",
    ("toolCallName", "parentMessageId"),
)
_REASONING: Final = _Family(
    "REASONING_MESSAGE_CHUNK",
    "REASONING_MESSAGE_START",
    "REASONING_MESSAGE_CONTENT",
    "REASONING_MESSAGE_END",
    "messageId",
    "reasoning-",
    (),
)
_OF_CHUNK: Final = {family.chunk: family for family in (_TEXT, _TOOL, _REASONING)}
_OF_START: Final = {family.start: family for family in (_TEXT, _TOOL, _REASONING)}
_OF_END: Final = {family.end: family for family in (_TEXT, _TOOL, _REASONING)}

_PHASE_START: Final = "REASONING_START"
_PHASE_END: Final = "REASONING_END"
_LEGACY: Final = {
    "THINKING_START": _PHASE_START,
    "THINKING_TEXT_MESSAGE_START": _REASONING.start,
    "THINKING_TEXT_MESSAGE_CONTENT": _REASONING.content,
    "THINKING_TEXT_MESSAGE_END": _REASONING.end,
    "THINKING_END": _PHASE_END,
}
_PASSES_BY: Final = frozenset(
    {"CUSTOM", "RAW", "STATE_SNAPSHOT", "STATE_DELTA", "ACTIVITY_SNAPSHOT", "ACTIVITY_DELTA"},
)
"""Events that may come in the middle of a text without ending it."""


class _Thought:
    """The ids of the thoughts of a legacy source, which knows none. One thought is one text, in a phase or without."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._id: str | None = None
        self._has_text = False

    def id_of(self, kind: str) -> str:
        """The id that belongs into an event of this type, the next one of the source."""
        begins = kind == _PHASE_START or (kind == _REASONING.start and self._has_text)
        if self._id is None or begins:
            self._id, self._has_text = self._new_id(_REASONING.id_prefix), False
        own_id = self._id
        self._has_text = self._has_text or kind in (_REASONING.start, _REASONING.content)
        if kind == _PHASE_END:
            self._id = None
        return own_id


class StoredEvents:
    """The events of one generation in, those to store out. `rewrite` changes an event before all else."""

    def __init__(
        self, now_ms: Callable[[], int], new_id: NewId, rewrite: Callable[[JsonObject], JsonObject] | None = None
    ) -> None:
        self._now_ms = now_ms
        self._new_id = new_id
        self._rewrite = rewrite
        self._run = RunState()
        self._texts: dict[str, list[str]] = {}
        """The text of each message so far, for sources that give running totals only."""
        self._begun: set[tuple[str, str]] = set()
        """What the source has begun itself, by the type of its start, and has not ended."""
        self._open: tuple[_Family, str] | None = None
        """What was begun here for the source's chunks."""
        self._thought = _Thought(new_id)
        self._parents: dict[str, JsonValue] = {}
        self._results: dict[str, JsonObject] = {}
        """Results that came with the end of a call, until their own event comes or nothing more is to be expected."""

    def apply(self, chunk: SourceChunk) -> Sequence[SourceChunk]:
        """What to store for `chunk`; the usual increment of a text goes through as it is."""
        value = chunk.value
        if value["type"] == _TEXT.content and self._open is None and not self._results:
            delta = value.get("delta")
            if isinstance(delta, str) and delta and "content" not in value:
                self._add_text(value, delta)
                return (chunk,)
        return [chunk if event is value else SourceChunk(event, encode_record(event)) for event in self._stored(value)]

    def ending(self) -> list[SourceChunk]:
        """What to store when the source has ended by itself."""
        events = [*self._settled(), *self._closed()]
        run = self._run
        if run.started and not run.ended:
            events.append(run_finished(run.run_id, run.thread_id, self._now_ms()))
        return [SourceChunk(event, encode_body(event)) for event in events]

    def _stored(self, event: JsonObject) -> list[JsonObject]:
        if self._rewrite is not None:
            event = self._rewrite(event)
        kind = str(event["type"])
        event, kind = self._modern(event, kind)
        self._run.feed(event)
        family = _OF_CHUNK.get(kind)
        if family is not None:
            return [*self._settled_by(kind), *self._from_chunk(family, event)]
        before = [] if kind in _PASSES_BY else self._closed()
        before = [*before, *self._settled_by(kind)]
        if kind == _TEXT.content:
            slim = self._slim(event)
            return before if slim is None else [*before, slim]
        self._note(kind, event)
        return [*before, event]

    def _note(self, kind: str, event: JsonObject) -> None:
        """Remember what later events depend on."""
        if (family := _OF_START.get(kind)) is not None:
            self._begun.add((family.start, str(event.get(family.id_key))))
        elif (family := _OF_END.get(kind)) is not None:
            self._begun.discard((family.start, str(event.get(family.id_key))))
        if kind == _TOOL.start:
            self._parents[str(event.get("toolCallId"))] = event.get("parentMessageId")
        elif kind == _TOOL.end and event.get("result") is not None:
            self._note_result(event)
        elif kind == "TOOL_CALL_RESULT":
            self._results.pop(str(event.get("toolCallId")), None)

    # --- texts ---

    def _add_text(self, event: JsonObject, delta: str) -> None:
        self._texts.setdefault(str(event.get("messageId")), []).append(delta)

    def _slim(self, event: JsonObject) -> JsonObject | None:
        """A piece of a text as an increment; None if it adds nothing."""
        delta, content = event.get("delta"), event.get("content")
        if isinstance(delta, str) and delta:
            self._add_text(event, delta)
            return {key: value for key, value in event.items() if key != "content"} if "content" in event else event
        if not isinstance(content, str):
            return event
        seen = "".join(self._texts.get(str(event.get("messageId")), ()))
        if seen.startswith(content):
            return None
        added = content.removeprefix(seen) if content.startswith(seen) else content
        self._add_text(event, added)
        slim = {key: value for key, value in event.items() if key != "content"}
        return {**slim, "delta": added}

    # --- chunks and legacy forms ---

    def _from_chunk(self, family: _Family, event: JsonObject) -> list[JsonObject]:
        """The events that a `…_CHUNK` stands for."""
        given = event.get(family.id_key)
        is_open = self._open is not None and self._open[0] is family and given in (None, self._open[1])
        events = [] if is_open else self._closed()
        if self._open is not None:
            own_id = self._open[1]
        elif isinstance(given, str) and given:
            own_id = given
        elif family is _TOOL:
            return [*events, event]  # nobody could say which call it belongs to
        else:
            own_id = self._new_id(family.id_prefix)
        timestamp = {key: event[key] for key in ("timestamp",) if key in event}
        if not is_open and (family.start, own_id) not in self._begun:
            if family is _TOOL and not isinstance(event.get("toolCallName"), str):
                return [*events, event]
            start: JsonObject = {"type": family.start, family.id_key: own_id, **timestamp}
            if family is _TEXT:
                start["role"] = "assistant"
            elif family is _REASONING:
                start["role"] = "reasoning"
            start |= {key: event[key] for key in family.start_keys if event.get(key) is not None}
            events.append(start)
            self._open = family, own_id
            if family is _TOOL:
                self._parents[own_id] = event.get("parentMessageId")
        delta = event.get("delta")
        if isinstance(delta, str) and delta:
            content = {key: value for key, value in event.items() if key not in family.start_keys}
            content |= {"type": family.content, family.id_key: own_id}
            if family is _TEXT:
                self._add_text(content, delta)
            events.append(content)
        return events

    def _closed(self) -> list[JsonObject]:
        """The end of what was begun here for chunks."""
        if self._open is None:
            return []
        (family, own_id), self._open = self._open, None
        return [{"type": family.end, family.id_key: own_id, "timestamp": self._now_ms()}]

    def _modern(self, event: JsonObject, kind: str) -> tuple[JsonObject, str]:
        """A `THINKING_…` event as the `REASONING_…` event that took its place; it gets the id that it lacks."""
        modern = _LEGACY.get(kind)
        if modern is None:
            return event, kind
        rest = {key: value for key, value in event.items() if key != "type"}
        changed: JsonObject = {"type": modern, "messageId": self._thought.id_of(modern), **rest}
        if modern == _REASONING.start:
            changed["role"] = "reasoning"
        return changed, modern

    # --- results of tools ---

    def _note_result(self, ended: JsonObject) -> None:
        call_id, result = str(ended.get("toolCallId")), ended["result"]
        parent = ended.get("parentMessageId", self._parents.get(call_id))
        event: JsonObject = {
            "type": "TOOL_CALL_RESULT",
            "timestamp": ended.get("timestamp", self._now_ms()),
            "toolCallId": call_id,
            "messageId": parent if isinstance(parent, str) else call_id,
            "content": result if isinstance(result, str) else encode_body(result).decode(),
        }
        if ended.get("state") is not None:
            event["state"] = ended["state"]
        self._results[call_id] = event

    def _settled_by(self, kind: str) -> list[JsonObject]:
        """The results that wait, once an event comes that is about no tool call."""
        return [] if kind.startswith("TOOL_CALL_") else self._settled()

    def _settled(self) -> list[JsonObject]:
        results, self._results = self._results, {}
        return list(results.values())


class StoredSource:
    """A source that gives what is to be stored for the events of another one, and for its end."""

    def __init__(self, source: ChunkSource, stored: StoredEvents) -> None:
        self._source = source
        self._chunks = self._stored_chunks(stored)

    def __aiter__(self) -> AsyncIterator[SourceChunk]:
        return self._chunks

    async def aclose(self) -> None:
        """Close the other source. Idempotent; called by the task that iterates."""
        await self._chunks.aclose()
        await self._source.aclose()

    async def _stored_chunks(self, stored: StoredEvents) -> AsyncGenerator[SourceChunk, None]:
        async for chunk in self._source:
            for one in stored.apply(chunk):
                yield one
        for one in stored.ending():
            yield one
