"""The connections of one client: as few as serve it, one server's requests on the same connection."""

from __future__ import annotations

import asyncio
import ssl

from ...errors import UsageError
from ..endpoints import Origin
from .connection import ALPN, Http2Connection


class Pool:
    """Open connections by server. All calls belong to one event loop."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None, connection_timeout: float) -> None:
        self._tls = ssl_context
        self._timeout = connection_timeout
        self._connections: dict[Origin, list[Http2Connection]] = {}
        self._turns: dict[Origin, asyncio.Lock] = {}
        self._is_closed = False

    async def connection(self, origin: Origin) -> Http2Connection:
        """A connection that has room for a request, to be opened before anything is awaited.

        Raises `TransportError` when there is none to be had, and `UsageError` after `aclose`.
        """
        found = self._with_room(origin)
        if found is not None:
            return found
        async with self._turns.setdefault(origin, asyncio.Lock()):
            found = self._with_room(origin)
            if found is not None:
                return found
            made = await Http2Connection.connect(
                origin.host, origin.port, tls=await self._tls_for(origin), timeout=self._timeout
            )
            if self._is_closed:
                made.abort()
                raise UsageError("the client is closed")
            self._connections.setdefault(origin, []).append(made)
            return made

    async def aclose(self) -> None:
        """Close all connections; requests on them fail. Idempotent."""
        self._is_closed = True
        connections = [made for of_origin in self._connections.values() for made in of_origin]
        self._connections.clear()
        await asyncio.gather(*(made.aclose() for made in connections))

    def _with_room(self, origin: Origin) -> Http2Connection | None:
        if self._is_closed:
            raise UsageError("the client is closed")
        connections = self._connections.get(origin)
        if connections is None:
            return None
        for made in connections:
            if made.has_room:
                return made
        self._connections[origin] = [made for made in connections if not made.is_closed]
        return None

    async def _tls_for(self, origin: Origin) -> ssl.SSLContext | None:
        if not origin.is_tls:
            return None
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)  # reads the certificates of the system
        self._tls.set_alpn_protocols([ALPN])
        return self._tls
