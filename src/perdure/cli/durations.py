"""Lengths and points of time as people write them: `7d`, `1h30m`, `2026-12-01T00:00:00Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(?:[0-9]{1,15}[wdhms])+")
_PART: Final = re.compile(r"([0-9]+)([wdhms])")


def parse_duration(text: str) -> int:
    """Seconds: numbers with their units, of weeks, days, hours, minutes, seconds. Raises `ValueError`."""
    if not _DURATION.fullmatch(text):
        said = f"; did you mean {text}s?" if text.isascii() and text.isdecimal() else ""
        raise ValueError(f"expected a duration such as 7d, 12h or 1h30m (units: w, d, h, m, s), got {text!r}{said}")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def duration_text(secs: int) -> str:
    """The shortest way to write it: `7d`, `1h30m`, `0s`; weeks are told in days, as the API's own default is."""
    parts = []
    for unit in "dhms":
        number, secs = divmod(secs, _UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def parse_time(text: str) -> datetime:
    """A time with its zone, ISO 8601; a day alone is its beginning in UTC. Raises `ValueError`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected a time such as 2026-12-01T08:00:00Z, got {text!r}") from None
    if time.utcoffset() is None:
        if len(text) > len("2026-12-01"):
            raise ValueError(f"the time {text!r} has no zone; add Z for UTC, or an offset such as +02:00")
        return time.replace(tzinfo=UTC)
    return time


def time_text(time: datetime) -> str:
    """In UTC, to the second."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def timestamp_text(timestamp_ms: int) -> str:
    """Of a record's timestamp, in UTC to the millisecond; one that no calendar reaches stays a number."""
    try:
        time = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
        return time.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    except (OverflowError, ValueError, OSError):
        return f"{timestamp_ms} ms"
