"""Whether and when to try again: decisions without clocks or sockets (store API, section 10.2)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import force_setattr

from ..errors import PerdureError, SeqNumMismatch, UsageError


class AppendRetryPolicy(StrEnum):
    """Which failed appends are sent again."""

    ALL = "all"
    """All whose error allows it. A batch whose acknowledgement was lost may be there twice."""
    NO_SIDE_EFFECTS = "no-side-effects"
    """Only those that have certainly changed nothing; otherwise the ambiguous failure is raised."""


class RetryPolicy(Struct, frozen=True):
    """How failures are retried. Raises `UsageError` for numbers that make no sense.

    `max_attempts` counts the first one too: 1 is no retries. Before retry number n (from 0) comes a delay of
    min(`min_delay_ms` × 2^n, `max_delay_ms`), plus a random part of as much again; more if the server asked for it.
    """

    max_attempts: int = 3
    min_delay_ms: float = 100
    max_delay_ms: float = 1000
    appends: AppendRetryPolicy = AppendRetryPolicy.ALL

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise UsageError(f"max_attempts must be at least 1, which is no retries; got {self.max_attempts!r}")
        for name in ("min_delay_ms", "max_delay_ms"):
            if not isinstance(delay := getattr(self, name), (int, float)):
                raise UsageError(f"{name} must be a number of milliseconds, got {delay!r}")
        try:
            # A plain string is the member that it equals: were it kept, `is` would take it for neither.
            force_setattr(self, "appends", AppendRetryPolicy(self.appends))
        except ValueError:
            known = " or ".join(f"AppendRetryPolicy.{policy.name}" for policy in AppendRetryPolicy)
            raise UsageError(f"appends must be {known}; got {self.appends!r}") from None
        if not 0 <= self.min_delay_ms <= self.max_delay_ms < float("inf"):
            raise UsageError(
                "delays must be 0 ms or more, and min_delay_ms not above max_delay_ms; "
                f"got {self.min_delay_ms:g} and {self.max_delay_ms:g}"
            )

    def delay_secs(self, retry: int, chance: float, retry_after_ms: int | None = None) -> float:
        """Seconds before retry number `retry` (from 0); `chance` is a random number from 0 to 1."""
        base = min(self.min_delay_ms * 2.0 ** min(retry, 64), self.max_delay_ms)
        return max(base + base * chance, retry_after_ms or 0) / 1000

    def allows(self, error: PerdureError, failures: int) -> bool:
        """Whether to try again after `failures` failed attempts (at least 1), of which `error` ended the last."""
        return error.retry_is_safe and failures < self.max_attempts

    def allows_append(self, error: PerdureError, failures: int, *, in_doubt: bool = True) -> bool:
        """The same for appends. `in_doubt`: something was sent, so that only `error` can tell what became of it."""
        if self.appends is AppendRetryPolicy.NO_SIDE_EFFECTS and in_doubt and not error.has_no_side_effects:
            return False
        return self.allows(error, failures)


def leaves_doubt(error: PerdureError, applied_tail: int | None) -> bool:
    """Whether an earlier attempt of an append, unanswered, may have been applied although this one failed by `error`.

    `applied_tail` is the tail that the append leads to at the least: `match_seq_num` and its records. None without
    `match_seq_num`. A stream whose tail is below it does not have the records.
    """
    return applied_tail is None or not isinstance(error, SeqNumMismatch) or error.expected >= applied_tail


def applied_tail(match_seq_num: int | None, records: int) -> int | None:
    """The tail behind an append of so many records; None if it may go anywhere."""
    return None if match_seq_num is None else match_seq_num + records
