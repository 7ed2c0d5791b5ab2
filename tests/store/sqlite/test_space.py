"""Space on disk: what is removed is used again, and the write-ahead log stays small."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from perdure.model.configs import DeleteOnEmptyConfig, InfiniteRetention, RetentionAge, StreamConfig
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.schema import WAL_KEPT_BYTES
from tests.store.clock import Clock
from tests.store.making import (
    BASIN,
    batch,
    bodies_of,
    commands,
    configure,
    delete_basin,
    delete_stream,
    eventually,
    gone,
    make_stream,
)
from tests.store.sqlite.processes import start
from tests.store.sqlite.rows import block_starts
from tests.store.sqlite.submitted import full_batch, medium_batch, row_batch
from tests.store.sqlite.workers import append_row_batches

MIB = 2**20
WAL_BOUND = 4 * WAL_KEPT_BYTES
"""Usual is little more than once; a machine that is too busy to copy gets a chance at twice and more."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path, now_ms=clock.now_ms)
    yield engine
    await engine.aclose()


def database_bytes(engine: SqliteEngine) -> int:
    """The size of the database with all its pages, whether they are in the file or still in the log."""
    connection = apsw.Connection(os.path.join(engine.path, "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.pragma("page_count") * connection.pragma("page_size"))
    finally:
        connection.close()


def log_bytes(path: str) -> int:
    return os.stat(os.path.join(path, "streams.db-wal")).st_size


async def swept_below(engine: SqliteEngine, stream: StreamId, seq_num: int) -> bool:
    starts = block_starts(Path(engine.path), stream)
    return not starts or starts[0] >= seq_num


class TestFreedSpace:
    async def test_appending_and_trimming_takes_no_more_and_no_more(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        sizes = []
        for _ in range(8):
            acks = [await engine.append(stream, batch("x" * 50_000)) for _ in range(60)]
            point = acks[-1].end.seq_num
            await engine.append(stream, commands(AppendRecord.trim(point)))
            await eventually(partial(swept_below, engine, stream, point))
            sizes.append(database_bytes(engine))
        assert sizes[-1] <= sizes[1] * 1.2

    async def test_appending_and_expiring_takes_no_more_and_no_more(self, engine: SqliteEngine, clock: Clock) -> None:
        stream = await make_stream(engine, config=StreamConfig(retention_policy=RetentionAge(10)))
        other = await make_stream(engine, "other")
        sizes = []
        for _ in range(8):
            acks = [await engine.append(stream, batch("x" * 50_000)) for _ in range(60)]
            clock.advance(11_000)
            # Any trim starts a round, which finds what has expired everywhere.
            tail = (await engine.append(other, batch("x"))).end.seq_num
            await engine.append(other, commands(AppendRecord.trim(tail)))
            await eventually(partial(swept_below, engine, stream, acks[-1].end.seq_num))
            sizes.append(database_bytes(engine))
        assert sizes[-1] <= sizes[1] * 1.2

    async def test_what_expires_before_older_records_is_removed(self, engine: SqliteEngine, clock: Clock) -> None:
        stream = await make_stream(engine, config=StreamConfig(retention_policy=InfiniteRetention()))
        await engine.append(stream, batch("for ever"))
        await configure(engine, "s", StreamConfig(retention_policy=RetentionAge(100)))
        await engine.append(stream, batch("long"))
        await configure(engine, "s", StreamConfig(retention_policy=RetentionAge(10)))
        for number in range(300):
            await engine.append(stream, batch(str(number)))
        await configure(engine, "s", StreamConfig(retention_policy=InfiniteRetention()))
        await engine.append(stream, batch("last"))

        async def rows_are(expected: list[int]) -> bool:
            return block_starts(Path(engine.path), stream) == expected

        clock.advance(10_000)
        await nudge_sweeper(engine)
        await eventually(partial(rows_are, [0, 1, 302]))
        clock.advance(90_000)
        await nudge_sweeper(engine)
        await eventually(partial(rows_are, [0, 302]))
        assert await bodies_of(engine, stream) == ["for ever", "last"]

    async def test_the_purge_of_a_big_stream_does_not_hold_up_others(self, engine: SqliteEngine) -> None:
        """All of it at once would be one wait as long as the whole purge."""
        big, other = await make_stream(engine), await make_stream(engine, "other")
        await asyncio.gather(*[engine.append(big, full_batch(0, number)) for number in range(96)])
        await delete_stream(engine)
        begun, appends = time.monotonic(), 0
        while await engine.stream(BASIN, "s") is not None:
            await engine.append(other, batch("x"))
            appends += 1
        print(f"{appends} appends while 96 MiB were removed in {time.monotonic() - begun:.2f} s")
        assert appends >= 10


async def nudge_sweeper(engine: SqliteEngine) -> None:
    """Start a round by a trim elsewhere."""
    if await engine.stream(BASIN, "nudge") is None:
        await make_stream(engine, "nudge")
    entry = await engine.stream(BASIN, "nudge")
    assert entry is not None
    await engine.append(entry.stream_id, commands(AppendRecord.trim(2**60)))


class TestDeletions:
    async def test_an_empty_stream_is_deleted_after_its_time(self, engine: SqliteEngine, clock: Clock) -> None:
        config = StreamConfig(
            retention_policy=InfiniteRetention(), delete_on_empty=DeleteOnEmptyConfig(min_age_secs=60)
        )
        stream = await make_stream(engine, config=config)
        clock.advance(59_999)
        await engine.append(stream, batch("x"))
        clock.advance(60_000)
        await nudge_sweeper(engine)
        assert await bodies_of(engine, stream) == ["x"], "not while it holds a record"
        await engine.append(stream, commands(AppendRecord.trim(2)))
        await eventually(partial(swept_below, engine, stream, 2))
        clock.advance(59_999)
        await nudge_sweeper(engine)
        assert await engine.stream(BASIN, "s") is not None
        clock.advance(1)
        await nudge_sweeper(engine)
        await gone(engine)

    async def test_a_stream_that_nobody_wrote_to_is_deleted_too(self, engine: SqliteEngine, clock: Clock) -> None:
        await make_stream(engine, config=StreamConfig(delete_on_empty=DeleteOnEmptyConfig(min_age_secs=60)))
        clock.advance(60_000)
        await nudge_sweeper(engine)
        await gone(engine)

    async def test_a_basin_goes_after_its_streams(self, tmp_path: Path) -> None:
        looking = await SqliteEngine.open(tmp_path, maintain=False)
        for number in range(100):
            stream = await make_stream(looking, f"s{number:03}")
            await looking.append(stream, batch("x"))
        await delete_basin(looking)
        await looking.aclose()
        engine = await SqliteEngine.open(tmp_path)
        try:

            async def basin_is_gone() -> bool:
                left = await engine.list_streams(BASIN, "", "", 1000)
                basin = await engine.basin(BASIN)
                assert basin is not None or not left, "the basin went before its streams"
                return basin is None

            await eventually(basin_is_gone)
        finally:
            await engine.aclose()


class TestWriteAheadLog:
    @pytest.mark.timeout(120)
    async def test_it_stays_small_under_load(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        largest = 0
        waiting = set[asyncio.Future[object]]()
        for number in range(12_800):
            waiting.add(asyncio.ensure_future(engine.append(stream, row_batch(0, number))))
            if len(waiting) >= 16:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            largest = max(largest, log_bytes(engine.path))
        await asyncio.gather(*waiting)
        print(f"the log had at most {largest / MIB:.0f} MiB")
        assert largest <= WAL_BOUND

    @pytest.mark.timeout(120)
    async def test_it_stays_small_with_several_processes_that_read_and_write(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        others = []
        try:
            streams = [await make_stream(engine, f"s{number}") for number in range(3)]
            others = [start(append_row_batches, str(tmp_path), stream, 3840) for stream in streams]
            for other in others:
                await asyncio.to_thread(other.receive)
            for other in others:
                other.send("go")
            largest = cursor = 0
            done = asyncio.gather(*[asyncio.to_thread(other.receive) for other in others])
            while not done.done():
                found = await engine.read_blocks(streams[0], cursor, max_records=1000, max_bytes=MIB)
                cursor = found.blocks[-1].end_seq if found.blocks else 0
                largest = max(largest, log_bytes(engine.path))
            assert await done == ["done"] * 3
        finally:
            for other in others:
                other.close()
            await engine.aclose()
        print(f"the log had at most {largest / MIB:.0f} MiB")
        assert largest <= WAL_BOUND

    @pytest.mark.timeout(120)
    async def test_it_shrinks_again_after_somebody_read_for_long(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        await engine.append(stream, batch("x"))
        slow = apsw.Connection(os.path.join(engine.path, "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            slow.execute("BEGIN")
            assert slow.execute("SELECT count(*) FROM block").get == 1
            for number in range(2_400):
                await engine.append(stream, medium_batch(0, number))
            pinned = log_bytes(engine.path)
            assert pinned > 150 * MIB, "the reader has a right to the old pages"
            assert slow.execute("SELECT count(*) FROM block").get == 1
            slow.execute("COMMIT")
        finally:
            slow.close()
        for number in range(2_400, 4_000):
            await engine.append(stream, medium_batch(0, number))
        after = log_bytes(engine.path)
        print(f"the log had {pinned / MIB:.0f} MiB while somebody read, {after / MIB:.0f} MiB afterwards")
        assert after <= WAL_BOUND

    async def test_it_is_gone_after_closing(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        stream = await make_stream(engine)
        await engine.append(stream, batch("x"))
        await engine.aclose()
        assert sorted(os.listdir(tmp_path)) == [
            "backup.lock",
            "bells",
            "gate.lock",
            "segments",
            "streams.db",
            "sweeper.lock",
            "turn.lock",
            "users.lock",
        ]
