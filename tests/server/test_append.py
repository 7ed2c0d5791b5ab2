"""Unary appends (store API, sections 5.1 to 5.7; checklist 46 to 66)."""

from __future__ import annotations

import asyncio
import base64
import gzip

import httpx
import pytest
import zstandard

from perdure.model.batches import AppendInput
from perdure.model.configs import BasinConfig, StreamConfig, TimestampingConfig, TimestampingMode
from perdure.model.limits import MAX_BATCH_BYTES
from perdure.model.records import AppendRecord
from perdure.wire.protobuf import decode_append_ack, encode_append_input
from tests.server.recording import RECORDS, STREAM, append, appended, batch
from tests.server.running import BASIN, Running

PROTOBUF = "application/protobuf"


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


async def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def send_protobuf(client: httpx.AsyncClient, wanted: AppendInput | bytes, **fields: str) -> httpx.Response:
    content = wanted if isinstance(wanted, bytes) else encode_append_input(wanted)
    return await client.post(RECORDS, content=content, headers={"content-type": PROTOBUF, **fields})


async def records(client: httpx.AsyncClient) -> list[dict[str, object]]:
    answer = await client.get(f"{RECORDS}?seq_num=0")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["records"]
    return found


async def test_acks_follow_each_other(http: httpx.AsyncClient) -> None:
    first = await appended(http, "a", "b", "c")
    assert (first["start"]["seq_num"], first["end"]["seq_num"], first["tail"]["seq_num"]) == (0, 3, 3)
    second = await appended(http, "d")
    assert (second["start"]["seq_num"], second["end"]["seq_num"]) == (3, 4)
    assert second["tail"] == second["end"]


async def test_empty_bodies_duplicate_headers_and_order_are_kept(http: httpx.AsyncClient) -> None:
    headers = [["b", "1"], ["a", ""], ["b", "2"]]
    answer = await http.post(RECORDS, json={"records": [{"headers": headers}, {"body": ""}]})
    assert answer.status_code == 200
    first, second = await records(http)
    assert first["headers"] == headers
    assert "body" not in first
    assert "headers" not in second


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 200), (1000, 200), (1001, 422)])
async def test_records_of_a_batch_are_bounded(http: httpx.AsyncClient, count: int, status: int) -> None:
    assert (await append(http, *["x"] * count)).status_code == status


@pytest.mark.parametrize(("excess", "status"), [(0, 200), (1, 422)])
async def test_bytes_of_a_batch_are_bounded(http: httpx.AsyncClient, excess: int, status: int) -> None:
    half = MAX_BATCH_BYTES // 2 - 8
    assert (await append(http, "x" * half, "y" * (half + excess))).status_code == status


async def test_match_seq_num(http: httpx.AsyncClient) -> None:
    await appended(http, "a", match_seq_num=0)
    answer = await append(http, "b", match_seq_num=0)
    assert (answer.status_code, answer.json()) == (412, {"seq_num_mismatch": 1})
    await appended(http, "b", match_seq_num=1)


async def test_two_writers_with_one_condition_get_one_append(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*[append(http, str(n), match_seq_num=0) for n in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert len(await records(http)) == 1


async def test_fencing(http: httpx.AsyncClient) -> None:
    fence = {"headers": [["", "fence"]], "body": "me"}
    assert (await http.post(RECORDS, json={"records": [fence], "fencing_token": ""})).status_code == 200
    await appended(http, "a", fencing_token="me")
    await appended(http, "without a token")
    for wrong in ("", "other"):
        answer = await append(http, "b", fencing_token=wrong, match_seq_num=77)
        assert (answer.status_code, answer.json()) == (412, {"fencing_token_mismatch": "me"})
    # The batch that carries a fence is checked against the token before it.
    change = {"records": [{"headers": [["", "fence"]], "body": "you"}], "fencing_token": "you"}
    assert (await http.post(RECORDS, json=change)).json() == {"fencing_token_mismatch": "me"}
    clear = {"records": [{"headers": [["", "fence"]]}], "fencing_token": "me"}
    assert (await http.post(RECORDS, json=clear)).status_code == 200
    await appended(http, "c", fencing_token="")


async def test_fencing_token_too_long(http: httpx.AsyncClient) -> None:
    assert await told(await append(http, "a", fencing_token="x" * 37)) == (400, "bad_json")
    long = b"\x0a\x00" + b"\x1a\x25" + b"x" * 37
    assert await told(await send_protobuf(http, long)) == (422, "invalid")
    fence = {"records": [{"headers": [["", "fence"]], "body": "x" * 37}]}
    assert await told(await http.post(RECORDS, json=fence)) == (422, "invalid")


@pytest.mark.parametrize("headers", [[["", "nothing"]], [["", "fence"], ["a", "b"]], [["a", "b"], ["", "c"]]])
async def test_command_rules(http: httpx.AsyncClient, headers: list[list[str]]) -> None:
    answer = await http.post(RECORDS, json={"records": [{"headers": headers}]})
    assert await told(answer) == (422, "invalid")


async def test_trims(http: httpx.AsyncClient) -> None:
    await appended(http, *"abcde")
    for point, first in ((0, 0), (2, 2), (1, 2)):
        ack = decode_append_ack(
            (await send_protobuf(http, AppendInput.of([AppendRecord.trim(point)]), accept=PROTOBUF)).content
        )
        assert ack.end.seq_num == ack.tail.seq_num
        assert (await records(http))[0]["seq_num"] == first
    await send_protobuf(http, AppendInput.of([AppendRecord.trim(999_999)]))
    answer = await http.get(f"{RECORDS}?seq_num=0")
    assert (answer.status_code, answer.json()) == (200, {"records": []})
    after = await appended(http, "after")
    assert [record["seq_num"] for record in await records(http)] == [after["start"]["seq_num"]]


async def test_client_timestamps(server: Running, http: httpx.AsyncClient) -> None:
    body = {"records": [{"timestamp": 5}, {"timestamp": 3}, {"timestamp": 2**63}]}
    ack = (await http.post(RECORDS, json=body)).json()
    stamps = [record["timestamp"] for record in await records(http)]
    assert stamps[:2] == [5, 5]
    assert stamps[2] == ack["end"]["timestamp"]
    assert isinstance(stamps[2], int)
    assert stamps[2] < 2**63
    config = StreamConfig(timestamping=TimestampingConfig(mode=TimestampingMode.CLIENT_REQUIRE))
    await server.store.create_stream(BASIN, "strict", config)
    answer = await http.post("/v1/streams/strict/records", json={"records": [{"body": "x"}]})
    assert await told(answer) == (422, "invalid")


async def test_bodies_and_answers_in_both_forms(http: httpx.AsyncClient) -> None:
    answer = await http.post(RECORDS, json={"records": [{"body": "a"}]}, headers={"accept": PROTOBUF})
    assert answer.headers["content-type"] == PROTOBUF
    assert decode_append_ack(answer.content).end.seq_num == 1
    for media in (PROTOBUF, "application/x-protobuf"):
        answer = await http.post(RECORDS, content=encode_append_input(batch("b")), headers={"content-type": media})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["end"]["seq_num"] >= 2
    # An ack of nothing but zeros still has its three parts.
    assert len((await send_protobuf(http, batch("c"), accept=PROTOBUF)).content) > 6


async def test_json_wants_its_content_type(http: httpx.AsyncClient) -> None:
    for fields in ({}, {"content-type": "text/plain"}):
        answer = await http.post(RECORDS, content=b'{"records":[{}]}', headers=fields)
        assert await told(answer) == (400, "bad_json")
    assert await told(await http.post(RECORDS, content=b"{", headers={"content-type": "application/json"})) == (
        400,
        "bad_json",
    )
    assert await told(await send_protobuf(http, b"\xff\xff")) == (400, "bad_proto")


async def test_base64(http: httpx.AsyncClient) -> None:
    raw = base64.b64encode(b"\xff\x00").decode()
    fields = {"s2-format": "base64"}
    assert (await http.post(RECORDS, json={"records": [{"body": raw}]}, headers=fields)).status_code == 200
    answer = await http.get(f"{RECORDS}?seq_num=0", headers=fields)
    assert answer.json()["records"][0]["body"] == raw
    bad = await http.post(RECORDS, json={"records": [{"body": "a"}]}, headers=fields)
    assert await told(bad) == (422, "invalid")
    unknown = await http.post(RECORDS, json={"records": [{}]}, headers={"s2-format": "hex"})
    assert await told(unknown) == (400, "bad_header")


async def test_packed_bodies(http: httpx.AsyncClient) -> None:
    body = b'{"records":[{"body":"x"}]}'
    for coding, packed in (("gzip", gzip.compress(body)), ("zstd", zstandard.compress(body))):
        fields = {"content-type": "application/json", "content-encoding": coding}
        assert (await http.post(RECORDS, content=packed, headers=fields)).status_code == 200
    fields = {"content-type": "application/json", "content-encoding": "br"}
    answer = await http.post(RECORDS, content=body, headers=fields)
    assert (answer.status_code, answer.content) == (415, b"")


async def test_missing_streams(server: Running, http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/streams/none/records", json={"records": [{}]})
    assert await told(answer) == (404, "stream_not_found")
    await server.store.create_basin("auto-basin", BasinConfig(create_stream_on_append=True))
    async with server.in_basin("auto-basin") as auto:
        assert (await auto.post("/v1/streams/new/records", json={"records": []})).status_code == 422
        assert (await auto.get("/v1/streams/new/records/tail")).status_code == 404, "an invalid append creates nothing"
        assert (await auto.post("/v1/streams/new/records", json={"records": [{}]})).status_code == 200
        assert (await auto.get("/v1/streams/other/records")).status_code == 404


async def test_name_with_a_slash(server: Running, http: httpx.AsyncClient) -> None:
    await server.store.create_stream(BASIN, "a/b c+d")
    answer = await http.post("/v1/streams/a%2Fb%20c+d/records", json={"records": [{}]})
    assert answer.status_code == 200


@pytest.mark.parametrize("value", ["", "x" * 45])
async def test_key_out_of_range_is_refused_on_plain_streams_too(http: httpx.AsyncClient, value: str) -> None:
    answer = await http.post(RECORDS, json={"records": [{}]}, headers={"s2-encryption-key": value})
    assert await told(answer) == (400, "bad_header")


async def test_other_keys_are_ignored_on_plain_streams(http: httpx.AsyncClient) -> None:
    answer = await http.post(RECORDS, json={"records": [{}]}, headers={"s2-encryption-key": "anything"})
    assert answer.status_code == 200
