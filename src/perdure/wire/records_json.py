"""The JSON form of batches, acks and tails (store API, sections 2.7, 5.1, 6.6).

`Format` says how the bytes of headers and bodies stand in it: as text, or as base64. Sequence numbers and timestamps
are plain integers, of 64 bits without sign.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ..errors import BadRequest, Invalid
from ..model.batches import AppendAck, AppendInput, ReadBatch, check_record_count
from ..model.limits import MAX_FENCING_TOKEN_BYTES
from ..model.positions import StreamPosition
from ..model.records import AppendRecord, SequencedRecord
from .media import Format
from .strict_json import decode_json, require_u64


class _AppendRecordBody(Struct, gc=False):
    timestamp: int | None = None
    headers: list[tuple[str, str]] = []
    body: str = ""


class _AppendBody(Struct):
    records: list[_AppendRecordBody]
    match_seq_num: int | None = None
    fencing_token: str | None = None


class _TextRecord(Struct, omit_defaults=True, gc=False):
    seq_num: int
    timestamp: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


class _BytesRecord(Struct, omit_defaults=True, gc=False):
    """msgspec writes and reads bytes as base64."""

    seq_num: int
    timestamp: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class _TextBatch(Struct):
    records: list[_TextRecord]
    tail: StreamPosition | UnsetType = UNSET


class _BytesBatch(Struct):
    records: list[_BytesRecord]
    tail: StreamPosition | UnsetType = UNSET


class _Tail(Struct):
    tail: StreamPosition


_append_body: Final = msgspec.json.Decoder(_AppendBody)
_text_batch: Final = msgspec.json.Decoder(_TextBatch)
_bytes_batch: Final = msgspec.json.Decoder(_BytesBatch)
_ack: Final = msgspec.json.Decoder(AppendAck)
_tail: Final = msgspec.json.Decoder(_Tail)
_encoder: Final = msgspec.json.Encoder()


def decode_append_input(data: bytes, form: Format) -> AppendInput:
    """The batch in the body of a unary append.

    Raises `BadRequest` (`bad_json`) for what is no such body, a number beyond 64 bits and a fencing token above
    36 bytes; `Invalid` for bad base64, and for a batch or record that breaks a limit.
    """
    message = decode_json(data, _append_body)
    require_u64(message.match_seq_num, "match_seq_num")
    token = message.fencing_token
    if token is not None and len(token.encode()) > MAX_FENCING_TOKEN_BYTES:
        raise BadRequest(f"fencing token must not exceed {MAX_FENCING_TOKEN_BYTES} bytes in length", "bad_json")
    check_record_count(len(message.records))
    for index, record in enumerate(message.records):
        require_u64(record.timestamp, f"records[{index}].timestamp")
    raw = str.encode if form is Format.RAW else _from_base64
    records = [
        AppendRecord.of_parts(
            raw(record.body),
            tuple([(raw(name), raw(value)) for name, value in record.headers]),
            record.timestamp,
        )
        for record in message.records
    ]
    return AppendInput.of_checked(tuple(records), match_seq_num=message.match_seq_num, fencing_token=token)


def encode_append_ack(ack: AppendAck) -> bytes:
    return _encoder.encode(ack)


def decode_append_ack(data: bytes) -> AppendAck:
    """An ack as a server sent it. Raises `BadRequest` (`bad_json`)."""
    ack = decode_json(data, _ack)
    for part in ("start", "end", "tail"):
        _check_position(getattr(ack, part), part)
    return ack


def encode_tail(tail: StreamPosition) -> bytes:
    """The answer to check-tail, which is also the body of a 416."""
    return _encoder.encode(_Tail(tail))


def decode_tail(data: bytes) -> StreamPosition:
    """The answer to check-tail as a server sent it. Raises `BadRequest` (`bad_json`)."""
    tail = decode_json(data, _tail).tail
    _check_position(tail, "tail")
    return tail


def encode_read_batch(batch: ReadBatch, form: Format) -> bytes:
    """Records, and the tail if there is one. What is empty is left out; as text, what is no UTF-8 becomes U+FFFD."""
    tail = UNSET if batch.tail is None else batch.tail
    if form is Format.BASE64:
        return _encoder.encode(
            _BytesBatch([_BytesRecord(r.seq_num, r.timestamp, r.headers, r.body) for r in batch.records], tail)
        )
    return _encoder.encode(
        _TextBatch(
            [
                _TextRecord(
                    record.seq_num,
                    record.timestamp,
                    tuple([(_to_text(name), _to_text(value)) for name, value in record.headers])
                    if record.headers
                    else (),
                    record.body.decode(errors="replace"),
                )
                for record in batch.records
            ],
            tail,
        )
    )


def decode_read_batch(data: bytes, form: Format) -> ReadBatch:
    """A batch as a server sent it. Raises `BadRequest` (`bad_json`)."""
    tail: StreamPosition | UnsetType
    if form is Format.BASE64:
        of_bytes = decode_json(data, _bytes_batch)
        tail = of_bytes.tail
        records = [SequencedRecord(r.seq_num, r.timestamp, r.body, r.headers) for r in of_bytes.records]
    else:
        of_text = decode_json(data, _text_batch)
        tail = of_text.tail
        records = [
            SequencedRecord(
                record.seq_num,
                record.timestamp,
                record.body.encode(),
                tuple([(name.encode(), value.encode()) for name, value in record.headers]),
            )
            for record in of_text.records
        ]
    for index, record in enumerate(records):
        require_u64(record.seq_num, f"records[{index}].seq_num")
        require_u64(record.timestamp, f"records[{index}].timestamp")
    if tail is UNSET:
        return ReadBatch(tuple(records))
    _check_position(tail, "tail")
    return ReadBatch(tuple(records), tail)


def _check_position(position: StreamPosition, where: str) -> None:
    require_u64(position.seq_num, f"{where}.seq_num")
    require_u64(position.timestamp, f"{where}.timestamp")


def _to_text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _from_base64(text: str) -> bytes:
    try:
        raw = a2b_base64(text)
    except (Base64Error, ValueError):
        raise Invalid("invalid Base64 encoding") from None
    # Python skips what does not belong; only the one canonical form gives itself again.
    if b2a_base64(raw, newline=False) != text.encode():
        raise Invalid("invalid Base64 encoding")
    return raw
