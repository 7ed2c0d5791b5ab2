"""Reads as server-sent events (store API, section 6.8; checklist 92 to 106, 112, 127, 129)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from perdure.model.configs import BasinConfig, Cipher
from perdure.model.encryption import EncryptionKey
from perdure.wire.sse import SseEvent, SseParser
from tests.server.recording import RECORDS, STREAM, appended, batch
from tests.server.running import BASIN, Running

EVENTS = {"accept": "text/event-stream"}


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


class Following:
    """An event stream that is read event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer: httpx.Response = answer
        self._pieces = answer.aiter_raw()
        self._parser = SseParser()
        self._events: list[SseEvent] = []

    async def next(self) -> SseEvent | None:
        """The next event; None at the end."""
        while not self._events:
            piece = await anext(self._pieces, None)
            if piece is None:
                return None
            self._events += self._parser.feed(piece)
        return self._events.pop(0)

    async def rest(self) -> list[SseEvent]:
        events: list[SseEvent] = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


@asynccontextmanager
async def following(client: httpx.AsyncClient, query: str, **fields: str) -> AsyncIterator[Following]:
    headers = {**EVENTS, **{name.replace("_", "-"): value for name, value in fields.items()}}
    async with client.stream("GET", f"{RECORDS}?{query}", headers=headers) as answer:
        yield Following(answer)


async def test_bytes_of_a_bounded_read(http: httpx.AsyncClient) -> None:
    body = {"records": [{"body": "hello", "timestamp": 1000}, {"body": "world", "timestamp": 1000}, {"body": "more"}]}
    assert (await http.post(RECORDS, json=body)).status_code == 200
    answer = await http.get(f"{RECORDS}?seq_num=0&count=2", headers={**EVENTS, "accept-encoding": "gzip"})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert "content-encoding" not in answer.headers
    assert answer.text == (
        "event: batch\nid: 1,2,26\n"
        'data: {"records":[{"seq_num":0,"timestamp":1000,"body":"hello"},'
        '{"seq_num":1,"timestamp":1000,"body":"world"}]}'
        "\n\ndata: [DONE]\n\n"
    )


async def test_follows_after_a_ping(http: httpx.AsyncClient) -> None:
    async with following(http, "seq_num=0") as events:
        assert events.answer.status_code == 200
        ping = await events.next()
        assert ping is not None
        assert (ping.event, ping.id) == ("ping", None)
        assert msgspec.json.decode(ping.data)["tail"] == {"seq_num": 0, "timestamp": 0}
        for number in range(3):
            ack = await appended(http, "hello", "world")
            event = await events.next()
            assert event is not None
            assert (event.event, event.id) == ("batch", f"{2 * number + 1},{2 * number + 2},{26 * (number + 1)}")
            assert msgspec.json.decode(event.data)["tail"] == ack["tail"]


async def test_two_readers_count_for_themselves(http: httpx.AsyncClient) -> None:
    await appended(http, "a", "b")
    async with following(http, "seq_num=0") as early, following(http, "seq_num=1") as late:
        for events in (early, late):
            await events.next()
            ping = await events.next()
            assert ping is not None
            assert ping.event == "ping"
        await appended(http, "c")
        ids = [event.id for event in (await early.next(), await late.next()) if event is not None]
        assert ids == ["2,3,27", "2,2,18"]


async def test_resume(http: httpx.AsyncClient) -> None:
    await appended(http, *["hello"] * 12)
    async with following(http, "seq_num=0&count=8", last_event_id="4,5,65") as events:
        found = await events.rest()
    assert [event.id for event in found] == ["7,3,39", None]
    first = msgspec.json.decode(found[0].data)["records"][0]["seq_num"]
    assert (first, found[1].data) == (5, "[DONE]")
    async with following(http, "seq_num=0&bytes=78", last_event_id="4,5,65") as events:
        assert [event.id for event in await events.rest()] == ["5,1,13", None]
    async with following(http, "seq_num=0&count=5", last_event_id="4,5,65") as events:
        assert [event.data for event in await events.rest()] == ["[DONE]"]


@pytest.mark.parametrize("value", ["", "1", "1,2", "1,2,3,4", "a,b,c", "-1,0,0", "18446744073709551616,0,0", "1, 2, 3"])
async def test_malformed_resume(http: httpx.AsyncClient, value: str) -> None:
    await appended(http, "a")
    answer = await http.get(f"{RECORDS}?seq_num=0", headers={**EVENTS, "last-event-id": value})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_header")
    assert (await http.get(f"{RECORDS}?seq_num=0", headers={"last-event-id": value})).status_code == 200


async def test_errors_before_the_start_are_plain_answers(http: httpx.AsyncClient) -> None:
    for path, status in (
        (f"{RECORDS}?seq_num=5", 416),
        (f"{RECORDS}?seq_num=0&tail_offset=1", 422),
        ("/v1/streams/none/records", 404),
    ):
        answer = await http.get(path, headers=EVENTS)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"


async def test_base64(http: httpx.AsyncClient) -> None:
    await appended(http, "hello")
    async with following(http, "seq_num=0&count=1", s2_format="base64") as events:
        event = await events.next()
        assert event is not None
        assert base64.b64decode(msgspec.json.decode(event.data)["records"][0]["body"]) == b"hello"


async def test_error_in_the_middle_is_an_event_and_no_done(server: Running, http: httpx.AsyncClient) -> None:
    async with following(http, "seq_num=0") as events:
        await events.next()
        await server.store.delete_stream(BASIN, STREAM)
        found = await events.rest()
    assert [event.event for event in found] == ["batch", "error"]
    assert msgspec.json.decode(found[-1].data)["code"] == "unavailable"


async def test_draining_is_an_error_event(server: Running, http: httpx.AsyncClient) -> None:
    async with following(http, "seq_num=0") as events:
        await events.next()
        assert await server.app.drain(10)
        found = await events.rest()
    assert [(event.event, msgspec.json.decode(event.data)["code"]) for event in found] == [("error", "server_draining")]


async def test_wait_ends_with_done(http: httpx.AsyncClient) -> None:
    async with following(http, "seq_num=0&wait=1") as events:
        found = await events.rest()
    assert [event.event for event in found] == ["ping", ""]
    assert found[-1].data == "[DONE]"


async def test_wrong_key_is_an_error_event(server: Running) -> None:
    await server.store.create_basin(BASIN, BasinConfig(stream_cipher=Cipher.AES_256_GCM))
    await server.store.create_stream(BASIN, STREAM)
    await server.store.append(BASIN, STREAM, batch("a"), EncryptionKey.of(b"k" * 32))
    other = base64.b64encode(b"o" * 32).decode()
    async with server.in_basin() as http, following(http, "seq_num=0", s2_encryption_key=other) as events:
        found = await events.rest()
    assert [(event.event, msgspec.json.decode(event.data)["code"]) for event in found] == [
        ("error", "decryption_failed")
    ]
