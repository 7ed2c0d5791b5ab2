"""Connections for reading: a few, shared, each for one statement at a time.

They do not wait for the disk if they write at all, which only notifications do: these say nothing that is not durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from ...errors import Unavailable
from .connection import Connection, ConnectionLost, TransactionUndone
from .session import AFTER_OUTAGE_SECONDS, Pauses

T = TypeVar("T")

logger: Final = logging.getLogger("perdure.store.postgres")

MAX_CONNECTIONS: Final = 4
"""Reads are short; more than the server has cores for would only take turns there."""


class Pool:
    """Lends connections made by `dial`. Used on one event loop."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Connection]],
        outage_seconds: float,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._dial = dial
        self._outage_seconds = outage_seconds
        self._idle: list[Connection] = []
        self._generation = 0
        self._slots = asyncio.Semaphore(max_connections)
        self._users = 0
        self._has_been_away = False
        self._closed = False
        self._unused = asyncio.Event()
        self._unused.set()

    def adopt(self, connection: Connection) -> None:
        """Take over a connection that is idle."""
        self._idle.append(connection)

    async def run(self, query: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a query that changes nothing; again with another connection if the first was lost.

        Raises `Unavailable` if PostgreSQL cannot be reached in time, or the pool is closed.
        """
        loop = asyncio.get_running_loop()
        patience = min(self._outage_seconds, AFTER_OUTAGE_SECONDS) if self._has_been_away else self._outage_seconds
        deadline = loop.time() + patience
        pauses = Pauses()
        self._users += 1
        self._unused.clear()
        try:
            async with self._slot(deadline):
                while True:
                    self._check()
                    try:
                        result = await self._try(query)
                    except (ConnectionLost, TransactionUndone) as exc:
                        pause = pauses.next()
                        if loop.time() + pause > deadline:
                            self._has_been_away = True
                            raise Unavailable(f"PostgreSQL cannot be reached: {exc}") from exc
                        await asyncio.sleep(pause)
                    else:
                        self._has_been_away = False
                        return result
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    @asynccontextmanager
    async def _slot(self, deadline: float) -> AsyncIterator[None]:
        """A turn, which those before may use up: each of them may wait for a connection for as long as we may."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable("PostgreSQL answers too slowly: other reads have used up the time of this one") from None
        try:
            yield
        finally:
            self._slots.release()

    def _check(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    async def _try(self, query: Callable[[Connection], Awaitable[T]]) -> T:
        generation = self._generation
        connection = self._idle.pop() if self._idle else await self._dial()
        try:
            try:
                result = await query(connection)
            except ConnectionLost:
                self.retire()
                raise
            if generation != self._generation:
                raise ConnectionLost("the primary may have changed during a read")
            return result
        except asyncio.CancelledError:
            connection.terminate()  # a statement is still going on
            raise
        finally:
            if self._closed or generation != self._generation:
                connection.terminate()
            elif not connection.is_closed:
                self._idle.append(connection)

    def retire(self) -> None:
        """Use none of the connections any more, nor what those in use still bring.

        Where one was lost, the others may lead to a former primary, which may not know yet that it is none.
        """
        self._generation += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    async def aclose(self) -> None:
        """Refuse what comes, wait for what is under way, and end the connections."""
        self._closed = True
        await self._unused.wait()
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.aclose()
