"""Batches of 1 MiB one after the other, as one record and as a thousand, against the disk's own rate.

The store and the bare disk take turns over more than 2 GiB, so the store copies its log into the database
many times meanwhile. Rented disks let a burst through after every rest, and the store still copies when
its turn is over: therefore nobody rests, and the first part of every turn does not count.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from perdure import S2, AppendRecord, SeqNum, Stream

from .baselines import Fdatasync
from .measure import Rates, Samples, Usage
from .payload import KIB, LARGEST_BODY, MIB, is_numbered, numbered
from .scenario import Limit, Row, Run, alone, at_least, at_most, check

BANDWIDTH_SHARE = 0.6
SMALL_BODY = KIB + 16
BURST_MIB = 1024
"""Written before anything is measured: rented disks allow so much, and more, at several times their lasting rate."""

UNCOUNTED = 64
"""Batches at the start of each turn, as much as the log may hold."""


def one_record(first: int) -> list[AppendRecord]:
    return [AppendRecord(numbered(first, LARGEST_BODY))]


def thousand_records(first: int) -> list[AppendRecord]:
    return [AppendRecord(numbered(number, SMALL_BODY)) for number in range(first, first + 1000)]


async def _check_records(stream: Stream, count: int, size: int) -> None:
    number = 0
    async with stream.read_session(SeqNum(0), wait=0) as records:
        async for record in records:
            check(is_numbered(record.body, number, size), f"{stream.name}: record {number} is another")
            number += 1
    check(number == count, f"{stream.name}: {count} records were acknowledged, {number} are there")


class Turns:
    """The store and the bare disk in turns, and what each of them reached in MB/s."""

    def __init__(self, run: Run, sync: Fdatasync, what: str) -> None:
        self._run = run
        self._sync = sync
        self._what = what
        self._rounds, self.batches = run.pick(9, 2), run.pick(256, 64)
        self.store, self.disk, self.shares, self.usage = Rates(), Rates(), Rates(), Usage()

    async def take(self, append: Callable[[int], Awaitable[None]]) -> None:
        """`append` makes so many batches durable."""
        for number in range(self._rounds):
            self._run.progress(f"1 MiB batches, {self._what}: round {number + 1} of {self._rounds}")
            self._sync.many(UNCOUNTED)
            disk = self._sync.many(self.batches) / 1e6
            await append(UNCOUNTED)
            self.usage.resume()
            started = time.perf_counter()
            await append(self.batches)
            store = self.batches * MIB / (time.perf_counter() - started) / 1e6
            self.usage.stop()
            self.disk.add(disk)
            self.store.add(store)
            self.shares.add(store / disk)

    def rows(self, limit: Limit | None = None) -> list[Row]:
        """The rate, and its share of the bare disk's: of each pair of turns, since disks change their minds."""
        milliseconds = self.usage.micros_per(self._rounds * self.batches) / 1e3
        return [
            Row(
                f"1 MiB batches, {self._what}",
                self.store.median,
                "MB/s",
                notes=f"{self.store.spread()}; fdatasync of 1 MiB {self.disk.median:,.0f} MB/s ({self.disk.spread()}); "
                f"{milliseconds:.1f} ms of CPU a batch; {self.usage.describe()}",
            ),
            Row(
                f"1 MiB batches, {self._what}, share",
                self.shares.median,
                "× fdatasync",
                limit,
                f"{self.shares.lowest:.2f} at least; the median of {self._rounds} pairs of turns",
            ),
        ]


async def _one_by_one(
    run: Run, stream: Stream, sync: Fdatasync, what: str, make: Callable[[int], list[AppendRecord]]
) -> list[Row]:
    turns, samples, sent = Turns(run, sync, what), Samples(), 0

    async def append(batches: int) -> None:
        nonlocal sent
        for _ in range(batches):
            batch = make(sent)
            with samples.timed():
                await stream.append(batch)
            sent += len(batch)

    sync.samples = Samples()
    await turns.take(append)
    await _check_records(stream, sent, len(make(0)[0].body))
    return [
        *turns.rows(at_least(BANDWIDTH_SHARE)),
        Row(
            f"1 MiB batches, {what}, p99",
            samples.p99_ms,
            "ms",
            at_most(25),
            f"p50 {samples.p50_ms:.1f} ms, longest of {len(samples):,} {samples.max_ms:.0f} ms; fdatasync of 1 MiB p50 "
            f"{sync.samples.p50_ms:.1f} ms, p99 {sync.samples.p99_ms:.1f} ms",
        ),
    ]


async def _pipelined(run: Run, stream: Stream, sync: Fdatasync) -> list[Row]:
    turns, sent = Turns(run, sync, "one record, pipelined"), 0

    async def append(batches: int) -> None:
        nonlocal sent
        async with stream.append_session() as session:
            for _ in range(batches):
                _ = await session.submit(one_record(sent))
                sent += 1

    await turns.take(append)
    await _check_records(stream, sent, LARGEST_BODY)
    return turns.rows()


async def run(run: Run) -> list[Row]:
    async with S2.open(run.store()) as s2:
        basin = await s2.basins.ensure("bench-large", create_stream_on_append=True)
        with Fdatasync(run.directory, MIB) as sync:
            run.progress("using up what the disk lets through in a burst")
            sync.many(run.pick(BURST_MIB, BURST_MIB // 4))
            return [
                *await _one_by_one(run, basin.stream("one"), sync, "one record", one_record),
                *await _one_by_one(run, basin.stream("thousand"), sync, "1,000 records", thousand_records),
                *await _pipelined(run, basin.stream("pipelined"), sync),
            ]


if __name__ == "__main__":
    alone(run)
