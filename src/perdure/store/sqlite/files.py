"""What an open engine holds of its directory, opened and released as one."""

from __future__ import annotations

import ctypes
import os
from contextlib import ExitStack

import apsw

from ...errors import UsageError
from .change_notes import ChangeNotes
from .directory import DataDirectory
from .doorbell import Bell, BellDirectory, Ringer
from .failures import translate, translate_os
from .inheritance import note_closed, note_open
from .locks import FileLock, Turnstile
from .manifest import MANIFEST
from .schema import connect, prepare
from .segments import SegmentDirectory, SegmentWriter
from .watcher import newest_commit


class OpenFiles:
    """The directory's locks, bells and the connection that writes. Blocks; to be used off the event loop."""

    def __init__(self, where: str | os.PathLike[str], *, vfs: str | None) -> None:
        """Raises as `SqliteEngine.open` says; nothing stays open then."""
        directory = DataDirectory.prepare(where)
        if (directory.path / MANIFEST).is_file() and not directory.database.exists():
            raise UsageError(
                f"{directory.path} is a backup, and a store here would be empty; make a data directory of it with "
                "`perdure restore`"
            )
        doing = f"opening the data directory {directory.path}"
        self._vfs = vfs
        with ExitStack() as undo:
            try:
                undo.callback(directory.remove)
                self.directory = directory
                undo.callback(note_closed, note_open(directory.path))
                self._locks: list[FileLock] = [
                    self._lock(undo, path)
                    for path in (
                        directory.users_lock, directory.gate_lock, directory.turn_lock, directory.sweeper_lock,
                        directory.backup_lock,
                    )
                ]  # fmt: skip
                users, gate, turn, badge, backups = self._locks
                self.badge: FileLock = badge
                self._backups = backups
                self.turnstile: Turnstile = Turnstile(gate, turn)
                self.notes: ChangeNotes = ChangeNotes(turn)
                undo.callback(self.notes.close)
                self.segments: SegmentDirectory = SegmentDirectory(directory.segments)
                self.segment_writer: SegmentWriter = SegmentWriter(self.segments)
                undo.callback(self.segment_writer.close)
                self.connection: apsw.Connection = self.connect()
                undo.callback(self.connection.close)
                prepare(self.connection, users)
                self.newest_commit: int = newest_commit(self.connection)
                self._bells = BellDirectory(directory.bells)
                undo.callback(self._bells.close)
                self.ringer: Ringer = Ringer(self._bells)
                undo.callback(self.ringer.close)
                self.bell: Bell = Bell(self._bells)
                undo.callback(self.bell.close)
            except apsw.Error as exc:
                raise translate(exc, doing) from exc
            except OSError as exc:
                raise translate_os(exc, doing) from exc
            self._undo = undo.pop_all()

    @staticmethod
    def _lock(undo: ExitStack, path: os.PathLike[str]) -> FileLock:
        lock = FileLock(path)
        undo.callback(lock.close)
        return lock

    def connect(self) -> apsw.Connection:
        """Another connection to the database; any thread."""
        connection = connect(self.directory.database, vfs=self._vfs)
        self.segments.install(connection)
        return connection

    def log_is_pinned(self) -> bool:
        """Whether a backup reads the database, so that its log cannot begin anew however long one waits."""
        if not self._backups.try_acquire():
            return True
        self._backups.release()
        return False

    def close(self) -> None:
        """Release everything; a private directory is deleted. Idempotent."""
        self._undo.close()

    def close_after_fork(self) -> None:
        """In a child: let go of what it shares with its parent, whose locks would outlive the parent otherwise.

        The connection stays for ever: closing it needs locks that a thread of the parent may have held.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.connection))
        for lock in self._locks:
            lock.close()
        self.notes.close()
        self.segment_writer.close()
        self.bell.close_after_fork()
        self.ringer.close()
        self._bells.close()
