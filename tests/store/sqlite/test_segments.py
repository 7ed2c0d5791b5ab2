"""Large blocks in segment files: they come back whole, and go with their streams."""

import asyncio
import os
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ResourceExists, StorageFailed, StorageFull
from perdure.model.batches import AppendInput
from perdure.model.configs import InfiniteRetention, StreamConfig
from perdure.model.limits import MAX_READ_BYTES, MAX_READ_RECORDS
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId, create_stream
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.placement import LARGE_BYTES
from perdure.store.sqlite.segments import (
    MAX_KEPT_TIMES,
    SEGMENT_BYTES,
    SegmentDirectory,
    SegmentFailed,
    SegmentWriter,
)
from tests.store.making import (
    BASIN,
    NOW,
    batch,
    bodies_of,
    commands,
    delete_stream,
    eventually,
    make_stream,
    records_of,
)
from tests.store.sqlite.mounts import mounted_tmpfs
from tests.store.sqlite.processes import start
from tests.store.sqlite.submitted import Origin, full_batch, medium_batch, origin_of, row_batch
from tests.store.sqlite.workers import append_until_killed

MIB = 2**20
KEPT = StreamConfig(retention_policy=InfiniteRetention())


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.aclose()


def segments_in(path: str | Path) -> list[str]:
    return sorted(os.listdir(os.path.join(path, "segments")))


def sizes_in(path: str | Path) -> list[int]:
    return [os.stat(os.path.join(path, "segments", name)).st_size for name in segments_in(path)]


async def origins_in(engine: SqliteEngine, stream: StreamId) -> list[Origin]:
    return [origin_of(record.body) for record in await records_of(engine, stream)]


def large_batch(size: int) -> AppendInput:
    return AppendInput.of([AppendRecord(b"x" * size)])


async def one_large_block(path: Path) -> None:
    engine = await SqliteEngine.open(path)
    try:
        await engine.append(await make_stream(engine), full_batch(0, 0))
    finally:
        await engine.aclose()


async def no_segments_in(path: str | Path) -> bool:
    return segments_in(path) == []


async def append_until_full(engine: SqliteEngine, stream: StreamId) -> int:
    """How many full batches were acknowledged before the disk was full."""
    for number in range(64):
        try:
            await engine.append(stream, full_batch(0, number))
        except StorageFull:
            return number
    raise AssertionError("nothing was refused")


class TestLargeBlocks:
    async def test_large_and_small_ones_come_back_in_order(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        for number in range(6):
            make = full_batch if number % 2 else row_batch
            await engine.append(stream, make(0, number))
        assert [origin.number for origin in await origins_in(engine, stream)] == list(range(6))
        assert len(segments_in(engine.path)) == 1
        assert 3 * MIB - 1024 < sum(sizes_in(engine.path)) < 3 * MIB + 1024

    async def test_they_are_there_after_opening_anew(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        stream = await make_stream(engine, config=KEPT)
        for number in range(3):  # each opening goes on in a segment of its own
            await engine.append(stream, full_batch(0, number))
            await engine.aclose()
            engine = await SqliteEngine.open(tmp_path)
            assert [origin.number for origin in await origins_in(engine, stream)] == list(range(number + 1))
        await engine.aclose()
        assert len(segments_in(tmp_path)) == 3

    async def test_a_full_segment_is_followed_by_another(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        count = SEGMENT_BYTES // MIB + 3
        await asyncio.gather(*[engine.append(stream, full_batch(0, number)) for number in range(count)])
        assert len(segments_in(engine.path)) == 2
        assert max(sizes_in(engine.path)) <= SEGMENT_BYTES
        assert [origin.number for origin in await origins_in(engine, stream)] == list(range(count))

    async def test_a_follower_in_another_engine_gets_them(self, engine: SqliteEngine, tmp_path: Path) -> None:
        stream = await make_stream(engine)
        other = await SqliteEngine.open(tmp_path, maintain=False)
        try:
            with other.hub.follow(stream) as mailbox:
                assert (await other.state(stream)).tail == 0
                await engine.append(stream, full_batch(0, 0))
                while (block := mailbox.take()) is None:
                    assert await mailbox.wait(10)
                assert (block.start_seq, block.end_seq) == (0, 1)
                assert len(block.body) > MIB - 1024
        finally:
            await other.aclose()


class TestMediumBlocks:
    async def test_one_by_itself_is_a_row(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        for number in range(4):
            await engine.append(stream, medium_batch(0, number))
        assert segments_in(engine.path) == []
        assert [origin.number for origin in await origins_in(engine, stream)] == list(range(4))

    async def test_they_are_there_after_opening_anew(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        stream = await make_stream(engine, config=KEPT)
        await asyncio.gather(*(engine.append(stream, medium_batch(0, number)) for number in range(40)))
        await engine.aclose()
        assert len(segments_in(tmp_path)) == 1
        engine = await SqliteEngine.open(tmp_path)
        try:
            assert [origin.number for origin in await origins_in(engine, stream)] == list(range(40))
        finally:
            await engine.aclose()

    @pytest.mark.parametrize("count", [1, 3])
    async def test_a_job_between_them_that_is_undone_changes_nothing(self, engine: SqliteEngine, count: int) -> None:
        stream = await make_stream(engine)

        async def append(number: int) -> None:
            await engine.append(stream, medium_batch(0, number))

        async def make_it_again() -> None:
            with pytest.raises(ResourceExists):
                await engine.change_stream(
                    BASIN, "s", lambda parent, found: create_stream(parent, found, BASIN, "s", None, None, NOW)
                )

        await asyncio.gather(
            *(append(number) for number in range(count)),
            make_it_again(),
            *(append(number) for number in range(count, 2 * count)),
        )
        assert [origin.number for origin in await origins_in(engine, stream)] == list(range(2 * count))

    async def test_their_segments_are_shorter_and_go_with_them(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        count = MAX_KEPT_TIMES + 40
        await asyncio.gather(*(engine.append(stream, medium_batch(0, number)) for number in range(count)))
        sizes = sizes_in(engine.path)
        assert len(sizes) == 2
        assert max(sizes) <= MAX_KEPT_TIMES * (LARGE_BYTES // 2 + 64)
        await engine.append(stream, commands(AppendRecord.trim(count)))
        await eventually(partial(no_segments_in, engine.path))


@given(st.lists(st.integers(1, 3_000), max_size=60))
def test_no_block_can_keep_more_than_so_many_times_its_size(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as path:
        writer = SegmentWriter(SegmentDirectory(Path(path) / "segments"))
        segments = defaultdict[str, list[int]](list)
        for size in sizes:
            place = writer.append(bytes(size))
            assert (place.offset, place.length) == (sum(segments[place.segment]), size)
            segments[place.segment].append(size)
        writer.close()
        assert sorted(segments) == segments_in(path)
        for held in segments.values():
            assert sum(held) <= MAX_KEPT_TIMES * min(held)


class TestFreedSpace:
    async def test_segments_go_when_all_their_blocks_are_trimmed(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        per_segment = SEGMENT_BYTES // MIB - 1
        for number in range(2 * per_segment + 2):
            await engine.append(stream, full_batch(0, number))
        full = segments_in(engine.path)
        assert len(full) >= 2
        tail = (await engine.append(stream, batch("the end"))).end.seq_num
        await engine.append(stream, commands(AppendRecord.trim(tail)))

        await eventually(partial(no_segments_in, engine.path))  # not even the one that was appended to
        await engine.append(stream, full_batch(0, 0))
        assert len(segments_in(engine.path)) == 1

    async def test_something_else_in_the_directory_does_not_keep_segments_from_going(
        self, engine: SqliteEngine
    ) -> None:
        (Path(engine.path) / "segments" / "lost+found").mkdir()
        stream = await make_stream(engine)
        await engine.append(stream, full_batch(0, 0))
        await engine.append(stream, commands(AppendRecord.trim(2**60)))

        async def only_that_is_left() -> bool:
            return segments_in(engine.path) == ["lost+found"]

        await eventually(only_that_is_left)

    async def test_what_a_dead_process_left_is_removed_when_nothing_names_it(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        stream = await make_stream(engine)
        await engine.aclose()
        process = start(append_until_killed, str(tmp_path), 7, [stream], 1_000_000, False)
        try:
            await asyncio.to_thread(process.receive)
        finally:
            process.close()
        assert segments_in(tmp_path) != []
        engine = await SqliteEngine.open(tmp_path)
        try:
            numbers = [origin.number for origin in await origins_in(engine, stream)]
            assert numbers == list(range(len(numbers)))  # none of them was lost, and none cut
            await delete_stream(engine)

            async def all_are_gone() -> bool:
                return segments_in(tmp_path) == []

            await eventually(all_are_gone)
        finally:
            await engine.aclose()

    def test_a_segment_that_is_written_to_or_named_is_left_alone(self, tmp_path: Path) -> None:
        """Whatever it was when it was found to be unneeded."""
        asyncio.run(one_large_block(tmp_path))
        (named,) = segments_in(tmp_path)
        directory = SegmentDirectory(tmp_path / "segments")
        writer = SegmentWriter(directory)
        written = writer.append(b"x" * 1000).segment
        connection = apsw.Connection(str(tmp_path / "streams.db"))
        try:
            assert directory.unneeded(connection, 10) == []
            directory.delete(connection, [named, written])
            assert segments_in(tmp_path) == sorted([named, written])
            writer.close()
            assert directory.unneeded(connection, 10) == [written]
            directory.delete(connection, [named, written])
            assert segments_in(tmp_path) == [named]
        finally:
            connection.close()

    async def test_many_go_without_holding_up_others(self, tmp_path: Path) -> None:
        stream = StreamId(0)
        for number in range(30):  # each opening begins a segment
            engine = await SqliteEngine.open(tmp_path, maintain=False)
            stream = stream or await make_stream(engine, config=KEPT)
            await engine.append(stream, full_batch(0, number))
            await engine.aclose()
        engine = await SqliteEngine.open(tmp_path)
        try:
            await engine.append(stream, commands(AppendRecord.trim(30)))
            left = set[int]()

            async def all_are_gone() -> bool:
                await engine.append(stream, batch("x"))
                left.add(len(segments_in(tmp_path)))
                return segments_in(tmp_path) == []

            await eventually(all_are_gone)
            assert len(left) > 2, "they went all at once"
        finally:
            await engine.aclose()


class TestFailures:
    async def test_a_full_disk_is_a_clear_error_and_changes_nothing(self, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "disk", size_bytes=24 * MIB) as disk:
            engine = await SqliteEngine.open(disk)
            try:
                stream = await make_stream(engine)
                acked = await append_until_full(engine, stream)
                assert 0 < acked < 24
                assert [origin.number for origin in await origins_in(engine, stream)] == list(range(acked))
                await engine.append(stream, commands(AppendRecord.trim(acked)))
                await eventually(partial(no_segments_in, disk))
                ack = await engine.append(stream, full_batch(0, acked))
                assert ack.start.seq_num == acked + 1
            finally:
                await engine.aclose()

    async def test_a_segment_that_cannot_be_written_stops_the_store(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        try:
            stream = await make_stream(engine)
            await engine.append(stream, batch("before"))
            os.rename(tmp_path / "segments", tmp_path / "away")  # as if the disk had lost it
            with pytest.raises(StorageFailed, match="open it again"):
                await engine.append(stream, full_batch(0, 0))
            with pytest.raises(StorageFailed, match="open it again"):
                await engine.append(stream, batch("after"))
            assert await bodies_of(engine, stream) == ["before"]
        finally:
            await engine.aclose()
        os.rename(tmp_path / "away", tmp_path / "segments")
        engine = await SqliteEngine.open(tmp_path)
        try:
            await engine.append(stream, full_batch(0, 1))
            assert len(await bodies_of(engine, stream)) == 2
        finally:
            await engine.aclose()

    def test_a_sync_that_fails_gives_the_segment_up(self, tmp_path: Path) -> None:
        writer = SegmentWriter(SegmentDirectory(tmp_path / "segments"))
        place = writer.append(b"x" * 1000)
        os.rename(tmp_path / "segments", tmp_path / "away")  # the new name cannot be made durable
        with pytest.raises(SegmentFailed):
            writer.sync()
        os.rename(tmp_path / "away", tmp_path / "segments")
        assert writer.append(b"y" * 1000).segment != place.segment
        writer.close()

    @pytest.mark.parametrize("size", [200_000, 100_000], ids=["large", "medium"])
    async def test_what_is_refused_on_a_full_disk_takes_no_room(self, tmp_path: Path, size: int) -> None:
        with mounted_tmpfs(tmp_path / "disk", size_bytes=24 * MIB) as disk:
            engine = await SqliteEngine.open(disk)
            try:
                stream = await make_stream(engine, config=KEPT)
                acked = await append_until_full(engine, stream)
                before = sizes_in(disk)
                for _ in range(3):  # the first small ones of each group would fit
                    futures = [engine.append(stream, large_batch(size)) for _ in range(12)]
                    results = await asyncio.gather(*futures, return_exceptions=True)
                    assert all(isinstance(result, StorageFull) for result in results)
                assert sizes_in(disk) == before
                await engine.append(stream, commands(AppendRecord.trim(acked)))
            finally:
                await engine.aclose()

    async def test_a_missing_segment_is_a_clear_error(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        try:
            stream = await make_stream(engine)
            await engine.append(stream, full_batch(0, 0))
            (name,) = segments_in(tmp_path)
            os.unlink(tmp_path / "segments" / name)
            with pytest.raises(StorageFailed, match=f"{name} is missing"):
                await bodies_of(engine, stream)
        finally:
            await engine.aclose()

    async def test_a_cut_segment_is_a_clear_error(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        try:
            stream = await make_stream(engine)
            await engine.append(stream, full_batch(0, 0))
            (name,) = segments_in(tmp_path)
            os.truncate(tmp_path / "segments" / name, 1000)
            with pytest.raises(StorageFailed, match="cut short"):
                await bodies_of(engine, stream)
        finally:
            await engine.aclose()

    async def test_a_block_that_no_longer_fits_a_read_is_not_read_from_its_segment(self, tmp_path: Path) -> None:
        """Read sessions take large blocks one by one; each would be read from the disk twice."""
        engine = await SqliteEngine.open(tmp_path)
        try:
            stream = await make_stream(engine)
            await engine.append(stream, large_batch(600_000))
            (whole,) = sizes_in(tmp_path)
            await engine.append(stream, large_batch(600_000))
            (name,) = segments_in(tmp_path)
            os.truncate(tmp_path / "segments" / name, whole)
            found = await engine.read_blocks(stream, 0, max_records=MAX_READ_RECORDS, max_bytes=MAX_READ_BYTES)
            assert len(found.blocks) == 1
            assert found.more
        finally:
            await engine.aclose()
