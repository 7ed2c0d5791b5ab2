"""Blocks: an appended batch, encoded as the `ReadBatch` message that readers receive, without its `tail`.

Protobuf messages concatenate: several blocks one after the other, followed by an encoded tail, are again one valid
`ReadBatch` (store API, section 6.10). So whole blocks travel from the disk to a reader untouched.

The bytes are the same as those of protobuf's own runtime, but put together around the bodies, which are copied once:
for 1000 records of 100 bytes that takes a quarter of the time, and for a megabyte the runtime would first clear and
fill two more buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ..model.records import AppendRecord

if TYPE_CHECKING:
    from ..model.records import Headers

# Field number and wire type, as the `.proto` file has them: fields of `ReadBatch`, then fields of `SequencedRecord`,
# then fields of `Header`.
RECORDS_TAG: Final = b"\x0a"
TAIL_TAG: Final = b"\x12"
BODY_TAG: Final = b"\x22"
SEQ_NUM_TAG: Final = b"\x08"
TIMESTAMP_TAG: Final = b"\x10"
_HEADERS_TAG: Final = b"\x1a"
_NAME_TAG: Final = b"\x0a"
_VALUE_TAG: Final = b"\x12"

_SHORT_VARINTS: Final = 1 << 14
_VARINTS: Final = tuple(
    bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7]) for number in range(_SHORT_VARINTS)
)
_TAG_AND_LOW_BITS: Final = tuple(SEQ_NUM_TAG + bytes([low | 0x80]) for low in range(0x80))
"""How the field of a sequence number from 128 on begins, by its lowest seven bits."""

_TIMESTAMPS_AT_ONCE: Final = 64
"""How many fields of timestamps are remembered: what is stored in the same millisecond has the same."""

_MAX_UNIFORM_BODY_BYTES: Final = _SHORT_VARINTS - 64
"""Up to this body, the length of a record without headers is a short varint."""


def varint(number: int) -> bytes:
    """Protobuf's variable-length form of a number: seven bits a byte, the lowest first."""
    if number < _SHORT_VARINTS:
        return _VARINTS[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def varint_bytes(number: int) -> int:
    """How many bytes `varint` takes for it."""
    return (number.bit_length() + 6) // 7 or 1


def encode_block(start_seq: int, timestamps: Sequence[int], records: Sequence[AppendRecord]) -> bytes:
    """The block of `records`, numbered from `start_seq` and stamped with `timestamps`."""
    if len(records) == 1 == len(timestamps):
        return _lone_block(start_seq, timestamps[0], records[0])
    bodies = [record.body for record in records]
    lengths = [len(body) for body in bodies]
    headers = [record.headers for record in records if record.headers]
    stamp = timestamps[0]
    if timestamps.count(stamp) == len(records):
        then = timestamp_field(stamp)
        if not headers and all(lengths) and max(lengths) <= _MAX_UNIFORM_BODY_BYTES:
            return _uniform_block(seq_fields(start_seq, len(records), then=then + BODY_TAG), bodies, lengths)
        fields_before = seq_fields(start_seq, len(records), then=then)
    else:
        fields_before = [
            seq_field + timestamp_field(timestamp)
            for seq_field, timestamp in zip(seq_fields(start_seq, len(records)), timestamps, strict=True)
        ]
    parts: list[bytes] = []
    for fields, record, body, size in zip(fields_before, records, bodies, lengths, strict=True):
        if record.headers:
            fields += encode_headers(record.headers)
        if size:
            fields += BODY_TAG + (_VARINTS[size] if size < _SHORT_VARINTS else varint(size))
        size += len(fields)
        parts += (RECORDS_TAG + (_VARINTS[size] if size < _SHORT_VARINTS else varint(size)) + fields, body)
    return b"".join(parts)


def encode_headers(headers: Headers) -> bytes:
    """The headers of a `SequencedRecord` as its fields."""
    parts: list[bytes] = []
    for name, value in headers:
        if 0 < len(name) < 0x80 and 0 < len(value) < 0x80:
            parts += (
                _HEADERS_TAG + _VARINTS[len(name) + len(value) + 4] + _NAME_TAG + _VARINTS[len(name)] + name,
                _VALUE_TAG + _VARINTS[len(value)] + value,
            )
            continue
        pair = _NAME_TAG + varint(len(name)) + name if name else b""
        if value:
            pair += _VALUE_TAG + varint(len(value)) + value
        parts.append(_HEADERS_TAG + varint(len(pair)) + pair)
    return b"".join(parts)


def _lone_block(seq_num: int, timestamp: int, record: AppendRecord) -> bytes:
    """The block of a single record, as most appends have it: a quarter of the steps that a list of one would take."""
    fields = seq_field(seq_num) + timestamp_field(timestamp)
    if record.headers:
        fields += encode_headers(record.headers)
    size = len(record.body)
    if size:
        fields += BODY_TAG + varint(size)
    return b"".join((RECORDS_TAG, varint(size + len(fields)), fields, record.body))


def _uniform_block(fields_before: list[bytes], bodies: list[bytes], lengths: list[int]) -> bytes:
    """The block of records that have a body and no headers; `fields_before` end with the body's tag.

    Most batches are of this kind, so it is made of as few steps of the interpreter for each record as can be.
    """
    parts = [RECORDS_TAG] * (5 * len(bodies))
    around = len(fields_before[0]) + 1  # what a record has beside its body, as long as the body's length is one byte
    if len(fields_before[-1]) + 1 == around:
        parts[1::5] = [_VARINTS[size + around if size < 0x80 else size + around + 1] for size in lengths]
    else:  # the sequence numbers grow by a byte on the way
        parts[1::5] = [
            _VARINTS[size + len(fields) + (1 if size < 0x80 else 2)]
            for size, fields in zip(lengths, fields_before, strict=True)
        ]
    parts[2::5] = fields_before
    parts[3::5] = [_VARINTS[size] for size in lengths]
    parts[4::5] = bodies
    return b"".join(parts)


def seq_fields(start_seq: int, count: int, *, then: bytes = b"") -> list[bytes]:
    """The fields of `count` sequence numbers from `start_seq` on, each with `then` after it; none for number 0."""
    fields: list[bytes] = []
    seq_num, end = start_seq, start_seq + count
    while seq_num < min(end, 0x80):
        fields.append(SEQ_NUM_TAG + _VARINTS[seq_num] + then if seq_num else then)
        seq_num += 1
    while seq_num < end:
        # Neighbours differ only in the lowest seven bits, which stand first.
        after = min(end, (seq_num | 0x7F) + 1)
        rest = varint(seq_num >> 7) + then
        fields += [low + rest for low in _TAG_AND_LOW_BITS[seq_num & 0x7F : (after - 1 & 0x7F) + 1]]
        seq_num = after
    return fields


def seq_field(seq_num: int) -> bytes:
    """The field of one sequence number; none for 0."""
    if seq_num >= 0x80:
        return _TAG_AND_LOW_BITS[seq_num & 0x7F] + varint(seq_num >> 7)
    return SEQ_NUM_TAG + _VARINTS[seq_num] if seq_num else b""


@lru_cache(_TIMESTAMPS_AT_ONCE)
def timestamp_field(timestamp: int) -> bytes:
    """The field of a timestamp; none for 0."""
    return TIMESTAMP_TAG + varint(timestamp) if timestamp else b""
