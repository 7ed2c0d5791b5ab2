"""How long bodies may take to arrive, for all requests of one server with one timer.

A timer for each request (`asyncio.timeout`) costs a tenth of what a small append costs in all; here a request that is
in time costs two accesses to a dictionary. Every body has the same time, so they come due in the order of their begin.
"""

from __future__ import annotations

import asyncio


class BodyClock:
    """Cancels the tasks that read a body for longer than `secs`; only for use on one event loop.

    Each `begin` is followed by one `end` of the same task, whatever happens between.
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
        """The task reads no more; tells whether it was cancelled by this clock, and by nobody else.

        If so, the task has to go on as if it had not been cancelled.
        """
        self._since.pop(task, None)
        if task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() == 0

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
