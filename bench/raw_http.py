"""HTTP/1.1 with as little of it as a load needs, so that the client's share of the machine stays small."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import cast

from perdure import AppendRecord
from perdure.model.batches import AppendInput
from perdure.wire.protobuf import encode_append_input
from perdure.wire.s2s import FrameDecoder, encode_frame

from .measure import Samples
from .scenario import check
from .served import BASIN

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


def records_path(stream: str, query: str = "") -> str:
    return f"/v1/streams/{stream}/records" + (f"?{query}" if query else "")


def head(method: str, path: str, fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: bench", f"s2-basin: {BASIN}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in fields)]).encode() + _HEAD_END


def unary_append(stream: str, records: list[AppendRecord]) -> bytes:
    """A whole request, protobuf in and out."""
    body = encode_append_input(AppendInput.of(records))
    fields = [
        ("content-type", "application/protobuf"),
        ("accept", "application/protobuf"),
        ("content-length", str(len(body))),
    ]
    return head("POST", records_path(stream), fields) + body


class Repeating(asyncio.Protocol):
    """One connection that sends a request again as soon as it was answered, `count` times."""

    def __init__(self, request: bytes, count: int) -> None:
        self._request, self._left = request, count
        self._buffer = b""
        self.samples = Samples()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        at = self._buffer.find(b"content-length: ", 0, end) + len(b"content-length: ")
        length = int(self._buffer[at : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) < end + len(_HEAD_END) + length:
            return
        now = time.perf_counter()
        self.samples.add(now - self._sent)
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self.connection_lost(ConnectionError(self._buffer.decode(errors="replace")))
            return
        self._buffer = b""
        self._left -= 1
        if self._left:
            self._sent = now
            self._transport.write(self._request)
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))


class Frames(asyncio.Protocol):
    """The answer to a session over HTTP/1.1, frame by frame.

    `on_lost` hears of a connection that ended before `close` was called, by whichever side: without that, who waits for
    a frame would wait for ever.
    """

    def __init__(self, on_frame: Callable[[bytes], None], on_lost: Callable[[Exception], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._closed = False
        self._decoder = FrameDecoder()
        self._buffer = bytearray()
        self._in_body = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(_look)
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def close(self) -> None:
        self._closed = True
        self.transport.close()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def send_chunk(self, data: bytes) -> None:
        await self._writable.wait()
        self.transport.writelines([b"%x\r\n" % len(data), data, b"\r\n"])

    def end_body(self) -> None:
        self.transport.write(_LAST_CHUNK)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        if self._in_body and not buffer:
            line = data.find(b"\r\n", 0, 16)
            if line > 0 and int(data[:line], 16) == len(data) - line - 4 > 0:
                self._take(data[line + 2 : -2])  # one chunk came alone and whole, as it mostly does while following
                return
        buffer += data
        if not self._in_body:
            end = buffer.find(_HEAD_END)
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 200"):
                self.connection_lost(ConnectionError(buffer.decode(errors="replace")))
                return
            del buffer[: end + len(_HEAD_END)]
            self._in_body = True
            self.opened.set_result(None)
        while True:
            line = buffer.find(b"\r\n")
            if line < 0:
                return
            size = int(buffer[:line], 16)
            if len(buffer) < line + size + 4:
                return
            chunk = bytes(buffer[line + 2 : line + 2 + size])
            del buffer[: line + size + 4]
            if not size:
                if not self.ended.done():
                    self.ended.set_result(None)
                return
            self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        for frame in self._decoder.feed(chunk):
            check(not frame.is_terminal, f"the session failed: {frame.payload!r}" if frame.is_terminal else "")
            self._on_frame(frame.payload)

    def connection_lost(self, exc: Exception | None) -> None:
        error = exc or ConnectionError("the server closed the connection")
        self._writable.set()
        for future in (self.opened, self.ended):
            if not future.done():
                future.set_exception(error)
        if not self._closed:
            self._closed = True
            self._on_lost(error)


def _look(future: asyncio.Future[None]) -> None:
    """Nobody waits for the end of a session that goes on until its client leaves."""
    if not future.cancelled():
        future.exception()


def append_frame(records: list[AppendRecord]) -> bytes:
    return encode_frame(encode_append_input(AppendInput.of(records)))
