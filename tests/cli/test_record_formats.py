"""Records as lines, in and out: what goes through unharmed, and what is refused with which words."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import AppendRecord, SequencedRecord
from perdure.cli.record_formats import (
    BadLine,
    LineSplitter,
    RecordFormat,
    RecordParser,
    format_record,
)
from perdure.model.limits import MAX_BATCH_BYTES

TEXT, JSON, BASE64 = RecordFormat

NAMES = st.binary(min_size=1, max_size=10)
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=10)), max_size=3).map(tuple)
RECORDS = st.one_of(
    st.builds(AppendRecord, st.binary(max_size=40), headers=HEADERS, timestamp=st.integers(0, 2**64 - 1)),
    st.builds(AppendRecord.trim, st.integers(0, 2**64 - 1), timestamp=st.integers(0, 2**64 - 1)),
    st.builds(AppendRecord.fence, st.text(max_size=9), timestamp=st.integers(0, 2**64 - 1)),
)


def written(format: RecordFormat, records: list[AppendRecord]) -> bytes:
    lines = []
    for number, record in enumerate(records):
        assert record.timestamp is not None
        lines.append(format_record(format, SequencedRecord(number, record.timestamp, record.body, record.headers)))
    return b"".join(lines)


def parsed(format: RecordFormat, *pieces: bytes) -> list[AppendRecord]:
    parser, records = RecordParser(format), []
    for found, bad in [*(parser.feed(piece) for piece in pieces), parser.finish()]:
        assert bad is None
        records += found
    return records


def slices(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.lists(RECORDS, max_size=6), st.lists(st.integers(0, 10_000), max_size=6))
def test_base64_gives_back_every_record_as_it_was_in_any_slices(records: list[AppendRecord], cuts: list[int]) -> None:
    assert parsed(BASE64, *slices(written(BASE64, records), cuts)) == records


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=6))
def test_json_gives_back_every_text(bodies: list[str]) -> None:
    records = [AppendRecord(body, headers={"ü": body}, timestamp=5) for body in bodies]
    assert parsed(JSON, written(JSON, records)) == records


@given(st.lists(st.binary(max_size=20), max_size=6), st.lists(st.integers(0, 200), max_size=6))
def test_text_gives_back_every_body_without_line_ends(bodies: list[bytes], cuts: list[int]) -> None:
    lines = [body.replace(b"\n", b"").replace(b"\r", b"") for body in bodies]
    records = [AppendRecord(line, timestamp=5) for line in lines]
    assert [record.body for record in parsed(TEXT, *slices(written(TEXT, records), cuts))] == lines


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_came(data: bytes, cuts: list[int]) -> None:
    def split(pieces: list[bytes]) -> list[bytes]:
        splitter = LineSplitter(500)
        return [line for piece in pieces for line in splitter.feed(piece)] + [*splitter.finish()]

    assert split(slices(data, cuts)) == split([data])


@given(st.sampled_from([JSON, BASE64]), st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_whatever_a_line_is_it_is_a_record_or_named(format: RecordFormat, line: bytes) -> None:
    records, bad = RecordParser(format).feed(b"\n" + line.replace(b"\n", b"") + b"\n")
    assert (len(records) == 1) if bad is None and line.strip() else not records
    assert bad is None or str(bad).startswith("line 2: ")


def test_the_forms_are_those_of_the_s2_cli() -> None:
    record = SequencedRecord(7, 9, b"hello \xff", ((b"a", b"b"),))
    assert format_record(TEXT, record) == b"hello \xff\n"
    assert json.loads(format_record(JSON, record)) == {
        "seq_num": 7,
        "timestamp": 9,
        "headers": [["a", "b"]],
        "body": "hello �",
    }
    assert format_record(BASE64, record) == (
        b'{"seq_num":7,"timestamp":9,"headers":[["YQ==","Yg=="]],"body":"aGVsbG8g/w=="}\n'
    )
    assert format_record(JSON, SequencedRecord(0, 1)) == b'{"seq_num":0,"timestamp":1}\n'


def test_line_ends_and_empty_lines() -> None:
    assert [record.body for record in parsed(TEXT, b"a\r\n\r", b"\n\nb\rc")] == [b"a", b"", b"", b"b\rc"]
    assert [record.body for record in parsed(JSON, b'{}\r\n\n  \n{"body":"x"}')] == [b"", b"x"]
    assert parsed(TEXT, b"") == []


@pytest.mark.parametrize(
    ("format", "line", "why"),
    [
        (JSON, b"hello", "'hello' is no record as json (JSON is malformed"),
        (JSON, b'{"bdoy": "x"}', "unknown field `bdoy`"),
        (JSON, b'{"body": null}', "Expected `str`, got `null` - at `$.body`"),
        (JSON, b'{"body": "\xff"}', "no record as json"),
        (JSON, b'{"timestamp": -1}', "timestamp must be a whole number from 0 to"),
        (JSON, b'{"headers": {"a": "b"}}', "Expected `array`, got `object` - at `$.headers`"),
        (JSON, b'{"headers": [["", "a"], ["b", "c"]]}', "invalid header: empty name"),
        (BASE64, b'{"body": "a"}', "Invalid base64 encoded string - at `$.body`"),
        (BASE64, b'{"headers": [["", "Zm9v"]]}', "unknown command"),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected(format: RecordFormat, line: bytes, why: str) -> None:
    records, bad = RecordParser(format).feed(b"{}\n{}\n" + line + b"\n{}\n")
    assert len(records) == 2
    assert bad is not None
    assert str(bad).startswith("line 3: ")
    assert why in str(bad)


def test_what_is_too_long_is_refused_before_it_is_held() -> None:
    parser = RecordParser(TEXT)
    longest = b"x" * (MAX_BATCH_BYTES - 8)
    assert parser.feed(b"\n" + longest + b"\r\n")[0] == [AppendRecord(b""), AppendRecord(longest)]
    records, bad = parser.feed(b"before\n" + longest + b"xx")
    assert records == [AppendRecord(b"before")]
    assert str(bad).startswith("line 4: longer than 1,048,568 bytes, which no record can be")
    assert str(RecordParser(TEXT).feed(longest + b"x\n")[1]) == str(bad).replace("line 4", "line 1")
    splitter = LineSplitter(3)
    assert [*splitter.feed(b"abcd")] == []  # the last one may be the CR of a line end
    with pytest.raises(BadLine, match="line 1"):
        _ = [*splitter.finish()]
    records, bad = RecordParser(JSON).feed(b'{"body":"' + b"x" * MAX_BATCH_BYTES + b'"}\n')
    assert "line 1: record must have metered size less than 1 MiB" in str(bad)
