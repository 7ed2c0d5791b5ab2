"""Notices that the process was told to end, before its server waits for bodies that have no end.

Servers wait for the responses that are being sent, and end the lifespan of the application afterwards. A live replay is
sent until its client goes, so with one tab open the server would wait for ever: on Ctrl-C, and at each reload in
development. ASGI has no event that says so. The signal does, so it is listened to, and passed on to whom it was for.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class TerminationSignals:
    """Calls `tell` in the event loop when SIGINT or SIGTERM comes, and whatever handled that signal before.

    Only in the main thread, where Python delivers signals, and only for signals that somebody handles in Python: what
    the process does with the others stays as it is.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[int, Callable[[int, FrameType | None], object]] = {}

    def listen(self) -> None:
        """Begin to listen, once. Call it when the server runs: some set their handlers after the lifespan's start."""
        if self._loop is not None or threading.current_thread() is not threading.main_thread():
            return
        self._loop = asyncio.get_running_loop()
        for number in SIGNALS:
            before = signal.getsignal(number)
            if callable(before):
                self._before[number] = before
                signal.signal(number, self._handle)

    def close(self) -> None:
        """Put back what was there, where nobody has put anything else there since."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell)
        self._before[number](number, frame)


class ServerEnd:
    """What is done when the process is told to end, before its server waits for the bodies that it sends.

    `drain` waits for what ends by itself, and then `let_go` ends the rest. Both are called once, in a task of this
    object, if the signal comes inside `awaited`.
    """

    def __init__(self, drain: Callable[[], Awaitable[None]], let_go: Callable[[], Awaitable[None]]) -> None:
        self._drain = drain
        self._let_go = let_go
        self._signals: TerminationSignals | None = None
        self._ending: asyncio.Task[None] | None = None
        self.has_come: bool = False
        """Whether everything has been drained: what begins now must not keep the server."""

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """While a server runs the application: listen, from the first `listen` on."""
        self._signals = TerminationSignals(self._told)
        try:
            yield
        finally:
            self._signals.close()

    def listen(self) -> None:
        """There is a body that the server would wait for."""
        if self._signals is not None:
            self._signals.listen()

    async def aclose(self) -> None:
        """Do no more. Idempotent."""
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait((self._ending,))

    def _told(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(), name="end of open bodies")

    async def _end(self) -> None:
        await self._drain()
        self.has_come = True
        await self._let_go()
