"""Small pieces leave together: few frames, few writes, and never later than the other tasks that are ready."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from perdure.client.endpoints import Origin
from perdure.client.exchange import Destination, Head
from perdure.client.http2 import frames
from perdure.client.http2.connection import Http2Connection
from perdure.client.http2.frames import Kind
from perdure.client.http2.protocol import Http2Protocol
from perdure.client.http2.stream import Http2Stream
from tests.client.http2.test_protocol import HEAD, Heard, ready, take

POST = Head(b"POST", b"/v1/x", Destination(Origin("http", "x", 80), (), b""))


def data_frames(wire: bytes) -> list[tuple[bytes, bool]]:
    """The contents of the DATA frames, and which of them end a stream."""
    found: list[tuple[bytes, bool]] = []
    while wire:
        length, kind, flags = int.from_bytes(wire[:3], "big"), wire[3], wire[4]
        content, wire = wire[9 : 9 + length], wire[9 + length :]
        if kind == Kind.DATA:
            found.append((content, bool(flags & frames.END_STREAM)))
    return found


def opened() -> tuple[Http2Protocol, Http2Stream]:
    http = ready()
    stream = http.open(HEAD, Heard(), has_body=True)
    take(http)
    return http, stream


def test_pieces_that_wait_share_a_frame() -> None:
    http, stream = opened()
    for piece in (b"one ", b"two ", b""):
        http.send(stream, piece)
    http.send(stream, b"three", end=True)
    http.flush(1000)
    assert data_frames(take(http)) == [(b"one two three", True)]


def test_an_end_goes_even_when_the_window_is_used_up() -> None:
    http, stream = opened()
    http.send(stream, bytes(frames.DEFAULT_WINDOW_BYTES))
    http.flush(2**20)
    assert sum(len(content) for content, _ in data_frames(take(http))) == frames.DEFAULT_WINDOW_BYTES
    http.send(stream, end=True)
    http.flush(2**20)
    assert data_frames(take(http)) == [(b"", True)]


@given(st.lists(st.integers(0, 40_000), max_size=8), st.integers(2_000, 50_000))
def test_no_frame_is_longer_than_the_peer_takes_and_nothing_is_lost(sizes: list[int], limit: int) -> None:
    http, stream = opened()
    http.receive(frames.window_update(0, 2**20) + frames.window_update(stream.id, 2**20))
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    for piece in pieces:
        http.send(stream, piece)
    http.send(stream, end=True)
    found: list[tuple[bytes, bool]] = []
    while http.flush(limit):
        found += data_frames(take(http))
    found += data_frames(take(http))
    assert b"".join(content for content, _ in found) == b"".join(pieces)
    assert all(len(content) <= frames.DEFAULT_FRAME_BYTES for content, _ in found)
    assert [ends for _, ends in found] == [False] * (len(found) - 1) + [True]


class Recorded(asyncio.Transport):
    """A socket that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def connected() -> tuple[Http2Connection, Recorded]:
    connection, socket = Http2Connection(), Recorded()
    connection.connection_made(socket)
    connection.data_received(frames.settings_frame({}) + frames.window_update(0, 2**20))
    socket.writes.clear()
    return connection, socket


async def test_what_is_sent_in_one_round_of_the_loop_takes_two_writes() -> None:
    connection, socket = connected()
    exchange = connection.open(POST, Heard(), end=False)
    assert len(socket.writes) == 1, "the first one does not wait"
    for number in range(100):
        exchange.send(b"%03d" % number)
    assert len(socket.writes) == 1
    await asyncio.sleep(0)
    assert [data_frames(write) for write in socket.writes[1:]] == [
        [(b"".join(b"%03d" % number for number in range(100)), False)]
    ]
    exchange.send(b"later")
    assert data_frames(socket.writes[-1]) == [(b"later", False)]


async def test_much_does_not_wait_for_more() -> None:
    connection, socket = connected()
    exchange = connection.open(POST, Heard(), end=False)
    for _ in range(4):
        exchange.send(bytes(16 * 1024))
    assert sum(len(content) for write in socket.writes for content, _ in data_frames(write)) == 4 * 16 * 1024 - 1


async def test_a_request_that_is_given_up_before_it_left_was_not_applied() -> None:
    connection, socket = connected()
    first, second = Heard(), Heard()
    connection.open(POST, first, body=b"first")
    connection.open(POST, second, body=b"second")
    connection.connection_lost(None)
    assert [data_frames(write) for write in socket.writes] == [[(b"first", True)]]
    assert (first.error is not None, second.error is not None) == (True, True)
    await asyncio.sleep(0)
    assert len(socket.writes) == 1
