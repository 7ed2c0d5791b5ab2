"""What an application may set on a chat object, checked once, and the clocks and dice that tests replace."""

from __future__ import annotations

import math
import random
import secrets
import sys
import time
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from ..errors import Invalid
from ..model.limits import MAX_BATCH_RECORDS
from .tokens import MAX_LEASE_MS, MIN_LEASE_MS, RandomBytes

Delivery: TypeAlias = Literal["response", "replay"]
"""Where the client gets the answer: on this response, or from the replay route (then this one is a 202)."""

ModeName: TypeAlias = Literal["single-use", "shared", "session"]

MAX_LINGER_MS: Final = 60_000
DEFAULT_BATCH_SIZE: Final = 10
DEFAULT_LINGER_MS: Final = 50.0
DEFAULT_LEASE_DURATION_MS: Final = 5_000
DEFAULT_SESSION_LEASE_MS: Final = 30_000
DEFAULT_KEEP_ALIVE_MS: Final = 15_000.0
DEFAULT_HISTORY_CACHE_BYTES: Final = 64 * 1024 * 1024


class Mode(Enum):
    """How generations map to streams.

    `SINGLE_USE`: one name per generation, never used again. `SHARED`: one name per chat, which holds the active
    generation only. `SESSION`: one name per chat, which keeps all of them.
    """

    SINGLE_USE = "single-use"
    SHARED = "shared"
    SESSION = "session"


class ChatSettings(Struct, frozen=True):
    """How a chat object writes and reads; build it with `ChatSettings.of`.

    `batch_size` and `linger_ms` are ceilings: a record goes at once when no append of its generation is under way.
    `lease_duration_ms` is the pause after which a `shared` generation may be taken over. `session_lease_ms` is the
    lease that this object's writers offer, None for none. `keep_alive_ms` is the longest silence of a body.
    `history_cache_bytes` is about how much folded history is kept between calls, over all chats, as JSON.
    """

    mode: Mode = Mode.SINGLE_USE
    batch_size: int = DEFAULT_BATCH_SIZE
    linger_ms: float = DEFAULT_LINGER_MS
    lease_duration_ms: int = DEFAULT_LEASE_DURATION_MS
    session_lease_ms: int | None = DEFAULT_SESSION_LEASE_MS
    keep_alive_ms: float | None = DEFAULT_KEEP_ALIVE_MS
    history_cache_bytes: int = DEFAULT_HISTORY_CACHE_BYTES

    @classmethod
    def of(
        cls,
        *,
        mode: ModeName = "single-use",
        batch_size: int = DEFAULT_BATCH_SIZE,
        linger_ms: float = DEFAULT_LINGER_MS,
        lease_duration_ms: int = DEFAULT_LEASE_DURATION_MS,
        session_lease_ms: int | None = DEFAULT_SESSION_LEASE_MS,
        keep_alive_ms: float | None = DEFAULT_KEEP_ALIVE_MS,
        history_cache_bytes: int = DEFAULT_HISTORY_CACHE_BYTES,
    ) -> ChatSettings:
        """Check the settings; raises `Invalid` (a `ValueError`) with the bound that one breaks."""
        try:
            known = Mode(mode)
        except ValueError:
            raise Invalid(f"mode must be 'single-use', 'shared' or 'session', got {mode!r}") from None
        _check_whole("batch_size", batch_size, 1, MAX_BATCH_RECORDS)
        _check_number("linger_ms", linger_ms, MAX_LINGER_MS)
        _check_whole("lease_duration_ms", lease_duration_ms, MIN_LEASE_MS, MAX_LEASE_MS)
        if session_lease_ms is not None:
            _check_whole("session_lease_ms", session_lease_ms, MIN_LEASE_MS, MAX_LEASE_MS)
        if keep_alive_ms is not None:
            _check_number("keep_alive_ms", keep_alive_ms, MAX_LEASE_MS)
            if keep_alive_ms <= 0:
                raise Invalid("keep_alive_ms must be above 0; None disables the comments")
        _check_whole("history_cache_bytes", history_cache_bytes, 0, sys.maxsize)
        return cls(
            known, batch_size, linger_ms, lease_duration_ms, session_lease_ms, keep_alive_ms, history_cache_bytes
        )

    @property
    def renew_after_ms(self) -> float | None:
        """The silence after which a writer renews its lease; None if nobody goes by one."""
        offered = self.session_lease_ms
        if self.mode is Mode.SHARED:
            claimers = self.lease_duration_ms
            return (claimers if offered is None else min(claimers, offered)) / 3
        return None if offered is None else offered / 3


def _check_whole(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Invalid(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _check_number(name: str, value: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= high:
        raise Invalid(f"{name} must be a number from 0 to {high}, got {value!r}")


def system_now_ms() -> int:
    """Milliseconds since the epoch by this machine's clock."""
    return time.time_ns() // 1_000_000


class Surroundings(Struct, frozen=True):
    """Where time and chance come from.

    `now_ms` is the clock that record timestamps are compared with. `jitter` gives a number from 0 to 1.
    """

    now_ms: Callable[[], int] = system_now_ms
    random_bytes: RandomBytes = secrets.token_bytes
    jitter: Callable[[], float] = random.random
