"""Appending single records: gathered into batches, which go through an append session."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from types import TracebackType
from typing import Any

from msgspec import Struct

from ..errors import Invalid, SessionClosed
from ..model.batches import AppendAck, AppendInput
from ..model.limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from ..model.names import check_fencing_token
from ..model.positions import check_u64
from ..model.records import AppendRecord
from .append_session import AppendSession, AppendTicket
from .batching import DEFAULT_LINGER_MS, Batcher
from .waiting import Bell


class RecordAck(Struct, frozen=True, gc=False):
    """A record is durable: its sequence number, and the acknowledgement of the batch it went with."""

    seq_num: int
    batch: AppendAck


class _Group:
    """The records that will go, or went, in one batch, and what became of them."""

    __slots__ = ("_changed", "_failure", "_ticket", "ack")

    def __init__(self) -> None:
        self.ack: AppendAck | None = None
        """Set once somebody has waited for it."""
        self._ticket: AppendTicket | None = None
        self._failure: BaseException | None = None
        self._changed = Bell()

    def sent(self, ticket: AppendTicket) -> None:
        self._ticket = ticket
        self._changed.ring()

    def fail(self, error: BaseException) -> None:
        self._failure = error
        self._changed.ring()

    def done(self) -> bool:
        return self._failure is not None or (self._ticket is not None and self._ticket.done())

    def __await__(self) -> Generator[Any, None, AppendAck]:
        while self._ticket is None:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            yield from self._changed.wait().__await__()
        self.ack = yield from self._ticket.__await__()
        return self.ack


class RecordTicket:
    """A submitted record. `await` it for its acknowledgement; dropping it has no effect on the record."""

    __slots__ = ("_group", "_index")

    def __init__(self, group: _Group, index: int) -> None:
        self._group = group
        self._index = index

    def done(self) -> bool:
        """Whether the record was answered, so that awaiting the ticket does not wait."""
        return self._group.done()

    def __await__(self) -> Generator[Any, None, RecordAck]:
        """The acknowledgement. Raises why the record was not appended, or why that is unknown."""
        ack = self._group.ack
        if ack is None:
            ack = yield from self._group.__await__()
        return RecordAck(ack.start.seq_num + self._index, ack)


class Producer:
    """Records to one stream in the order of their submits, from `Stream.producer`.

    Records wait up to `linger_ms` for company. The first batch that fails ends the producer: what was
    not acknowledged, and every later call, fails with the same error. Use it with `async with`: a clean exit is
    `aclose`; an exit by an error drops what was not sent and does not wait for the rest.
    """

    def __init__(
        self,
        session: AppendSession,
        *,
        linger_ms: float = DEFAULT_LINGER_MS,
        max_batch_records: int = MAX_BATCH_RECORDS,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        fencing_token: str | None = None,
        match_seq_num: int | None = None,
    ) -> None:
        self._session = session
        self._batcher = Batcher(
            linger_ms=linger_ms, max_batch_records=max_batch_records, max_batch_bytes=max_batch_bytes
        )
        # What every batch is made with is checked now: nobody would hear of it when a batch goes by itself.
        self._fencing_token = None if fencing_token is None else check_fencing_token(fencing_token)
        self._match_seq_num = None if match_seq_num is None else check_u64(match_seq_num, "match_seq_num")
        # The groups of the records that the batcher holds, oldest first; more than one only in passing.
        self._open: deque[_Group] = deque()
        self._outbox: deque[tuple[AppendInput, _Group]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._last: _Group | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._changed = Bell()
        self._failure: BaseException | None = None
        self._closed = False
        self._abandoned = False

    async def submit(self, record: AppendRecord) -> RecordTicket:
        """Take `record` into the next batch; wait only while the append session has no room.

        Raises `Invalid` for a record above the byte limit of a batch (the producer goes on without it),
        `SessionClosed`, and what ended the producer. Cancelling the call while it waits takes nothing.
        """
        if type(record) is not AppendRecord:
            raise Invalid(f"a producer takes AppendRecord values, got {type(record).__name__}")
        if self._failure is not None or self._closed or self._session.failure is not None:
            self._refuse()
        if not self._outbox and not self._waiting:
            place = self._batcher.join(record)  # most records, so there is little on their way
            return RecordTicket(self._open[-1], place) if place else self._take(record)
        self._waiting += 1
        try:
            async with self._turn:
                self._refuse()
                while self._outbox:
                    await self._changed.wait()
                    self._refuse()
                return self._take(record)
        finally:
            self._waiting -= 1

    async def flush(self) -> None:
        """Send what waits for company now, and wait until every record submitted before is durable.

        Raises what ended the producer.
        """
        self._refuse()
        await self._flush()

    async def aclose(self) -> None:
        """`flush`, then let go of the stream; no record is taken any more. Idempotent.

        Raises what ended the producer, unless it was abandoned. Cancelling it abandons the rest.
        """
        if self._abandoned:
            return
        self._closed = True
        self._changed.ring()
        try:
            await self._flush()
        except asyncio.CancelledError:
            await self.abandon()
            raise
        except BaseException:
            await self._drop()
            raise
        self._cancel_timer()
        await self._await_pump()
        await self._session.aclose()

    async def __aenter__(self) -> Producer:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            await self.aclose()
        else:
            await self.abandon()

    def _take(self, record: AppendRecord) -> RecordTicket:
        place = len(self._batcher) if self._batcher.fits(record) else 0
        full = self._batcher.add(record, asyncio.get_running_loop().time())
        if not place:
            self._open.append(_Group())
        ticket = RecordTicket(self._open[-1], place)
        for records in full:
            self._put(records)
        if full:
            self._send()
        if self._batcher.deadline is not None and self._timer is None:
            self._arm(self._batcher.deadline)
        return ticket

    def _put(self, records: list[AppendRecord]) -> None:
        batch = AppendInput.of(records, match_seq_num=self._match_seq_num, fencing_token=self._fencing_token)
        if self._match_seq_num is not None:
            self._match_seq_num += len(records)
        self._last = self._open.popleft()
        self._outbox.append((batch, self._last))

    def _send(self) -> None:
        """Pass on the batches that are ready: at once while the session has room, else by a task."""
        while self._outbox and self._pump is None:
            batch, group = self._outbox[0]
            try:
                ticket = self._session.try_submit(batch)
            except Exception as exc:
                self._fail(exc)
                return
            if ticket is None:
                self._pump = asyncio.create_task(self._wait_and_send(), name="perdure producer")
            else:
                self._outbox.popleft()
                group.sent(ticket)

    async def _wait_and_send(self) -> None:
        try:
            while self._outbox:
                batch, group = self._outbox[0]
                ticket = await self._session.submit_batch(batch)
                self._outbox.popleft()
                group.sent(ticket)
                self._changed.ring()
        except Exception as exc:
            self._fail(exc)
        finally:
            self._pump = None

    def _arm(self, deadline: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        # The timer of a batch that left early stays and finds a later deadline here: cheaper than a
        # cancellation for every batch.
        self._timer = None
        if self._batcher.due(asyncio.get_running_loop().time()):
            self._put(self._batcher.flush())
            self._send()
        elif self._batcher.deadline is not None:
            self._arm(self._batcher.deadline)

    async def _flush(self) -> None:
        if self._failure is None and len(self._batcher):
            self._put(self._batcher.flush())
            self._send()
        if self._last is not None:
            await self._last  # acknowledgements come in order: those before it are there as well
        elif self._failure is not None:
            raise self._failure.with_traceback(None)

    def _refuse(self) -> None:
        if self._failure is None:
            self._failure = self._session.failure
        if self._failure is not None:
            self._fail(self._failure)
            raise self._failure.with_traceback(None)
        if self._closed:
            raise SessionClosed("the producer is closed")

    def _fail(self, error: BaseException) -> None:
        """Nothing more can be sent: everything that was not says why."""
        self._failure = error
        self._cancel_timer()
        self._batcher.flush()
        for _, group in self._outbox:
            group.fail(error)
        for group in self._open:
            group.fail(error)
        self._outbox.clear()
        self._open.clear()
        self._changed.ring()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _await_pump(self) -> None:
        if self._pump is not None:
            await asyncio.wait([self._pump])

    async def abandon(self) -> None:
        """Close without waiting: what was not sent is dropped, what was sent may be applied or not.

        Tickets that wait raise `SessionClosed`. Never raises what ended the producer.
        """
        self._abandoned = True
        await self._drop()

    async def _drop(self) -> None:
        self._closed = True
        if self._failure is None:
            self._fail(SessionClosed("the producer was abandoned before this record was sent"))
        if self._pump is not None:
            self._pump.cancel()
        await self._await_pump()
        await self._session.abandon()
