"""The client's HTTP/2 against `h2`, which checks every frame, and against peers that break the rules."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.client.exchange import Fields
from perdure.client.http2 import frames
from perdure.client.http2.fields import MAX_FIELDS_BYTES, FieldDecoder, literal, literals
from perdure.client.http2.frames import AnsweredInHttp1, Http2Violation, Kind, Setting
from perdure.client.http2.protocol import MAX_STREAMS, Http2Protocol
from perdure.client.http2.stream import STREAM_WINDOW_BYTES
from perdure.errors import PerdureError, TransportError

HEAD = literals(
    [(b":method", b"POST"), (b":path", b"/v1/x"), (b":scheme", b"http"), (b":authority", b"x"), (b"n", b"v" * 300)]
)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.fields: Fields = []
        self.body = b""
        self.ended = False
        self.error: PerdureError | None = None

    def head(self, status: int, fields: Fields) -> None:
        assert self.status is None
        self.status, self.fields = status, fields

    def data(self, piece: bytes) -> None:
        assert not self.is_over
        assert piece
        self.body += piece

    def end(self) -> None:
        assert not self.is_over
        self.ended = True

    def lost(self, error: PerdureError) -> None:
        assert not self.is_over
        self.error = error

    @property
    def is_over(self) -> bool:
        return self.ended or self.error is not None


def take(http: Http2Protocol) -> bytes:
    output, http.output = http.output, []
    return b"".join(output)


class Server:
    """`h2` as the server at the other end; it sends back what it gets."""

    def __init__(self, *, window: int, frame: int) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        codes = h2.settings.SettingCodes
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values={codes.INITIAL_WINDOW_SIZE: window, codes.MAX_FRAME_SIZE: frame}
        )
        self.h2.max_inbound_frame_size = frame
        self.h2.initiate_connection()
        self.bodies: dict[int, bytearray] = {}
        self.back: dict[int, bytes] = {}
        self.resets: list[int] = []

    def receive(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.bodies[event.stream_id] = bytearray()
                self.h2.send_headers(event.stream_id, [(b":status", b"200"), (b"x", b"y" * 50)])
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.back[event.stream_id] = bytes(self.bodies[event.stream_id])
            elif isinstance(event, h2.events.StreamReset):
                self.resets.append(event.stream_id)
        self.flush()

    def flush(self) -> None:
        for stream_id, body in list(self.back.items()):
            size = min(self.h2.local_flow_control_window(stream_id), len(body), self.h2.max_outbound_frame_size)
            if not size and body:
                continue
            self.h2.send_data(stream_id, body[:size], end_stream=size == len(body), pad_length=3 if size % 2 else None)
            self.back[stream_id] = body[size:]
            if size == len(body):
                del self.back[stream_id]

    def take(self) -> bytes:
        return self.h2.data_to_send()


def sizes(most: int, *, least: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(least, most), min_size=1, max_size=4)


class TestWithH2:
    @settings(deadline=None)
    @given(
        shape=st.one_of(
            st.tuples(sizes(150_000, least=0), sizes(40_000, least=1_000)),
            st.tuples(sizes(500, least=0), sizes(9, least=1)),
        ),
        window=st.sampled_from([1_000, 65_535, 10**6]),
        frame=st.sampled_from([16_384, 100_000]),
        turn=st.sampled_from([1_000, 10**6]),
    )
    def test_what_is_sent_comes_back(
        self, shape: tuple[list[int], list[int]], window: int, frame: int, turn: int
    ) -> None:
        """Any bodies at once, through any windows and frame sizes, in any slices."""
        bodies, slices = shape
        http, server = Http2Protocol(), Server(window=window, frame=frame)
        server.receive(take(http))
        http.receive(server.take())
        asked = []
        for number, size in enumerate(bodies):
            heard, body = Heard(), bytes([number]) * size
            stream = http.open(HEAD, heard, has_body=True)
            http.send(stream, body[: size // 2])
            http.send(stream, body[size // 2 :], end=True)
            asked.append((heard, body))
        position = 0
        for _ in range(100_000):
            while http.flush(turn):
                pass
            server.receive(take(http))
            server.flush()
            data = server.take()
            while data:
                size = slices[position % len(slices)]
                position += 1
                http.receive(data[:size])
                data = data[size:]
            if all(heard.is_over for heard, _ in asked):
                break
        for heard, body in asked:
            assert heard.error is None
            assert (heard.status, heard.body) == (200, body)
            assert heard.fields == [(b"x", b"y" * 50)]
        assert http.open_streams == 0

    def test_a_large_head_is_cut_into_frames(self) -> None:
        http, server = Http2Protocol(), Server(window=10**6, frame=16_384)
        http.open(HEAD + literal(b"long", b"x" * 50_000), Heard(), has_body=False)
        server.receive(take(http))
        assert list(server.bodies) == [1]

    def test_giving_up_resets_and_silences(self) -> None:
        http, server = Http2Protocol(), Server(window=10**6, frame=16_384)
        heard = Heard()
        stream = http.open(HEAD, heard, has_body=True)
        http.send(stream, b"x" * 10)
        http.flush(10**6)
        server.receive(take(http))
        http.reset(stream)
        http.reset(stream)
        http.receive(server.take())
        http.send(stream, b"more", end=True)
        server.receive(take(http))
        assert server.resets == [stream.id]
        assert (heard.status, heard.is_over) == (None, False)

    def test_an_answer_before_the_end_of_the_request(self) -> None:
        http, server = Http2Protocol(), Server(window=10**6, frame=16_384)
        heard = Heard()
        stream = http.open(HEAD, heard, has_body=True)
        server.receive(take(http))
        server.h2.send_data(stream.id, b"no", end_stream=True)
        http.receive(server.take())
        assert (heard.body, heard.ended) == (b"no", True)
        server.receive(take(http))
        assert server.resets == [stream.id]

    def test_ping_is_answered(self) -> None:
        http, server = Http2Protocol(), Server(window=10**6, frame=16_384)
        server.receive(take(http))
        server.h2.ping(b"12345678")
        http.receive(server.take())
        events = server.h2.receive_data(take(http))
        assert any(isinstance(event, h2.events.PingAckReceived) for event in events)


def ready() -> Http2Protocol:
    http = Http2Protocol()
    http.receive(frames.settings_frame({}))
    take(http)
    return http


def head_frame(stream_id: int, fields: bytes = b"\x88", flags: int = frames.END_HEADERS) -> bytes:
    """An answer's head; 0x88 is `:status: 200` in the static table."""
    return frames.frame_head(len(fields), Kind.HEADERS, flags, stream_id) + fields


def data_frame(stream_id: int, data: bytes, flags: int = 0) -> bytes:
    return frames.frame_head(len(data), Kind.DATA, flags, stream_id) + data


class TestWhatIsLost:
    def test_what_a_goaway_leaves_out_was_not_applied(self) -> None:
        http, heard = ready(), [Heard(), Heard()]
        for listener in heard:
            http.open(HEAD, listener, has_body=False)
        http.receive(frames.frame_head(8, Kind.GOAWAY, 0, 0) + b"\0\0\0\1" + bytes(4))
        assert not http.has_room
        assert not heard[0].is_over
        error = heard[1].error
        assert isinstance(error, TransportError)
        assert not error.may_have_applied
        http.receive(head_frame(1, flags=frames.END_HEADERS | frames.END_STREAM))
        assert heard[0].ended

    @pytest.mark.parametrize(
        ("code", "applied"), [(frames.Code.REFUSED_STREAM, False), (frames.Code.INTERNAL_ERROR, True)]
    )
    def test_a_reset(self, code: frames.Code, applied: bool) -> None:
        http, heard = ready(), Heard()
        stream = http.open(HEAD, heard, has_body=False)
        http.receive(frames.rst_stream(stream.id, code))
        assert isinstance(heard.error, TransportError)
        assert heard.error.may_have_applied == applied
        assert code.name in heard.error.message

    def test_a_body_of_which_nothing_went_out_was_not_applied(self) -> None:
        http = ready()
        kept, sent = Heard(), Heard()
        http.open(HEAD, kept, has_body=True)
        stream = http.open(HEAD, sent, has_body=True)
        http.send(stream, b"x")
        http.flush(100)
        http.lose("gone")
        assert isinstance(kept.error, TransportError)
        assert isinstance(sent.error, TransportError)
        assert (kept.error.may_have_applied, sent.error.may_have_applied) == (False, True)

    def test_there_is_room_for_as_many_streams_as_the_peer_allows(self) -> None:
        http = Http2Protocol()
        http.receive(frames.settings_frame({Setting.MAX_CONCURRENT_STREAMS: 2}))
        for _ in range(2):
            assert http.has_room
            http.open(HEAD, Heard(), has_body=False)
        assert not http.has_room
        generous = Http2Protocol()
        generous.receive(frames.settings_frame({Setting.MAX_CONCURRENT_STREAMS: 10**6}))
        for _ in range(MAX_STREAMS):
            generous.open(HEAD, Heard(), has_body=False)
        assert not generous.has_room


LONG = b"\x00\x01a\x7f\x81\x7f" + b"x" * (127 + 128 * 127 + 1)


class TestPeersThatBreakTheRules:
    @pytest.mark.parametrize(
        "data",
        [
            b"SSH-2.0-OpenSSH_9.6\r\n",
            frames.ping_ack(b"12345678"),
        ],
    )
    def test_a_peer_that_does_not_speak_it(self, data: bytes) -> None:
        with pytest.raises(Http2Violation, match="is this an HTTP/2 server"):
            Http2Protocol().receive(data)

    @pytest.mark.parametrize("cut", [1, 8, 9, 20])
    def test_a_peer_that_speaks_an_older_one(self, cut: int) -> None:
        protocol, answer = Http2Protocol(), b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"
        if cut < 9:
            protocol.receive(answer[:cut])
        with pytest.raises(AnsweredInHttp1):
            protocol.receive(answer[cut if cut < 9 else 0 :])

    @pytest.mark.parametrize(
        "data",
        [
            data_frame(1, b"before the head"),
            data_frame(3, b"never opened"),
            data_frame(2, b"a server's"),
            head_frame(3),
            head_frame(1) + head_frame(1),
            head_frame(1, b"\x40\x01a\x01b"),
            head_frame(1, b"\xff\xff\xff"),
            head_frame(1, b"\x88", 0) + data_frame(1, b"within"),
            frames.frame_head(1, Kind.CONTINUATION, frames.END_HEADERS, 1) + b"\x88",
            frames.frame_head(4, Kind.PUSH_PROMISE, frames.END_HEADERS, 1) + bytes(4),
            frames.frame_head(3, Kind.SETTINGS, 0, 0) + bytes(3),
            frames.settings_frame({Setting.INITIAL_WINDOW_SIZE: 2**31}),
            frames.settings_frame({Setting.MAX_FRAME_SIZE: 100}),
            frames.window_update(0, 0),
            frames.window_update(1, 0),
            frames.window_update(0, 2**31 - 1),
            frames.window_update(1, 2**31 - 1),
            frames.frame_head(3, Kind.WINDOW_UPDATE, 0, 0) + bytes(3),
            frames.frame_head(7, Kind.PING, 0, 0) + bytes(7),
            frames.frame_head(7, Kind.GOAWAY, 0, 0) + bytes(7),
            frames.frame_head(2**24 - 1, Kind.DATA, 0, 1),
            frames.frame_head(2, Kind.DATA, frames.PADDED, 1) + b"\x05x",
            frames.frame_head(1, Kind.HEADERS, frames.END_HEADERS | frames.PRIORITY, 1) + b"x",
            head_frame(1, b"", 0) + frames.frame_head(0, Kind.CONTINUATION, 0, 1) * 2,
            head_frame(1, b"x" * 10_000, 0) + (frames.frame_head(10_000, Kind.CONTINUATION, 0, 1) + bytes(10_000)) * 6,
            head_frame(1, b"\x88" + LONG * (MAX_FIELDS_BYTES // len(LONG) + 1)),
        ],
    )
    @pytest.mark.parametrize("step", [1, 7, 10**6])
    def test_it_is_refused(self, data: bytes, step: int) -> None:
        http = ready()
        http.open(HEAD, Heard(), has_body=True)

        def receive_all() -> None:
            for at in range(0, len(data), step):
                http.receive(data[at : at + step])

        with pytest.raises(Http2Violation):
            receive_all()

    def test_more_than_the_window(self) -> None:
        http = ready()
        http.open(HEAD, Heard(), has_body=False)
        http.receive(head_frame(1))
        piece = data_frame(1, bytes(2**20))
        for _ in range(STREAM_WINDOW_BYTES // 2**20):
            http.receive(piece)
        with pytest.raises(Http2Violation, match="window"):
            http.receive(piece)

    @given(st.binary(max_size=300))
    def test_any_bytes_are_taken_or_refused(self, data: bytes) -> None:
        http = ready()
        http.open(HEAD, Heard(), has_body=True)
        try:
            http.receive(data)
        except Http2Violation:
            pass

    def test_what_is_unknown_is_ignored(self) -> None:
        http, heard = ready(), Heard()
        http.open(HEAD, heard, has_body=False)
        http.receive(
            b"\0\0\1\x77\0\0\0\0\1x"
            + frames.frame_head(5, Kind.PRIORITY, 0, 1) + bytes(5)
            + head_frame(1, b"\x08\x03103")
            + head_frame(1)
            + head_frame(1, b"\x00\x07trailer\x01x", frames.END_HEADERS | frames.END_STREAM)
        )  # fmt: skip
        assert (heard.status, heard.ended) == (200, True)


class TestFields:
    @given(st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.binary(max_size=1000)), max_size=5))
    def test_what_is_written_is_read_again(self, fields: Fields) -> None:
        assert FieldDecoder().decode(literals(fields)) == fields

    @given(st.binary(max_size=20_000))
    def test_secrets_too(self, value: bytes) -> None:
        assert FieldDecoder().decode(literal(b"authorization", value, secret=True)) == [(b"authorization", value)]

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([(b"a", b"1"), (b"b", b"x" * 90), (b"c", b"y" * 90), (b":status", b"200")]),
                st.sampled_from([True, True, True, False]),
                st.sampled_from([None, None, None, 0, 150, 4096]),
            ),
            min_size=10,
            max_size=40,
        )
    )
    @settings(deadline=None)
    def test_blocks_that_come_again_mean_what_the_table_says_now(
        self, answers: list[tuple[tuple[bytes, bytes], bool, int | None]]
    ) -> None:
        encoder, decoder = hpack.Encoder(), FieldDecoder()
        for field, is_indexed, table_bytes in answers:
            if table_bytes is not None:
                encoder.header_table_size = table_bytes
            sent = hpack.HeaderTuple(*field) if is_indexed else hpack.NeverIndexedHeaderTuple(*field)
            assert decoder.decode(encoder.encode([sent])) == [field]
