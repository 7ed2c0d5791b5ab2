"""What state a stream is in, learnt from its end.

Only the last fence decides whether a generation is active and whose it is, so nobody reads a log from its beginning to
find out: one record when the chat is idle, and otherwise windows backwards until a fence turns up. `StreamHead.after`
is the same knowledge as a fold over the records in order; the search gives what the fold would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..errors import ReadUnwritten, StreamNotFound
from ..model.limits import MAX_READ_BYTES, MAX_READ_RECORDS
from ..model.positions import SeqNum, TailOffset
from ..model.records import CommandKind, SequencedRecord
from . import tokens

if TYPE_CHECKING:
    from ..client import Stream

WINDOWS: Final = (64, 512, 4096)
"""Records of the first window backwards, of the second, and of all further ones."""


class StreamHead(Struct, frozen=True, gc=False):
    """The state of a stream as its records tell it.

    `reusable_token` is what the next writer must present, None while a generation is active. `held_token` and
    `active_start` are the token and the sequence number of the last holder's fence.
    """

    next_seq_num: int = 0
    last_record_timestamp: int | None = None
    reusable_token: str | None = ""
    held_token: str | None = None
    active_start: int | None = None
    active: bool = False

    @property
    def lease_ms(self) -> int | None:
        """The lease that the active generation's writer offers."""
        return None if self.held_token is None or not self.active else tokens.lease_of(self.held_token)

    def after(self, record: SequencedRecord) -> StreamHead:
        """The state once `record`, the next one, has been seen."""
        end, timestamp = record.seq_num + 1, record.timestamp
        if record.command is not CommandKind.FENCE:
            return StreamHead(end, timestamp, self.reusable_token, self.held_token, self.active_start, self.active)
        token = record.text
        if tokens.is_terminal(token):
            return StreamHead(end, timestamp, token, self.held_token, self.active_start)
        return StreamHead(end, timestamp, None, token, record.seq_num, True)

    def ending_at(self, last: SequencedRecord) -> StreamHead:
        """The same state, as of the record `last`, with no fence in between."""
        return StreamHead(
            last.seq_num + 1,
            last.timestamp,
            self.reusable_token,
            self.held_token,
            self.active_start,
            self.active,
        )


class StreamEnd(Struct, frozen=True, gc=False):
    """The last record of a stream, None if none is retained, and the sequence number after it."""

    last: SequencedRecord | None
    tail: int


async def read_end(stream: Stream) -> StreamEnd:
    """The end of the stream, by one read; a second look only where records have expired. A missing stream is empty."""
    try:
        batch = await stream.read(TailOffset(1), count=1, clamp=True, wait=0)
        if batch.records:
            last = batch.records[-1]
            return StreamEnd(last, last.seq_num + 1)
        return StreamEnd(None, (await stream.check_tail()).seq_num)
    except ReadUnwritten as exc:
        return StreamEnd(None, exc.tail.seq_num)
    except StreamNotFound:
        return StreamEnd(None, 0)


async def find_head(stream: Stream) -> StreamHead:
    """The state of the stream as of now; records that arrive meanwhile are not looked at."""
    end = await read_end(stream)
    return await search_back(stream, end)


async def search_back(stream: Stream, end: StreamEnd) -> StreamHead:
    """The state of the stream as of `end`."""
    last = end.last
    if last is None:
        return StreamHead(next_seq_num=end.tail)
    if last.command is CommandKind.FENCE:
        return StreamHead().after(last)
    before, windows = last.seq_num, iter(WINDOWS)
    size = next(windows)
    while before > 0:
        begin = max(0, before - size)
        newest, first_seen = await _newest_fence(stream, begin, before)
        if newest is not None:
            return StreamHead().after(newest).ending_at(last)
        if first_seen is None or first_seen > begin:
            break  # what lies further back is gone
        before, size = begin, next(windows, size)
    return StreamHead().ending_at(last)


async def _newest_fence(stream: Stream, begin: int, before: int) -> tuple[SequencedRecord | None, int | None]:
    """The last fence within the range, and the first sequence number that is still there."""
    newest: SequencedRecord | None = None
    first_seen: int | None = None
    cursor = begin
    while cursor < before:
        count = min(MAX_READ_RECORDS, before - cursor)
        try:
            batch = await stream.read(SeqNum(cursor), count=count, bytes=MAX_READ_BYTES, clamp=True, wait=0)
        except (ReadUnwritten, StreamNotFound):
            break
        if not batch.records:
            break
        for record in batch.records:
            if record.seq_num >= before:
                break  # trimmed meanwhile: the read began behind the range
            if first_seen is None:
                first_seen = record.seq_num
            if record.command is CommandKind.FENCE:
                newest = record
        cursor = batch.records[-1].seq_num + 1
    return newest, first_seen
