"""The data directory: where it is, whether it is fit, and the files in it.

::

    streams.db, streams.db-wal, streams.db-shm    the database
    users.lock                                    shared by all who use the directory, see `schema.prepare`
    gate.lock, turn.lock                          the writers' turnstile; in the latter their notes, see `change_notes`
    sweeper.lock                                  held by the process that removes what expired
    backup.lock                                   shared by those who keep the log from beginning anew, see `backup`
    segments/                                     large blocks, see `segments`
    bells/                                        one datagram socket for each process that follows
    tls/                                          what `perdure serve --tls-self` shows its clients, see `self_signed`
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from typing import Final

from ...errors import StorageFailed, UsageError
from .locks import FileLock

MEMORY: Final = ":memory:"
"""Instead of a path: a private directory on a memory file system, removed on close."""

MOUNT_TABLE: Final = Path("/proc/self/mountinfo")

_MEMORY_FILE_SYSTEM: Final = Path("/dev/shm")
_PRIVATE_PREFIX: Final = "perdure-memory-"
_ABANDONED_SECONDS: Final = 60.0
"""A private directory this old that nobody uses was left by a process that was killed."""

_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "gpfs", "beegfs", "glusterfs", "lustre"}
    | {"fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)
"""WAL needs memory that all processes share, and locks that hold; these promise neither."""


_DATABASE: Final = "streams.db"


def check_is_store(data: str | os.PathLike[str]) -> Path:
    """The path of a directory that holds a store already. Raises `UsageError` for any other."""
    path = Path(data).expanduser().absolute()
    if os.fspath(data) == MEMORY:
        raise UsageError("a store in memory can be copied by nobody, since only its own process reaches it")
    if not (path / _DATABASE).is_file():
        raise UsageError(f"{path} is not the data directory of a store; give the directory that the server uses")
    return path


class DataDirectory:
    """A directory that is ready to be used; `remove` deletes it if it was private."""

    def __init__(self, path: Path, *, private: bool) -> None:
        self.path = path
        # The finalizer runs at the exit of the interpreter as well, for a store that nobody closed.
        self._finalizer = weakref.finalize(self, _remove_private, path, os.getpid()) if private else None

    @classmethod
    def prepare(cls, where: str | os.PathLike[str], *, mount_table: Path = MOUNT_TABLE) -> DataDirectory:
        """Create the directory if it is missing, for its owner only, and make sure that a database can live in it.

        Raises `UsageError` for a network file system or something that is no directory,
        `StorageFailed` when it cannot be created or written.
        """
        if os.fspath(where) == MEMORY:
            return cls._private()
        if not os.fspath(where):
            raise UsageError("the path of the data directory is empty; a dot is the current directory")
        path = Path(where).expanduser().absolute()
        try:
            path.mkdir(0o700, parents=True, exist_ok=True)  # like a backup: who shares it, decides so
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"{path} is not a directory; give a directory for the data") from None
        except OSError as exc:
            raise StorageFailed(f"cannot create the data directory {path}: {exc.strerror}") from exc
        file_system = _file_system_of(path, mount_table)
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
        memory = os.access(_MEMORY_FILE_SYSTEM, os.W_OK | os.X_OK)
        parent = _MEMORY_FILE_SYSTEM if memory else Path(tempfile.gettempdir())
        _remove_abandoned(parent)
        return cls(Path(tempfile.mkdtemp(prefix=_PRIVATE_PREFIX, dir=parent)), private=True)

    @property
    def database(self) -> Path:
        return self.path / _DATABASE

    @property
    def log(self) -> Path:
        """The database's write-ahead log, as SQLite names it."""
        return self.path / "streams.db-wal"

    @property
    def users_lock(self) -> Path:
        return self.path / "users.lock"

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
    def backup_lock(self) -> Path:
        return self.path / "backup.lock"

    @property
    def segments(self) -> Path:
        return self.path / "segments"

    @property
    def bells(self) -> Path:
        return self.path / "bells"

    def remove(self) -> None:
        """Delete a private directory; others stay. Idempotent."""
        if self._finalizer is not None:
            self._finalizer()


def _remove_private(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a child made by `fork` runs the finalizers of its parent, too
        shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Delete the private directories of processes that were killed; they would fill the memory for good."""
    for path in parent.glob(_PRIVATE_PREFIX + "*"):
        try:
            found = path.lstat()
            if found.st_uid == os.geteuid() and time.time() - found.st_ctime > _ABANDONED_SECONDS:
                lock = FileLock(path / "users.lock")
                try:
                    if lock.try_acquire():
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    lock.close()
        except OSError:
            continue  # it went away meanwhile, or is none of ours


def _file_system_of(path: Path, mount_table: Path) -> str:
    """The type of the file system that holds `path`; empty where the system does not tell."""
    try:
        mounts = mount_table.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        # Blanks and the like are octal escapes there.
        mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), left.split(" ")[4])
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):  # of two on the same place, the later one covers the other
            best, kind = mount, right.split(" ")[0]
    return kind
