"""Reading a stream from its start, in this process, through a read session; the data was just written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from perdure import S2, AppendRecord, SeqNum, Stream

from .append_large import SMALL_BODY, one_record, thousand_records
from .measure import Rates, Usage
from .payload import LARGEST_BODY, MIB, is_numbered, number_of
from .scenario import Row, Run, alone, at_least, check

GIB = 1024 * MIB


async def _write(run: Run, stream: Stream, batches: int, make: Callable[[int], list[AppendRecord]]) -> int:
    run.progress(f"writing {batches} MiB to {stream.name}")
    sent = 0
    async with stream.append_session() as session:
        for _ in range(batches):
            batch = make(sent)
            sent += len(batch)
            _ = await session.submit(batch)
    return sent


async def _read(stream: Stream, count: int, size: int) -> None:
    """Read everything; every number is looked at, and every hundredth body as a whole."""
    number = 0
    async with stream.read_session(SeqNum(0), wait=0) as records:
        async for record in records:
            body = record.body
            if number_of(body) != number or not (number % 100 or is_numbered(body, number, size)):
                check(False, f"{stream.name}: record {number} is another")
            number += 1
    check(number == count, f"{stream.name}: {count} records were acknowledged, {number} were read")


def _read_file(path: Path) -> float:
    """GiB/s of reading the database file itself."""
    buffer, size = bytearray(MIB), 0
    started = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            size += got
    return size / GIB / (time.perf_counter() - started)


async def _measure(run: Run, stream: Stream, file: Path, count: int, size: int) -> tuple[Rates, Rates, Usage]:
    rates, bare, usage = Rates(), Rates(), Usage()
    await _read(stream, count, size)
    for number in range(run.pick(5, 2)):
        run.progress(f"reading {stream.name}: round {number + 1}")
        bare.add(_read_file(file))
        usage.resume()
        started = time.perf_counter()
        await _read(stream, count, size)
        rates.add(count * size / GIB / (time.perf_counter() - started))
        usage.stop()
    return rates, bare, usage


async def run(run: Run) -> list[Row]:
    path = run.store()
    async with S2.open(path) as s2:
        basin = await s2.basins.ensure("bench-read", create_stream_on_append=True)
        large, small = basin.stream("large"), basin.stream("small")
        large_count = await _write(run, large, run.pick(1024, 128), one_record)
        small_count = await _write(run, small, run.pick(256, 32), thousand_records)
    # Closing has copied the log into the database: its file is what a reader would have to read at least.
    file = max(path.rglob("*"), key=lambda entry: entry.stat().st_size)
    async with S2.open(path) as s2:
        basin = s2.basin("bench-read")
        rates, bare, usage = await _measure(run, basin.stream("large"), file, large_count, LARGEST_BODY)
        rows = [
            Row(
                "reading back 1 MiB batches of one record",
                rates.median,
                "GiB/s",
                at_least(1),
                f"at least {rates.lowest:.2f}; reading the file itself {bare.median:.1f} GiB/s; {usage.describe()}",
            )
        ]
        rates, bare, usage = await _measure(run, basin.stream("small"), file, small_count, SMALL_BODY)
        rows.append(
            Row(
                "reading back 1 MiB batches of 1,000 records",
                rates.median * 1024,
                "MiB/s",
                notes=f"{rates.median * GIB / SMALL_BODY:,.0f} records/s; {usage.describe()}",
            )
        )
        return rows


if __name__ == "__main__":
    alone(run)
