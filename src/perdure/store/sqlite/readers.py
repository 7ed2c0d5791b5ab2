"""Reads: the queries, and the few threads with connections of their own that run them.

A read takes the stream's state first and its blocks after, without a transaction around both: the
blocks can only be newer than the state, so a reader never believes to be at the tail too early.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar, cast

import apsw

from ...errors import StreamDeletionPending, StreamNotFound, Unavailable
from ..catalogue import StreamId
from ..engine import BlockRange
from ..sequencing import Block, StreamState
from .failures import translate
from .schema import from_i64, saturated

T = TypeVar("T")

logger = logging.getLogger("perdure.store.sqlite")

READER_THREADS: Final = 2
"""Queries are short and served from the page cache; more threads than cores would only take turns."""

_BlockRow: TypeAlias = tuple[int, int, int, int, int, int | None, bytes]

_BLOCK: Final = "SELECT start_seq, end_seq, last_timestamp, metered_bytes, stored_ms, expires_ms, body FROM block "
_FROM: Final = (
    _BLOCK + "WHERE stream_id = ?1 AND start_seq >= "
    "ifnull((SELECT max(start_seq) FROM block WHERE stream_id = ?1 AND start_seq <= ?2), ?2) ORDER BY start_seq"
)
_STATE: Final = (
    "SELECT s.deleted_at IS NOT NULL, t.tail, t.last_timestamp, t.fencing_token, t.trim_point "
    "FROM stream s JOIN stream_state t USING (stream_id) WHERE stream_id = ?"
)
_AT_OR_BEFORE: Final = (
    "SELECT start_seq, end_seq, last_timestamp FROM block WHERE stream_id = ? AND start_seq <= ? "
    "ORDER BY start_seq DESC LIMIT 1"
)


def read_state(connection: apsw.Connection, stream_id: StreamId) -> tuple[StreamState, bool]:
    """The stream's state and whether its deletion is pending. Raises `StreamNotFound`."""
    for row in connection.execute(_STATE, (stream_id,)):
        deleted, tail, last, token, trim_point = cast(tuple[int, int, int, str, int], row)
        return StreamState(tail, from_i64(last), token, trim_point), bool(deleted)
    raise StreamNotFound("the stream does not exist any more")


def live_state(connection: apsw.Connection, stream_id: StreamId) -> StreamState:
    state, deleted = read_state(connection, stream_id)
    if deleted:
        raise StreamDeletionPending("stream deletion pending")
    return state


def read_blocks(
    connection: apsw.Connection,
    stream_id: StreamId,
    start_seq: int,
    max_records: int,
    max_bytes: int,
    now_ms: int,
) -> BlockRange:
    """See `Engine.read_blocks`. The block that no longer fits is read too, and left."""
    state, deleted = read_state(connection, stream_id)
    blocks: list[Block] = []
    records = size = 0
    first = max(start_seq, state.trim_point)
    for row in connection.execute(_FROM, (stream_id, saturated(first))):
        block = Block(*cast(_BlockRow, row))
        if block.end_seq <= first or (block.expires_ms is not None and block.expires_ms <= now_ms):
            continue
        records += block.end_seq - block.start_seq
        size += block.metered_bytes
        if blocks and (records > max_records or size > max_bytes):
            return BlockRange(state, deleted, tuple(blocks), more=True)
        blocks.append(block)
        if records >= max_records or size >= max_bytes:
            return BlockRange(state, deleted, tuple(blocks), more=True)
    return BlockRange(state, deleted, tuple(blocks), more=False)


def find_timestamp(connection: apsw.Connection, stream_id: StreamId, timestamp: int, now_ms: int) -> Block | None:
    """See `Engine.find_timestamp`: a binary search over sequence numbers, since time never runs back."""
    state, _ = read_state(connection, stream_id)
    wanted = saturated(timestamp)
    low, high = state.trim_point, state.tail
    # The first retained block at or after `low` may be the answer; every block wholly below it is too early.
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_AT_OR_BEFORE, (stream_id, middle)).get
        if row is None:
            low = middle + 1
            continue
        start, end, last = cast(tuple[int, int, int], row)
        if last >= wanted:
            high = min(start, middle)
        else:
            low = max(end, middle + 1)
    for row in connection.execute(_FROM, (stream_id, low)):
        block = Block(*cast(_BlockRow, row))
        if block.expires_ms is not None and block.expires_ms <= now_ms:
            continue
        if block.end_seq > state.trim_point and block.last_timestamp >= wanted:
            return block
    return None


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
                outcome = query(connection)
            except apsw.Error as exc:
                outcome = translate(exc, "reading from the store")
            except Exception as exc:  # handed to the caller, who waits for it
                outcome = exc
            try:
                self._loop.call_soon_threadsafe(_settle, future, outcome)
            except RuntimeError:
                logger.warning("the event loop was closed before the store; a read's answer is lost")
        if connection is not None:
            connection.close()


def _settle(future: asyncio.Future[object], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
