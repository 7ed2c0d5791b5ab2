"""`perdure backup` and `perdure restore`: a consistent copy of a store that is in use, and the way back."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from .option_types import directory
from .progress import ProgressLine, size_text

if TYPE_CHECKING:
    # The public name of what `add_subparsers` gives is missing from the standard library.
    from argparse import _SubParsersAction

    from ..store.sqlite.copying import Progress
    from ..store.sqlite.manifest import Manifest


def add_backup(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands with their options."""
    backup = commands.add_parser(
        "backup",
        help="copy a data directory that may be in use",
        description="Copy a data directory to a new directory, while any number of processes use it. Everything that "
        "was acknowledged before the beginning is in the copy.",
        epilog="The backup holds everything: records, the hashes of access tokens, and encrypted records as they are.",
    )
    backup.set_defaults(run=_run_backup, needs=(), extra="")
    backup.add_argument("--data", type=directory, required=True, metavar="DIR", help="the data directory to copy")
    backup.add_argument("target", type=directory, metavar="TARGET", help="a new directory for the backup")
    restore = commands.add_parser(
        "restore",
        help="make a data directory from a backup",
        description="Check a backup against its checksums, and make a data directory from it. The backup stays.",
    )
    restore.set_defaults(run=_run_restore, needs=(), extra="")
    restore.add_argument("backup", type=directory, metavar="BACKUP", help="a directory that `perdure backup` made")
    restore.add_argument(
        "--data", type=directory, required=True, metavar="DIR", help="a new or empty directory for the data"
    )


def _run_backup(options: argparse.Namespace) -> int:
    from ..store.sqlite.backup import create_backup

    return _run("backup", lambda progress: create_backup(options.data, options.target, progress=progress))


def _run_restore(options: argparse.Namespace) -> int:
    from ..store.sqlite.restore import restore_backup

    return _run("restore", lambda progress: restore_backup(options.backup, options.data, progress=progress))


def _run(command: str, work: Callable[[Progress | None], Manifest]) -> int:
    """Do it, and print what came of it; gives the exit status."""
    begun, line = time.monotonic(), ProgressLine(shown=sys.stderr.isatty())

    def show(done: int, total: int) -> None:
        line.show(f"{100 * done // max(total, 1):3} %  {size_text(done)} of {size_text(total)}")

    before = signal.signal(signal.SIGTERM, _end)
    try:
        manifest = work(show)
    finally:
        line.clear()
        signal.signal(signal.SIGTERM, before)
    held = manifest.contents
    print(
        f"{command} complete: {size_text(manifest.total_bytes)} as of {manifest.created_at} (basins: {held.basins:,}, "
        f"streams: {held.streams:,}, batches: {held.blocks:,}), in {time.monotonic() - begun:.1f} s"
    )
    return 0


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the command like Ctrl-C, so that what is half done is removed."""
    raise SystemExit(128 + number)
