"""Sizes and times as people write and read them on the command line."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_TIME_UNITS: Final = {
    "us": 1,
    "µs": 1,
    "ms": 1_000,
    "s": 10**6,
    "m": 60 * 10**6,
    "h": 3_600 * 10**6,
    "d": 86_400 * 10**6,
}
_TIME: Final = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?\s*[a-zµ]+\s*)+")
_TIME_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)")

_SIZE_UNITS: Final = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_SIZE: Final = re.compile(r"(\d{1,15})\s*([a-z]*)")


def time_secs(text: str) -> float:
    """The seconds of a time such as "5ms", "60s" or "1h 30m". Raises `ValueError`."""
    folded = text.strip().lower()
    if _TIME.fullmatch(folded) is not None:
        parts = _TIME_PART.findall(folded)
        if all(unit in _TIME_UNITS for _, unit in parts):
            # Decimals, so that 0.1 s is a hundred milliseconds.
            return float(sum(Decimal(count) * _TIME_UNITS[unit] for count, unit in parts) / 10**6)
    if folded == "0":
        return 0.0
    raise ValueError(f'expected a time with its unit (ms, s, m, h, d), such as "500ms" or "1h 30m", got {text!r}')


def shown_secs(seconds: object) -> str:
    """A time as `time_secs` reads it, for a default in a help text."""
    assert isinstance(seconds, float), "times are kept in seconds"
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"


def size_bytes(text: str) -> int:
    """The bytes of a size such as "8192", "8KiB" or "1 MiB". Raises `ValueError`."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or found[2] not in _SIZE_UNITS:
        raise ValueError(f'expected a number of bytes, such as "8192" or "8KiB", got {text!r}')
    return int(found[1]) * _SIZE_UNITS[found[2]]


def time_text(ns: float) -> str:
    """A short time in the unit that fits, with three digits: `870 µs`, `1.21 ms`, `12.3 s`."""
    for unit, size in (("µs", 1e3), ("ms", 1e6)):
        if ns < 999.5 * size:
            return f"{_three_digits(ns / size)} {unit}"
    return f"{_three_digits(ns / 1e9)} s"


def records_text(count: int) -> str:
    """So many records: `1 record`, `2,000 records`."""
    return f"{count:,} record{'' if count == 1 else 's'}"


def rate_text(amount: float) -> str:
    """A rate with as many digits as it deserves: `0.98`, `71.4`, `1,234`."""
    return _three_digits(amount)


def _three_digits(amount: float) -> str:
    return f"{amount:.2f}" if amount < 9.995 else f"{amount:.1f}" if amount < 99.95 else f"{amount:,.0f}"
