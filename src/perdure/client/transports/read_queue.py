"""What came in a read session and waits for its reader, and what is given back to the peer's window with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadQueue(Generic[T]):
    """Items in, in the slices in which they come; items out, with how many more bytes the peer may send.

    What an item took is given back when the item is taken, so a reader that is slow never has more here than the window
    and one item. Of an item that has not come whole nothing is given back as long as others wait; when none does, all
    of it is, since one that is longer than the window would never come.
    """

    def __init__(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        """With what is to be given back with each."""
        self._unfinished = 0
        """Bytes of the item that has not come whole, and is not given back."""

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[T], size: int) -> int:
        """Of the `size` bytes that came, `items` are what is whole now; gives what to give back at once.

        What `items` raises goes on to the caller; those before count.
        """
        before = len(self._items)
        self._items.extend((item, 0) for item in items)
        self._unfinished += size
        if len(self._items) > before:
            self._items[-1] = self._items[-1][0], self._unfinished
            self._unfinished = 0
        return self._let_go()

    def take(self) -> tuple[T, int]:
        """The oldest item, and what to give back. There must be one."""
        item, size = self._items.popleft()
        return item, size + self._let_go()

    def _let_go(self) -> int:
        if self._items:
            return 0
        unfinished, self._unfinished = self._unfinished, 0
        return unfinished
