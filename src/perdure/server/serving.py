"""One application on one listening socket, served by granian until it is stopped.

The socket is handed in, so several processes can share it and a process can be replaced without a connection being
refused in between.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from math import ceil
from pathlib import Path
from typing import Final

from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]  # not re-exported by its stub
from granian.server.embed import Server
from msgspec import Struct

from .idle_connections import Activity, IdleConnections
from .limits import DEFAULT_LIMITS, MAX_HEAD_BYTES, ServerLimits

logger: Final = logging.getLogger("perdure.server")

BACKLOG: Final = 2048
"""Connections that may wait to be accepted; a crowd of clients comes back at once after a restart."""

UNSENT_BYTES: Final = 128 * 1024
"""What the system holds of a connection's output beyond what is under way to the client.

Left to itself it holds megabytes for each client that is slow, and asks for more only when a third of that has left: by
then a client may count as gone that takes what it can.
"""

SPARE_CONNECTIONS: Final = 4096
"""Connections that may be open at a time beside those of sessions; more wait to be accepted."""

RESERVED_DESCRIPTORS: Final = 256
"""What is left of the process's file descriptors for everything else: without one, the store cannot open its files."""

WINDOW_BYTES: Final = 8 * 1024 * 1024
"""HTTP/2 flow control, per stream and per connection: several batches of a megabyte can be on their way."""

FRAME_BYTES: Final = 128 * 1024
"""The longest HTTP/2 frame that a client may send.

The usual 16 KB make 64 pieces of a batch of a megabyte; with these, it takes half of the server's CPU.
"""

KEEPALIVE_IDLE_SECS: Final = 60
KEEPALIVE_INTERVAL_SECS: Final = 15
KEEPALIVE_PROBES: Final = 4
"""After the first of these times without a word a peer is asked so often, so far apart; if it is silent, it is gone."""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """A certificate chain and its private key, as PEM files."""

    certificate: Path
    key: Path


class _SharedSocketServer(Server):
    """granian's embedded server on a socket that is open already, as its own worker processes have it."""

    def __init__(self, app: object, listener: socket.socket, **options: object) -> None:
        super().__init__(app, **options)  # type: ignore[arg-type]  # the options of `Server`, spelled out below
        self._listener = listener
        self._own = -1

    def _init_shared_socket(self) -> None:
        self._ssp = None
        # The holder closes what it is given, so it is given a descriptor of its own: the listener stays its owner's.
        self._own = os.dup(self._listener.fileno())
        self._shd = SocketHolder(self._own, False, BACKLOG)  # type: ignore[call-arg,assignment]  # as built

    def stop_accepting(self) -> None:
        """Leave new connections to whoever else has the socket; those that are open stay.

        granian can only do both at once, and would cut a connection whose first request is still on its way. So its
        descriptor becomes that of another socket, to which nobody connects.
        """
        with listen("127.0.0.1", 0) as nobodys:
            os.dup2(nobodys.fileno(), self._own, inheritable=False)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port` (0: any free one). Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _notice_dead_peers(listener)
        # Connections inherit it. Without, what is sent right behind a session's head waits until its client has
        # acknowledged the head, and that may take the 40 ms of a delayed ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux and macOS; what is accepted inherits it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def most_connections(limits: ServerLimits, descriptors: int) -> int:
    """How many connections may be open at a time in a process that may have so many file descriptors; more wait."""
    wanted = limits.max_sessions + SPARE_CONNECTIONS
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    most = min(wanted, max(descriptors - RESERVED_DESCRIPTORS, descriptors // 2))
    if most < wanted:
        logger.info(
            "no more than %d connections at a time: the process may have %d open files (ulimit -Hn)", most, descriptors
        )
    return most


def _notice_dead_peers(listener: socket.socket) -> None:
    """Have the system ask silent peers whether they are there; connections inherit it.

    A machine that is switched off says no goodbye, and an append session that waits sends it nothing.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Serving:
    """A running server: `async with Serving(app, listener) as serving`. Leaving it stops the server.

    `activity` is where `app` tells of its requests; without it, idle connections stay open.
    """

    def __init__(
        self,
        app: object,
        listener: socket.socket,
        *,
        limits: ServerLimits = DEFAULT_LIMITS,
        tls: TlsFiles | None = None,
        activity: Activity | None = None,
    ) -> None:
        self._idle = None if activity is None else IdleConnections(listener, activity, limits)
        self._watching: asyncio.Task[None] | None = None
        self._server = _SharedSocketServer(
            app,
            listener,
            interface=Interfaces.ASGINL,
            log_enabled=False,
            websockets=False,
            # granian accepts no more than 128 connections at a time unless told; a session may have one to itself.
            backpressure=most_connections(limits, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            http1_settings=HTTP1Settings(
                header_read_timeout=ceil(limits.header_timeout_secs * 1000), max_buffer_size=MAX_HEAD_BYTES
            ),
            http2_settings=HTTP2Settings(
                initial_connection_window_size=WINDOW_BYTES,
                initial_stream_window_size=WINDOW_BYTES,
                max_frame_size=FRAME_BYTES,
                max_concurrent_streams=limits.max_streams_per_connection,
                max_headers_size=MAX_HEAD_BYTES,
            ),
            ssl_cert=tls.certificate if tls else None,
            ssl_key=tls.key if tls else None,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Serving:
        await self.start()
        return self

    async def start(self) -> None:
        """Accept connections; `stop` and `wait` end that."""
        self._task = asyncio.create_task(self._server.serve(), name="perdure-server")
        await asyncio.sleep(0)  # its start is one step, and then it is known whether it failed
        if self._task.done():
            await self._task
        if self._idle is not None:
            self._watching = asyncio.create_task(self._idle.watch(), name="perdure-idle-connections")

    async def __aexit__(self, *exc: object) -> None:
        self.stop()
        await self.wait()

    def stop_accepting(self) -> None:
        """Leave new connections to the other processes that serve on the socket; those that are open stay."""
        self._server.stop_accepting()

    def stop(self) -> None:
        """Accept no further connection, and close each that is open after what runs on it. `wait` for the end."""
        self._server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped

    async def wait(self) -> None:
        """Wait until the server has ended, for as long as it runs."""
        assert self._task is not None, "entered before it is waited for"
        try:
            await self._task
        finally:
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.wait((self._watching,))
