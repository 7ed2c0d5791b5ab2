"""Latencies of any number of records in little memory: a histogram whose buckets grow with what they hold."""

from __future__ import annotations

from typing import Final

_BITS: Final = 7
"""Numbers below 2^7 have a bucket each, larger ones share one with those that differ in less than 1/64."""
_HALF: Final = 1 << (_BITS - 1)

MAX_ERROR: Final = 1 / _HALF
"""By how much, relative to it, a percentile may be above the measured value. It is never below."""


class Latencies:
    """How often which latency was measured, in nanoseconds."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count: int = 0
        self.max_ns: int = 0
        self._total = 0

    def add(self, ns: int, times: int = 1) -> None:
        """A latency was measured so many times. Clocks being what they are, below 0 means 0."""
        if ns < 0:
            ns = 0
        shift = ns.bit_length() - _BITS
        bucket = ns if shift <= 0 else shift * _HALF + (ns >> shift)
        self._counts[bucket] = self._counts.get(bucket, 0) + times
        self.count += times
        self._total += ns * times
        if ns > self.max_ns:
            self.max_ns = ns

    def percentile(self, percent: float) -> int:
        """The latency that so many percent of all do not exceed; 0 if nothing was measured."""
        wanted = max(1, -(-self.count * round(percent * 1_000) // 100_000))  # whole numbers: 99.9 is none in binary
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(_upper(bucket), self.max_ns)
        return 0

    @property
    def mean_ns(self) -> float:
        """The mean; 0 if nothing was measured."""
        return self._total / self.count if self.count else 0.0

    @property
    def buckets(self) -> int:
        """How many buckets are in use."""
        return len(self._counts)


def _upper(bucket: int) -> int:
    """The largest number in a bucket."""
    if bucket < 2 * _HALF:
        return bucket
    shift = bucket // _HALF - 1
    return ((bucket - shift * _HALF + 1) << shift) - 1
