"""Messages as records and back (patterns, sections G.2 and G.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import AppendRecord, Invalid, PerdureError
from perdure.model.limits import MAX_BATCH_BYTES, MAX_U64
from perdure.patterns import (
    DEDUPE_SEQ_HEADER,
    FRAME_BYTES_HEADER,
    FRAME_RECORDS_HEADER,
    MAX_CHUNK_BODY_BYTES,
    WRITER_ID_HEADER,
    FrameAssembler,
    FrameSizeError,
    MalformedHeader,
    add_dedupe_headers,
    decode_u64,
    encode_u64,
    frame,
)
from tests.patterns.soup import CHUNKS, PAYLOADS, interleaved, payloads_of, read, retried, untimed, written
from tests.patterns.soup import in_stream as numbered


def claim(records: int, size: int, body: bytes = b"") -> AppendRecord:
    """The first record of a message, whatever it claims."""
    return AppendRecord(
        body, headers=[(FRAME_RECORDS_HEADER, encode_u64(records)), (FRAME_BYTES_HEADER, encode_u64(size))]
    )


def fed(assembler: FrameAssembler, *records: AppendRecord) -> list[bytes]:
    found = [assembler.push(record.headers, record.body) for record in records]
    return [message for message in found if message is not None]


class TestNumbers:
    @untimed
    @given(st.integers(0, MAX_U64))
    def test_they_come_back(self, value: int) -> None:
        assert decode_u64(b"x", encode_u64(value)) == value

    def test_the_highest_byte_is_first(self) -> None:
        assert encode_u64(0x0102) == b"\0\0\0\0\0\0\x01\x02"

    @pytest.mark.parametrize("value", [-1, MAX_U64 + 1])
    def test_others_are_refused(self, value: int) -> None:
        with pytest.raises(OverflowError):
            encode_u64(value)

    @pytest.mark.parametrize("size", [0, 7, 9])
    def test_other_lengths_are_refused(self, size: int) -> None:
        with pytest.raises(MalformedHeader, match=f"_frame_bytes must be a number of 8 bytes, and has {size}"):
            decode_u64(FRAME_BYTES_HEADER, bytes(size))


class TestFrame:
    def test_the_largest_chunk_is_that_of_the_npm_package(self) -> None:
        assert MAX_CHUNK_BODY_BYTES == 1_048_477

    def test_the_first_record_says_what_comes(self) -> None:
        first, second, third = frame(b"abcdefghi", chunk_bytes=4)
        assert first.headers == ((b"_frame_records", encode_u64(3)), (b"_frame_bytes", encode_u64(9)))
        assert second.headers == third.headers == ()
        assert [first.body, second.body, third.body] == [b"abcd", b"efgh", b"i"]

    def test_a_record_with_all_headers_has_the_largest_size(self) -> None:
        (record,) = add_dedupe_headers(frame(bytes(MAX_CHUNK_BODY_BYTES)), writer_id="w" * 12, dedupe_seq=0)
        assert record.metered_bytes == MAX_BATCH_BYTES

    @pytest.mark.parametrize("chunk_bytes", [0, -1, MAX_CHUNK_BODY_BYTES + 1])
    def test_a_chunk_has_bounds(self, chunk_bytes: int) -> None:
        with pytest.raises(Invalid, match="chunk_bytes must be a whole number from 1 to 1048477"):
            frame(b"x", chunk_bytes=chunk_bytes)

    def test_a_large_message_is_cut_as_it_is_taken(self) -> None:
        size = 3 * MAX_CHUNK_BODY_BYTES + 5
        records = list(frame(b"x" * size))
        assert [len(record.body) for record in records] == [MAX_CHUNK_BODY_BYTES] * 3 + [5]
        assert fed(FrameAssembler(), *records) == [b"x" * size]


class TestAssembler:
    @untimed
    @given(st.lists(PAYLOADS), CHUNKS, st.sampled_from([None, 0, 2**60]))
    def test_what_was_framed_comes_back(self, payloads: list[bytes], chunk: int, seq: int | None) -> None:
        found = read(numbered(written(payloads, chunk, dedupe_seq=seq), 5))
        assert payloads_of(found) == payloads
        ends = [message.range.end for message in found]
        assert [message.range.start for message in found] == [5, *ends[:-1]][: len(found)]

    @untimed
    @given(PAYLOADS, CHUNKS, st.data())
    def test_commands_and_other_records_around_it_are_no_part(
        self, payload: bytes, chunk: int, data: st.DataObject
    ) -> None:
        fence, trim = AppendRecord.fence("token"), AppendRecord.trim(3)
        foreign = AppendRecord(b"foreign", headers={"x": "y"})
        inside = written([payload], chunk)
        stream = data.draw(interleaved([inside, [fence, trim, foreign, AppendRecord.fence("")]]))
        assert payloads_of(read(numbered(stream))) == [payload]

    def test_a_command_within_a_message_that_is_not_counted_is_no_part_either(self) -> None:
        first, second = frame(b"abcd", chunk_bytes=2)
        assert fed(FrameAssembler(), first, AppendRecord.trim(0), second) == [b"abcd"]

    def test_records_outside_of_messages_are_passed_over(self) -> None:
        assert fed(FrameAssembler(), AppendRecord(b"x"), *frame(b"abc"), AppendRecord(b"y")) == [b"abc"]

    def test_the_next_message_drops_an_unfinished_one(self) -> None:
        assembler = FrameAssembler()
        assert fed(assembler, *list(frame(b"abcdef", chunk_bytes=2))[:2], *frame(b"xy")) == [b"xy"]
        assert (assembler.dropped_frames, assembler.is_open) == (1, False)

    @pytest.mark.parametrize(
        "records",
        [
            [claim(2, 4, b"ab"), AppendRecord(b"cde")],
            [claim(2, 4, b"ab"), AppendRecord(b"c")],
            [claim(1, 4, b"abcde")],
            [claim(1, 4, b"abc")],
            [claim(3, 4, b"ab"), AppendRecord(b"cd")],
            [claim(0, 4, b"abcd")],
            [claim(5, 4, b"a")],
        ],
    )
    def test_what_does_not_add_up_is_dropped(self, records: list[AppendRecord]) -> None:
        assembler = FrameAssembler()
        assert fed(assembler, *records) == []
        assert (assembler.dropped_frames, assembler.is_open, assembler.held_bytes) == (1, False, 0)
        assert fed(assembler, AppendRecord(b"d"), *frame(b"next")) == [b"next"]

    def test_empty_records_do_not_count(self) -> None:
        empty = AppendRecord(b"")
        assert fed(FrameAssembler(), claim(2, 4), empty, AppendRecord(b"ab"), empty, AppendRecord(b"cd")) == [b"abcd"]

    def test_one_of_the_two_headers_begins_nothing(self) -> None:
        for name in (FRAME_BYTES_HEADER, FRAME_RECORDS_HEADER):
            assert fed(FrameAssembler(), AppendRecord(b"a", headers=[(name, encode_u64(1))])) == []

    @pytest.mark.parametrize("size", [0, 11, MAX_U64])
    def test_a_claim_outside_of_the_bounds_is_refused_before_anything_is_kept(self, size: int) -> None:
        assembler = FrameAssembler(max_frame_bytes=10)
        first, second = frame(b"abcd", chunk_bytes=2)
        assert fed(assembler, first) == []
        with pytest.raises(FrameSizeError, match=rf"{size} bytes.*\(1 to 10\).*raise max_frame_bytes") as caught:
            fed(assembler, claim(1, size, b"x"))
        assert (caught.value.code, caught.value.size_bytes, caught.value.max_frame_bytes) == ("FRAME_SIZE", size, 10)
        assert (caught.value.status, caught.value.retry_is_safe, caught.value.has_no_side_effects) == (422, False, True)
        assert fed(assembler, second, *frame(b"next")) == [b"next"]

    def test_a_claim_takes_no_memory(self) -> None:
        assembler = FrameAssembler(max_frame_bytes=MAX_U64)
        assert fed(assembler, claim(MAX_U64, MAX_U64, b"x")) == []
        assert assembler.held_bytes == 1

    def test_a_malformed_header_is_refused(self) -> None:
        assembler = FrameAssembler()
        with pytest.raises(MalformedHeader, match="_frame_records"):
            fed(assembler, AppendRecord(b"x", headers=[(FRAME_RECORDS_HEADER, b"3")]))
        assert fed(assembler, *frame(b"next")) == [b"next"]

    @pytest.mark.parametrize("bound", [0, -1])
    def test_the_bound_has_a_bound(self, bound: int) -> None:
        with pytest.raises(Invalid, match="max_frame_bytes must be a whole number from 1"):
            FrameAssembler(max_frame_bytes=bound)


NAMES = st.sampled_from([FRAME_RECORDS_HEADER, FRAME_BYTES_HEADER, DEDUPE_SEQ_HEADER, WRITER_ID_HEADER, b"", b"x"])
VALUES = st.one_of(st.integers(0, 6).map(encode_u64), st.binary(max_size=9))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5).map(tuple)


class TestHostileStreams:
    @untimed
    @given(st.lists(st.tuples(HEADERS, st.binary(max_size=6))), st.integers(1, 20))
    def test_nothing_but_typed_errors_and_never_more_held_than_allowed(
        self, records: list[tuple[tuple[tuple[bytes, bytes], ...], bytes]], bound: int
    ) -> None:
        assembler = FrameAssembler(max_frame_bytes=bound)
        fed_bytes = 0
        for headers, body in records:
            fed_bytes += len(body)
            try:
                found = assembler.push(headers, body)
            except PerdureError:
                found = None
            assert assembler.held_bytes <= min(bound, fed_bytes)
            assert found is None or 1 <= len(found) <= bound

    @untimed
    @given(st.lists(PAYLOADS, max_size=4), st.lists(PAYLOADS, max_size=4), CHUNKS, st.data())
    def test_of_writers_at_once_no_message_is_a_mixture(
        self, ones: list[bytes], others: list[bytes], chunk: int, data: st.DataObject
    ) -> None:
        one = data.draw(retried(written(ones, chunk)))
        other = data.draw(retried(written(others, chunk, dedupe_seq=1)))
        stream = numbered(data.draw(interleaved([one, other])))
        assert set(payloads_of(read(stream))) <= {*ones, *others}
