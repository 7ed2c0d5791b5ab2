"""Connections without requests are closed, and those on which a session does nothing are left alone."""

from __future__ import annotations

import asyncio
import resource
import socket

import pytest

from perdure.server import serving
from perdure.server.context import ServerSettings
from perdure.server.idle_connections import IdleConnections
from perdure.server.limits import ServerLimits
from tests.descriptors import no_descriptor_left
from tests.patience import PATIENCE_SECONDS
from tests.server.h2_peer import connected
from tests.server.recording import RECORDS, STREAM, acks_and_end, batch, frames, next_batch, open_append, open_read
from tests.server.running import BASIN, Running, Serve

SOON_SECS = 0.4
TO_ASK_SECS = 3.0
"""Time to ask for something for those who are not to be cut off, on a slow machine as well."""
LATE_SECS = 600.0

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
HALF_HEADERS = b"\0\0\1\1\0\0\0\0\1\x82"
"""A header block that says `:method: GET`, and that more of it follows."""


def timed(*, header_timeout_secs: float, idle_timeout_secs: float) -> ServerSettings:
    return ServerSettings(
        limits=ServerLimits(header_timeout_secs=header_timeout_secs, idle_timeout_secs=idle_timeout_secs)
    )


async def closed_after(port: int, said: bytes) -> bytes:
    """Say something on a new connection, and then nothing; gives what was answered until the server closed it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /hea",
        b"GET /health HTTP/1.1\r\nhost: h\r\n",
        PREFACE[:10],
        PREFACE,
        PREFACE + SETTINGS,
        PREFACE + SETTINGS + HALF_HEADERS,
    ],
    ids=["nothing", "half a line", "half a head", "half a preface", "a preface", "settings", "half a header block"],
)
async def test_who_never_asks_for_anything_is_not_waited_for(serve: Serve, said: bytes) -> None:
    async with serve(timed(header_timeout_secs=SOON_SECS, idle_timeout_secs=LATE_SECS)) as server:
        await closed_after(server.port, said)


async def test_pings_are_no_requests(serve: Serve) -> None:
    settings = timed(header_timeout_secs=SOON_SECS, idle_timeout_secs=LATE_SECS)
    async with serve(settings) as server, connected(server.port) as peer:
        while not peer.closed:
            peer.h2.ping(b"12345678")
            await peer.flush()
            await peer.changed()


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_who_asks_for_nothing_more_is_not_waited_for(serve: Serve, version: str) -> None:
    async with serve(timed(header_timeout_secs=LATE_SECS, idle_timeout_secs=SOON_SECS)) as server:
        if version == "1.1":
            answered = await closed_after(server.port, b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n")
            assert answered.startswith(b"HTTP/1.1 200 OK")
        else:
            async with connected(server.port) as peer:
                assert await (await peer.open("GET", "/health", end=True)).head() == 200
                await peer.until(lambda: peer.closed)


async def test_sessions_and_reads_that_wait_may_be_silent(serve: Serve) -> None:
    async with serve(timed(header_timeout_secs=TO_ASK_SECS, idle_timeout_secs=SOON_SECS)) as server:
        await server.store.create_basin(BASIN)
        await server.store.create_stream(BASIN, STREAM)
        async with connected(server.port) as writing, connected(server.port) as reading, server.in_basin() as http:
            session = await open_append(writing)
            await session.head()
            follower = await open_read(reading, "seq_num=0")
            await next_batch(follower)
            waiting = asyncio.create_task(http.get(f"{RECORDS}?seq_num=0&wait=60"))
            await closed_after(server.port, b"")  # that much time has passed
            assert not writing.closed
            assert not reading.closed
            await session.send(frames(batch("a")), end=True)
            acks, terminal = acks_and_end(await session.rest())
            assert (len(acks), terminal) == (1, None)
            assert [record.body for record in (await next_batch(follower)).records] == [b"a"]
            assert (await waiting).json()["records"][0]["body"] == "a"


async def test_who_has_asked_for_something_may_come_back_later(serve: Serve) -> None:
    settings = timed(header_timeout_secs=TO_ASK_SECS, idle_timeout_secs=LATE_SECS)
    async with serve(settings) as server, connected(server.port) as peer:
        assert await (await peer.open("GET", "/health", end=True)).head() == 200
        await closed_after(server.port, b"")
        assert await (await peer.open("GET", "/health", end=True)).head() == 200


async def test_idle_connections_go_when_they_have_taken_all_descriptors(serve: Serve) -> None:
    async with serve(timed(header_timeout_secs=SOON_SECS, idle_timeout_secs=LATE_SECS)) as server:
        # granian's thread ends the whole process when it begins without a descriptor; it has begun once it answers.
        assert (await server.http.get("/health")).status_code == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        with no_descriptor_left():
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [(100, 50), (512, 256), (1024, 768), (1_048_576, 24_096), (resource.RLIM_INFINITY, 24_096)],
)
def test_the_store_has_descriptors_left_whatever_connections_there_are(descriptors: int, most: int) -> None:
    assert serving.most_connections(ServerLimits(), descriptors) == most


async def test_other_sockets_of_the_process_are_left_alone(server: Running) -> None:
    limits = ServerLimits(header_timeout_secs=SOON_SECS, idle_timeout_secs=SOON_SECS)
    with serving.listen("127.0.0.1", 0) as listener, socket.create_server(("127.0.0.1", 0)) as others:
        ours = socket.create_connection(listener.getsockname())
        theirs = socket.create_connection(others.getsockname())
        listener.setblocking(True)
        accepted, _ = listener.accept()
        not_ours, _ = others.accept()
        with ours, theirs, accepted, not_ours:
            watching = asyncio.create_task(IdleConnections(listener, server.app.activity, limits).watch())
            try:
                assert await asyncio.to_thread(ours.recv, 1) == b""
                theirs.sendall(b"x")
                assert not_ours.recv(1) == b"x"
            finally:
                watching.cancel()


async def test_connections_ask_whether_their_peer_is_there() -> None:
    with serving.listen("127.0.0.1", 0) as listener:
        listener.setblocking(True)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
