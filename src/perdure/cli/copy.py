"""`perdure copy`: streams from one engine to another, as they are, while the original is in use."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from ..errors import Invalid, UsageError
from ..store.opening import absolute, check_exists, check_where, open_engine, shown
from .option_types import directory
from .progress import ProgressLine, size_text

if TYPE_CHECKING:
    # The public name of what `add_subparsers` gives is missing from the standard library.
    from argparse import _SubParsersAction

    from ..store.copying import Selection, Totals
    from ..store.engine import Engine

PAUSE_SECS: Final = 1.0
"""Between two passes of `--follow`, in which nothing tells that the original has grown."""


def add_copy(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    copy = commands.add_parser(
        "copy",
        help="copy streams from one store to another, as from a directory to PostgreSQL",
        description="Copy basins and streams from one store to another, both given as a data directory or as "
        "postgres://…, while the original is in use. A copy has the same sequence numbers, timestamps, fencing tokens "
        "and trim points. What was copied before is not copied again.",
        epilog="Nobody may append to the copies before you move over: stop the writers, let the copy end, start the "
        "writers on the target. Access tokens and metrics are not copied.",
    )
    copy.set_defaults(run=_run, needs=(), extra="")
    copy.add_argument("source", type=directory, metavar="SOURCE", help="the store to copy from")
    copy.add_argument("target", type=directory, metavar="TARGET", help="the store to copy to; a directory may be new")
    copy.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="s2://BASIN[/PREFIX]",
        help="copy only this basin, or its streams that start with the prefix; can be given several times",
    )
    copy.add_argument("--follow", action="store_true", help="go on until Ctrl-C, pass after pass")
    copy.add_argument("--no-verify", action="store_true", help="do not read and compare what was copied")
    copy.add_argument("--json", action="store_true", help="print the outcome of each pass as a line of JSON")


def _run(options: argparse.Namespace) -> int:
    from ..store.copying import Selection

    check_exists(options.source)
    check_where(options.target)
    if absolute(options.source) == absolute(options.target):
        raise UsageError("the source and the target are the same store; give another target")
    try:
        selections = tuple(Selection.parse(address) for address in options.only)
    except Invalid as exc:
        raise UsageError(f"--only: {exc.message}") from None
    return asyncio.run(_copy(options, selections))


async def _copy(options: argparse.Namespace, selections: tuple[Selection, ...]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if options.follow:  # otherwise a signal ends the command as it ends any other
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    source = await open_engine(options.source, maintain=False)
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
    options: argparse.Namespace, source: Engine, target: Engine, selections: tuple[Selection, ...], stop: asyncio.Event
) -> None:
    """One pass, or pass after pass until `stop`, which a pass need not outlast: what it has copied stays."""
    from ..store.copying import Verify, copy_pass

    line = ProgressLine(shown=sys.stderr.isatty())

    def show(now: Totals) -> None:
        line.show(f"{now.streams:,} streams, {size_text(now.stored_bytes)} copied")

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


def _print(options: argparse.Namespace, totals: Totals, seconds: float) -> None:
    if options.json:
        fields = {name: getattr(totals, name) for name in totals.__struct_fields__}
        print(json.dumps({**fields, "seconds": round(seconds, 3)}), flush=True)
        return
    verified = "" if options.no_verify else f", {totals.verified_blocks:,} batches verified"
    print(
        f"{shown(options.target)} is a copy of {totals.streams:,} streams; {totals.behind:,} were behind, by "
        f"{totals.blocks:,} batches, {size_text(totals.stored_bytes)}{verified}, in {seconds:.1f} s",
        flush=True,
    )
