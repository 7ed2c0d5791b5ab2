"""The stored form of a batch whose ordinary records are sealed, as far as it is protobuf.

It is a block like any other (see `perdure.wire.protobuf`): every record stands there with its sequence number and
timestamp, commands as they are. Ordinary records are empty but for the first, the *carrier*: its one header holds
what is needed to open the batch, its body the sealed *contents* of all records, commands included.

The contents are a table of lengths, unsigned 32-bit numbers with the lowest byte first, and then, one after the
other, each record's headers and body as the fields of a `SequencedRecord`. A batch is sealed before it has a place in
its stream; to open it, each record's place is put before its fields again, and nothing is parsed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from ..errors import StorageFailed
from ..model.records import AppendRecord
from . import s2_pb2
from .block import BODY_TAG, RECORDS_TAG, varint

CARRIER_HEADER: Final = b"sealed"


def encode_contents(records: Sequence[AppendRecord]) -> bytes:
    """What the records of a batch hold, to be sealed."""
    lengths: list[int] = []
    parts = [b""]
    for record in records:
        fields, body = b"", record.body
        if record.headers:
            pairs = [s2_pb2.Header(name=name, value=value) for name, value in record.headers]
            fields = s2_pb2.SequencedRecord(headers=pairs).SerializeToString()
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

    def filled(self, contents: bytes) -> bytes:
        """The block with the opened contents in place: the form that readers receive."""
        at = 4 * len(self)
        lengths = struct.unpack_from(f"<{len(self)}I", contents) if at <= len(contents) else ()
        if at + sum(lengths) != len(contents):
            raise StorageFailed("what a stored block holds does not fit its records; the database is damaged")
        view = memoryview(contents)
        parts: list[bytes | memoryview] = []
        for record, length in zip(self._records, lengths, strict=True):
            if record.headers:  # the carrier's or a command's, which the contents have
                place = s2_pb2.SequencedRecord(seq_num=record.seq_num, timestamp=record.timestamp).SerializeToString()
            else:
                place = record.SerializeToString()
            parts += (RECORDS_TAG + varint(len(place) + length) + place, view[at : at + length])
            at += length
        return b"".join(parts)
