"""Read sessions over s2s (store API, sections 6.3 to 6.7, 6.9; checklist 92 to 104, 107, 108, 112, 127)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from perdure.model.batches import AppendInput
from perdure.model.configs import BasinConfig, Cipher
from perdure.model.encryption import EncryptionKey
from perdure.model.records import AppendRecord
from perdure.wire.s2s import Frame
from tests.server.h2_peer import H2Peer, connected
from tests.server.recording import (
    RECORDS,
    STREAM,
    appended,
    batch,
    batches_and_end,
    bodies,
    frames,
    next_batch,
    open_append,
    open_read,
)
from tests.server.running import BASIN, Running


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


@pytest.fixture
async def peer(server: Running, http: httpx.AsyncClient) -> AsyncIterator[H2Peer]:
    async with connected(server.port) as peer:
        yield peer


async def test_empty_stream_says_so_at_once_and_byte_for_byte(peer: H2Peer) -> None:
    session = await open_read(peer, "seq_num=0")
    assert await session.head() == 200
    assert session.fields["content-type"] == "s2s/proto"
    assert session.fields["x-accel-buffering"] == "no"
    assert await session.take(6) == bytes.fromhex("000003001200")


async def test_bounds_end_cleanly(peer: H2Peer, http: httpx.AsyncClient) -> None:
    await appended(http, "hello", "world", "again")
    for query, expected in (
        ("seq_num=0&count=2", [b"hello", b"world"]),
        ("seq_num=0&bytes=26", [b"hello", b"world"]),
        ("seq_num=1&count=9", [b"world", b"again"]),
        ("seq_num=0&wait=0", [b"hello", b"world", b"again"]),
        ("seq_num=0&count=0", []),
    ):
        session = await open_read(peer, query)
        batches, terminal = batches_and_end(await session.rest())
        assert (bodies(batches), terminal, session.ended) == (expected, None, True)
        assert all(batch.tail is None for batch in batches)


async def test_follows_with_the_tail_of_each_append(peer: H2Peer, http: httpx.AsyncClient) -> None:
    first = await appended(http, "old")
    session = await open_read(peer, "seq_num=0")
    assert bodies([await next_batch(session)]) == [b"old"]
    heartbeat = await next_batch(session)
    assert heartbeat.records == ()
    assert heartbeat.tail is not None
    assert msgspec.to_builtins(heartbeat.tail) == first["tail"]
    for number in range(3):
        ack = await appended(http, f"new {number}", "more")
        live = await next_batch(session)
        assert bodies([live]) == [b"new %d" % number, b"more"]
        assert msgspec.to_builtins(live.tail) == ack["tail"]


async def test_starts_where_nothing_is_written(peer: H2Peer, http: httpx.AsyncClient) -> None:
    ack = await appended(http, "a")
    for query in ("seq_num=1&count=1", "seq_num=9", "seq_num=9&clamp=true&count=1"):
        session = await open_read(peer, query)
        assert await session.head() == 416
        assert session.fields["content-type"] == "application/json"
        assert msgspec.json.decode(await session.rest()) == {"tail": ack["tail"]}
    clamped = await open_read(peer, "seq_num=9&clamp=true")
    assert (await next_batch(clamped)).tail is not None


async def test_wait_ends_cleanly(peer: H2Peer, http: httpx.AsyncClient) -> None:
    await appended(http, "a")
    session = await open_read(peer, "seq_num=0&wait=1")
    batches, terminal = batches_and_end(await session.rest())
    assert (bodies(batches), terminal) == ([b"a"], None)
    assert batches[-1].tail is not None


async def test_reader_beside_a_writer_sees_every_record_once_in_order(peer: H2Peer) -> None:
    total = 3000
    reading = await open_read(peer, f"seq_num=0&count={total}&wait=20")
    writing = await open_append(peer)
    for start in range(0, total, 10):
        await writing.send(frames(batch(*[str(n) for n in range(start, start + 10)])))
    await writing.send(end=True)
    batches, terminal = batches_and_end(await reading.rest())
    assert bodies(batches) == [b"%d" % n for n in range(total)]
    assert terminal is None


@pytest.mark.parametrize(
    ("accepted", "flag"), [("zstd", 0x20), ("gzip", 0x40), ("gzip, zstd;q=0", 0x20), ("br", 0), ("identity", 0)]
)
async def test_large_frames_are_packed_as_agreed(
    peer: H2Peer, http: httpx.AsyncClient, accepted: str, flag: int
) -> None:
    await appended(http, "word " * 1000)
    session = await open_read(peer, "seq_num=0", accept_encoding=accepted)
    for expected in ("word " * 1000, None, "other " * 1000):
        if expected is not None and expected.startswith("other"):
            await appended(http, expected)
        content = await session.frame()
        frame = Frame(content[0], content[1:])
        assert frame.flag == (flag if expected else 0), "a heartbeat is below 1 KiB"
        assert expected is None or expected.encode() in frame.message()
    assert "content-encoding" not in session.fields


async def test_many_readers_get_the_same(server: Running, http: httpx.AsyncClient) -> None:
    async with connected(server.port) as peer:
        plain = [await open_read(peer, "seq_num=0") for _ in range(20)]
        packed = [await open_read(peer, "seq_num=0", accept_encoding="gzip") for _ in range(20)]
        for session in plain + packed:
            assert (await next_batch(session)).records == ()
        for text in ("a" * 3000, "b", "c" * 3000):
            await appended(http, text)
            for session in plain + packed:
                assert bodies([await next_batch(session)]) == [text.encode()]


async def test_tiny_headers_of_twice_their_metered_size_fit_frames(peer: H2Peer, server: Running) -> None:
    heavy = AppendInput.of([AppendRecord(headers=[("k", "v")] * 115_000)])
    for _ in range(2):
        await server.store.append(BASIN, STREAM, heavy)
    session = await open_read(peer, "seq_num=0&count=2")
    batches, terminal = batches_and_end(await session.rest())
    assert [len(record.headers) for one in batches for record in one.records] == [115_000] * 2
    assert terminal is None


async def test_deleted_stream_ends_with_its_trim_and_unavailable(server: Running, peer: H2Peer) -> None:
    await server.store.append(BASIN, STREAM, batch("a"))
    session = await open_read(peer, "seq_num=0")
    await next_batch(session)
    await next_batch(session)
    await server.store.delete_stream(BASIN, STREAM)
    batches, terminal = batches_and_end(await session.rest())
    assert [record.headers for one in batches for record in one.records] == [((b"", b"trim"),)]
    assert terminal is not None
    assert (terminal.status, msgspec.json.decode(terminal.body)["code"]) == (503, "unavailable")


async def test_draining_tells_readers(server: Running, peer: H2Peer) -> None:
    session = await open_read(peer, "seq_num=0")
    await next_batch(session)
    assert await server.app.drain(10)
    batches, terminal = batches_and_end(await session.rest())
    assert batches == []
    assert terminal is not None
    assert (terminal.status, msgspec.json.decode(terminal.body)["code"]) == (503, "server_draining")


async def test_reader_that_goes_away_is_noticed(server: Running, http: httpx.AsyncClient) -> None:
    async with connected(server.port) as peer:
        sessions = [await open_read(peer, "seq_num=0") for _ in range(3)]
        for session in sessions:
            await next_batch(session)
        await sessions[0].reset()
    while server.engine.hub.followed():  # noqa: ASYNC110  # nothing else tells that the sessions have ended
        await asyncio.sleep(0.002)


async def test_slow_reader_loses_nothing(server: Running, http: httpx.AsyncClient) -> None:
    async with connected(server.port) as peer:
        session = await open_read(peer, "seq_num=0&count=60&wait=20")
        await next_batch(session)
        peer.stop_reading()
        for number in range(60):
            await server.store.append(BASIN, STREAM, batch(b"%d " % number + b"x" * 500_000))
        peer.go_on_reading()
        batches, terminal = batches_and_end(await session.rest())
        assert [body.split()[0] for body in bodies(batches)] == [b"%d" % n for n in range(60)]
        assert terminal is None


async def test_wrong_key_is_told_in_band(server: Running) -> None:
    await server.store.create_basin("sealed-basin", BasinConfig(stream_cipher=Cipher.AEGIS_256))
    await server.store.create_stream("sealed-basin", STREAM)
    await server.store.append("sealed-basin", STREAM, batch("a"), EncryptionKey.of(b"k" * 32))
    async with connected(server.port) as peer:
        for key, code in ((b"k" * 32, None), (b"o" * 32, "decryption_failed")):
            session = await peer.open(
                "GET",
                f"{RECORDS}?seq_num=0&count=1",
                end=True,
                content_type="s2s/proto",
                s2_basin="sealed-basin",
                s2_encryption_key=base64.b64encode(key).decode(),
            )
            assert await session.head() == 200
            batches, terminal = batches_and_end(await session.rest())
            told = None if terminal is None else msgspec.json.decode(terminal.body)["code"]
            assert (bodies(batches), told) == ([] if code else [b"a"], code)


async def test_session_over_http_1(http: httpx.AsyncClient) -> None:
    await appended(http, "a")
    answer = await http.get(f"{RECORDS}?seq_num=0&count=1", headers={"content-type": "s2s/proto"})
    batches, terminal = batches_and_end(answer.content)
    assert (bodies(batches), terminal) == ([b"a"], None)
