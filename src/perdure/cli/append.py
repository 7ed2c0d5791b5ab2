"""`perdure append`: lines in, records on a stream."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from ..client import Producer
from ..client.append_session import AppendSession
from ..client.batching import DEFAULT_LINGER_MS
from ..model.batches import AppendAck
from ..model.names import check_fencing_token
from ..model.positions import StreamPosition
from ..model.records import AppendRecord
from .common_options import StreamArgument
from .encryption import KeyOption, encryption_key
from .exits import ExitStatus, tell_failure
from .option_types import number_from_0, parsed_by
from .output import is_terminal, print_json, printable, tell
from .pipes import read_pieces
from .progress import ProgressLine
from .quantities import records_text, shown_secs, time_secs
from .record_formats import BadLine, RecordFormat, RecordParser
from .signals import SignalledTwice, Stop, gently_stopped
from .targets import Target, Use
from .uri import StreamUri

STDIN: Final = "-"


class Appended(Struct, frozen=True):
    """What was acknowledged, for `--json`: `end` is one past the last record, `tail` the stream's then."""

    records: int
    start: StreamPosition
    end: StreamPosition
    tail: StreamPosition


class Tally:
    """What was acknowledged so far."""

    def __init__(self) -> None:
        self.records: int = 0
        self._first: AppendAck | None = None
        self._last: AppendAck | None = None
        self._begun = time.monotonic()

    def add(self, ack: AppendAck) -> None:
        self.records += ack.end.seq_num - ack.start.seq_num
        self._first = self._first or ack
        self._last = ack

    @property
    def appended(self) -> Appended | None:
        """All of it; None if it is nothing."""
        if self._first is None or self._last is None:
            return None
        return Appended(self.records, self._first.start, self._last.end, self._last.tail)

    def progress(self) -> str:
        seconds = time.monotonic() - self._begun
        return f"{records_text(self.records)} acknowledged, {self.records / max(seconds, 0.001):,.0f} a second"

    def summary(self, uri: StreamUri) -> str:
        appended = self.appended
        if appended is None:
            return f"nothing was appended to {uri}"
        first, last = appended.start.seq_num, appended.end.seq_num - 1
        numbers = f"number {first}" if first == last else f"numbers {first} to {last}"
        return (
            f"appended {records_text(self.records)} to {uri}: {numbers}, the tail is {appended.tail.seq_num} "
            f"({time.monotonic() - self._begun:.2f} s)"
        )


async def append(
    stream: StreamArgument,
    /,
    *,
    input: Annotated[
        str, Parameter(name=("--input", "-i"), metavar="FILE", help="Where records come from; - is the standard input.")
    ] = STDIN,
    format: Annotated[
        RecordFormat,
        Parameter(name=("--format", "--input-format"), help="How records are written, one a line."),
    ] = RecordFormat.TEXT,
    linger: Annotated[
        float,
        Parameter(
            converter=parsed_by(time_secs),
            metavar="TIME",
            show_default=shown_secs,
            help="How long a record waits for company, as 5ms.",
        ),
    ] = DEFAULT_LINGER_MS / 1000,
    match_seq_num: Annotated[
        int | None,
        Parameter(
            name=("--match-seq-num", "-m"),
            converter=parsed_by(number_from_0),
            metavar="SEQ_NUM",
            help="Append only if the first record gets this sequence number.",
        ),
    ] = None,
    fencing_token: Annotated[
        str | None,
        Parameter(
            name=("--fencing-token", "-f"),
            converter=parsed_by(check_fencing_token),
            metavar="TOKEN",
            help="Append only as long as this is the stream's fencing token.",
        ),
    ] = None,
    json: Annotated[bool, Parameter(help="Print what was appended as a JSON document.")] = False,
    encryption_key_file: KeyOption = None,
    target: Target | None = None,
) -> int:
    """Append records from the standard input, or from a file."""
    key = encryption_key(encryption_key_file)
    async with (target or Target()).open(Use.CHANGES) as s2:
        session = s2.basin(stream.basin).stream(stream.stream, encryption_key=key).append_session()
        producer = Producer(session, linger_ms=linger * 1000, match_seq_num=match_seq_num, fencing_token=fencing_token)
        with _opened(input) as fd:
            line = _Status(stream, told_each=os.isatty(fd) and is_terminal(sys.stderr))
            try:
                status = await _append(_Lines(fd, format, input), session, producer, line)
            except BaseException:
                if line.tally.records:
                    tell(line.tally.summary(stream))
                raise
    tell(line.tally.summary(stream))
    if json:
        print_json(msgspec.json.encode(line.tally.appended))
    return status


@contextmanager
def _opened(input: str) -> Iterator[int]:
    if input == STDIN:
        yield sys.stdin.fileno()
        return
    with Path(input).open("rb", buffering=0) as file:
        yield file.fileno()


class _Status:
    """Counts what is acknowledged, and shows it on the standard error."""

    def __init__(self, stream: StreamUri, *, told_each: bool) -> None:
        self.tally: Final = Tally()
        self._told_each = told_each
        self._line = ProgressLine(shown=is_terminal(sys.stderr) and not told_each)
        if told_each:
            tell(f"each line is a record for {stream}; Ctrl-D ends it")

    async def follow(self, acks: AsyncIterator[AppendAck]) -> None:
        """Until the session ends; raises what ended it."""
        try:
            async for ack in acks:
                self.tally.add(ack)
                if self._told_each:
                    tell(
                        f"  {ack.start.seq_num}"
                        + (f" to {last}" if (last := ack.end.seq_num - 1) > ack.start.seq_num else "")
                    )
                else:
                    self._line.show(self.tally.progress())
        finally:
            self._line.clear()


async def _append(lines: _Lines, session: AppendSession, producer: Producer, status: _Status) -> int:
    """Append what there is to read, until its end, a bad line or a signal; gives the exit status."""
    following = asyncio.create_task(status.follow(session.acks()), name="perdure append acks")
    try:
        with gently_stopped() as stop:
            try:
                bad = await _send(lines, producer, stop, following)
                await producer.aclose()
            except BaseException:
                await producer.abandon()
                raise
            await following
    except SignalledTwice:
        tell("given up: what was not acknowledged may be on the stream, or not")
        return ExitStatus.INTERRUPTED
    finally:
        following.cancel()
        await asyncio.wait([following])
    if bad is not None:
        tell_failure(
            "append", f"{lines.name}, {bad}", "the records before it are on the stream, those behind it are not"
        )
        return ExitStatus.FAILED
    if stop.asked.is_set() and lines.unfinished_bytes:
        tell(f"the last line had not ended, and is not appended ({lines.unfinished_bytes:,} bytes)")
    return stop.status


async def _send(lines: _Lines, producer: Producer, stop: Stop, following: asyncio.Task[None]) -> BadLine | None:
    """Submit records as they come, until the end, a bad line, which is returned, or until it is to stop.

    Raises why no more can be appended, also while nothing comes.
    """
    stopping = asyncio.ensure_future(stop.asked.wait())
    try:
        while not stop.asked.is_set():
            coming = asyncio.ensure_future(lines.next())
            await asyncio.wait((coming, stopping, following), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                await asyncio.wait([coming])
            if following.done():
                await following
            if coming.cancelled():
                return None
            records, bad, ended = coming.result()
            for record in records:
                _ = await producer.submit(record)
            if bad is not None or ended:
                return bad
    finally:
        stopping.cancel()
    return None


class _Lines:
    """Records from a file descriptor, as they come."""

    def __init__(self, fd: int, format: RecordFormat, name: str) -> None:
        self.name: Final = "the standard input" if name == STDIN else printable(name)
        self._parser = RecordParser(format)
        self._pieces = read_pieces(fd)

    @property
    def unfinished_bytes(self) -> int:
        return self._parser.unfinished_bytes

    async def next(self) -> tuple[list[AppendRecord], BadLine | None, bool]:
        """Records that have come, what is wrong with the line behind them, and whether that was all."""
        piece = await anext(self._pieces, None)
        records, bad = self._parser.finish() if piece is None else self._parser.feed(piece)
        return records, bad, piece is None
