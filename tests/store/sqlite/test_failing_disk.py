"""Disks that are full, fail, or may not be written: a clear error, and no ack that is not true."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure.errors import PerdureError, StorageFailed, StorageFull
from perdure.model.batches import AppendAck, AppendInput
from perdure.model.configs import InfiniteRetention, StreamConfig
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.engine import Lane
from perdure.store.sqlite import SqliteEngine
from tests.descriptors import no_descriptor_left
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, bodies_of, make_stream
from tests.store.sqlite.faulty_disk import FaultyDisk, faulty_disk
from tests.store.sqlite.mounts import mounted_tmpfs, read_only

MIB = 2**20
KEPT = StreamConfig(retention_policy=InfiniteRetention())


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    with faulty_disk() as disk:
        yield disk


@asynccontextmanager
async def opened(path: Path, *, vfs: str | None = None) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(path, vfs=vfs)
    try:
        yield engine
    finally:
        await engine.aclose()


def filler(number: int) -> AppendInput:
    return AppendInput.of([AppendRecord(f"{number}|" + "x" * 100_000)])


async def append_until_refused(engine: SqliteEngine, stream: StreamId) -> tuple[int, PerdureError]:
    """How many batches were acknowledged before the first that was not, and why it was not."""
    for number in range(10_000):
        try:
            ack = await engine.append(stream, filler(number))
        except PerdureError as exc:
            return number, exc
        assert ack.start.seq_num == number
    raise AssertionError("nothing was refused")


async def numbers_in(engine: SqliteEngine, stream: StreamId) -> list[int]:
    return [int(body.split("|")[0]) for body in await bodies_of(engine, stream)]


class TestFullDisk:
    async def test_what_does_not_fit_is_refused_and_was_not_written(self, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "small", size_bytes=6 * MIB) as small:
            async with opened(small) as engine:
                stream = await make_stream(engine, config=KEPT)
                acked, refusal = await append_until_refused(engine, stream)
                assert acked > 10
                assert isinstance(refusal, StorageFull)
                assert refusal.has_no_side_effects
                assert "no space is left" in str(refusal)
                assert not engine.stopped.is_set()
                assert await numbers_in(engine, stream) == list(range(acked))
            async with opened(small) as engine:
                assert await numbers_in(engine, stream) == list(range(acked))

    async def test_it_works_again_when_there_is_space(self, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "small", size_bytes=6 * MIB) as small:
            ballast = small / "ballast"
            ballast.write_bytes(bytes(3 * MIB))
            async with opened(small) as engine:
                stream = await make_stream(engine, config=KEPT)
                acked, refusal = await append_until_refused(engine, stream)
                assert isinstance(refusal, StorageFull)
                ballast.unlink()
                ack = await engine.append(stream, filler(acked))
                assert ack.start.seq_num == acked
                assert await numbers_in(engine, stream) == list(range(acked + 1))

    async def test_a_directory_on_a_full_disk_is_not_opened(self, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "small", size_bytes=MIB) as small:
            ballast = small / "ballast"
            with pytest.raises(OSError, match="No space"):
                ballast.write_bytes(bytes(2 * MIB))
            with pytest.raises(StorageFailed):
                await SqliteEngine.open(small / "data")
            ballast.unlink()
            async with opened(small / "data") as engine:
                await make_stream(engine)

    async def test_a_lane_ends_at_the_batch_that_does_not_fit(self, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "small", size_bytes=6 * MIB) as small:
            async with opened(small) as engine:
                stream, lane = await make_stream(engine, config=KEPT), Lane()
                futures = [engine.append(stream, filler(number), lane) for number in range(120)]
                results = await asyncio.gather(*futures, return_exceptions=True)
                kept = sum(isinstance(result, AppendAck) for result in results)
                assert all(isinstance(result, AppendAck) for result in results[:kept])
                assert all(isinstance(result, StorageFull) for result in results[kept:])
                assert await numbers_in(engine, stream) == list(range(kept))


class TestNoDescriptorLeft:
    async def test_a_large_batch_is_refused_and_the_store_goes_on(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as engine:
            stream = await make_stream(engine, config=KEPT)
            large = AppendInput.of([AppendRecord("x" * 500_000)])
            with no_descriptor_left(), pytest.raises(StorageFailed, match="Too many open files"):
                await engine.append(stream, large)
            assert not engine.stopped.is_set()
            assert (await engine.append(stream, large)).start.seq_num == 0


class TestFailedSync:
    async def test_nothing_is_acknowledged_and_nothing_is_tried_again(self, tmp_path: Path, disk: FaultyDisk) -> None:
        async with opened(tmp_path, vfs=disk.name) as engine:
            stream = await make_stream(engine, config=KEPT)
            await engine.append(stream, batch("kept"))
            assert not engine.stopped.is_set()
            disk.fail_syncs = "-wal"
            with pytest.raises(StorageFailed, match=r"refuses to go on.*open it again"):
                await engine.append(stream, batch("unknown"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await engine.stopped.wait()
            attempts = len(disk.syncs)
            for _ in range(3):
                with pytest.raises(StorageFailed, match="refuses to go on"):
                    await engine.append(stream, batch("refused"))
                with pytest.raises(StorageFailed, match="refuses to go on"):
                    await make_stream(engine, "other")
            assert await bodies_of(engine, stream) == ["kept"]
            assert len(disk.syncs) == attempts
        assert len(disk.syncs) == attempts, "closing tried the sync again"

    async def test_it_works_again_when_opened_anew(self, tmp_path: Path, disk: FaultyDisk) -> None:
        async with opened(tmp_path, vfs=disk.name) as engine:
            stream = await make_stream(engine, config=KEPT)
            await engine.append(stream, batch("kept"))
            disk.fail_syncs = "-wal"
            with pytest.raises(StorageFailed):
                await engine.append(stream, batch("unknown"))
        disk.fail_syncs = ""
        async with opened(tmp_path, vfs=disk.name) as engine:
            tail = (await engine.state(stream)).tail
            assert await bodies_of(engine, stream) in (["kept"], ["kept", "unknown"])
            ack = await engine.append(stream, batch("new"))
            assert ack.start.seq_num == tail

    async def test_everything_in_flight_gets_the_error(self, tmp_path: Path, disk: FaultyDisk) -> None:
        async with opened(tmp_path, vfs=disk.name) as engine:
            stream, lane = await make_stream(engine), Lane()
            disk.fail_syncs = "-wal"
            futures = [engine.append(stream, batch(str(n)), lane if n % 2 else None) for n in range(50)]
            results = await asyncio.gather(*futures, return_exceptions=True)
            assert all(isinstance(result, StorageFailed) for result in results)
            assert len({id(result) for result in results[::2]}) == 25, "each caller gets an error of its own"

    async def test_a_checkpoint_that_cannot_sync_stops_the_store(self, tmp_path: Path, disk: FaultyDisk) -> None:
        async with opened(tmp_path, vfs=disk.name) as engine:
            stream = await make_stream(engine, config=KEPT)
            disk.fail_syncs = "streams.db"
            acked, refusal = await append_until_refused(engine, stream)
            assert acked > 10
            assert isinstance(refusal, StorageFailed)
            assert "checkpoint" in str(refusal)
            assert await numbers_in(engine, stream) == list(range(acked))
            attempts = sum(file.endswith("streams.db") for file in disk.syncs)
        assert sum(file.endswith("streams.db") for file in disk.syncs) == attempts
        disk.fail_syncs = ""
        async with opened(tmp_path, vfs=disk.name) as engine:
            assert await numbers_in(engine, stream) == list(range(acked))

    async def test_another_engine_is_not_concerned(self, tmp_path: Path, disk: FaultyDisk) -> None:
        async with opened(tmp_path, vfs=disk.name) as broken, opened(tmp_path) as sound:
            stream = await make_stream(broken, config=KEPT)
            disk.fail_syncs = "-wal"
            with pytest.raises(StorageFailed):
                await broken.append(stream, batch("unknown"))
            await sound.append(stream, batch("kept"))
            assert await bodies_of(broken, stream) == ["kept"]


class TestFailedWrite:
    @pytest.mark.parametrize("writes", [0, 1, 3])
    async def test_the_group_is_undone(self, tmp_path: Path, disk: FaultyDisk, writes: int) -> None:
        async with opened(tmp_path, vfs=disk.name) as engine:
            stream = await make_stream(engine)
            await engine.append(stream, batch("kept"))
            disk.writes_until_failure, disk.fail_writes = writes, "-wal"
            with pytest.raises(StorageFailed, match="refuses to go on"):
                await engine.append(stream, batch("lost"))
            assert await bodies_of(engine, stream) == ["kept"]
        disk.fail_writes = ""
        async with opened(tmp_path, vfs=disk.name) as engine:
            assert await bodies_of(engine, stream) == ["kept"]
            assert (await engine.append(stream, batch("new"))).start.seq_num == 1

    async def test_a_rejection_that_was_not_kept_is_not_told(self, tmp_path: Path, disk: FaultyDisk) -> None:
        """A rejection reveals the batches before it; if they are lost, nobody may have heard of them."""
        async with opened(tmp_path, vfs=disk.name) as engine:
            stream, lane = await make_stream(engine), Lane()
            disk.fail_writes = "-wal"
            futures = [
                engine.append(stream, batch("a")),
                engine.append(stream, batch("b", match=0), lane),
                engine.append(stream, batch("c"), lane),
            ]
            results = await asyncio.gather(*futures, return_exceptions=True)
            assert all(isinstance(result, StorageFailed) for result in results)
            assert isinstance(lane.failure, StorageFailed)


class TestReadOnly:
    async def test_a_read_only_directory_is_refused(self, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "disk", size_bytes=8 * MIB) as disk:
            async with opened(disk / "data") as engine:
                stream = await make_stream(engine)
                await engine.append(stream, batch("kept"))
            with read_only(disk):
                with pytest.raises(StorageFailed, match="not writable"):
                    await SqliteEngine.open(disk / "data")
                with pytest.raises(StorageFailed, match="cannot create"):
                    await SqliteEngine.open(disk / "other")
            async with opened(disk / "data") as engine:
                assert await bodies_of(engine, stream) == ["kept"]


class TestDamage:
    @pytest.fixture
    async def stream(self, tmp_path: Path) -> StreamId:
        """A stream of five megabytes, of which most pages were overwritten; the first few are whole."""
        async with opened(tmp_path) as engine:
            stream = await make_stream(engine)
            for number in range(50):
                await engine.append(stream, filler(number))
        with (tmp_path / "streams.db").open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(16 * 8192)
            file.write(b"\xa5" * (size - 16 * 8192))
        return stream

    async def test_a_damaged_page_is_an_error_and_no_data(self, tmp_path: Path, stream: StreamId) -> None:
        async with opened(tmp_path) as engine:
            with pytest.raises(StorageFailed, match="damaged"):
                await engine.read_blocks(stream, 0, max_records=1000, max_bytes=MIB)

    async def test_writing_to_a_damaged_database_stops(self, tmp_path: Path, stream: StreamId) -> None:
        async with opened(tmp_path) as engine:
            for _ in range(2):
                with pytest.raises(StorageFailed, match=r"damaged.*refuses to go on"):
                    await engine.append(stream, batch("x"))

    async def test_a_damaged_catalogue_is_not_opened(self, tmp_path: Path, stream: StreamId) -> None:
        with (tmp_path / "streams.db").open("r+b") as file:
            file.seek(8192)
            file.write(b"\xa5" * 16 * 8192)
        with pytest.raises(StorageFailed, match="damaged"):
            await SqliteEngine.open(tmp_path)
