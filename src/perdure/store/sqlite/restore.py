"""A backup becomes a data directory again: checked byte by byte on the way, and live at the very end.

The directory may be the root of a volume, so it cannot be put in place as a whole; what makes it a store is the file
of its database. Until the restore is complete that file holds a notice, which no engine takes for a database:
so a server that is started too early fails, instead of beginning an empty store beside the old records.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from ...errors import StorageFailed, UsageError
from .copying import CutShort, Meter, Progress, copy_file, sync_directory, write_file
from .directory import MEMORY, MOUNT_TABLE, DataDirectory
from .failures import translate, translate_os
from .locks import FileLock
from .manifest import (
    DATABASE,
    SEGMENTS,
    CopiedFile,
    Manifest,
    contents_of,
    open_finished,
    read_manifest,
    segment_sizes,
)
from .schema import format_version

NOTICE: Final = (
    b"This is no database yet: a backup is being restored into this directory, or the restore was interrupted.\n"
    b"Run the same `perdure restore` again.\n"
)
"""Holds the database's place until the restore is complete."""

_RESTORING: Final = "streams.db.restoring"
_HARMLESS: Final = frozenset({_RESTORING, "users.lock", "lost+found"})
"""Two are ours, if we were killed early; the third is in the root of every fresh ext4 volume."""


def restore_backup(
    backup: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    mount_table: Path = MOUNT_TABLE,
) -> Manifest:
    """Make the directory `data`, which may be missing or empty, the store that `backup` is a copy of.

    On disk when it returns. Blocks. Every file is compared with its checksum as it is copied, so a damaged backup
    makes no store. If the process is killed, the same call begins anew. `progress` and `mount_table` as for
    `create_backup`. Raises `UsageError` if `backup` is none or a
    newer Perdure's, and if `data` is in use, not empty, or on a network file system; `StorageFailed` when the
    backup is damaged, or the disk fails or is full (`StorageFull`).
    """
    source = Path(backup).expanduser().absolute()
    if os.fspath(data) == MEMORY:
        raise UsageError("a backup is restored into a directory, not into memory; give a new directory")
    manifest = read_manifest(source)
    _check_sizes(source, manifest)
    made = _missing(Path(data).expanduser().absolute())
    directory = DataDirectory.prepare(data, mount_table=mount_table)
    doing = f"restoring {source} into {directory.path}"
    try:
        for path in made:
            sync_directory(path.parent)
        with _claimed(directory):
            _copy(source, manifest, directory, Meter(manifest.total_bytes, progress))
            _check_database(directory.path / _RESTORING, manifest)
            os.replace(directory.path / _RESTORING, directory.database)
            sync_directory(directory.path)
    except apsw.Error as exc:
        raise translate(exc, doing) from exc
    except OSError as exc:
        raise translate_os(exc, doing) from exc
    return manifest


def _missing(path: Path) -> list[Path]:
    """The directories that have to be made for `path`."""
    return [each for each in (path, *path.parents) if not each.exists()]


def _files(source: Path, manifest: Manifest) -> Iterator[tuple[Path, CopiedFile]]:
    yield source / DATABASE, manifest.database
    for name, file in manifest.segments.items():
        yield source / SEGMENTS / name, file


def _check_sizes(source: Path, manifest: Manifest) -> None:
    """What can be seen at once, before hours of copying."""
    for path, file in _files(source, manifest):
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise StorageFailed(f"the backup is damaged: {path} is missing; use another backup") from None
        except OSError as exc:
            raise translate_os(exc, f"reading {path}") from exc
        if size != file.size_bytes:
            raise StorageFailed(
                f"the backup is damaged: {path} has {size} bytes instead of {file.size_bytes}; use another backup"
            )


@contextmanager
def _claimed(directory: DataDirectory) -> Iterator[None]:
    """The directory for us alone, with nothing in it but our notice; empty again if the restore fails."""
    lock = FileLock(directory.users_lock)
    try:
        if not lock.try_acquire():
            raise UsageError(f"{directory.path} is in use by another process; restore into a new directory")
        _put_notice(directory)
        try:
            _clear(directory)
            yield
        except BaseException:
            _clear(directory)
            directory.database.unlink(missing_ok=True)
            raise
    finally:
        lock.close()


def _put_notice(directory: DataDirectory) -> None:
    """Raises `UsageError` unless the directory is empty, or holds what a killed restore left."""
    if directory.database.exists():
        if _is_notice(directory.database):
            return
        raise UsageError(f"{directory.path} holds a store already; restore into a new directory, and move it then")
    if {entry.name for entry in directory.path.iterdir()} - _HARMLESS:
        raise UsageError(f"{directory.path} is not empty; restore into a new or empty directory")
    whole = directory.path / _RESTORING
    whole.unlink(missing_ok=True)
    write_file(whole, NOTICE)
    os.link(whole, directory.database)  # at once, and not in the place of what somebody else has just made
    sync_directory(directory.path)


def _is_notice(database: Path) -> bool:
    with database.open("rb") as file:
        return file.read(len(NOTICE) + 1) == NOTICE


def _clear(directory: DataDirectory) -> None:
    (directory.path / _RESTORING).unlink(missing_ok=True)
    if directory.segments.exists():
        shutil.rmtree(directory.segments)


def _copy(source: Path, manifest: Manifest, directory: DataDirectory, meter: Meter) -> None:
    directory.segments.mkdir()
    for name, file in manifest.segments.items():
        _copy_checked(source / SEGMENTS / name, directory.segments / name, file, meter)
    sync_directory(directory.segments)
    _copy_checked(source / DATABASE, directory.path / _RESTORING, manifest.database, meter)


def _copy_checked(path: Path, target: Path, expected: CopiedFile, meter: Meter) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        copied = copy_file(fd, target, expected.size_bytes, meter)
    except CutShort:
        copied = None
    finally:
        os.close(fd)
    if copied != expected:
        raise StorageFailed(f"the backup is damaged: {path} is not what was written there; use another backup")


def _check_database(database: Path, manifest: Manifest) -> None:
    """That database and manifest belong together. Their bytes are known to be right by now."""
    connection = open_finished(database)
    try:
        fits = (
            format_version(connection) == manifest.format_version
            and contents_of(connection) == manifest.contents
            and dict(segment_sizes(connection)) == {n: file.size_bytes for n, file in manifest.segments.items()}
        )
    finally:
        connection.close()
    if not fits:
        raise StorageFailed("the backup is damaged: its manifest is not that of its database; use another backup")
