"""How far a command is: one line on the terminal that is written over and over, and sizes as people read them."""

from __future__ import annotations

import sys
import time
from typing import Final

_SHOW_SECONDS: Final = 0.2
"""Between two updates of the line."""


class ProgressLine:
    """On the standard error; says nothing unless it is `shown`."""

    def __init__(self, *, shown: bool) -> None:
        self._is_shown = shown
        self._next = 0.0
        self._text = ""

    def show(self, text: str) -> None:
        """Replace the line, if the last time was a while ago."""
        now = time.monotonic()
        if self._is_shown and now >= self._next:
            self._next = now + _SHOW_SECONDS
            self._write(text)

    def clear(self) -> None:
        """Remove the line, so that something else can be printed."""
        if self._text:
            self._write("")

    def _write(self, text: str) -> None:
        padding = " " * (len(self._text) - len(text))
        print(f"\r{text}{padding}", end="" if text else "\r", file=sys.stderr, flush=True)
        self._text = text


def size_text(size: int) -> str:
    """In the unit that fits: `512 B`, `1.5 MiB`."""
    amount, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{amount:.1f} {units[0]}" if size >= 1024 else f"{size} B"
