"""One HTTP/2 connection on asyncio: a socket under `Http2Protocol`. No task runs for it."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from ..exchange import Head, Listener
from . import frames
from .fields import pack
from .frames import Code, Http2Violation
from .protocol import Http2Protocol
from .stream import Http2Stream

_WRITE_BYTES: Final = 256 * 1024
"""How much goes to the socket's buffer at a time; what does not fit waits in its streams, where it can be given up."""

_GATHERED_BYTES: Final = 64 * 1024
"""So much of bodies goes at once; less waits for what the other tasks that are ready have to send."""

_CLOSE_SECS: Final = 1.0
"""How long a farewell may take."""

ALPN: Final = "h2"


class Http2Exchange:
    """One request and its answer, as whoever asked sees them."""

    __slots__ = ("_connection", "_stream")

    def __init__(self, connection: Http2Connection, stream: Http2Stream) -> None:
        self._connection = connection
        self._stream = stream

    @property
    def sent_some(self) -> bool:
        return self._stream.sent_some

    def send(self, data: bytes) -> None:
        self._connection.send(self._stream, data)

    def finish(self) -> None:
        self._connection.send(self._stream, end=True)

    def read(self, size: int) -> None:
        self._connection.read(self._stream, size)

    def reset(self) -> None:
        self._connection.reset(self._stream)

    def leave_connection(self) -> None:
        self._connection.retire()


class Http2Connection(asyncio.Protocol):
    """Requests to one server, all at once."""

    is_http2: Final = True

    def __init__(self) -> None:
        self._http = Http2Protocol()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._pumping = False
        self._receiving = False
        self._gathering = False
        """Whether something was sent in this round of the event loop; `_gathered` comes with the next."""
        self._unsent = 0
        """Bytes of bodies that wait for that."""
        self._failure: str | None = None
        self._last_resort: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()

    async def ready(self) -> None:
        """Wait until the server has shown that it speaks HTTP/2. Raises `Http2Violation` when it does not."""
        await self._ready

    # Requests -------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether one more request may be opened now."""
        return self._failure is None and self._http.has_room

    @property
    def is_closed(self) -> bool:
        """Whether nothing can come or go any more."""
        return self._failure is not None

    def open(self, head: Head, listener: Listener, *, body: bytes | None = None, end: bool = True) -> Http2Exchange:
        """Send a request; only while `has_room`. `body` None is none, and `end` False leaves it open for `send`."""
        stream = self._http.open(pack(head), listener, has_body=body is not None or not end)
        if body or not end:
            self._http.send(stream, body or b"", end=end)
        elif body is not None:
            self._http.send(stream, end=True)
        self._pump_or_gather(len(body or b""))
        return Http2Exchange(self, stream)

    def send(self, stream: Http2Stream, data: bytes = b"", *, end: bool = False) -> None:
        """Send a piece of a body as far as flow control lets it, the rest later. Never waits."""
        self._http.send(stream, data, end=end)
        self._pump_or_gather(len(data))

    def read(self, stream: Http2Stream, size: int) -> None:
        """So many bytes of the answer were used up."""
        self._http.read(stream, size)
        if self._http.output and not self._receiving:
            self._pump()

    def reset(self, stream: Http2Stream) -> None:
        """Give a request up. Nothing happens when it is over."""
        if stream.is_open:
            self._http.reset(stream)
            self._pump()
            self._close_if_done()

    def retire(self) -> None:
        """Take no more requests; the connection closes when those that are under way are over."""
        self._http.is_draining = True
        if not self._receiving:
            self._close_if_done()

    async def aclose(self) -> None:
        """Say farewell and close the socket; what is still open is lost. Idempotent."""
        self._fail("the client was closed", Code.NO_ERROR)
        await asyncio.shield(self._gone)  # soon: see `_fail`

    def abort(self) -> None:
        """Close the socket at once."""
        self._failure = self._failure or "the connection was given up"
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BYTES)
        self._pump()

    def data_received(self, data: bytes) -> None:
        if self._failure is not None:
            return
        self._receiving = True
        try:
            self._http.receive(data)
        except Http2Violation as exc:
            self._fail(exc.message, exc.reason, exc)
            return
        finally:
            self._receiving = False
        if self._http.is_ready and not self._ready.done():
            self._ready.set_result(None)
        self._pump()
        self._close_if_done()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def eof_received(self) -> bool:
        return False  # the server sends no more: nothing that is open can be answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._failure = self._failure or "the connection was lost" + (f": {exc}" if exc else "")
        self._http.lose(self._failure)
        self._not_ready(Http2Violation(f"{self._failure} before the server said anything"))
        if self._last_resort is not None:
            self._last_resort.cancel()
        if not self._gone.done():
            self._gone.set_result(None)

    # ----------------------------------------------------------------------------------------------

    def _pump_or_gather(self, size: int) -> None:
        """Send the first thing in a round of the event loop at once, and what else comes in the same round together.

        Many small batches or requests take few writes then, and batches few frames; one alone loses no time.
        """
        self._unsent += size
        if not self._gathering:
            self._gathering = True
            self._loop.call_soon(self._gathered)
        elif self._unsent < _GATHERED_BYTES:
            return
        self._unsent = 0
        self._pump()

    def _gathered(self) -> None:
        self._gathering = False
        self._unsent = 0
        self._pump()

    def _pump(self) -> None:
        """Send what can be sent; control frames even while the socket is slow, bodies only while it is not."""
        transport = self._transport
        if transport is None or self._failure is not None or self._receiving or self._pumping:
            return  # data_received pumps at its end, for all that its listeners did
        self._pumping = True
        http = self._http
        try:
            more = True
            while more:
                more = not self._paused and http.flush(_WRITE_BYTES)
                if http.output:
                    output, http.output = http.output, []
                    transport.write(b"".join(output))
        finally:
            self._pumping = False

    def _not_ready(self, error: Http2Violation) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # seen: whoever waited may have been cancelled

    def _fail(self, message: str, code: Code, cause: Http2Violation | None = None) -> None:
        if self._failure is None:
            self._failure = message
            if cause is not None:
                self._not_ready(cause)
            self._http.lose(message)
            if self._transport is not None:
                self._transport.write(frames.goaway(code))
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.close()
            # A peer that reads nothing, or does not end TLS, would hold the socket for long.
            self._last_resort = self._loop.call_later(_CLOSE_SECS, transport.abort)

    def _close_if_done(self) -> None:
        if self._http.is_draining and self._failure is None and not self._http.open_streams:
            self._fail("the connection was given up for another one", Code.NO_ERROR)
