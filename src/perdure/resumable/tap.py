"""What a generation of this process makes durable, handed to those who read it here without a detour.

A tap gives what a read session would give: durable records with their sequence numbers, in order, the terminal fence
included. It promises only a beginning of that. When the reader is too slow, or when anybody else has written to the
stream, the tap ends early, and the reader goes on in the store where it stands.

All taps of a generation are handed the same batch, and a wait costs a future and nothing else: a chat may have a
thousand tabs, which all hear of each token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from ..model.batches import Part

MAX_WAITING_BYTES: Final = 256 * 1024
"""What may wait for a reader in memory; beyond that it reads from the store."""

_NOTHING_YET: Final[Sequence[Part]] = ()


class Tap:
    """The durable records of one generation for one reader, from some record on. `on_close` is told that it is gone."""

    __slots__ = ("_alarm", "_alarm_at", "_dry", "_due", "_loop", "_on_close", "_size_bytes", "_waiter", "_waiting")

    def __init__(self, on_close: Callable[[Tap], object] = lambda tap: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_close = on_close
        self._waiting: list[Part] = []
        self._size_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._dry = False
        self._due: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        """Rings at `_alarm_at`, when the wait may be over. A batch that comes before leaves it: to set it each time
        costs more than to find, once in a while, that it is too early.
        """
        self._alarm_at = 0.0

    def put(self, part: Part, metered_bytes: int) -> None:
        """Take records that are durable."""
        if self._dry:
            return
        self._waiting.append(part)
        self._size_bytes += metered_bytes
        if self._size_bytes > MAX_WAITING_BYTES:
            self._dry = True
        self._wake()

    def close(self) -> None:
        """Nothing more comes; what waits is still given."""
        self._dry = True
        self._wake()

    @property
    def holds_all(self) -> bool:
        """Whether the reader gets everything from here, and needs nothing from the store."""
        return not self._dry

    async def next_parts(self, deadline: float | None = None) -> Sequence[Part] | None:
        """What has become durable since the last call; None when the reader must go on in the store.

        Nothing when the loop's clock has come to `deadline` before there was any.
        """
        while not self._waiting:
            if self._dry:
                return None
            if deadline is not None and self._loop.time() >= deadline:
                return _NOTHING_YET
            waiter = self._waiter = self._loop.create_future()
            self._due = deadline
            if deadline is not None and (self._alarm is None or self._alarm_at > deadline):
                self._set_alarm(deadline)
            try:
                await waiter
            finally:
                self._waiter = None
        waiting, self._waiting, self._size_bytes = self._waiting, [], 0
        return waiting

    async def aclose(self) -> None:
        """The reader is gone. Idempotent."""
        self._waiting = []
        self._on_close(self)
        self.close()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._loop.call_at(at, self._ring), at

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None or self._due is None:
            return
        if self._loop.time() >= self._due:
            self._wake()
        else:
            self._set_alarm(self._due)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
