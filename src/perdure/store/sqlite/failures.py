"""SQLite's errors in our terms: what the caller may conclude, and whether the engine may go on."""

from __future__ import annotations

import apsw

from ...errors import PerdureError, StorageFailed, StorageFull, Unavailable


def translate(exc: apsw.Error, doing: str) -> PerdureError:
    """The error that a caller gets for `exc`, which happened while `doing` something."""
    text = f"{doing} failed: {exc}"
    if isinstance(exc, apsw.FullError):
        return StorageFull(f"{doing} failed because no space is left; nothing was written")
    if isinstance(exc, apsw.BusyError):
        return Unavailable(f"{doing} failed: another program holds the database's lock for too long")
    if isinstance(exc, (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError)):
        return StorageFailed(f"{text}; check that the data directory and its files are writable")
    if isinstance(exc, (apsw.CorruptError, apsw.NotADBError)):
        return StorageFailed(f"{text}; the database is damaged, restore it from a backup")
    return StorageFailed(text)


def is_fatal(exc: apsw.Error) -> bool:
    """Whether the connection must not be used further.

    After a failed write or sync nobody knows what the disk holds until it is read back; trying the
    sync again may report success for pages that the kernel has dropped.
    """
    return isinstance(exc, (apsw.IOError, apsw.CorruptError, apsw.NotADBError))
