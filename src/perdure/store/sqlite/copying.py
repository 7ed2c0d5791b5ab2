"""Copying files for a backup: little memory, a checksum on the way, and durable in small steps.

A step is synced before the next one is written. Left to itself the kernel would collect gigabytes, and whoever
syncs a file of a store on the same disk then waits until all of them are written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from .manifest import CopiedFile

CHUNK_BYTES: Final = 1024 * 1024
"""What is read at a time."""

STEP_BYTES: Final = 8 * 1024 * 1024
"""What is written between two syncs: some milliseconds of a disk's time."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that are done, and with all there are as far as is known."""


class CutShort(Exception):
    """A file ended before it should; `size_bytes` is where."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"ends at {size_bytes}")
        self.size_bytes: int = size_bytes


class Meter:
    """Counts what is done of `total_bytes` and tells whoever wants to know."""

    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._total = total_bytes
        self._done = 0
        self._progress = progress

    def advance(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._total))


def copy_file(source: int, target: Path, size: int, meter: Meter) -> CopiedFile:
    """Copy the first `size` bytes of an open file to a new one, which is on disk when this returns.

    The checksum is of what was read. Raises `CutShort` if there is less to read.
    """
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK_BYTES))
    offset = synced = 0
    with target.open("xb", buffering=0) as file:
        while offset < size:
            count = os.preadv(source, [buffer[: min(CHUNK_BYTES, size - offset)]], offset)
            if count == 0:
                raise CutShort(offset)
            digest.update(buffer[:count])
            _write(file.fileno(), buffer[:count])
            offset += count
            if offset - synced >= STEP_BYTES:
                os.fdatasync(file.fileno())
                synced = offset
            meter.advance(count)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # nobody reads it soon; others need the memory
    return CopiedFile(size, digest.hexdigest())


def checksum_of(path: Path) -> CopiedFile:
    """What `copy_file` says, of a file that is there."""
    with path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return CopiedFile(os.fstat(file.fileno()).st_size, digest.hexdigest())


def write_file(path: Path, content: bytes) -> None:
    """A new small file, on disk when this returns."""
    with path.open("xb", buffering=0) as file:
        _write(file.fileno(), memoryview(content))
        os.fsync(file.fileno())


def _write(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Create a directory and what is missing above it, durably; it may be there."""
    if not path.is_dir():
        make_directories(path.parent)
        path.mkdir(mode, exist_ok=True)
        sync_directory(path.parent)
