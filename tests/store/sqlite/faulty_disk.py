"""A disk that fails on demand: a file system for SQLite in which syncs and writes can be made to fail."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import apsw


class FaultyDisk(apsw.VFS):
    """The usual file system, until `fail_syncs` or `fail_writes` says which files fail from now on.

    `syncs` and `writes` count the calls that reached those files, failed ones included.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.lock = threading.Lock()
        self.fail_syncs = ""
        self.fail_writes = ""
        self.writes_until_failure = 0
        self.syncs: list[str] = []
        self.writes: list[str] = []

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _FaultyFile(self, name, flags)

    def sync(self, file: str) -> None:
        with self.lock:
            self.syncs.append(file)
            if self.fail_syncs and file.endswith(self.fail_syncs):
                raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)

    def write(self, file: str) -> None:
        with self.lock:
            self.writes.append(file)
            if self.fail_writes and file.endswith(self.fail_writes):
                if self.writes_until_failure == 0:
                    raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)
                self.writes_until_failure -= 1


class _FaultyFile(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name or ""

    def xSync(self, flags: int) -> None:
        self._disk.sync(self._name)
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.write(self._name)
        super().xWrite(data, offset)


@contextmanager
def faulty_disk(name: str = "faulty") -> Iterator[FaultyDisk]:
    disk = FaultyDisk(name)
    try:
        yield disk
    finally:
        disk.unregister()
