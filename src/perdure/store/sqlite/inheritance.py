"""Which directories a process must not open, because it was forked from one that had them open.

SQLite keeps account, in memory, of the file locks of its process. A child made by `fork` has that account, but not the
locks: they belong to the parent. So it would believe that it holds what it does not hold, and when the parent closes
the store, nobody seems to be left, and the log with everything that the child was acknowledged is removed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeAlias

from ...errors import UsageError

Identity: TypeAlias = tuple[int, int]
"""Of a directory, whatever its name: device and inode."""

_open: Final[list[Identity]] = []
"""One for each time that a directory is open in this process. Lists are changed in one step, by any thread."""

_inherited: Final[set[Identity]] = set()
"""What was open in a parent when it forked."""


def note_open(path: Path) -> Identity:
    """The directory is about to be opened; `note_closed` takes what this gives.

    Raises `UsageError` if it was open in the parent when this process was forked.
    """
    identity = _identity(path)
    if identity in _inherited:
        raise UsageError(
            f"{path} was open in the parent process when this one was forked, and SQLite's locks do not survive that: "
            "open the store after the fork only, or start processes by `spawn` or `forkserver`"
        )
    _open.append(identity)
    return identity


def note_closed(identity: Identity) -> None:
    _open.remove(identity)


def _identity(path: Path) -> Identity:
    found = path.stat()
    return found.st_dev, found.st_ino


def _after_fork() -> None:
    _inherited.update(_open)
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)
