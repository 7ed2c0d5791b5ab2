"""What the disk and SQLite do by themselves, to measure beside the store in the same run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

import apsw

from .measure import Samples


class Fdatasync:
    """Append `size` bytes to a file and sync it, again and again."""

    def __init__(self, directory: Path, size: int) -> None:
        self._body = os.urandom(size)
        self._fd = os.open(directory / f"fdatasync-{size}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        self.samples = Samples()

    def once(self) -> None:
        with self.samples.timed():
            os.write(self._fd, self._body)
            os.fdatasync(self._fd)

    def many(self, count: int) -> float:
        """`count` times; gives the bytes per second."""
        started = time.perf_counter()
        for _ in range(count):
            self.once()
        seconds = time.perf_counter() - started
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        return count * len(self._body) / seconds

    def __enter__(self) -> Fdatasync:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._fd)


class SqliteCommit:
    """Insert one row of `size` bytes and commit: WAL, `synchronous = FULL`, everything else as it comes."""

    def __init__(self, directory: Path, size: int) -> None:
        self._body = os.urandom(size)
        self._connection = apsw.Connection(str(directory / f"commit-{size}.db"))
        self._connection.pragma("journal_mode", "wal")
        self._connection.pragma("synchronous", "full")
        self._connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        self.samples = Samples()

    def once(self) -> None:
        with self.samples.timed():
            self._connection.execute("INSERT INTO entry (body) VALUES (?)", (self._body,))

    def many(self, count: int) -> None:
        for _ in range(count):
            self.once()

    def __enter__(self) -> SqliteCommit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
