"""Unary reads and the tail (store API, sections 3.11, 3.12, 6.1 to 6.6; checklist 40 to 45, 78 to 91, 110 to 115)."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from perdure.model.batches import AppendInput
from perdure.model.configs import BasinConfig, Cipher
from perdure.model.records import AppendRecord
from perdure.wire.protobuf import decode_read_batch, encode_append_input
from tests.server.recording import RECORDS, STREAM, appended, batch
from tests.server.running import BASIN, Running

TAIL = f"{RECORDS}/tail"


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


async def seqs(client: httpx.AsyncClient, query: str) -> list[int]:
    answer = await client.get(f"{RECORDS}?{query}")
    assert answer.status_code == 200, answer.text
    return [record["seq_num"] for record in answer.json()["records"]]


async def test_tail(http: httpx.AsyncClient) -> None:
    assert (await http.get(TAIL)).json() == {"tail": {"seq_num": 0, "timestamp": 0}}
    ack = await appended(http, "a", "b", "c")
    assert (await http.get(TAIL)).json() == {"tail": ack["tail"]}
    answer = await http.get("/v1/streams/none/records/tail")
    assert (answer.status_code, answer.json()["code"]) == (404, "stream_not_found")


async def test_create_on_read(server: Running) -> None:
    await server.store.create_basin("auto-basin", BasinConfig(create_stream_on_read=True))
    async with server.in_basin("auto-basin") as auto:
        assert (await auto.get("/v1/streams/a/records?count=")).status_code == 400
        assert (await server.store.list_streams("auto-basin")).items == ()
        assert (await auto.get("/v1/streams/a/records/tail")).json()["tail"] == {"seq_num": 0, "timestamp": 0}
        assert (await auto.get("/v1/streams/b/records")).status_code == 416
        assert len((await server.store.list_streams("auto-basin")).items) == 2
        assert (await auto.post("/v1/streams/c/records", json={"records": [{}]})).status_code == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [("seq_num=0", 416), ("", 416), ("timestamp=0", 200), ("timestamp=1", 416), ("seq_num=1&clamp=true", 416)],
)
async def test_empty_stream(http: httpx.AsyncClient, query: str, status: int) -> None:
    answer = await http.get(f"{RECORDS}?{query}")
    assert answer.status_code == status
    empty: dict[str, object] = {"records": []}
    assert answer.json() == ({"tail": {"seq_num": 0, "timestamp": 0}} if status == 416 else empty)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("seq_num=0", [0, 1, 2, 3, 4]),
        ("seq_num=3", [3, 4]),
        ("tail_offset=2", [3, 4]),
        ("tail_offset=99", [0, 1, 2, 3, 4]),
        ("seq_num=0&count=2", [0, 1]),
        ("seq_num=0&count=0", []),
        ("seq_num=0&bytes=0", []),
        ("seq_num=0&bytes=20", [0]),
        ("seq_num=0&bytes=13", [0]),
        ("seq_num=0&bytes=12", []),
        ("timestamp=150", [1, 2, 3, 4]),
        ("timestamp=200", [1, 2, 3, 4]),
        ("seq_num=0&until=300", [0, 1, 2]),
    ],
)
async def test_starts_and_limits(http: httpx.AsyncClient, query: str, expected: list[int]) -> None:
    stamps = (100, 200, 200, 300, 400)
    body = {"records": [{"body": "hello", "timestamp": stamp} for stamp in stamps]}
    assert (await http.post(RECORDS, json=body)).status_code == 200
    assert await seqs(http, query) == expected


@pytest.mark.parametrize(
    "query", ["seq_num=5", "seq_num=9", "", "seq_num=9&clamp=true", "seq_num=9&wait=1", "timestamp=999999999999999"]
)
async def test_nothing_is_written_there(http: httpx.AsyncClient, query: str) -> None:
    ack = await appended(http, *"abcde")
    answer = await http.get(f"{RECORDS}?{query}")
    assert (answer.status_code, answer.json()) == (416, {"tail": ack["tail"]})


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("seq_num=0&timestamp=0", 422, "invalid"),
        ("timestamp=5&until=5", 422, "invalid"),
        ("count=", 400, "bad_query"),
        ("count=-1", 400, "bad_query"),
        ("seq_num=18446744073709551616", 400, "bad_query"),
        ("wait=4294967296", 400, "bad_query"),
        ("clamp=1", 400, "bad_query"),
        ("seq_num=1&seq_num=2", 400, "bad_query"),
    ],
)
async def test_bad_queries(http: httpx.AsyncClient, query: str, status: int, code: str) -> None:
    # They are looked at before the stream is.
    answer = await http.get(f"/v1/streams/none/records?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_what_is_wrong_with_a_header_goes_before_what_does_not_go_together(http: httpx.AsyncClient) -> None:
    query = f"{RECORDS}?seq_num=0&timestamp=0"
    for fields in ({"s2-format": "hex"}, {"s2-encryption-key": "x" * 45}):
        answer = await http.get(query, headers=fields)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_header")


async def test_unknown_stream(http: httpx.AsyncClient) -> None:
    for query in ("seq_num=0", "timestamp=0", "tail_offset=1", ""):
        answer = await http.get(f"/v1/streams/none/records?{query}")
        assert (answer.status_code, answer.json()["code"]) == (404, "stream_not_found")


async def test_caps(http: httpx.AsyncClient) -> None:
    await appended(http, *["x"] * 1000)
    await appended(http, *["x"] * 500)
    assert len(await seqs(http, "seq_num=0&count=2000")) == 1000
    for _ in range(3):
        await appended(http, "y" * 500_000)
    assert len(await seqs(http, "seq_num=1500&bytes=2097152")) == 2


async def test_wait_ends_empty(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"{RECORDS}?seq_num=0&wait=1")
    assert (answer.status_code, answer.json()) == (200, {"records": []})


async def test_wait_gives_the_next_batch_with_the_tail(server: Running, http: httpx.AsyncClient) -> None:
    answer: dict[str, Any] = {}
    start, pause_secs = 0, 0.01
    while "tail" not in answer:
        reading = asyncio.create_task(http.get(f"{RECORDS}?seq_num={start}&wait=30"))
        while not server.engine.hub.followed():  # noqa: ASYNC110  # nothing else tells that the read waits
            await asyncio.sleep(0.002)
        # It follows before it has looked at the store, and what it finds there has no tail: then it is asked once more.
        await asyncio.sleep(pause_secs)
        ack = await appended(http, "a", "b")
        answer = (await reading).json()
        assert [record["body"] for record in answer["records"]] == ["a", "b"]
        start, pause_secs = ack["tail"]["seq_num"], 2 * pause_secs
    assert answer["tail"] == ack["tail"]
    assert "tail" not in (await http.get(f"{RECORDS}?seq_num=0&wait=30")).json()


async def test_bytes_that_are_no_text(http: httpx.AsyncClient) -> None:
    content = encode_append_input(batch(b"a\xffb"))
    await http.post(RECORDS, content=content, headers={"content-type": "application/protobuf"})
    read = f"{RECORDS}?seq_num=0"
    assert (await http.get(read)).json()["records"][0]["body"] == "a\ufffdb"
    exact = (await http.get(read, headers={"s2-format": "base64"})).json()["records"][0]["body"]
    assert base64.b64decode(exact) == b"a\xffb"
    answer = await http.get(read, headers={"accept": "application/protobuf"})
    assert answer.headers["content-type"] == "application/protobuf"
    assert decode_read_batch(answer.content).records[0].body == b"a\xffb"


KEY = base64.b64encode(b"k" * 32).decode()
OTHER_KEY = base64.b64encode(b"o" * 32).decode()


@pytest.fixture(params=[Cipher.AEGIS_256, Cipher.AES_256_GCM])
async def sealed(server: Running, request: pytest.FixtureRequest) -> Running:
    await server.store.create_basin(BASIN, BasinConfig(stream_cipher=request.param))
    await server.store.create_stream(BASIN, STREAM)
    return server


async def test_sealed_streams(sealed: Running) -> None:
    async with sealed.in_basin() as http:
        mine = {"s2-encryption-key": KEY}
        body = {"records": [{"body": "secret"}]}
        assert (await http.post(RECORDS, json=body, headers=mine)).status_code == 200
        read = f"{RECORDS}?seq_num=0"
        assert (await http.get(read, headers=mine)).json()["records"][0]["body"] == "secret"
        assert (await http.get(TAIL)).status_code == 200
        wrong = await http.get(read, headers={"s2-encryption-key": OTHER_KEY})
        assert (wrong.status_code, wrong.json()["code"]) == (400, "decryption_failed")
        for fields in ({}, {"s2-encryption-key": "!"}, {"s2-encryption-key": "aGk="}):
            for answer in (await http.get(read, headers=fields), await http.post(RECORDS, json=body, headers=fields)):
                assert (answer.status_code, answer.json()["code"]) == (400, "bad_header")
                assert "stream cipher" in answer.json()["message"]


async def test_commands_of_sealed_streams_stay_plain(sealed: Running) -> None:
    async with sealed.in_basin() as http:
        content = encode_append_input(
            AppendInput.of([AppendRecord("x"), AppendRecord.fence("me"), AppendRecord.trim(1)])
        )
        fields = {"s2-encryption-key": KEY, "content-type": "application/protobuf"}
        assert (await http.post(RECORDS, content=content, headers=fields)).status_code == 200
        answer = await http.get(f"{RECORDS}?seq_num=0", headers={"s2-encryption-key": KEY})
        assert [record["seq_num"] for record in answer.json()["records"]] == [1, 2]
        assert answer.json()["records"][0]["body"] == "me"
