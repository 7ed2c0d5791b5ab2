"""The data directory: where it is, whether it is fit, and the files in it.

::

    streams.db, streams.db-wal, streams.db-shm    the database
    gate.lock, turn.lock                          the writers' turnstile
    sweeper.lock                                  held by the process that removes what expired
    bells/                                        one datagram socket for each process that follows
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from ...errors import StorageFailed, UsageError

MEMORY: Final = ":memory:"
"""Instead of a path: a private directory on a memory file system, removed on close."""

_MEMORY_FILE_SYSTEM: Final = "/dev/shm"

_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs"}
)
"""WAL needs memory that all processes share, and locks that hold; these promise neither."""


class DataDirectory:
    """A directory that is ready to be used; `remove` deletes it if it was private."""

    def __init__(self, path: Path, *, private: bool) -> None:
        self.path = path
        self.private = private

    @classmethod
    def prepare(cls, where: str | os.PathLike[str]) -> DataDirectory:
        """Create the directory if it is missing, and make sure that a database can live in it.

        Raises `UsageError` for a network file system or something that is no directory,
        `StorageFailed` when it cannot be created or written.
        """
        if os.fspath(where) == MEMORY:
            return cls._private()
        path = Path(where).expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UsageError(f"{path} is not a directory; give a directory for the data") from None
        except OSError as exc:
            raise StorageFailed(f"cannot create the data directory {path}: {exc.strerror}") from exc
        file_system = _file_system_of(path)
        if file_system in _NETWORK_FILE_SYSTEMS:
            raise UsageError(
                f"{path} is on a network file system ({file_system}), where SQLite's locks and shared memory do not "
                "work; use a local disk, or a Perdure server on the machine that has the disk"
            )
        if not os.access(path, os.W_OK | os.X_OK):
            raise StorageFailed(f"the data directory {path} is not writable; check its owner and permissions")
        return cls(path, private=False)

    @classmethod
    def _private(cls) -> DataDirectory:
        memory = _MEMORY_FILE_SYSTEM if os.access(_MEMORY_FILE_SYSTEM, os.W_OK | os.X_OK) else None
        return cls(Path(tempfile.mkdtemp(prefix="perdure-", dir=memory)), private=True)

    @property
    def database(self) -> Path:
        return self.path / "streams.db"

    @property
    def gate_lock(self) -> Path:
        return self.path / "gate.lock"

    @property
    def turn_lock(self) -> Path:
        return self.path / "turn.lock"

    @property
    def sweeper_lock(self) -> Path:
        return self.path / "sweeper.lock"

    @property
    def bells(self) -> Path:
        return self.path / "bells"

    def remove(self) -> None:
        """Delete a private directory; others stay."""
        if self.private:
            shutil.rmtree(self.path, ignore_errors=True)


def _file_system_of(path: Path) -> str:
    """The type of the file system that holds `path`; empty where the system does not tell."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        mount = left.split()[4].encode().decode("unicode_escape")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind
