"""All events of a chat, with the cursor that each has in a replay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self, TypedDict

from msgspec import Struct

from ..errors import ReadUnwritten, StreamNotFound
from ..model.positions import SeqNum
from ..model.records import CommandKind, SequencedRecord
from . import tokens
from .json_body import JsonObject, parse_object

if TYPE_CHECKING:
    from ..client import Stream

ENTRY_BYTES = 100
"""About what an event takes in memory besides its JSON."""


class HistoryEvent(TypedDict):
    """One event, and the cursor behind it."""

    id: int
    event: JsonObject


class EventHistory(TypedDict):
    """Events in their order, the cursor at which a replay goes on, and whether a generation is active."""

    events: list[HistoryEvent]
    nextSeqNum: int
    active: bool


class StoredEvent(Struct, frozen=True, gc=False):
    """One event as it is stored."""

    seq_num: int
    body: bytes


class EventsPage(Struct, frozen=True):
    """Some events of a chat, and where what follows them begins."""

    events: list[StoredEvent]
    next_seq_num: int
    active: bool

    def snapshot(self) -> EventHistory:
        """The page as values."""
        return {
            "events": [{"id": event.seq_num + 1, "event": parse_object(event.body) or {}} for event in self.events],
            "nextSeqNum": self.next_seq_num,
            "active": self.active,
        }

    def to_json(self) -> bytes:
        """The page as JSON, in which the stored bodies are as they are."""
        events = b",".join([b'{"id":%d,"event":%b}' % (event.seq_num + 1, event.body) for event in self.events])
        active = b"true" if self.active else b"false"
        return b'{"events":[%b],"nextSeqNum":%d,"active":%b}' % (events, self.next_seq_num, active)


class EventsFold:
    """The records of a session in, all of its events out. Each stands for itself, so nothing is ever half done."""

    def __init__(self) -> None:
        self._events: list[StoredEvent] = []
        self._next_seq_num = 0
        self.generating: bool = False
        """Whether a generation is active."""
        self.size_bytes: int = 0
        """About how much memory the events take."""

    @property
    def is_settled(self) -> bool:
        """Always: what follows changes no event."""
        return True

    def feed(self, records: Iterable[SequencedRecord]) -> None:
        """Take the next records."""
        for record in records:
            self._next_seq_num = record.seq_num + 1
            if record.command is CommandKind.FENCE:
                self.generating = not tokens.is_terminal(record.text)
            elif (event := stored_event(record)) is not None:
                self._events.append(event)
                self.size_bytes += len(event.body) + ENTRY_BYTES

    def settled(self) -> Self:
        """A fold that goes on from here independently of this one."""
        fold = type(self)()
        fold._events = self._events.copy()
        fold._next_seq_num = self._next_seq_num
        fold.generating = self.generating
        fold.size_bytes = self.size_bytes
        return fold

    def page(self) -> EventsPage:
        """All of it."""
        return EventsPage(self._events, self._next_seq_num, self.generating)


def stored_event(record: SequencedRecord) -> StoredEvent | None:
    """The event in `record`, if there is one: commands hold none, and others may have written anything."""
    if record.command is not None or parse_object(record.body) is None:
        return None
    return StoredEvent(record.seq_num, record.body)


async def read_page(stream: Stream, start_seq: int, limit: int | None, *, active: bool) -> EventsPage:
    """The first `limit` events from `start_seq` on, or all up to the tail."""
    events: list[StoredEvent] = []
    cursor = start_seq
    while True:
        try:
            batch = await stream.read(SeqNum(cursor), clamp=True, wait=0)
        except ReadUnwritten as exc:
            return EventsPage(events, exc.tail.seq_num, active)
        except StreamNotFound:
            return EventsPage(events, 0, active)
        if not batch.records:
            return EventsPage(events, cursor, active)
        for record in batch.records:
            cursor = record.seq_num + 1
            if (event := stored_event(record)) is not None:
                events.append(event)
                if len(events) == limit:
                    return EventsPage(events, cursor, active)
