"""Tasks that belong to an object with a life of its own, and to no request: kept, looked at, and ended with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..telemetry.log_fields import about

logger: Final = logging.getLogger("perdure.resumable")

DRAIN_SECONDS: Final = 30.0
"""How long closing waits for what runs before it ends it."""

SHUTDOWN_SECONDS: Final = 2.0
"""How long what was told to end may take for that."""


class OwnedTasks:
    """What runs on behalf of its owner."""

    def __init__(self) -> None:
        self._interrupts: dict[asyncio.Future[Any], Callable[[], object]] = {}

    def own(
        self,
        task: asyncio.Future[Any],
        *,
        interrupt: Callable[[], object] | None = None,
        on_done: Callable[[asyncio.Future[Any]], object] | None = None,
    ) -> None:
        """Keep `task` until it is done.

        Args:
            task: what runs.
            interrupt: ends it early, in good order; by default it is cancelled.
            on_done: looks at its outcome; by default a failure is logged.
        """
        self._interrupts[task] = interrupt or task.cancel
        task.add_done_callback(self._interrupts.pop)
        task.add_done_callback(on_done or _log_failure)

    def background(self, awaitable: Awaitable[object]) -> None:
        """Keep `awaitable` running until it is done or the owner is closed; a failure is logged."""
        task = asyncio.ensure_future(awaitable)
        if task not in self._interrupts:
            self.own(task)

    async def drain(self, *, timeout: float) -> None:
        """Wait for what runs; after `timeout` seconds interrupt it, and cancel what does not end then either."""
        deadline = asyncio.get_running_loop().time() + timeout
        while self._interrupts:  # what is done may have left something behind that runs on
            if await self._settled(deadline - asyncio.get_running_loop().time()):
                break
        for interrupt in tuple(self._interrupts.values()):
            interrupt()
        for task in await self._settled(SHUTDOWN_SECONDS):
            task.cancel()
        await self._settled(SHUTDOWN_SECONDS)

    async def _settled(self, timeout: float) -> set[asyncio.Future[Any]]:
        """Wait for what runs now; gives what is not done in time."""
        if not self._interrupts:
            return set()
        _, pending = await asyncio.wait(tuple(self._interrupts), timeout=timeout)
        return pending


def _log_failure(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        what = task.get_name() if isinstance(task, asyncio.Task) else "a background task"
        logger.error("%s failed", what, exc_info=failure, extra=about(error=failure))
