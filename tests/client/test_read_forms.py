"""Read sessions as server-sent events, as a client takes them apart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.client.transports.read_forms import SseReads
from perdure.errors import ProtocolViolation, StreamNotFound, TransportError, Unavailable
from perdure.model.batches import ReadBatch
from perdure.model.positions import StreamPosition
from perdure.model.records import SequencedRecord
from perdure.wire.media import Format
from perdure.wire.sse_reads import DONE, NOTHING_DELIVERED, encode_batch, encode_error_event, encode_ping

RECORD = SequencedRecord(7, 8, "a\u2028b\r\n".encode() + b"\xff", ((b"\x00", b"v"),))
BATCHES = [
    ReadBatch((RECORD,)),
    ReadBatch((), StreamPosition(8, 8)),
    ReadBatch((SequencedRecord(8, 9, b""),), StreamPosition(9, 9)),
]


def wire(batches: Sequence[ReadBatch]) -> bytes:
    return b"".join(
        [
            encode_batch(batch, NOTHING_DELIVERED.advanced(batch), Format.BASE64)
            if batch.records
            else encode_ping(0, batch.tail or StreamPosition(0, 0))
            for batch in batches
        ]
    )


def taken(form: SseReads, pieces: Sequence[bytes]) -> list[ReadBatch | None]:
    return [form.batch_of(item) for piece in pieces for item in form.feed(piece)]


@given(cuts=st.lists(st.integers(0, 1000)))
def test_batches_survive_any_slicing(cuts: list[int]) -> None:
    data = wire(BATCHES) + DONE
    ends = sorted({cut % len(data) for cut in cuts} | {len(data)})
    form = SseReads()
    assert taken(form, [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]) == BATCHES
    assert form.is_complete
    form.finish()


@given(size=st.integers(0, len(wire(BATCHES) + DONE) - 1))
def test_an_answer_without_the_last_event_has_broken_off(size: int) -> None:
    form = SseReads()
    taken(form, [(wire(BATCHES) + DONE)[:size]])
    with pytest.raises(TransportError, match="broke off"):
        form.finish()


def test_nothing_counts_after_the_last_event() -> None:
    form = SseReads()
    assert taken(form, [DONE + wire(BATCHES)]) == []
    assert form.is_complete


@pytest.mark.parametrize("error", [StreamNotFound("no such stream"), Unavailable("closing")])
def test_an_error_of_the_server(error: Exception) -> None:
    form = SseReads()
    with pytest.raises(type(error), match=str(error)):
        taken(form, [encode_error_event(error)])


def test_what_is_not_known_means_nothing() -> None:
    assert taken(SseReads(), [b": comment\n\nevent: news\ndata: {}\n\n"]) == [None]


@pytest.mark.parametrize("data", [b"{", b'{"records":[{"seq_num":-1,"timestamp":0}]}', b'{"records":[{}]}'])
def test_an_event_that_cannot_be_decoded(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        taken(SseReads(), [b"event: batch\ndata: " + data + b"\n\n"])
