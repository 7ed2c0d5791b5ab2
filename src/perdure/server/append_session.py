"""Append sessions over s2s: batches come in as frames, acks go out in order (store API, section 5.8)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import perf_counter
from typing import Final

from ..errors import BadRequest, PerdureError, ProtocolViolation, ServerDraining, Unavailable
from ..model.batches import AppendAck, AppendInput
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_BATCH_BYTES
from ..wire import headers
from ..wire.errors_json import terminal_frame
from ..wire.protobuf import decode_append_input, encode_append_ack
from ..wire.s2s import Frame, FrameDecoder, encode_frame
from .admission import Admission
from .asgi import Receive, Send
from .context import Context
from .request import Request
from .response import Channel
from .served_store import ServedAppender
from .sessions import SessionKind, Slot
from .telemetry import Telemetry

logger: Final = logging.getLogger("perdure.server")

MAX_PENDING_BATCHES: Final = 1_024
"""Batches of one session that wait for their acks to be sent: a client that reads no acks is not read either."""

MAX_PENDING_BYTES: Final = 16 * MAX_BATCH_BYTES
"""Metered bytes of one session in flight: a single writer should not hold the whole budget of the server."""

LINGER_SECS: Final = 2.0
"""How long the input of a session that has ended is still read, so that its client gets to see the end."""


async def open_session(context: Context, request: Request, key: EncryptionKey | None) -> AppendSession:
    """Open the session; the stream is created here if it may be. Raises what opening raises, `RateLimited` too."""
    slot = context.sessions.open(SessionKind.APPEND, request.client)
    try:
        appender = await request.store.open_append_session(request.basin, request.names[0], key)
    except BaseException:
        slot.close()
        raise
    return AppendSession(
        appender, context.admission, slot, context.telemetry, stall_secs=request.limits.stall_timeout_secs
    )


class AppendSession:
    """One session: `run` takes frames in and sends acks until one side ends it.

    Two tasks share it. One reads the request and submits; the other, which `run` is, sends what is done. An error ends
    the input at once and goes out after the acks of everything before it, so `_error` is set by the first one only,
    unless a batch that was submitted before it fails later: that one comes first in order.
    """

    def __init__(
        self, appender: ServedAppender, admission: Admission, slot: Slot, telemetry: Telemetry, *, stall_secs: float
    ) -> None:
        self._appender = appender
        self._admission = admission
        self._slot = slot
        self._telemetry = telemetry
        self._stall_secs = stall_secs
        self._pending: deque[asyncio.Future[AppendAck]] = deque()
        self._pending_bytes = 0
        self._closed = False
        """Nothing more is taken in: the client ended its body, is gone, or there was an error."""
        self._gone = False
        self._error: BaseException | None = None
        self._progress = asyncio.Event()
        """For the sending side: a batch is done, or the input is closed."""
        self._room = asyncio.Event()
        """For the reading side: batches are done, or the input is closed."""

    async def run(self, channel: Channel) -> None:
        reading: asyncio.Task[None] | None = None
        try:
            await self._send_head(channel)
            self._slot.attach(self)
            reading = asyncio.create_task(self._take_in(channel.receive), name="append-session-input")
            await self._send_acks(channel.send)
            if not self._gone:
                # The client may be in the middle of a batch; it reads the end only if we let it finish, or reset.
                async with asyncio.timeout(LINGER_SECS):
                    await asyncio.wait((reading,))
        except TimeoutError:
            pass  # nothing was taken for long, or the client goes on sending: either way this is over
        finally:
            self._closed = self._gone = True
            self._room.set()
            self._slot.close()
            if reading is not None:
                reading.cancel()
                await asyncio.wait((reading,))

    def drain(self) -> None:
        """Take nothing more in; what was taken is acked before the client hears that the server stops."""
        if not self._closed:
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
                if not self._closed:
                    await self._feed(decoder, message.get("body", b""), more)
                if not more:
                    return
        except Exception as exc:
            logger.exception("an append session failed")
            self._end(exc)
        finally:
            self._closed = True
            self._progress.set()

    async def _feed(self, decoder: FrameDecoder, data: bytes, more: bool) -> None:
        try:
            for frame in decoder.feed(data):
                await self._submit(_batch_of(frame))
                if self._closed:
                    return
            if not more:
                decoder.finish()
        except PerdureError as exc:
            self._end(exc)

    async def _submit(self, batch: AppendInput) -> None:
        size = batch.metered_bytes
        while len(self._pending) >= MAX_PENDING_BATCHES or self._pending_bytes + size > MAX_PENDING_BYTES:
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
                acks.append(encode_frame(encode_append_ack(future.result())))
            self._room.set()
            if failure is not None:
                self._error = None  # the batch came before whatever else was wrong
                self._end(failure)
            over = failure is not None or (self._closed and not pending)
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

    async def _send_body(self, send: Send, body: bytes, *, more: bool = True) -> None:
        await self._send(send, {"type": "http.response.body", "body": body, "more_body": more})

    async def _send(self, send: Send, message: dict[str, object]) -> None:
        async with asyncio.timeout(self._stall_secs):
            await send(message)


def _batch_of(frame: Frame) -> AppendInput:
    """The batch in a frame. Raises `BadRequest` and `ProtocolViolation`, told as `bad_frame`, and `Invalid`."""
    if frame.is_terminal:
        raise BadRequest("Unexpected terminal frame as input", ProtocolViolation.code)
    message = frame.message()
    try:
        return decode_append_input(message)
    except BadRequest as exc:
        raise ProtocolViolation(exc.message) from None
