"""Many small batches at once: 200 streams, then one stream pipelined, then a producer on it."""

from __future__ import annotations

import asyncio
import time

from perdure import S2, AppendRecord, Basin, SeqNum, Stream

from .baselines import Fdatasync, SqliteCommit
from .measure import Rates, Samples, Usage
from .payload import KIB, is_numbered, numbered
from .scenario import Row, Run, alone, at_least, check

STREAMS = 200


async def _append_in_turn(stream: Stream, first: int, count: int, samples: Samples) -> None:
    for number in range(first, first + count):
        body = numbered(number, KIB)
        with samples.timed():
            await stream.append([AppendRecord(body)])


async def _check_records(stream: Stream, count: int) -> None:
    number = 0
    async with stream.read_session(SeqNum(0), wait=0) as records:
        async for record in records:
            check(is_numbered(record.body, number, KIB), f"{stream.name}: record {number} is another")
            number += 1
    check(number == count, f"{stream.name}: {count} records were acknowledged, {number} are there")


async def _many_streams(run: Run, basin: Basin) -> Row:
    rounds, each = run.pick(7, 2), run.pick(150, 50)
    streams = [basin.stream(f"stream-{number}") for number in range(STREAMS)]
    await asyncio.gather(*(_append_in_turn(stream, 0, 5, Samples()) for stream in streams))
    sent, samples, rates, usage = 5, Samples(), Rates(), Usage()
    with Fdatasync(run.directory, KIB) as sync, SqliteCommit(run.directory, KIB) as sqlite:
        for number in range(rounds):
            run.progress(f"{STREAMS} streams: round {number + 1} of {rounds}")
            sync.many(200)
            sqlite.many(200)
            usage.resume()
            started = time.perf_counter()
            await asyncio.gather(*(_append_in_turn(stream, sent, each, samples) for stream in streams))
            rates.add(STREAMS * each / (time.perf_counter() - started))
            usage.stop()
            sent += each
    for stream in streams:
        await _check_records(stream, sent)
    return Row(
        f"appends of 1 KB on {STREAMS} streams at once",
        rates.median,
        "batches/s",
        at_least(30_000),
        f"{rates.spread()}; p50 {samples.p50_ms:.1f} ms, p99 {samples.p99_ms:.1f} ms; "
        f"{usage.micros_per(len(samples)):.1f} µs of CPU and "
        f"{usage.written_kb_per(len(samples)):.1f} KB to disk a batch; {usage.describe()}; "
        f"one at a time: fdatasync {1e3 / sync.samples.p50_ms:,.0f}/s, SQLite {1e3 / sqlite.samples.p50_ms:,.0f}/s",
    )


async def _pipelined(run: Run, stream: Stream) -> Row:
    rounds, each = run.pick(5, 2), run.pick(30_000, 5_000)
    sent, rates, usage = 0, Rates(), Usage()
    for number in range(rounds + 1):
        warm_up = number == 0
        count = each // 5 if warm_up else each
        run.progress(f"one stream, pipelined: round {number} of {rounds}")
        usage.resume()
        started = time.perf_counter()
        async with stream.append_session() as session:
            for _ in range(count):
                _ = await session.submit([AppendRecord(numbered(sent, KIB))])
                sent += 1
        if not warm_up:
            rates.add(count / (time.perf_counter() - started))
            usage.stop()
    await _check_records(stream, sent)
    return Row(
        "batches of 1 KB pipelined on one stream",
        rates.median,
        "batches/s",
        notes=f"{rates.spread()}; {usage.micros_per(rounds * each):.1f} µs of CPU a batch; {usage.describe()}",
    )


async def _producer(run: Run, stream: Stream) -> Row:
    rounds, each = run.pick(5, 2), run.pick(50_000, 10_000)
    sent, rates, usage = 0, Rates(), Usage()
    for number in range(rounds + 1):
        warm_up = number == 0
        count = each // 5 if warm_up else each
        run.progress(f"producer: round {number} of {rounds}")
        usage.resume()
        started = time.perf_counter()
        async with stream.producer() as producer:
            for _ in range(count):
                _ = await producer.submit(AppendRecord(numbered(sent, KIB)))
                sent += 1
        if not warm_up:
            rates.add(count / (time.perf_counter() - started))
            usage.stop()
    await _check_records(stream, sent)
    return Row(
        "records of 1 KB through a producer",
        rates.median,
        "records/s",
        notes=f"{rates.spread()}; {usage.micros_per(rounds * each):.1f} µs of CPU a record; {usage.describe()}",
    )


async def run(run: Run) -> list[Row]:
    async with S2.open(run.store()) as s2:
        basin = await s2.basins.ensure("bench-streams", create_stream_on_append=True)
        return [
            await _many_streams(run, basin),
            await _pipelined(run, basin.stream("pipelined")),
            await _producer(run, basin.stream("produced")),
        ]


if __name__ == "__main__":
    alone(run)
