"""The PostgreSQL engine in this process, on a server of the run's own that syncs: one node, without a standby.

`BENCH_POSTGRES` may name another server to measure, such as a cluster with synchronous standbys: the URL of an empty
database.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from perdure import S2, AppendRecord, Basin, SeqNum, Stream, TailOffset
from perdure.store.postgres import PostgresEngine
from perdure.store.postgres.connection import connect
from tools.cluster.postgres import postgres_server

from .measure import Rates, Samples, Usage
from .payload import KIB, LARGEST_BODY, MIB, is_numbered, number_of, numbered
from .scenario import Row, Run, alone, at_least, at_most, check

URL_VARIABLE = "BENCH_POSTGRES"
BASIN = "bench-replicated"
STREAMS = 200
SMALL_BODY = 10 * KIB
SMALL_BATCH = 100

_MANY_STREAMS = """
WITH made AS (
    INSERT INTO stream (basin_id, name, created_at, cipher, config)
    SELECT basin_id, ('many/' || lpad(n::text, 9, '0'))::bytea, now(), cipher, config
    FROM stream, generate_series($1::int, $2::int) AS n WHERE name = 'pattern' RETURNING stream_id
)
INSERT INTO stream_state SELECT stream_id, 0, false, 0, 0, '', 0, 0, 0, NULL, 0 FROM made
"""


@contextmanager
def database() -> Iterator[str]:
    """The URL of the database to measure."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        yield given
        return
    with postgres_server(fsync=True, settings={"shared_buffers": "256MB", "max_wal_size": "4GB"}) as server:
        yield server.url()


async def _lone_append(run: Run, stream: Stream) -> Row:
    samples, count = Samples(), run.pick(2000, 300)
    for number in range(count):
        with samples.timed():
            await stream.append([AppendRecord(numbered(number, KIB))])
    return Row(
        "append of 1 KB, lone, p50",
        samples.p50_ms,
        "ms",
        at_most(2),
        f"p99 {samples.p99_ms:.2f} ms, {count} in turn",
    )


async def _append_in_turn(stream: Stream, first: int, count: int, samples: Samples) -> None:
    for number in range(first, first + count):
        body = numbered(number, KIB)
        with samples.timed():
            await stream.append([AppendRecord(body)])


async def _many_at_once(run: Run, basin: Basin) -> Row:
    rounds, each = run.pick(5, 2), run.pick(100, 30)
    streams = [basin.stream(f"stream-{number}") for number in range(STREAMS)]
    await asyncio.gather(*(_append_in_turn(stream, 0, 5, Samples()) for stream in streams))
    sent, samples, rates, usage = 5, Samples(), Rates(), Usage()
    for number in range(rounds):
        run.progress(f"{STREAMS} streams: round {number + 1} of {rounds}")
        usage.resume()
        started = time.perf_counter()
        await asyncio.gather(*(_append_in_turn(stream, sent, each, samples) for stream in streams))
        rates.add(STREAMS * each / (time.perf_counter() - started))
        usage.stop()
        sent += each
    for stream in streams[:: STREAMS // 10]:
        async with stream.read_session(SeqNum(0), wait=0) as records:
            found = [record async for record in records]
        check(len(found) == sent, f"{stream.name}: {sent} records were acknowledged, {len(found)} are there")
        check(all(is_numbered(r.body, n, KIB) for n, r in enumerate(found)), f"{stream.name}: a record is another")
    return Row(
        f"appends of 1 KB on {STREAMS} streams at once",
        rates.median,
        "batches/s",
        at_least(10_000),
        f"{rates.spread()}; p50 {samples.p50_ms:.1f} ms, p99 {samples.p99_ms:.1f} ms; "
        f"{usage.micros_per(len(samples)):.1f} µs of CPU a batch here; {usage.describe()}",
    )


async def _follow(run: Run, url: str, stream: Stream) -> Row:
    """From the call of an append at one engine to a follower at another."""
    count, delays = run.pick(500, 100), Samples()
    await stream.append([AppendRecord("first")])
    async with S2.open(url) as elsewhere:
        here = elsewhere.basin(BASIN).stream(stream.name)
        async with here.read_session(TailOffset(0)) as records:
            await records.caught_up()
            await asyncio.sleep(0.3)  # it has begun to listen to others
            for _ in range(count):
                await asyncio.sleep(random.uniform(0.001, 0.005))
                appending = asyncio.create_task(stream.append([AppendRecord(numbered(time.perf_counter_ns(), KIB))]))
                record = await anext(records)
                delays.add((time.perf_counter_ns() - number_of(record.body)) / 1e9)
                await appending
    return Row(
        "following an append of another server, p50", delays.p50_ms, "ms", at_most(5), f"p99 {delays.p99_ms:.2f}"
    )


async def _read_back(run: Run, stream: Stream, records_each: int, size: int) -> Row:
    batches = run.pick(256, 48)
    async with stream.append_session() as session:
        for batch in range(batches):
            first = batch * records_each
            _ = await session.submit([AppendRecord(numbered(first + n, size)) for n in range(records_each)])
    rates, usage = Rates(), Usage()
    for number in range(run.pick(6, 3)):
        count, started = 0, time.perf_counter()
        if number:
            usage.resume()
        async with stream.read_session(SeqNum(0), wait=0) as records:
            async for record in records:
                check(number_of(record.body) == count, f"{stream.name}: record {count} is another")
                count += 1
        check(count == batches * records_each, f"{stream.name}: records are missing")
        if number:  # the first fills caches
            rates.add(count * size / MIB / (time.perf_counter() - started))
            usage.stop()
    return Row(
        f"reading back 1 MiB batches of {records_each} record{'s' * (records_each > 1)}",
        rates.median,
        "MiB/s",
        at_least(300),
        f"{rates.spread()}; {usage.describe()}",
    )


async def _catalogue(run: Run, url: str, basin: Basin) -> list[Row]:
    count, step = run.pick(1_000_000, 50_000), 50_000
    await basin.streams.create("pattern")
    connection = await connect(url)
    try:
        for first in range(0, count, step):
            run.progress(f"{count} streams: {first} are there")
            await connection.fetch(_MANY_STREAMS, first, first + step - 1, seconds=120)
        await connection.execute("ANALYZE")
    finally:
        await connection.aclose()
    pages, states = Samples(), Samples()
    for _ in range(run.pick(200, 50)):
        name = f"many/{random.randrange(count):09}"
        with pages.timed():
            page = await basin.streams.list(prefix="many/", start_after=name)
        check(all(info.name > name for info in page.items), "a page begins where it should not")
        stream = basin.stream(f"many/{random.randrange(count):09}")
        await stream.check_tail()
        with states.timed():
            await stream.check_tail()
    return [
        Row(
            f"a page of a catalogue of {count:,} streams, p50",
            pages.p50_ms,
            "ms",
            at_most(20),
            f"p99 {pages.p99_ms:.1f}",
        ),
        Row("the state of one of them, p50", states.p50_ms, "ms", at_most(2), f"p99 {states.p99_ms:.1f}"),
    ]


async def run(run: Run) -> list[Row]:
    with database() as url:
        engine = await PostgresEngine.open(url)
        run.progress(engine.durability.describe())
        await engine.aclose()
        async with S2.open(url) as s2:
            basin = await s2.basins.ensure(BASIN, create_stream_on_append=True)
            return [
                await _lone_append(run, basin.stream("lone")),
                await _many_at_once(run, basin),
                await _follow(run, url, basin.stream("followed")),
                await _read_back(run, basin.stream("large"), 1, LARGEST_BODY),
                await _read_back(run, basin.stream("small"), SMALL_BATCH, SMALL_BODY),
                *await _catalogue(run, url, basin),
            ]


if __name__ == "__main__":
    alone(run)
