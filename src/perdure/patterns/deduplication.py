"""Telling the records that were sent twice: decisions only, nothing waits here.

Each record of a writer that de-duplicates carries the writer's id and its count. A record that was sent again because
nobody knew whether it had arrived carries the same count, so a reader passes it over (patterns, section G.4).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from ..errors import Invalid
from ..model.records import AppendRecord, Headers
from .headers import DEDUPE_SEQ_HEADER, WRITER_ID_CHARS, WRITER_ID_HEADER, decode_u64, encode_u64

NO_WRITER_ID: Final = "__legacy__"
"""The writer of records that have a count and say not whose."""


def new_writer_id() -> str:
    """An id for one writer, which nobody else has: 12 random characters out of A-Z, a-z, 0-9, _ and -."""
    return secrets.token_urlsafe(WRITER_ID_CHARS * 3 // 4)


def numbered(record: AppendRecord, writer_id: str, seq: int) -> AppendRecord:
    """`record` with the headers of de-duplication behind its own.

    Raises `Invalid` for a record that has them already or is too large with them, `OverflowError` for a count outside
    of 0 … 2^64 - 1.
    """
    _refuse_numbered(record)
    headers = (*record.headers, (DEDUPE_SEQ_HEADER, encode_u64(seq)), (WRITER_ID_HEADER, writer_id.encode()))
    return AppendRecord.of_parts(record.body, headers, record.timestamp)


def add_dedupe_headers(records: Iterable[AppendRecord], *, writer_id: str, dedupe_seq: int) -> tuple[AppendRecord, ...]:
    """`numbered` for several records, counted from `dedupe_seq`; all or none. Raises as it does."""
    given = tuple(records)
    for record in given:
        _refuse_numbered(record)
    return tuple([numbered(record, writer_id, dedupe_seq + index) for index, record in enumerate(given)])


def _refuse_numbered(record: AppendRecord) -> None:
    for name, _ in record.headers:
        if name in (DEDUPE_SEQ_HEADER, WRITER_ID_HEADER):
            raise Invalid(
                f'the record already has the reserved header "{name.decode()}"; '
                "remove it, or append the record without de-duplication"
            )


def dedupe_mark(headers: Headers) -> tuple[str, int] | None:
    """Whose record this is, and its count; None for a record without a count. The first header of a name counts.

    Raises `MalformedHeader`.
    """
    writer_id: str | None = None
    seq: int | None = None
    for name, value in headers:
        if name == DEDUPE_SEQ_HEADER:
            if seq is None:
                seq = decode_u64(name, value)
        elif name == WRITER_ID_HEADER and writer_id is None:
            writer_id = value.decode(errors="replace")
    return None if seq is None else (NO_WRITER_ID if writer_id is None else writer_id, seq)


class DedupeFilter:
    """Which records a reader has not seen yet, for a stream that one writer at a time appends to.

    Of the same writer, only a higher count than the last is new. Another writer than the last is taken from any count
    on: it is a restarted one. Records without a count are always new.
    """

    __slots__ = ("last_seq", "last_writer_id")

    def __init__(self, *, last_writer_id: str | None = None, last_seq: int | None = None) -> None:
        """Begin as if the last record had been this one, or none."""
        self.last_writer_id: str | None = last_writer_id
        """The writer of the last record that was accepted."""
        self.last_seq: int | None = last_seq
        """Its count."""

    def accepts(self, headers: Headers) -> bool:
        """Whether the record with these headers is new; it is the last one then. Raises `MalformedHeader`."""
        mark = dedupe_mark(headers) if headers else None
        if mark is None:
            return True
        writer_id, seq = mark
        if writer_id == self.last_writer_id and self.last_seq is not None and seq <= self.last_seq:
            return False
        self.last_writer_id, self.last_seq = mark
        return True
