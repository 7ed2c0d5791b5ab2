"""Locks between processes, by `flock`: the writers' turnstile, the sweeper's badge, the guard of the format.

SQLite's own write lock lets a busy process starve the others for seconds, since whoever polls at the
right moment gets it. So writers queue before `BEGIN IMMEDIATE`: a writer takes the gate, then its
turn, then opens the gate again. Whoever finished must pass the gate anew, and behind it somebody is
waiting for the turn already, so the turn goes round.

The kernel releases a lock when its holder dies, so nothing is left behind by a killed process. One that
is stopped keeps its locks; the writer tells its callers so after a while.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from typing import Final

# Taking a free lock is a matter of a microsecond. `fcntl.flock` gives up the GIL for it, and under load
# getting the GIL back costs milliseconds; a call through PyDLL keeps it.
_flock: Final = ctypes.PyDLL(None, use_errno=True).flock


class FileLock:
    """A lock on a file, held by this open file, not by the process or thread; exclusive or shared."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def try_acquire(self) -> bool:
        """Take the lock for this holder alone, if it is free."""
        return self._try(fcntl.LOCK_EX)

    def try_share(self) -> bool:
        """Take the lock together with others that share it, unless one has it alone."""
        return self._try(fcntl.LOCK_SH)

    def _try(self, mode: int) -> bool:
        if _flock(self._fd, mode | fcntl.LOCK_NB) == 0:
            return True
        code = ctypes.get_errno()
        if code in (errno.EWOULDBLOCK, errno.EINTR):
            return False
        raise OSError(code, os.strerror(code), str(self._path))

    def acquire(self) -> None:
        """Take the lock alone, waiting for it as long as its holder lives."""
        if not self.try_acquire():
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def fileno(self) -> int:
        """The open file, for whoever also keeps something in it."""
        return self._fd

    def map(self, size: int) -> mmap.mmap:
        """The first `size` bytes of the file, as memory that all processes share; zero until somebody writes there.

        It has an open file of its own: as long as anything keeps the open file of a lock, the lock may be held. The
        disk has room for all of it, or this raises: a page that finds none when it is written to kills the process.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < size:
                os.posix_fallocate(fd, 0, size)
            return mmap.mmap(fd, size)
        finally:
            os.close(fd)

    def release(self) -> None:
        _flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the lock up with its file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Turnstile:
    """Lets one writer of all processes through at a time, in turn."""

    def __init__(self, gate: FileLock, turn: FileLock) -> None:
        self._gate = gate
        self._turn = turn

    def enter(self) -> None:
        """Wait for the turn, as long as those before it live."""
        self._gate.acquire()
        try:
            self._turn.acquire()
        finally:
            self._gate.release()

    def leave(self) -> None:
        self._turn.release()
