"""Batches: records that are appended together, their acknowledgement, and records read together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct

from ..errors import Invalid
from .limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from .names import check_fencing_token
from .positions import StreamPosition, check_u64
from .records import AppendRecord, SequencedRecord


def check_record_count(count: int) -> None:
    """Raises `Invalid` unless a batch may have so many records."""
    if not count:
        raise Invalid("record batch must not be empty")
    if count > MAX_BATCH_RECORDS:
        raise Invalid(f"record batch must not exceed {MAX_BATCH_RECORDS} records, got {count}")


class AppendInput(Struct, frozen=True):
    """1 to 1000 records to append as one, with the conditions under which they may be.

    `match_seq_num`: append only if the first record would get this sequence number.
    `fencing_token`: append only if this is the stream's current token. `None` checks nothing.
    Build it with `AppendInput.of`, which checks the limits.
    """

    records: tuple[AppendRecord, ...]
    match_seq_num: int | None = None
    fencing_token: str | None = None
    metered_bytes: int = 0

    @classmethod
    def of(
        cls,
        records: Iterable[AppendRecord],
        *,
        match_seq_num: int | None = None,
        fencing_token: str | None = None,
    ) -> AppendInput:
        """Check the limits of a batch and build it.

        Raises `Invalid`: no or more than 1000 records, more than 1 MiB of metered bytes, a fencing
        token above 36 bytes, a `match_seq_num` outside 0 … 2^64 - 1.
        """
        if isinstance(records, AppendRecord):
            raise Invalid("a batch is a list of AppendRecord values; put the one record into a list")
        batch = tuple(records)
        check_record_count(len(batch))
        for record in batch:
            if type(record) is not AppendRecord:
                raise Invalid(f"a batch holds AppendRecord values, got {type(record).__name__}")
        if match_seq_num is not None:
            check_u64(match_seq_num, "match_seq_num")
        return cls.of_checked(batch, match_seq_num=match_seq_num, fencing_token=fencing_token)

    @classmethod
    def of_checked(
        cls, records: tuple[AppendRecord, ...], *, match_seq_num: int | None, fencing_token: str | None
    ) -> AppendInput:
        """The batch of a decoder, which knows that there are 1 to 1000 records and that types and numbers are right.

        Raises `Invalid`: more than 1 MiB of metered bytes, a fencing token above 36 bytes.
        """
        size = sum([record.metered_bytes for record in records])
        if size > MAX_BATCH_BYTES:
            raise Invalid(f"record batch must not exceed a metered size of 1 MiB, got {size} bytes")
        if fencing_token is not None:
            check_fencing_token(fencing_token)
        return cls(records, match_seq_num, fencing_token, size)


class AppendAck(Struct, frozen=True, gc=False):
    """A batch is durable. `end` is one past its last record.

    `tail` is the stream's tail when the batch became durable: the same as `end`, or further where other batches became
    durable at the same moment.
    """

    start: StreamPosition
    end: StreamPosition
    tail: StreamPosition


class ReadBatch(Struct, frozen=True):
    """Records read together, in order; `tail` is given when they came from following live."""

    records: tuple[SequencedRecord, ...]
    tail: StreamPosition | None = None


class PlainRecords(Struct, frozen=True):
    """Records that follow each other and have no headers, as nothing but their bodies.

    What is read in bulk is mostly of this kind, and a value for each record would cost more than to read it.
    """

    start_seq: int
    bodies: Sequence[bytes]
    last_timestamp: int
    tail: StreamPosition | None = None

    @property
    def end(self) -> StreamPosition:
        """One past the last record, and its timestamp."""
        return StreamPosition(self.start_seq + len(self.bodies), self.last_timestamp)


Part: TypeAlias = ReadBatch | PlainRecords
"""What a read in bulk gives: records as values where they have headers, or come alone, and bodies elsewhere."""
