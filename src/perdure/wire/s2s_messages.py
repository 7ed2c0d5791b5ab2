"""What the frames of s2s sessions carry (store API, sections 5.8, 6.7, 6.9): messages one way, acks and batches back.

Protobuf that cannot be decoded is a `ProtocolViolation` here, not a bad body: in a session it is the frame that is bad.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import BadRequest, ProtocolViolation
from ..model.batches import AppendAck, AppendInput, ReadBatch
from . import protobuf
from .errors_json import decode_terminal
from .s2s import Frame

T = TypeVar("T")


def append_input_of(frame: Frame) -> AppendInput:
    """The batch in a frame from a client.

    Raises `ProtocolViolation`; `BadRequest` (`bad_frame`) for a terminal frame, which can be decoded but has no
    business here; `Invalid` when the batch breaks a limit.
    """
    if frame.is_terminal:
        raise BadRequest("Unexpected terminal frame as input", ProtocolViolation.code)
    return _decoded(frame, protobuf.decode_append_input)


def append_ack_of(frame: Frame) -> AppendAck:
    """The ack in a frame from a server. Raises the error of a terminal frame, and `ProtocolViolation`."""
    if frame.is_terminal:
        raise decode_terminal(frame.terminal())
    return _decoded(frame, protobuf.decode_append_ack)


def read_batch_of(frame: Frame) -> ReadBatch:
    """The batch or heartbeat in a frame from a server; raises as `append_ack_of` does."""
    if frame.is_terminal:
        raise decode_terminal(frame.terminal())
    return _decoded(frame, protobuf.decode_read_batch)


def _decoded(frame: Frame, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(frame.message())
    except BadRequest as exc:
        raise ProtocolViolation(exc.message) from exc
