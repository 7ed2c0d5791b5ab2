"""Records, commands, batches and their limits (store API, sections 1.3 to 1.6)."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import Invalid
from perdure.model.batches import AppendInput
from perdure.model.limits import MAX_BATCH_BYTES, MAX_U64
from perdure.model.metering import metered_bytes
from perdure.model.positions import SeqNum, TailOffset, Timestamp
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord, CommandKind, SequencedRecord, is_command, trim_point_of
from tests.model.strategies import append_records, headers

FENCE = [("", "fence")]
TRIM = [("", "trim")]


class TestMetering:
    @pytest.mark.parametrize(
        ("record", "size"),
        [
            (AppendRecord(), 8),
            (AppendRecord("hello"), 13),
            (AppendRecord("hello", headers={"k": "v"}), 17),
            (AppendRecord("é"), 10),
            (AppendRecord(headers=[("k", "")]), 11),
            (AppendRecord.fence(""), 15),
            (AppendRecord.fence("abc"), 18),
            (AppendRecord.trim(0), 22),
            (AppendRecord.trim(MAX_U64), 22),
        ],
    )
    def test_the_worked_sizes(self, record: AppendRecord, size: int) -> None:
        assert record.metered_bytes == size

    @given(body=st.binary(max_size=50), headers=headers)
    def test_the_formula(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        expected = 8 + 2 * len(headers) + sum(len(name) + len(value) for name, value in headers) + len(body)
        assert metered_bytes(tuple(headers), body) == expected
        assert AppendRecord(body, headers=headers).metered_bytes == expected
        assert SequencedRecord(0, 0, body, tuple(headers)).metered_bytes == expected

    def test_a_record_may_be_as_large_as_a_batch(self) -> None:
        assert AppendRecord(b"x" * (MAX_BATCH_BYTES - 8)).metered_bytes == MAX_BATCH_BYTES
        with pytest.raises(Invalid, match=r"record must have metered size less than 1 MiB, got 1048577 bytes"):
            AppendRecord(b"x" * (MAX_BATCH_BYTES - 7))


class TestRecords:
    def test_text_is_encoded_as_utf_8(self) -> None:
        record = AppendRecord("ü", headers={"ä": "ö"})
        assert (record.body, record.headers) == ("ü".encode(), (("ä".encode(), "ö".encode()),))

    def test_bytes_of_any_kind_are_taken(self) -> None:
        for body in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
            assert AppendRecord(body).body == b"ab"  # type: ignore[arg-type]  # taken, if not advertised

    def test_headers_keep_their_order_and_their_doubles(self) -> None:
        pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("c", "")]
        assert AppendRecord(headers=pairs).headers == tuple((n.encode(), v.encode()) for n, v in pairs)
        assert AppendRecord(headers={b"k": b"v"}).headers == ((b"k", b"v"),)

    def test_the_first_header_of_a_name(self) -> None:
        record = SequencedRecord(0, 0, b"", ((b"k", b"1"), (b"k", b"2")))
        assert (record.header("k"), record.header(b"k"), record.header("x")) == (b"1", b"1", None)

    @pytest.mark.parametrize("headers", [[("", "x"), ("a", "b")], [("a", "b"), ("", "fence")], [("", ""), ("", "")]])
    def test_an_empty_name_next_to_another_header_is_refused(self, headers: list[tuple[str, str]]) -> None:
        with pytest.raises(Invalid, match="invalid header: empty name"):
            AppendRecord(headers=headers)

    @pytest.mark.parametrize("timestamp", [-1, MAX_U64 + 1, 1.5, "5", True])
    def test_a_bad_timestamp_is_refused(self, timestamp: object) -> None:
        with pytest.raises(Invalid, match="timestamp must be a whole number"):
            AppendRecord(timestamp=timestamp)  # type: ignore[arg-type]  # that is the point

    @pytest.mark.parametrize("timestamp", [0, MAX_U64, None])
    def test_any_other_is_taken(self, timestamp: int | None) -> None:
        assert AppendRecord(timestamp=timestamp).timestamp == timestamp

    @pytest.mark.parametrize("body", [5, None, ["x"], "\ud800"])
    def test_a_body_that_is_no_text_and_no_bytes_is_refused(self, body: object) -> None:
        with pytest.raises(Invalid, match="body must be"):
            AppendRecord(body)  # type: ignore[arg-type]  # that is the point

    def test_a_record_does_not_change(self) -> None:
        record = AppendRecord("a")
        with pytest.raises(AttributeError, match="cannot be changed"):
            record.body = b"b"
        assert record == AppendRecord(b"a")
        assert hash(record) == hash(AppendRecord(b"a"))
        assert record != AppendRecord(b"a", timestamp=1)
        assert record != b"a"
        assert repr(record) == "AppendRecord(b'a', headers=(), timestamp=None)"

    def test_text_of_bytes_that_are_none(self) -> None:
        assert SequencedRecord(0, 0, b"a\xffb").text == "a\ufffdb"

    @pytest.mark.parametrize("headers", [["a"], "ab", 5, [("a", "b", "c")], [("a", 5)]])
    def test_headers_of_the_wrong_shape_are_refused(self, headers: object) -> None:
        with pytest.raises(Invalid, match="header"):
            AppendRecord("x", headers=headers)  # type: ignore[arg-type]

    @given(append_records())
    def test_it_goes_to_other_processes(self, record: AppendRecord) -> None:
        for other in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
            assert other == record
            assert other.metered_bytes == record.metered_bytes


class TestCommands:
    def test_a_fence(self) -> None:
        record = AppendRecord.fence("tökén")
        assert (record.headers, record.body) == (((b"", b"fence"),), "tökén".encode())
        assert record.command is CommandKind.FENCE
        assert AppendRecord("tökén", headers=FENCE) == record

    def test_a_trim(self) -> None:
        record = AppendRecord.trim(5)
        assert (record.headers, record.body) == (((b"", b"trim"),), bytes(7) + b"\x05")
        assert record.command is CommandKind.TRIM
        assert trim_point_of(record.body) == 5
        assert AppendRecord(bytes(7) + b"\x05", headers=TRIM) == record

    @pytest.mark.parametrize(
        ("headers", "body", "message"),
        [
            ([("", "unknown")], b"", "unknown command"),
            ([("", "")], b"", "unknown command"),
            ([("", "FENCE")], b"", "unknown command"),
            ([("", "fence ")], b"", "unknown command"),
            (FENCE, b"x" * 37, "invalid `fence` command: fencing token must not exceed 36 bytes in length"),
            (FENCE, b"\xff" * 37, "invalid `fence` command: fencing token must not exceed 36 bytes in length"),
            (FENCE, b"\xff", "invalid `fence` command: invalid UTF-8"),
            (TRIM, b"", "invalid `trim` command: earliest sequence number to trim to was 0 bytes, must be 8"),
            (TRIM, b"x" * 9, "invalid `trim` command: earliest sequence number to trim to was 9 bytes, must be 8"),
        ],
    )
    def test_a_malformed_one_is_refused(self, headers: list[tuple[str, str]], body: bytes, message: str) -> None:
        with pytest.raises(Invalid) as caught:
            AppendRecord(body, headers=headers)
        assert caught.value.message == message
        assert (caught.value.code, caught.value.status) == ("invalid", 422)

    def test_a_name_makes_it_an_ordinary_record(self) -> None:
        record = AppendRecord(b"x", headers=[("fence", "fence")])
        assert record.command is None
        assert not is_command(())
        assert not is_command(((b"", b"fence"), (b"", b"fence")))

    def test_what_is_read_tells_its_command(self) -> None:
        assert SequencedRecord(0, 0, b"", ((b"", b"fence"),)).command is CommandKind.FENCE
        assert SequencedRecord(0, 0, b"", ((b"", b"of tomorrow"),)).command is None
        assert SequencedRecord(0, 0, b"").command is None

    @pytest.mark.parametrize("point", [-1, MAX_U64 + 1])
    def test_a_trim_point_out_of_range_is_refused(self, point: int) -> None:
        with pytest.raises(Invalid, match="trim point"):
            AppendRecord.trim(point)

    def test_a_fencing_token_too_long_is_refused(self) -> None:
        with pytest.raises(Invalid, match="must not exceed 36 bytes in length, got 38"):
            AppendRecord.fence("é" * 19)


class TestBatches:
    def test_one_to_a_thousand_records(self) -> None:
        for count in (1, 1000):
            assert len(AppendInput.of([AppendRecord()] * count).records) == count
        with pytest.raises(Invalid, match="record batch must not be empty"):
            AppendInput.of([])
        with pytest.raises(Invalid, match="record batch must not exceed 1000 records, got 1001"):
            AppendInput.of([AppendRecord()] * 1001)

    def test_up_to_a_mebibyte(self) -> None:
        half = AppendRecord(b"x" * (MAX_BATCH_BYTES // 2 - 8))
        assert AppendInput.of([half, half]).metered_bytes == MAX_BATCH_BYTES
        with pytest.raises(Invalid, match="record batch must not exceed a metered size of 1 MiB, got 1048584 bytes"):
            AppendInput.of([half, half, AppendRecord()])

    @pytest.mark.parametrize("number", [-1, MAX_U64 + 1, 0.5, "0", True])
    def test_a_bad_number_to_match_is_refused(self, number: object) -> None:
        with pytest.raises(Invalid, match="match_seq_num must be a whole number"):
            AppendInput.of([AppendRecord()], match_seq_num=number)  # type: ignore[arg-type]  # that is the point

    def test_a_bad_token_is_refused(self) -> None:
        with pytest.raises(Invalid, match="fencing token"):
            AppendInput.of([AppendRecord()], fencing_token="x" * 37)

    def test_something_else_than_records_is_refused(self) -> None:
        with pytest.raises(Invalid, match="a batch holds AppendRecord values, got str"):
            AppendInput.of(["x"])  # type: ignore[list-item]  # that is the point

    @given(st.lists(append_records(), min_size=1, max_size=9))
    def test_its_size_is_the_sum(self, records: list[AppendRecord]) -> None:
        assert AppendInput.of(iter(records)).metered_bytes == sum(record.metered_bytes for record in records)


class TestReads:
    @pytest.mark.parametrize("start", [0, "5", (1,)])
    def test_a_start_of_the_wrong_kind_is_refused(self, start: object) -> None:
        with pytest.raises(Invalid, match="SeqNum"):
            ReadRequest.of(start)  # type: ignore[arg-type]

    @pytest.mark.parametrize("kind", [SeqNum, Timestamp, TailOffset])
    @pytest.mark.parametrize("value", [-1, MAX_U64 + 1, 1.0, None, True])
    def test_a_bad_start_is_refused(self, kind: type[SeqNum | Timestamp | TailOffset], value: object) -> None:
        with pytest.raises(Invalid, match="must be a whole number from 0"):
            kind(value)  # type: ignore[arg-type]  # that is the point
        assert kind(MAX_U64).value == MAX_U64

    def test_without_a_start_it_is_the_tail(self) -> None:
        assert ReadRequest.of().start == TailOffset(0)

    @pytest.mark.parametrize("wait", [-1, -0.1, float("inf"), float("nan")])
    def test_a_bad_wait_is_refused(self, wait: float) -> None:
        with pytest.raises(Invalid, match="wait must be a finite number of seconds"):
            ReadRequest.of(wait=wait)

    def test_a_start_must_lie_before_the_end(self) -> None:
        ReadRequest.of(Timestamp(4), until=5)
        ReadRequest.of(SeqNum(9), until=5)
        for until in (4, 5):
            with pytest.raises(Invalid, match="start `timestamp` exceeds or equal to `until`"):
                ReadRequest.of(Timestamp(5), until=until)

    @pytest.mark.parametrize("field", ["count", "bytes", "until"])
    @pytest.mark.parametrize("value", [-1, MAX_U64 + 1, 1.5, True])
    def test_a_bad_limit_is_refused(self, field: str, value: object) -> None:
        with pytest.raises(Invalid, match=f"{field} must be a whole number"):
            ReadRequest.of(**{field: value})  # type: ignore[arg-type]  # that is the point
