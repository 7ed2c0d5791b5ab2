"""Stored records as server-sent events.

A record's body is copied verbatim: one record, one frame, one `data` line. The id of a frame is the sequence number
*after* its record, so it is the cursor from which a reader goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from .json_body import parse_object


def id_first(seq_num: int, body: bytes) -> bytes:
    """The frame of the AI SDK and of TanStack AI, whose reader attaches an id to the data that follows it."""
    return b"id: %d\ndata: %b\n\n" % (seq_num + 1, body)


def ids_first(start_seq: int, bodies: Sequence[bytes]) -> bytes:
    """The frames of `id_first` for records that follow each other."""
    return with_ids(range(start_seq + 1, start_seq + len(bodies) + 1), bodies)


def with_ids(ids: Sequence[int], bodies: Sequence[bytes]) -> bytes:
    """A frame for each body, its id first, all put together in one step of the interpreter."""
    values: list[int | bytes] = [b""] * (2 * len(bodies))
    values[::2] = ids
    values[1::2] = bodies
    return b"id: %d\ndata: %b\n\n" * len(bodies) % tuple(values)


class IdFirst:
    """The view of `id_first`."""

    def __call__(self, seq_num: int, body: bytes) -> bytes:
        """The frame of one record."""
        return id_first(seq_num, body)

    def stretch(self, start_seq: int, bodies: Sequence[bytes]) -> bytes:
        """The frames of many."""
        return ids_first(start_seq, bodies)


def without_id(body: bytes) -> bytes:
    """A frame that belongs to this response only and is no place to resume from."""
    return b"data: %b\n\n" % body


def named(event: str, body: bytes) -> bytes:
    """A frame with an event name and no id."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), body)


def type_named(seq_num: int, body: bytes) -> bytes:
    """The frame of the Anthropic API, whose readers drop what has no event name: the name is the object's `type`."""
    kind = _type_of(body)
    if not kind or "\n" in kind or "\r" in kind:  # a line break would begin a field of its own
        return b"data: %b\nid: %d\n\n" % (body, seq_num + 1)
    return b"event: %b\ndata: %b\nid: %d\n\n" % (kind.encode(errors="replace"), body, seq_num + 1)


def keyed(seq_num: int, key: str | None, body: bytes) -> bytes:
    """A frame with its id first, and an event name if there is one that can be sent."""
    if not key or "\n" in key or "\r" in key:
        return id_first(seq_num, body)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq_num + 1, key.encode(errors="replace"), body)


def keyed_by_type(seq_num: int, body: bytes) -> bytes:
    """A frame with its id first, whose event name is the object's `type`."""
    return keyed(seq_num, _type_of(body), body)


class _Typed(Struct, gc=False):
    type: str


_read_type: Final = msgspec.json.Decoder(_Typed).decode


def _type_of(body: bytes) -> str | None:
    """The `type` of the object in `body`, without the cost of building the rest of it; None if there is none."""
    try:
        return _read_type(body).type
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError:  # no JSON, or JSON that only the slower parser reads
        value = parse_object(body)
    kind = None if value is None else value.get("type")
    return kind if isinstance(kind, str) else None
