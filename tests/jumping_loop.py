"""An event loop whose clock jumps to the next timer when nothing else is left to do.

So a pause of half an hour costs nothing, comes in the order in which it would come, and is over at a time that does not
depend on the machine. What runs elsewhere (the threads of an engine) is waited for as long as `elsewhere` says that
there is some of it; what nobody counts gets `patience` seconds before the clock jumps.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.patience import PATIENCE_SECONDS
from tests.store.clock import Clock

T = TypeVar("T")

EPOCH_MS = 1_700_000_000_000


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, patience: float) -> None:
        super().__init__()
        self.now = 1000.0
        self.elsewhere = 0
        self._patience = patience

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self.elsewhere or timeout is None:
            events = super().select(PATIENCE_SECONDS)
            assert events, "what runs elsewhere does not come back, or nothing will ever happen any more"
            return events
        events = super().select(self._patience)
        if not events:
            self.now += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its `time` stands still but for the jumps."""

    def __init__(self, patience: float = 0.0) -> None:
        self._jumping = _JumpingSelector(patience)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def now_ms(self) -> int:
        """The time of this loop as a date, for the clocks of stores and chats."""
        return EPOCH_MS + int(self._jumping.now * 1000)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Something runs elsewhere, and its end wakes the loop: no time passes until then."""
        self._jumping.elsewhere += 1
        try:
            yield
        finally:
            self._jumping.elsewhere -= 1


def the_loop() -> JumpingLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    return loop


class LoopClock(Clock):
    """The clock of an engine, set by the loop that it runs on."""

    def now_ms(self) -> int:
        return the_loop().now_ms()


def run_jumping(main: Callable[[], Coroutine[Any, Any, T]], *, patience: float = 0.0) -> T:
    """Run `main` on a loop of its own whose clock jumps."""
    with asyncio.Runner(loop_factory=lambda: JumpingLoop(patience)) as runner:
        return runner.run(main())
