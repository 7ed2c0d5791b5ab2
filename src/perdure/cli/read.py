"""`perdure read` and `perdure tail`: records of a stream out, as lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter

from ..client import ReadSession
from ..errors import ReadUnwritten, UsageError
from ..model.limits import MAX_U32
from ..model.positions import ReadStart, SeqNum, TailOffset, Timestamp
from ..model.records import CommandKind, SequencedRecord, trim_point_of
from .common_options import StreamArgument
from .encryption import KeyOption, encryption_key
from .exits import ExitStatus
from .option_types import number_from_0, parsed_by
from .output import is_terminal, printable, tell
from .pipes import cancelled_when_closed, write_all
from .progress import ProgressLine, size_text
from .quantities import records_text, time_secs
from .record_formats import RecordFormat, format_record
from .targets import Target, Use

STDOUT: Final = "-"
LAST_RECORDS: Final = 10

_FOREVER_SECS: Final = float(MAX_U32)
"""The longest wait that the protocol can ask for, some 136 years."""

Number: TypeAlias = Annotated[int, Parameter(converter=parsed_by(number_from_0), metavar="COUNT")]
Format: TypeAlias = Annotated[RecordFormat, Parameter(name="--format", help="How records are written, one a line.")]
Output: TypeAlias = Annotated[
    str,
    Parameter(
        name=("--output", "-o"), metavar="FILE", help="Where records go; a file grows, - is the standard output."
    ),
]


async def read(
    stream: StreamArgument,
    /,
    *,
    seq_num: Annotated[
        Number | None, Parameter(name=("--seq-num", "-s"), metavar="SEQ_NUM", help="Start at this sequence number.")
    ] = None,
    timestamp: Annotated[
        Number | None,
        Parameter(metavar="MS", help="Start at the first record of this time, in milliseconds since 1970."),
    ] = None,
    ago: Annotated[
        float | None,
        Parameter(converter=parsed_by(time_secs), metavar="TIME", help="Start at the records of so long ago, as 1h."),
    ] = None,
    tail_offset: Annotated[Number | None, Parameter(help="Start so many records before the tail.")] = None,
    count: Annotated[Number | None, Parameter(name=("--count", "-n"), help="Read at most so many records.")] = None,
    bytes: Annotated[
        Number | None,
        Parameter(name=("--bytes", "-b"), metavar="BYTES", help="Read at most so many metered bytes of records."),
    ] = None,
    until: Annotated[
        Number | None,
        Parameter(metavar="MS", help="Read only records from before this time, in milliseconds since 1970."),
    ] = None,
    clamp: Annotated[bool, Parameter(help="Start at the tail if the start is beyond it.")] = False,
    follow: Annotated[
        bool | None,
        Parameter(
            name=("--follow", "-f"),
            negative="--no-follow",
            help="Wait at the tail for what comes, or end there. [default: wait if nothing else ends the read]",
        ),
    ] = None,
    format: Format = RecordFormat.TEXT,
    output: Output = STDOUT,
    encryption_key_file: KeyOption = None,
    target: Target | None = None,
) -> int:
    """Read records to the standard output, or into a file."""
    follows = (count, bytes, until) == (None, None, None) if follow is None else follow
    start = _start(seq_num, timestamp, ago, tail_offset)
    if start is None:
        start = TailOffset(0) if follows else SeqNum(0)
        if follows and is_terminal(sys.stderr):
            tell(f"waiting for what is appended to {stream}; with --seq-num 0 it reads from the beginning")
    key = encryption_key(encryption_key_file)
    async with (target or Target()).open(Use.LOOKS) as s2:
        handle = s2.basin(stream.basin).stream(stream.stream, encryption_key=key)
        session = handle.read_session(
            start, count=count, bytes=bytes, until=until, clamp=clamp, wait=_FOREVER_SECS if follows else 0
        )
        await _copy(session, start, clamp=clamp, format=format, output=output)
    return ExitStatus.FINE


async def tail(
    stream: StreamArgument,
    /,
    *,
    lines: Annotated[Number, Parameter(name=("--lines", "-n"), help="How many of the last records.")] = LAST_RECORDS,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), help="Go on with what is appended.")] = False,
    format: Format = RecordFormat.TEXT,
    output: Output = STDOUT,
    encryption_key_file: KeyOption = None,
    target: Target | None = None,
) -> int:
    """Print the last records of a stream, and with -f what comes."""
    start = TailOffset(lines)
    key = encryption_key(encryption_key_file)
    async with (target or Target()).open(Use.LOOKS) as s2:
        handle = s2.basin(stream.basin).stream(stream.stream, encryption_key=key)
        session = handle.read_session(start, count=None if follow else lines, wait=_FOREVER_SECS if follow else 0)
        await _copy(session, start, clamp=True, format=format, output=output)
    return ExitStatus.FINE


def _start(seq_num: int | None, timestamp: int | None, ago: float | None, tail_offset: int | None) -> ReadStart | None:
    """Where the options say that the read starts; None if they do not. Raises `UsageError` if they do twice."""
    starts: dict[str, ReadStart] = {}
    if seq_num is not None:
        starts["--seq-num"] = SeqNum(seq_num)
    if timestamp is not None:
        starts["--timestamp"] = Timestamp(timestamp)
    if ago is not None:
        starts["--ago"] = Timestamp(max(0, round((time.time() - ago) * 1000)))
    if tail_offset is not None:
        starts["--tail-offset"] = TailOffset(tail_offset)
    if len(starts) > 1:
        raise UsageError(f"{' and '.join(starts)} are {len(starts)} places to start; give one of them")
    return next(iter(starts.values()), None)


class _Written:
    """What was written so far."""

    def __init__(self) -> None:
        self.records = 0
        self.metered_bytes = 0
        self.not_text = 0
        self._numbers: tuple[int, int] | None = None

    def add(self, record: SequencedRecord, format: RecordFormat) -> None:
        self.records += 1
        self.metered_bytes += record.metered_bytes
        self._numbers = (record.seq_num if self._numbers is None else self._numbers[0]), record.seq_num
        if format is RecordFormat.JSON and not _is_text(record):
            self.not_text += 1

    def summary(self) -> str:
        if self._numbers is None:
            return "there was nothing to read"
        return (
            f"{records_text(self.records)}, {size_text(self.metered_bytes)}, numbers {self._numbers[0]} to "
            f"{self._numbers[1]}"
        )


def _is_text(record: SequencedRecord) -> bool:
    try:
        for part in (record.body, *(part for header in record.headers for part in header)):
            part.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _copy(session: ReadSession, start: ReadStart, *, clamp: bool, format: RecordFormat, output: str) -> None:
    """Write what the session reads, as it comes.

    On the standard error: commands, which a text cannot show, and how far it is, if somebody looks.
    """
    written, looked_at = _Written(), is_terminal(sys.stderr)
    with _opened(output) as fd, cancelled_when_closed(fd):
        line = ProgressLine(shown=looked_at and not os.isatty(fd))
        try:
            async with session:
                async for batch in session.batches():
                    for record in batch.records:
                        written.add(record, format)
                        if format is RecordFormat.TEXT and record.command is not None:
                            line.clear()
                            tell(_command_text(record))
                    await write_all(fd, b"".join([format_record(format, record) for record in batch.records]))
                    line.show(written.summary())
        except ReadUnwritten as exc:
            if isinstance(start, SeqNum) and start.value > exc.tail.seq_num and not clamp:
                raise
        finally:
            line.clear()
            if looked_at:
                tell(written.summary())
            if written.not_text:
                tell(
                    f"{records_text(written.not_text)} with bytes that are no UTF-8, which --format json cannot show; "
                    "--format json-base64 can"
                )


@contextmanager
def _opened(output: str) -> Iterator[int]:
    if output == STDOUT:
        sys.stdout.flush()
        yield sys.stdout.fileno()
        return
    with open(output, "ab", buffering=0) as file:
        yield file.fileno()


def _command_text(record: SequencedRecord) -> str:
    """What a command record does, in words."""
    if record.command is CommandKind.FENCE:
        does = (
            f"the fencing token is {printable(record.text)!r}" if record.body else "there is no fencing token any more"
        )
    else:
        does = f"records below {trim_point_of(record.body)} go"
    return f"{record.seq_num} @ {record.timestamp}: {record.command.value.decode() if record.command else ''}, {does}"
