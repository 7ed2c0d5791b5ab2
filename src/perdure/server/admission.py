"""How many bytes of appends may be in flight: taken in, and not durable yet.

What exceeds the bound waits its turn, so a crowd of writers meets back-pressure and the memory of the server stays
bounded; nothing is refused for it (store API, section 5.8). Sizes are metered bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct


class AdmissionStatistics(Struct, frozen=True):
    """A look at the budget. `in_flight_bytes` are taken of `max_bytes`; `waiting` appends wait for room."""

    max_bytes: int
    in_flight_bytes: int
    waiting: int


class Admission:
    """The budget of all appends of one server, given out in the order in which it was asked for.

    Each `take_nowait` that gave True, and each `take` that returned, is followed by one `release` of the same size.
    `on_change` is told how many bytes are in flight whenever that changes; it must be quick, and must not raise.
    """

    def __init__(self, max_bytes: int, on_change: Callable[[int], None] = lambda in_flight_bytes: None) -> None:
        self._max_bytes = max_bytes
        self._on_change = on_change
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()

    def take_nowait(self, size: int) -> bool:
        """Take `size` bytes if there is room and nobody else waits for it."""
        if self._waiting or not self._fits(size):
            return False
        self._use(size)
        return True

    async def take(self, size: int) -> None:
        """Take `size` bytes, after everybody who asked before. When it is cancelled, nothing was taken."""
        if self.take_nowait(size):
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)  # the turn came in the same moment
            else:
                self._waiting.remove(entry)
                self._give_turns()  # those behind may fit
            raise

    def release(self, size: int) -> None:
        self._used -= size
        self._on_change(self._used)
        if self._waiting:
            self._give_turns()
        if not self._used:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until nothing is in flight."""
        await self._idle.wait()

    def statistics(self) -> AdmissionStatistics:
        return AdmissionStatistics(self._max_bytes, self._used, len(self._waiting))

    def _fits(self, size: int) -> bool:
        # An append that is alone always fits: a bound below its size would make it wait for ever.
        return self._used + size <= self._max_bytes or not self._used

    def _use(self, size: int) -> None:
        self._used += size
        self._on_change(self._used)
        self._idle.clear()

    def _give_turns(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            self._use(size)
            turn.set_result(None)
