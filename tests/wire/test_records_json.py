"""The JSON form of batches, acks and tails (store API, sections 2.7, 5.1, 6.6)."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest, Invalid
from perdure.model.batches import AppendAck, AppendInput, ReadBatch
from perdure.model.positions import StreamPosition
from perdure.model.records import AppendRecord, SequencedRecord
from perdure.wire import records_json
from perdure.wire.media import Format
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
formats = st.sampled_from(Format)

TOO_LARGE = 2**64


def written(raw: bytes, form: Format) -> str:
    return b64encode(raw).decode() if form is Format.BASE64 else raw.decode(errors="replace")


def append_body(batch: AppendInput, form: Format) -> bytes:
    """What a client writes, by another JSON library."""
    return json.dumps(
        {
            "records": [
                {
                    "timestamp": record.timestamp,
                    "headers": [[written(name, form), written(value, form)] for name, value in record.headers],
                    "body": written(record.body, form),
                    "unknown": {"is": ["ignored"]},
                }
                for record in batch.records
            ],
            "match_seq_num": batch.match_seq_num,
            "fencing_token": batch.fencing_token,
        }
    ).encode()


class TestAppendBodies:
    @given(append_inputs)
    def test_base64_carries_every_byte(self, batch: AppendInput) -> None:
        assert records_json.decode_append_input(append_body(batch, Format.BASE64), Format.BASE64) == batch

    @given(st.lists(st.tuples(st.text(max_size=9), st.text(min_size=1, max_size=9)), min_size=1, max_size=5))
    def test_raw_carries_text(self, texts: list[tuple[str, str]]) -> None:
        batch = AppendInput.of([AppendRecord(body, headers=[(name, body)]) for body, name in texts])
        assert records_json.decode_append_input(append_body(batch, Format.RAW), Format.RAW) == batch

    def test_what_may_be_absent_or_null(self) -> None:
        for body in (
            b'{"records":[{}]}',
            b'{"records":[{"timestamp":null}],"match_seq_num":null,"fencing_token":null}',
            b' {"records" : [ { "body" : "" , "headers" : [ ] } ] } ',
        ):
            assert records_json.decode_append_input(body, Format.RAW) == AppendInput.of([AppendRecord()])

    def test_zero_and_the_empty_token_are_conditions(self) -> None:
        batch = records_json.decode_append_input(
            b'{"records":[{"timestamp":0}],"match_seq_num":0,"fencing_token":""}', Format.BASE64
        )
        assert batch == AppendInput.of([AppendRecord(timestamp=0)], match_seq_num=0, fencing_token="")

    def test_a_trim_in_text(self) -> None:
        body = rb'{"records":[{"headers":[["","trim"]],"body":"\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0005"}]}'
        assert records_json.decode_append_input(body, Format.RAW).records == (AppendRecord.trim(5),)

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "[]",
            "{}",
            "null",
            '{"records":null}',
            '{"records":{}}',
            '{"records":[null]}',
            '{"records":["x"]}',
            '{"records":[{}]} x',
            '{"records":[{"body":null}]}',
            '{"records":[{"body":5}]}',
            '{"records":[{"headers":null}]}',
            '{"records":[{"headers":[["a"]]}]}',
            '{"records":[{"headers":[["a","b","c"]]}]}',
            '{"records":[{"headers":[{"a":"b"}]}]}',
            '{"records":[{"headers":[["a",null]]}]}',
            '{"records":[{"headers":{"a":"b"}}]}',
            '{"records":[{"timestamp":"5"}]}',
            '{"records":[{"timestamp":5.0}]}',
            '{"records":[{"timestamp":5e3}]}',
            '{"records":[{"timestamp":true}]}',
            '{"records":[{"timestamp":-1}]}',
            f'{{"records":[{{"timestamp":{TOO_LARGE}}}]}}',
            f'{{"records":[{{}}],"match_seq_num":{TOO_LARGE}}}',
            '{"records":[{}],"match_seq_num":-1}',
            '{"records":[{}],"match_seq_num":1.5}',
            '{"records":[{}],"match_seq_num":' + "9" * 100_000 + "}",
            '{"records":[{}],"fencing_token":5}',
            '{"records":[{}],"fencing_token":"' + "a" * 37 + '"}',
            '{"records":[{}],"fencing_token":"' + "é" * 19 + '"}',
            r'{"records":[{"body":"\ud800"}]}',
            '{"records":[{}],"deep":' + "[" * 100_000,
        ],
        ids=lambda body: body[:40],
    )
    @pytest.mark.parametrize("form", Format)
    def test_bad_bodies(self, body: str, form: Format) -> None:
        with pytest.raises(BadRequest) as caught:
            records_json.decode_append_input(body.encode(), form)
        assert (caught.value.code, caught.value.status) == ("bad_json", 400)

    def test_text_that_is_not_utf8(self) -> None:
        with pytest.raises(BadRequest, match="not UTF-8"):
            records_json.decode_append_input(b'{"records":[{"body":"\xff"}]}', Format.RAW)

    @pytest.mark.parametrize("text", ["YWI", "YWI==", "YW I=", "YWI=\\n", "Y_I=", "YWJ=", "=", "é", "YQ==YQ=="])
    @pytest.mark.parametrize("place", ['"body":"{}"', '"headers":[["{}","YQ=="]]', '"headers":[["YQ==","{}"]]'])
    def test_base64_is_strict(self, text: str, place: str) -> None:
        body = '{"records":[{' + place.replace("{}", text) + "}]}"
        with pytest.raises(Invalid, match="invalid Base64 encoding") as caught:
            records_json.decode_append_input(body.encode(), Format.BASE64)
        assert caught.value.status == 422

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ('{"records":[]}', "must not be empty"),
            ('{"records":[' + ",".join(["{}"] * 1001) + "]}", "1000 records"),
            ('{"records":[{"headers":[["","x"]]}]}', "unknown command"),
            ('{"records":[{"headers":[["","fence"],["a","b"]]}]}', "empty name"),
        ],
        ids=["none", "too many", "command", "name"],
    )
    def test_what_breaks_a_rule_is_invalid(self, body: str, message: str) -> None:
        with pytest.raises(Invalid, match=message):
            records_json.decode_append_input(body.encode(), Format.RAW)

    @given(st.binary(max_size=80), formats)
    def test_any_bytes_are_understood_or_refused(self, body: bytes, form: Format) -> None:
        try:
            records_json.decode_append_input(body, form)
        except (BadRequest, Invalid):
            pass

    @given(append_inputs, formats, formats, st.data())
    def test_a_damaged_body_is_understood_or_refused(
        self, batch: AppendInput, wrote: Format, read: Format, data: st.DataObject
    ) -> None:
        body = bytearray(append_body(batch, wrote))
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        try:
            records_json.decode_append_input(bytes(body), read)
        except (BadRequest, Invalid):
            pass


class TestAcksAndTails:
    def test_an_ack(self) -> None:
        ack = AppendAck(StreamPosition(0, 5), StreamPosition(3, 7), StreamPosition(9, 8))
        assert records_json.encode_append_ack(ack) == (
            b'{"start":{"seq_num":0,"timestamp":5},"end":{"seq_num":3,"timestamp":7},"tail":{"seq_num":9,"timestamp":8}}'
        )

    @given(positions, positions, positions)
    def test_acks_and_tails_come_back(self, start: StreamPosition, end: StreamPosition, tail: StreamPosition) -> None:
        ack = AppendAck(start, end, tail)
        assert records_json.decode_append_ack(records_json.encode_append_ack(ack)) == ack
        assert records_json.decode_tail(records_json.encode_tail(tail)) == tail
        assert json.loads(records_json.encode_tail(tail)) == {
            "tail": {"seq_num": tail.seq_num, "timestamp": tail.timestamp}
        }

    @pytest.mark.parametrize("number", ["-1", "1.0", '"1"', str(TOO_LARGE), "null"])
    def test_bad_positions(self, number: str) -> None:
        bad = f'{{"seq_num":{number},"timestamp":0}}'
        with pytest.raises(BadRequest):
            records_json.decode_tail(f'{{"tail":{bad}}}'.encode())
        with pytest.raises(BadRequest):
            records_json.decode_append_ack(f'{{"start":{bad},"end":{bad},"tail":{bad}}}'.encode())
        for form in Format:
            with pytest.raises(BadRequest):
                records_json.decode_read_batch(f'{{"records":[{bad}]}}'.encode(), form)
            with pytest.raises(BadRequest):
                records_json.decode_read_batch(f'{{"records":[],"tail":{bad}}}'.encode(), form)


class TestReadBatches:
    def test_what_is_empty_is_left_out(self) -> None:
        batch = ReadBatch((SequencedRecord(0, 7),))
        for form in Format:
            assert records_json.encode_read_batch(batch, form) == b'{"records":[{"seq_num":0,"timestamp":7}]}'
            assert records_json.encode_read_batch(ReadBatch(()), form) == b'{"records":[]}'

    def test_everything(self) -> None:
        fence = SequencedRecord(4, 7, b"token", ((b"", b"fence"),))
        batch = ReadBatch((fence,), StreamPosition(5, 7))
        assert records_json.encode_read_batch(batch, Format.RAW) == (
            b'{"records":[{"seq_num":4,"timestamp":7,"headers":[["","fence"]],"body":"token"}],'
            b'"tail":{"seq_num":5,"timestamp":7}}'
        )
        assert records_json.encode_read_batch(batch, Format.BASE64) == (
            b'{"records":[{"seq_num":4,"timestamp":7,"headers":[["","ZmVuY2U="]],"body":"dG9rZW4="}],'
            b'"tail":{"seq_num":5,"timestamp":7}}'
        )

    def test_what_is_not_utf8_is_replaced_in_text(self) -> None:
        batch = ReadBatch((SequencedRecord(0, 0, b"a\xffb\xf0\x9f\x8e", ((b"\xfe", b"\x80\x80"),)),))
        [record] = json.loads(records_json.encode_read_batch(batch, Format.RAW))["records"]
        assert record["body"] == "a\ufffdb\ufffd"
        assert record["headers"] == [["\ufffd", "\ufffd\ufffd"]]

    @given(read_batches)
    def test_base64_comes_back(self, batch: ReadBatch) -> None:
        encoded = records_json.encode_read_batch(batch, Format.BASE64)
        assert records_json.decode_read_batch(encoded, Format.BASE64) == batch
        for record, parsed in zip(batch.records, json.loads(encoded)["records"], strict=True):
            assert parsed.get("body", "") == written(record.body, Format.BASE64)

    @given(st.lists(st.text(max_size=20), max_size=5), st.none() | positions)
    def test_text_comes_back(self, texts: list[str], tail: StreamPosition | None) -> None:
        records = [SequencedRecord(n, n, text.encode(), ((b"h", text.encode()),)) for n, text in enumerate(texts)]
        batch = ReadBatch(tuple(records), tail)
        encoded = records_json.encode_read_batch(batch, Format.RAW)
        assert records_json.decode_read_batch(encoded, Format.RAW) == batch
        assert b"\n" not in encoded
        assert b"\r" not in encoded

    @given(st.binary(max_size=80), formats)
    def test_any_bytes_are_understood_or_refused(self, data: bytes, form: Format) -> None:
        for decode in (records_json.decode_append_ack, records_json.decode_tail):
            try:
                decode(data)
            except BadRequest:
                pass
        try:
            records_json.decode_read_batch(data, form)
        except BadRequest:
            pass
