"""Waking thousands of waiters at set times, cheaply: one timer for all of them, and no drift."""

from __future__ import annotations

import asyncio
import time

TICK_SECONDS = 0.001


class Metronome:
    """`await metronome.until(when)` for many tasks of one event loop; `when` is in `time.perf_counter` seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: dict[int, list[asyncio.Future[None]]] = {}
        self._next = self._slot(time.perf_counter()) + 1
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def until(self, when: float) -> asyncio.Future[None]:
        """A future that is done at `when`, or at once if that has passed."""
        future = self._loop.create_future()
        slot = self._slot(when) + 1
        if slot < self._next:
            future.set_result(None)
        else:
            self._slots.setdefault(slot, []).append(future)
        return future

    def close(self) -> None:
        self._timer.cancel()

    @staticmethod
    def _slot(when: float) -> int:
        return int(when / TICK_SECONDS)

    def _tick(self) -> None:
        now = self._slot(time.perf_counter())
        for slot in range(self._next, now + 1):
            for future in self._slots.pop(slot, ()):
                if not future.done():
                    future.set_result(None)
        self._next = max(self._next, now + 1)
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
