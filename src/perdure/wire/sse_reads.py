"""Reads as server-sent events (store API, section 6.8): what each event looks like, and where a read resumes.

Lines end with LF only; JSON has no raw line break in it, so every event's data is one line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec
from msgspec import Struct

from ..errors import BadRequest, PerdureError
from ..model.batches import ReadBatch
from ..model.limits import MAX_U64
from ..model.positions import SeqNum, StreamPosition
from ..model.reads import ReadLimits, ReadRequest
from . import records_json
from .errors_json import decode_error, encode_error
from .media import Format
from .sse import SseEvent

DONE: Final = b"data: [DONE]\n\n"
"""The last event of a read that ended cleanly; none comes after an error."""

_DONE_DATA: Final = "[DONE]"
_EVENT_ID: Final = re.compile(rb"([0-9]{1,20}),([0-9]{1,20}),([0-9]{1,20})")


class LastEventId(Struct, frozen=True, gc=False):
    """The id of a batch: its last sequence number, and what the connection has delivered up to and including it."""

    seq_num: int
    count: int
    metered_bytes: int

    @classmethod
    def parse(cls, value: bytes) -> LastEventId:
        """What a `last-event-id` header says. Raises `BadRequest` (`bad_header`)."""
        match = _EVENT_ID.fullmatch(value.strip(b" \t"))
        numbers = [int(part) for part in match.groups()] if match else []
        if not numbers or max(numbers) > MAX_U64:
            raise BadRequest(
                "Invalid header `last-event-id`: must be three unsigned integers with commas between them", "bad_header"
            )
        return cls(*numbers)

    def encode(self) -> bytes:
        return b"%d,%d,%d" % (self.seq_num, self.count, self.metered_bytes)

    def advanced(self, batch: ReadBatch) -> LastEventId:
        """The id after `batch`, which has records, was delivered as well."""
        return LastEventId(
            batch.records[-1].seq_num,
            self.count + len(batch.records),
            self.metered_bytes + sum([record.metered_bytes for record in batch.records]),
        )

    def resumed(self, request: ReadRequest) -> ReadRequest:
        """`request`, going on after the batch of this id: the start is replaced, limits are reduced by the totals."""
        limits = request.limits
        return ReadRequest(
            SeqNum(min(self.seq_num + 1, MAX_U64)),
            ReadLimits(
                None if limits.count is None else max(0, limits.count - self.count),
                None if limits.bytes is None else max(0, limits.bytes - self.metered_bytes),
                limits.until,
            ),
            request.clamp,
            request.wait,
        )


NOTHING_DELIVERED: Final = LastEventId(0, 0, 0)
"""Where the totals of a connection begin."""


class _Ping(Struct):
    timestamp: int
    tail: StreamPosition


class Done(Enum):
    """What `decode_event` gives for `[DONE]`."""

    DONE = _DONE_DATA


def encode_batch(batch: ReadBatch, event_id: LastEventId, form: Format) -> bytes:
    """A batch that has records, with its id."""
    return b"".join(frame_batch((records_json.encode_read_batch(batch, form),), event_id))


def frame_batch(data: Sequence[bytes], event_id: LastEventId) -> tuple[bytes, ...]:
    """The event of a batch that is JSON already: one batch goes to many readers, each with its own totals.

    In parts, as `data` is: what is large is not copied for each of them.
    """
    return (b"event: batch\nid: %b\ndata: " % event_id.encode(), *data, b"\n\n")


def encode_ping(now_ms: int, tail: StreamPosition) -> bytes:
    """A heartbeat at `now_ms`, milliseconds since the epoch."""
    return b"event: ping\ndata: %b\n\n" % msgspec.json.encode(_Ping(now_ms, tail))


def encode_error_event(error: BaseException) -> bytes:
    """The last event of a read that failed."""
    return b"event: error\ndata: %b\n\n" % encode_error(error).body


def decode_event(event: SseEvent, form: Format) -> ReadBatch | PerdureError | Done | None:
    """What one event of a server says: a batch (without records: a heartbeat), the error that ends the read, its end.

    None for an event that this version does not know. Raises `BadRequest` (`bad_json`) when its data is not right.
    """
    if event.event == "batch":
        return records_json.decode_read_batch(event.data.encode(), form)
    if event.event == "ping":
        return ReadBatch((), records_json.decode_tail(event.data.encode()))
    if event.event == "error":
        return decode_error(None, event.data.encode())
    return Done.DONE if is_done(event) else None


def is_done(event: SseEvent) -> bool:
    """Whether it is the last event of a read that ended cleanly."""
    return not event.event and event.data == _DONE_DATA
