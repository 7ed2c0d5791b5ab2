"""Sessions in which nothing happens: heartbeats while there is nothing to tell, and clients that take nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from perdure.server.context import ServerSettings
from perdure.server.limits import ServerLimits
from perdure.wire.sse import SseEvent, SseParser
from tests.server.h2_peer import WINDOW_BYTES, H2Peer, H2Stream, connected
from tests.server.recording import RECORDS, STREAM, batch, bodies, frames, next_batch, open_append, open_read
from tests.server.running import BASIN, Running, running

OFTEN = (0.001, 0.002)
"""Seconds between two heartbeats."""
STALL_SECS = 0.5
LARGE = 900_000
EVENTS = "text/event-stream"
S2S = "s2s/proto"


@asynccontextmanager
async def prepared(
    path: Path, settings: ServerSettings | None = None, heartbeat_secs: tuple[float, float] = (100.0, 100.0)
) -> AsyncIterator[Running]:
    async with running(path / "data", settings, heartbeat_secs=heartbeat_secs) as server:
        await server.store.create_basin(BASIN)
        await server.store.create_stream(BASIN, STREAM)
        yield server


@pytest.fixture
async def beating(tmp_path: Path) -> AsyncIterator[Running]:
    """A server whose sessions send heartbeats all the time."""
    async with prepared(tmp_path, heartbeat_secs=OFTEN) as server:
        yield server


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Running]:
    """A server that soon gives up who takes nothing."""
    async with prepared(tmp_path, ServerSettings(limits=ServerLimits(stall_timeout_secs=STALL_SECS))) as server:
        yield server


async def no_sessions(server: Running) -> None:
    while server.app.open_sessions:  # noqa: ASYNC110  # nothing else tells that the sessions have ended
        await asyncio.sleep(0.002)


# Heartbeats ---------------------------------------------------------------------------------------


async def test_frames_bridge_the_silence(beating: Running) -> None:
    tail = (await beating.store.append(BASIN, STREAM, batch("a"))).tail
    async with connected(beating.port) as peer:
        session = await open_read(peer, "seq_num=1")
        for _ in range(5):
            heartbeat = await next_batch(session)
            assert (heartbeat.records, heartbeat.tail) == ((), tail)
        tail = (await beating.store.append(BASIN, STREAM, batch("b"))).tail
        while not (found := await next_batch(session)).records:
            assert found.tail != tail, "a heartbeat tells of a record that did not come"
        assert (bodies([found]), found.tail) == ([b"b"], tail)
        assert await next_batch(session) == msgspec.structs.replace(heartbeat, tail=tail)


async def test_a_silent_session_is_advised_to_move_by_a_heartbeat(beating: Running) -> None:
    async with connected(beating.port) as peer:
        session = await open_read(peer, "seq_num=0")
        assert (await session.frame())[0] == 0
        beating.app.advise_reconnect()
        while not (await session.frame())[0] & 0x10:
            pass  # what was on its way before


async def test_pings_bridge_the_silence(beating: Running) -> None:
    tail = (await beating.store.append(BASIN, STREAM, batch("a"))).tail
    fields = {"accept": EVENTS}
    async with beating.in_basin() as http, http.stream("GET", f"{RECORDS}?seq_num=1", headers=fields) as answer:
        parser, found = SseParser(), list[SseEvent]()
        told = answer.aiter_raw()
        while len(found) < 5:
            found += parser.feed(await anext(told))
        assert {event.event for event in found} == {"ping"}
        for event in found:
            ping = json.loads(event.data)
            assert ping["tail"] == {"seq_num": tail.seq_num, "timestamp": tail.timestamp}
            assert ping["timestamp"] >= tail.timestamp
        await beating.store.append(BASIN, STREAM, batch("b"))
        while found[-1].event != "batch":
            found += parser.feed(await anext(told))
        assert json.loads(found[-1].data)["records"][0]["body"] == "b"


# Clients that take nothing ------------------------------------------------------------------------


async def read_over_http_1(port: int, kind: str, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a session and take nothing of it but the first line. What the system buffers for it is little."""
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plug, limit=2**16)
    fields = {"host": "localhost", "s2-basin": BASIN, "accept": kind, "connection": "close"}
    if kind == S2S:
        fields["content-type"] = kind
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"GET {RECORDS}?{query} HTTP/1.1\r\n{head}\r\n".encode())
    assert b"200 OK" in await reader.readline()
    return reader, writer


async def fill(server: Running, batches: Iterable[int]) -> None:
    for number in batches:
        await server.store.append(BASIN, STREAM, batch(b"%d " % number + b"x" * LARGE))


@pytest.mark.parametrize("kind", [S2S, EVENTS])
async def test_a_read_that_is_given_up_has_no_clean_end_over_http_1(impatient: Running, kind: str) -> None:
    await fill(impatient, range(20))
    reader, writer = await read_over_http_1(impatient.port, kind, "seq_num=0")
    await no_sessions(impatient)
    try:
        taken = await reader.read(-1)
    except ConnectionResetError:
        taken = b""
    assert not taken.endswith(b"0\r\n\r\n"), "its client would think that it has everything"
    writer.close()


@pytest.mark.parametrize("kind", [S2S, EVENTS])
async def test_a_read_that_is_given_up_has_no_clean_end_over_http_2(impatient: Running, kind: str) -> None:
    await fill(impatient, range(20))
    async with connected(impatient.port) as peer:
        peer.acknowledging = False
        if kind == S2S:
            session = await open_read(peer, "seq_num=0")
        else:
            session = await peer.open("GET", f"{RECORDS}?seq_num=0", end=True, s2_basin=BASIN, accept=kind)
        assert await session.head() == 200
        await no_sessions(impatient)
        await take_again(peer, session)
        await session.rest()
        assert not session.ended, "its client would think that it has everything"
        assert session.reset_code is not None


async def take_again(peer: H2Peer, stream: H2Stream) -> None:
    """Give the stream window for all that it took. What is on its way in the server comes out before the end does."""
    peer.acknowledging = True
    peer.h2.increment_flow_control_window(WINDOW_BYTES, stream.id)
    peer.h2.increment_flow_control_window(WINDOW_BYTES)
    await peer.flush()


async def test_an_append_session_whose_acks_nobody_takes_is_given_up(impatient: Running) -> None:
    async with connected(impatient.port, window=10) as peer:
        peer.acknowledging = False
        session = await open_append(peer)
        assert await session.head() == 200
        for number in range(50):  # one after the other, or all have one ack
            await session.send(frames(batch("x")))
            while impatient.app.open_sessions:
                if (await impatient.store.check_tail(BASIN, STREAM)).seq_num > number:
                    break
        await no_sessions(impatient)
        await take_again(peer, session)
        await session.rest()
        assert not session.ended


@pytest.mark.parametrize("kind", [S2S, EVENTS])
async def test_a_reader_that_was_slow_gets_everything_from_the_store(tmp_path: Path, kind: str) -> None:
    """More comes while it takes nothing than anybody buffers for it."""
    async with prepared(tmp_path) as server:
        reader, writer = await read_over_http_1(server.port, kind, "seq_num=0&count=40&wait=60")
        await fill(server, range(40))
        taken = await reader.read(-1)
        writer.close()
    assert taken.endswith(b"0\r\n\r\n")
    assert [taken.count(b"%d x" % number) for number in range(10, 40)] == [1] * 30
