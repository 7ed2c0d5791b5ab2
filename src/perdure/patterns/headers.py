"""The four headers that make messages of records: names, and numbers as eight bytes."""

from __future__ import annotations

from typing import Final

from ..errors import ProtocolViolation
from ..model.limits import MAX_BATCH_BYTES
from ..model.metering import metered_bytes

FRAME_RECORDS_HEADER: Final = b"_frame_records"
"""On the first record of a message: how many records it has."""

FRAME_BYTES_HEADER: Final = b"_frame_bytes"
"""On the first record of a message: how many bytes it has."""

DEDUPE_SEQ_HEADER: Final = b"_dedupe_seq"
"""On every record of a writer that de-duplicates: the writer's count of records."""

WRITER_ID_HEADER: Final = b"_writer_id"
"""On every record of a writer that de-duplicates: which writer counts; text."""

WRITER_ID_CHARS: Final = 12
U64_BYTES: Final = 8

_NUMBER: Final = bytes(U64_BYTES)
MAX_CHUNK_BODY_BYTES: Final = MAX_BATCH_BYTES - metered_bytes(
    (
        (FRAME_RECORDS_HEADER, _NUMBER),
        (FRAME_BYTES_HEADER, _NUMBER),
        (DEDUPE_SEQ_HEADER, _NUMBER),
        (WRITER_ID_HEADER, bytes(WRITER_ID_CHARS)),
    ),
    b"",
)
"""The largest body with which a record that has all four headers is not too large: 1,048,477 bytes."""


class MalformedHeader(ProtocolViolation):
    """A record has a header of this format's with a value that is no number; `name` is the header's."""

    def __init__(self, name: bytes, size: int) -> None:
        super().__init__(
            f"the header {name.decode()} must be a number of {U64_BYTES} bytes, and has {size}: "
            "the record comes from a program that uses this name for something else"
        )
        self.name: bytes = name


def encode_u64(value: int) -> bytes:
    """`value` as eight bytes, the highest first. Raises `OverflowError` outside 0 … 2^64 - 1."""
    return value.to_bytes(U64_BYTES, "big")


def decode_u64(name: bytes, value: bytes) -> int:
    """The number in the header `name`. Raises `MalformedHeader` for any other length than eight bytes."""
    if len(value) != U64_BYTES:
        raise MalformedHeader(name, len(value))
    return int.from_bytes(value, "big")
