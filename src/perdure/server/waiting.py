"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio


async def wait_up_to(seconds: float, event: asyncio.Event) -> bool:
    """Wait until the event is set, for so many seconds at most; tells whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
