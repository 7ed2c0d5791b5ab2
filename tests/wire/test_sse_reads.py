"""Reads as server-sent events (store API, section 6.8 and Appendix A)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest, DecryptionFailed, PerdureError, Unavailable
from perdure.model.batches import ReadBatch
from perdure.model.positions import SeqNum, StreamPosition, TailOffset
from perdure.model.reads import ReadRequest
from perdure.model.records import SequencedRecord
from perdure.wire import sse_reads
from perdure.wire.media import Format
from perdure.wire.sse import SseEvent, SseParser
from perdure.wire.sse_reads import DONE, NOTHING_DELIVERED, Done, LastEventId
from tests.model.strategies import U64, headers
from tests.wire.slicing import slices

sequenced = st.builds(SequencedRecord, U64, U64, st.binary(max_size=64), headers.map(tuple))
batches = st.builds(
    ReadBatch, st.lists(sequenced, min_size=1, max_size=5).map(tuple), st.none() | st.builds(StreamPosition, U64, U64)
)


def test_worked_bytes() -> None:
    batch = ReadBatch((SequencedRecord(0, 1000, b"hello"), SequencedRecord(1, 1000, b"world")))
    event_id = NOTHING_DELIVERED.advanced(batch)
    assert sse_reads.encode_batch(batch, event_id, Format.RAW) + DONE == (
        b"event: batch\n"
        b"id: 1,2,26\n"
        b'data: {"records":[{"seq_num":0,"timestamp":1000,"body":"hello"},'
        b'{"seq_num":1,"timestamp":1000,"body":"world"}]}\n'
        b"\n"
        b"data: [DONE]\n"
        b"\n"
    )


def test_a_ping() -> None:
    assert sse_reads.encode_ping(99, StreamPosition(0, 0)) == (
        b'event: ping\ndata: {"timestamp":99,"tail":{"seq_num":0,"timestamp":0}}\n\n'
    )


def test_an_error() -> None:
    assert sse_reads.encode_error_event(DecryptionFailed("record decryption failed")) == (
        b'event: error\ndata: {"code":"decryption_failed","message":"record decryption failed"}\n\n'
    )


@given(st.lists(batches, max_size=4), st.data())
def test_a_session_comes_back_through_any_slicing(sent: list[ReadBatch], data: st.DataObject) -> None:
    event_id, wire = NOTHING_DELIVERED, b""
    ids = []
    for batch in sent:
        event_id = event_id.advanced(batch)
        ids.append(event_id.encode().decode())
        wire += sse_reads.encode_batch(batch, event_id, Format.BASE64)
    tail = StreamPosition(5, 6)
    wire += sse_reads.encode_ping(1, tail) + sse_reads.encode_error_event(Unavailable("gone")) + DONE
    parser = SseParser()
    events = [event for piece in data.draw(slices(wire)) for event in parser.feed(piece)]
    assert [event.id for event in events] == [*ids, None, None, None]
    *got, ping, error, done = (sse_reads.decode_event(event, Format.BASE64) for event in events)
    assert got == sent
    assert ping == ReadBatch((), tail)
    assert isinstance(error, Unavailable)
    assert done is Done.DONE


def test_unknown_events_are_skipped_and_bad_ones_refused() -> None:
    assert sse_reads.decode_event(SseEvent("x", "news"), Format.RAW) is None
    assert sse_reads.decode_event(SseEvent("[DONE]", "news"), Format.RAW) is None
    assert isinstance(sse_reads.decode_event(SseEvent("not json", "error"), Format.RAW), PerdureError)
    for event in ("batch", "ping"):
        with pytest.raises(BadRequest):
            sse_reads.decode_event(SseEvent("{}", event), Format.RAW)


class TestLastEventId:
    @given(U64, U64, U64)
    def test_ids_come_back(self, seq_num: int, count: int, size: int) -> None:
        event_id = LastEventId(seq_num, count, size)
        assert LastEventId.parse(event_id.encode()) == event_id
        assert LastEventId.parse(b" " + event_id.encode() + b"\t") == event_id

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"5",
            b"1,2",
            b"1,2,3,4",
            b"1,2,",
            b"1, 2,3",
            b"-1,2,3",
            b"1.0,2,3",
            b"a,b,c",
            b"1,2,18446744073709551616",
        ],
    )
    def test_malformed_ids(self, value: bytes) -> None:
        with pytest.raises(BadRequest, match="last-event-id") as caught:
            LastEventId.parse(value)
        assert caught.value.code == "bad_header"

    @given(st.binary(max_size=30))
    def test_any_value_is_an_id_or_refused(self, value: bytes) -> None:
        try:
            LastEventId.parse(value)
        except BadRequest:
            pass

    def test_a_resumed_read_goes_on_after_the_batch_with_what_is_left_of_its_limits(self) -> None:
        request = ReadRequest.of(TailOffset(9), count=8, bytes=60, until=7, clamp=True, wait=2.5)
        assert LastEventId(4, 5, 65).resumed(request) == ReadRequest.of(
            SeqNum(5), count=3, bytes=0, until=7, clamp=True, wait=2.5
        )

    def test_a_resumed_read_without_limits_has_none(self) -> None:
        assert LastEventId(2**64 - 1, 5, 65).resumed(ReadRequest()) == ReadRequest(SeqNum(2**64 - 1))
