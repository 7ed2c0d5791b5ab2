"""Syncing the database file ahead of a checkpoint.

SQLite syncs the database file only when a checkpoint has reached the end of the log. Whoever gets it
there then waits for the disk to take all that earlier, incomplete checkpoints have written: tens of
milliseconds after tens of megabytes. Syncing after each of them leaves little for the last.

SQLite has no call for it. What it has is access to the open file and its methods, whose layout is part
of its public interface (`sqlite3_file`, `sqlite3_io_methods`). A descriptor of our own would not do:
closing it would drop the locks that this process has on the file.
"""

from __future__ import annotations

import ctypes
from typing import Final

import apsw

_Sync: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class _Methods(ctypes.Structure):
    """The beginning of `sqlite3_io_methods`, the same since its first version."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("close", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("truncate", ctypes.c_void_p),
        ("sync", _Sync),
    )


class _File(ctypes.Structure):
    """`sqlite3_file`."""

    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


class DatabaseFile:
    """The main database file of a connection, which must stay open and be used by one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        pointer = ctypes.c_void_p()
        connection.file_control("main", apsw.SQLITE_FCNTL_FILE_POINTER, ctypes.addressof(pointer))
        self._pointer = pointer
        self._sync = ctypes.cast(pointer, ctypes.POINTER(_File)).contents.methods.contents.sync

    def sync(self) -> None:
        """Have the disk take what was written. Raises `apsw.IOError` as a checkpoint would."""
        try:
            code = self._sync(self._pointer, apsw.SQLITE_SYNC_NORMAL | apsw.SQLITE_SYNC_DATAONLY)
        except SystemError as exc:
            if isinstance(exc.__cause__, apsw.Error):  # a file system written in Python raises beside returning
                raise exc.__cause__ from None
            raise
        if code != apsw.SQLITE_OK:
            raise apsw.exception_for(code)
