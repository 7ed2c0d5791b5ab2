"""The connections of one client: as few as serve it, one server's requests on the same connection where they may be."""

from __future__ import annotations

import asyncio
import warnings
from typing import Final

from ..errors import UsageError
from .dialing import Dialer
from .endpoints import Origin
from .exchange import Connection
from .home_loop import HomeLoop

MAX_HTTP1_CALLS: Final = 64
"""At a time to one server, each on a connection of its own; more wait for their turn. Sessions are not counted."""


class Pool:
    """Open connections by server. All calls belong to one event loop."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._connections: dict[Origin, list[Connection]] = {}
        self._dialing: dict[Origin, asyncio.Lock] = {}
        self._turns: dict[Origin, asyncio.Semaphore] = {}
        self._is_closed = False
        self._home = HomeLoop()

    async def connection(self, origin: Origin) -> Connection:
        """A connection that has room for a request, to be opened before anything is awaited.

        Raises `TransportError` when there is none to be had, and `UsageError` after `aclose`.
        """
        found = self._with_room(origin)
        if found is not None:
            return found
        if origin in self._turns:
            return await self._made(origin)  # each needs its own anyway
        async with self._dialing.setdefault(origin, asyncio.Lock()):
            found = self._with_room(origin)
            if found is not None:
                return found
            return await self._made(origin)

    def turn(self, origin: Origin) -> asyncio.Semaphore | None:
        """What a call, but not a session, holds as long as it is under way; None where requests share connections."""
        return self._turns.get(origin)

    def check_loop(self) -> None:
        """Raise `UsageError` in another event loop than that of the first call."""
        self._home.check()

    async def aclose(self) -> None:
        """Close all connections; requests on them fail. Idempotent."""
        self._home.check()
        self._is_closed = True
        connections = [made for of_origin in self._connections.values() for made in of_origin]
        self._connections.clear()
        await asyncio.gather(*(made.aclose() for made in connections))

    async def _made(self, origin: Origin) -> Connection:
        made = await self._dialer.connect(origin)
        if self._is_closed:
            made.abort()
            raise UsageError("the client is closed")
        if not made.is_http2:
            self._turns.setdefault(origin, asyncio.Semaphore(MAX_HTTP1_CALLS))
        self._connections.setdefault(origin, []).append(made)
        return made

    def _with_room(self, origin: Origin) -> Connection | None:
        self._home.check()
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

    def __del__(self) -> None:
        # Nobody can ask for anything here any more. The event loop keeps the sockets open, and would for ever.
        loop = self._home.loop
        if loop is None or self._is_closed:
            return
        left = [made for of_origin in self._connections.values() for made in of_origin if not made.is_closed]
        if not left:
            return
        warnings.warn(
            "a client was not closed: use it with `async with`, or await its `aclose`",
            ResourceWarning,
            source=self,
            stacklevel=1,
        )
        if not loop.is_closed():
            for made in left:
                loop.call_soon_threadsafe(made.abort)
