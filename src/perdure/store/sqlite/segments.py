"""Large blocks, beside the database: each in a segment file, with its place in the block's row.

What goes through SQLite's write-ahead log is written twice, page by page. For a block of a megabyte that costs three
times as much as one write and one sync (measured). So large blocks, and many of medium size at once (`placement` says
which), are appended to a segment file of this process and synced before the transaction that names their places
commits; the commit itself stays small.

A segment has one writer, which holds its lock, and is only appended to. Bytes that no row names, because the
transaction was undone or the process died, are dead; a segment that no row names any more, and that nobody writes to,
is deleted. Segments are made and deleted by whoever holds the turnstile, so both never happen at once.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final, cast

import apsw
from msgspec import Struct

from .locks import FileLock

logger: Final = logging.getLogger("perdure.store.sqlite")

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""When a segment is this long the next one is begun. Space comes back by whole segments."""

MAX_KEPT_TIMES: Final = 512
"""A segment is at most so many times as long as its smallest block, for which alone it may be kept one day."""


class Place(Struct, frozen=True, gc=False):
    """Where a block is: `length` bytes at `offset` of the segment called `segment`."""

    segment: str
    offset: int
    length: int


class SegmentFailed(Exception):
    """Writing or syncing a segment failed; `cause` is what the file system said."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class SegmentGone(Exception):
    """The segment was deleted: the rows that named it are gone too, so look again."""

    def __init__(self, segment: str) -> None:
        super().__init__(segment)
        self.segment = segment


BODY_SQL: Final = "CASE WHEN segment IS NULL THEN body ELSE segment_body(segment, place, length) END"
"""A block's body, wherever it is; on a connection that `SegmentDirectory.install` was given."""


def end_of_segment(smallest_bytes: int) -> int:
    """The length in bytes that a segment may reach whose smallest block has `smallest_bytes`."""
    return min(SEGMENT_BYTES, MAX_KEPT_TIMES * smallest_bytes)


class SegmentDirectory:
    """The directory of segments: reading blocks, and deleting segments that nobody needs. For any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_dir():
            path.mkdir(exist_ok=True)
            _sync_directory(path.parent)

    def path_of(self, segment: str) -> Path:
        return self._path / segment

    def read(self, place: Place) -> bytes:
        """The block at `place`. Raises `SegmentGone`, and `OSError` when the disk fails or the file is cut short."""
        try:
            fd = os.open(self.path_of(place.segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SegmentGone(place.segment) from None
        try:
            body = os.pread(fd, place.length, place.offset)
        finally:
            os.close(fd)
        if len(body) != place.length:
            raise OSError(
                f"segment {place.segment} is cut short at {place.offset + len(body)}; restore it from a backup"
            )
        return body

    def install(self, connection: apsw.Connection) -> None:
        """Let statements of this connection read segments; they raise as `read` does."""

        def segment_body(*place: apsw.SQLiteValue) -> bytes:
            return self.read(Place(*cast(tuple[str, int, int], place)))

        connection.create_scalar_function("segment_body", segment_body, 3)

    def unneeded(self, connection: apsw.Connection, limit: int) -> list[str]:
        """Up to `limit` segments that nobody writes to and no row names, as this transaction sees it."""
        found: list[str] = []
        for name in os.listdir(self._path):
            if not _is_named(connection, name) and not self._is_written(name):
                found.append(name)
                if len(found) == limit:
                    break
        return found

    def _is_written(self, segment: str) -> bool:
        """Whether a process appends to the segment, or it is something else that was put here."""
        try:
            lock = FileLock(self.path_of(segment))
        except OSError as exc:
            logger.debug("%s in the directory of segments is left alone: %s", segment, exc)
            return True
        try:
            return not lock.try_acquire()
        finally:
            lock.close()

    def delete(self, connection: apsw.Connection, segments: Iterable[str]) -> None:
        """Delete those that still nobody writes to and no row names, after the commit and still inside the turnstile.

        They were found inside the transaction, which may have gone on to fill one of them.
        """
        for segment in segments:
            if not _is_named(connection, segment) and not self._is_written(segment):
                self.path_of(segment).unlink(missing_ok=True)

    def sync(self) -> None:
        """Make the names of new segments durable."""
        _sync_directory(self._path)


def _is_named(connection: apsw.Connection, segment: str) -> bool:
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM block WHERE segment = ?)", (segment,)).get)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class SegmentWriter:
    """The segment that this process appends to. Used by the writer's thread, inside its transactions."""

    def __init__(self, directory: SegmentDirectory) -> None:
        self.directory = directory
        self._lock: FileLock | None = None
        self._name = ""
        self._end = 0
        self._kept = 0
        self._smallest = SEGMENT_BYTES
        self._is_new = False
        self._unsynced = False

    @property
    def sync_is_due(self) -> bool:
        """Whether something was appended that `sync` must make durable yet."""
        return self._unsynced

    def append(self, body: bytes) -> Place:
        """Write a block behind the others; `sync` makes it durable.

        Raises `SegmentFailed`; `give_back` takes back what it had written by then.
        """
        smallest = min(self._smallest, len(body))
        if self._lock is None or self._end + len(body) > end_of_segment(smallest):
            self._begin()
            smallest = len(body)
        assert self._lock is not None
        view, offset = memoryview(body), self._end
        try:
            while view:
                written = os.pwrite(self._lock.fileno(), view, offset)
                view, offset = view[written:], offset + written
        except OSError as exc:
            raise SegmentFailed(exc) from exc
        place = Place(self._name, self._end, len(body))
        self._end, self._smallest = offset, smallest
        self._unsynced = True
        return place

    def keep(self) -> None:
        """What was appended is named by rows that are committed."""
        self._kept = self._end

    def give_back(self) -> None:
        """What was appended since `keep` is named by no row, and never will be; on a full disk, trims need the room."""
        if self._lock is None:
            return
        try:
            os.ftruncate(self._lock.fileno(), self._kept)
        except OSError as exc:
            logger.warning("the segment %s keeps bytes that nobody needs: %s", self._name, exc)
        self._end = self._kept

    def let_go_if_unneeded(self, connection: apsw.Connection) -> None:
        """Append elsewhere from now on if no row names the segment any more, so that it can be deleted."""
        if self._lock is not None and self._end and not _is_named(connection, self._name):
            self.close()

    def sync(self) -> None:
        """Make what was appended durable, as it must be before the commit that names it. Raises `SegmentFailed`."""
        if not self._unsynced:
            return
        assert self._lock is not None
        try:
            os.fdatasync(self._lock.fileno())
            if self._is_new:
                self.directory.sync()
        except OSError as exc:
            self.close()  # what the file holds is not known any more: it gets no more blocks
            raise SegmentFailed(exc) from exc
        self._is_new = self._unsynced = False

    def _begin(self) -> None:
        """Go on in a new segment."""
        self.sync()
        self.close()
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            lock = FileLock(self.directory.path_of(name))
            lock.acquire()  # the name is new, so nobody has it for long
        except OSError as exc:
            raise SegmentFailed(exc) from exc
        self._lock, self._name, self._end, self._kept, self._is_new = lock, name, 0, 0, True

    def close(self) -> None:
        """Append no more to the segment. Idempotent."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._unsynced = False
