"""Perdure's SDK beside the `s2-sdk` from PyPI, both over HTTP/2 against one `perdure serve`.

They take turns, A B B A, each in a process of its own; a row is the median of the ratios of its pairs, so that what
else goes on in the machine meets both. Where the server's own speed may decide, a client that costs next to nothing
takes turns as well, and the limit is not above what that one leaves room for.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from .children import Child
from .payload import MIB
from .scenario import Row, Run, alone, at_least, at_most
from .sdk_client import OURS, RAW, THEIRS, Job, Turn, Work, take_turns
from .sdk_measures import Measure, measures
from .served import Served, served

_UNIT = f"× s2-sdk {version('s2-sdk')}"
_IMPORT_MS = 150
_SHARE_OF_CEILING = 0.8
"""Of the raw client's rate: who reaches so much is held up by the server.

Acknowledgements come several at a time, and then an SDK has to make the next batches, which the raw client has made.
"""


@dataclass
class Turns:
    """What one client's turns of a measure gave."""

    values: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0
    served_cpu: float = 0.0

    def add(self, value: float, turn: Turn, served_cpu: float) -> None:
        self.values.append(value)
        self.peaks.append(turn.peak_bytes)
        self.seconds += turn.seconds
        self.cpu += turn.cpu
        self.served_cpu += served_cpu

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def describe(self, name: str, unit: str) -> str:
        shown = f"{self.median:,.0f}" if self.median >= 10 else f"{self.median:.2f}"
        return (
            f"{name} {shown} {unit} with {self.cpu / self.seconds * 100:.0f} % of a core "
            f"and {self.served_cpu / self.seconds * 100:.0f} % the server's"
        )


class Contest:
    """The clients' processes, and the server that all of them talk to."""

    def __init__(self, run: Run, server: Served, children: dict[str, Child[None]]) -> None:
        self._run, self._server, self._children = run, server, children
        self._written: set[str] = set()

    def measure(self, measure: Measure) -> list[Row]:
        self._run.progress(measure.what)
        job = measure.job
        names = [OURS, THEIRS, *([RAW] if measure.has_ceiling else [])]
        found = {name: Turns() for name in names}
        if job.reads:
            self._write_once(job)
        for number in range(self._run.pick(4, 1)):
            for name in names if number % 2 == 0 else reversed(names):
                turn, served_cpu = self._turn(name, job)
                value = job.count * measure.per / turn.seconds if measure.unit else turn.p50_ms
                found[name].add(value, turn, served_cpu)
        return [_row(measure, found), *([_memory(measure, found)] if measure.has_memory else [])]

    def _turn(self, name: str, job: Job) -> tuple[Turn, float]:
        before = self._server.cpu_seconds()
        own = job if job.reads else replace(job, stream=f"{job.stream}-{name}")
        turn = self._children[name].ask(own, Turn)
        return turn, self._server.cpu_seconds() - before

    def _write_once(self, job: Job) -> None:
        """Fill the stream that a job reads."""
        if job.stream not in self._written:
            self._written.add(job.stream)
            self._children[RAW].ask(replace(job, work=Work.APPEND_SESSION, packing="none"), Turn)


def _row(measure: Measure, found: dict[str, Turns]) -> Row:
    ours, theirs = found[OURS], found[THEIRS]
    pairs = zip(ours.values, theirs.values, strict=True)
    ratios = [mine / other if measure.unit else other / mine for mine, other in pairs]
    notes = [f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs"]
    notes += [turns.describe(name, measure.unit or "ms") for name, turns in found.items()]
    limit = at_least(measure.least)
    if measure.has_ceiling:
        room = _SHARE_OF_CEILING * found[RAW].median / theirs.median
        if room < measure.least:
            limit = at_least(room, f"{_SHARE_OF_CEILING:g} of what the server gives")
    return Row(f"SDK: {measure.what}", statistics.median(ratios), _UNIT, limit, "; ".join(notes))


def _memory(measure: Measure, found: dict[str, Turns]) -> Row:
    ours, theirs = (max(found[name].peaks) / MIB for name in (OURS, THEIRS))
    notes = f"at the most, {OURS} {ours:.0f} MiB, {THEIRS} {theirs:.0f} MiB; the row is theirs by ours"
    return Row(f"SDK: memory, {measure.what}", theirs / max(ours, 1), _UNIT, at_least(1), notes)


def _imports(run: Run) -> Row:
    """Seconds of a fresh process that imports the package, less those of one that imports nothing."""
    samples: dict[str, list[float]] = {"pass": [], "import perdure": [], "import s2_sdk": []}
    for number in range(run.pick(10, 3)):
        for code in samples if number % 2 == 0 else reversed(samples):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            samples[code].append(time.perf_counter() - started)
    nothing, ours, theirs = (statistics.median(values) * 1e3 for values in samples.values())
    ours, theirs = ours - nothing, theirs - nothing
    limit = at_most(max(theirs / 2, _IMPORT_MS), f"half of s2-sdk's {theirs:.0f} ms, or {_IMPORT_MS} ms")
    return Row("SDK: import", ours, "ms", limit, f"without the {nothing:.0f} ms of an empty process")


async def run(run: Run) -> list[Row]:
    rows = [_imports(run)]
    with ExitStack() as stack:
        server = stack.enter_context(served(run.store("sdk")))
        children: dict[str, Child[None]] = {}
        for name in (OURS, THEIRS, RAW):
            children[name] = Child(take_turns, name, server.host, server.port)
            stack.callback(children[name].end)
        contest = Contest(run, server, children)
        for measure in measures(quick=run.quick):
            rows += contest.measure(measure)
    return rows


if __name__ == "__main__":
    alone(run)
