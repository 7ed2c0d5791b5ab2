"""An append session over HTTP: batches out, acknowledgements in, and both again after a lost connection."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from itertools import islice
from typing import Final

from ...errors import (
    PerdureError,
    ProtocolViolation,
    ServerDraining,
    SessionClosed,
    TransportError,
    TruncatedFrame,
)
from ...model.batches import AppendAck, AppendInput
from ...telemetry.spans import NO_SPAN, error_type
from ...wire.append_input import append_input_parts
from ...wire.s2s import Frame, FrameDecoder, join_frame
from ...wire.s2s_messages import append_ack_of
from ..exchange import Exchange
from ..moving import Moves
from ..retries import applied_tail, leaves_doubt
from ..tracing import MOVED, RECONNECTED
from .http_requests import Call, Requests


def check_ack(ack: AppendAck, records: int, last_end: int = 0) -> None:
    """Whether an acknowledgement can be that of a batch of so many records, behind the one that ended at `last_end`.

    Raises `ProtocolViolation` (store API, section 10.5).
    """
    if ack.end.seq_num - ack.start.seq_num != records or ack.end.seq_num <= last_end:
        raise ProtocolViolation(
            f"an acknowledgement of records {ack.start.seq_num} to {ack.end.seq_num} for a batch of "
            f"{records} after record {last_end}"
        )


_log: Final = logging.getLogger("perdure.client")


class _Batch:
    """A batch on its way, as it is sent, and sent again."""

    __slots__ = ("frame", "future", "in_doubt", "match_seq_num", "records", "sent_at")

    def __init__(
        self, frame: bytes, records: int, match_seq_num: int | None, future: asyncio.Future[AppendAck]
    ) -> None:
        self.frame: bytes = frame
        self.records: int = records
        self.match_seq_num: int | None = match_seq_num
        self.future: asyncio.Future[AppendAck] = future
        self.sent_at: float = 0.0
        self.in_doubt: bool = False
        """Whether it was sent in a session that was lost: it may have been applied."""


class HttpAppendChannel:
    """An `AppendChannel`. While all is well no task runs for it; after a failure, one that connects and sends again.

    A server that is about to stop advises to leave it (section 6.9). Then a session is opened elsewhere, while this one
    is heard out; batches that come meanwhile wait, since only one session at a time keeps them in order.

    All batches that were not acknowledged are sent again, in order, as far as the retry policy allows it: the store
    applied none of them after the first that it did not acknowledge (store API, section 10.5).
    """

    def __init__(self, requests: Requests, call: Call) -> None:
        self._requests = requests
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._timeout = requests.settings.request_timeout
        self._batches: deque[_Batch] = deque()
        """Not acknowledged, oldest first."""
        self._sent = 0
        """How many of them were sent in the current session, or in the one that was lost."""
        self._link: _Link | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._move: asyncio.Task[None] | None = None
        self._next_link: _Link | None = None
        """The session elsewhere, once it is open; it takes over when all that was sent is acknowledged."""
        self._moves = Moves(requests.settings.retries)
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._failures = 0
        self._last_end = 0
        self._failure: Exception | None = None
        self._is_closed = False
        self._span = NO_SPAN

    async def open(self) -> None:
        """Connect. Raises what keeps the session from starting, after the retries."""
        self._span = self._requests.begin_session(self._call, "append")
        try:
            self._link = await self._connected_again(None)
        except BaseException as exc:
            self._span.failed(exc)
            self._span.end()
            raise

    def send(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise SessionClosed("the append session is closed")
        frame = join_frame(append_input_parts(batch), self._requests.settings.compression)
        entry = _Batch(frame, len(batch.records), batch.match_seq_num, self._loop.create_future())
        self._batches.append(entry)
        link = self._link
        if link is not None:
            if self._move is None and self._next_link is None:
                self._transmit(link, entry)
        elif self._recovery is None:
            self._begin_recovery(None)  # the session went while nothing was sent
        return entry.future

    async def aclose(self) -> None:
        self._is_closed = True
        self._span.end()
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in (self._recovery, self._move) if task is not None]
        self._recovery = None
        self._stay()
        if tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        link, self._link = self._link, None
        if link is not None and link.stream is not None:
            # The end of the request is the only sign that a session is over; nobody waits for the answer's.
            if self._batches:
                link.stream.reset()
            else:
                link.stream.finish()

    # What the session says ------------------------------------------------------------------------

    def on_frame(self, link: _Link, frame: Frame) -> None:
        """An acknowledgement, or what ended the session."""
        if link is not self._link:
            return
        try:
            ack = append_ack_of(frame)
            if not self._sent:
                raise ProtocolViolation("an acknowledgement without a batch")
            batch = self._batches[0]
            check_ack(ack, batch.records, self._last_end)
        except PerdureError as exc:
            self.on_lost(link, exc)
            return
        self._batches.popleft()
        self._sent -= 1
        self._last_end = ack.end.seq_num
        self._failures = 0
        self._heard_at = self._loop.time()
        if not batch.future.done():
            batch.future.set_result(ack)
        if self._moves.are_wanted(is_advised=frame.reconnect_advised, now=self._heard_at):
            self._follow_advice(link)
        if self._next_link is not None and not self._sent:
            self._change_over(self._next_link)

    def on_lost(self, link: _Link, error: PerdureError | None) -> None:
        """The session is over: by an error, or because the answer ended."""
        if link is self._next_link:
            self._stay()
            self._transmit_rest()
        if link is not self._link:
            return
        self._link = None
        self._stay()
        if link.stream is not None:
            link.stream.reset()
            if isinstance(error, ServerDraining):
                link.stream.leave_connection()
        if self._is_closed or not self._batches:
            # What is wrong, if something is, shows when the next batch needs a session.
            self._sent = 0
            return
        if error is None:
            error = TransportError("the session ended before all batches were acknowledged", may_have_applied=True)
        self._failures += 1
        sent, self._sent = self._sent, 0
        if self._requests.settings.retries.allows_append(error, self._failures, in_doubt=sent > 0):
            if not error.has_no_side_effects:
                for batch in islice(self._batches, sent):
                    batch.in_doubt = True
            self._begin_recovery(error)
        else:
            self._fail(error)

    # Moving to another server ---------------------------------------------------------------------

    def _follow_advice(self, link: _Link) -> None:
        moving = self._move is not None or self._next_link is not None
        if moving or self._is_closed:
            return
        self._moves.begin(self._heard_at, random.random())
        assert link.stream is not None
        link.stream.leave_connection()
        self._move = self._requests.begin(self._open_elsewhere())

    async def _open_elsewhere(self) -> None:
        try:
            link = await self._connected()
        except PerdureError as exc:
            self._moves.failed()
            _log.info(
                *("an append session stays with a server that advised to leave it: %s", exc),
                extra={"error_code": error_type(exc)},
            )
            self._stay()
            self._transmit_rest()
            return
        self._move, self._next_link = None, link
        if not self._sent:
            self._change_over(link)

    def _change_over(self, link: _Link) -> None:
        """Everything that was sent is acknowledged: go on in the session elsewhere."""
        left, self._link, self._next_link = self._link, link, None
        self._span.event(MOVED)
        if left is not None and left.stream is not None:
            left.stream.finish()
        self._transmit_rest()

    def _stay(self) -> None:
        """Do not move, or no longer."""
        move, self._move = self._move, None
        if move is not None and move is not asyncio.current_task():
            move.cancel()
        link, self._next_link = self._next_link, None
        if link is not None and link.stream is not None:
            link.stream.reset()

    def _transmit_rest(self) -> None:
        """Send what has not been sent in the current session."""
        link = self._link
        if link is None:
            return
        for batch in list(islice(self._batches, self._sent, None)):
            self._transmit(link, batch)
            if self._link is not link:
                return  # lost while sending; whoever noticed began again

    # ----------------------------------------------------------------------------------------------

    def _transmit(self, link: _Link, batch: _Batch) -> None:
        assert link.stream is not None
        batch.sent_at = self._loop.time()
        self._sent += 1
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look)
        link.stream.send(batch.frame)

    def _look(self) -> None:
        """Whether the oldest batch has waited too long: since it was sent, or since the acknowledgement before it."""
        self._timer = None
        link = self._link
        if link is None or not self._sent:
            return
        due = max(self._batches[0].sent_at, self._heard_at) + self._timeout
        if due <= self._loop.time():
            if link.stream is not None:
                link.stream.leave_connection()  # it may be dead, and nobody said so
            self.on_lost(link, TransportError(f"no acknowledgement within {self._timeout:g} s", may_have_applied=True))
        else:
            self._timer = self._loop.call_at(due, self._look)

    async def _connected(self) -> _Link:
        link = _Link(self)
        link.stream = await self._requests.open_session(self._call, link, self._span)
        if link.is_over:
            raise TransportError("the session ended as soon as it had begun", may_have_applied=False)
        return link

    def _begin_recovery(self, error: PerdureError | None) -> None:
        self._recovery = self._requests.begin(self._recover(error))
        self._recovery.add_done_callback(self._after_recovery)

    def _after_recovery(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task, since one that is cancelled at once never runs.
        if task.cancelled():
            self._fail(TransportError("the client was closed while it tried again", may_have_applied=True))

    async def _recover(self, error: PerdureError | None) -> None:
        try:
            link = await self._connected_again(error)
        except Exception as exc:
            self._recovery = None
            self._fail(exc)
            return
        self._recovery, self._link = None, link
        self._span.event(RECONNECTED)
        self._transmit_rest()

    async def _connected_again(self, error: PerdureError | None) -> _Link:
        """A session, after the retries. Raises why there is none."""
        while True:
            if error is not None:
                await self._requests.back_off(error, self._failures, self._span)
            try:
                return await self._connected()
            except PerdureError as exc:
                error = exc
                self._failures += 1
                if not self._requests.settings.retries.allows(exc, self._failures):
                    raise

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._span.failed(error)
        self._span.end()
        if isinstance(error, PerdureError) and self._batches and self._batches[0].in_doubt:
            oldest = self._batches[0]
            if leaves_doubt(error, applied_tail(oldest.match_seq_num, oldest.records)):
                error.put_in_doubt()
        batches, self._batches = self._batches, deque()
        for batch in batches:
            if not batch.future.done():
                batch.future.set_exception(error)


class _Link:
    """One session of a channel: bytes to frames."""

    def __init__(self, channel: HttpAppendChannel) -> None:
        self._channel = channel
        self._decoder = FrameDecoder()
        self.stream: Exchange | None = None
        self.is_over: bool = False

    def data(self, piece: bytes) -> None:
        try:
            for frame in self._decoder.feed(piece):
                self._channel.on_frame(self, frame)
        except ProtocolViolation as exc:
            self._channel.on_lost(self, exc)
        if self.stream is not None:
            self.stream.read(len(piece))

    def ended(self, error: PerdureError | None) -> None:
        self.is_over = True
        if error is None:
            try:
                self._decoder.finish()
            except TruncatedFrame as exc:
                error = TransportError(exc.message, may_have_applied=True)
            except ProtocolViolation as exc:
                error = exc
        self._channel.on_lost(self, error)
