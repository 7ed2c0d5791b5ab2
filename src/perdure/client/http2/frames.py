"""The frames of HTTP/2 that a client sends, and what it reads in others (RFC 9113, section 6)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from ...errors import ProtocolViolation

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9
MAX_STREAM_ID: Final = 2**31 - 1
MAX_WINDOW_BYTES: Final = 2**31 - 1
DEFAULT_WINDOW_BYTES: Final = 65_535
"""Of the connection, and of each stream until SETTINGS say otherwise."""

DEFAULT_FRAME_BYTES: Final = 16_384
"""What every peer takes in one frame."""

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

_HEADER: Final = struct.Struct(">HBBBI")
_U32: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")
_PRIORITY_BYTES: Final = 5


class Kind(IntEnum):
    """The types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """The settings that this client sends or obeys."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Why a stream was reset or a connection ended."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Http2Violation(ProtocolViolation):
    """The peer broke HTTP/2; `reason` is what it is told before the connection ends."""

    def __init__(self, message: str, reason: Code = Code.PROTOCOL_ERROR) -> None:
        super().__init__(f"HTTP/2: {message}")
        self.reason: Code = reason


class AnsweredInHttp1(Http2Violation):
    """The peer does not know HTTP/2. Nothing but the preface was sent to it."""

    def __init__(self) -> None:
        super().__init__("the server answered in HTTP/1.x")


def code_name(code: int) -> str:
    """A reset's reason for people."""
    try:
        return Code(code).name
    except ValueError:
        return f"code {code}"


def frame_head(length: int, kind: Kind, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload."""
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def header_frames(block: bytes, stream_id: int, *, end_stream: bool, max_frame_bytes: int) -> bytes:
    """HEADERS, and CONTINUATION frames for what does not fit."""
    first, rest = block[:max_frame_bytes], block[max_frame_bytes:]
    flags = (END_STREAM if end_stream else 0) | (0 if rest else END_HEADERS)
    out = [frame_head(len(first), Kind.HEADERS, flags, stream_id), first]
    while rest:
        piece, rest = rest[:max_frame_bytes], rest[max_frame_bytes:]
        out += [frame_head(len(piece), Kind.CONTINUATION, 0 if rest else END_HEADERS, stream_id), piece]
    return b"".join(out)


def settings_frame(settings: dict[Setting, int]) -> bytes:
    payload = b"".join([_SETTING.pack(name, value) for name, value in settings.items()])
    return frame_head(len(payload), Kind.SETTINGS, 0, 0) + payload


SETTINGS_ACK: Final = frame_head(0, Kind.SETTINGS, ACK, 0)


def window_update(stream_id: int, by: int) -> bytes:
    return frame_head(4, Kind.WINDOW_UPDATE, 0, stream_id) + _U32.pack(by)


def rst_stream(stream_id: int, code: Code) -> bytes:
    return frame_head(4, Kind.RST_STREAM, 0, stream_id) + _U32.pack(code)


def ping_ack(payload: bytes) -> bytes:
    return frame_head(8, Kind.PING, ACK, 0) + payload


def goaway(code: Code) -> bytes:
    """Our farewell; the last stream is 0, since a server opens none."""
    return frame_head(8, Kind.GOAWAY, 0, 0) + _U32.pack(0) + _U32.pack(code)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Names and values in the order of their coming. Raises `Http2Violation`."""
    if len(payload) % _SETTING.size:
        raise Http2Violation("a SETTINGS frame of a broken length", Code.FRAME_SIZE_ERROR)
    return list(_SETTING.iter_unpack(payload))


def read_u32(payload: bytes, kind: Kind) -> int:
    """The one number of a WINDOW_UPDATE or RST_STREAM. Raises `Http2Violation`."""
    if len(payload) != _U32.size:
        raise Http2Violation(f"a {kind.name} frame of {len(payload)} bytes, expected 4", Code.FRAME_SIZE_ERROR)
    return int(_U32.unpack(payload)[0])


def read_goaway(payload: bytes) -> tuple[int, int]:
    """The last stream that the peer looked at, and its reason. Raises `Http2Violation`."""
    if len(payload) < 8:
        raise Http2Violation("a GOAWAY frame that is too short", Code.FRAME_SIZE_ERROR)
    return int(_U32.unpack_from(payload)[0]) & MAX_STREAM_ID, int(_U32.unpack_from(payload, 4)[0])


def without_padding(payload: bytes, flags: int) -> bytes:
    """The content of a DATA or HEADERS frame. Raises `Http2Violation` when the padding is longer than the frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Violation("a frame with more padding than content")
    return payload[1 : len(payload) - payload[0]]


def without_priority(content: bytes, flags: int) -> bytes:
    """The field block of a HEADERS frame. Raises `Http2Violation`."""
    if not flags & PRIORITY:
        return content
    if len(content) < _PRIORITY_BYTES:
        raise Http2Violation("a HEADERS frame that is too short", Code.FRAME_SIZE_ERROR)
    return content[_PRIORITY_BYTES:]
