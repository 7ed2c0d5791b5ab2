"""What ends a wait of these clients: its time, a silence, or the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

RECONNECT_BACKOFF_MS: Final = (0, 250, 500, 1000, 2000, 5000)
"""The default waits before reconnects, in milliseconds; the last one is repeated."""

SILENCE_MS: Final = 45_000
"""Servers ping every 15 s. A connection that was silent for three pings is dead, though nobody may have said so."""


class Signal(Protocol):
    """What ends a subscription from outside, as an `asyncio.Event` does once it is set."""

    def is_set(self) -> bool:
        """Whether it is over."""
        ...

    async def wait(self) -> object:
        """Return once it is over."""
        ...


class Backoff:
    """The waits between tries: one after the other, the last one for ever. None at all means no second try."""

    def __init__(self, waits_ms: Sequence[float]) -> None:
        self._waits_ms = waits_ms
        self._failures = 0

    def next_s(self) -> float | None:
        """Seconds until the next try, or None when there is to be none."""
        if not self._waits_ms:
            return None
        wait_ms = self._waits_ms[min(self._failures, len(self._waits_ms) - 1)]
        self._failures += 1
        return wait_ms / 1000

    def reset(self) -> None:
        self._failures = 0


class Interrupted(Exception):
    """A wait was ended by the caller. It never leaves this package."""


class Silence(Exception):
    """A wait took longer than it may. It never leaves this package."""


class Interruption:
    """Ends what one reader waits for: by `set`, or with the caller's signal."""

    def __init__(self, signal: Signal | None = None) -> None:
        self._signal = signal
        self._is_set = False
        self._wait: asyncio.Timeout | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_set(self) -> bool:
        return self._is_set or (self._signal is not None and self._signal.is_set())

    @property
    def is_waited_for(self) -> bool:
        """Whether a wait is under way."""
        return self._wait is not None

    def set(self) -> None:
        """End the wait that is under way, and all later ones."""
        self._is_set = True
        if self._wait is not None and not self._wait.expired():
            self._wait.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def bounded(self, seconds: float | None) -> AsyncIterator[None]:
        """Around one wait. Raises `Interrupted`, or `Silence` when it took `seconds`."""
        if self.is_set:
            raise Interrupted
        if self._watching is None and self._signal is not None:
            self._watching = asyncio.create_task(self._watch(self._signal))
        try:
            async with asyncio.timeout(seconds) as wait:
                self._wait = wait
                yield
        except TimeoutError:
            if not wait.expired():
                raise
            raise (Interrupted if self.is_set else Silence) from None
        finally:
            self._wait = None

    async def aclose(self) -> None:
        """Let go of the signal."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self, signal: Signal) -> None:
        await signal.wait()
        self.set()
