"""Questions before something is gone, for people; a program is taken at its word."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine

from ..errors import UsageError
from .output import printable
from .targets import Target


def confirmed(
    question: str, work: Callable[[], Coroutine[object, object, None]], target: Target, *, yes: bool
) -> Coroutine[object, object, None]:
    """`work`, to be run, once the terminal has said yes. Raises `UsageError` if it says anything else.

    It is not asked with `yes`, nor where the standard input is no terminal: a script that deletes means it. It is asked
    before there is an event loop, in which Ctrl-C would wait for the answer. Mistakes about the store come first.
    """
    target.place()
    if not yes and sys.stdin.isatty():
        print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip().lower()
        if answer not in ("y", "yes"):
            raise UsageError("nothing was deleted; answer y, or give --yes")
    return work()
