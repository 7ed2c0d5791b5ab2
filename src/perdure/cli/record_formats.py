"""Records as lines of text, in and out: the forms that `append`, `read` and `tail` speak, those of the S2 CLI.

======================= ============================================================================================
`text`                  One record a line, which is the body as it is, byte for byte. Headers and timestamps are not
                        shown, and a body that holds line ends reads as several lines.
`json`                  `{"seq_num": 7, "timestamp": 1700000000000, "headers": [["name", "value"]], "body": "text"}`,
                        one object a line. Bytes that are not UTF-8 become U+FFFD: they are lost.
`json-base64`           The same with standard base64 in place of texts: what it writes reads back as it was.
======================= ============================================================================================

On the way out, a record without headers or without a body has no such field. On the way in, every field may be missing,
and `seq_num` says nothing: the stream gives the number. A field of another name is refused, since a misspelt one would
otherwise go unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from ..errors import Invalid
from ..model.limits import MAX_BATCH_BYTES
from ..model.metering import RECORD_OVERHEAD_BYTES
from ..model.records import AppendRecord, SequencedRecord

MAX_TEXT_LINE_BYTES: Final = MAX_BATCH_BYTES - RECORD_OVERHEAD_BYTES
"""A line of text is a body, and a record has room for no more."""

MAX_JSON_LINE_BYTES: Final = 8 * MAX_BATCH_BYTES
"""JSON takes up to six bytes for one (as for a zero byte, `\\u0000`), and the rest of the object has some room too."""

_TEXT_EXAMPLE: Final = '{"body": "text", "headers": [["name", "value"]]}'
_BASE64_EXAMPLE: Final = '{"body": "dGV4dA==", "headers": [["bmFtZQ==", "dmFsdWU="]]}, in base64'
_SHOWN_BYTES: Final = 60


class RecordFormat(StrEnum):
    """How records are written as lines."""

    TEXT = "text"
    JSON = "json"
    JSON_BASE64 = "json-base64"

    @property
    def max_line_bytes(self) -> int:
        """The longest line that can be a record, in bytes, without its end."""
        return MAX_TEXT_LINE_BYTES if self is RecordFormat.TEXT else MAX_JSON_LINE_BYTES


class BadLine(Exception):
    """A line of the input that is no record.

    `number` counts lines from 1; `why` tells what is wrong with it, and what was expected.
    """

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}")
        self.number = number
        self.why = why

    def __reduce__(self) -> tuple[type[BadLine], tuple[int, str]]:
        return BadLine, (self.number, self.why)


class _TextForm(Struct, frozen=True, forbid_unknown_fields=True):
    seq_num: int | None = None
    timestamp: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


class _Base64Form(Struct, frozen=True, forbid_unknown_fields=True):
    seq_num: int | None = None
    timestamp: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class _TextShown(Struct, frozen=True, omit_defaults=True):
    seq_num: int
    timestamp: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


class _Base64Shown(Struct, frozen=True, omit_defaults=True):
    seq_num: int
    timestamp: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


_TEXT_DECODER: Final = msgspec.json.Decoder(_TextForm)
_BASE64_DECODER: Final = msgspec.json.Decoder(_Base64Form)
_ENCODER: Final = msgspec.json.Encoder()


class LineSplitter:
    """Bytes in, in any slices; whole lines out, in order, without their ends, which are LF or CRLF.

    It holds no more than one line, and refuses to hold one longer than `max_line_bytes`.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._open = bytearray()
        self._lines = 0

    @property
    def unfinished_bytes(self) -> int:
        """How much there is of a line whose end has not come."""
        return len(self._open)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in `data`; take them all. Raises `BadLine` when it comes to one that is too long."""
        lines = data.split(b"\n")
        rest = lines.pop()
        for line in lines:
            if self._open:
                line = bytes(self._open) + line
                self._open.clear()
            if line.endswith(b"\r"):
                line = line[:-1]
            self._lines += 1
            if len(line) > self._max:
                raise self._too_long()
            yield line
        self._open += rest
        if len(self._open) > self._max + 1:  # one more, which may be the CR of a line end
            self._lines += 1
            raise self._too_long()

    def finish(self) -> Iterator[bytes]:
        """The last line, if it has no end. Raises `BadLine` if it is too long."""
        if self._open:
            line = bytes(self._open)
            self._open.clear()
            self._lines += 1
            if len(line) > self._max:
                raise self._too_long()
            yield line

    def _too_long(self) -> BadLine:
        limit = f"{self._max:,} bytes"
        return BadLine(self._lines, f"longer than {limit}, which no record can be; split it, or send a reference")


class RecordParser:
    """Bytes of one format in, in any slices; records out, in order."""

    def __init__(self, format: RecordFormat) -> None:
        self._splitter = LineSplitter(format.max_line_bytes)
        self._format = format
        self._number = 0

    @property
    def unfinished_bytes(self) -> int:
        """How much there is of a record whose line has not ended."""
        return self._splitter.unfinished_bytes

    def feed(self, data: bytes) -> tuple[list[AppendRecord], BadLine | None]:
        """The records whose lines end in `data`, and what is wrong with the line behind them, if something is.

        After a bad line nothing more may be fed.
        """
        return self._parse(self._splitter.feed(data))

    def finish(self) -> tuple[list[AppendRecord], BadLine | None]:
        """The record of a last line that has no end; as `feed` gives it."""
        return self._parse(self._splitter.finish())

    def _parse(self, lines: Iterable[bytes]) -> tuple[list[AppendRecord], BadLine | None]:
        records: list[AppendRecord] = []
        try:
            for line in lines:
                self._number += 1
                record = parse_record(self._format, line, self._number)
                if record is not None:
                    records.append(record)
        except BadLine as exc:
            return records, exc
        return records, None


def parse_record(format: RecordFormat, line: bytes, number: int = 1) -> AppendRecord | None:
    """The record that `line` is; None for a blank line between objects. Raises `BadLine` with this `number`."""
    try:
        if format is RecordFormat.TEXT:
            return AppendRecord(line)
        if not line or line.isspace():
            return None
        if format is RecordFormat.JSON:
            text = _TEXT_DECODER.decode(line)
            return AppendRecord(text.body, headers=text.headers, timestamp=text.timestamp)
        raw = _BASE64_DECODER.decode(line)
        return AppendRecord(raw.body, headers=raw.headers, timestamp=raw.timestamp)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        example = _TEXT_EXAMPLE if format is RecordFormat.JSON else _BASE64_EXAMPLE
        raise BadLine(number, f"{_shown(line)} is no record as {format.value} ({exc}); expected {example}") from None
    except Invalid as exc:
        raise BadLine(number, exc.message) from None


def format_record(format: RecordFormat, record: SequencedRecord) -> bytes:
    """The line of `record`, with its end. A command record has one as JSON only: as text it has nothing to show."""
    if format is RecordFormat.TEXT:
        return b"" if record.command is not None else record.body + b"\n"
    seq_num, timestamp = record.seq_num, record.timestamp
    if format is RecordFormat.JSON_BASE64:
        return _ENCODER.encode(_Base64Shown(seq_num, timestamp, record.headers, record.body)) + b"\n"
    headers = tuple([(name.decode(errors="replace"), value.decode(errors="replace")) for name, value in record.headers])
    return _ENCODER.encode(_TextShown(seq_num, timestamp, headers, record.text)) + b"\n"


def _shown(line: bytes) -> str:
    """The beginning of a line, for a message."""
    text = line[:_SHOWN_BYTES].decode(errors="replace")
    return f"{text!r}{'…' if len(line) > _SHOWN_BYTES else ''}"
