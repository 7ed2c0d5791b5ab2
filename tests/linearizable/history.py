"""What clients did and what they were told: a history, as values that can be written down.

A call has two moments, when it was made and when its answer came. Nothing is known of the order of calls that
overlap, also not by their client. Moments are of the machine's monotonic clock, which its processes share.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

FENCE = "fence "
TRIM = "trim "


class Acked(Struct, frozen=True, tag=True):
    """The records are at `start` and behind, the stream's tail was `tail`."""

    start: int
    end: int
    tail: int


class SeqNumRefused(Struct, frozen=True, tag=True):
    """Not appended: the tail was `expected`."""

    expected: int


class TokenRefused(Struct, frozen=True, tag=True):
    """Not appended: the fencing token was `expected`."""

    expected: str


class InDoubt(Struct, frozen=True, tag=True):
    """No answer that tells: appended at any time since the call, or never."""

    why: str = ""


class Appended(Struct, frozen=True, tag=True):
    """A batch, its conditions, and what became of it.

    A record is its text; `"fence TOKEN"` and `"trim NUMBER"` are commands. Other texts are unlike in a whole history,
    so that a text tells which call wrote it.
    """

    records: tuple[str, ...]
    outcome: Acked | SeqNumRefused | TokenRefused | InDoubt
    match_seq_num: int | None = None
    fencing_token: str | None = None


class TailChecked(Struct, frozen=True, tag=True):
    tail: int


class Seen(Struct, frozen=True):
    """A record as a reader got it."""

    seq_num: int
    timestamp: int
    text: str


class ReadOnce(Struct, frozen=True, tag=True):
    """A read from `start` of at most `count` records, which ended at the tail if it gave fewer."""

    start: int
    count: int
    records: tuple[Seen, ...]


class ReadRefused(Struct, frozen=True, tag=True):
    """A read from `start` that found nothing written there: the tail was `tail`."""

    start: int
    tail: int


class Followed(Struct, frozen=True, tag=True):
    """A record that came to a follower, made when it began to follow and answered when the record came."""

    record: Seen


Operation: TypeAlias = Appended | TailChecked | ReadOnce | ReadRefused | Followed


class Call(Struct, frozen=True):
    """One operation on one stream; times in nanoseconds, `returned` None when there was no answer."""

    stream: str
    client: str
    invoked: int
    returned: int | None
    operation: Operation


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Call)


def to_lines(calls: Iterable[Call]) -> bytes:
    """The history as one line of JSON for each call."""
    return b"".join(_ENCODER.encode(call) + b"\n" for call in calls)


def from_lines(lines: bytes) -> list[Call]:
    """The history that `to_lines` wrote."""
    return [_DECODER.decode(line) for line in lines.splitlines()]


def save(calls: Iterable[Call], path: Path) -> None:
    """Keep a history for people to look at."""
    path.write_bytes(to_lines(calls))
