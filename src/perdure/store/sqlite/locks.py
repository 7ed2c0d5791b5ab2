"""Locks between processes, by `flock`: the writers' turnstile and the sweeper's badge.

SQLite's own write lock lets a busy process starve the others for seconds, since whoever polls at the
right moment gets it. So writers queue before `BEGIN IMMEDIATE`: a writer takes the gate, then its
turn, then opens the gate again. Whoever finished must pass the gate anew, and behind it somebody is
waiting for the turn already, so the turn goes round.

The kernel releases a lock when its holder dies, so waiting for one needs no time-out.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

# Taking a free lock is a matter of a microsecond. `fcntl.flock` gives up the GIL for it, and under load
# getting the GIL back costs milliseconds; a call through PyDLL keeps it.
_flock: Final = ctypes.PyDLL(None, use_errno=True).flock
_TRY: Final = fcntl.LOCK_EX | fcntl.LOCK_NB


class FileLock:
    """An exclusive lock on a file, held by this open file, not by the process or thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        if _flock(self._fd, _TRY) == 0:
            return True
        code = ctypes.get_errno()
        if code in (errno.EWOULDBLOCK, errno.EINTR):
            return False
        raise OSError(code, os.strerror(code), str(self._path))

    def acquire(self) -> None:
        """Take the lock, waiting for it as long as its holder lives."""
        if not self.try_acquire():
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def release(self) -> None:
        _flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the lock up with its file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Turnstile:
    """Lets one writer of all processes through at a time, in turn; use it with `with`."""

    def __init__(self, gate: Path, turn: Path) -> None:
        self._gate = FileLock(gate)
        self._turn = FileLock(turn)

    def __enter__(self) -> None:
        self._gate.acquire()
        try:
            self._turn.acquire()
        finally:
            self._gate.release()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turn.release()

    def close(self) -> None:
        self._gate.close()
        self._turn.close()
