"""What is put together by hand is what protobuf's own runtime makes of the same values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.model.batches import AppendInput
from perdure.model.records import AppendRecord
from perdure.wire import s2_pb2
from perdure.wire.append_input import append_input_parts
from perdure.wire.compression import Compression
from perdure.wire.s2s import encode_frame, join_frame
from tests.model.strategies import U64, append_records

batches = st.builds(
    AppendInput.of,
    st.lists(append_records() | st.binary(max_size=300).map(AppendRecord), min_size=1, max_size=8),
    match_seq_num=st.none() | U64,
    fencing_token=st.none() | st.text(max_size=9),
)


def _by_the_runtime(batch: AppendInput) -> bytes:
    message = s2_pb2.AppendInput(match_seq_num=batch.match_seq_num, fencing_token=batch.fencing_token)
    for record in batch.records:
        added = message.records.add(timestamp=record.timestamp, body=record.body)
        for name, value in record.headers:
            added.headers.add(name=name, value=value)
    return message.SerializeToString(deterministic=True)


@given(batches)
def test_the_bytes_are_those_of_the_runtime(batch: AppendInput) -> None:
    assert b"".join(append_input_parts(batch)) == _by_the_runtime(batch)


@pytest.mark.parametrize("size", [0, 1, 122, 123, 124, 127, 128, 16_379, 16_380, 16_384, 1024 * 1024 - 8])
@pytest.mark.parametrize("timestamp", [None, 0, 1_700_000_000_000])
def test_every_length_of_a_length(size: int, timestamp: int | None) -> None:
    batch = AppendInput.of([AppendRecord(bytes(size), timestamp=timestamp)])
    assert b"".join(append_input_parts(batch)) == _by_the_runtime(batch)


def test_a_batch_that_does_not_know_its_size_loses_no_header() -> None:
    batch = AppendInput((AppendRecord("a", headers={"name": "value"}), AppendRecord("b")))
    assert b"".join(append_input_parts(batch)) == _by_the_runtime(batch)


@given(batches, st.sampled_from(Compression))
def test_a_frame_of_pieces_is_the_frame_of_the_message(batch: AppendInput, compression: Compression) -> None:
    parts = append_input_parts(batch)
    assert join_frame(parts, compression) == encode_frame(b"".join(parts), compression)
