"""Which blocks of a commit group go to a segment: those for which its sync costs less than the way through the log.

A block in a row is written twice, page by page, and that takes time of the processor, which the one writer soon lacks
(measured at 64 KiB: 5 ms for each MiB, in a segment 2). A segment wants a sync of its own, a fraction of a millisecond,
however much it is given. So a large block goes there, or those of medium size that together make up as much, and what
comes behind them in the same group; a medium block by itself keeps the shorter way of a row.
"""

from __future__ import annotations

from typing import Final

MEDIUM_BYTES: Final = 32 * 1024
"""Smaller blocks are always rows. Of these it takes so many to pay for the sync that groups seldom have them, and the
space of a row is free as soon as it is trimmed, that of a segment with the last of its blocks."""

LARGE_BYTES: Final = 128 * 1024
"""What one block, or all from `MEDIUM_BYTES` up in a group, must have for a sync of its own to pay off."""


class Placement:
    """The decision for one group, block by block. A block is known by its place among the rows not written yet."""

    __slots__ = ("_waiting", "_waiting_bytes")

    def __init__(self) -> None:
        self._waiting: list[tuple[int, bytes]] = []
        self._waiting_bytes = 0

    def offer(self, row: int, body: bytes, *, sync_is_due: bool) -> list[tuple[int, bytes]]:
        """The blocks that go to a segment now that there is this one, too: it and what waited for it, or none.

        `sync_is_due` says that the group has something in a segment already.
        """
        if len(body) < MEDIUM_BYTES:
            return []
        self._waiting.append((row, body))
        self._waiting_bytes += len(body)
        if not sync_is_due and self._waiting_bytes < LARGE_BYTES:
            return []
        going = self._waiting
        self.clear()
        return going

    def clear(self) -> None:
        """What waits is written as rows, or not at all."""
        self._waiting, self._waiting_bytes = [], 0
