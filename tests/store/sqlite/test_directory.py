"""Where a store may live, and what is said where it may not."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from perdure.errors import StorageFailed, Unavailable, UsageError
from perdure.model.configs import DeleteOnEmptyConfig, RetentionAge, StreamConfig
from perdure.model.limits import MAX_U64
from perdure.store.sqlite import SqliteEngine, schema
from perdure.store.sqlite.directory import DataDirectory
from perdure.store.sqlite.locks import FileLock
from tests.patience import PROCESS_SECONDS
from tests.store.making import batch, bodies_of, eventually, make_basin, make_stream, records_of
from tests.store.sqlite.processes import start, worker
from tests.store.sqlite.workers import append_when_told, create_at_once, open_and_wait


def test_others_may_not_look_into_a_directory_that_is_made_here(tmp_path: Path) -> None:
    made, given = tmp_path / "above" / "made", tmp_path / "given"
    given.mkdir()
    given.chmod(0o755)
    for path in (made, given):
        DataDirectory.prepare(path)
    assert made.stat().st_mode & 0o077 == 0
    assert given.stat().st_mode & 0o777 == 0o755, "its owner knows why"


class TestUnfitDirectories:
    async def test_a_file_is_no_directory(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("something")
        for wrong in (path, path / "below"):
            with pytest.raises(UsageError, match="is not a directory"):
                await SqliteEngine.open(wrong)
        assert path.read_text() == "something"

    async def test_a_file_that_is_no_database_is_left_alone(self, tmp_path: Path) -> None:
        foreign = b"no database at all" * 1000
        (tmp_path / "streams.db").write_bytes(foreign)
        with pytest.raises(StorageFailed, match="no database"):
            await SqliteEngine.open(tmp_path)
        assert (tmp_path / "streams.db").read_bytes() == foreign

    async def test_the_database_of_another_program_is_left_alone(self, tmp_path: Path) -> None:
        foreign = apsw.Connection(str(tmp_path / "streams.db"))
        foreign.execute("CREATE TABLE theirs (x); PRAGMA user_version = 1")
        foreign.close()
        before = (tmp_path / "streams.db").read_bytes()
        with pytest.raises(UsageError, match="not made by Perdure"):
            await SqliteEngine.open(tmp_path)
        assert (tmp_path / "streams.db").read_bytes() == before

    async def test_a_newer_format_is_left_alone(self, tmp_path: Path) -> None:
        await (await SqliteEngine.open(tmp_path)).aclose()
        newer = apsw.Connection(str(tmp_path / "streams.db"))
        newer.pragma("user_version", schema.FORMAT_VERSION + 1)
        newer.close()
        with pytest.raises(UsageError, match=rf"version {schema.FORMAT_VERSION + 1}.*use a newer Perdure"):
            await SqliteEngine.open(tmp_path)

    async def test_an_older_format_that_is_in_use_is_not_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever uses the directory shares a lock, which changing the tables needs alone."""
        with worker(open_and_wait, str(tmp_path)) as old:
            old.receive()
            monkeypatch.setattr(schema, "FORMAT_VERSION", schema.FORMAT_VERSION + 1)
            monkeypatch.setattr(schema, "PREPARE_SECONDS", 0.1)
            with pytest.raises(Unavailable, match="another process has the data directory open"):
                await SqliteEngine.open(tmp_path)

    async def test_what_failed_to_open_holds_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "streams.db").write_bytes(b"no database at all" * 1000)
        before = descriptors()
        for _ in range(5):
            with pytest.raises(StorageFailed):
                await SqliteEngine.open(tmp_path)
        assert descriptors() == before


def descriptors() -> list[str]:
    """What this process has open, by the paths of the files, the executor's threads aside."""
    open_now = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            open_now.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return sorted(name for name in open_now if not name.endswith("/fd"))


class TestNetworkFileSystems:
    @pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
    def test_they_are_refused(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(UsageError, match=rf"network file system \({kind}\)"):
            DataDirectory.prepare(tmp_path / "share" / "data", mount_table=mounts(tmp_path, ("/share", kind)))

    def test_the_mount_nearest_to_the_directory_counts(self, tmp_path: Path) -> None:
        table = mounts(tmp_path, ("/share", "nfs4"), ("/share/local", "ext4"), ("/sha", "cifs"))
        DataDirectory.prepare(tmp_path / "share" / "local" / "data", mount_table=table)
        DataDirectory.prepare(tmp_path / "shared", mount_table=table)

    def test_of_two_on_the_same_place_the_later_counts(self, tmp_path: Path) -> None:
        table = mounts(tmp_path, ("/share", "ext4"), ("/share", "nfs"))
        with pytest.raises(UsageError, match="network file system"):
            DataDirectory.prepare(tmp_path / "share", mount_table=table)

    def test_names_with_blanks_and_other_letters_are_understood(self, tmp_path: Path) -> None:
        table = mounts(tmp_path, ("/my\\040shäre", "nfs"))
        with pytest.raises(UsageError, match="network file system"):
            DataDirectory.prepare(tmp_path / "my shäre", mount_table=table)

    def test_a_link_leads_to_where_it_points(self, tmp_path: Path) -> None:
        (tmp_path / "share").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "share")
        with pytest.raises(UsageError, match="network file system"):
            DataDirectory.prepare(tmp_path / "link" / "data", mount_table=mounts(tmp_path, ("/share", "nfs")))

    def test_a_system_without_a_table_is_trusted(self, tmp_path: Path) -> None:
        DataDirectory.prepare(tmp_path / "data", mount_table=tmp_path / "nothing")


def mounts(root: Path, *entries: tuple[str, str]) -> Path:
    """A mount table with file systems at places below `root`."""
    table = root / "mountinfo"
    lines = ["22 1 254:0 / / rw,relatime - ext4 /dev/vda rw"]
    lines += [f"40 22 0:40 / {root}{place} rw shared:1 - {kind} source rw" for place, kind in entries]
    table.write_text("\n".join(lines) + "\n")
    return table


class TestDeepDirectories:
    async def test_bells_ring_below_a_path_longer_than_a_socket_may_have(self, tmp_path: Path) -> None:
        deep = tmp_path.joinpath(*["a-long-name-" * 5] * 4)
        engine = await SqliteEngine.open(deep)
        try:
            stream = await make_stream(engine)
            with worker(append_when_told, str(deep)) as other, engine.hub.follow(stream) as mailbox:
                other.receive()
                await eventually(lambda: bell_hangs(deep))
                (name,) = os.listdir(deep / "bells")
                assert len(os.fsencode(deep / "bells" / name)) > 107
                for number in range(3):
                    other.send((stream, [str(number)]))
                    while (await engine.state(stream)).tail <= number:
                        assert await mailbox.wait(10)
                        mailbox.clear()
                    other.receive()
                other.send(None)
                assert other.join() == 0
        finally:
            await engine.aclose()


async def bell_hangs(path: Path) -> bool:
    return bool(os.listdir(path / "bells"))


class TestBellsOfOthers:
    async def test_the_bell_of_a_dead_process_is_removed(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        try:
            stream = await make_stream(engine)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
                dead.bind(str(tmp_path / "bells" / "999-dead"))
            await engine.append(stream, batch("x"))
            assert os.listdir(tmp_path / "bells") == []
        finally:
            await engine.aclose()

    async def test_what_is_no_bell_disturbs_nobody(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        try:
            stream = await make_stream(engine)
            (tmp_path / "bells" / "directory").mkdir()
            (tmp_path / "bells" / "file").write_text("x")
            for _ in range(3):
                await engine.append(stream, batch("x"))
        finally:
            await engine.aclose()


class TestOpeningTogether:
    def test_one_of_many_creates_the_tables(self, tmp_path: Path) -> None:
        workers = [start(create_at_once, str(tmp_path / "data")) for _ in range(6)]
        try:
            for each in workers:
                each.receive()
            for each in workers:
                each.send("go")
            assert [each.receive() for each in workers] == [()] * 6
            assert [each.join() for each in workers] == [0] * 6
        finally:
            for each in workers:
                each.close()

    async def test_a_creator_that_was_killed_leaves_nothing_in_the_way(self, tmp_path: Path) -> None:
        half = apsw.Connection(str(tmp_path / "streams.db"))
        half.pragma("journal_mode", "wal")
        half.close()
        engine = await SqliteEngine.open(tmp_path)
        try:
            await make_basin(engine)
        finally:
            await engine.aclose()

    async def test_opening_waits_for_whoever_changes_the_tables(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(schema, "PREPARE_SECONDS", 0.1)
        lock = FileLock(tmp_path / "users.lock")
        assert lock.try_acquire()
        with pytest.raises(Unavailable, match="keeps its tables"):
            await SqliteEngine.open(tmp_path)
        lock.close()
        await (await SqliteEngine.open(tmp_path)).aclose()


def exists(path: Path) -> bool:
    return path.exists()


def permissions(path: Path) -> int:
    return path.stat().st_mode


class TestPrivateDirectories:
    async def test_closing_removes_it(self) -> None:
        engine = await SqliteEngine.open(":memory:")
        path = Path(engine.path)
        stream = await make_stream(engine)
        await engine.append(stream, batch("x"))
        assert await bodies_of(engine, stream) == ["x"]
        assert permissions(path) & 0o077 == 0
        await engine.aclose()
        assert not exists(path)

    async def test_two_are_two(self) -> None:
        one, two = await SqliteEngine.open(":memory:"), await SqliteEngine.open(":memory:")
        try:
            await make_basin(one)
            assert await two.list_basins("", "", 10) == ()
        finally:
            await one.aclose()
            await two.aclose()

    def test_a_store_that_nobody_closed_is_removed_at_exit(self) -> None:
        script = """
import asyncio
from perdure.store.sqlite import SqliteEngine
async def main():
    global engine
    engine = await SqliteEngine.open(":memory:")
    print(engine.path)
asyncio.run(main())
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=PROCESS_SECONDS, check=True
        )
        path = Path(done.stdout.strip())
        assert path.name.startswith("perdure-memory-")
        assert not exists(path)

    async def test_what_a_killed_process_left_is_removed_by_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with worker(open_and_wait, ":memory:") as killed, worker(open_and_wait, ":memory:") as alive:
            left, used = Path(killed.receive()), Path(alive.receive())
            killed.kill()
            assert exists(left)
            now = time.time()
            monkeypatch.setattr(time, "time", lambda: now + 3600)
            engine = await SqliteEngine.open(":memory:")
            try:
                assert not exists(left)
                assert exists(used)
            finally:
                await engine.aclose()


class TestLimitsOfConfigurations:
    async def test_a_retention_beyond_all_time_is_kept(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        try:
            config = StreamConfig(
                retention_policy=RetentionAge(MAX_U64), delete_on_empty=DeleteOnEmptyConfig(min_age_secs=MAX_U64)
            )
            stream = await make_stream(engine, config=config)
            await engine.append(stream, batch("a"))
            await engine.append(stream, batch("b"))
            assert [record.text for record in await records_of(engine, stream)] == ["a", "b"]
        finally:
            await engine.aclose()
