"""Cursors as text: ids of frames, and the `from` of a query."""

from __future__ import annotations

import re
from typing import Final

MAX_CURSOR: Final = 2**53 - 1
"""The largest number that a browser's cursor can be."""

_DIGITS: Final = re.compile(r"[0-9]{1,16}")


def parse_cursor(text: str) -> int | None:
    """The sequence number that `text` names, decimal digits only; None if it is none, or more than browsers count."""
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_CURSOR else None
