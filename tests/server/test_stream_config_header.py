"""The header `s2-stream-config`: how a stream is configured that an append or a read creates."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from perdure.errors import StreamNotFound
from perdure.model.configs import (
    BasinConfig,
    RetentionAge,
    StorageClass,
    StreamConfig,
    TimestampingConfig,
    TimestampingMode,
)
from tests.server.h2_peer import H2Peer, connected
from tests.server.recording import RECORDS, STREAM, append, open_append, open_read
from tests.server.running import BASIN, Running

WANTED = '{"retention_policy":{"age":3600},"timestamping":{"mode":"arrival","uncapped":null},"storage_class":null}'
HEADER = {"s2-stream-config": WANTED}
EVENTS = {"accept": "text/event-stream"}


@pytest.fixture
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    """In a basin that creates streams, and has defaults for them."""
    layer = StreamConfig(
        storage_class=StorageClass.STANDARD,
        retention_policy=RetentionAge(60),
        timestamping=TimestampingConfig(uncapped=True),
    )
    config = BasinConfig(default_stream_config=layer, create_stream_on_append=True, create_stream_on_read=True)
    await server.store.create_basin(BASIN, config)
    async with server.in_basin() as client:
        yield client


@pytest.fixture
async def peer(server: Running, http: httpx.AsyncClient) -> AsyncIterator[H2Peer]:
    async with connected(server.port) as peer:
        yield peer


async def is_configured(server: Running, name: str = STREAM) -> bool:
    """Whether the stream has what `HEADER` says, and the basin's defaults for the rest."""
    config = await server.store.get_stream_config(BASIN, name)
    assert config.storage_class is StorageClass.STANDARD
    assert config.timestamping is not None
    assert config.timestamping.uncapped is True
    wanted = (RetentionAge(3600), TimestampingMode.ARRIVAL)
    return (config.retention_policy, config.timestamping.mode) == wanted


async def test_an_append_creates_the_stream_so(server: Running, http: httpx.AsyncClient) -> None:
    answer = await http.post(RECORDS, json={"records": [{"body": "a"}]}, headers=HEADER)
    assert answer.status_code == 200
    assert await is_configured(server)


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (f"{RECORDS}?seq_num=0&count=1", {}, 416),
        (f"{RECORDS}?seq_num=0&count=1&wait=1", EVENTS, 200),
        (f"{RECORDS}/tail", {}, 200),
    ],
)
async def test_a_read_creates_the_stream_so(
    server: Running, http: httpx.AsyncClient, path: str, fields: dict[str, str], status: int
) -> None:
    answer = await http.get(path, headers=HEADER | fields)
    assert answer.status_code == status
    assert await is_configured(server)


async def test_sessions_create_the_stream_so(server: Running, peer: H2Peer) -> None:
    writing = await open_append(peer, "/v1/streams/written/records", **HEADER)
    reading = await open_read(peer, "seq_num=0", "/v1/streams/read/records", **HEADER)
    assert (await writing.head(), await reading.head()) == (200, 200)
    assert await is_configured(server, "written")
    assert await is_configured(server, "read")


async def test_a_stream_that_exists_stays_as_it_is(server: Running, http: httpx.AsyncClient) -> None:
    assert (await append(http, "a")).status_code == 200
    answer = await http.post(RECORDS, json={"records": [{"body": "a"}]}, headers=HEADER)
    assert answer.status_code == 200
    assert not await is_configured(server)


async def test_a_stream_that_was_deleted_meanwhile_is_created_so(server: Running, http: httpx.AsyncClient) -> None:
    """The server may remember the old one; what it finds then is the same as if it did not."""
    assert (await append(http, "a")).status_code == 200
    await server.store.delete_stream(BASIN, STREAM)
    while True:  # its name goes in the background
        answer = await http.post(RECORDS, json={"records": [{"body": "a"}]}, headers=HEADER)
        if answer.status_code == 200:
            break
        assert answer.status_code == 409
    assert await is_configured(server)


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ("", 400, "bad_header"),
        ("{", 400, "bad_header"),
        ("null", 400, "bad_header"),
        ('{"storage_class":"slow"}', 400, "bad_header"),
        ('{"retention_policy":{}}', 400, "bad_header"),
        ('{"retention_policy":{"age":0}}', 422, "invalid"),
    ],
)
async def test_what_makes_no_sense_creates_nothing(
    server: Running, http: httpx.AsyncClient, value: str, status: int, code: str
) -> None:
    bad = {"s2-stream-config": value}
    answers = [
        await http.post(RECORDS, json={"records": [{"body": "a"}]}, headers=bad),
        await http.post(RECORDS, content=b"", headers={"content-type": "s2s/proto"} | bad),
        await http.get(f"{RECORDS}?seq_num=0", headers=bad),
        await http.get(f"{RECORDS}?seq_num=0", headers=EVENTS | bad),
        await http.get(f"{RECORDS}/tail", headers=bad),
    ]
    for answer in answers:
        assert (answer.status_code, msgspec.json.decode(answer.content)["code"]) == (status, code)
        if status == 400:
            assert "`s2-stream-config`" in answer.text
    with pytest.raises(StreamNotFound):
        await server.store.get_stream_config(BASIN, STREAM)
