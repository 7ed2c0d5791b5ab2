"""The stored form of a batch whose ordinary records are sealed, as far as it is protobuf.

It is a block like any other (see `perdure.wire.protobuf`): every record stands there with its sequence number and
timestamp, commands as they are. Ordinary records are empty but for the first, the *carrier*: its one header holds
what is needed to open the batch, its body the sealed *contents* of all records, commands included.

The contents are a table of lengths, unsigned 32-bit numbers with the lowest byte first, and then, one after the
other, each record's headers and body as the fields of a `SequencedRecord`. A batch is sealed before it has a place in
its stream; to open it, each record's place is put before its fields again, without parsing them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from google.protobuf.message import DecodeError

from ..errors import StorageFailed
from ..model.records import AppendRecord
from . import s2_pb2
from .block import BODY_TAG, RECORDS_TAG, encode_headers, seq_fields, timestamp_field, varint

CARRIER_HEADER: Final = b"sealed"


def encode_contents(records: Sequence[AppendRecord]) -> bytes:
    """What the records of a batch hold, to be sealed."""
    lengths: list[int] = []
    parts = [b""]
    for record in records:
        fields, body = encode_headers(record.headers) if record.headers else b"", record.body
        if body:
            fields += BODY_TAG + varint(len(body))
        lengths.append(len(fields) + len(body))
        parts += (fields, body)
    parts[0] = struct.pack(f"<{len(lengths)}I", *lengths)
    return b"".join(parts)


class SealedBlock:
    """A stored block, parsed. Raises `StorageFailed` on damage."""

    def __init__(self, block: bytes) -> None:
        try:
            self._records = s2_pb2.ReadBatch.FromString(block).records
        except DecodeError as exc:
            raise StorageFailed("a stored block cannot be decoded; the database is damaged") from exc

    def __len__(self) -> int:
        return len(self._records)

    def carrier(self) -> tuple[bytes, bytes] | None:
        """How the contents are to be opened, and the sealed contents; None if there are only commands."""
        for record in self._records:
            headers = record.headers
            name = headers[0].name if len(headers) == 1 else None
            if name == CARRIER_HEADER:
                return headers[0].value, record.body
            if name != b"":
                raise StorageFailed("a stored block lacks what its records are opened with; the database is damaged")
        return None

    def filled(self, contents: bytes, start_seq: int, last_timestamp: int) -> bytes:
        """The block with the opened contents in place: the form that readers receive.

        `start_seq` and `last_timestamp` are those of the block.
        """
        count = len(self)
        table_end = 4 * count
        lengths = struct.unpack_from(f"<{count}I", contents) if table_end <= len(contents) else ()
        if table_end + sum(lengths) != len(contents):
            raise StorageFailed("what a stored block holds does not fit its records; the database is damaged")
        places = self._places(start_seq, last_timestamp)
        view = memoryview(contents)
        ends = list(accumulate(lengths, initial=table_end))
        parts: list[bytes | memoryview] = [RECORDS_TAG] * (4 * count)
        parts[1::4] = [varint(len(place) + length) for place, length in zip(places, lengths, strict=True)]
        parts[2::4] = places
        parts[3::4] = [view[start:end] for start, end in pairwise(ends)]
        return b"".join(parts)

    def _places(self, start_seq: int, last_timestamp: int) -> list[bytes]:
        """The sequence number and timestamp of each record as its first fields."""
        records = self._records
        if records and records[0].timestamp == last_timestamp:  # and so is every other: time does not go back
            return seq_fields(start_seq, len(records), then=timestamp_field(last_timestamp))
        numbers = seq_fields(start_seq, len(records))
        return [number + timestamp_field(record.timestamp) for number, record in zip(numbers, records, strict=True)]
