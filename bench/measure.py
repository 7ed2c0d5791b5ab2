"""Samples of a duration, and where the CPU time went."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CPU_TICKS = os.sysconf("SC_CLK_TCK")
_THREADS = {
    "MainThread": "event loop",
    "perdure-writer": "writer",
    "perdure-checkpoint": "checkpoint",
    "perdure-watcher": "watcher",
}


class Samples:
    """Durations in seconds."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = list(values)
        self.add = self._values.append
        self.clear = self._values.clear

    def __len__(self) -> int:
        return len(self._values)

    def extend(self, values: Iterable[float]) -> None:
        self._values.extend(values)

    def values(self) -> list[float]:
        return self._values

    def quantile(self, fraction: float) -> float:
        """The smallest sample that at least `fraction` of all do not exceed."""
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]

    @property
    def p50_ms(self) -> float:
        return self.quantile(0.5) * 1e3

    @property
    def p99_ms(self) -> float:
        return self.quantile(0.99) * 1e3

    @property
    def max_ms(self) -> float:
        return max(self._values) * 1e3

    @property
    def total(self) -> float:
        return sum(self._values)

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.add(time.perf_counter() - started)


class Rates:
    """One number per repeated run: the median counts, the extremes show the noise."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self.add = self._values.append

    @property
    def median(self) -> float:
        return statistics.median(self._values)

    @property
    def lowest(self) -> float:
        return min(self._values)

    def spread(self) -> str:
        return f"{len(self._values)} runs, {min(self._values):,.0f} to {max(self._values):,.0f}"


class Usage:
    """CPU time of this process, of its threads and of the machine, and what went to disk, from here to `stop`."""

    def __init__(self) -> None:
        self.wall = self.cpu = self.machine_busy = 0.0
        self.written_bytes = 0
        self.threads: dict[str, float] = {}
        self.resume()

    def resume(self) -> None:
        """Count on from here; what passed since `stop` does not count."""
        self._written = _written_bytes()
        self._at = (time.perf_counter(), time.process_time(), _thread_seconds(), _machine_busy_seconds())

    def stop(self) -> Usage:
        wall, cpu, threads, busy = self._at
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        self.machine_busy += _machine_busy_seconds() - busy
        self.written_bytes += _written_bytes() - self._written
        for name, seconds in _thread_seconds().items():
            self.threads[name] = self.threads.get(name, 0.0) + seconds - threads.get(name, 0.0)
        return self

    def micros_per(self, units: int) -> float:
        return self.cpu / units * 1e6

    def written_kb_per(self, units: int) -> float:
        """What this process caused to be written to disk; 0 where the system does not tell."""
        return self.written_bytes / units / 1e3

    def describe(self) -> str:
        """Cores in use, by thread, and what other programs used meanwhile."""
        text = f"{self.cpu / self.wall:.2f} cores"
        busiest = sorted(self.threads.items(), key=lambda item: -item[1])
        parts = [f"{name} {seconds / self.wall:.2f}" for name, seconds in busiest if seconds >= 0.05 * self.wall]
        if parts:
            text += f" ({', '.join(parts)})"
        others = (self.machine_busy - self.cpu) / self.wall
        if self.machine_busy and others >= 0.1:
            text += f", others {others:.2f}"
        return text


def _thread_seconds() -> dict[str, float]:
    """CPU seconds by the role of the thread; empty where the system does not tell."""
    seconds: dict[str, float] = {}
    for thread in threading.enumerate():
        try:
            ran = int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
        except (OSError, IndexError, ValueError):
            continue
        role = _THREADS.get(thread.name, "readers" if thread.name.startswith("perdure-reader") else "other threads")
        seconds[role] = seconds.get(role, 0.0) + ran / 1e9
    return seconds


def _written_bytes() -> int:
    """Bytes that this process caused to be written to disk; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("write_bytes")), 0)


def _machine_busy_seconds() -> float:
    """CPU seconds that anybody used, on all cores; 0 where the system does not tell."""
    try:
        with open("/proc/stat") as stat:
            user, nice, system, _, _, irq, softirq, *_ = map(int, stat.readline().split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + irq + softirq) / _CPU_TICKS


def resident_bytes() -> int:
    """What this process holds in memory now, after giving back what it can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps freed memory otherwise
    if trim is not None:
        trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def reset_peak() -> None:
    """Let `peak_resident_bytes` begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_resident_bytes() -> int:
    """The most that this process has held in memory since `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
