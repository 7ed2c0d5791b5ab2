"""The event loop of a command, ended by SIGTERM as by Ctrl-C: what the command has open is closed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine


def run_until_terminated(work: Coroutine[object, object, int | None]) -> int | None:
    """The outcome of `work`; the status that tells of the signal if SIGTERM cancelled it. Raises what `work` does."""
    return asyncio.run(_until_terminated(work))


async def _until_terminated(work: Coroutine[object, object, int | None]) -> int | None:
    """`work`, cancelled by SIGTERM as Ctrl-C cancels it, so that it closes what it has open."""
    task = asyncio.ensure_future(work)
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if terminated:
            return 128 + signal.SIGTERM
        raise
