"""A consistent copy of a data directory that any number of processes write to meanwhile.

A plain copy is none: the database changes while it is read, its log is copied at another moment than the database,
and a segment may be deleted between the copy of the row that names it and its own.

The whole backup shows one moment, after its beginning, so everything acknowledged before is in it:

1. One read transaction is the view. In it, every segment that a row names is opened; an open file can be read to its
   end even when the sweeper has deleted its name. What a row names never changes again: segments only grow.
2. SQLite's backup copies the database page by page within the view. That keeps the write-ahead log from beginning
   anew, so the log grows by what is written meanwhile; `backup.lock` tells the writers not to wait for it.
3. The view ends, and the segments are copied, each up to the last block that the copied database names in it.

Everything is written beside the target, synced, and gets the target's name at the very end.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

import apsw

from ..._version import __version__
from ...errors import StorageFailed, Unavailable, UsageError
from .copying import (
    STEP_BYTES,
    CutShort,
    Meter,
    Progress,
    checksum_of,
    copy_file,
    make_directories,
    sync_directory,
    write_file,
)
from .directory import MOUNT_TABLE, DataDirectory, check_is_store
from .failures import translate, translate_os
from .inheritance import note_closed, note_open
from .locks import FileLock
from .manifest import (
    BACKUP_VERSION,
    DATABASE,
    MANIFEST,
    SEGMENTS,
    CopiedFile,
    Manifest,
    contents_of,
    encode_manifest,
    open_finished,
    segment_sizes,
)
from .schema import BUSY_TIMEOUT_MS, PREPARE_SECONDS, format_version, keep_log_on_close

PARTIAL_SUFFIX: Final = ".partial"
"""A backup that is being made, or was killed: the next one to the same target begins it anew."""

_LOCK: Final = "lock"
_SPARE_FILES: Final = 64
_LOCKLESS: Final = "unix-none"
"""SQLite's file system for the copy: nobody else opens it, and where backups are kept locks may not work."""

_NAMED_SEGMENTS: Final = (
    "WITH RECURSIVE named(segment) AS (SELECT min(segment) FROM block WHERE segment IS NOT NULL UNION ALL "
    "SELECT (SELECT min(segment) FROM block WHERE segment > named.segment) FROM named WHERE named.segment IS NOT NULL) "
    "SELECT segment FROM named WHERE segment IS NOT NULL"
)
"""One step in the index for each segment, however many blocks it holds."""


class _HeldSegments:
    """Segments that stay readable while they are held, whoever deletes them."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def hold(self, segment: str, path: Path) -> None:
        self._files[segment] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self, segment: str) -> int:
        return self._files[segment]

    @property
    def size_bytes(self) -> int:
        """Together, with what is being appended to them."""
        return sum(os.fstat(fd).st_size for fd in self._files.values())

    def release(self, segment: str) -> None:
        """If its name is deleted already, this gives its space back."""
        os.close(self._files.pop(segment))

    def close(self) -> None:
        for segment in tuple(self._files):
            self.release(segment)


def create_backup(
    data: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    mount_table: Path = MOUNT_TABLE,
) -> Manifest:
    """Copy the store in the directory `data` to the new directory `target`; on disk when it returns.

    Any process may do it, whoever else uses the store. `target` may be missing or empty; what is missing above it is
    created. It appears when the backup is complete, and until then what there is bears its name and `.partial`.
    Blocks. `progress` is called on this thread, and what it raises ends the backup; `mount_table` is for tests.

    Raises `UsageError` for a source that is no store of a version we know, or on a network file system, and for a
    target that is in use or no place for a backup; `StorageFailed` when the disk fails, is full (`StorageFull`), or
    the store is found damaged; `Unavailable` if another process is changing the store's format.
    """
    doing = f"backing {data} up to {target}"
    try:
        source = _source(data, mount_table)
        place = _target(target, source)
        with _partial(place) as partial:
            manifest = _copy_store(source, partial, progress)
            write_file(partial / MANIFEST, encode_manifest(manifest))
            sync_directory(partial)
            _publish(partial, place)
    except apsw.Error as exc:
        raise translate(exc, doing) from exc
    except OSError as exc:
        raise translate_os(exc, doing) from exc
    return manifest


def _source(data: str | os.PathLike[str], mount_table: Path) -> DataDirectory:
    return DataDirectory.prepare(check_is_store(data), mount_table=mount_table)


def _target(target: str | os.PathLike[str], source: DataDirectory) -> Path:
    place = Path(target).expanduser().resolve()
    _check_free(place)
    if place.is_relative_to(source.path.resolve()):
        raise UsageError(
            f"{place} is inside the data directory itself; give a directory elsewhere, best on another disk"
        )
    if place.is_mount():
        raise UsageError(f"{place} is a mount point, which cannot be replaced at once; give a new directory below it")
    return place


def _check_free(place: Path) -> None:
    try:
        taken = any(place.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError:
        taken = True
    if taken:
        raise UsageError(f"{place} exists already and is not an empty directory; give a new name for each backup")


# The target ---------------------------------------------------------------------------------------


@contextmanager
def _partial(place: Path) -> Iterator[Path]:
    """An empty directory beside `place` that is ours alone; removed if the backup is not finished."""
    make_directories(place.parent)
    partial = place.with_name(place.name + PARTIAL_SUFFIX)
    lock = _lock(partial, place)
    try:
        _clear(partial)
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        lock.close()


def _lock(partial: Path, place: Path) -> FileLock:
    while True:
        _check_free(place)
        # For us alone: it will hold records, and the hashes of access tokens.
        partial.mkdir(0o700, exist_ok=True)
        try:
            names = os.listdir(partial)
            if names and _LOCK not in names:
                raise UsageError(f"{partial} is in the way and is no unfinished backup; move it, or give another name")
            lock = FileLock(partial / _LOCK)
        except FileNotFoundError:
            continue  # another backup was finished in this moment, or failed
        if not lock.try_acquire():
            lock.close()
            raise UsageError(f"another backup to {place} is being made; wait for it, or give another name")
        if _is_file(lock, partial / _LOCK):
            return lock
        lock.close()  # as above, a little later


def _is_file(lock: FileLock, path: Path) -> bool:
    """Whether the file that was locked is still there."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _clear(partial: Path) -> None:
    """Remove what a backup that was killed has left."""
    for entry in partial.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()


def _publish(partial: Path, place: Path) -> None:
    """Give a complete backup its name."""
    try:
        os.rename(partial, place)
    except OSError:
        _check_free(place)  # says it better if somebody else made it meanwhile
        raise
    (place / _LOCK).unlink()
    sync_directory(place)
    sync_directory(place.parent)


# The source ---------------------------------------------------------------------------------------


def _copy_store(source: DataDirectory, partial: Path, progress: Progress | None) -> Manifest:
    with closing(_HeldSegments()) as segments:
        with _view(source) as connection:
            created_at, version = datetime.now(UTC), format_version(connection)
            if version == 0:
                raise UsageError(f"{source.path} holds no store yet; there is nothing to back up")
            _hold_segments(source, connection, segments)
            meter = Meter(_size_of(connection) + segments.size_bytes, progress)
            _copy_database(connection, partial / DATABASE, meter)
        with _checked(partial / DATABASE) as copied:
            sizes = dict(segment_sizes(copied))
            contents = contents_of(copied)
        return Manifest(
            backup_version=BACKUP_VERSION,
            format_version=version,
            perdure_version=__version__,
            created_at=created_at.isoformat(timespec="milliseconds"),
            contents=contents,
            database=checksum_of(partial / DATABASE),
            segments=_copy_segments(segments, sizes, partial / SEGMENTS, meter),
        )


@contextmanager
def _view(source: DataDirectory) -> Iterator[apsw.Connection]:
    """A connection inside a read transaction. Nobody changes the tables or waits for the log meanwhile."""
    with ExitStack() as stack:
        stack.callback(note_closed, note_open(source.path))
        for path in (source.users_lock, source.backup_lock):
            lock = FileLock(path)
            stack.callback(lock.close)
            _share(lock)
        connection = apsw.Connection(os.fspath(source.database), flags=apsw.SQLITE_OPEN_READONLY)
        stack.callback(connection.close)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        keep_log_on_close(connection, keep=True)
        connection.execute("BEGIN")
        yield connection


def _share(lock: FileLock) -> None:
    deadline = time.monotonic() + PREPARE_SECONDS
    while not lock.try_share():
        if time.monotonic() > deadline:
            raise Unavailable("another process is changing the format of the data directory; try again when it has")
        time.sleep(0.002)


def _hold_segments(source: DataDirectory, connection: apsw.Connection, segments: _HeldSegments) -> None:
    """Open all segments that the view names, in a view that is so new that all of them are there."""
    missing = ""
    while True:
        names = [cast(str, name) for (name,) in connection.execute(_NAMED_SEGMENTS)]
        _allow_open_files(len(names))
        for name in names:
            try:
                segments.hold(name, source.segments / name)
            except FileNotFoundError:
                break
        else:
            return
        if name == missing:  # a newer view would not name it if it had been deleted by us
            raise StorageFailed(
                f"the store is damaged: its segment {name} is missing; restore it from an earlier backup"
            )
        missing = name
        segments.close()
        connection.execute("COMMIT; BEGIN")


def _allow_open_files(count: int) -> None:
    """Raise this process's own limit; if the system's is too low, opening says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise StorageFailed(
            f"the backup has to hold {count} files open and may open {hard}; raise the limit with `ulimit -n {wanted}`"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _size_of(connection: apsw.Connection) -> int:
    return int(connection.pragma("page_count")) * int(connection.pragma("page_size"))


def _copy_database(connection: apsw.Connection, target: Path, meter: Meter) -> None:
    page_bytes = int(connection.pragma("page_size"))
    copy = apsw.Connection(os.fspath(target), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs=_LOCKLESS)
    try:
        # If it fails it is thrown away: it needs no journal, and we sync it ourselves.
        copy.pragma("journal_mode", "off")
        copy.pragma("synchronous", "off")
        with target.open("rb") as file:
            with copy.backup("main", connection, "main") as backup:
                left = _size_of(connection)
                while not backup.done:
                    backup.step(max(1, STEP_BYTES // page_bytes))
                    os.fdatasync(file.fileno())
                    before, left = left, backup.remaining * page_bytes
                    meter.advance(before - left)
            os.fsync(file.fileno())
    finally:
        copy.close()


@contextmanager
def _checked(database: Path) -> Iterator[apsw.Connection]:
    """The copied database, found to be sound: damage that was in the store must not replace a good backup."""
    connection = open_finished(database)
    try:
        found = connection.execute("PRAGMA quick_check(1)").get
        if found != "ok":
            raise StorageFailed(f"the store's database is damaged ({found}); restore it from an earlier backup")
        yield connection
    finally:
        connection.close()


def _copy_segments(segments: _HeldSegments, sizes: dict[str, int], target: Path, meter: Meter) -> dict[str, CopiedFile]:
    target.mkdir()
    copied: dict[str, CopiedFile] = {}
    for name, size in sizes.items():
        try:
            copied[name] = copy_file(segments.fileno(name), target / name, size, meter)
        except CutShort as exc:
            raise StorageFailed(
                f"the store is damaged: its segment {name} is cut short at {exc.size_bytes} of {size} bytes; "
                "restore it from an earlier backup"
            ) from None
        segments.release(name)
    sync_directory(target)
    return copied
