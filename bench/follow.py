"""From an append's call to a follower that has the record, in one process and across two; and idling."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from perdure import S2, AppendRecord, Stream, TailOffset

from .children import Child, Door
from .measure import Samples
from .payload import KIB, number_of, numbered
from .scenario import Row, Run, alone, at_most, check

BASIN = "bench-follow"
GAP_SECONDS = (0.001, 0.005)
"""Between two appends: long enough for everybody to have gone to sleep."""

WARM_UP = 50
BUSY_RATE = 200
"""Appends a second to other streams, while the follower of a silent one is looked at."""


async def _send(stream: Stream, count: int) -> Samples:
    """Append records that begin with the time of their sending; gives how long the appends took."""
    samples = Samples()
    for _ in range(count):
        await asyncio.sleep(random.uniform(*GAP_SECONDS))
        with samples.timed():
            await stream.append([AppendRecord(numbered(time.perf_counter_ns(), KIB))])
    return samples


async def _receive(stream: Stream, count: int, caught_up: asyncio.Event | None = None) -> list[float]:
    """How old each of `count` records is on arrival. The clock is one for all processes of a machine."""
    delays: list[float] = []
    async with stream.read_session(TailOffset(0)) as records:
        await records.caught_up()
        if caught_up is not None:
            caught_up.set()
        async for record in records:
            delays.append((time.perf_counter_ns() - number_of(record.body)) / 1e9)
            if len(delays) == count:
                break
    return delays


async def _in_process(run: Run, store: Path) -> Row:
    count = run.pick(1500, 300)
    run.progress(f"in one process: {count} records")
    async with S2.open(store) as s2:
        stream = (await s2.basins.ensure(BASIN, create_stream_on_append=True)).stream("inside")
        await stream.append([AppendRecord("first")])
        caught_up = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(_receive(stream, WARM_UP + count, caught_up))
            await caught_up.wait()
            await _send(stream, WARM_UP)
            appends = await _send(stream, count)
    delays = Samples(receiving.result()[WARM_UP:])
    check(len(delays) == count, "a record was not followed")
    return Row(
        "following in the same process, p50",
        delays.p50_ms,
        "ms",
        at_most(1),
        f"p99 {delays.p99_ms:.2f} ms, from the call of append; the append itself p50 {appends.p50_ms:.2f} ms, "
        f"p99 {appends.p99_ms:.2f} ms",
    )


async def _receive_in_child(door: Door, store: Path, count: int) -> list[float]:
    async with S2.open(store) as s2:
        caught_up = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(_receive(s2.basin(BASIN).stream("across"), count, caught_up))
            await caught_up.wait()
            await asyncio.sleep(0.2)  # its process has started to listen to others
            door.ready()
    return receiving.result()


def receive(door: Door, store: Path, count: int) -> list[float]:
    return asyncio.run(_receive_in_child(door, store, count))


async def _across_processes(run: Run, store: Path) -> Row:
    count = run.pick(1500, 300)
    run.progress(f"across processes: {count} records")
    async with S2.open(store) as s2:
        stream = (await s2.basins.ensure(BASIN, create_stream_on_append=True)).stream("across")
        await stream.append([AppendRecord("first")])
        child = Child(receive, store, WARM_UP + count)
        try:
            await asyncio.to_thread(child.wait_ready)
            await _send(stream, WARM_UP)
            appends = await _send(stream, count)
            delays = Samples((await asyncio.to_thread(child.result))[WARM_UP:])
        finally:
            child.end()
    check(len(delays) == count, "a record was not followed")
    return Row(
        "following across processes, p50",
        delays.p50_ms,
        "ms",
        at_most(3),
        f"p99 {delays.p99_ms:.2f} ms, from the call of append; the append itself p50 {appends.p50_ms:.2f} ms, "
        f"p99 {appends.p99_ms:.2f} ms",
    )


async def _idle(door: Door, store: Path, seconds: float) -> float:
    async with S2.open(store) as s2, s2.basin(BASIN).stream("silent").read_session(TailOffset(0)) as records:
        await records.caught_up()

        async def follow() -> None:
            async for _ in records:
                check(False, "the silent stream got a record")

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.5)
        door.ready()
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
        following.cancel()
        await asyncio.wait([following])
    return share


def idle(door: Door, store: Path, seconds: float) -> float:
    return asyncio.run(_idle(door, store, seconds))


async def _idling(run: Run, store: Path) -> Row:
    seconds = run.pick(10, 3)
    async with S2.open(store) as s2:
        basin = await s2.basins.ensure(BASIN, create_stream_on_append=True)
        await basin.stream("silent").append([AppendRecord("first")])
        run.progress(f"a follower with nothing to do: {seconds} s")
        child = Child(idle, store, float(seconds))
        try:
            await asyncio.to_thread(child.wait_ready)
            silent = await asyncio.to_thread(child.result)
        finally:
            child.end()
        run.progress(f"a follower while others write elsewhere: {seconds} s")
        child = Child(idle, store, float(seconds))
        try:
            await asyncio.to_thread(child.wait_ready)
            waiting = asyncio.create_task(asyncio.to_thread(child.result))
            while not waiting.done():
                await basin.stream("other").append([AppendRecord(numbered(0, KIB))])
                await asyncio.sleep(1 / BUSY_RATE)
            busy = await waiting
        finally:
            child.end()
    return Row(
        "CPU of an idle process that follows",
        silent * 100,
        "% of a core",
        at_most(1),
        f"{busy * 100:.1f} % while another process appends to other streams, about {BUSY_RATE} times a second",
    )


async def run(run: Run) -> list[Row]:
    store = run.store()
    return [await _in_process(run, store), await _across_processes(run, store), await _idling(run, store)]


if __name__ == "__main__":
    alone(run)
