"""`perdure backup` and `perdure restore`: a consistent copy of a store that is in use, and the way back."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

from cyclopts import Parameter

from .option_types import directory, parsed_by
from .progress import ProgressLine, size_text

if TYPE_CHECKING:
    from ..store.sqlite.copying import Progress
    from ..store.sqlite.manifest import Manifest


Directory: TypeAlias = Annotated[str, Parameter(converter=parsed_by(directory))]


def backup(
    target: Annotated[Directory, Parameter(help="A new directory for the backup.")],
    /,
    *,
    data: Annotated[Directory, Parameter(metavar="DIR", help="The data directory to copy.")],
) -> int:
    """Copy a data directory to a new directory, while any number of processes use it."""
    from ..store.sqlite.backup import create_backup

    return _run("backup", lambda progress: create_backup(data, target, progress=progress))


def restore(
    backup: Annotated[Directory, Parameter(help="A directory that `perdure backup` made.")],
    /,
    *,
    data: Annotated[Directory, Parameter(metavar="DIR", help="A new or empty directory for the data.")],
) -> int:
    """Check a backup against its checksums, and make a data directory from it. The backup stays."""
    from ..store.sqlite.restore import restore_backup

    return _run("restore", lambda progress: restore_backup(backup, data, progress=progress))


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
