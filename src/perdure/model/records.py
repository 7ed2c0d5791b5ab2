"""Records: what a writer gives, and what a reader gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NoReturn, TypeAlias

from msgspec import Struct

from ..errors import Invalid
from .limits import MAX_BATCH_BYTES, MAX_FENCING_TOKEN_BYTES
from .metering import RECORD_OVERHEAD_BYTES, metered_bytes
from .names import check_fencing_token
from .positions import check_u64

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Ordered name and value pairs; duplicates are kept."""

HeadersLike: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str | bytes, str | bytes]]
"""What a caller may give as headers: text is encoded as UTF-8."""

TRIM_BODY_BYTES: Final = 8


class CommandKind(Enum):
    """What a command record tells the store to do; the value is the bytes of its one header's value."""

    FENCE = b"fence"
    TRIM = b"trim"


_COMMANDS: Final = {kind.value: kind for kind in CommandKind}
_FENCE_HEADERS: Final[Headers] = ((b"", CommandKind.FENCE.value),)
_TRIM_HEADERS: Final[Headers] = ((b"", CommandKind.TRIM.value),)


def is_command(headers: Headers) -> bool:
    """Whether a record with these headers is a command: exactly one header, with an empty name."""
    return len(headers) == 1 and not headers[0][0]


def _as_bytes(value: str | bytes, what: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise Invalid(f"{what} must be encodable as UTF-8; it holds a lone surrogate") from None
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise Invalid(f"{what} must be str or bytes, got {type(value).__name__}")


def _as_headers(headers: HeadersLike) -> Headers:
    pairs: Iterable[tuple[str | bytes, str | bytes]]
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    try:
        return tuple((_as_bytes(name, "header name"), _as_bytes(value, "header value")) for name, value in pairs)
    except Invalid:
        raise
    except (TypeError, ValueError):
        raise Invalid("headers must be a mapping, or pairs of a name and a value") from None


def _check_headers(headers: Headers, body: bytes) -> None:
    """The rules for headers and commands (store API, section 1.6)."""
    if len(headers) == 1:
        if headers[0][0]:
            return
        kind = _COMMANDS.get(headers[0][1])
        if kind is None:
            raise Invalid("unknown command")
        if kind is CommandKind.FENCE:
            if len(body) > MAX_FENCING_TOKEN_BYTES:
                raise Invalid(
                    f"invalid `fence` command: fencing token must not exceed {MAX_FENCING_TOKEN_BYTES} bytes in length"
                )
            try:
                body.decode()
            except UnicodeDecodeError:
                raise Invalid("invalid `fence` command: invalid UTF-8") from None
        elif len(body) != TRIM_BODY_BYTES:
            raise Invalid(
                "invalid `trim` command: earliest sequence number to trim to "
                f"was {len(body)} bytes, must be {TRIM_BODY_BYTES}"
            )
        return
    for name, _ in headers:
        if not name:
            raise Invalid("invalid header: empty name")


class _Parts:
    """What an `AppendRecord` holds, while it is being made.

    A record is filled as this open base class and then becomes what it is: that takes a fraction of the time that going
    around `__setattr__` four times does, and appends are paid by the record.
    """

    __slots__ = ("body", "headers", "metered_bytes", "timestamp")

    body: bytes
    headers: Headers
    timestamp: int | None
    metered_bytes: int


class AppendRecord(_Parts):
    """One record to append: a body, ordered headers and, if wanted, a timestamp in milliseconds.

    Text is encoded as UTF-8. Without a timestamp the store uses the time of arrival. The value is
    checked here, once, so a bad record never reaches a stream: `Invalid` is raised for an empty
    header name, a malformed command, a timestamp outside 0 … 2^64 - 1 and a metered size above
    1 MiB.
    """

    __slots__ = ()

    def __new__(
        cls, body: str | bytes = b"", *, headers: HeadersLike = (), timestamp: int | None = None
    ) -> AppendRecord:
        raw = body if type(body) is bytes else _as_bytes(body, "body")
        if headers:
            pairs = _as_headers(headers)
            _check_headers(pairs, raw)
            size = metered_bytes(pairs, raw)
        else:
            pairs = ()
            size = RECORD_OVERHEAD_BYTES + len(raw)
        if size > MAX_BATCH_BYTES:
            raise _too_large(size)
        if timestamp is not None:
            check_u64(timestamp, "timestamp")
        parts = _Parts()
        parts.body = raw
        parts.headers = pairs
        parts.timestamp = timestamp
        parts.metered_bytes = size
        parts.__class__ = cls
        return parts  # type: ignore[return-value]  # that is its class now

    def __reduce__(self) -> tuple[Callable[[bytes, Headers, int | None], AppendRecord], tuple[object, ...]]:
        return AppendRecord.of_parts, (self.body, self.headers, self.timestamp)  # to copy it, or pickle it

    @classmethod
    def of_parts(cls, body: bytes, headers: Headers, timestamp: int | None) -> AppendRecord:
        """The record of a decoder, which knows that the types and the timestamp are right.

        The rules for headers and the size are checked: raises `Invalid`.
        """
        if headers:
            _check_headers(headers, body)
            size = metered_bytes(headers, body)
        else:
            size = RECORD_OVERHEAD_BYTES + len(body)
        if size > MAX_BATCH_BYTES:
            raise _too_large(size)
        parts = _Parts()
        parts.body = body
        parts.headers = headers
        parts.timestamp = timestamp
        parts.metered_bytes = size
        parts.__class__ = AppendRecord
        return parts  # type: ignore[return-value]  # that is its class now

    @classmethod
    def of_bodies(cls, bodies: Sequence[bytes]) -> tuple[AppendRecord, ...]:
        """Records that are a body each and nothing else, as most of those that a decoder gets. Raises `Invalid`."""
        records: list[AppendRecord] = []
        for body in bodies:
            parts = _Parts()
            parts.body = body
            parts.headers = ()
            parts.timestamp = None
            parts.metered_bytes = size = RECORD_OVERHEAD_BYTES + len(body)
            if size > MAX_BATCH_BYTES:
                raise _too_large(size)
            parts.__class__ = AppendRecord
            records.append(parts)  # type: ignore[arg-type]  # that is its class now
        return tuple(records)

    @classmethod
    def fence(cls, token: str, *, timestamp: int | None = None) -> AppendRecord:
        """The command that makes `token` the stream's fencing token; an empty one clears it."""
        return cls(check_fencing_token(token), headers=_FENCE_HEADERS, timestamp=timestamp)

    @classmethod
    def trim(cls, seq_num: int, *, timestamp: int | None = None) -> AppendRecord:
        """The command that lets records below `seq_num` go."""
        body = check_u64(seq_num, "trim point").to_bytes(TRIM_BODY_BYTES, "big")
        return cls(body, headers=_TRIM_HEADERS, timestamp=timestamp)

    @property
    def command(self) -> CommandKind | None:
        """Which command this record is; None for an ordinary record."""
        return _COMMANDS[self.headers[0][1]] if is_command(self.headers) else None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an AppendRecord cannot be changed; make a new one to set {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AppendRecord):
            return NotImplemented
        return (self.body, self.headers, self.timestamp) == (other.body, other.headers, other.timestamp)

    def __hash__(self) -> int:
        return hash((self.body, self.headers, self.timestamp))

    def __repr__(self) -> str:
        return f"AppendRecord({self.body!r}, headers={self.headers!r}, timestamp={self.timestamp!r})"


def _too_large(size: int) -> Invalid:
    return Invalid(f"record must have metered size less than 1 MiB, got {size} bytes")


class SequencedRecord(Struct, frozen=True, gc=False):
    """One record as it stands in a stream."""

    seq_num: int
    timestamp: int
    body: bytes = b""
    headers: Headers = ()

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become U+FFFD."""
        return self.body.decode(errors="replace")

    @property
    def metered_bytes(self) -> int:
        return metered_bytes(self.headers, self.body)

    @property
    def command(self) -> CommandKind | None:
        """Which command this record is; None for an ordinary record."""
        return _COMMANDS.get(self.headers[0][1]) if is_command(self.headers) else None

    def header(self, name: str | bytes) -> bytes | None:
        """The value of the first header called `name`, or None."""
        wanted = name.encode() if isinstance(name, str) else name
        for key, value in self.headers:
            if key == wanted:
                return value
        return None


def trim_point_of(body: bytes) -> int:
    """The sequence number in the body of a trim command."""
    return int.from_bytes(body, "big")
