"""Whether a session follows the advice of a server that is about to stop: decisions without clocks or sockets.

The advice is a flag in each frame (store API, section 6.9). Who follows it may come to a server that is about to stop
as well: where many are replaced one after the other, or as long as not all of them have heard it. So a session may move
again, after a pause that grows like those before retries; a server that always gives advice is not left without end.
"""

from __future__ import annotations

from .retries import RetryPolicy

_NEVER = float("inf")


class Moves:
    """Those of one session. `now` is in seconds, from 0, and does not go back."""

    __slots__ = ("_made", "_not_before", "_policy")

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._made = 0
        self._not_before = 0.0

    def are_wanted(self, *, is_advised: bool, now: float) -> bool:
        """Whether to move because of a frame. One without advice says that the session is where it can stay."""
        if not is_advised:
            self._made, self._not_before = 0, 0.0
            return False
        return now >= self._not_before

    def begin(self, now: float, chance: float) -> None:
        """A move begins. `chance` is a random number from 0 to 1."""
        self._not_before = now + self._policy.delay_secs(self._made, chance)
        self._made += 1

    def failed(self) -> None:
        """There was no other server to be had: stay, until this one gives no advice any more."""
        self._not_before = _NEVER
