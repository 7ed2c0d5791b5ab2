"""The entry point: what it takes to have a command line at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from .._extras import missing

NEEDED_PACKAGES: Final = ("cyclopts", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status, which `perdure --help` explains."""
    absent = [name for name in NEEDED_PACKAGES if find_spec(name) is None]
    if absent:
        print(f"perdure: {missing('the command line', ' and '.join(absent), 'cli')}", file=sys.stderr)
        return 1
    from .app import run

    return run(sys.argv[1:] if arguments is None else list(arguments))
