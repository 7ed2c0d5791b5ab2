"""The protobuf form of batches (store API, section 6.10), by protobuf's C runtime; what is written
in bulk has modules of its own, `block.py` and `append_input.py`."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from ..errors import BadRequest, StorageFailed
from ..model.batches import AppendAck, AppendInput, ReadBatch, check_record_count
from ..model.positions import StreamPosition
from ..model.records import AppendRecord, SequencedRecord
from . import s2_pb2
from .append_input import append_input_parts, lone_body
from .block import BODY_TAG, TIMESTAMP_TAG, seq_field, timestamp_field, varint, varint_bytes
from .lone_record import lone_record

if TYPE_CHECKING:
    from ..model.records import Headers

_NO_HEADERS: Final[Headers] = ()

_DAMAGED: Final = "a stored block cannot be decoded; the database is damaged"

_START_TAG: Final = b"\x0a"
_END_TAG: Final = b"\x12"
_TAIL_TAG: Final = b"\x1a"
"""The fields of an `AppendAck`."""

_MAX_ONE_BYTE: Final = 0x7F
"""The greatest number whose variable-length form takes one byte."""

_MIN_LONG_BODY_BYTES: Final = (1 << 14) - 4
"""From here on, a record's length takes three bytes."""


def encode_records(records: Iterable[SequencedRecord]) -> bytes:
    """The block form of records that are numbered already: what is left of a block that was cut."""
    batch = s2_pb2.ReadBatch()
    for record in records:
        message = batch.records.add(seq_num=record.seq_num, timestamp=record.timestamp, body=record.body)
        for name, value in record.headers:
            message.headers.add(name=name, value=value)
    return batch.SerializeToString()


def encode_tail(tail: StreamPosition) -> bytes:
    """A `ReadBatch` that holds nothing but `tail`: a heartbeat, or the end of concatenated blocks."""
    position = s2_pb2.StreamPosition(seq_num=tail.seq_num, timestamp=tail.timestamp)
    return s2_pb2.ReadBatch(tail=position).SerializeToString()


def decode_records(block: bytes) -> list[SequencedRecord]:
    """The records of a stored block, or of several concatenated. Raises `StorageFailed` on damage."""
    try:
        batch = s2_pb2.ReadBatch.FromString(block)
    except DecodeError as exc:
        raise StorageFailed(_DAMAGED) from exc
    return _records_of(batch, len(block))


def decode_plain_bodies(block: bytes, start_seq: int, end_seq: int, last_timestamp: int) -> list[bytes] | None:
    """The bodies of the records in a block, or in several that follow each other: of all from `start_seq` to `end_seq`.

    None if one has headers or an empty body, or where this takes more than to cut off what stands before the bodies.
    Without headers that is a sequence number, a timestamp, and the tag and length of the body. The numbers are as long
    in each record as in the first and the last, as neither ever runs back. Raises `StorageFailed` on damage.
    """
    seq_bytes = varint_bytes(start_seq)
    if not start_seq or varint_bytes(end_seq - 1) != seq_bytes:
        return None
    try:
        records = s2_pb2.EncodedRecords.FromString(block).records[:]
    except DecodeError as exc:
        raise StorageFailed(_DAMAGED) from exc
    if len(records) != end_seq - start_seq:
        return None
    tag_at = 2 + seq_bytes + varint_bytes(last_timestamp)
    if not _is_timestamp_field(records[0][1 + seq_bytes : tag_at]):
        return None  # the first is not as long as the last, or none is given
    try:
        if bytes(map(itemgetter(tag_at), records)).count(BODY_TAG) != len(records):
            return None
    except IndexError:  # too short for a body
        return None
    longest = max(map(len, records))
    if longest <= tag_at + 2 + _MAX_ONE_BYTE:
        return list(map(itemgetter(slice(tag_at + 2, None)), records))
    if longest >= tag_at + 3 + _MIN_LONG_BODY_BYTES:
        return None
    two_bytes_from = tag_at + 3 + _MAX_ONE_BYTE
    short, long = slice(tag_at + 2, None), slice(tag_at + 3, None)
    return [record[short] if len(record) < two_bytes_from else record[long] for record in records]


def _is_timestamp_field(field: bytes) -> bool:
    """Whether these bytes are the field of a timestamp, no more and no less."""
    return field[:1] == TIMESTAMP_TAG and field[-1] < 0x80 and all(byte >= 0x80 for byte in field[1:-1])


def _records_of(batch: s2_pb2.ReadBatch, encoded_bytes: int) -> list[SequencedRecord]:
    """The records of a batch without tail that was so long before it was decoded."""
    found = batch.records[:]
    if not found:
        return []
    seq_nums = [record.seq_num for record in found]
    timestamps = [record.timestamp for record in found]
    bodies = [record.body for record in found]
    if encoded_bytes == _size_of_plain_records(seq_nums, timestamps, list(map(len, bodies))):
        # There is room for nothing else, so no record has headers, and none needs to be looked at.
        return list(map(SequencedRecord, seq_nums, timestamps, bodies))
    return list(map(SequencedRecord, seq_nums, timestamps, bodies, map(_headers_of, found)))


def _size_of_plain_records(seq_nums: list[int], timestamps: list[int], sizes: list[int]) -> int:
    """The encoded size of records without headers; 0 where it is not worth to compute it.

    It is the smallest that these values can have: whatever else a message holds, or holds twice, makes it larger.
    """
    number_bytes = 0
    for numbers in (seq_nums, timestamps):
        low, high = min(numbers), max(numbers)
        if not low or varint_bytes(low) != varint_bytes(high):
            return 0  # a 0 is left out, and lengths differ rarely between neighbours
        number_bytes += 1 + varint_bytes(high)
    if min(sizes) > 0 and max(sizes) < _MIN_LONG_BODY_BYTES - number_bytes:
        # Beside numbers and body: tag and length of the record, and of the body; a length takes one byte up to 127.
        short = 126 - number_bytes
        around = [4 if size < short else 5 if size < 128 else 6 for size in sizes]
        return len(sizes) * number_bytes + sum(sizes) + sum(around)
    fields = [number_bytes + (_delimited_bytes(size) if size else 0) for size in sizes]
    return sum(map(_delimited_bytes, fields))


def _delimited_bytes(size: int) -> int:
    """What a field of so many bytes takes, with its tag and its length."""
    return 1 + varint_bytes(size) + size


def encode_read_batch(batch: ReadBatch) -> bytes:
    encoded = encode_records(batch.records)
    return encoded if batch.tail is None else encoded + encode_tail(batch.tail)


def decode_read_batch(data: bytes) -> ReadBatch:
    """A `ReadBatch` as a peer sent it. Raises `BadRequest` with code `bad_proto`."""
    lone = lone_record(data)
    if lone is not None:
        record, end = lone
        if end == len(data):
            return ReadBatch((record,))
        rest = decode_read_batch(data[end:])
        return ReadBatch((record, *rest.records), rest.tail)
    try:
        message = s2_pb2.ReadBatch.FromString(data)
    except DecodeError as exc:
        raise BadRequest(f"not a ReadBatch message: {exc}", "bad_proto") from exc
    size, tail = len(data), None
    if message.HasField("tail"):
        tail = StreamPosition(message.tail.seq_num, message.tail.timestamp)
        size -= _delimited_bytes(message.tail.ByteSize())
    return ReadBatch(tuple(_records_of(message, size)), tail)


def encode_append_input(batch: AppendInput) -> bytes:
    return b"".join(append_input_parts(batch))


def decode_append_input(data: bytes) -> AppendInput:
    """An `AppendInput` as a peer sent it.

    Raises `BadRequest` with code `bad_proto` if it is not one, `Invalid` if it breaks a limit.
    """
    lone = lone_body(data)
    if lone is not None:
        return AppendInput.of_checked(AppendRecord.of_bodies((lone,)), match_seq_num=None, fencing_token=None)
    try:
        message = s2_pb2.AppendInput.FromString(data)
    except DecodeError as exc:
        raise BadRequest(f"not an AppendInput message: {exc}", "bad_proto") from exc
    found = message.records
    check_record_count(len(found))
    bodies = [record.body for record in found]
    lengths = [len(body) for body in bodies]
    size = _size_of_bodies(lengths)
    if len(data) == size:
        # There is room for nothing else, so no record has headers or a timestamp, and none needs to be looked at.
        return AppendInput.of_checked(AppendRecord.of_bodies(bodies), match_seq_num=None, fencing_token=None)
    match_seq_num = message.match_seq_num if message.HasField("match_seq_num") else None
    fencing_token = message.fencing_token if message.HasField("fencing_token") else None
    if match_seq_num is not None or fencing_token is not None:
        size += s2_pb2.AppendInput(match_seq_num=match_seq_num, fencing_token=fencing_token).ByteSize()
    records = AppendRecord.of_bodies(bodies) if len(data) == size else _append_records_of(message)
    return AppendInput.of_checked(records, match_seq_num=match_seq_num, fencing_token=fencing_token)


def _append_records_of(message: s2_pb2.AppendInput) -> tuple[AppendRecord, ...]:
    records = []
    of_parts = AppendRecord.of_parts
    for record in message.records:
        timestamp: int | None = record.timestamp
        if not timestamp and not record.HasField("timestamp"):
            timestamp = None
        records.append(of_parts(record.body, _headers_of(record), timestamp))
    return tuple(records)


def _headers_of(record: s2_pb2.AppendRecord | s2_pb2.SequencedRecord) -> Headers:
    # The runtime's own iterator would cost more than the headers of most records do.
    headers = record.headers
    count = len(headers)
    if not count:
        return _NO_HEADERS
    if count == 1:
        header = headers[0]
        return ((header.name, header.value),)
    return tuple([(header.name, header.value) for header in headers[:]])


def _size_of_bodies(lengths: list[int]) -> int:
    """The encoded size of an `AppendInput` whose records are bodies of these lengths and nothing else.

    It is the smallest that these bodies can have: whatever else a message holds, or holds twice, makes it larger.
    """
    if min(lengths) > 0 and max(lengths) < _MIN_LONG_BODY_BYTES:
        # Beside the body: a tag and a length for the record, and for the body; each length of one byte up to 127.
        return sum([size + 4 if size < 126 else size + 5 if size < 128 else size + 6 for size in lengths])
    fields = [_delimited_bytes(size) if size else 0 for size in lengths]
    return sum(map(_delimited_bytes, fields))


def encode_append_ack(ack: AppendAck) -> bytes:
    """The bytes of protobuf's own runtime, put together here: four messages of the runtime take three times as long."""
    start, end = _encode_position(ack.start), _encode_position(ack.end)
    tail = end if ack.tail is ack.end else _encode_position(ack.tail)
    return b"".join((_START_TAG, start, _END_TAG, end, _TAIL_TAG, tail))


def _encode_position(position: StreamPosition) -> bytes:
    """A position as a part of a message, its length before it; its fields have the numbers that a record's have."""
    fields = seq_field(position.seq_num) + timestamp_field(position.timestamp)
    return varint(len(fields)) + fields


def decode_append_ack(data: bytes) -> AppendAck:
    """An `AppendAck` as a peer sent it. Raises `BadRequest` with code `bad_proto`."""
    try:
        message = s2_pb2.AppendAck.FromString(data)
    except DecodeError as exc:
        raise BadRequest(f"not an AppendAck message: {exc}", "bad_proto") from exc
    return AppendAck(
        *(StreamPosition(part.seq_num, part.timestamp) for part in (message.start, message.end, message.tail))
    )
