"""How long clients may take for a step, such as to send a body or to take what is sent, for all with one timer.

A timer for each (`asyncio.timeout`) costs a tenth of what a small append costs in all, and more of what a delivery to
a follower costs; here a client that is in time costs two accesses to a dictionary. All that one clock watches have the
same time, so they come due in the order of their begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class PatienceClock:
    """Cancels the tasks whose step takes longer than `secs`; only for use on one event loop.

    A task is in one step of a clock at a time: each `begin` is followed by one `end`, whatever happens between.
    """

    def __init__(self, secs: float) -> None:
        self.secs: float = secs
        self._since: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._alarm: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[object]:
        """The current task, whose time starts now."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "requests run in tasks"
        self._since[task] = loop.time()
        if self._alarm is None:
            self._alarm = loop.call_later(self.secs, self._ring, loop)
        return task

    def end(self, task: asyncio.Task[object]) -> bool:
        """The step is over; tells whether it was cancelled by this clock, and by nobody else.

        If so, the task has to go on as if it had not been cancelled.
        """
        self._since.pop(task, None)
        if task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() == 0

    async def wait(self, step: Awaitable[T]) -> T:
        """What `step` gives, as one step of the current task. Raises `TimeoutError` when it takes too long."""
        task = self.begin()
        try:
            return await step
        except asyncio.CancelledError:
            if self.end(task):
                raise TimeoutError from None
            raise
        finally:
            self.end(task)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        due = loop.time() - self.secs
        for task, since in list(self._since.items()):
            if since > due:
                self._alarm = loop.call_later(since - due, self._ring, loop)
                break
            del self._since[task]
            self._late.add(task)
            task.cancel()
