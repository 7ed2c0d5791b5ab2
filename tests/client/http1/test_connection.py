"""One HTTP/1.1 connection, over a socket whose other end the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.client.endpoints import Origin
from perdure.client.exchange import Destination, Fields, Head
from perdure.client.http1.connection import WINDOW_BYTES, Http1Connection
from perdure.errors import PerdureError, TransportError

SERVER = Destination(
    Origin("http", "store.example", 8080), ((b"user-agent", b"test"), (b"authorization", b"Bearer t")), b""
)
GET = Head(b"GET", b"/v1/basins", SERVER)
POST = Head(b"POST", b"/v1/basins", SERVER, ((b"content-length", b"4"),), ((b"s2-encryption-key", b"k"),))
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-Mixed: Case\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
UNTIL_THE_END = b"HTTP/1.0 200 OK\r\n\r\nhello"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"


class Socket(asyncio.Transport):
    """What the connection writes to; what it reads is fed by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += data

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: Fields = []
        self.body = b""
        self.is_over = False
        self.error: PerdureError | None = None

    def head(self, status: int, fields: Fields) -> None:
        assert not self.status
        self.status, self.fields = status, fields

    def data(self, piece: bytes) -> None:
        assert self.status
        assert not self.is_over
        self.body += piece

    def end(self) -> None:
        assert not self.is_over
        self.is_over = True

    def lost(self, error: PerdureError) -> None:
        assert not self.is_over
        self.is_over, self.error = True, error


def connected(*, absolute: bool = False, idle_secs: float = 60) -> tuple[Http1Connection, Socket]:
    connection, socket = Http1Connection(absolute=absolute, idle_secs=idle_secs), Socket()
    connection.connection_made(socket)
    return connection, socket


def slices(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if begin < end]


class TestRequests:
    async def test_are_sent_whole(self) -> None:
        connection, socket = connected()
        connection.open(POST, Heard(), body=b"body")
        assert socket.written == (
            b"POST /v1/basins HTTP/1.1\r\nhost: store.example:8080\r\nuser-agent: test\r\nauthorization: Bearer t\r\n"
            b"content-length: 4\r\ns2-encryption-key: k\r\n\r\nbody"
        )

    async def test_name_their_server_for_a_proxy(self) -> None:
        connection, socket = connected(absolute=True)
        connection.open(GET, Heard())
        assert socket.written.startswith(b"GET http://store.example:8080/v1/basins HTTP/1.1\r\n")

    async def test_one_that_is_to_stay_open_is_refused(self) -> None:
        connection, socket = connected()
        with pytest.raises(TransportError, match="HTTP/2"):
            connection.open(POST, Heard(), end=False)
        assert connection.has_room
        assert not socket.written

    async def test_one_at_a_time(self) -> None:
        connection, _ = connected()
        assert connection.has_room
        connection.open(GET, Heard())
        assert not connection.has_room
        connection.data_received(ANSWER)
        assert connection.has_room


class TestAnswers:
    @pytest.mark.parametrize("answer", [ANSWER, CHUNKED, UNTIL_THE_END])
    @given(cuts=st.lists(st.integers(0, 200)), hints=st.booleans())
    def test_in_any_slices(self, answer: bytes, cuts: list[int], hints: bool) -> None:
        async def check() -> None:
            connection, _ = connected()
            for _ in range(1 if answer is UNTIL_THE_END else 2):
                heard = Heard()
                connection.open(GET, heard)
                for piece in slices((EARLY_HINTS if hints else b"") + answer, cuts):
                    connection.data_received(piece)
                if answer is UNTIL_THE_END:
                    assert not heard.is_over
                    connection.eof_received()
                assert (heard.status, heard.body, heard.is_over, heard.error) == (200, b"hello", True, None)
            assert connection.is_closed is (answer is UNTIL_THE_END)
            connection.abort()

        asyncio.run(check())

    async def test_fields_have_names_in_lower_case(self) -> None:
        connection, _ = connected()
        heard = Heard()
        connection.open(GET, heard)
        connection.data_received(ANSWER)
        assert heard.fields == [(b"content-length", b"5"), (b"x-mixed", b"Case")]

    @given(junk=st.binary(min_size=1, max_size=80), cuts=st.lists(st.integers(0, 80)))
    def test_junk_ends_the_connection_and_nothing_else(self, junk: bytes, cuts: list[int]) -> None:
        async def check() -> None:
            connection, _ = connected()
            heard = Heard()
            connection.open(GET, heard)
            for piece in slices(junk, cuts):
                connection.data_received(piece)
            connection.eof_received()
            connection.connection_lost(None)
            assert heard.is_over
            assert connection.is_closed
            connection.abort()

        asyncio.run(check())

    @pytest.mark.parametrize("size", range(len(ANSWER)))
    async def test_one_that_breaks_off_may_have_been_acted_upon(self, size: int) -> None:
        connection, _ = connected()
        heard = Heard()
        connection.open(POST, heard, body=b"body")
        connection.data_received(ANSWER[:size]) if size else None
        connection.eof_received()
        connection.connection_lost(None)
        assert isinstance(heard.error, TransportError)
        assert not heard.error.has_no_side_effects

    async def test_a_head_without_end(self) -> None:
        connection, socket = connected()
        heard = Heard()
        connection.open(GET, heard)
        connection.data_received(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000)
        assert isinstance(heard.error, TransportError)
        assert socket.closed


class TestReading:
    async def test_a_slow_reader_holds_the_server_up(self) -> None:
        connection, socket = connected()
        heard = Heard()
        exchange = connection.open(GET, heard)
        body = bytes(WINDOW_BYTES)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 * len(body)) + body)
        assert socket.reading
        connection.data_received(b"x")
        assert not socket.reading
        exchange.read(1)
        assert socket.reading
        exchange.read(len(body))
        connection.data_received(body[1:])
        assert heard.is_over

    async def test_what_nobody_read_does_not_hold_up_the_next_answer(self) -> None:
        connection, socket = connected()
        exchange = connection.open(GET, Heard())
        size = WINDOW_BYTES + 1
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
        assert socket.reading
        other = Heard()
        connection.open(GET, other)
        exchange.read(size)
        exchange.reset()
        connection.data_received(ANSWER)
        assert other.body == b"hello"


class TestEnding:
    async def test_giving_a_request_up_closes_the_connection(self) -> None:
        connection, socket = connected()
        heard = Heard()
        exchange = connection.open(GET, heard)
        exchange.reset()
        assert socket.closed
        assert connection.is_closed
        connection.data_received(ANSWER)
        assert (heard.status, heard.is_over) == (0, False)

    async def test_a_server_that_says_so_closes_it(self) -> None:
        connection, socket = connected()
        heard = Heard()
        connection.open(GET, heard)
        connection.data_received(ANSWER.replace(b"X-Mixed: Case", b"connection: close"))
        assert (heard.body, heard.error) == (b"hello", None)
        assert socket.closed
        assert not connection.has_room

    @pytest.mark.parametrize("said", [b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", b"?"])
    async def test_a_server_that_speaks_unasked(self, said: bytes) -> None:
        connection, socket = connected()
        connection.data_received(said)
        assert socket.closed
        assert not connection.has_room

    async def test_a_connection_that_nobody_uses_is_closed(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.read() == b""
            writer.close()
            closed.set()

        closed = asyncio.Event()
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: Http1Connection(idle_secs=0.01), "127.0.0.1", port)
            await closed.wait()
            assert connection.is_closed
            await connection.aclose()

    async def test_closing_loses_what_is_open(self) -> None:
        connection, _ = connected()
        heard = Heard()
        connection.open(GET, heard)
        closing = asyncio.create_task(connection.aclose())
        await asyncio.sleep(0)
        assert isinstance(heard.error, TransportError)
        connection.connection_lost(None)
        await closing


def test_secrets_and_targets_are_checked_by_the_library() -> None:
    with pytest.raises(h11.LocalProtocolError):
        h11.Request(method=b"GET", target=b"/a b", headers=[(b"host", b"x")])
