"""Restoring: every damaged byte is found, and no directory is live before all of it is there."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import StorageFailed, StorageFull, Unavailable, UsageError
from perdure.store.sqlite import SqliteEngine, schema
from perdure.store.sqlite.backup import create_backup
from perdure.store.sqlite.manifest import (
    DATABASE,
    MANIFEST,
    SEGMENTS,
    Contents,
    CopiedFile,
    Manifest,
    decode_manifest,
    encode_manifest,
    read_manifest,
)
from perdure.store.sqlite.restore import restore_backup
from tests.store.sqlite.backup_workers import restore
from tests.store.sqlite.backups import NUMBERS, change_manifest, content_of, fill, numbers_of
from tests.store.sqlite.mounts import mounted_tmpfs
from tests.store.sqlite.processes import worker
from tests.store.sqlite.scripts import run
from tests.store.sqlite.test_directory import mounts

MIB = 2**20


def flip(path: Path, place: int) -> None:
    """Change one bit; a negative place counts from the end."""
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


class TestDamagedBackups:
    @pytest.fixture(params=["database", "segment"])
    def file(self, request: pytest.FixtureRequest, backup: Path) -> Path:
        (segment,) = os.listdir(backup / SEGMENTS)
        return backup / DATABASE if request.param == "database" else backup / SEGMENTS / segment

    @pytest.fixture(autouse=True)
    def no_store_is_made_of_it(self, data: Path, backup: Path, tmp_path: Path) -> Iterator[None]:
        yield
        with pytest.raises(StorageFailed, match=r"(?s)backup is damaged.*"):
            restore_backup(backup, tmp_path / "restored")
        assert not (tmp_path / "restored").exists() or os.listdir(tmp_path / "restored") == ["users.lock"]
        create_backup(data, tmp_path / "sound")
        restore_backup(tmp_path / "sound", tmp_path / "restored")

    @pytest.mark.parametrize("place", [0, 5000, 20_000, -1])
    def test_a_bit(self, file: Path, place: int) -> None:
        flip(file, place)

    def test_a_cut_file(self, file: Path) -> None:
        os.truncate(file, file.stat().st_size - 1)

    def test_a_longer_file(self, file: Path) -> None:
        with file.open("ab") as end:
            end.write(b"x")

    def test_a_missing_file(self, file: Path) -> None:
        file.unlink()

    def test_other_numbers(self, backup: Path) -> None:
        change_manifest(backup, contents=Contents(1, 1, 9))

    def test_another_format(self, backup: Path) -> None:
        change_manifest(backup, format_version=1)

    def test_a_segment_that_is_not_listed(self, backup: Path) -> None:
        change_manifest(backup, segments={})

    def test_a_segment_that_nothing_names(self, backup: Path) -> None:
        (backup / SEGMENTS / "other").touch()
        nothing = CopiedFile(0, sha256().hexdigest())
        change_manifest(backup, segments=read_manifest(backup).segments | {"other": nothing})

    def test_a_path_that_leads_elsewhere(self, backup: Path) -> None:
        (name,) = os.listdir(backup / SEGMENTS)
        change_manifest(backup, segments={f"../{SEGMENTS}/{name}": read_manifest(backup).segments[name]})

    def test_a_manifest_without_its_parts(self, backup: Path) -> None:
        (backup / MANIFEST).write_bytes(b"{}")


class TestUnfinishedRestores:
    @pytest.mark.parametrize("steps", [1, 3, 4])
    def test_no_server_takes_what_a_killed_one_left_and_the_next_one_works(
        self, backup: Path, tmp_path: Path, steps: int
    ) -> None:
        data = tmp_path / "restored"
        with worker(restore, str(backup), str(data)) as victim:
            for _ in range(steps - 1):
                victim.receive()
                victim.send("go on")
            victim.receive()
            with pytest.raises(UsageError, match="in use by another process"):
                restore_backup(backup, data)
            victim.kill()
        assert opening(data) == "StorageFailed: no database at all, restore it from a backup"
        with pytest.raises(StorageFailed, match="no database at all"):
            create_backup(data, tmp_path / "second")
        restore_backup(backup, data)
        assert numbers_of(data) == NUMBERS
        assert "streams.db.restoring" not in os.listdir(data)

    async def test_a_server_that_starts_meanwhile_does_not_begin_an_empty_store(
        self, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(schema, "PREPARE_SECONDS", 0.1)
        with worker(restore, str(backup), str(tmp_path / "restored")) as other:
            other.receive()
            with pytest.raises((Unavailable, StorageFailed)):
                await SqliteEngine.open(tmp_path / "restored")
            other.send("go on")
            while other.receive() != "complete":
                other.send("go on")
            assert other.join() == 0
        engine = await SqliteEngine.open(tmp_path / "restored")
        try:
            assert await engine.list_basins("", "", 10)
        finally:
            await engine.aclose()

    def test_one_that_is_interrupted_leaves_an_empty_directory(self, backup: Path, tmp_path: Path) -> None:
        def interrupt(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            restore_backup(backup, tmp_path / "restored", progress=interrupt)
        assert os.listdir(tmp_path / "restored") == ["users.lock"]
        restore_backup(backup, tmp_path / "restored")

    def test_a_full_disk(self, backup: Path, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "disk", size_bytes=2 * MIB) as disk:
            with pytest.raises(StorageFull):
                restore_backup(backup, disk / "restored")
            assert os.listdir(disk / "restored") == ["users.lock"]

    def test_progress_ends_at_the_whole(self, backup: Path, tmp_path: Path) -> None:
        seen: list[tuple[int, int]] = []
        manifest = restore_backup(backup, tmp_path / "restored", progress=lambda *both: seen.append(both))
        assert seen == sorted(seen)
        assert seen[-1] == (manifest.total_bytes, manifest.total_bytes)


def opening(path: Path) -> str:
    """What a server is told that opens the directory."""
    script = """
async def main():
    try:
        await SqliteEngine.open(PATH)
    except PerdureError as exc:
        print(type(exc).__name__, exc.message.rpartition("damaged or ")[2], sep=": ")

asyncio.run(main())
"""
    (line,) = run(script, path)
    return line


class TestWhere:
    def test_an_empty_directory(self, backup: Path, tmp_path: Path) -> None:
        (tmp_path / "restored").mkdir()
        restore_backup(backup, tmp_path / "restored")
        assert numbers_of(tmp_path / "restored") == NUMBERS

    def test_a_directory_that_is_missing_with_those_above_it(self, backup: Path, tmp_path: Path) -> None:
        restore_backup(backup, tmp_path / "a" / "b" / "restored")
        assert numbers_of(tmp_path / "a" / "b" / "restored") == NUMBERS

    def test_the_root_of_a_volume(self, backup: Path, tmp_path: Path) -> None:
        with mounted_tmpfs(tmp_path / "disk", size_bytes=32 * MIB) as disk:
            (disk / "lost+found").mkdir()
            restore_backup(backup, disk)

    def test_not_over_a_store(self, backup: Path, data: Path) -> None:
        before = content_of(data)
        with pytest.raises(UsageError, match="holds a store already"):
            restore_backup(backup, data)
        assert content_of(data) == before

    async def test_not_into_a_store_that_is_open(self, tmp_path: Path, backup: Path) -> None:
        engine = await SqliteEngine.open(tmp_path / "open")
        try:
            with worker(restore, str(backup), str(tmp_path / "open")) as refused:
                assert refused.join() == 1
            assert await engine.list_basins("", "", 10) == ()
        finally:
            await engine.aclose()

    def test_not_beside_other_things(self, backup: Path, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "file").write_text("mine")
        with pytest.raises(UsageError, match="is not empty"):
            restore_backup(backup, tmp_path / "mine")
        assert (tmp_path / "mine" / "file").read_text() == "mine"

    def test_not_into_memory(self, backup: Path) -> None:
        with pytest.raises(UsageError, match="not into memory"):
            restore_backup(backup, ":memory:")

    def test_not_on_a_network_file_system(self, backup: Path, tmp_path: Path) -> None:
        table = mounts(tmp_path, ("/restored", "cifs"))
        with pytest.raises(UsageError, match=r"network file system \(cifs\)"):
            restore_backup(backup, tmp_path / "restored", mount_table=table)


class TestWhat:
    def test_only_a_backup(self, data: Path, tmp_path: Path) -> None:
        for wrong in (data, tmp_path / "missing", data / "streams.db"):
            with pytest.raises(UsageError, match="not a complete backup"):
                restore_backup(wrong, tmp_path / "restored")
        assert not (tmp_path / "restored").exists()

    @pytest.mark.parametrize("field", ["backup_version", "format_version"])
    def test_none_of_a_newer_version(self, backup: Path, tmp_path: Path, field: str) -> None:
        change_manifest(backup, **{field: 1000})
        with pytest.raises(UsageError, match="use a newer Perdure"):
            restore_backup(backup, tmp_path / "restored")
        assert not (tmp_path / "restored").exists()

    def test_one_that_a_server_was_pointed_at_by_mistake(self, backup: Path, tmp_path: Path) -> None:
        before = sorted(os.listdir(backup))
        with pytest.raises(UsageError, match=r"is a backup.*perdure restore"):
            fill(backup)
        assert sorted(os.listdir(backup)) == before
        restore_backup(backup, tmp_path / "restored")
        assert numbers_of(tmp_path / "restored") == NUMBERS


MANIFEST_TEXT = encode_manifest(
    Manifest(
        backup_version=1,
        format_version=1,
        perdure_version="0.1.0",
        created_at="2025-05-01T10:00:00.000+00:00",
        contents=Contents(1, 2, 3),
        database=CopiedFile(4096, "0" * 64),
        segments={"12-ab": CopiedFile(10, "f" * 64)},
    )
)


class TestManifests:
    def test_they_come_back(self) -> None:
        assert encode_manifest(decode_manifest(MANIFEST_TEXT)) == MANIFEST_TEXT

    @given(content=st.binary())
    def test_noise_is_damage(self, content: bytes) -> None:
        with pytest.raises(StorageFailed, match=r"(?s)backup is damaged"):
            decode_manifest(content)

    @given(place=st.integers(0, len(MANIFEST_TEXT) - 1), byte=st.integers(0, 255))
    def test_a_changed_byte_leads_to_no_other_directory(self, place: int, byte: int) -> None:
        content = MANIFEST_TEXT[:place] + bytes([byte]) + MANIFEST_TEXT[place + 1 :]
        try:
            manifest = decode_manifest(content)
        except (StorageFailed, UsageError):
            return
        assert not any("/" in name or "." in name for name in manifest.segments)
