"""Changes of anything but records: each a transaction on one of a few connections, which appends do not share.

Calls about one name run in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeVar

from ...errors import Unavailable
from .session import Session, Transaction

T = TypeVar("T")

MAX_SESSIONS: Final = 2


class Changes:
    """Lends sessions made by `make_session`. Used on one event loop."""

    def __init__(self, make_session: Callable[[], Session], *, max_sessions: int = MAX_SESSIONS) -> None:
        self._make_session = make_session
        self._idle: list[Session] = []
        self._slots = asyncio.Semaphore(max_sessions)
        self._turns: dict[Hashable, _Turn] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    async def run(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `body` in a transaction, as `Session.transact` does; a caller that is cancelled does not break it off."""
        return await self._own(self.run_here(body))

    async def run_in_turn(self, name: Hashable, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """As `run`, after all earlier calls about the same name."""
        return await self._own(self._run_in_turn(name, body))

    async def _own(self, running: Awaitable[T]) -> T:
        task: asyncio.Task[T] = asyncio.ensure_future(running)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it is told; if they went away, nobody is

    async def _run_in_turn(self, name: Hashable, body: Callable[[Transaction], Awaitable[T]]) -> T:
        turn = self._turns.setdefault(name, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                return await self.run_here(body)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]

    async def run_here(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """As `run`, for a caller that is never cancelled."""
        async with self._slots:
            if self._closed:
                raise Unavailable("the store is closed")
            session = self._idle.pop() if self._idle else self._make_session()
            try:
                return await session.transact(body)
            finally:
                self._idle.append(session)

    async def aclose(self) -> None:
        """Finish what was begun, then end the connections."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._closed = True
        for session in self._idle:
            await session.aclose()
        self._idle.clear()


class _Turn:
    """The queue for a name, and how many are in it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
