"""The event loop that a client belongs to."""

from __future__ import annotations

import asyncio

from ..errors import UsageError


class HomeLoop:
    """That of the first `check`. Elsewhere nobody would wake who waits, and two threads would meet in one structure."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """None before the first `check`."""
        return self._loop

    def check(self) -> None:
        """Raise `UsageError` in another event loop, and so in a child process as well."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise UsageError(
                    "this client was used in another event loop, to which all that it holds belongs; make one for each "
                    "loop, or use perdure.sync, whose clients any thread may call"
                )
            self._loop = loop
