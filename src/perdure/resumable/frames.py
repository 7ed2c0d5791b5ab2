"""Stored records as server-sent events.

A record's body is copied verbatim: one record, one frame, one `data` line. The id of a frame is the sequence number
*after* its record, so it is the cursor from which a reader goes on.
"""

from __future__ import annotations


def id_first(seq_num: int, body: bytes) -> bytes:
    """The frame of the AI SDK and of TanStack AI, whose reader attaches an id to the data that follows it."""
    return b"id: %d\ndata: %b\n\n" % (seq_num + 1, body)


def without_id(body: bytes) -> bytes:
    """A frame that belongs to this response only and is no place to resume from."""
    return b"data: %b\n\n" % body


def named(event: str, body: bytes) -> bytes:
    """A frame with an event name and no id."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), body)
