"""Backups of stores that are in use: complete, of one moment, and nothing half done that looks whole."""

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import apsw
import pytest

from perdure.errors import StorageFailed, StorageFull, Unavailable, UsageError
from perdure.model.records import AppendRecord
from perdure.store.sqlite import SqliteEngine, schema
from perdure.store.sqlite.backup import create_backup
from perdure.store.sqlite.checkpoint import LONG_BYTES, STEP_BYTES, Checkpointer
from perdure.store.sqlite.locks import FileLock
from perdure.store.sqlite.manifest import DATABASE, MANIFEST, SEGMENTS, Contents, Manifest, read_manifest
from perdure.store.sqlite.restore import restore_backup
from tests.store.making import BASIN, batch, commands, eventually, make_stream, records_of
from tests.store.sqlite.backup_workers import back_up
from tests.store.sqlite.backups import (
    FILLED,
    KEPT,
    NUMBERS,
    append_one,
    are_gone,
    content_of,
    numbers_in,
    numbers_of,
    segments_in,
    stream_in,
    texts_of,
)
from tests.store.sqlite.mounts import mounted_tmpfs
from tests.store.sqlite.processes import worker
from tests.store.sqlite.scripts import run
from tests.store.sqlite.submitted import full_batch, row_batch
from tests.store.sqlite.test_directory import mounts

MIB = 2**20


class TestThereAndBack:
    def test_the_restored_store_holds_what_the_other_held(self, data: Path, tmp_path: Path) -> None:
        manifest = create_backup(data, tmp_path / "backup")
        assert (manifest.contents, manifest.format_version) == (FILLED, schema.FORMAT_VERSION)
        assert restore_backup(tmp_path / "backup", tmp_path / "restored") == manifest
        assert numbers_of(tmp_path / "restored") == NUMBERS

    async def test_the_restored_store_goes_on(self, backup: Path, tmp_path: Path) -> None:
        await asyncio.to_thread(restore_backup, backup, tmp_path / "restored")
        engine = await SqliteEngine.open(tmp_path / "restored")
        try:
            stream = await stream_in(engine)
            ack = await engine.append(stream, full_batch(0, len(NUMBERS)))
            assert ack.start.seq_num == len(NUMBERS)
            assert await numbers_in(engine, stream) == [*NUMBERS, len(NUMBERS)]
            old = segments_in(tmp_path / "restored")
            await engine.append(stream, commands(AppendRecord.trim(ack.end.seq_num)))
            await eventually(partial(are_gone, tmp_path / "restored", old))
        finally:
            await engine.aclose()

    async def test_an_empty_store(self, tmp_path: Path) -> None:
        await (await SqliteEngine.open(tmp_path / "data")).aclose()
        manifest = await asyncio.to_thread(create_backup, tmp_path / "data", tmp_path / "backup")
        assert manifest.contents == Contents(0, 0, 0)
        await asyncio.to_thread(restore_backup, tmp_path / "backup", tmp_path / "restored")
        engine = await SqliteEngine.open(tmp_path / "restored")
        try:
            await make_stream(engine)
        finally:
            await engine.aclose()

    def test_the_store_is_left_as_it_is(self, data: Path, tmp_path: Path) -> None:
        before = content_of(data)
        create_backup(data, tmp_path / "backup")
        after = content_of(data)
        assert {name: content for name, content in after.items() if name in before} == before
        assert set(after) <= {*before, "streams.db-wal", "streams.db-shm"}
        append_one(data)
        assert numbers_of(data) == [*NUMBERS, len(NUMBERS)]

    def test_the_backup_is_left_as_it_is(self, backup: Path, tmp_path: Path) -> None:
        before = content_of(backup)
        for number in range(2):
            restore_backup(backup, tmp_path / f"restored-{number}")
        assert content_of(backup) == before
        assert sorted(os.listdir(backup)) == sorted([DATABASE, MANIFEST, SEGMENTS])

    def test_a_store_whose_processes_were_all_killed(self, tmp_path: Path) -> None:
        script = """
async def main():
    engine = await SqliteEngine.open(PATH)
    stream = await make_stream(engine)
    for number in range(20):
        await engine.append(stream, batch(str(number)))
    os.kill(os.getpid(), 9)

if os.fork() == 0:
    asyncio.run(main())
os.wait()
"""
        run(script, tmp_path / "data")
        assert (tmp_path / "data" / "streams.db-wal").stat().st_size > 0
        create_backup(tmp_path / "data", tmp_path / "backup")
        restore_backup(tmp_path / "backup", tmp_path / "restored")
        assert texts_of(tmp_path / "restored") == [str(number) for number in range(20)]

    def test_an_older_store_is_backed_up_as_it_is(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = schema.FORMAT_VERSION
        monkeypatch.setattr(schema, "FORMAT_VERSION", version + 1)
        assert create_backup(data, tmp_path / "backup").format_version == version
        restore_backup(tmp_path / "backup", tmp_path / "restored")
        connection = apsw.Connection(str(tmp_path / "restored" / "streams.db"))
        assert connection.pragma("user_version") == version
        connection.close()

    def test_many_segments_need_no_setting(self, tmp_path: Path) -> None:
        """Each is held open, beyond what a process may open before it asks for more."""
        script = """
import resource
from perdure.store.sqlite.backup import create_backup
from perdure.store.sqlite.restore import restore_backup
from tests.store.sqlite.submitted import full_batch

async def fill():
    for number in range(40):
        engine = await SqliteEngine.open(PATH)
        await engine.append(await make_stream(engine, str(number)), full_batch(0, 0))
        await engine.aclose()

asyncio.run(fill())
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (30, hard))
print(len(create_backup(PATH, PATH + "-1").segments))
restore_backup(PATH + "-1", PATH + "-2")
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
try:
    create_backup(PATH, PATH + "-3")
except PerdureError as exc:
    print(exc)
"""
        count, message = run(script, tmp_path / "data")
        assert count == "40"
        assert "hold 40 files open and may open 30; raise the limit" in message
        assert sorted(os.listdir(tmp_path)) == ["data", "data-1", "data-2"]


class TestTheTarget:
    def test_nobody_else_may_read_it(self, backup: Path) -> None:
        assert stat.S_IMODE(backup.stat().st_mode) & 0o077 == 0

    def test_it_may_be_an_empty_directory(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "backup").mkdir()
        create_backup(data, tmp_path / "backup")
        read_manifest(tmp_path / "backup")

    def test_what_is_missing_above_it_is_made(self, data: Path, tmp_path: Path) -> None:
        create_backup(data, tmp_path / "a" / "b" / "backup")
        read_manifest(tmp_path / "a" / "b" / "backup")

    def test_it_may_be_on_a_network_file_system(self, data: Path, tmp_path: Path) -> None:
        """Nothing is locked or mapped there that such a one could not do."""
        table = mounts(tmp_path, ("/share", "nfs4"))
        create_backup(data, tmp_path / "share" / "backup", mount_table=table)
        restore_backup(tmp_path / "share" / "backup", tmp_path / "restored", mount_table=table)

    def test_it_may_not_be_taken(self, data: Path, tmp_path: Path, backup: Path) -> None:
        before = content_of(backup)
        (tmp_path / "file").write_text("mine")
        for taken in (backup, tmp_path / "file", data):
            with pytest.raises(UsageError, match="exists already and is not an empty directory"):
                create_backup(data, taken)
        assert content_of(backup) == before
        assert sorted(os.listdir(tmp_path)) == ["backup", "data", "file"]

    def test_what_only_looks_like_an_unfinished_backup_is_left_alone(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "backup.partial").mkdir()
        (tmp_path / "backup.partial" / "file").write_text("mine")
        with pytest.raises(UsageError, match="in the way"):
            create_backup(data, tmp_path / "backup")
        assert (tmp_path / "backup.partial" / "file").read_text() == "mine"

    def test_it_may_not_be_in_the_data_directory(self, data: Path) -> None:
        with pytest.raises(UsageError, match="inside the data directory"):
            create_backup(data, data / "backups" / "monday")

    def test_it_may_not_be_a_mount_point(self, data: Path, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "disk", size_bytes=32 * MIB) as disk:
            with pytest.raises(UsageError, match="mount point"):
                create_backup(data, disk)
            create_backup(data, disk / "monday")
            restore_backup(disk / "monday", tmp_path / "restored")

    def test_a_full_disk_is_left_with_nothing(self, data: Path, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "disk", size_bytes=2 * MIB) as disk:
            with pytest.raises(StorageFull):
                create_backup(data, disk / "backup")
            assert os.listdir(disk) == []


class Interruptions:
    """Steps that the test's event loop takes in the middle of a backup, which is made on another thread."""

    def __init__(self, *steps: Callable[[], Awaitable[None]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps = list(steps)

    async def during_backup(self, source: Path, target: Path) -> Manifest:
        manifest = await asyncio.to_thread(create_backup, source, target, progress=self._progress)
        assert not self._steps, "the backup had fewer steps"
        return manifest

    def _progress(self, done: int, total: int) -> None:
        if self._steps:
            asyncio.run_coroutine_threadsafe(self._take(self._steps.pop(0)), self._loop).result()

    @staticmethod
    async def _take(step: Callable[[], Awaitable[None]]) -> None:
        await step()


class TestWhileTheStoreIsUsed:
    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[SqliteEngine]:
        engine = await SqliteEngine.open(tmp_path / "data")
        yield engine
        await engine.aclose()

    async def test_segments_that_are_deleted_meanwhile_are_in_it(self, engine: SqliteEngine, tmp_path: Path) -> None:
        stream = await make_stream(engine, config=KEPT)
        for number in range(70):  # more than one segment
            await engine.append(stream, full_batch(0, number))
        old = segments_in(tmp_path / "data")
        assert len(old) > 1

        async def trim_all() -> None:
            await engine.append(stream, commands(AppendRecord.trim(70)))
            await eventually(partial(are_gone, tmp_path / "data", old))

        await Interruptions(trim_all).during_backup(tmp_path / "data", tmp_path / "backup")
        await asyncio.to_thread(restore_backup, tmp_path / "backup", tmp_path / "restored")
        assert await asyncio.to_thread(numbers_of, tmp_path / "restored") == list(range(70))
        assert segments_in(tmp_path / "restored") == old

    async def test_what_is_appended_meanwhile_is_not_in_it(self, engine: SqliteEngine, tmp_path: Path) -> None:
        """All of it is of one moment: rows, states, the catalogue, and the segment that is being appended to."""
        stream = await make_stream(engine, config=KEPT)
        for number in range(3):
            await engine.append(stream, full_batch(0, number))
        (segment,) = segments_in(tmp_path / "data")
        size = (tmp_path / "data" / "segments" / segment).stat().st_size

        async def append() -> None:
            other = await make_stream(engine, "other", config=KEPT)
            for number in range(3, 6):
                await engine.append(stream, full_batch(0, number))
                await engine.append(other, row_batch(0, number))

        manifest = await Interruptions(append).during_backup(tmp_path / "data", tmp_path / "backup")
        assert manifest.contents == Contents(1, 1, 3)
        assert manifest.segments[segment].size_bytes == size
        await asyncio.to_thread(restore_backup, tmp_path / "backup", tmp_path / "restored")
        assert await asyncio.to_thread(numbers_of, tmp_path / "restored") == [0, 1, 2]
        restored = await SqliteEngine.open(tmp_path / "restored", maintain=False)
        try:
            assert (await restored.state(stream)).tail == 3
            assert await restored.stream(BASIN, "other") is None
        finally:
            await restored.aclose()

    @pytest.mark.timeout(120)
    async def test_the_log_grows_meanwhile_and_shrinks_again(self, engine: SqliteEngine, tmp_path: Path) -> None:
        stream = await make_stream(engine, config=KEPT)
        await engine.append(stream, row_batch(0, 0))
        log, numbers = tmp_path / "data" / "streams.db-wal", iter(range(1, 10_000))

        async def append_much() -> None:
            while log.stat().st_size < 1.5 * LONG_BYTES:
                await asyncio.gather(*[engine.append(stream, row_batch(0, next(numbers))) for _ in range(32)])

        await Interruptions(append_much).during_backup(tmp_path / "data", tmp_path / "backup")
        await asyncio.to_thread(restore_backup, tmp_path / "backup", tmp_path / "restored")
        assert await asyncio.to_thread(numbers_of, tmp_path / "restored") == [0]

        async def has_shrunk() -> bool:
            await engine.append(stream, row_batch(0, next(numbers)))
            return log.stat().st_size <= schema.WAL_KEPT_BYTES

        await eventually(has_shrunk)

    def test_writers_do_not_wait_for_a_log_that_a_backup_reads(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.touch()
        os.truncate(log, LONG_BYTES + MIB)
        pinned = True
        checkpointer = Checkpointer(_unused, log, lambda: pinned, _unused)
        checkpointer.wrote(STEP_BYTES)
        assert not checkpointer.due()
        pinned = False
        checkpointer.wrote(STEP_BYTES)
        assert not checkpointer.due(), "the thread that copies gets time to catch up"
        os.truncate(log, 2 * LONG_BYTES)
        checkpointer.wrote(STEP_BYTES)
        assert checkpointer.due()

    async def test_two_backups_at_once(self, engine: SqliteEngine, tmp_path: Path) -> None:
        stream = await make_stream(engine, config=KEPT)
        await engine.append(stream, full_batch(0, 0))
        source = tmp_path / "data"

        async def others() -> None:
            with pytest.raises(UsageError, match=r"another backup to .* is being made"):
                await asyncio.to_thread(create_backup, source, tmp_path / "first")
            await asyncio.to_thread(create_backup, source, tmp_path / "second")

        first = await Interruptions(others).during_backup(source, tmp_path / "first")
        second = await asyncio.to_thread(read_manifest, tmp_path / "second")
        assert first.contents == second.contents

    async def test_the_tables_are_not_changed_meanwhile(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def open_with_a_newer_version() -> None:
            with monkeypatch.context() as newer:
                newer.setattr(schema, "FORMAT_VERSION", schema.FORMAT_VERSION + 1)
                newer.setattr(schema, "PREPARE_SECONDS", 0.1)
                with pytest.raises(Unavailable, match="keeps its tables"):
                    await SqliteEngine.open(data)

        await Interruptions(open_with_a_newer_version).during_backup(data, tmp_path / "backup")

    def test_it_waits_for_whoever_changes_the_tables(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("perdure.store.sqlite.backup.PREPARE_SECONDS", 0.1)
        lock = FileLock(data / "users.lock")
        assert lock.try_acquire()
        with pytest.raises(Unavailable, match="changing the format"):
            create_backup(data, tmp_path / "backup")
        lock.close()
        create_backup(data, tmp_path / "backup")

    def test_a_segment_that_goes_before_it_is_opened(self, tmp_path: Path) -> None:
        """Between the look at the rows and the opening: the backup looks again, and finds rows without it."""
        script = """
from perdure.model.records import AppendRecord
from perdure.store.sqlite.backup import create_backup
from perdure.store.sqlite.restore import restore_backup
from tests.store.making import commands, eventually
from tests.store.sqlite.submitted import full_batch

async def trim():
    async def is_gone():
        return not os.path.exists(victim)
    await engine.append(stream, commands(AppendRecord.trim(1)))
    await eventually(is_gone)

def before_open(event, arguments):
    if event == "open" and armed.is_set() and threading.get_ident() == thread and str(arguments[0]) == victim:
        armed.clear()
        asyncio.run_coroutine_threadsafe(trim(), loop).result()
        print("deleted")

def back_up():
    global thread
    thread = threading.get_ident()
    armed.set()
    print(len(create_backup(PATH, PATH + "-backup").segments))
    restore_backup(PATH + "-backup", PATH + "-restored")

async def main():
    global engine, stream, victim, loop
    loop, engine = asyncio.get_running_loop(), await SqliteEngine.open(PATH)
    stream = await make_stream(engine)
    await engine.append(stream, full_batch(0, 0))
    (name,) = os.listdir(PATH + "/segments")
    victim = f"{PATH}/segments/{name}"
    await engine.append(stream, batch("kept"))
    await asyncio.to_thread(back_up)
    await engine.aclose()

armed = threading.Event()
sys.addaudithook(before_open)
asyncio.run(main())
"""
        assert run(script, tmp_path / "data") == ["deleted", "0"]
        assert texts_of(tmp_path / "data-restored")[0] == "kept"


def _unused(*arguments: object) -> NoReturn:
    raise AssertionError("not for this test")


class TestAPlainCopy:
    """Why there are backups at all: the files of a plain copy are of different moments."""

    async def test_it_can_lack_a_segment_that_its_rows_name(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path / "data")
        stream = await make_stream(engine, config=KEPT)
        await engine.append(stream, full_batch(0, 0))
        (tmp_path / "copy").mkdir()
        for name in ("streams.db", "streams.db-wal"):
            shutil.copy(tmp_path / "data" / name, tmp_path / "copy" / name)
        old = segments_in(tmp_path / "data")
        await engine.append(stream, commands(AppendRecord.trim(1)))
        await eventually(partial(are_gone, tmp_path / "data", old))
        shutil.copytree(tmp_path / "data" / "segments", tmp_path / "copy" / "segments")
        await engine.aclose()
        copy = await SqliteEngine.open(tmp_path / "copy", maintain=False)
        try:
            with pytest.raises(StorageFailed, match="missing"):
                await records_of(copy, stream)
        finally:
            await copy.aclose()

    async def test_it_can_lack_what_was_acknowledged_long_before(self, tmp_path: Path) -> None:
        """What goes from the log to the database, between the copies of both, is in neither."""
        engine = await SqliteEngine.open(tmp_path / "data")
        await engine.append(await make_stream(engine), batch("acknowledged"))
        (tmp_path / "copy").mkdir()
        shutil.copy(tmp_path / "data" / "streams.db", tmp_path / "copy" / "streams.db")
        await engine.aclose()
        assert not await asyncio.to_thread((tmp_path / "data" / "streams.db-wal").exists)
        copy = await SqliteEngine.open(tmp_path / "copy")
        try:
            assert await copy.stream(BASIN, "s") is None
        finally:
            await copy.aclose()


class TestUnfinishedBackups:
    @pytest.mark.parametrize("steps", [1, 2, 4])
    def test_a_killed_one_does_not_look_complete_and_the_next_one_works(
        self, data: Path, tmp_path: Path, steps: int
    ) -> None:
        with worker(back_up, str(data), str(tmp_path / "backup")) as victim:
            for _ in range(steps - 1):
                victim.receive()
                victim.send("go on")
            victim.receive()
            victim.kill()
        assert sorted(os.listdir(tmp_path)) == ["backup.partial", "data"]
        with pytest.raises(UsageError, match="not a complete backup"):
            restore_backup(tmp_path / "backup.partial", tmp_path / "restored")
        append_one(data)
        create_backup(data, tmp_path / "backup")
        assert sorted(os.listdir(tmp_path)) == ["backup", "data"]
        restore_backup(tmp_path / "backup", tmp_path / "restored")
        assert numbers_of(tmp_path / "restored") == [*NUMBERS, len(NUMBERS)]

    def test_one_that_is_interrupted_leaves_nothing(self, data: Path, tmp_path: Path) -> None:
        def interrupt(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            create_backup(data, tmp_path / "backup", progress=interrupt)
        assert os.listdir(tmp_path) == ["data"]

    def test_progress_ends_at_the_whole(self, data: Path, tmp_path: Path) -> None:
        seen: list[tuple[int, int]] = []
        manifest = create_backup(data, tmp_path / "backup", progress=lambda *both: seen.append(both))
        assert seen == sorted(seen)
        assert seen[-1] == (manifest.total_bytes, manifest.total_bytes)


class TestDamagedStores:
    """A damaged store does not get the place of a good backup."""

    def test_a_missing_segment(self, data: Path, tmp_path: Path) -> None:
        (name,) = segments_in(data)
        (data / "segments" / name).unlink()
        with pytest.raises(StorageFailed, match=f"segment {name} is missing"):
            create_backup(data, tmp_path / "backup")
        assert os.listdir(tmp_path) == ["data"]

    def test_a_cut_segment(self, data: Path, tmp_path: Path) -> None:
        (name,) = segments_in(data)
        os.truncate(data / "segments" / name, MIB)
        with pytest.raises(StorageFailed, match=rf"segment {name} is cut short at {MIB} of"):
            create_backup(data, tmp_path / "backup")
        assert os.listdir(tmp_path) == ["data"]

    def test_a_damaged_page(self, data: Path, tmp_path: Path) -> None:
        connection = apsw.Connection(str(data / "streams.db"))
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'block_by_seq'").get
        connection.close()
        with (data / "streams.db").open("r+b") as file:
            file.seek((int(str(page)) - 1) * schema.PAGE_BYTES)
            file.write(b"\xa5" * schema.PAGE_BYTES)
        with pytest.raises(StorageFailed, match="damaged"):
            create_backup(data, tmp_path / "backup")
        assert os.listdir(tmp_path) == ["data"]


class TestSourcesThatAreNone:
    @pytest.mark.parametrize("name", ["missing", "empty", "file"])
    def test_no_store(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("something")
        with pytest.raises(UsageError, match="not the data directory of a store"):
            create_backup(tmp_path / name, tmp_path / "backup")
        assert sorted(os.listdir(tmp_path)) == ["empty", "file"]
        assert os.listdir(tmp_path / "empty") == []

    def test_a_store_that_was_never_finished(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "streams.db").touch()
        with pytest.raises(UsageError, match="holds no store yet"):
            create_backup(tmp_path / "data", tmp_path / "backup")
        assert os.listdir(tmp_path) == ["data"]

    def test_the_database_of_another_program(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        theirs = apsw.Connection(str(tmp_path / "data" / "streams.db"))
        theirs.execute("CREATE TABLE theirs (x)")
        theirs.close()
        with pytest.raises(UsageError, match="not made by Perdure"):
            create_backup(tmp_path / "data", tmp_path / "backup")

    def test_a_newer_store(self, data: Path, tmp_path: Path) -> None:
        newer = apsw.Connection(str(data / "streams.db"))
        newer.pragma("user_version", schema.FORMAT_VERSION + 1)
        newer.close()
        with pytest.raises(UsageError, match="use a newer Perdure"):
            create_backup(data, tmp_path / "backup")

    def test_memory(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="in memory"):
            create_backup(":memory:", tmp_path / "backup")

    def test_a_network_file_system(self, data: Path, tmp_path: Path) -> None:
        table = mounts(tmp_path, ("/data", "nfs4"))
        with pytest.raises(UsageError, match=r"network file system \(nfs4\)"):
            create_backup(data, tmp_path / "backup", mount_table=table)
