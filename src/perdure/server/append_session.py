"""Append sessions over s2s: batches come in as frames, acks go out in order (store API, section 5.8).

A session that has to end because the server stops is ended with care for its client. Python's `s2-sdk` (0.13) loses a
batch that its caller submits in the moment in which it handles the end of an answer, and waits for the ack for ever. An
ack makes callers submit, so the end does not come right behind one; and where the client has a batch without an answer,
it handles the end well, so it comes as the answer to the next batch if there is one soon.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Final

from ..errors import PerdureError, RequestTimeout, ServerDraining, Unavailable
from ..model.batches import AppendAck, AppendInput
from ..model.configs import StreamConfig
from ..model.encryption import EncryptionKey
from ..wire import headers
from ..wire.errors_json import terminal_frame
from ..wire.protobuf import encode_append_ack
from ..wire.s2s import FrameDecoder, encode_frame
from ..wire.s2s_messages import append_input_of
from .asgi import Receive, Send
from .context import Context
from .limits import SMALL_FRAME_BYTES, ServerLimits
from .pieces import PIECE_BYTES
from .request import Request
from .response import Channel
from .served_store import ServedAppender
from .sessions import SessionKind, Slot
from .waiting import wait_up_to

SETTLE_SECS: Final = 0.1
"""How long a client has, after its last ack, to submit what that ack made it submit."""


async def open_session(
    context: Context, request: Request, key: EncryptionKey | None, config: StreamConfig | None
) -> AppendSession:
    """Open the session; the stream is created here if it may be. Raises what opening raises, `RateLimited` too."""
    slot = context.sessions.open(SessionKind.APPEND, request.client)
    try:
        appender = await request.store.open_append_session(request.basin, request.names[0], key, config)
    except BaseException:
        slot.close()
        raise
    return AppendSession(appender, context, slot, request.limits)


class AppendSession:
    """One session: `run` takes frames in and sends acks until one side ends it.

    Two tasks share it. One reads the request and submits; the other, which `run` is, sends what is done. An error ends
    the input at once and goes out after the acks of everything before it, so `_error` is set by the first one only,
    unless a batch that was submitted before it fails later: that one comes first in order.
    """

    def __init__(self, appender: ServedAppender, context: Context, slot: Slot, limits: ServerLimits) -> None:
        self._appender = appender
        self._admission = context.admission
        self._intake = context.intake
        self._held = 0
        """Taken of the intake, for the frame that is coming in."""
        self._slot = slot
        self._telemetry = context.telemetry
        self._limits = limits
        self._patience: asyncio.TimerHandle | None = None
        """Rings when the rest of a frame does not come."""
        self._missing_then = 0
        """What that frame lacked when the time was set."""
        self._pending: deque[asyncio.Future[AppendAck]] = deque()
        self._pending_bytes = 0
        self._closed = False
        """Nothing more is taken in: the client ended its body, is gone, or there was an error."""
        self._gone = False
        self._advised = False
        self._draining = False
        self._error: BaseException | None = None
        self._progress = asyncio.Event()
        """For the sending side: a batch is done, or the input is closed."""
        self._room = asyncio.Event()
        """For the reading side: batches are done, or the input is closed."""
        self._unanswered = False
        """Something came that was not taken in, so the client still waits for an answer."""
        self._input_over = asyncio.Event()
        """The client ended its body, or is gone."""
        self._news = asyncio.Event()
        """Set with either of these two."""

    async def run(self, channel: Channel) -> None:
        reading: asyncio.Task[None] | None = None
        try:
            await self._send_head(channel)
            self._slot.attach(self)
            reading = asyncio.create_task(self._take_in(channel.receive), name="append-session-input")
            await self._send_acks(channel.send)  # what the client still sends is granian's to take, or to reset
        except TimeoutError:
            pass  # the client took nothing for so long that it counts as gone
        finally:
            self._closed = self._gone = True
            self._room.set()
            self._slot.close()
            if reading is not None:
                reading.cancel()
                await asyncio.wait((reading,))
            if self._error is not None:
                channel.failed(self._error)

    def advise(self) -> None:
        """Say so with every ack from now on: it is then the client that ends the session, when that suits it."""
        self._advised = True

    def drain(self) -> None:
        """Take nothing more in; what was taken is acked before the client hears that the server stops."""
        self.advise()
        if not self._closed:
            self._draining = True
            self._end(ServerDraining("the server is about to stop; open a new session"))

    # What comes in --------------------------------------------------------------------------------

    async def _take_in(self, receive: Receive) -> None:
        decoder = FrameDecoder()
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    self._gone = True
                    return
                more: bool = message.get("more_body", False)
                data: bytes = message.get("body", b"")
                if not self._closed:
                    await self._feed(decoder, data, more)
                elif data:
                    self._refuse()
                if not more:
                    return
        except Exception as exc:
            self._end(exc)
        finally:
            self._stop_waiting()
            self._let_go()
            self._closed = True
            self._progress.set()
            self._input_over.set()
            self._news.set()

    async def _feed(self, decoder: FrameDecoder, data: bytes, more: bool) -> None:
        try:
            for frame in decoder.feed(data):
                self._stop_waiting()
                await self._submit(append_input_of(frame))
                self._let_go()
                if self._closed:
                    self._refuse()
                    return
            if not more:
                decoder.finish()
            elif missing := decoder.missing_bytes:
                await self._make_room(decoder.pending_bytes)
                self._wait_for_rest(missing)
        except PerdureError as exc:
            self._end(exc)

    async def _make_room(self, size: int) -> None:
        """Have room for a frame that has begun; until there is, its rest waits in its client, which owes nothing."""
        if size <= SMALL_FRAME_BYTES or self._held:
            return
        if not self._intake.take_nowait(size):
            await self._intake.take(size)
        self._held = size

    def _let_go(self) -> None:
        """What came in has found room among the appends in flight, or is not wanted."""
        if self._held:
            self._intake.release(self._held)
            self._held = 0

    def _wait_for_rest(self, missing: int) -> None:
        """A session may be silent for ever between two frames, but not within one, which is held in memory.

        It has to go on by as much in a time as a reader has to take.
        """
        if self._patience is not None:
            if self._missing_then - missing < PIECE_BYTES:
                return
            self._patience.cancel()
        secs = self._limits.stall_timeout_secs
        late = RequestTimeout(f"the rest of a frame did not come within {secs:g} seconds")
        self._missing_then = missing
        self._patience = asyncio.get_running_loop().call_later(secs, self._end, late)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    async def _submit(self, batch: AppendInput) -> None:
        size = batch.metered_bytes
        most, most_bytes = self._limits.max_pending_batches, self._limits.max_pending_bytes
        while len(self._pending) >= most or self._pending_bytes + size > most_bytes:
            self._room.clear()
            await self._room.wait()
            if self._closed:
                return
        asked = admitted = perf_counter()
        if not self._admission.take_nowait(size):
            await self._admission.take(size)
            admitted = perf_counter()
            if self._closed:
                self._admission.release(size)
                return
        try:
            future = self._appender.submit(batch)
        except BaseException:
            self._admission.release(size)
            raise
        self._pending.append(future)
        self._pending_bytes += size
        records = len(batch.records)

        def settled(done: asyncio.Future[AppendAck]) -> None:
            self._settled(done, size)
            if not done.cancelled() and done.exception() is None:
                self._telemetry.acked(records, size, admitted - asked, perf_counter() - admitted)

        future.add_done_callback(settled)

    def _refuse(self) -> None:
        self._unanswered = True
        self._news.set()

    def _settled(self, future: asyncio.Future[AppendAck], size: int) -> None:
        self._admission.release(size)
        self._pending_bytes -= size
        self._room.set()
        self._progress.set()
        if not future.cancelled():
            future.exception()  # those behind a failed one fail as well, and nobody else looks at them

    def _end(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._closed = True
        self._room.set()
        self._progress.set()

    # What goes out --------------------------------------------------------------------------------

    async def _send_head(self, channel: Channel) -> None:
        await self._send(
            channel.send,
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*channel.common, (headers.CONTENT_TYPE, headers.S2S), *headers.UNBUFFERED],
            },
        )
        await self._send_body(channel.send, b"")

    async def _send_acks(self, send: Send) -> None:
        """Send acks in order, several at once where several are done, and then how the session ended."""
        pending = self._pending
        while not self._gone:
            acks: list[bytes] = []
            failure: BaseException | None = None
            while pending and pending[0].done():
                future = pending.popleft()
                failure = Unavailable("the store was closed") if future.cancelled() else future.exception()
                if failure is not None:
                    break
                acks.append(encode_frame(encode_append_ack(future.result()), reconnect_advised=self._advised))
            self._room.set()
            if failure is not None:
                self._error = None  # the batch came before whatever else was wrong
                self._end(failure)
            over = failure is not None or (self._closed and not pending)
            if over and self._draining and failure is None:
                if acks:
                    await self._send_body(send, b"".join(acks))
                    acks.clear()
                await self._part()
                if self._gone:
                    return
            if over:
                if self._error is not None:
                    acks.append(terminal_frame(self._error))
                await self._send_body(send, b"".join(acks), more=False)
                return
            if acks:
                await self._send_body(send, b"".join(acks))
                continue
            self._progress.clear()
            await self._progress.wait()

    async def _part(self) -> None:
        """Wait for a good moment to end (see the module): all that was taken is acked, nothing more is taken."""
        await wait_up_to(SETTLE_SECS, self._input_over)
        await wait_up_to(self._limits.last_batch_secs, self._news)
        if self._input_over.is_set() and not self._unanswered:
            self._error = None  # its client followed the advice and ended it, and has an answer to everything

    async def _send_body(self, send: Send, body: bytes, *, more: bool = True) -> None:
        await self._send(send, {"type": "http.response.body", "body": body, "more_body": more})

    async def _send(self, send: Send, message: dict[str, object]) -> None:
        async with asyncio.timeout(self._limits.stall_timeout_secs):
            await send(message)
