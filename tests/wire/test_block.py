"""Blocks have the very bytes that protobuf's own runtime gives (store API, section 6.10)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.model.records import AppendRecord, SequencedRecord
from perdure.wire.block import encode_block, encode_headers, varint
from perdure.wire.protobuf import decode_records, encode_records
from perdure.wire.s2_pb2 import Header, StreamPosition
from perdure.wire.s2_pb2 import SequencedRecord as SequencedRecordMessage
from tests.model.strategies import U64, append_records

# Numbers around the places where their encoding grows by a byte.
growing = st.sampled_from([0, 2**7, 2**14, 2**21, 2**28, 2**35, 2**63])
near_growth = st.builds(lambda number, away: max(0, number + away), growing, st.integers(-4, 4))
sizes = st.integers(0, 3) | st.integers(120, 132) | st.integers(16_300, 16_400) | st.just(70_000)
bodies = st.builds(bytes.__mul__, st.just(b"x"), sizes)
plain_records = st.builds(AppendRecord, bodies)


def check(start_seq: int, timestamps: list[int], records: list[AppendRecord]) -> None:
    block = encode_block(start_seq, timestamps, records)
    expected = [
        SequencedRecord(start_seq + n, timestamp, record.body, record.headers)
        for n, (record, timestamp) in enumerate(zip(records, timestamps, strict=True))
    ]
    assert decode_records(block) == expected
    assert encode_records(expected) == block


@given(near_growth | st.integers(0, 2**63), st.lists(st.tuples(append_records(), U64), min_size=1, max_size=8))
def test_a_block_is_its_records_numbered_and_stamped(start: int, stamped: list[tuple[AppendRecord, int]]) -> None:
    check(start, [timestamp for _, timestamp in stamped], [record for record, _ in stamped])


@given(near_growth, near_growth, st.lists(plain_records | append_records(), min_size=1, max_size=8))
def test_a_block_with_one_timestamp(start: int, timestamp: int, records: list[AppendRecord]) -> None:
    check(start, [timestamp] * len(records), records)


@given(near_growth, near_growth, st.lists(plain_records, min_size=1, max_size=8))
def test_a_block_of_bodies_only(start: int, timestamp: int, records: list[AppendRecord]) -> None:
    check(start, [timestamp] * len(records), records)


@pytest.mark.parametrize("start", [0, 1, 127, 128, 200, 2**14 - 500, 2**21 - 1, 2**64 - 1000])
@pytest.mark.parametrize("size", [0, 1, 100, 118, 127, 1000])
def test_a_full_batch(start: int, size: int) -> None:
    check(start, [1714550000123] * 1000, [AppendRecord(bytes(size))] * 1000)


def test_every_record_needs_a_timestamp() -> None:
    with pytest.raises(ValueError, match="zip"):
        encode_block(0, [5], [AppendRecord("a"), AppendRecord("b")])


pieces = st.builds(bytes.__mul__, st.just(b"n"), st.integers(0, 2) | st.integers(60, 130) | st.just(20_000))


@given(st.lists(st.tuples(pieces, pieces), max_size=4))
def test_headers(pairs: list[tuple[bytes, bytes]]) -> None:
    message = SequencedRecordMessage(headers=[Header(name=name, value=value) for name, value in pairs])
    assert encode_headers(tuple(pairs)) == message.SerializeToString()


@given(near_growth | U64)
def test_numbers(number: int) -> None:
    assert b"\x08" + varint(number) == (StreamPosition(seq_num=number).SerializeToString() or b"\x08\x00")
