"""Commands that a signal ends gently: the first one lets them finish what they have begun, the second one does not."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

GENTLE_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class SignalledTwice(Exception):
    """A second signal came before the command had finished what it was doing."""


class Stop:
    """Whether the command is to stop, and with which exit status."""

    def __init__(self) -> None:
        self.asked: Final = asyncio.Event()
        self.status = 0
        """128 and the signal's number; 0 as long as none came."""


@contextmanager
def gently_stopped() -> Iterator[Stop]:
    """Until the end of the context the first Ctrl-C or SIGTERM sets `Stop.asked`.

    Another one raises `SignalledTwice` where the current task waits.
    """
    task, loop, stop, twice = asyncio.current_task(), asyncio.get_running_loop(), Stop(), False
    assert task is not None, "only a task can be cancelled"

    def on_signal(number: signal.Signals) -> None:
        nonlocal twice
        if not stop.asked.is_set():
            stop.status = 128 + number
            stop.asked.set()
        elif not twice:
            twice = True
            task.cancel()

    for number in GENTLE_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    except asyncio.CancelledError:
        if twice and task.uncancel() == 0:
            raise SignalledTwice from None
        raise
    finally:
        for number in GENTLE_SIGNALS:
            loop.remove_signal_handler(number)
