"""Calling back after one fixed delay, for a thousand generations at once.

A timer of the event loop costs a heap operation among all timers of the process. When every delay is equally long, they
come due in the order in which they began, so a queue and one timer do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_SLACK_SECONDS = 0.001
"""What is due within this is called with the rest, rather than by a timer of its own."""


class DelayLine:
    """Calls each callback `seconds` after it was added. Nothing is cancelled: a callback looks whether it is wanted."""

    __slots__ = ("_armed", "_seconds", "_waiting")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._armed = False

    def add(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the delay; it must not raise."""
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._seconds, callback))
        if not self._armed:
            self._armed = True
            loop.call_later(self._seconds, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._armed = False
        due = loop.time() + _SLACK_SECONDS
        waiting = self._waiting
        ready: list[Callable[[], None]] = []
        while waiting and waiting[0][0] <= due:
            ready.append(waiting.popleft()[1])
        if waiting:
            self._armed = True
            loop.call_at(waiting[0][0], self._fire, loop)
        for callback in ready:
            callback()
