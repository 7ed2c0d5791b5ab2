"""The three streams that every process is meant to have, for a command that was started without one."""

from __future__ import annotations

import os
import sys
from typing import Final

_STDERR_FD: Final = 2


def supply_standard_streams() -> None:
    """Put the null device where the shell has closed one, as with `>&-`: there is nothing to read, and nobody to tell.

    A file that is opened later would get its number otherwise, and what is printed would end up in that.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR_FD:
        pass  # the lowest free number is taken, so this fills what is missing
    os.close(fd)
    # Python has None for those that were closed when it began.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR_FD, "w", closefd=False)
