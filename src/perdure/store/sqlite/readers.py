"""Reads: the queries, and the few threads with connections of their own that run them.

One statement gives the state of a stream and its blocks, so both belong to one view of the database,
without a transaction around two of them.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar, cast

import apsw

from ...errors import StorageFailed, StreamDeletionPending, StreamNotFound, Unavailable
from ..catalogue import StreamId
from ..engine import BlockRange
from ..sequencing import Block, StreamState
from .failures import translate, translate_os
from .schema import from_i64, saturated
from .segments import Place, SegmentDirectory, SegmentGone

T = TypeVar("T")

logger: Final = logging.getLogger("perdure.store.sqlite")

READER_THREADS: Final = 2
"""Queries are short and served from the page cache; more threads than cores would only take turns."""

_StateRow: TypeAlias = tuple[int, int, int, str, int]
_BlockRow: TypeAlias = tuple[int, int, int, int, int, int | None, bytes | None, str | None, int | None, int | None]
"""What is said of a block, then its body, or else where that is: segment, offset, length."""

_STATE_COLUMNS: Final = "s.deleted_at IS NOT NULL, t.tail, t.last_timestamp, t.fencing_token, t.trim_point"
_BLOCK_COLUMNS: Final = (
    "b.start_seq, b.end_seq, b.last_timestamp, b.metered_bytes, b.stored_ms, b.expires_ms, "
    "b.body, b.segment, b.place, b.length"
)
_STATE: Final = f"SELECT {_STATE_COLUMNS} FROM stream s JOIN stream_state t USING (stream_id) WHERE stream_id = ?1"
_BLOCKS: Final = (
    f"SELECT {_STATE_COLUMNS}, {_BLOCK_COLUMNS} FROM stream s CROSS JOIN stream_state t USING (stream_id) "
    "LEFT JOIN block b ON b.stream_id = ?1 AND b.end_seq > max(?2, t.trim_point) "
    "AND (b.expires_ms IS NULL OR b.expires_ms > ?3) AND b.start_seq >= ifnull("
    "(SELECT max(start_seq) FROM block WHERE stream_id = ?1 AND start_seq <= max(?2, t.trim_point)), ?2) "
    "WHERE s.stream_id = ?1 ORDER BY b.start_seq"
)
_AT_OR_BEFORE: Final = (
    "SELECT start_seq, end_seq, last_timestamp FROM block WHERE stream_id = ? AND start_seq <= ? "
    "ORDER BY start_seq DESC LIMIT 1"
)


def _state_of(row: _StateRow) -> tuple[StreamState, bool]:
    deleted, tail, last, token, trim_point = row
    return StreamState(tail, from_i64(last), token, trim_point), bool(deleted)


def _block_of(row: _BlockRow, segments: SegmentDirectory) -> Block:
    start, end, last, metered, stored, expires, body, segment, offset, length = row
    if body is None:
        body = _body_in_segment(segments, segment, offset, length)
    return Block(start, end, from_i64(last), metered, stored, expires, body)


def _body_in_segment(segments: SegmentDirectory, segment: str | None, offset: int | None, length: int | None) -> bytes:
    """A large body, read straight from its segment: SQLite would copy it twice."""
    assert segment is not None, "a block has its body in its row or in a segment"
    assert offset is not None
    assert length is not None
    return segments.read(Place(segment, offset, length))


def read_state(connection: apsw.Connection, stream_id: StreamId) -> tuple[StreamState, bool]:
    """The stream's state and whether its deletion is pending. Raises `StreamNotFound`."""
    for row in connection.execute(_STATE, (stream_id,)):
        return _state_of(cast(_StateRow, row))
    raise _gone()


def live_state(connection: apsw.Connection, stream_id: StreamId) -> StreamState:
    state, deleted = read_state(connection, stream_id)
    if deleted:
        raise StreamDeletionPending("stream deletion pending")
    return state


def read_blocks(
    connection: apsw.Connection,
    segments: SegmentDirectory,
    stream_id: StreamId,
    start_seq: int,
    max_records: int,
    max_bytes: int,
    now_ms: int,
) -> BlockRange:
    """See `Engine.read_blocks`. The row of the block that no longer fits is read too, but nothing from its segment."""
    found: tuple[StreamState, bool] | None = None
    blocks: list[Block] = []
    records = size = 0
    more = False
    for row in connection.execute(_BLOCKS, (stream_id, saturated(start_seq), now_ms)):
        if found is None:
            found = _state_of(cast(_StateRow, row[:5]))
        start, end, last, metered, stored, expires, body, segment, offset, length = cast(_BlockRow, row[5:])
        if start is None:
            break  # the state alone: there is no such block
        records += end - start
        size += metered
        more = records >= max_records or size >= max_bytes
        if not blocks or (records <= max_records and size <= max_bytes):
            if body is None:
                body = _body_in_segment(segments, segment, offset, length)
            blocks.append(Block(start, end, from_i64(last), metered, stored, expires, body))
        if more:
            break
    if found is None:
        raise _gone()
    return BlockRange(*found, blocks=tuple(blocks), more=more)


def find_timestamp(
    connection: apsw.Connection, segments: SegmentDirectory, stream_id: StreamId, timestamp: int, now_ms: int
) -> Block | None:
    """See `Engine.find_timestamp`: a binary search over sequence numbers, since time never runs back."""
    state, _ = read_state(connection, stream_id)
    low, high = state.trim_point, state.tail
    # The first retained block at or after `low` may be the answer; every block wholly below it is too early.
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_AT_OR_BEFORE, (stream_id, middle)).get
        if row is None:
            low = middle + 1
            continue
        start, end, last = cast(tuple[int, int, int], row)
        if from_i64(last) >= timestamp:
            high = min(start, middle)
        else:
            low = max(end, middle + 1)
    for row in connection.execute(_BLOCKS, (stream_id, low, now_ms)):
        if row[5] is not None and from_i64(cast(int, row[7])) >= timestamp:
            return _block_of(cast(_BlockRow, row[5:]), segments)
    return None


def _gone() -> StreamNotFound:
    return StreamNotFound("the stream does not exist any more")


class Readers:
    """A few threads, each with a connection, that run queries for the event loop."""

    def __init__(self, connect: Callable[[], apsw.Connection], loop: asyncio.AbstractEventLoop) -> None:
        self._connect = connect
        self._loop = loop
        self._queue: queue.SimpleQueue[tuple[Callable[[apsw.Connection], object], asyncio.Future[object]] | None]
        self._queue = queue.SimpleQueue()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"perdure-reader-{number}", daemon=True)
            for number in range(READER_THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, query: Callable[[apsw.Connection], T]) -> asyncio.Future[T]:
        """Run `query` on one of the threads; what it raises is the answer."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(Unavailable("the store is closed"))
        else:
            self._queue.put((query, future))  # type: ignore[arg-type]  # futures are invariant; the queue only carries it
        return future

    async def close(self) -> None:
        """Answer what waits, then end the threads. Queries are short, so joining needs no time-out."""
        if not self._closing:
            self._closing = True
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        connection: apsw.Connection | None = None
        while (item := self._queue.get()) is not None:
            query, future = item
            if future.cancelled():
                continue
            outcome: object
            try:
                if connection is None:
                    connection = self._connect()
                outcome = _answer(query, connection)
            except apsw.Error as exc:
                outcome = translate(exc, "reading from the store")
            except OSError as exc:
                outcome = translate_os(exc, "reading from the store")
            except Exception as exc:  # handed to the caller, who waits for it
                outcome = exc
            try:
                self._loop.call_soon_threadsafe(_settle, future, outcome)
            except RuntimeError:
                logger.warning("the event loop was closed before the store; a read's answer is lost")
        if connection is not None:
            connection.close()


def _answer(query: Callable[[apsw.Connection], T], connection: apsw.Connection) -> T:
    """Run the query; once more if a block that it found was removed before it was read."""
    gone = ""
    while True:
        try:
            return query(connection)
        except SegmentGone as exc:
            if exc.segment == gone:  # a new look at the rows would not find it again if it had been removed by us
                raise StorageFailed(f"the segment {gone} is missing; restore it from a backup") from None
            gone = exc.segment


def _settle(future: asyncio.Future[object], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
