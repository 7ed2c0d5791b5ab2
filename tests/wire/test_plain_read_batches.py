"""Batches of records without headers, and lone records, take short cuts when they are decoded; nobody can tell."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest
from perdure.model.batches import ReadBatch
from perdure.model.positions import StreamPosition
from perdure.model.records import SequencedRecord
from perdure.wire import protobuf, s2_pb2
from tests.model.strategies import U64, headers

body_sizes = st.integers(0, 3) | st.integers(105, 132) | st.integers(16_355, 16_390)
bodies = body_sizes.map(bytes)
numbers = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2**63, 2**64 - 1]) | U64
records = st.builds(SequencedRecord, numbers, numbers, bodies, st.just(()) | st.just(()) | headers.map(tuple))
positions = st.builds(StreamPosition, numbers, numbers)


def decoded_one_by_one(data: bytes) -> ReadBatch:
    """The same as `decode_read_batch`, made the long way: everything is asked for."""
    message = s2_pb2.ReadBatch.FromString(data)
    found = [
        SequencedRecord(
            record.seq_num,
            record.timestamp,
            record.body,
            tuple([(header.name, header.value) for header in record.headers]),
        )
        for record in message.records
    ]
    tail = StreamPosition(message.tail.seq_num, message.tail.timestamp) if message.HasField("tail") else None
    return ReadBatch(tuple(found), tail)


@given(st.lists(records, max_size=6), st.none() | positions)
def test_all_kinds(found: list[SequencedRecord], tail: StreamPosition | None) -> None:
    batch = ReadBatch(tuple(found), tail)
    data = protobuf.encode_read_batch(batch)
    assert protobuf.decode_read_batch(data) == batch == decoded_one_by_one(data)


@given(numbers, numbers, st.lists(bodies, min_size=1, max_size=6), st.none() | positions)
def test_neighbours_without_headers(
    seq_num: int, timestamp: int, contents: list[bytes], tail: StreamPosition | None
) -> None:
    found = [SequencedRecord(min(seq_num + place, 2**64 - 1), timestamp, body) for place, body in enumerate(contents)]
    batch = ReadBatch(tuple(found), tail)
    data = protobuf.encode_read_batch(batch)
    assert protobuf.decode_read_batch(data) == batch == decoded_one_by_one(data)


@given(
    st.lists(
        st.sampled_from(
            [
                "0a 07 08 01 10 05 22 01 78",  # a record
                "0a 04 08 01 10 05",  # without a body
                "0a 06 08 01 10 05 22 00",  # an empty body, written out
                "0a 0a 08 01 10 05 22 01 78 22 01 79",  # two bodies: the last counts
                "0a 08 08 01 10 05 22 81 00 78",  # a length with a byte more than it needs
                "0a 08 08 81 00 10 05 22 01 78",  # a number with a byte more than it needs
                "0a 09 08 01 10 05 22 01 78 78 05",  # an unknown field
                "0a 0e 08 01 10 05 1a 05 0a 01 6b 12 00 22 01 78",  # a header
                "0a 09 08 01 10 05 1a 00 22 01 78",  # an empty header
                "0a 00",
                "12 04 08 02 10 05",  # a tail
                "12 00",
                "12 05 08 82 00 10 05",
                "78 05",
            ]
        ),
        max_size=5,
    )
)
def test_odd_but_lawful_bytes(parts: list[str]) -> None:
    data = bytes.fromhex(" ".join(parts))
    assert protobuf.decode_read_batch(data) == decoded_one_by_one(data)


@given(st.sampled_from(["", "0a", "0a 07 08 01 10 05 22", "0a 10 08"]).map(bytes.fromhex), st.binary(max_size=24))
def test_any_bytes_are_what_the_runtime_finds_in_them(begin: bytes, rest: bytes) -> None:
    data = begin + rest
    try:
        expected = decoded_one_by_one(data)
    except DecodeError:
        with pytest.raises(BadRequest, match="not a ReadBatch message"):
            protobuf.decode_read_batch(data)
    else:
        assert protobuf.decode_read_batch(data) == expected


@pytest.mark.parametrize("number", ["ff " * 9 + "01", "ff " * 9 + "7f", "ff " * 10 + "01", "80 " * 100])
def test_numbers_that_are_too_long(number: str) -> None:
    fields = bytes.fromhex(f"08 {number} 10 05 22 01 78")
    data = b"\x0a" + bytes([len(fields)]) + fields
    try:
        expected = decoded_one_by_one(data)
    except DecodeError:
        with pytest.raises(BadRequest, match="not a ReadBatch message"):
            protobuf.decode_read_batch(data)
    else:
        assert protobuf.decode_read_batch(data) == expected


@pytest.mark.parametrize("size", [0, 1, 200, 20_000, 1024 * 1024 - 8])
@pytest.mark.parametrize("tail", [None, StreamPosition(8, 1_700_000_000_000)])
def test_a_lone_record(size: int, tail: StreamPosition | None) -> None:
    batch = ReadBatch((SequencedRecord(7, 1_700_000_000_000, bytes(size)),), tail)
    assert protobuf.decode_read_batch(protobuf.encode_read_batch(batch)) == batch
