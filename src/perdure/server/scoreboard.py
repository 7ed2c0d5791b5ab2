"""The numbers of all worker processes in one piece of memory, so that any of them can answer for all.

The supervisor makes it, without a name in any file system, and the workers inherit it like the listening socket: so
nothing of it is left behind, however the processes end. Each process has an area of its own, writes nothing else, and
a count costs it a write to memory. Area 0 holds what the workers left that have ended: their counters go on there, and
their gauges, which told what was the case in them, are gone with them.

The alternative is the multi-process mode of prometheus_client: an increment there costs ten times as much, and every
process that ever was leaves its files until the server ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from array import array
from typing import Final, TypeAlias

from msgspec import Struct

Cells: TypeAlias = "memoryview[float]"
"""Numbers of eight bytes. A number is written and read whole; counts are exact up to 2^53."""

# What the cells of an area are. Who counts decides about gauges and counters; the scoreboard only adds them up.
_VERSION: Final = 0
"""In area 0: odd while the supervisor moves numbers from one area to another."""
_NUMBER: Final = 0
"""In the others: which worker of the server this is, from 1 on. Its successor has the same number."""
_PID: Final = 1
"""The process, 0 for an area that is free."""
_ORDER: Final = 2
"""Grows from one process to the next."""
FIRST_GAUGE: Final = 3
FIRST_COUNTER: Final = 64
AREA_CELLS: Final = 16 * 1024

_CELL_BYTES: Final = 8
AREA_BYTES: Final = AREA_CELLS * _CELL_BYTES

_TRIES: Final = 100
_PAUSE_SECS: Final = 0.001
"""How often, and after which pause, a snapshot is begun anew while numbers move: a matter of microseconds, unless the
supervisor was killed in the midst of it."""

_ENDED: Final = 0
_ZEROS: Final = array("d", bytes(AREA_BYTES))

_STRETCH_CELLS: Final = 64
_NOTHING: Final = bytes(_STRETCH_CELLS * _CELL_BYTES)


class Place(Struct, frozen=True):
    """Where a worker counts: a file descriptor that it inherits, and the number of its area."""

    descriptor: int
    area: int


class Snapshot(Struct, frozen=True):
    """All areas added up, by cell, at one moment; `pids` are the processes that count, by worker number.

    Of a worker that is being replaced, it is the process that came last.
    """

    cells: array[float]
    pids: dict[int, int]


class Scoreboard:
    """The memory, as one process sees it, and its own area: `cells`."""

    def __init__(self, memory: mmap.mmap, area: int) -> None:
        self._all: Cells = memoryview(memory).cast("d")
        self._area = area
        self.cells: Cells = _area(self._all, area)

    @classmethod
    def attach(cls, place: Place) -> Scoreboard:
        """The one that the supervisor has made. Raises `OSError`."""
        return cls(mmap.mmap(place.descriptor, os.fstat(place.descriptor).st_size), place.area)

    @classmethod
    def private(cls) -> Scoreboard:
        """One that only this process has."""
        board = cls(mmap.mmap(-1, 2 * AREA_BYTES), 1)
        board.cells[_NUMBER] = 1
        board.cells[_PID] = os.getpid()
        return board

    def snapshot(self) -> Snapshot:
        """Everything that was counted so far. Blocks for a millisecond or so; any thread."""
        everything: Cells = memoryview(self._copy()).cast("d")
        total = array("d", _area(everything, _ENDED))
        newest: dict[int, tuple[float, int]] = {}
        for index in range(1, len(everything) // AREA_CELLS):
            area = _area(everything, index)
            if not area[_PID]:
                continue
            _add(memoryview(total), area)
            number, found = int(area[_NUMBER]), (area[_ORDER], int(area[_PID]))
            newest[number] = max(found, newest.get(number, found))
        return Snapshot(total, {number: pid for number, (_, pid) in sorted(newest.items())})

    def _copy(self) -> bytes:
        """The memory at a moment when nothing is on its way between two areas."""
        copy = b""
        for _ in range(_TRIES):
            before = self._all[_VERSION]
            copy = self._all.tobytes()
            if not before % 2 and before == self._all[_VERSION]:
                break
            time.sleep(_PAUSE_SECS)
        return copy


class Scorekeeper:
    """The supervisor's side: makes the memory, gives out its areas, and keeps the counts of who has ended.

    `areas` is how many processes there may be at a time. Raises `OSError`.
    """

    def __init__(self, areas: int) -> None:
        size = (1 + areas) * AREA_BYTES
        self._descriptor = _nameless_file()
        # Written, not only made long: memory that is not there would kill a worker that counts, later on.
        os.pwrite(self._descriptor, bytes(size), 0)
        self._all: Cells = memoryview(mmap.mmap(self._descriptor, size)).cast("d")
        self._free = list(range(areas, 0, -1))
        self._taken: dict[int, int] = {}
        self._order = 0

    @property
    def descriptor(self) -> int:
        """What a worker must inherit."""
        return self._descriptor

    def close(self) -> None:
        """Let go of the file; who has attached to it keeps it. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def reserve(self, number: int, pid: int) -> Place | None:
        """A place for the process `pid`, as worker `number`; None if there is no area left."""
        self.release(pid)  # whoever had this id before has ended, or it would not be given out again
        if not self._free:
            return None
        index = self._free.pop()
        self._taken[pid] = index
        self._order += 1
        area = _area(self._all, index)
        area[_NUMBER], area[_ORDER] = number, self._order
        area[_PID] = pid  # last, since it is what makes the area count
        return Place(self._descriptor, index)

    def release(self, pid: int) -> None:
        """The process has ended: its counters are kept, everything else of it is forgotten. Idempotent."""
        index = self._taken.pop(pid, None)
        if index is None:
            return
        area, ended = _area(self._all, index), _area(self._all, _ENDED)
        kept = array("d", ended)
        _add(memoryview(kept), area)
        self._all[_VERSION] += 1
        ended[FIRST_COUNTER:] = memoryview(kept)[FIRST_COUNTER:]
        area[:] = memoryview(_ZEROS)
        self._all[_VERSION] += 1
        self._free.append(index)


def _area(cells: Cells, index: int) -> Cells:
    return cells[index * AREA_CELLS : (index + 1) * AREA_CELLS]


def _add(total: Cells, area: Cells) -> None:
    """Add the cells of `area` to `total`. Most are zero, like those near them, so whole stretches are passed over."""
    for first in range(0, AREA_CELLS, _STRETCH_CELLS):
        stretch = area[first : first + _STRETCH_CELLS].tobytes()
        if stretch != _NOTHING:
            counted = array("d", stretch)
            for index, value in enumerate(counted, first):
                total[index] += value


def _nameless_file() -> int:
    """A file that is gone with the last process that has it; in memory where the system offers that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("perdure-scoreboard")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
