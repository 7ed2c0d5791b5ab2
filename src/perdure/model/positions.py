"""Where things are in a stream: positions, and the ways to say where a read starts."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from ..errors import Invalid
from .limits import MAX_U64


class StreamPosition(Struct, frozen=True, gc=False):
    """A place in a stream.

    `seq_num` counts records from 0. `timestamp` is in milliseconds since the Unix epoch when the
    store assigned it, otherwise whatever the writer sent. As a *tail*: the sequence number that the
    next record will get, with the timestamp of the last record (0 when nothing was ever written).
    """

    seq_num: int
    timestamp: int


def check_u64(value: int, what: str) -> int:
    """`value`, if it is a whole number from 0 to 2^64 - 1; otherwise raise `Invalid` naming `what`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_U64:
        raise Invalid(f"{what} must be a whole number from 0 to {MAX_U64}, got {value!r}")
    return value


class SeqNum(Struct, frozen=True, gc=False):
    """Start reading at this sequence number."""

    value: int

    def __post_init__(self) -> None:
        check_u64(self.value, "seq_num")


class Timestamp(Struct, frozen=True, gc=False):
    """Start reading at the first record whose timestamp (milliseconds) is at or after this."""

    value: int

    def __post_init__(self) -> None:
        check_u64(self.value, "timestamp")


class TailOffset(Struct, frozen=True, gc=False):
    """Start reading this many records before the tail (0: only what comes next)."""

    value: int

    def __post_init__(self) -> None:
        check_u64(self.value, "tail_offset")


ReadStart: TypeAlias = SeqNum | Timestamp | TailOffset
