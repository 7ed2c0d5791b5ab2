"""The event loop and the HTTP server's threads of a worker, kept together on one CPU.

They pass every request back and forth, and only one thread at a time can run Python. Left to itself, the system wakes
each of them on whichever CPU is idle, so every request crosses between CPUs several times. Appends of 1 KB, each a
request, on 64 connections took 120 to 150 µs of CPU that way and take 80 to 85 on one CPU, and a worker answers a third
more of them. What is lost is that the HTTP server sends on one CPU while Python runs on another: a single worker hands
out large batches at a third to two thirds of the rate. So it is for the operator to choose.

The threads of the store stay free: most of what they do is for the disk and needs no turn at Python. They are started
before, and what starts later inherits the CPU of who starts it.

Who else runs on that CPU is not ours to say, so it is looked at now and then, and left when another one is less busy.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

logger: Final = logging.getLogger("perdure.server")

LOOK_SECS: Final = 1.0
"""How often it is looked at how busy the CPUs are."""

MOVE_MARGIN: Final = 0.3
"""By how much of its time another CPU must be less busy than home is with others: a move leaves warm caches behind."""

MOVE_CHANCE: Final = 0.5
"""Several workers that look at the same time shall not all move to the same CPU."""

_PROC: Final = Path("/proc")
_IDLE_FIELDS: Final = (3, 4)
"""Among a CPU's counters in `/proc/stat`: idle, and idle while waiting for a disk."""
_OWN_FIELDS: Final = (11, 12)
"""Behind the name in `/proc/PID/task/TID/stat`: time used in user and in system mode."""


class CpuTimes(Struct, frozen=True):
    """Clock ticks since the system started: of each CPU in all and busy, and those that our threads at home used."""

    total: dict[int, int]
    busy: dict[int, int]
    ours: int


def next_home(home: int, allowed: frozenset[int], before: CpuTimes, now: CpuTimes) -> int:
    """Where to be from now on, by what has happened between two looks."""
    shares: dict[int, float] = {}
    for cpu in sorted(allowed):
        total = now.total.get(cpu, 0) - before.total.get(cpu, 0)
        busy = now.busy.get(cpu, 0) - before.busy.get(cpu, 0)
        if cpu == home:
            busy -= now.ours - before.ours
        if total > 0:
            shares[cpu] = max(busy, 0) / total
    if home not in shares:
        return home
    best = min(shares, key=shares.__getitem__)
    return best if shares[home] - shares[best] >= MOVE_MARGIN else home


class HomeCpu:
    """The CPU of the calling thread and of all that it starts from now on; made by `settle`."""

    def __init__(self, home: int, allowed: frozenset[int]) -> None:
        self.home: int = home
        self._allowed = allowed
        self._seen: CpuTimes | None = None

    @classmethod
    def settle(cls, preferred: int) -> HomeCpu | None:
        """Stay on one of the CPUs that this process may use, by its number among them, counted round.

        None where that makes no difference or is not to be had: with a single CPU, or on a system that cannot do it or
        forbids it.
        """
        if not hasattr(os, "sched_setaffinity"):
            return None
        try:
            allowed = sorted(os.sched_getaffinity(0))
            if len(allowed) < 2:
                return None
            home = allowed[preferred % len(allowed)]
            os.sched_setaffinity(0, {home})
        except OSError as exc:
            logger.debug("the system keeps no thread on one CPU: %s", exc)
            return None
        return cls(home, frozenset(allowed))

    async def keep(self) -> None:
        """Move when others need the CPU; runs until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECS)
            try:
                self.look()
            except (OSError, ValueError, IndexError) as exc:
                logger.debug("how busy the CPUs are cannot be seen: %s", exc)

    def look(self) -> None:
        """See how busy the CPUs have been since the last look, and move if another one is better. Raises `OSError`."""
        before, now = self._seen, _times(self._at_home())
        self._seen = now
        if before is None:
            return
        wanted = next_home(self.home, self._allowed, before, now)
        if wanted != self.home and random.random() < MOVE_CHANCE:
            self.move(wanted)

    def move(self, cpu: int) -> None:
        """Take all threads that are kept on a CPU to another one. Raises `OSError`."""
        threads = self._at_home()
        self.home, self._seen = cpu, None
        for thread in threads:
            try:
                os.sched_setaffinity(thread, {cpu})
            except ProcessLookupError:
                continue  # it has ended

    def _at_home(self) -> list[int]:
        """The threads that are kept on one CPU: home, or the one before for a thread that began during a move."""
        found: list[int] = []
        for name in os.listdir(_PROC / "self/task"):
            try:
                if len(os.sched_getaffinity(int(name))) == 1:
                    found.append(int(name))
            except ProcessLookupError:
                continue  # it has ended
        return found


def _times(threads: list[int]) -> CpuTimes:
    total: dict[int, int] = {}
    busy: dict[int, int] = {}
    for line in (_PROC / "stat").read_text().splitlines():
        name, *counters = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = list(map(int, counters[:8]))  # what follows is counted in these already
            cpu = int(name.removeprefix("cpu"))
            total[cpu] = sum(ticks)
            busy[cpu] = total[cpu] - sum(ticks[field] for field in _IDLE_FIELDS)
    return CpuTimes(total, busy, sum(map(_used, threads)))


def _used(thread: int) -> int:
    try:
        fields = (_PROC / f"self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended
    return sum(int(fields[field]) for field in _OWN_FIELDS)


@asynccontextmanager
async def at_home(preferred: int) -> AsyncIterator[None]:
    """Keep the calling thread, and what it starts inside, on one CPU: `preferred` counts as in `HomeCpu.settle`."""
    home = HomeCpu.settle(preferred)
    if home is None:
        yield
        return
    keeping = asyncio.create_task(home.keep(), name="perdure-home-cpu")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait((keeping,))
