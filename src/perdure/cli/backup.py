"""`perdure backup` and `perdure restore`: a consistent copy of a store that is in use, and the way back."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from .option_types import directory

if TYPE_CHECKING:
    # The public name of what `add_subparsers` gives is missing from the standard library.
    from argparse import _SubParsersAction

    from ..store.sqlite.copying import Progress
    from ..store.sqlite.manifest import Manifest

_SHOW_SECONDS: Final = 0.2
"""Between two updates of the progress line."""


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
    begun, line = time.monotonic(), _ProgressLine()
    before = signal.signal(signal.SIGTERM, _end)
    try:
        manifest = work(line.show if sys.stderr.isatty() else None)
    finally:
        line.clear()
        signal.signal(signal.SIGTERM, before)
    held = manifest.contents
    print(
        f"{command} complete: {_size(manifest.total_bytes)} as of {manifest.created_at} (basins: {held.basins:,}, "
        f"streams: {held.streams:,}, batches: {held.blocks:,}), in {time.monotonic() - begun:.1f} s"
    )
    return 0


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the command like Ctrl-C, so that what is half done is removed."""
    raise SystemExit(128 + number)


class _ProgressLine:
    """One line on the terminal that is written over and over."""

    def __init__(self) -> None:
        self._next = 0.0
        self._shown = ""

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SHOW_SECONDS
            self._write(f"{100 * done // max(total, 1):3} %  {_size(done)} of {_size(total)}")

    def clear(self) -> None:
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        padding = " " * (len(self._shown) - len(text))
        print(f"\r{text}{padding}", end="" if text else "\r", file=sys.stderr, flush=True)
        self._shown = text


def _size(size: int) -> str:
    """In the unit that fits: `512.0 KiB`."""
    amount, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{amount:.1f} {units[0]}"
