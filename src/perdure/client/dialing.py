"""From an address to an open connection: a socket, by way of a proxy if there is one, TLS, and which HTTP is spoken.

Over TLS the handshake says which (ALPN). In clear text the client begins with HTTP/2 and sends no request before the
server has answered in it. A server that answers in HTTP/1.x has therefore seen nothing that it could act upon: the
client begins again in HTTP/1.1, and remembers. One that only hangs up, or says nothing, proves nothing: that is an
error, which names the way out.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Final, TypeVar, cast

import h11

from ..errors import TransportError
from ..wire import headers
from .endpoints import Origin
from .exchange import Connection
from .http1.connection import ALPN as HTTP1_ALPN
from .http1.connection import MAX_HEAD_BYTES, Http1Connection
from .http2.connection import ALPN as HTTP2_ALPN
from .http2.connection import Http2Connection
from .http2.frames import AnsweredInHttp1, Http2Violation
from .proxies import Proxies, Proxy
from .settings import ForcedTransport
from .waiting import Bell

_REMEDY: Final = 'if there is only HTTP/1.1 on the way to it, force_transport="fetch" does without HTTP/2'

KEEPALIVE_IDLE_SECS: Final = 45
"""Less than what any common router or balancer keeps a silent connection for; most keep it for minutes."""

KEEPALIVE_INTERVAL_SECS: Final = 10
KEEPALIVE_PROBES: Final = 3
"""After the first of these times without a word the server is asked so often, so far apart; if silent, it is gone."""

_C = TypeVar("_C", Http1Connection, Http2Connection)

_log: Final = logging.getLogger("perdure.client")


class Dialer:
    """Makes connections for one client."""

    def __init__(
        self, *, ssl_context: ssl.SSLContext | None, timeout: float, force: ForcedTransport | None, proxies: Proxies
    ) -> None:
        self._tls = ssl_context
        self._timeout = timeout
        self._force: Final = force
        self._proxies = proxies
        self._http1_only: set[Origin] = set()
        """Servers in clear text that answered HTTP/2 with HTTP/1.x."""

    def is_http1(self, origin: Origin) -> bool:
        """Whether a connection in clear text will be one of HTTP/1.1, as far as is known without making it."""
        return self._force == "fetch" or origin in self._http1_only

    async def connect(self, origin: Origin) -> Connection:
        """A connection that is ready for requests.

        Raises `TransportError`, which says that nothing can have been applied.
        """
        proxy = self._proxies.of(origin)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        where = f"{host}:{origin.port}" + (f" by way of the proxy {proxy}" if proxy else "")
        remedy = _REMEDY if origin.is_tls else f"{_REMEDY}; and where TLS is spoken, the address begins with https://"
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect(origin, proxy)
        except TimeoutError:
            what = f"no connection to {where} within {self._timeout:g} s; {remedy}"
        except ssl.SSLCertVerificationError as exc:
            what = (
                f"the certificate of {where} cannot be trusted: {exc.verify_message}; where it should be, give an "
                "ssl_context=… that knows it, or name its file in SSL_CERT_FILE"
            )
        except ssl.SSLError as exc:
            what = (
                f"no TLS with {where}: {(exc.reason or str(exc)).replace('_', ' ').lower()}; "
                "the address of a server without TLS begins with http://"
            )
        except ConnectionRefusedError:
            what = f"cannot connect to {where}: connection refused; is the server running there?"
        except OSError as exc:
            what = f"cannot connect to {where}: {exc.strerror or exc}"
        except _Refused as exc:
            what = f"{where}: {exc}"
        except Http2Violation as exc:
            what = f"{where}: {exc.message}; {remedy}"
        raise TransportError(what, may_have_applied=False)

    async def _connect(self, origin: Origin, proxy: Proxy | None) -> Connection:
        if proxy is not None and not origin.is_tls and self._force != "s2s":
            # Proxies pass such requests on one by one, in HTTP/1.1; few let a tunnel through to other ports than 443.
            line = await _Line.to(proxy.host, proxy.port)
            return line.hand_to(Http1Connection(absolute=True, fields=_for_proxy(proxy)))
        line = await self._line_to(origin, proxy)
        if origin.is_tls:
            agreed = line.agreed_protocol
            if agreed != HTTP2_ALPN and self._force == "s2s":
                line.abort()
                raise _Refused(f"the server did not agree to HTTP/2 over TLS; {_REMEDY}")
            if agreed != HTTP2_ALPN:
                return line.hand_to(Http1Connection())
        elif self.is_http1(origin):
            return line.hand_to(Http1Connection())
        try:
            return await _in_http2(line)
        except AnsweredInHttp1:
            if self._force == "s2s" or origin.is_tls:
                raise
            _log.warning("%s speaks HTTP/1.1 only: appends of a session go one at a time", origin)
            self._http1_only.add(origin)
            return (await self._line_to(origin, proxy)).hand_to(Http1Connection())

    async def _line_to(self, origin: Origin, proxy: Proxy | None) -> _Line:
        tls = await self._tls_for(origin)
        if proxy is None:
            return await _Line.to(origin.host, origin.port, tls)
        line = await _Line.to(proxy.host, proxy.port)
        try:
            await line.tunnel(origin, proxy)
            if tls is not None:
                await line.start_tls(tls, origin.host)
        except BaseException:
            line.abort()
            raise
        return line

    async def _tls_for(self, origin: Origin) -> ssl.SSLContext | None:
        if not origin.is_tls:
            return None
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)  # reads the certificates of the system
        offers = {None: [HTTP2_ALPN, HTTP1_ALPN], "s2s": [HTTP2_ALPN], "fetch": [HTTP1_ALPN]}
        self._tls.set_alpn_protocols(offers[self._force])
        return self._tls


class _Refused(Exception):
    """Somebody on the way said no."""


async def _in_http2(line: _Line) -> Http2Connection:
    connection = line.hand_to(Http2Connection())
    try:
        await connection.ready()
    except BaseException:
        connection.abort()
        raise
    return connection


def _for_proxy(proxy: Proxy) -> tuple[tuple[bytes, bytes], ...]:
    return () if proxy.credentials is None else ((headers.PROXY_AUTHORIZATION, proxy.credentials),)


class _Line:
    """An open socket that nobody speaks on yet, or only to those on the way to the server."""

    def __init__(self, transport: asyncio.Transport, lobby: _Lobby) -> None:
        self._transport = transport
        self._lobby = lobby

    @classmethod
    async def to(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> _Line:
        transport, lobby = await asyncio.get_running_loop().create_connection(
            _Lobby, host, port, ssl=tls, server_hostname=host if tls is not None else None
        )
        _keep_alive(transport.get_extra_info("socket"))
        return cls(transport, lobby)

    @property
    def agreed_protocol(self) -> str | None:
        """What both ends want to speak, if TLS has settled it."""
        return cast("ssl.SSLObject", self._transport.get_extra_info("ssl_object")).selected_alpn_protocol()

    async def tunnel(self, origin: Origin, proxy: Proxy) -> None:
        """Have the proxy lead to the server (RFC 9110, section 9.3.6). Raises `_Refused`."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        authority = f"{host}:{origin.port}".encode()
        request = h11.Request(
            method=b"CONNECT", target=authority, headers=[(headers.HOST, authority), *_for_proxy(proxy)]
        )
        self._transport.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        try:
            while not isinstance(event := http.next_event(), h11.Response):
                if event is h11.NEED_DATA:
                    http.receive_data(await self._lobby.next())
        except h11.RemoteProtocolError as exc:
            raise _Refused(f"the proxy did not answer in HTTP/1.1: {exc}") from None
        if event.status_code == 407:
            raise _Refused("the proxy wants to know who asks; give its address as http://user:password@host:port")
        if not 200 <= event.status_code < 300:
            raise _Refused(f"the proxy does not lead there; it answered with status {event.status_code}")
        self._lobby.pieces.append(http.trailing_data[0])

    async def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        if any(self._lobby.pieces):
            raise _Refused("somebody spoke before TLS had begun")
        transport = await asyncio.get_running_loop().start_tls(self._transport, self._lobby, tls, server_hostname=host)
        assert transport is not None
        self._transport = transport

    def hand_to(self, connection: _C) -> _C:
        """Let it speak."""
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        early = b"".join(self._lobby.pieces)
        if early:
            connection.data_received(early)
        if self._lobby.is_lost:
            connection.connection_lost(self._lobby.error)
        return connection

    def abort(self) -> None:
        self._transport.abort()


def _keep_alive(connected: socket.socket) -> None:
    """Have the system send a sign of life in silences.

    An append session may be silent for as long as its caller. Many a router forgets connections that are, without a
    word to either end; and a server that is gone would be noticed only by the time-out of the next request.
    """
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Lobby(asyncio.Protocol):
    """Keeps what comes before it is known who speaks."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.is_lost: bool = False
        self.error: Exception | None = None
        self._changed = Bell()

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self._changed.ring()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost, self.error = True, exc
        self._changed.ring()

    async def next(self) -> bytes:
        """What has come; nothing at the end."""
        while not self.pieces and not self.is_lost:
            await self._changed.wait()
        came, self.pieces = b"".join(self.pieces), []
        return came
