"""What waits for the writer: put there by the event loop, taken by the writer's thread one group at a time."""

from __future__ import annotations

import queue
from typing import Final

from .write_items import Append, Item, Stop

MAX_GROUP_ITEMS: Final = 4096
MAX_GROUP_BYTES: Final = 8 * 1024 * 1024
"""Metered bytes after which a group is closed, so that one transaction does not hold up the next for long."""


class Backlog:
    """Items in the order in which they came, until the stop. Only the writer calls `take` and `add_to`."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Item | Stop] = queue.SimpleQueue()
        self._size = 0
        self._stopped = False

    def put(self, item: Item) -> None:
        self._queue.put(item)

    def stop(self) -> None:
        """Nothing comes any more."""
        self._queue.put(Stop())

    @property
    def is_empty(self) -> bool:
        return self._queue.empty()

    @property
    def stopped(self) -> bool:
        """Whether everything up to the stop was taken. For the writer's thread."""
        return self._stopped

    def take(self) -> list[Item]:
        """Wait for an item, then take what else is there, within the bounds of a group; nothing at the stop."""
        self._size = 0
        items: list[Item] = []
        self._take(self._queue.get(), items)  # no time-out: `close` puts a stop
        return items

    def add_to(self, items: list[Item]) -> None:
        """Take what came since `take`, within the bounds of the same group.

        While another process has its turn, more comes than before it: whoever waits joins this group, instead of a
        commit of its own and one more change of turns.
        """
        if not self._stopped and self._has_room(items):
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            self._take(item, items)

    def drain(self) -> list[Item]:
        """Take everything, however much; a stop stays for whoever calls `take`."""
        items: list[Item] = []
        stopped = False
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if isinstance(item, Stop):
                stopped = True
            else:
                items.append(item)
        if stopped:
            self.stop()
        return items

    def _take(self, item: Item | Stop, items: list[Item]) -> None:
        """Take `item` and those behind it."""
        while not isinstance(item, Stop):
            items.append(item)
            if isinstance(item, Append):
                self._size += item.batch.metered_bytes
            if not self._has_room(items):
                return
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
        self._stopped = True

    def _has_room(self, items: list[Item]) -> bool:
        return len(items) < MAX_GROUP_ITEMS and self._size < MAX_GROUP_BYTES
