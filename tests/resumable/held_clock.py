"""A clock for those who judge whether a writer in another process is dead."""

from perdure.resumable.settings import system_now_ms


class HeldClock:
    """Stands still until it is let go: until then nobody counts as dead, however slow the machine is."""

    def __init__(self) -> None:
        self._held_ms: int | None = system_now_ms()

    def now_ms(self) -> int:
        return system_now_ms() if self._held_ms is None else self._held_ms

    def let_go(self) -> None:
        """From now on it tells the time."""
        self._held_ms = None
