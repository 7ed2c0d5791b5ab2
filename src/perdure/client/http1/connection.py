"""One HTTP/1.1 connection on asyncio: a socket under `h11`, kept for the next request. No task runs for it."""

from __future__ import annotations

import asyncio
from typing import Final, cast

import h11

from ...errors import TransportError
from ...wire import headers
from ..exchange import Field, Head, Listener

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of one answer; as much as HTTP/2's fields may have."""

IDLE_SECS: Final = 4.0
"""How long a connection waits for the next request. Shorter than servers do, the most impatient of which wait for five
seconds: a request that meets their farewell may or may not have been acted upon, and nobody can tell."""

WINDOW_BYTES: Final = 1024 * 1024
"""How much of an answer may wait for its reader before no more is taken from the socket."""

_CLOSE_SECS: Final = 1.0
"""How long a farewell may take."""

ALPN: Final = "http/1.1"


class Http1Exchange:
    """One request and its answer."""

    __slots__ = ("_connection", "listener")

    sent_some: Final = True
    """It was handed to the socket whole; how far it came, nobody can tell."""

    def __init__(self, connection: Http1Connection, listener: Listener) -> None:
        self._connection = connection
        self.listener: Listener = listener

    def send(self, data: bytes) -> None:
        raise AssertionError("a request of HTTP/1.1 is sent whole")

    def finish(self) -> None:
        """It was sent whole."""

    def read(self, size: int) -> None:
        self._connection.read(self, size)

    def reset(self) -> None:
        self._connection.reset(self)

    def leave_connection(self) -> None:
        self._connection.retire()


class Http1Connection(asyncio.Protocol):
    """Requests to one server, one after the other.

    `absolute` is for a proxy that passes requests on: they name the server then, and carry `fields` for the proxy.
    """

    is_http2: Final = False

    def __init__(self, *, absolute: bool = False, fields: tuple[Field, ...] = (), idle_secs: float = IDLE_SECS) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._absolute = absolute
        self._fields = fields
        self._idle_secs = idle_secs
        self._transport: asyncio.Transport | None = None
        self._exchange: Http1Exchange | None = None
        self._unread = 0
        self._is_retired = False
        self._failure: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Of the wait for the next request; of the farewell, once it is closed."""
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()

    @property
    def has_room(self) -> bool:
        return self._failure is None and self._exchange is None and not self._is_retired

    @property
    def is_closed(self) -> bool:
        return self._failure is not None

    def open(self, head: Head, listener: Listener, *, body: bytes | None = None, end: bool = True) -> Http1Exchange:
        """Send a request; only while `has_room`. Raises `TransportError` unless it is to `end`."""
        if not end:
            raise TransportError(
                "an append session needs HTTP/2, which the server spoke before", may_have_applied=False
            )
        assert self._transport is not None
        self._stop_timer()
        origin = head.destination.origin
        request = h11.Request(
            method=head.method,
            target=str(origin).encode() + head.path if self._absolute else head.path,
            headers=[
                (headers.HOST, origin.authority.encode()),
                *head.destination.fields,
                *head.fields,
                *head.secrets,
                *self._fields,
            ],
        )
        pieces = [self._http.send(request)]
        if body:
            pieces.append(self._http.send(h11.Data(data=body)))
        pieces.append(self._http.send(h11.EndOfMessage()))
        exchange = self._exchange = Http1Exchange(self, listener)
        self._unread = 0
        self._transport.write(b"".join([piece for piece in pieces if piece]))
        return exchange

    def read(self, exchange: Http1Exchange, size: int) -> None:
        """So many bytes of the answer were used up."""
        if exchange is self._exchange:
            self._unread -= size
            self._regulate()

    def reset(self, exchange: Http1Exchange) -> None:
        """Give a request up, and the connection with it: HTTP/1.1 has no other way."""
        if exchange is self._exchange:
            self._exchange = None
            self.abort()

    def retire(self) -> None:
        """Take no more requests; the connection closes when the one that is under way is over."""
        self._is_retired = True
        if self._exchange is None:
            self._close("the connection was given up for another one")

    async def aclose(self) -> None:
        self._close("the client was closed")
        await asyncio.shield(self._gone)  # soon: see `_close`

    def abort(self) -> None:
        self._fail("the connection was given up")

    # asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._wait_for_use()

    def data_received(self, data: bytes) -> None:
        if self._failure is not None:
            return
        if self._exchange is None:
            self._fail("the server spoke without being asked")  # such as to say that it waits no longer
            return
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        if self._failure is None and self._exchange is not None:
            self._http.receive_data(b"")  # an answer without a length ends so
            self._advance()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("the connection was lost" + (f": {exc}" if exc else ""))
        self._stop_timer()
        if not self._gone.done():
            self._gone.set_result(None)

    # ----------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Hand on what has come of the answer."""
        while (exchange := self._exchange) is not None:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as exc:
                self._fail(f"the server broke HTTP/1.1, or off: {exc}")
                return
            if isinstance(event, h11.Data):
                self._unread += len(event.data)
                exchange.listener.data(bytes(event.data))
                self._regulate()
            elif isinstance(event, h11.Response):
                exchange.listener.head(event.status_code, list(event.headers))
            elif isinstance(event, h11.EndOfMessage):
                self._exchange = None
                states = (self._http.our_state, self._http.their_state)
                if states == (h11.DONE, h11.DONE) and not self._is_retired:
                    self._http.start_next_cycle()
                    self._unread = 0
                    self._regulate()
                    self._wait_for_use()
                else:
                    self._close("the server closes the connection")
                exchange.listener.end()
            elif not isinstance(event, h11.InformationalResponse):
                return  # it needs more, or the server has ended it

    def _regulate(self) -> None:
        """Take from the socket as long as what was taken is used up as well."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._unread > WINDOW_BYTES:
            if transport.is_reading():
                transport.pause_reading()
        elif not transport.is_reading():
            transport.resume_reading()

    def _wait_for_use(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(self._idle_secs, self._close, "nobody used the connection")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self, message: str) -> None:
        self._lose(message)
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.close()
            # A peer that reads nothing, or does not end TLS, would hold the socket for long.
            self._stop_timer()
            self._timer = self._loop.call_later(_CLOSE_SECS, transport.abort)

    def _fail(self, message: str) -> None:
        self._lose(message)
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def _lose(self, message: str) -> None:
        self._failure = self._failure or message
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.listener.lost(TransportError(message, may_have_applied=True))
