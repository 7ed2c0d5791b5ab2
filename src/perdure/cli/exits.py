"""How a command ends: its exit status, and what it says when it failed."""

from __future__ import annotations

import sys
from enum import IntEnum

from ..errors import AppendConditionFailed, Invalid, NotFound, UsageError


class ExitStatus(IntEnum):
    """What the shell is told. Signals end a command with 128 and their number: 130 for Ctrl-C, 143 for SIGTERM."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONDITION_FAILED = 4
    DIFFERENT = 5
    INTERRUPTED = 130
    PIPE_CLOSED = 141


STATUS_HELP = (
    "Exit status: 0 fine, 1 failed, 2 the call was wrong, 3 not found (basin, stream or token), 4 an append's "
    "condition did not hold (sequence number or fencing token), 5 `diff` found differences, 130 Ctrl-C, "
    "141 nobody reads the output."
)


def status_of(exc: Exception) -> ExitStatus:
    """The exit status of a command that `exc` ended."""
    match exc:
        case NotFound():
            return ExitStatus.NOT_FOUND
        case AppendConditionFailed():
            return ExitStatus.CONDITION_FAILED
        case UsageError() | Invalid():
            return ExitStatus.USAGE
        case _:
            return ExitStatus.FAILED


def failure_text(exc: Exception) -> str:
    """What went wrong. The number that the system has for it is of no use to anybody."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror if exc.filename is None else f"{exc.filename}: {exc.strerror}"
    return str(exc)


def tell_failure(command: str, message: str, *remedies: str) -> None:
    """Say on the standard error what went wrong in `perdure COMMAND`, and what can be done about it."""
    from .output import printable

    name = f"perdure {command}".rstrip()
    lines = [f"{name}: {message}", *(f"  {remedy}" for remedy in remedies)]
    print("\n".join(printable(line, keep="\n") for line in lines), file=sys.stderr)
