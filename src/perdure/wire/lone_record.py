"""A `ReadBatch` of one record without headers, as a follower gets them, or a reader of records of a megabyte.

Protobuf's runtime would copy a large body once more than this, into memory that it clears before.
"""

from __future__ import annotations

from typing import Final

from ..model.limits import MAX_U64
from ..model.records import SequencedRecord
from .block import BODY_TAG, RECORDS_TAG, SEQ_NUM_TAG, TAIL_TAG, TIMESTAMP_TAG

_RECORDS: Final = RECORDS_TAG[0]
_TAIL: Final = TAIL_TAG[0]
_SEQ_NUM: Final = SEQ_NUM_TAG[0]
_TIMESTAMP: Final = TIMESTAMP_TAG[0]
_BODY: Final = BODY_TAG[0]

_VARINT_BITS: Final = 70
"""Of the longest number that protobuf reads, in ten bytes."""


def lone_record(data: bytes) -> tuple[SequencedRecord, int] | None:
    """The record that a message begins with, and where it ends, if at most a tail follows.

    None leaves the message to the runtime's parser: it holds more, or something in another order, or is damaged.
    """
    try:
        if data[0] != _RECORDS:
            return None
        size, at = _varint_at(data, 1)
        end = at + size
        if end > len(data) or (end < len(data) and data[end] != _TAIL) or data[at] != _SEQ_NUM:
            return None
        seq_num, at = _varint_at(data, at + 1)
        if data[at] != _TIMESTAMP:
            return None
        timestamp, at = _varint_at(data, at + 1)
        if data[at] != _BODY:
            return None
        size, at = _varint_at(data, at + 1)
    except IndexError:
        return None
    if at + size != end or seq_num > MAX_U64 or timestamp > MAX_U64:
        return None
    return SequencedRecord(seq_num, timestamp, data[at:end]), end


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends. Raises `IndexError` when it does not."""
    number = data[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    for shift in range(7, _VARINT_BITS, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise IndexError("a number without end")
