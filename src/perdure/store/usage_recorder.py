"""Counting the use of the store, and writing the counts down now and then.

Counting is in memory, so it costs an append next to nothing; every few seconds, and on close, the counts go to the
engine's `UsageBook`. Several processes on one store each write their own, and the book adds them up. A process that is
killed loses what it counted since it last wrote: `FLUSH_SECONDS` of counts at most, and no record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..errors import PerdureError, UsageError
from .clock import wall_clock_ms
from .usage import Counters, UsageBook, UsageCount, UsageKey

logger: Final = logging.getLogger("perdure.store.usage")

FLUSH_SECONDS: Final = 5.0

CHUNK_COUNTS: Final = 256
"""Counts that are written in one transaction, which holds up the appends that share it by a millisecond or two."""

MAX_WAITING_COUNTS: Final = 200_000
"""Counts that wait for a store that cannot be written to; beyond it the oldest are given up."""


class UsageRecorder:
    """Counts for one process, in `counters`; use it with `async with`, inside the life of its engine.

    What was counted between two turns of a minute belongs to the minute that began with the first, so the recorder
    writes at every turn as well.
    """

    def __init__(self, book: UsageBook, *, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.counters: Final = Counters()
        self.book: Final = book
        self._now_ms = now_ms
        self._minute = now_ms() // 60_000
        self._sampled_minute: int | None = None
        self._waiting: dict[tuple[int, UsageKey], int] = {}
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> UsageRecorder:
        if self._task is not None:
            raise UsageError("a usage recorder is entered once; make a new one")
        self._task = asyncio.create_task(self._run(), name="perdure-usage")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what is counted, and end. To be called before the engine is closed."""
        self._closing.set()
        if self._task is not None:
            await self._task

    def now_secs(self) -> int:
        """The time that counts and samples go by."""
        return self._now_ms() // 1000

    async def flush(self) -> None:
        """Write everything that was counted before this call. Raises what the engine does; the counts wait then.

        Cancelling the call cancels no writing, so nothing is counted twice or not at all.
        """
        while self._flushing is not None:
            await asyncio.wait([self._flushing])  # one that began before this call may have missed something
        self._flushing = asyncio.create_task(self._flush(), name="perdure-usage-flush")
        self._flushing.add_done_callback(self._flushed)
        await asyncio.shield(self._flushing)

    def _flushed(self, done: asyncio.Task[None]) -> None:
        if self._flushing is done:
            self._flushing = None
        if not done.cancelled():
            done.exception()  # whoever waits for it is told; if they all went away, nobody is

    async def _flush(self) -> None:
        self._collect()
        while self._waiting:
            chunk = list(self._waiting.items())[:CHUNK_COUNTS]
            await self.book.add([UsageCount(minute, key, value) for (minute, key), value in chunk])
            for counted, value in chunk:
                left = self._waiting[counted] - value
                if left:
                    self._waiting[counted] = left
                else:
                    del self._waiting[counted]
        if self._sampled_minute != self._minute:
            await self.book.sample()
            self._sampled_minute = self._minute

    def _collect(self) -> None:
        """Put what was counted to what waits, under the minute in which counting began."""
        waiting, minute = self._waiting, self._minute
        for key, value in self.counters.take().items():
            waiting[minute, key] = waiting.get((minute, key), 0) + value
        self._minute = self._now_ms() // 60_000
        excess = len(waiting) - MAX_WAITING_COUNTS
        if excess > 0:
            logger.error("%d counts of usage are given up, since the store could not be written to for long", excess)
            for counted in list(waiting)[:excess]:
                del waiting[counted]

    async def _run(self) -> None:
        while not self._closing.is_set():
            await self._try_to_flush()
            until_turn = (60_000 - self._now_ms() % 60_000) / 1000
            try:
                async with asyncio.timeout(min(FLUSH_SECONDS, until_turn)):
                    await self._closing.wait()
            except TimeoutError:
                continue
        await self._try_to_flush()

    async def _try_to_flush(self) -> None:
        try:
            await self.flush()
        except PerdureError as exc:
            logger.warning("usage could not be written down and waits: %s", exc)
        except Exception:  # a defect, which must not end the counting
            logger.exception("usage could not be written down and waits")
