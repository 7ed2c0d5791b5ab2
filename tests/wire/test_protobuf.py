"""Bytes of the protobuf form, and back (store API, section 6.10 and Appendix A)."""

from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest, Invalid, StorageFailed
from perdure.model.batches import AppendAck, AppendInput, ReadBatch
from perdure.model.positions import StreamPosition
from perdure.model.records import AppendRecord, SequencedRecord
from perdure.wire import protobuf, s2_pb2
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
        encoded = protobuf.encode_append_ack(ack)
        assert protobuf.decode_append_ack(encoded) == ack
        assert encoded == s2_pb2.AppendAck.FromString(encoded).SerializeToString()

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


def decoded_one_by_one(data: bytes) -> AppendInput:
    """The same decision as `decode_append_input`, made the long way: everything is asked for and checked."""
    message = s2_pb2.AppendInput.FromString(data)
    return AppendInput.of(
        [
            AppendRecord(
                record.body,
                headers=[(header.name, header.value) for header in record.headers],
                timestamp=record.timestamp if record.HasField("timestamp") else None,
            )
            for record in message.records
        ],
        match_seq_num=message.match_seq_num if message.HasField("match_seq_num") else None,
        fencing_token=message.fencing_token if message.HasField("fencing_token") else None,
    )


def outcome_of(decode: Callable[[bytes], AppendInput], data: bytes) -> AppendInput | str:
    try:
        return decode(data)
    except Invalid as exc:
        return exc.message


body_sizes = st.integers(0, 3) | st.integers(120, 132) | st.integers(16_370, 16_390)
bodies = st.builds(bytes.__mul__, st.sampled_from([b"x", b"\0"]), body_sizes)
conditions = st.tuples(st.none() | st.sampled_from([0, 1, 300, 2**64 - 1]), st.none() | st.text(max_size=9))


class TestBothWaysToDecode:
    """Batches of nothing but bodies take a short cut; nobody can tell."""

    @given(st.lists(bodies, min_size=1, max_size=6), conditions)
    def test_bodies_only(self, contents: list[bytes], given_conditions: tuple[int | None, str | None]) -> None:
        match_seq_num, token = given_conditions
        batch = AppendInput.of(map(AppendRecord, contents), match_seq_num=match_seq_num, fencing_token=token)
        self._check(protobuf.encode_append_input(batch), batch)

    @given(
        st.lists(append_records() | st.builds(AppendRecord, bodies, timestamp=st.none() | U64), min_size=1, max_size=6),
        conditions,
    )
    def test_all_kinds(self, records: list[AppendRecord], given_conditions: tuple[int | None, str | None]) -> None:
        match_seq_num, token = given_conditions
        batch = AppendInput.of(records, match_seq_num=match_seq_num, fencing_token=token)
        self._check(protobuf.encode_append_input(batch), batch)

    @given(
        st.lists(
            st.sampled_from(
                [
                    "0a 03 1a 01 78",  # a body
                    "0a 00",  # nothing
                    "0a 02 1a 00",  # an empty body, written out
                    "0a 06 1a 01 78 1a 01 79",  # two bodies: the last counts
                    "0a 04 1a 81 00 78",  # a length with a byte more than it needs
                    "0a 83 00 1a 01 78",
                    "0a 05 1a 01 78 08 00",  # a timestamp of 0, after the body
                    "0a 05 1a 01 78 78 05",  # an unknown field
                    "0a 09 12 05 0a 01 6b 12 00 1a 00",
                    "0a 0a 12 05 12 01 76 0a 00 1a 01 78",  # a header without a name
                    "10 00",
                    "10 05 10 07",
                    "10 80 00",
                    "1a 00",
                    "1a 01 61 1a 01 62",
                    "78 05",
                    "82 01 00",
                ]
            ),
            max_size=5,
        )
    )
    def test_odd_but_lawful_bytes(self, parts: list[str]) -> None:
        data = bytes.fromhex(" ".join(parts))
        assert outcome_of(protobuf.decode_append_input, data) == outcome_of(decoded_one_by_one, data)

    @pytest.mark.parametrize("first", [0, 2**7 - 8, 2**14 - 12])
    def test_a_lone_body_of_any_size(self, first: int) -> None:
        for size in range(first, first + 20):
            self._check(
                protobuf.encode_append_input(AppendInput.of([AppendRecord(bytes(size))])),
                AppendInput.of([AppendRecord(bytes(size))]),
            )

    @given(bodies, st.integers(0, 8), st.binary(min_size=1, max_size=1))
    def test_a_lone_body_with_another_head(self, body: bytes, at: int, put: bytes) -> None:
        data = protobuf.encode_append_input(AppendInput.of([AppendRecord(body)]))
        data = data[:at] + put + data[at + 1 :]
        try:
            expected = decoded_one_by_one(data)
        except (DecodeError, Invalid):
            with pytest.raises((BadRequest, Invalid)):
                protobuf.decode_append_input(data)
        else:
            assert protobuf.decode_append_input(data) == expected

    @pytest.mark.parametrize("size", [2**20 - 8, 2**20 - 7, 2**20])
    @pytest.mark.parametrize("timestamp", [None, 5])
    def test_the_limit_of_a_record(self, size: int, timestamp: int | None) -> None:
        message = s2_pb2.AppendInput(records=[s2_pb2.AppendRecord(body=bytes(size), timestamp=timestamp)])
        data = message.SerializeToString()
        if size + 8 <= 2**20:
            self._check(data, decoded_one_by_one(data))
            return
        with pytest.raises(Invalid, match=f"record must have metered size less than 1 MiB, got {size + 8} bytes"):
            protobuf.decode_append_input(data)

    def test_the_limit_of_a_batch(self) -> None:
        fits = [s2_pb2.AppendRecord(body=bytes(2**19 - 8))] * 2
        data = s2_pb2.AppendInput(records=fits).SerializeToString()
        self._check(data, decoded_one_by_one(data))
        data = s2_pb2.AppendInput(records=[*fits, s2_pb2.AppendRecord()]).SerializeToString()
        with pytest.raises(Invalid, match="record batch must not exceed a metered size of 1 MiB, got 1048584 bytes"):
            protobuf.decode_append_input(data)

    @pytest.mark.parametrize("count", [1000, 1001, 1_000_000])
    def test_the_limit_of_records(self, count: int) -> None:
        data = b"\x0a\x00" * count
        if count <= 1000:
            assert len(protobuf.decode_append_input(data).records) == count
            return
        with pytest.raises(Invalid, match=f"record batch must not exceed 1000 records, got {count}"):
            protobuf.decode_append_input(data)

    def _check(self, data: bytes, expected: AppendInput) -> None:
        batch = protobuf.decode_append_input(data)
        assert batch == expected == decoded_one_by_one(data)
        assert batch.metered_bytes == expected.metered_bytes
        for record, other in zip(batch.records, expected.records, strict=True):
            assert type(record) is AppendRecord
            assert record.metered_bytes == other.metered_bytes
            with pytest.raises(AttributeError):
                record.body = b"changed"


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
