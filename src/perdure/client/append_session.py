"""Appending batch after batch without waiting for each acknowledgement, in order.

The way of a batch is short on purpose: `submit` hands it to the transport and gives back the future
that the transport made, in a thin ticket. No task runs and no callback is scheduled for a batch; what
was answered is accounted for when the next batch comes, or when somebody waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import Any
from weakref import WeakSet

from ..errors import Invalid, SessionClosed
from ..model.batches import AppendAck, AppendInput
from ..model.records import AppendRecord
from .in_flight import DEFAULT_MAX_IN_FLIGHT_BYTES, InFlight
from .sources import give_each
from .transport import AppendChannel
from .waiting import Bell, Settled, settled


class AppendTicket:
    """A submitted batch. `await` it for the acknowledgement.

    Dropping a ticket, or cancelling the task that waits for it, has no effect on the batch.
    """

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[AppendAck]) -> None:
        self._future = future

    def done(self) -> bool:
        """Whether the batch was answered, so that awaiting the ticket does not wait."""
        return self._future.done()

    def add_done_callback(self, callback: Callable[[asyncio.Future[AppendAck]], object]) -> None:
        """Call `callback` with the answered future, soon after the answer; for those who do not want to wait."""
        self._future.add_done_callback(callback)

    def __await__(self) -> Generator[Any, None, AppendAck]:
        """The acknowledgement. Raises why the batch was not applied, or why that is unknown."""
        future = self._future
        if not future.done():
            yield from settled(future)
        if future.cancelled():
            raise SessionClosed(
                "the session was abandoned before this batch was acknowledged; it may be applied", may_have_applied=True
            )
        return future.result()


class AppendSession:
    """A pipeline of batches to one stream, from `Stream.append_session`.

    Batches are appended in the order in which their `submit` got room, and acknowledged in that order. The
    first one that fails ends the session: every later batch and every later call fails with the same
    error, and nothing after the failed batch is applied.

    Over HTTP, what was not acknowledged is sent again after a lost connection, as the retry policy says. A batch with
    `match_seq_num` that was there already is refused then: the `SeqNumMismatch` is `in_doubt`, and reading from
    `match_seq_num` on tells whose records those are.

    `submit` gives a ticket for each batch. `write` and `write_all` take batches like a sink, for which `acks` tells
    what became of them, all in order.

    Use it with `async with`: a clean exit is `aclose`; an exit by an error gives up what is not
    acknowledged yet, without waiting. Without `async with`, the first `submit` connects.
    """

    def __init__(
        self,
        open_channel: Callable[[], Awaitable[AppendChannel]],
        *,
        max_in_flight_bytes: int = DEFAULT_MAX_IN_FLIGHT_BYTES,
        max_in_flight_batches: int | None = None,
    ) -> None:
        self._open_channel = open_channel
        self._room = InFlight(max_bytes=max_in_flight_bytes, max_batches=max_in_flight_batches)
        self._channel: AppendChannel | None = None
        self._in_flight: deque[tuple[asyncio.Future[AppendAck], int]] = deque()
        self._failure: BaseException | None = None
        self._closed = False
        self._abandoned = False
        self._turn = asyncio.Lock()  # who waits for room; asyncio's lock is fair, which makes the order
        self._waiting = 0
        self._changed = Bell()
        self._acks: WeakSet[_Acks] | None = None

    @property
    def failure(self) -> BaseException | None:
        """What ended the session; None while it works, and after a clean close."""
        in_flight = self._in_flight
        if in_flight and in_flight[0][0].done():
            self._settle()
        return self._failure

    @property
    def in_flight_bytes(self) -> int:
        """Metered bytes submitted and not yet acknowledged."""
        self._settle()
        return self._room.bytes

    @property
    def in_flight_batches(self) -> int:
        """Batches submitted and not yet acknowledged."""
        self._settle()
        return self._room.batches

    async def submit(
        self,
        records: Iterable[AppendRecord],
        *,
        match_seq_num: int | None = None,
        fencing_token: str | None = None,
    ) -> AppendTicket:
        """Submit 1 to 1000 records as one batch; wait only while too much is in flight.

        Args:
            records: appended together or not at all; at most 1 MiB of metered bytes.
            match_seq_num: append only if the first record would get this sequence number.
            fencing_token: append only if this is the stream's current token.

        Raises:
            Invalid: the batch breaks a limit; the session goes on.
            SessionClosed: the session was closed, also while this call waited.
            PerdureError: what ended the session.

        Cancelling the call while it waits for room gives its place up: the batch is not appended.
        """
        batch = AppendInput.of(records, match_seq_num=match_seq_num, fencing_token=fencing_token)
        ticket = self.try_submit(batch)
        return ticket if ticket is not None else await self._submit_in_turn(batch)

    async def submit_batch(self, batch: AppendInput) -> AppendTicket:
        """`submit` for a batch that was built with `AppendInput.of`."""
        if type(batch) is not AppendInput:
            raise Invalid(
                f"a batch is a value of AppendInput.of(…), got {type(batch).__name__}; `submit` takes records"
            )
        ticket = self.try_submit(batch)
        return ticket if ticket is not None else await self._submit_in_turn(batch)

    async def write(self, batch: AppendInput) -> None:
        """Hand a batch over; returns when it has its place, so that a loop goes as fast as the stream takes it.

        It is durable when `aclose` has returned, or its acknowledgement has come out of `acks`. Raises as `submit`
        does: after a batch that failed, each call raises the same error.
        """
        _ = await self.submit_batch(batch)

    async def write_all(self, batches: AsyncIterable[AppendInput] | Iterable[AppendInput]) -> None:
        """`write` each batch; the source is asked for the next one only when there is room.

        A generator is closed at the end, however it comes to that: its `finally` runs before this call raises. What
        failed shows with the next batch, or in `aclose`; a source that is silent is not interrupted.
        """
        await give_each(batches, self.write)

    def acks(self) -> AsyncIterator[AppendAck]:
        """The acknowledgements of all batches that are submitted or written from now on, in order, each once.

        Call it before the first batch, and give what it returns to whoever is to loop over it. The loop ends after the
        last one when the session is closed, and raises what ended the session after those that came before. What
        nobody has taken yet is kept, some hundred bytes for each batch.
        """
        acks = _Acks(self)
        if self._acks is None:
            self._acks = WeakSet()
        self._acks.add(acks)
        return acks

    def try_submit(self, batch: AppendInput) -> AppendTicket | None:
        """`submit_batch` if it need not wait; otherwise None, and nothing happened. Raises as `submit` does."""
        in_flight = self._in_flight
        if in_flight and in_flight[0][0].done():
            self._settle()
        if self._closed or self._failure is not None:
            self._refuse()
        channel = self._channel
        if channel is None or self._waiting or not self._room.fits(batch.metered_bytes):
            return None
        return self._send(channel, batch)

    def _send(self, channel: AppendChannel, batch: AppendInput) -> AppendTicket:
        try:
            future = channel.send(batch)
        except Exception as exc:
            self._failure = exc
            self._changed.ring()
            raise
        size = batch.metered_bytes
        self._room.add(size)
        self._in_flight.append((future, size))
        if self._acks:
            for acks in self._acks:
                acks.put(future)
            self._changed.ring()
        return AppendTicket(future)

    async def _submit_in_turn(self, batch: AppendInput) -> AppendTicket:
        self._waiting += 1
        try:
            async with self._turn:
                channel = await self._connected()
                while not self._room.fits(batch.metered_bytes):
                    await self._some_answer()
                    self._settle()
                    self._refuse()
                return self._send(channel, batch)
        finally:
            self._waiting -= 1

    async def _connected(self) -> AppendChannel:
        """The channel, opened by whoever comes first. Holds the turn."""
        self._refuse()
        if self._channel is None:
            try:
                self._channel = await self._open_channel()
            except Exception as exc:
                self._failure = exc
                self._changed.ring()
                raise
            self._refuse()
        return self._channel

    async def _some_answer(self) -> None:
        """Wait until the oldest batch in flight is answered, or the session is closed."""
        oldest = self._in_flight[0][0]
        oldest.add_done_callback(self._changed.ring)
        try:
            await self._changed.wait()
        finally:
            oldest.remove_done_callback(self._changed.ring)

    def _settle(self) -> None:
        """Account for the batches that were answered, oldest first."""
        in_flight = self._in_flight
        while in_flight and in_flight[0][0].done():
            future, size = in_flight.popleft()
            self._room.remove(size)
            if not future.cancelled():
                error = future.exception()  # seen here: asyncio need not report a ticket that was dropped
                if self._failure is None:
                    self._failure = error

    def _refuse(self) -> None:
        """Raise if the session takes no more batches."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._closed:
            raise SessionClosed("the append session is closed")

    async def __aenter__(self) -> AppendSession:
        async with self._turn:
            await self._connected()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            await self.aclose()
        else:
            await self.abandon()

    async def aclose(self) -> None:
        """Take no more batches, wait for what is in flight, and let go of the stream.

        Submits that still wait for room fail with `SessionClosed`. Raises what ended the session, if
        something did, unless it was abandoned. Idempotent. Cancelling it abandons what is still in flight.
        """
        self._closed = True
        self._changed.ring()
        async with self._turn:
            try:
                while self._in_flight:
                    await Settled(self._in_flight[0][0])
                    self._settle()
            except asyncio.CancelledError:
                self._withdraw()
                raise
            finally:
                await self._release()
        if self._failure is not None and not self._abandoned:
            raise self._failure.with_traceback(None)

    async def abandon(self) -> None:
        """Close without waiting: what is not acknowledged yet may be applied or not, as with a lost connection.

        Tickets that wait raise `SessionClosed`. Never raises what ended the session.
        """
        self._closed = self._abandoned = True
        self._withdraw()
        self._changed.ring()
        async with self._turn:
            await self._release()

    def _withdraw(self) -> None:
        # Newest first: were an older batch withdrawn and a newer one taken, the order would have a hole.
        for future, _ in reversed(self._in_flight):
            future.cancel()
        self._settle()

    async def _release(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.aclose()


class _Acks:
    """What `AppendSession.acks` gives. Cancelling the wait for one loses none."""

    def __init__(self, session: AppendSession) -> None:
        self._session = session
        self._futures: deque[asyncio.Future[AppendAck]] = deque()

    def put(self, future: asyncio.Future[AppendAck]) -> None:
        self._futures.append(future)

    def __aiter__(self) -> AsyncIterator[AppendAck]:
        return self

    async def __anext__(self) -> AppendAck:
        session, futures = self._session, self._futures
        while True:
            if not futures:
                failure = session.failure
                if failure is not None and not session._abandoned:
                    raise failure.with_traceback(None)
                if session._closed:
                    raise StopAsyncIteration
                await session._changed.wait()
                continue
            future = futures[0]
            if not future.done():
                await Settled(future)
            if not futures or futures[0] is not future:
                continue  # another task has taken it
            del futures[0]
            if future.cancelled():
                futures.clear()
                raise SessionClosed(
                    "the session was abandoned before this batch was acknowledged; it may be applied",
                    may_have_applied=True,
                )
            if future.exception() is not None:
                futures.clear()  # all that is behind it failed by the same error
            return future.result()
