"""HTTP/2 without any I/O, the client's half: bytes in to answers, requests to bytes out (RFC 9113).

The hot path is DATA. What comes is handed to its stream in the pieces in which it came, without waiting for whole
frames; what goes is cut into frames as windows allow, without being copied before it is joined for the socket.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ...errors import TransportError
from ..exchange import Fields, Listener
from . import frames
from .fields import MAX_FIELDS_BYTES, FieldDecoder
from .frames import AnsweredInHttp1, Code, Http2Violation, Kind, Setting
from .stream import STREAM_WINDOW_BYTES, Http2Stream

CONNECTION_WINDOW_BYTES: Final = 4 * STREAM_WINDOW_BYTES
"""Of all streams together. It is given back at once, so that a reader that is slow does not hold up the others."""

MAX_FRAME_BYTES: Final = 1024 * 1024
"""What a peer may send in one frame: fewer and longer ones cost less."""

MAX_STREAMS: Final = 100
"""At a time, on one connection; fewer if the peer says so."""

_TURN_BYTES: Final = 128 * 1024
"""How much of one stream goes out before the next one's turn."""


class Http2Protocol:
    """The state of one connection. `output` collects what is to be sent; whoever calls sends it afterwards."""

    def __init__(self) -> None:
        self._decoder = FieldDecoder()
        self._buffer = b""
        self._streams: dict[int, Http2Stream] = {}
        self._waiting: deque[Http2Stream] = deque()
        """Streams with something to send, each once, in turn."""
        self._next_id = 1
        self._sendable = frames.DEFAULT_WINDOW_BYTES
        self._owed = 0
        self._peer_window = frames.DEFAULT_WINDOW_BYTES
        self._peer_frame_bytes = frames.DEFAULT_FRAME_BYTES
        self._peer_streams = MAX_STREAMS
        # The DATA frame that is coming in: its stream (None: nobody's), what is left of it, whether it is the last.
        self._incoming: Http2Stream | None = None
        self._left = 0
        self._is_last = False
        # The field block that is coming in.
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_ends = False
        self.is_ready: bool = False
        """Whether the peer's SETTINGS have come: it speaks HTTP/2."""
        self.is_draining: bool = False
        """Whether the peer takes no more streams."""
        self.output: list[bytes] = [
            frames.PREFACE,
            frames.settings_frame(
                {
                    Setting.ENABLE_PUSH: 0,
                    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                    Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
                    Setting.MAX_HEADER_LIST_SIZE: MAX_FIELDS_BYTES,
                }
            ),
            frames.window_update(0, CONNECTION_WINDOW_BYTES - frames.DEFAULT_WINDOW_BYTES),
        ]

    # Requests -------------------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def has_room(self) -> bool:
        """Whether one more request may be opened now."""
        return (
            not self.is_draining
            and len(self._streams) < min(self._peer_streams, MAX_STREAMS)
            and self._next_id <= frames.MAX_STREAM_ID
        )

    def open(self, block: bytes, listener: Listener, *, has_body: bool) -> Http2Stream:
        """Send a request's head, from `fields.literal`. Only while `has_room`."""
        stream = Http2Stream(self._next_id, listener, self._peer_window)
        self._next_id += 2
        self._streams[stream.id] = stream
        if not has_body:
            stream.outgoing, stream.sent_all, stream.sent_some = None, True, True
        self.output.append(
            frames.header_frames(block, stream.id, end_stream=not has_body, max_frame_bytes=self._peer_frame_bytes)
        )
        return stream

    def send(self, stream: Http2Stream, data: bytes = b"", *, end: bool = False) -> None:
        """Queue a piece of a request's body; `flush` sends it. Nothing happens on a stream that is over."""
        if not stream.is_open or stream.sent_all or stream.outgoing is None:
            return
        if not stream.outgoing:
            self._waiting.append(stream)
        stream.outgoing.append(memoryview(data))
        if end:
            stream.outgoing.append(memoryview(b""))
            stream.sent_all = True

    def flush(self, limit: int) -> bool:
        """Move up to about `limit` bytes of queued bodies to `output`; whether there may be more to move."""
        waiting = self._waiting
        stalled = 0
        while waiting and limit > 0 and stalled < len(waiting):
            stream = waiting.popleft()
            if not stream.is_open or not stream.outgoing:
                continue
            moved = self._move(stream, min(limit, _TURN_BYTES))
            limit -= moved
            if stream.outgoing:
                waiting.append(stream)
                stalled = 0 if moved else stalled + 1
        return bool(waiting) and stalled < len(waiting)

    def _move(self, stream: Http2Stream, limit: int) -> int:
        """As much of one stream as may go, in frames as long as may be: each costs the server as much as a batch."""
        queue, moved = stream.outgoing, 0
        assert queue is not None
        while queue:
            room = min(stream.sendable, self._sendable, self._peer_frame_bytes, limit - moved)
            pieces: list[memoryview] = []
            size = 0
            while queue and (size < room or not queue[0]):
                piece = queue.popleft()
                if len(piece) > room - size:
                    queue.appendleft(piece[room - size :])
                    piece = piece[: room - size]
                size += len(piece)
                pieces.append(piece)
            ends = stream.sent_all and not queue
            if not size and not ends:
                break
            self.output.append(frames.frame_head(size, Kind.DATA, frames.END_STREAM if ends else 0, stream.id))
            self.output += pieces  # type: ignore[arg-type]  # joined like bytes
            stream.sent_some = True
            stream.sendable -= size
            self._sendable -= size
            moved += size
        return moved

    def read(self, stream: Http2Stream, size: int) -> None:
        """So many bytes of the answer were used up: the peer may send as many more."""
        stream.owed += size
        if stream.owed >= STREAM_WINDOW_BYTES // 4 and stream.is_open:
            self.output.append(frames.window_update(stream.id, stream.owed))
            stream.receivable += stream.owed
            stream.owed = 0

    def reset(self, stream: Http2Stream, code: Code = Code.CANCEL) -> None:
        """Give a request up; its listener hears nothing more. Nothing happens when it is over."""
        if stream.is_open:
            self.output.append(frames.rst_stream(stream.id, code))
            self._forget(stream)

    def lose(self, message: str) -> None:
        """The connection is gone: tell all listeners."""
        self.is_draining = True
        for stream in list(self._streams.values()):
            self._lose(stream, message)

    # Answers --------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what came. Raises `Http2Violation`, after which the connection must end."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                taken = min(self._left, size - at)
                self._left -= taken
                piece = data if taken == size else data[at : at + taken]
                at += taken
                self._on_data(piece)
                continue
            if size - at < frames.HEADER_BYTES:
                break
            length = int.from_bytes(data[at : at + 3], "big")
            kind, flags = data[at + 3], data[at + 4]
            stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & frames.MAX_STREAM_ID
            if length > MAX_FRAME_BYTES:
                if not self.is_ready and data.startswith(b"HTTP/1.", at):
                    raise AnsweredInHttp1
                raise Http2Violation(
                    "a frame longer than allowed; is this an HTTP/2 server?"
                    if not self.is_ready
                    else "a frame longer than allowed",
                    Code.FRAME_SIZE_ERROR,
                )
            if kind == Kind.DATA and not flags & frames.PADDED:
                at += frames.HEADER_BYTES
                self._begin_data(stream_id, length, bool(flags & frames.END_STREAM))
                continue
            end = at + frames.HEADER_BYTES + length
            if end > size:
                break
            self._on_frame(kind, flags, stream_id, data[at + frames.HEADER_BYTES : end])
            at = end
        if at < size:
            self._buffer = data[at:]

    def _begin_data(self, stream_id: int, length: int, is_last: bool, charged: int | None = None) -> None:
        """The head of a DATA frame. `charged` is what it takes from the windows, if not its length."""
        self._in_sequence()
        self._opened(stream_id)
        charged = length if charged is None else charged
        self._owed += charged
        if self._owed >= CONNECTION_WINDOW_BYTES // 4:
            self.output.append(frames.window_update(0, self._owed))
            self._owed = 0
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.receivable -= charged
            if stream.receivable < 0:
                raise Http2Violation("more data than the window allows", Code.FLOW_CONTROL_ERROR)
            if not stream.told:
                raise Http2Violation("data before the head of an answer")
        self._incoming, self._left, self._is_last = stream, length, is_last
        if not length:
            self._on_data(b"")

    def _on_data(self, piece: bytes) -> None:
        stream = self._incoming
        if stream is None or not stream.is_open:
            return
        if piece:
            stream.listener.data(piece)
        if self._is_last and not self._left and stream.is_open:
            self._end(stream)

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == Kind.CONTINUATION:
            self._on_continuation(flags, stream_id, payload)
            return
        self._in_sequence()
        if not self.is_ready and kind != Kind.SETTINGS:
            raise Http2Violation("the peer did not begin with SETTINGS; is this an HTTP/2 server?")
        if kind == Kind.DATA:
            content = frames.without_padding(payload, flags)
            padding = len(payload) - len(content)
            self._begin_data(stream_id, len(content), bool(flags & frames.END_STREAM), len(payload))
            stream = self._incoming
            if stream is not None:
                self.read(stream, padding)
            if content:
                self._left = 0
                self._on_data(content)
        elif kind == Kind.HEADERS:
            self._opened(stream_id)
            block = frames.without_priority(frames.without_padding(payload, flags), flags)
            self._block, self._block_stream = bytearray(block), stream_id
            self._block_ends = bool(flags & frames.END_STREAM)
            if flags & frames.END_HEADERS:
                self._on_head()
        elif kind == Kind.RST_STREAM:
            self._on_reset(stream_id, frames.read_u32(payload, Kind.RST_STREAM))
        elif kind == Kind.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == Kind.WINDOW_UPDATE:
            self._on_window_update(stream_id, frames.read_u32(payload, Kind.WINDOW_UPDATE) & frames.MAX_WINDOW_BYTES)
        elif kind == Kind.PING:
            if len(payload) != 8:
                raise Http2Violation("a PING of a broken length", Code.FRAME_SIZE_ERROR)
            if not flags & frames.ACK:
                self.output.append(frames.ping_ack(payload))
        elif kind == Kind.GOAWAY:
            self._on_goaway(*frames.read_goaway(payload))
        elif kind == Kind.PUSH_PROMISE:
            raise Http2Violation("a push, which was not allowed")
        # PRIORITY, and types that are not known, mean nothing here.

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or stream_id != self._block_stream:
            raise Http2Violation("a CONTINUATION of nothing")
        self._block += payload
        if len(self._block) > MAX_FIELDS_BYTES or not (payload or flags & frames.END_HEADERS):
            raise Http2Violation("header fields without end", Code.ENHANCE_YOUR_CALM)
        if flags & frames.END_HEADERS:
            self._on_head()

    def _on_head(self) -> None:
        assert self._block is not None
        block, self._block = bytes(self._block), None
        fields = self._decoder.decode(block)  # also for a stream that is over: the table must follow
        stream = self._streams.get(self._block_stream)
        if stream is None:
            return
        if not stream.told:
            status = _status_of(fields)
            if status < 200:
                return
            stream.told = True
            stream.listener.head(status, [field for field in fields if not field[0].startswith(b":")])
        elif not self._block_ends:
            raise Http2Violation("a second head in the middle of an answer")
        if self._block_ends and stream.is_open:
            self._end(stream)

    def _on_reset(self, stream_id: int, code: int) -> None:
        self._opened(stream_id)
        stream = self._streams.get(stream_id)
        if stream is not None:
            if code == Code.REFUSED_STREAM:
                stream.sent_some = False  # a promise that nothing was done (section 8.7)
            self._lose(stream, f"the server reset the request: {frames.code_name(code)}")

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        for name, value in frames.read_settings(payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW_BYTES:
                    raise Http2Violation("an initial window that is too large", Code.FLOW_CONTROL_ERROR)
                for stream in self._streams.values():
                    stream.sendable += value - self._peer_window
                self._peer_window = value
            elif name == Setting.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME_BYTES <= value < 2**24:
                    raise Http2Violation("a frame size out of range")
                self._peer_frame_bytes = value
            elif name == Setting.MAX_CONCURRENT_STREAMS:
                self._peer_streams = value
        self.is_ready = True
        self.output.append(frames.SETTINGS_ACK)

    def _on_window_update(self, stream_id: int, by: int) -> None:
        if not by:
            raise Http2Violation("a window update of 0")
        if not stream_id:
            self._sendable += by
            if self._sendable > frames.MAX_WINDOW_BYTES:
                raise Http2Violation("a window that is too large", Code.FLOW_CONTROL_ERROR)
            return
        self._opened(stream_id)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.sendable += by
            if stream.sendable > frames.MAX_WINDOW_BYTES:
                raise Http2Violation("a window that is too large", Code.FLOW_CONTROL_ERROR)

    def _on_goaway(self, last: int, code: int) -> None:
        self.is_draining = True
        for stream in list(self._streams.values()):
            if stream.id > last:
                stream.sent_some = False  # never looked at (section 6.8)
                self._lose(stream, f"the server closes the connection: {frames.code_name(code)}")

    # Streams --------------------------------------------------------------------------------------

    def _in_sequence(self) -> None:
        if self._block is not None:
            raise Http2Violation("another frame within header fields")

    def _opened(self, stream_id: int) -> None:
        """Raises `Http2Violation` for a stream that never was."""
        if not stream_id & 1 or stream_id >= self._next_id:
            raise Http2Violation(f"a frame for stream {stream_id}, which was never opened")

    def _end(self, stream: Http2Stream) -> None:
        if not stream.sent_all or stream.outgoing:
            # The answer is there before the request was sent whole: the rest is not wanted (section 8.1).
            self.output.append(frames.rst_stream(stream.id, Code.CANCEL))
        self._forget(stream)
        stream.listener.end()

    def _lose(self, stream: Http2Stream, message: str) -> None:
        self._forget(stream)
        stream.listener.lost(TransportError(message, may_have_applied=stream.sent_some))

    def _forget(self, stream: Http2Stream) -> None:
        stream.is_open = False
        stream.outgoing = None
        self._streams.pop(stream.id, None)


def _status_of(fields: Fields) -> int:
    for name, value in fields:
        if name == b":status" and len(value) == 3 and value.isdigit():
            return int(value)
    raise Http2Violation("an answer without a status")
