"""The framing of s2s sessions (store API, section 6.9 and Appendix A)."""

import tracemalloc
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest, FrameTooLarge, Invalid, ProtocolViolation, SeqNumMismatch, TruncatedFrame
from perdure.model.batches import AppendAck, AppendInput, ReadBatch
from perdure.model.limits import MAX_FRAME_BYTES
from perdure.model.positions import StreamPosition
from perdure.model.records import AppendRecord
from perdure.wire import protobuf, s2s_messages
from perdure.wire.compression import Compression, compress
from perdure.wire.errors_json import terminal_frame
from perdure.wire.s2s import (
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameDecoder,
    Terminal,
    encode_frame,
    encode_terminal,
    frame_header,
    with_advice,
)
from tests.wire.slicing import slices

payloads = st.binary(max_size=40) | st.builds(bytes.__mul__, st.binary(min_size=1, max_size=4), st.integers(1, 800))
frames = st.tuples(payloads, st.sampled_from(Compression), st.booleans())


def decoded(data: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    found = list(decoder.feed(data))
    decoder.finish()
    return found


class TestWorkedBytes:
    @pytest.mark.parametrize(
        ("message", "encoded"),
        [
            (protobuf.encode_append_input(AppendInput.of([AppendRecord("hi")])), "00 00 07 00 0a 04 1a 02 68 69"),
            (
                protobuf.encode_append_input(AppendInput.of([AppendRecord("hi")], match_seq_num=0)),
                "00 00 09 00 0a 04 1a 02 68 69 10 00",
            ),
            (protobuf.encode_tail(StreamPosition(3, 1000)), "00 00 08 00 12 05 08 03 10 e8 07"),
            (protobuf.encode_tail(StreamPosition(0, 0)), "00 00 03 00 12 00"),
        ],
    )
    def test_regular_frames(self, message: bytes, encoded: str) -> None:
        assert encode_frame(message) == frame_header(len(message)) + message == bytes.fromhex(encoded)
        assert decoded(bytes.fromhex(encoded)) == [Frame(0, message)]

    def test_a_terminal_frame(self) -> None:
        encoded = bytes.fromhex("00 00 19 80 01 9c") + b'{"seq_num_mismatch":5}'
        assert encode_terminal(412, b'{"seq_num_mismatch":5}') == terminal_frame(SeqNumMismatch(5)) == encoded
        [frame] = decoded(encoded)
        assert frame.is_terminal
        assert frame.terminal() == Terminal(412, b'{"seq_num_mismatch":5}')

    @pytest.mark.parametrize(("compression", "flag"), [(Compression.ZSTD, 0x20), (Compression.GZIP, 0x40)])
    def test_flags_of_packed_frames(self, compression: Compression, flag: int) -> None:
        assert encode_frame(b"x" * 1024, compression)[3] == flag
        assert encode_frame(b"x" * 1023, compression) == encode_frame(b"x" * 1023)

    def test_advice_to_reconnect_is_a_bit_of_its_own(self) -> None:
        [frame] = decoded(encode_frame(b"x" * 2000, Compression.ZSTD, reconnect_advised=True))
        assert (frame.flag, frame.reconnect_advised, frame.message()) == (0x30, True, b"x" * 2000)
        assert not decoded(encode_frame(b"x"))[0].reconnect_advised
        assert with_advice(encode_frame(b"x") + encode_frame(b"y")) == encode_frame(
            b"x", reconnect_advised=True
        ) + encode_frame(b"y")
        assert frame_header(1, reconnect_advised=True) + b"x" == encode_frame(b"x", reconnect_advised=True)


class TestDecoding:
    @given(st.lists(frames, max_size=6), st.data())
    def test_frames_survive_any_slicing(self, sent: list[tuple[bytes, Compression, bool]], data: st.DataObject) -> None:
        wire = b"".join(encode_frame(p, how, reconnect_advised=advised) for p, how, advised in sent)
        decoder = FrameDecoder()
        got = [frame for piece in data.draw(slices(wire)) for frame in decoder.feed(piece)]
        assert [(frame.message(), frame.reconnect_advised) for frame in got] == [(p, a) for p, _, a in sent]
        decoder.finish()

    @given(st.lists(payloads, max_size=6), st.data())
    def test_what_is_left_in_the_iterator_comes_with_the_next_slice(
        self, sent: list[bytes], data: st.DataObject
    ) -> None:
        decoder = FrameDecoder()
        got: list[Frame] = []
        for piece in data.draw(slices(b"".join(map(encode_frame, sent)))):
            got += islice(decoder.feed(piece), data.draw(st.integers(0, 2)))
        got += decoder.feed(b"")
        assert [frame.payload for frame in got] == sent
        decoder.finish()

    @given(st.lists(payloads, min_size=1, max_size=4), st.integers(1, 10_000))
    def test_input_that_ends_within_a_frame_is_not_a_clean_end(self, sent: list[bytes], lost: int) -> None:
        *whole, last = map(encode_frame, sent)
        decoder = FrameDecoder()
        cut = last[: len(last) - 1 - lost % len(last)]
        assert [frame.payload for frame in decoder.feed(b"".join(whole) + cut)] == sent[:-1]
        if not cut:
            decoder.finish()
            return
        with pytest.raises(TruncatedFrame) as caught:
            decoder.finish()
        assert caught.value.leftover == len(cut)

    @given(st.lists(payloads, max_size=3), st.sampled_from([b"\0\0\0", b"\x20\0\1"]), st.data())
    def test_frames_before_a_bad_one_count(self, sent: list[bytes], bad: bytes, data: st.DataObject) -> None:
        decoder = FrameDecoder()
        got: list[Frame] = []
        wire = b"".join(map(encode_frame, sent)) + bad
        with pytest.raises(ProtocolViolation) as caught:
            got.extend(frame for piece in data.draw(slices(wire)) for frame in decoder.feed(piece))
        assert [frame.payload for frame in got] == sent
        with pytest.raises(ProtocolViolation) as again:
            decoder.feed(encode_frame(b"late"))
        assert again.value is caught.value
        with pytest.raises(ProtocolViolation):
            decoder.finish()

    def test_the_largest_frame_is_taken_and_one_byte_more_refused(self) -> None:
        largest = b"x" * MAX_PAYLOAD_BYTES
        [frame] = decoded(encode_frame(largest))
        assert frame.payload == largest
        with pytest.raises(FrameTooLarge) as caught:
            list(FrameDecoder().feed((MAX_FRAME_BYTES + 1).to_bytes(3, "big")))
        assert caught.value.size == MAX_FRAME_BYTES + 1
        with pytest.raises(FrameTooLarge):
            encode_frame(largest + b"x")
        with pytest.raises(FrameTooLarge):
            frame_header(len(largest) + 1)

    def test_a_peer_that_sends_byte_by_byte_makes_nothing_pile_up(self) -> None:
        decoder = FrameDecoder()
        size = 100_000
        list(decoder.feed(frame_header(size)))
        tracemalloc.start()
        for n in range(size - 1):
            assert not list(decoder.feed(bytes([n & 0xFF])))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 2 * size
        assert len(next(decoder.feed(b"!")).payload) == size

    @given(st.binary(max_size=60), st.data())
    def test_any_bytes_are_frames_or_a_violation(self, wire: bytes, data: st.DataObject) -> None:
        decoder = FrameDecoder()
        try:
            for piece in data.draw(slices(wire)):
                for frame in decoder.feed(piece):
                    frame.terminal() if frame.is_terminal else frame.message()
            decoder.finish()
        except ProtocolViolation:
            pass


class TestMessages:
    @given(st.integers(0, 255), st.binary(max_size=60))
    def test_any_frame_is_a_batch_or_refused(self, flag: int, payload: bytes) -> None:
        try:
            s2s_messages.append_input_of(Frame(flag, payload))
        except (ProtocolViolation, BadRequest, Invalid):
            pass

    def test_reserved_bits_mean_nothing(self) -> None:
        assert Frame(0x0F, b"hi").message() == b"hi"
        assert Frame(0xEF, b"\x01\xf7{}").terminal() == Terminal(503, b"{}")

    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            (Frame(0x60, b"x"), "unknown compression"),
            (Frame(0x20, b"x" * 20), "zstd data is damaged"),
            (Frame(0x40, b"x" * 20), "gzip data is damaged"),
            (Frame(0, b"\xff"), "not an AppendInput message"),
        ],
    )
    def test_a_bad_frame_from_a_client(self, frame: Frame, message: str) -> None:
        with pytest.raises(ProtocolViolation, match=message):
            s2s_messages.append_input_of(frame)

    def test_a_terminal_frame_from_a_client(self) -> None:
        with pytest.raises(BadRequest, match="Unexpected terminal frame as input") as caught:
            s2s_messages.append_input_of(Frame(0x80, b"\x01\x90{}"))
        assert (caught.value.code, caught.value.status) == ("bad_frame", 400)

    def test_a_batch_that_breaks_a_limit_is_invalid_not_a_bad_frame(self) -> None:
        with pytest.raises(Invalid, match="must not be empty"):
            s2s_messages.append_input_of(Frame(0, b""))

    @pytest.mark.parametrize("compression", [Compression.ZSTD, Compression.GZIP])
    def test_a_frame_that_unfolds_beyond_the_limit_is_refused(self, compression: Compression) -> None:
        flag = 0x20 if compression is Compression.ZSTD else 0x40
        assert len(Frame(flag, compress(bytes(MAX_PAYLOAD_BYTES), compression)).message()) == MAX_PAYLOAD_BYTES
        with pytest.raises(ProtocolViolation, match="must not exceed 2097151 bytes"):
            Frame(flag, compress(bytes(MAX_PAYLOAD_BYTES + 1), compression)).message()

    def test_what_servers_send(self) -> None:
        position = StreamPosition(3, 1000)
        ack = AppendAck(StreamPosition(0, 0), position, position)
        assert s2s_messages.append_ack_of(Frame(0, protobuf.encode_append_ack(ack))) == ack
        assert s2s_messages.read_batch_of(Frame(0, protobuf.encode_tail(position))) == ReadBatch((), position)
        [last] = decoded(terminal_frame(SeqNumMismatch(7)))
        for read in (s2s_messages.append_ack_of, s2s_messages.read_batch_of):
            with pytest.raises(SeqNumMismatch) as caught:
                read(last)
            assert caught.value.expected == 7
            with pytest.raises(ProtocolViolation):
                read(Frame(0, b"\xff"))
        with pytest.raises(ProtocolViolation, match="2 bytes"):
            s2s_messages.append_ack_of(Frame(0x80, b"\1"))
