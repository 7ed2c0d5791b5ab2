"""`perdure bench`: a stream of its own, the run, and what came of it."""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from ...client import Basin, Stream
from ...errors import PerdureError
from ...model.configs import DeleteOnEmptyConfig, RetentionAge, StorageClass
from ...model.limits import MAX_BATCH_BYTES
from ..completion import complete_basin
from ..exits import ExitStatus
from ..option_types import parsed_by
from ..output import console, print_json, tell
from ..quantities import shown_secs, size_bytes, time_secs
from ..signals import SignalledTwice, gently_stopped
from ..targets import Target, Use
from ..uri import PrefixUri, parse_prefix
from .measured import Report, Run, Settings
from .report import print_report
from .running import run_bench
from .view import shown

AS_FAST_AS_IT_GOES: Final = "max"
MIN_RECORD_BYTES: Final = 128
STREAM_PREFIX: Final = "bench/"

_KEPT_SECS: Final = 3_600
_CLEAN_UP_SECS: Final = 10.0
"""How long the stream's deletion may take after Ctrl-C: it goes by itself where that fails."""


def parse_record_size(text: str) -> int:
    """The size of a record. Raises `ValueError`."""
    size = size_bytes(text)
    if not MIN_RECORD_BYTES <= size <= MAX_BATCH_BYTES:
        raise ValueError(f"expected {MIN_RECORD_BYTES} to {MAX_BATCH_BYTES} bytes (1 MiB), got {text!r}")
    return size


def parse_rate(text: str) -> float:
    """MiB a second; infinite for as fast as it goes. Raises `ValueError`."""
    if text.strip().lower() == AS_FAST_AS_IT_GOES:
        return float("inf")
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        raise ValueError(f'expected MiB a second, such as 0.5 or 10, or "{AS_FAST_AS_IT_GOES}", got {text!r}')
    return rate


def parse_positive_time(text: str) -> float:
    """A time above 0, in seconds. Raises `ValueError`."""
    seconds = time_secs(text)
    if seconds <= 0:
        raise ValueError(f"expected a time above 0, got {text!r}")
    return seconds


async def bench(
    basin: Annotated[
        PrefixUri,
        Parameter(
            name="BASIN",
            converter=parsed_by(parse_prefix),
            n_tokens=1,
            accepts_keys=False,
            completer=complete_basin,
            help="s2://BASIN in which the bench makes a stream for itself, or s2://BASIN/PREFIX of that stream's name.",
        ),
    ],
    /,
    *,
    target_mibps: Annotated[
        float,
        Parameter(
            name=("--target-mibps", "-t"),
            converter=parsed_by(parse_rate),
            metavar="MIBPS",
            help=f"How much to append, in MiB a second; {AS_FAST_AS_IT_GOES} for as much as the store takes.",
        ),
    ] = 1.0,
    record_size: Annotated[
        int,
        Parameter(
            name=("--record-size", "-b"),
            converter=parsed_by(parse_record_size),
            metavar="SIZE",
            help="The metered size of a record, such as 512 or 64KiB.",
        ),
    ] = 8 * 1024,
    duration: Annotated[
        float,
        Parameter(
            name=("--duration", "-d"),
            converter=parsed_by(parse_positive_time),
            metavar="TIME",
            show_default=shown_secs,
            help="For how long to append.",
        ),
    ] = 60.0,
    catchup_delay: Annotated[
        float,
        Parameter(
            name=("--catchup-delay", "-w"),
            converter=parsed_by(time_secs),
            metavar="TIME",
            show_default=shown_secs,
            help="How long to wait before everything is read again.",
        ),
    ] = 20.0,
    storage_class: Annotated[
        StorageClass | None, Parameter(name=("--storage-class", "-c"), help="The stream's, if not the basin's default.")
    ] = None,
    keep: Annotated[bool, Parameter(help="Leave the stream there; its records go after an hour.")] = False,
    json: Annotated[bool, Parameter(help="Print the outcome as a JSON document.")] = False,
    target: Target | None = None,
) -> int:
    """Measure a store: appends, a reader that follows, and a reader of everything."""
    settings = Settings(record_size, None if target_mibps == float("inf") else target_mibps, duration, catchup_delay)
    async with (target or Target()).open(Use.CHANGES) as s2:
        home = s2.basin(basin.basin)
        name = f"{basin.prefix}{STREAM_PREFIX}{secrets.token_hex(4)}"
        # Should the bench be killed, nothing stays for long.
        stream = await home.streams.create(
            name,
            storage_class=storage_class,
            retention_policy=RetentionAge(_KEPT_SECS),
            delete_on_empty=None if keep else DeleteOnEmptyConfig(60),
        )
        run = Run(settings, f"s2://{basin.basin}/{name}")
        try:
            status = await measure(run, stream)
        finally:
            if not keep:
                await _clean_up(home, name)
            _print(run, json=json)
    return status


async def measure(run: Run, stream: Stream) -> int:
    """Run the bench on this stream, and show it; gives the exit status. `run` has what was measured, in any case."""
    try:
        with gently_stopped() as stop:
            async with shown(run, stop.asked):
                await run_bench(run, stream, stop.asked)
    except SignalledTwice:
        return ExitStatus.INTERRUPTED
    if run.fault is not None:
        return ExitStatus.FAILED
    return stop.status


async def _clean_up(basin: Basin, name: str) -> None:
    """Delete the stream, whatever ended the run."""
    try:
        async with asyncio.timeout(_CLEAN_UP_SECS):
            await basin.streams.delete(name, ignore_not_found=True)
    except (PerdureError, TimeoutError) as exc:
        tell(f"s2://{basin.name}/{name} was not deleted ({exc}); its records go within an hour, then it goes as well")


def _print(run: Run, *, json: bool) -> None:
    if json:
        print_json(msgspec.json.encode(Report.of(run)))
    else:
        print_report(run, console(sys.stdout))
