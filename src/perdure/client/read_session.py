"""Reading a stream from somewhere on, and following it: record by record, or batch by batch.

Nothing runs in the background: whoever reads, or asks to be told when the reader is caught up, drives the
session; at most one batch is held that nobody has taken yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from ..errors import SessionClosed
from ..model.batches import Part, ReadBatch
from ..model.positions import StreamPosition
from ..model.records import SequencedRecord
from .transport import ReadChannel
from .waiting import Bell

GotT = TypeVar("GotT")


class ReadSession:
    """The records of a stream in order, each once, from `Stream.read_session`.

    Iterate over it for records, or over `batches()` for batches with their tails. Use it with `async with`,
    which connects, raises what keeps the read from starting, and ends the read on exit. Without
    it, the first record asked for connects, and `aclose` ends it.
    """

    def __init__(
        self,
        open_channel: Callable[[Callable[[], None]], Awaitable[ReadChannel]],
        *,
        ignore_command_records: bool = False,
    ) -> None:
        self._open_channel = open_channel
        self._ignore_commands = ignore_command_records
        self._channel: ReadChannel | None = None
        self._pulling = False
        self._ended = False
        self._failure: BaseException | None = None
        self._changed = Bell()
        # The batch that is being handed out: its visible records, the next one, and where it ends.
        self._held: tuple[SequencedRecord, ...] = ()
        self._next = 0
        self._held_end: StreamPosition | None = None
        self._held_tail: StreamPosition | None = None
        self._position: StreamPosition | None = None
        self._tail: StreamPosition | None = None
        self._caught_up = False

    @property
    def next_read_position(self) -> StreamPosition | None:
        """Where a new read would go on after what was handed out here; None before that is known."""
        if 0 < self._next < len(self._held):
            record = self._held[self._next - 1]
            return StreamPosition(record.seq_num + 1, record.timestamp)
        return self._position

    @property
    def last_observed_tail(self) -> StreamPosition | None:
        """The latest tail that the stream reported to this session; None before the first."""
        return self._tail

    @property
    def is_caught_up(self) -> bool:
        """Whether every record below the last reported tail was handed out.

        It ends with the next batch, until that was handed out to its end, and with a lost connection, until the tail
        was seen again. What was appended and has not been pulled yet is not known here, so it takes somebody who reads.
        """
        return self._caught_up

    async def caught_up(self) -> StreamPosition:
        """Wait until every record below the last reported tail was handed out; gives that tail.

        While nobody else reads, this call drives the session; records that it finds wait for their reader,
        so somebody must take them for it to return. Returns at once while `is_caught_up`, also after
        the end. Raises what ended the session, and `SessionClosed` if it ended before.
        """
        while not self._caught_up:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._ended:
                raise SessionClosed("the read session ended before it was caught up")
            if self._pulling or self._next < len(self._held):
                await self._changed.wait()
            else:
                await self._pull()
        assert self._tail is not None, "a session catches up with a tail"
        return self._tail

    def __aiter__(self) -> AsyncIterator[SequencedRecord]:
        return self

    async def __anext__(self) -> SequencedRecord:
        while self._next >= len(self._held):
            if not await self._advance():
                raise StopAsyncIteration
        record = self._held[self._next]
        self._next += 1
        if self._next == len(self._held):
            self._handed_out()
        return record

    def batches(self) -> AsyncIterator[ReadBatch]:
        """The session batch by batch, as `next_batch` gives them."""
        return _Batches(self)

    async def next_batch(self) -> ReadBatch | None:
        """The next records as they came together, or None at the clean end.

        A batch with a `tail` came from following live, and says where the stream's tail was after it. One
        without records is a heartbeat: it comes on reaching the tail, and then in every silence. With
        `ignore_command_records`, a batch of nothing but commands counts as one too.
        """
        while True:
            if self._next < len(self._held):
                records = self._held[self._next :]
                self._next = len(self._held)
                tail = self._held_tail
                self._handed_out()
                return ReadBatch(records, tail)
            batch = await self._pull_in_turn()
            if batch is None:
                return None
            if not batch.records and batch.tail is not None:
                return batch

    async def next_parts(self) -> tuple[Part, ...] | None:
        """`next_batch`, where many records without headers come as bodies alone. Commands are never ignored here."""
        while True:
            if self._next < len(self._held):
                batch = await self.next_batch()
                return None if batch is None else (batch,)
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._ended:
                return None
            if not self._pulling:
                return await self._step(_next_parts, self._pass_on)
            await self._changed.wait()

    async def _advance(self) -> bool:
        """Make progress towards more records; False at the clean end."""
        return await self._pull_in_turn() is not None

    async def _pull_in_turn(self) -> ReadBatch | None:
        """One step: pull a batch, or wait while another task does; None at the clean end."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._ended:
            return None
        if self._pulling:
            await self._changed.wait()
            return _NOTHING
        return await self._pull()

    async def _pull(self) -> ReadBatch | None:
        """Get the next batch from the channel and hold its records; the batch without what is ignored."""
        return await self._step(_next_batch, self._hold)

    async def _step(
        self, get: Callable[[ReadChannel], Awaitable[GotT | None]], take: Callable[[GotT], GotT]
    ) -> GotT | None:
        """What comes next from the channel, as `take` makes it; None at the end."""
        self._pulling = True
        try:
            got = await get(await self._connected())
            if self._ended:
                return None  # closed by another task meanwhile
            if got is None:
                await self._finish()
                return None
            return take(got)
        except Exception as exc:
            if self._ended:
                return None
            self._failure = exc
            await self._finish()
            raise
        finally:
            self._pulling = False
            self._changed.ring()

    def _hold(self, batch: ReadBatch) -> ReadBatch:
        records = batch.records
        if batch.tail is not None:
            self._tail = batch.tail
        if records:
            last = records[-1]
            self._held_end = StreamPosition(last.seq_num + 1, last.timestamp)
            self._caught_up = False
        else:
            self._held_end = batch.tail
        if self._ignore_commands:
            records = tuple([record for record in records if record.command is None])
            batch = ReadBatch(records, batch.tail)
        self._held, self._next, self._held_tail = records, 0, batch.tail
        if not records:
            self._handed_out()
        return batch

    def _pass_on(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """Count what is handed out at once."""
        for part in parts:
            if isinstance(part, ReadBatch):
                self._hold(part)
            else:
                self._tail = part.tail or self._tail
                self._held_end, self._held_tail, self._caught_up = part.end, part.tail, False
            self._handed_out()
        return parts

    def _handed_out(self) -> None:
        """Nothing of the batch is left: that may be the last record below the tail."""
        end, tail = self._held_end, self._held_tail
        self._position = end or self._position
        self._held, self._next = (), 0
        if end is not None and tail is not None and end.seq_num == tail.seq_num:
            self._caught_up = True
        self._changed.ring()

    def _lose_sight(self) -> None:
        self._caught_up = False

    async def _connected(self) -> ReadChannel:
        if self._channel is None:
            self._channel = await self._open_channel(self._lose_sight)
        return self._channel

    async def _finish(self) -> None:
        self._ended = True
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.aclose()

    async def __aenter__(self) -> ReadSession:
        if self._ended:
            raise SessionClosed("the read session is closed")
        await self._connected()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the read. Records not taken yet are dropped; whoever waits sees the end. Idempotent."""
        self._position = self.next_read_position
        self._held, self._next = (), 0
        await self._finish()
        self._changed.ring()


def _next_batch(channel: ReadChannel) -> Awaitable[ReadBatch | None]:
    return channel.next()


def _next_parts(channel: ReadChannel) -> Awaitable[tuple[Part, ...] | None]:
    return channel.next_parts()


_NOTHING = ReadBatch(())
"""Another task made the step; look again."""


class _Batches:
    def __init__(self, session: ReadSession) -> None:
        self._session = session

    def __aiter__(self) -> AsyncIterator[ReadBatch]:
        return self

    async def __anext__(self) -> ReadBatch:
        batch = await self._session.next_batch()
        if batch is None:
            raise StopAsyncIteration
        return batch
