"""Four processes that write to one store at once: does each get its share, and how long does it wait?"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from perdure import S2, AppendRecord, SeqNum, Stream

from .children import Child, Door
from .measure import Rates, Samples
from .payload import KIB, is_numbered, numbered
from .scenario import Row, Run, alone, at_least, at_most, check

BASIN = "bench-writers"
PROCESSES = 4
WARM_UP = 20


@dataclass(frozen=True)
class Written:
    """What one process did: how long each append took, by stream how many records, and its CPU seconds."""

    durations: list[float]
    counts: dict[str, int]
    cpu: float


async def _append_until(stream: Stream, deadline: float, samples: Samples) -> int:
    for number in range(WARM_UP):
        await stream.append([AppendRecord(numbered(number, KIB))])
    count = WARM_UP
    while time.perf_counter() < deadline:
        body = numbered(count, KIB)
        with samples.timed():
            await stream.append([AppendRecord(body)])
        count += 1
    return count


async def _write(door: Door, store: Path, process: int, at_once: int, seconds: float) -> Written:
    async with S2.open(store) as s2:
        basin = s2.basin(BASIN)
        streams = [basin.stream(f"{process}-{number}") for number in range(at_once)]
        await asyncio.gather(*(_append_until(stream, 0, Samples()) for stream in streams))
        door.ready()
        door.wait()
        samples, cpu = Samples(), time.process_time()
        deadline = time.perf_counter() + seconds
        counts = await asyncio.gather(*(_append_until(stream, deadline, samples) for stream in streams))
        cpu = time.process_time() - cpu
        # Streams were warmed up twice: before the start, and inside, where everybody is at work already.
        return Written(samples.values(), {s.name: n for s, n in zip(streams, counts, strict=True)}, cpu)


def write(door: Door, store: Path, process: int, at_once: int, seconds: float) -> Written:
    return asyncio.run(_write(door, store, process, at_once, seconds))


async def _check_records(store: Path, written: list[Written]) -> None:
    async with S2.open(store) as s2:
        basin = s2.basin(BASIN)
        for name, count in (item for result in written for item in result.counts.items()):
            number = 0
            async with basin.stream(name).read_session(SeqNum(WARM_UP), wait=0) as records:
                async for record in records:
                    check(is_numbered(record.body, number, KIB), f"{name}: record {number} is another")
                    number += 1
            check(number == count, f"{name}: {count} records were acknowledged, {number} are there")


async def _together(run: Run, processes: int, at_once: int, seconds: float) -> list[Written]:
    store = run.store()
    async with S2.open(store) as s2:
        await s2.basins.ensure(BASIN, create_stream_on_append=True)
    children = [Child(write, store, number, at_once, seconds) for number in range(processes)]
    try:
        for child in children:
            child.wait_ready()
        for child in children:
            child.call()
        written = [child.result() for child in children]
    finally:
        for child in children:
            child.end()
    await _check_records(store, written)
    return written


async def _measure(run: Run, at_once: int) -> list[Row]:
    rounds, seconds = run.pick(3, 1), run.pick(5, 2)
    samples, shares, rates, alone_rates, cpu = Samples(), Rates(), Rates(), Rates(), 0.0
    for number in range(rounds):
        run.progress(f"{PROCESSES} processes, {at_once} appends at once each: round {number + 1} of {rounds}")
        (single,) = await _together(run, 1, at_once, seconds / 2)
        alone_rates.add(len(single.durations) / (seconds / 2))
        written = await _together(run, PROCESSES, at_once, seconds)
        counts = [len(result.durations) for result in written]
        shares.add(min(counts) / (sum(counts) / PROCESSES))
        rates.add(sum(counts) / seconds)
        cpu += sum(result.cpu for result in written)
        for result in written:
            samples.extend(result.durations)
    how = "one append at a time" if at_once == 1 else f"{at_once} appends at a time"
    return [
        Row(
            f"{PROCESSES} processes, {how}: least share",
            shares.lowest,
            "of fair",
            at_least(0.5),
            f"the lowest of {rounds} runs",
        ),
        Row(
            f"{PROCESSES} processes, {how}: p99",
            samples.p99_ms,
            "ms",
            at_most(20),
            f"p50 {samples.p50_ms:.2f} ms, longest {samples.max_ms:.0f} ms",
        ),
        Row(
            f"{PROCESSES} processes, {how}: together",
            rates.median,
            "batches/s",
            notes=f"{rates.spread()}; one process alone {alone_rates.median:,.0f}/s; {cpu / len(samples) * 1e6:.0f} µs "
            f"of CPU a batch, {cpu / rounds / seconds:.2f} of {os.cpu_count()} cores",
        ),
    ]


async def run(run: Run) -> list[Row]:
    return [*await _measure(run, 1), *await _measure(run, 50)]


if __name__ == "__main__":
    alone(run)
