"""Messages of any size as records, and back: decisions only, nothing waits here.

The first record of a message says how many records and bytes the message has; the others are payload and nothing
else. The format, and what a reader does with what is left of a message, are those of the npm package
`@s2-dev/streamstore-patterns` (patterns, sections G.2 and G.4), so either side reads what the other wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..errors import Invalid
from ..model.limits import MAX_U64
from ..model.records import AppendRecord, Headers, is_command
from .headers import (
    DEDUPE_SEQ_HEADER,
    FRAME_BYTES_HEADER,
    FRAME_RECORDS_HEADER,
    MAX_CHUNK_BODY_BYTES,
    U64_BYTES,
    WRITER_ID_HEADER,
    decode_u64,
    encode_u64,
)

DEFAULT_MAX_FRAME_BYTES: Final = 100 * 1024 * 1024
"""The largest message that is written or read unless told otherwise."""


class FrameSizeError(Invalid):
    """A message is larger than allowed, or a record claims that its message is.

    `size_bytes` is the message's size as counted or claimed, `max_frame_bytes` what was allowed. `code` is the one
    that the npm package gives.
    """

    def __init__(self, message: str, *, size_bytes: int, max_frame_bytes: int) -> None:
        super().__init__(message)
        self.code = "FRAME_SIZE"
        self.size_bytes: int = size_bytes
        self.max_frame_bytes: int = max_frame_bytes

    @property
    def status(self) -> int:
        return 422

    @property
    def retry_is_safe(self) -> bool:
        return False

    @property
    def has_no_side_effects(self) -> bool:
        return True


def check_max_frame_bytes(value: int) -> int:
    """`value`, if it can bound a message; otherwise raise `Invalid`."""
    if not isinstance(value, int) or not 1 <= value <= MAX_U64:
        raise Invalid(f"max_frame_bytes must be a whole number from 1 to {MAX_U64}, got {value!r}")
    return value


def check_chunk_bytes(value: int) -> int:
    """`value`, if it can bound the bodies of records with all headers; otherwise raise `Invalid`."""
    if not isinstance(value, int) or not 1 <= value <= MAX_CHUNK_BODY_BYTES:
        raise Invalid(f"chunk_bytes must be a whole number from 1 to {MAX_CHUNK_BODY_BYTES}, got {value!r}")
    return value


def check_message_bytes(size: int, max_frame_bytes: int) -> None:
    """Raises `Invalid` for an empty message, which no reader could see, and `FrameSizeError` for one too large."""
    if not size:
        raise Invalid("Serialized message is empty; the serializer must produce at least one byte")
    if size > max_frame_bytes:
        raise FrameSizeError(
            f"the serialized message has {size} bytes, more than max_frame_bytes ({max_frame_bytes}), and readers "
            "would refuse it; raise max_frame_bytes for writers and readers, or make the message smaller",
            size_bytes=size,
            max_frame_bytes=max_frame_bytes,
        )


def frame(payload: bytes, *, chunk_bytes: int = MAX_CHUNK_BODY_BYTES) -> Iterator[AppendRecord]:
    """The records of one message, made as they are taken, so that a large message is not in memory twice.

    Args:
        payload: the serialised message; an empty one has no records.
        chunk_bytes: the body of each record but the last; 1 to `MAX_CHUNK_BODY_BYTES`.

    Raises `Invalid` for `chunk_bytes`.
    """
    check_chunk_bytes(chunk_bytes)
    return _framed(payload, chunk_bytes)


def _framed(payload: bytes, chunk_bytes: int) -> Iterator[AppendRecord]:
    size = len(payload)
    headers: Headers = (
        (FRAME_RECORDS_HEADER, encode_u64(-(-size // chunk_bytes))),
        (FRAME_BYTES_HEADER, encode_u64(size)),
    )
    for start in range(0, size, chunk_bytes):
        yield AppendRecord.of_parts(payload[start : start + chunk_bytes], headers, None)
        headers = ()


class _OpenFrame:
    """A message of which the first record was seen, and what is still to come."""

    __slots__ = ("buffer", "bytes_left", "next_seq", "records_left", "writer")

    def __init__(self, records: int, size: int, headers: Headers) -> None:
        self.buffer = bytearray()  # grows with what arrives: a claim alone takes no memory
        self.records_left = records
        self.bytes_left = size
        self.writer, seq = _origin(headers)
        self.next_seq = None if seq is None else seq + 1

    @property
    def is_possible(self) -> bool:
        """Whether so many bytes can come in so many records, none of them empty."""
        return 1 <= self.records_left <= self.bytes_left or self.records_left == self.bytes_left == 0


class FrameAssembler:
    """Records in, in order; whole messages out. Holds the received part of one message at most.

    What is left of a message that was never finished is dropped when the next one begins, and so is a message whose
    records do not add up to what its first one says. Commands and records outside of a message are passed over, and
    among the records of a writer that de-duplicates, so are those of other writers and those that came before: whatever
    is in the stream, such a message comes out as it was written or not at all. The npm package looks at none of this,
    and so loses a message with a command in its midst, and of writers at once can give out a mixture.
    """

    __slots__ = ("_dropped", "_max_frame_bytes", "_open")

    def __init__(self, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        """`max_frame_bytes`: the largest message to take. Raises `Invalid` if it is below 1."""
        self._max_frame_bytes = check_max_frame_bytes(max_frame_bytes)
        self._open: _OpenFrame | None = None
        self._dropped = 0

    @property
    def is_open(self) -> bool:
        """Whether part of a message is held here."""
        return self._open is not None

    @property
    def held_bytes(self) -> int:
        """How much of a message is held here."""
        return 0 if self._open is None else len(self._open.buffer)

    @property
    def dropped_frames(self) -> int:
        """How many messages began and were given up."""
        return self._dropped

    def push(self, headers: Headers, body: bytes) -> bytes | None:
        """Take the next record; gives the message that is whole with it.

        Raises `FrameSizeError` for a record that claims a message outside of the bounds, before anything is kept for
        it, and `MalformedHeader`. The assembler can be used further: the records of that message are passed over.
        """
        if is_command(headers):
            return None
        claim = _claim(headers) if headers else None
        if claim is not None:
            records, size = claim
            self._drop()
            if not 1 <= size <= self._max_frame_bytes:
                raise FrameSizeError(
                    f"a record claims a message of {size} bytes, outside of the allowed range "
                    f"(1 to {self._max_frame_bytes}); raise max_frame_bytes to read larger messages",
                    size_bytes=size,
                    max_frame_bytes=self._max_frame_bytes,
                )
            if records == 1 and size == len(body):
                return body  # most messages: nothing to gather
            self._open = _OpenFrame(records, size, headers)
        open_frame = self._open
        if open_frame is None or (claim is None and not self._continues(open_frame, headers)):
            return None
        return self._take(open_frame, body)

    def _continues(self, open_frame: _OpenFrame, headers: Headers) -> bool:
        """Whether a record with these headers is the next one of the open message, as far as they tell."""
        writer, seq = _origin(headers)
        expected = open_frame.next_seq
        if writer != open_frame.writer or (seq is None) is not (expected is None):
            return False
        if seq is not None and expected is not None:
            if seq > expected:
                self._drop()  # a record is missing, and does not come any more
            if seq != expected:
                return False
            open_frame.next_seq = expected + 1
        return True

    def _take(self, open_frame: _OpenFrame, body: bytes) -> bytes | None:
        if body:
            open_frame.bytes_left -= len(body)
            open_frame.records_left -= 1
        if not open_frame.is_possible:
            self._drop()
            return None
        open_frame.buffer += body
        if open_frame.records_left:
            return None
        self._open = None
        return bytes(open_frame.buffer)

    def _drop(self) -> None:
        if self._open is not None:
            self._open = None
            self._dropped += 1


def _claim(headers: Headers) -> tuple[int, int] | None:
    """How many records and bytes the message has that this record begins; None if it begins none."""
    records = size = None
    for name, value in headers:
        if name == FRAME_RECORDS_HEADER:
            records = decode_u64(name, value)
        elif name == FRAME_BYTES_HEADER:
            size = decode_u64(name, value)
    return None if records is None or size is None else (records, size)


def _origin(headers: Headers) -> tuple[bytes | None, int | None]:
    """Who wrote the record, and the how manyth of that writer it is, as far as it says so.

    What is malformed counts as not there: whether that is an error is the de-duplication's business.
    """
    writer: bytes | None = None
    seq: int | None = None
    for name, value in headers:
        if name == WRITER_ID_HEADER:
            writer = value if writer is None else writer
        elif name == DEDUPE_SEQ_HEADER and len(value) == U64_BYTES:
            seq = int.from_bytes(value, "big") if seq is None else seq
    return writer, seq
