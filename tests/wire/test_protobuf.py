"""Bytes of the protobuf form, and back (store API, section 6.10 and Appendix A)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest, Invalid, StorageFailed
from perdure.model.batches import AppendAck, AppendInput, ReadBatch
from perdure.model.positions import StreamPosition
from perdure.model.records import AppendRecord, SequencedRecord
from perdure.wire import protobuf
from tests.model.strategies import U64, append_records, headers

positions = st.builds(StreamPosition, U64, U64)
sequenced = st.builds(SequencedRecord, U64, U64, st.binary(max_size=64), headers.map(tuple))
read_batches = st.builds(ReadBatch, st.lists(sequenced, max_size=8).map(tuple), st.none() | positions)
append_inputs = st.builds(
    AppendInput.of,
    st.lists(append_records(), min_size=1, max_size=8),
    match_seq_num=st.none() | U64,
    fencing_token=st.none() | st.text(max_size=9),
)


class TestWorkedBytes:
    @pytest.mark.parametrize(
        ("batch", "encoded"),
        [
            (AppendInput.of([AppendRecord("hi")]), "0a 04 1a 02 68 69"),
            (AppendInput.of([AppendRecord("hi")], match_seq_num=0), "0a 04 1a 02 68 69 10 00"),
            (AppendInput.of([AppendRecord("hi")], fencing_token=""), "0a 04 1a 02 68 69 1a 00"),
            (AppendInput.of([AppendRecord("hi", timestamp=0)]), "0a 06 08 00 1a 02 68 69"),
            (AppendInput.of([AppendRecord.fence("ab")]), "0a 0d 12 07 12 05 66 65 6e 63 65 1a 02 61 62"),
            (
                AppendInput.of([AppendRecord.trim(5)]),
                "0a 12 12 06 12 04 74 72 69 6d 1a 08 00 00 00 00 00 00 00 05",
            ),
        ],
    )
    def test_append_inputs(self, batch: AppendInput, encoded: str) -> None:
        assert protobuf.encode_append_input(batch) == bytes.fromhex(encoded)
        assert protobuf.decode_append_input(bytes.fromhex(encoded)) == batch

    @pytest.mark.parametrize(
        ("tail", "encoded"),
        [(StreamPosition(3, 1000), "12 05 08 03 10 e8 07"), (StreamPosition(0, 0), "12 00")],
    )
    def test_heartbeats(self, tail: StreamPosition, encoded: str) -> None:
        assert protobuf.encode_tail(tail) == bytes.fromhex(encoded)
        assert protobuf.encode_read_batch(ReadBatch((), tail)) == bytes.fromhex(encoded)
        assert protobuf.decode_read_batch(bytes.fromhex(encoded)) == ReadBatch((), tail)

    def test_all_parts_of_an_ack_are_there_even_when_they_are_zero(self) -> None:
        zero = StreamPosition(0, 0)
        assert protobuf.encode_append_ack(AppendAck(zero, zero, zero)) == bytes.fromhex("0a 00 12 00 1a 00")

    def test_nothing_at_all(self) -> None:
        assert protobuf.encode_read_batch(ReadBatch(())) == b""
        assert protobuf.decode_read_batch(b"") == ReadBatch(())


class TestRoundTrips:
    @given(append_inputs)
    def test_append_inputs(self, batch: AppendInput) -> None:
        assert protobuf.decode_append_input(protobuf.encode_append_input(batch)) == batch

    @given(positions, positions, positions)
    def test_acks(self, start: StreamPosition, end: StreamPosition, tail: StreamPosition) -> None:
        ack = AppendAck(start, end, tail)
        assert protobuf.decode_append_ack(protobuf.encode_append_ack(ack)) == ack

    @given(read_batches)
    def test_read_batches(self, batch: ReadBatch) -> None:
        assert protobuf.decode_read_batch(protobuf.encode_read_batch(batch)) == batch

    @given(st.lists(read_batches, max_size=4), st.none() | positions)
    def test_blocks_one_after_the_other_are_one_batch(
        self, batches: list[ReadBatch], tail: StreamPosition | None
    ) -> None:
        joined = b"".join(protobuf.encode_records(batch.records) for batch in batches)
        if tail is not None:
            joined += protobuf.encode_tail(tail)
        records = tuple(record for batch in batches for record in batch.records)
        assert protobuf.decode_read_batch(joined) == ReadBatch(records, tail)
        assert tuple(protobuf.decode_records(joined)) == records

    @given(st.integers(0, 2**63), st.lists(st.tuples(append_records(), U64), min_size=1, max_size=8))
    def test_a_block_is_its_records_numbered_and_stamped(
        self, start: int, stamped: list[tuple[AppendRecord, int]]
    ) -> None:
        self._check_block(start, stamped)

    @given(st.integers(0, 2**63), st.lists(st.tuples(append_records(), U64), min_size=1, max_size=8), st.integers(0, 8))
    def test_a_large_block_has_the_same_form(
        self, start: int, stamped: list[tuple[AppendRecord, int]], place: int
    ) -> None:
        stamped.insert(place, (AppendRecord(b"x" * protobuf.JOIN_BYTES), 7))
        self._check_block(start, stamped)

    def _check_block(self, start: int, stamped: list[tuple[AppendRecord, int]]) -> None:
        records, timestamps = [r for r, _ in stamped], [t for _, t in stamped]
        block = protobuf.encode_block(start, timestamps, records)
        expected = [
            SequencedRecord(start + n, timestamp, record.body, record.headers)
            for n, (record, timestamp) in enumerate(stamped)
        ]
        assert protobuf.decode_records(block) == expected
        assert protobuf.encode_records(expected) == block


class TestBadInput:
    @given(st.binary(max_size=64))
    def test_bytes_of_a_peer_are_understood_or_refused(self, data: bytes) -> None:
        for decode in (protobuf.decode_append_input, protobuf.decode_append_ack, protobuf.decode_read_batch):
            try:
                decode(data)
            except (BadRequest, Invalid):
                pass

    @given(append_inputs, st.data())
    def test_a_batch_that_is_cut_is_understood_or_refused(self, batch: AppendInput, data: st.DataObject) -> None:
        encoded = protobuf.encode_append_input(batch)
        cut = encoded[: data.draw(st.integers(0, len(encoded)))]
        try:
            protobuf.decode_append_input(cut)
        except (BadRequest, Invalid):
            pass

    @pytest.mark.parametrize(
        ("encoded", "error", "code"),
        [
            ("0a 05 1a 02 68 69", BadRequest, "bad_proto"),  # cut
            ("ff", BadRequest, "bad_proto"),
            ("0a 04 1a 02 68 69 1a 01 ff", BadRequest, "bad_proto"),  # a token that is not UTF-8
            ("", Invalid, "invalid"),  # no records
            ("0a 04 1a 02 68 69 1a 25" + "61" * 37, Invalid, "invalid"),  # a token of 37 bytes
            ("0a 06 12 00 1a 02 68 69", Invalid, "invalid"),  # an unknown command
        ],
    )
    def test_bad_append_inputs(self, encoded: str, error: type[BadRequest | Invalid], code: str) -> None:
        with pytest.raises(error) as caught:
            protobuf.decode_append_input(bytes.fromhex(encoded))
        assert caught.value.code == code

    def test_unknown_fields_are_ignored(self) -> None:
        assert protobuf.decode_append_input(bytes.fromhex("0a 04 1a 02 68 69 78 05")).records == (AppendRecord("hi"),)

    def test_a_damaged_block_is_a_failure_of_the_storage(self) -> None:
        with pytest.raises(StorageFailed, match="damaged"):
            protobuf.decode_records(b"\xff")
