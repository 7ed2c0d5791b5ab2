"""What the writers of all processes tell each other: which streams they change.

A writer remembers the streams that it writes to. Loading all of them anew whenever another process has written would
cost a third of what writing to them does. So each notes which streams it is about to change in a memory that all
share, and the others forget those alone. It is only used inside the turnstile, by one writer at a time.

A writer may be killed between any two steps. What it notes counts from the moment in which the end of the notes moves,
by one machine instruction, as `struct` writes a number in native order; and that is before the change is committed. So
a change is never overlooked, and one that broke off was noted for nothing, or not at all.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection
from struct import Struct
from typing import Final, cast

from ..catalogue import StreamId
from .locks import FileLock

MAX_NOTES: Final = 4096
"""How far behind a writer may be and still be told of single streams, and how many a change may concern for that."""

_RING: Final = 2 * MAX_NOTES
"""Places for notes. Who is killed while it overwrites old ones has not moved the end, so the newest half is whole."""

_NUMBER: Final = Struct("@Q")
_NOTES: Final = _NUMBER.size
"""Where the ring begins; before it is how many notes there have been."""


class ChangeNotes:
    """The notes, in the first bytes of a file that all processes have. Used inside the turnstile."""

    def __init__(self, file: FileLock) -> None:
        self._memory = file.map(_NOTES + _RING * _NUMBER.size)
        self._read: int | None = None

    def read(self) -> Collection[StreamId] | None:
        """The streams that others have noted since we read or noted last; None means any of them."""
        end: int = _NUMBER.unpack_from(self._memory)[0]
        begin, self._read = self._read, end
        if begin is None or not 0 <= end - begin <= MAX_NOTES:
            return None
        if begin == end:
            return ()
        first, last = begin % _RING, (end - 1) % _RING + 1
        if first < last:
            notes = self._memory[_place(first) : _place(last)]
        else:
            notes = self._memory[_place(first) :] + self._memory[_NOTES : _place(last)]
        return cast(set[StreamId], set(array("Q", notes)))

    def note(self, streams: Collection[StreamId]) -> None:
        """Tell the others that these streams change, after `read` and before the change is committed."""
        assert self._read is not None, "what others noted was not read"
        if len(streams) <= MAX_NOTES:
            first = _place(self._read % _RING)
            notes = array("Q", streams).tobytes()
            in_front = min(len(notes), len(self._memory) - first)
            self._memory[first : first + in_front] = notes[:in_front]
            self._memory[_NOTES : _NOTES + len(notes) - in_front] = notes[in_front:]
        self._read += len(streams)  # without notes where there are too many: then nobody is near enough to read them
        _NUMBER.pack_into(self._memory, 0, self._read)

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        self._memory.close()


def _place(note: int) -> int:
    return _NOTES + note * _NUMBER.size
