"""`perdure copy`: streams from one engine to another, as they are, while the original is in use."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from json import dumps
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from cyclopts import Parameter
from msgspec import Struct

from ..errors import Invalid, UsageError
from ..store.opening import absolute, check_exists, check_where, open_engine, shown
from .option_types import directory, parsed_by
from .progress import ProgressLine, size_text

if TYPE_CHECKING:
    from ..store.copying import Selection, Totals
    from ..store.engine import Engine

PAUSE_SECS: Final = 1.0
"""Between two passes of `--follow`, in which nothing tells that the original has grown."""


Store: TypeAlias = Annotated[str, Parameter(converter=parsed_by(directory))]


class CopyOptions(Struct, frozen=True):
    """What `perdure copy` was told."""

    source: str
    target: str
    follow: bool
    no_verify: bool
    json: bool


def copy(
    source: Annotated[Store, Parameter(help="The store to copy from: a data directory, or postgres://….")],
    target: Annotated[Store, Parameter(help="The store to copy to; a directory may be new.")],
    /,
    *,
    only: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="ADDRESS",
            help="Copy only this basin, s2://BASIN, or its streams that start with a prefix, s2://BASIN/PREFIX; "
            "can be given several times.",
        ),
    ] = (),
    follow: Annotated[bool, Parameter(help="Go on until Ctrl-C, pass after pass.")] = False,
    no_verify: Annotated[bool, Parameter(help="Do not read and compare what was copied.")] = False,
    json: Annotated[bool, Parameter(help="Print the outcome of each pass as a line of JSON.")] = False,
) -> int:
    """Copy what is selected, and print what came of it; gives the exit status."""
    from ..store.copying import Selection

    options = CopyOptions(source, target, follow, no_verify, json)
    check_exists(source)
    check_where(target)
    if absolute(source) == absolute(target):
        raise UsageError("the source and the target are the same store; give another target")
    try:
        selections = tuple(Selection.parse(address) for address in only)
    except Invalid as exc:
        raise UsageError(f"--only: {exc.message}") from None
    return asyncio.run(_copy(options, selections))


async def _copy(options: CopyOptions, selections: tuple[Selection, ...]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if options.follow:  # otherwise a signal ends the command as it ends any other
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    source = await open_engine(options.source, maintain=False, create=False)
    try:
        target = await open_engine(options.target)
        try:
            await _passes(options, source, target, selections, stop)
        finally:
            await target.aclose()
    finally:
        await source.aclose()
    return 0


async def _passes(
    options: CopyOptions, source: Engine, target: Engine, selections: tuple[Selection, ...], stop: asyncio.Event
) -> None:
    """One pass, or pass after pass until `stop`, which a pass need not outlast: what it has copied stays."""
    from ..store.copying import Verify, copy_pass

    line = ProgressLine(shown=sys.stderr.isatty())

    def show(now: Totals) -> None:
        line.show(f"{_counted(now.streams, 'stream')}, {size_text(now.stored_bytes)} copied")

    verify = Verify.NOTHING if options.no_verify else Verify.ALL
    told = asyncio.create_task(stop.wait())
    try:
        while True:
            begun = time.monotonic()
            copying = asyncio.create_task(copy_pass(source, target, selections, verify=verify, show=show))
            try:
                await asyncio.wait((copying, told), return_when=asyncio.FIRST_COMPLETED)  # as long as it takes
            finally:
                if not copying.done():
                    copying.cancel()
                    await asyncio.wait((copying,))
                line.clear()
            if copying.cancelled():
                print("stopped in the middle of a pass; what was copied stays, and is not copied again", flush=True)
                return
            _print(options, copying.result(), time.monotonic() - begun)
            if not options.follow:
                return
            if verify is Verify.ALL:
                verify = Verify.COPIED  # a long stream that grows is not read from its beginning each second
            await asyncio.wait((told,), timeout=PAUSE_SECS)
            if told.done():
                return
    finally:
        told.cancel()


def _print(options: CopyOptions, totals: Totals, seconds: float) -> None:
    if options.json:
        fields = {name: getattr(totals, name) for name in totals.__struct_fields__}
        print(dumps({**fields, "seconds": round(seconds, 3)}), flush=True)
        return
    verified = "" if options.no_verify else f", {_counted(totals.verified_blocks, 'batch', 'batches')} verified"
    behind = f"{totals.behind:,} {'was' if totals.behind == 1 else 'were'} behind"
    copied = f"{_counted(totals.blocks, 'batch', 'batches')}, {size_text(totals.stored_bytes)}"
    print(
        f"{shown(options.target)} is a copy of {_counted(totals.streams, 'stream')}; "
        f"{behind}, by {copied}{verified}, in {seconds:.1f} s",
        flush=True,
    )


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
