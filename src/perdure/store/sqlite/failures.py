"""Failures of SQLite and the file system in our terms: what the caller may conclude, and whether to go on."""

from __future__ import annotations

import errno
from typing import Final

import apsw

from ...errors import PerdureError, StorageFailed, StorageFull, Unavailable

_HARMLESS: Final = (
    apsw.FullError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.TooBigError,
    apsw.ConstraintError,
)


def translate(exc: apsw.Error, doing: str) -> PerdureError:
    """The error that a caller gets for `exc`, which happened while `doing` something."""
    text = f"{doing} failed: {str(exc) or type(exc).__name__}"
    if isinstance(exc, apsw.FullError):
        return StorageFull(f"{doing} failed because no space is left; nothing was written")
    if isinstance(exc, apsw.BusyError):
        return Unavailable(f"{doing} failed: another program holds the database's lock for too long")
    if isinstance(exc, (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError)):
        return StorageFailed(f"{text}; check that the data directory and its files are writable")
    if isinstance(exc, apsw.NotADBError):
        return StorageFailed(f"{text}; the file is damaged or no database at all, restore it from a backup")
    if isinstance(exc, apsw.CorruptError):
        return StorageFailed(f"{text}; the database is damaged, restore it from a backup")
    return StorageFailed(text)


def translate_os(exc: OSError, doing: str) -> PerdureError:
    """The same for a failure of the file system outside SQLite."""
    text = f"{doing} failed: {exc.strerror or exc}"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(text)
    return StorageFailed(text)


def is_fatal(exc: apsw.Error) -> bool:
    """Whether the engine must not go on after `exc`.

    After a failed write or sync nobody knows what the disk holds until it is read back; trying the
    sync again may report success for pages that the kernel has dropped. So only errors that are known
    to leave the file as it was let the engine go on.
    """
    return not isinstance(exc, _HARMLESS)
