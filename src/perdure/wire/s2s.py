"""The framing of s2s sessions (store API, section 6.9): bytes in any slices to frames, and frames to bytes.

::

    +--------------------------+-----------+----------------------------+
    | length: 3 bytes, big-end.| flag: 1   | payload: length - 1 bytes  |
    +--------------------------+-----------+----------------------------+
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from ..errors import BadRequest, FrameTooLarge, ProtocolViolation, TruncatedFrame
from ..model.limits import MAX_FRAME_BYTES
from .compression import MIN_COMPRESSED_BYTES, Compression, compress, decompress

MAX_PAYLOAD_BYTES: Final = MAX_FRAME_BYTES - 1
"""Of a regular frame, packed or not: the length counts the flag as well."""

_LENGTH_BYTES: Final = 3
_HEADER_BYTES: Final = _LENGTH_BYTES + 1
_STATUS_BYTES: Final = 2

_PIECE_BYTES: Final = 1024
"""From here on, a piece of a payload is kept as it came."""

_TERMINAL: Final = 0x80
_COMPRESSION_MASK: Final = 0x60
_RECONNECT_ADVISED: Final = 0x10

_COMPRESSION_FLAGS: Final = {Compression.NONE: 0x00, Compression.ZSTD: 0x20, Compression.GZIP: 0x40}
_COMPRESSIONS: Final = {flag: compression for compression, flag in _COMPRESSION_FLAGS.items()}


class Terminal(Struct, frozen=True, gc=False):
    """What a terminal frame says: the HTTP status and the JSON body of the corresponding unary error."""

    status: int
    body: bytes


class Frame(Struct, frozen=True, gc=False):
    """One frame as it came: its flag byte, and its payload, which may be packed."""

    flag: int
    payload: bytes

    @property
    def is_terminal(self) -> bool:
        """Whether this is the last thing of its session, an error; `terminal` reads it, `message` does not."""
        return bool(self.flag & _TERMINAL)

    @property
    def reconnect_advised(self) -> bool:
        """Whether the server is about to stop; a client may open a fresh session and let this one end."""
        return bool(self.flag & _RECONNECT_ADVISED)

    def message(self) -> bytes:
        """The protobuf message of a regular frame. Raises `ProtocolViolation` when it cannot be unpacked."""
        bits = self.flag & _COMPRESSION_MASK
        if not bits:
            return self.payload
        compression = _COMPRESSIONS.get(bits)
        if compression is None:
            raise ProtocolViolation("unknown compression in the flag of a frame; known are none, zstd and gzip")
        try:
            return decompress(self.payload, compression, limit=MAX_PAYLOAD_BYTES, code=ProtocolViolation.code)
        except BadRequest as exc:
            raise ProtocolViolation(exc.message) from exc

    def terminal(self) -> Terminal:
        """The error in a terminal frame, whose compression bits mean nothing. Raises `ProtocolViolation`."""
        if len(self.payload) < _STATUS_BYTES:
            raise ProtocolViolation(f"a terminal frame begins with a status of 2 bytes, got {len(self.payload)} bytes")
        return Terminal(int.from_bytes(self.payload[:_STATUS_BYTES], "big"), self.payload[_STATUS_BYTES:])


class FrameDecoder:
    """Bytes in, in any slices; whole frames out, in order.

    A length that no frame may have is refused as soon as its three bytes are there, so no more than one frame is
    ever held. Every byte is copied once into its payload, and once more at the ends of slices.
    """

    def __init__(self) -> None:
        self._data = b""
        """What came last; from `_at` on it is not looked at yet."""
        self._at = 0
        self._flag = 0
        self._pieces: list[bytes | bytearray] | None = None
        """The payload that is incomplete, if a frame's header has been read."""
        self._held = 0
        """How many bytes of that payload there are."""
        self._missing = 0
        """How many it still lacks."""
        self._violation: ProtocolViolation | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take `data` and give the frames that it completes, one at a time.

        The frames before a bad one are given before the iterator raises `ProtocolViolation`: they count. Every
        later call raises again. What a caller leaves in the iterator comes with the next call.
        """
        if self._violation is not None:
            raise self._violation
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        return self._frames()

    @property
    def missing_bytes(self) -> int:
        """How much the frame that has begun still lacks; 0 if none has."""
        return self._missing if self._pieces is not None else 0

    @property
    def pending_bytes(self) -> int:
        """How large the payload of the frame that has begun will be; 0 if none has."""
        return self._missing + self._held if self._pieces is not None else 0

    def finish(self) -> None:
        """The input is over. Raises `TruncatedFrame` if it ended within a frame, or again what was refused."""
        if self._violation is not None:
            raise self._violation
        leftover = len(self._data) - self._at
        if self._pieces is not None:
            leftover += _HEADER_BYTES + self._held
        if leftover:
            raise TruncatedFrame(leftover)

    def _frames(self) -> Iterator[Frame]:
        if self._pieces is not None:
            piece = self._data[self._at : self._at + self._missing]
            self._at += len(piece)
            self._keep(self._pieces, piece)
            if self._missing:
                self._data, self._at = b"", 0
                return
            frame = Frame(self._flag, b"".join(self._pieces))
            self._pieces = None
            yield frame
        while len(self._data) - self._at >= _LENGTH_BYTES:
            data, at = self._data, self._at
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if not 1 <= length <= MAX_FRAME_BYTES:
                raise self._refused(length)
            end = at + _LENGTH_BYTES + length
            if end > len(data):
                if at + _HEADER_BYTES <= len(data):
                    self._flag = data[at + _LENGTH_BYTES]
                    self._held, self._missing = 0, length - 1
                    self._at = len(data)
                    self._pieces = []
                    self._keep(self._pieces, data[at + _HEADER_BYTES :])
                break
            self._at = end
            yield Frame(data[at + _LENGTH_BYTES], data[at + _HEADER_BYTES : end])
        # An idle session should not hold the slice that woke it last.
        self._data, self._at = self._data[self._at :], 0

    def _keep(self, pieces: list[bytes | bytearray], piece: bytes) -> None:
        """Add to the payload. Many small pieces are gathered: each would take more as an object than its bytes."""
        self._held += len(piece)
        self._missing -= len(piece)
        if len(piece) >= _PIECE_BYTES:
            pieces.append(piece)
        elif pieces and isinstance(pieces[-1], bytearray):
            pieces[-1] += piece
        else:
            pieces.append(bytearray(piece))

    def _refused(self, length: int) -> ProtocolViolation:
        self._data, self._at = b"", 0
        self._violation = (
            FrameTooLarge(length, MAX_FRAME_BYTES)
            if length
            else ProtocolViolation("frame of length 0: the length counts the flag, so it is at least 1")
        )
        return self._violation


def frame_header(payload_bytes: int, *, reconnect_advised: bool = False) -> bytes:
    """What stands before an unpacked payload of so many bytes, which is then sent on without being copied.

    Raises `FrameTooLarge` when no frame can hold that.
    """
    return _header(payload_bytes, _RECONNECT_ADVISED if reconnect_advised else 0)


def with_advice(frames: bytes) -> bytes:
    """Regular frames, of which the first one now advises to reconnect; a receiver acts on the first advice it sees."""
    return b"%b%c%b" % (frames[:_LENGTH_BYTES], frames[_LENGTH_BYTES] | _RECONNECT_ADVISED, frames[_HEADER_BYTES:])


def _header(payload_bytes: int, flag: int) -> bytes:
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise FrameTooLarge(payload_bytes + 1, MAX_FRAME_BYTES)
    return ((payload_bytes + 1) << 8 | flag).to_bytes(_HEADER_BYTES, "big")


def encode_frame(
    message: bytes, compression: Compression = Compression.NONE, *, reconnect_advised: bool = False
) -> bytes:
    """One regular frame. Small messages, and those that do not shrink, are not compressed whatever was agreed.

    Raises `FrameTooLarge` when the message is above 2 MiB less a byte, before it is compressed as well: no receiver
    would unpack it.
    """
    if len(message) > MAX_PAYLOAD_BYTES:
        raise FrameTooLarge(len(message) + 1, MAX_FRAME_BYTES)
    flag = _RECONNECT_ADVISED if reconnect_advised else 0
    if compression is not Compression.NONE and len(message) >= MIN_COMPRESSED_BYTES:
        packed = compress(message, compression)
        if len(packed) < len(message):
            message = packed
            flag |= _COMPRESSION_FLAGS[compression]
    return _header(len(message), flag) + message


def join_frame(parts: Sequence[bytes], compression: Compression = Compression.NONE) -> bytes:
    """`encode_frame` of a message in pieces, which are copied once if it is not to be compressed."""
    if compression is not Compression.NONE:
        return encode_frame(b"".join(parts), compression)
    return b"".join([_header(sum(map(len, parts)), 0), *parts])


def encode_terminal(status: int, body: bytes) -> bytes:
    """The frame that ends a session with an error: its status (400 or above) and the unary error's JSON body."""
    return _header(_STATUS_BYTES + len(body), _TERMINAL) + status.to_bytes(_STATUS_BYTES, "big") + body
