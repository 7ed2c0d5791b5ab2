"""Each message once: de-duplication, crashed writers, and going on in the middle (patterns, sections G.4 and G.5)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import AppendRecord, Invalid
from perdure.patterns import (
    DEDUPE_SEQ_HEADER,
    WRITER_ID_HEADER,
    DedupeFilter,
    MalformedHeader,
    ReadCheckpoint,
    Reassembly,
    add_dedupe_headers,
    dedupe_mark,
    encode_u64,
)
from perdure.patterns.deduplication import new_writer_id
from tests.patterns.soup import (
    CHUNKS,
    PAYLOADS,
    in_stream,
    payloads_of,
    read,
    resumed,
    retried,
    succession,
    untimed,
    written,
)

Headers = tuple[tuple[bytes, bytes], ...]


def mark(writer: str, seq: int) -> Headers:
    return ((DEDUPE_SEQ_HEADER, encode_u64(seq)), (WRITER_ID_HEADER, writer.encode()))


class TestHeaders:
    def test_they_come_behind_those_of_the_frame(self) -> None:
        (record,) = written([b"x"], 4, dedupe_seq=5, writer_id="a-writer-_id")
        assert [name for name, _ in record.headers] == [
            b"_frame_records",
            b"_frame_bytes",
            b"_dedupe_seq",
            b"_writer_id",
        ]
        assert dedupe_mark(record.headers) == ("a-writer-_id", 5)

    def test_writer_ids_differ(self) -> None:
        ids = {new_writer_id() for _ in range(100)}
        assert len(ids) == 100
        assert all(
            len(writer) == 12 and set(writer.replace("-", "").replace("_", "a")).issubset(URL_SAFE) for writer in ids
        )

    @pytest.mark.parametrize("name", ["_dedupe_seq", "_writer_id"])
    def test_records_that_have_them_are_refused_before_any_is_changed(self, name: str) -> None:
        records = [AppendRecord(b"x"), AppendRecord(b"y", headers={name: "z"})]
        with pytest.raises(Invalid, match=f'reserved header "{name}"; remove it'):
            add_dedupe_headers(records, writer_id="w", dedupe_seq=0)

    def test_the_rest_of_the_record_stays_and_its_size_follows(self) -> None:
        before = AppendRecord(b"body", headers={"a": "b"}, timestamp=7)
        (after,) = add_dedupe_headers([before], writer_id="w" * 12, dedupe_seq=0)
        assert (after.body, after.timestamp, after.headers[0]) == (b"body", 7, (b"a", b"b"))
        assert after.metered_bytes == before.metered_bytes + 2 * 2 + 11 + 8 + 10 + 12

    def test_a_count_beyond_the_last_is_refused(self) -> None:
        with pytest.raises(OverflowError):
            add_dedupe_headers([AppendRecord(b"x")] * 2, writer_id="w", dedupe_seq=2**64 - 1)

    def test_the_first_header_of_a_name_counts(self) -> None:
        assert dedupe_mark(mark("a", 0) + mark("b", 1)) == ("a", 0)


URL_SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


class TestFilter:
    def accepted(self, *headers: Headers) -> list[bool]:
        dedupe = DedupeFilter()
        return [dedupe.accepts(pairs) for pairs in headers]

    def test_only_a_higher_count_of_the_same_writer_is_new(self) -> None:
        marks = [mark("a", seq) for seq in (3, 3, 2, 4, 9, 8)]
        assert self.accepted(*marks) == [True, False, False, True, True, False]

    def test_another_writer_begins_anywhere(self) -> None:
        marks = [mark("a", 9), mark("b", 0), mark("b", 0), mark("a", 9)]
        assert self.accepted(*marks) == [True, True, False, True]

    def test_records_without_a_count_are_always_new(self) -> None:
        writer_only = ((WRITER_ID_HEADER, b"a"),)
        assert self.accepted((), (), writer_only, writer_only, mark("a", 0), (), mark("a", 0)) == [True] * 6 + [False]

    def test_counts_without_a_writer_have_one_in_common(self) -> None:
        bare = ((DEDUPE_SEQ_HEADER, encode_u64(4)),)
        assert self.accepted(bare, bare, mark("__legacy__", 4), mark("__legacy__", 5)) == [True, False, False, True]

    def test_counts_are_told_apart_up_to_the_last(self) -> None:
        # In JavaScript numbers these two are one.
        assert self.accepted(mark("a", 2**53), mark("a", 2**53 + 1)) == [True, True]

    def test_a_malformed_count_is_an_error_unless_nobody_asks(self) -> None:
        (record,) = in_stream([AppendRecord(b"x", headers={"_dedupe_seq": "1", "_writer_id": "w"})])
        with pytest.raises(MalformedHeader, match="_dedupe_seq"):
            Reassembly().push(record)
        assert Reassembly(enable_dedupe=False).push(record) is None


class TestEachMessageOnce:
    @untimed
    @given(st.lists(PAYLOADS), CHUNKS, st.data())
    def test_whatever_was_sent_twice(self, payloads: list[bytes], chunk: int, data: st.DataObject) -> None:
        records = written(payloads, chunk)
        stream = data.draw(retried(records))
        reader = Reassembly()
        assert payloads_of(read(in_stream(stream), reader)) == payloads
        assert reader.duplicate_records == len(stream) - len(records)
        assert reader.dropped_frames == 0

    @untimed
    @given(succession())
    def test_whoever_crashed(self, writers: tuple[list[AppendRecord], list[bytes]]) -> None:
        stream, whole = writers
        assert payloads_of(read(in_stream(stream))) == whole

    def test_twice_in_a_row_without_the_last_record(self) -> None:
        records = written([b'{"n":1}', b'{"n":22}'], 4)
        stream = records + records[:-1]
        assert payloads_of(read(in_stream(stream))) == [b'{"n":1}', b'{"n":22}']

    def test_without_de_duplication_it_comes_as_often_as_it_is_there(self) -> None:
        records = written([b"abcdef"], 4)
        found = read(in_stream(records * 2), Reassembly(enable_dedupe=False))
        assert payloads_of(found) == [b"abcdef"] * 2


class TestGoingOn:
    @untimed
    @given(succession(), st.data())
    def test_behind_any_message_nothing_is_lost_or_doubled(
        self, writers: tuple[list[AppendRecord], list[bytes]], data: st.DataObject
    ) -> None:
        stream = in_stream(writers[0], 100)
        if not stream:
            return
        whole = read(stream)
        first = Reassembly()
        seen = data.draw(st.integers(0, len(stream)), label="records seen")
        before = read(stream[:seen], first)
        checkpoint = first.checkpoint
        if checkpoint is not None:  # as one would keep it
            checkpoint = msgspec.json.decode(msgspec.json.encode(checkpoint), type=ReadCheckpoint)
        assert before + resumed(stream, checkpoint) == whole

    @untimed
    @given(st.lists(PAYLOADS, max_size=5), CHUNKS, st.data())
    def test_from_anywhere_the_first_message_is_the_next_one(
        self, payloads: list[bytes], chunk: int, data: st.DataObject
    ) -> None:
        stream = in_stream(written(payloads, chunk))
        start = data.draw(st.integers(0, len(stream)))
        whole = read(stream)
        assert read(stream[start:]) == [message for message in whole if message.range.start >= start]

    def test_a_sequence_number_alone_would_double_what_was_sent_twice(self) -> None:
        records = written([b"abcdef"], 4)
        stream = in_stream(records * 2)
        reader = Reassembly()
        assert len(read(stream[:2], reader)) == 1
        assert resumed(stream, reader.checkpoint) == []
        assert len(resumed(stream, ReadCheckpoint(2))) == 1

    def test_it_stays_before_a_message_that_is_not_whole(self) -> None:
        stream = in_stream(written([b"ab", b"cdef"], 2, writer_id="w"), 10)
        reader = Reassembly()
        assert reader.checkpoint is None
        read(stream[:2], reader)
        assert reader.checkpoint == ReadCheckpoint(11, "w", 0)
        read(stream[2:], reader)
        assert reader.checkpoint == ReadCheckpoint(13, "w", 2)
