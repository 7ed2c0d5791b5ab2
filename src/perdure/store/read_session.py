"""One reader's way through a stream: catch up, say where the tail is, then follow.

The behaviour is that of the store API, section 6.7. A session is a small state machine over an
engine and a mailbox; it starts no task, so dropping it costs nothing and cancelling a step is safe.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from ..errors import DecryptionFailed, NotFound, StreamDeletionPending, Unavailable
from ..model.limits import MAX_READ_BYTES, MAX_READ_RECORDS, MAX_U64
from ..model.positions import StreamPosition, Timestamp
from ..model.reads import ReadRequest
from ..model.records import AppendRecord, SequencedRecord
from ..wire.protobuf import decode_records
from .catalogue import StreamId
from .engine import Engine
from .hub import Mailbox
from .reading import Budget, Delivery, deliver, start_of
from .sealing import Seal
from .sequencing import Block, StreamState

HEARTBEAT_SECS: Final = (5.0, 15.0)
"""A silent session sends a heartbeat after a random gap from this range; clients give up at 20 s."""

HEARTBEAT_TICK_SECS: Final = 0.1
"""Heartbeats fall on the multiples of this, on the clock of the loop: one wake-up then serves many idle sessions."""

_TERMINAL: Final = AppendRecord.trim(MAX_U64)
"""What followers of a stream see when it is deleted, as their last record."""


def heartbeat_gap(least: float = HEARTBEAT_SECS[0], most: float = HEARTBEAT_SECS[1]) -> float:
    """The seconds from now to the next heartbeat: at random, and on a tick if there is one that is not too early."""
    now = asyncio.get_running_loop().time()
    due = now + random.uniform(least, most)
    return max(due - due % HEARTBEAT_TICK_SECS - now, least)


class ReadSession:
    """A read in progress, from `ReadSession.open`. Close it when done, or use it with `async with`."""

    def __init__(
        self,
        engine: Engine,
        stream: StreamId,
        request: ReadRequest,
        mailbox: Mailbox | None,
        cursor: int,
        heartbeat_gap: Callable[[], float],
        seal: Seal | None = None,
        meter: Callable[[int], None] | None = None,
    ) -> None:
        self._engine = engine
        self._stream = stream
        self._request = request
        self._mailbox = mailbox
        self._cursor = cursor
        self._gap = heartbeat_gap
        self._silence: float | None = None
        """How long the silence may last before the next heartbeat, in seconds; None until it is drawn."""
        self._seal = seal
        self._meter = meter
        self._metered_bytes = 0
        self._budget = Budget(request.limits)
        self._following = False
        self._tail = StreamPosition(0, 0)
        self._reached: StreamPosition | None = None
        """The tail, when the last step handed out everything up to it: then there is nothing to look for behind."""
        self._deadline: float | None = None
        self._quiet_since: float | None = None
        self._ending: Exception | None = None
        self._ended = False

    @classmethod
    async def open(
        cls,
        engine: Engine,
        stream: StreamId,
        request: ReadRequest,
        *,
        seal: Seal | None = None,
        meter: Callable[[int], None] | None = None,
        heartbeat_gap: Callable[[], float] = heartbeat_gap,
    ) -> ReadSession:
        """Find where the read starts. `seal` opens what is sealed; a stream with a cipher needs it.

        `meter` is told the metered bytes of each delivery, but for the terminal trim of a stream that is deleted.

        Raises `ReadUnwritten` for a start beyond the tail, `StreamNotFound`, `StreamDeletionPending`.
        """
        mailbox = engine.hub.follow(stream) if request.may_follow else None
        if mailbox is not None:
            mailbox.__enter__()  # before the tail is read, so that nothing falls between
        try:
            state = await engine.state(stream)
            start = start_of(request, state.position)
            if isinstance(start, Timestamp):
                start = await _seek(engine, stream, start.value, state)
        except BaseException:
            if mailbox is not None:
                mailbox.__exit__()
            raise
        return cls(engine, stream, request, mailbox, start, heartbeat_gap, seal, meter)

    async def __aenter__(self) -> ReadSession:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop following. Idempotent; nothing needs to be awaited."""
        self._ended = True
        if self._mailbox is not None:
            self._mailbox.__exit__()
            self._mailbox = None

    def __aiter__(self) -> ReadSession:
        return self

    async def __anext__(self) -> Delivery:
        delivery = await self.next()
        if delivery is None:
            raise StopAsyncIteration
        return delivery

    async def next(self, max_records: int = MAX_READ_RECORDS) -> Delivery | None:
        """The next step of the read, or None when it is over. Heartbeats are steps without records.

        `max_records` bounds what is read from the store in one step, at least one batch; what follows live comes batch
        by batch.

        Raises `Unavailable` when the stream was deleted underneath, after its terminal trim, and
        `DecryptionFailed` when records come that another key sealed.
        """
        while not self._ended:
            if self._ending is not None:
                self.close()
                raise self._ending
            if self._budget.spent:
                break
            try:
                delivery = await (self._follow() if self._following else self._catch_up(max_records))
            except DecryptionFailed:
                self.close()  # the limits counted what was not handed out
                raise
            if delivery is None:
                continue
            self._cursor = delivery.cursor
            if not delivery.is_heartbeat:
                if self._request.wait is not None:
                    self._quiet_since = asyncio.get_running_loop().time()
                if self._meter is not None:
                    self._meter(self._budget.taken_bytes - self._metered_bytes)
                    self._metered_bytes = self._budget.taken_bytes
            elif delivery.tail is None or self._budget.spent:
                break  # the limits allow nothing of what comes next
            return delivery
        self.close()
        return None

    async def _catch_up(self, max_records: int) -> Delivery | None:
        reached, self._reached = self._reached, None
        if reached is not None and (self._mailbox is None or self._mailbox.is_quiet):
            self._tail = reached
            return self._at_tail()
        if self._mailbox is not None:
            self._mailbox.clear()  # the read sees all of it
        try:
            found = await self._engine.read_blocks(
                self._stream,
                self._cursor,
                max_records=self._budget.records_left(max_records),
                max_bytes=self._budget.bytes_left(MAX_READ_BYTES),
            )
        except (NotFound, StreamDeletionPending):
            self._ending = Unavailable("the stream was deleted while it was read")
            return None
        if found.deleted:
            return self._terminal(found.state)
        delivery = deliver(found.blocks, self._cursor, found.state.trim_point, self._budget, None, self._seal)
        if not delivery.is_heartbeat or self._budget.spent:
            if not found.more and delivery.cursor == found.state.tail:
                self._reached = found.state.position
            return delivery
        if found.more:
            self._cursor = found.blocks[-1].end_seq
            return None
        self._cursor = max(self._cursor, found.state.tail)
        self._tail = found.state.position
        return self._at_tail()

    def _at_tail(self) -> Delivery | None:
        """Everything written so far was handed out: end here, or say where the tail is and follow."""
        if self._mailbox is None:
            self.close()
            return None
        if self._quiet_since is None:
            self._quiet_since = asyncio.get_running_loop().time()
        if self._wait_is_over():
            self.close()
            return None
        self._following = True
        return Delivery(self._cursor, tail=self._tail)

    def _wait_is_over(self) -> bool:
        wait = self._request.wait
        if wait is None or self._quiet_since is None:
            return False
        self._deadline = self._quiet_since + wait
        return asyncio.get_running_loop().time() >= self._deadline

    async def _follow(self) -> Delivery | None:
        mailbox = self._mailbox
        assert mailbox is not None, "a session that follows has a mailbox until it is closed"
        block = mailbox.take()
        if block is None:
            if self._wait_is_over():
                self.close()
                return None
            if self._silence is None:
                self._silence = self._gap()
            remaining = self._silence
            if self._deadline is not None:
                remaining = min(remaining, self._deadline - asyncio.get_running_loop().time())
            if await mailbox.wait(remaining):
                block = mailbox.take()
                if block is None:
                    self._following = False  # the store knows more than the mailbox
                    return None
            elif self._ended or self._wait_is_over():
                self.close()
                return None
            else:
                self._silence = None
                return Delivery(self._cursor, tail=self._tail)
        return self._hand_out(block)

    def _hand_out(self, block: Block) -> Delivery | None:
        if block.end_seq <= self._cursor:
            return None  # caught up beyond it already
        if block.start_seq != self._cursor:
            self._following = False  # a gap: the store has what lies between
            return None
        self._tail = block.tail
        return deliver((block,), self._cursor, 0, self._budget, block.tail, self._seal)

    def _terminal(self, state: StreamState) -> Delivery:
        """The last delivery of a stream that was deleted while it was followed."""
        self._ending = Unavailable("the stream was deleted while it was read")
        seq_num = state.tail - 1
        record = SequencedRecord(seq_num, state.last_timestamp, _TERMINAL.body, _TERMINAL.headers)
        return Delivery(state.tail, cut=(record,), tail=state.position)


async def _seek(engine: Engine, stream: StreamId, timestamp: int, state: StreamState) -> int:
    """The first retained record at or after `timestamp`; the tail if there is none."""
    block = await engine.find_timestamp(stream, timestamp)
    if block is None:
        return state.tail
    for record in decode_records(block.body):
        if record.timestamp >= timestamp and record.seq_num >= state.trim_point:
            return record.seq_num
    return block.end_seq
