"""Waiting for something that belongs to somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any


def settled(future: asyncio.Future[Any]) -> Generator[Any, None, None]:
    """Wait until `future` is done, whatever its outcome; use with `yield from`.

    Cancelling the wait leaves the future alone. `asyncio.shield` promises the same, but reports an
    error that nobody waits for any more to the event loop's exception handler.
    """
    if future.done():
        return
    waiter: asyncio.Future[None] = future.get_loop().create_future()

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    try:
        yield from waiter
    finally:
        future.remove_done_callback(wake)


class Settled:
    """`settled` for `await`."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, None]:
        return settled(self._future)


class Bell:
    """Wakes whoever waits for something to change; rung with nobody waiting, it is forgotten."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def ring(self, *_: object) -> None:
        if not self._waiters:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for the next ring. Look at what you wait for afterwards: it may have changed back."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
