"""How sessions end when the server stops: first advised to move, then told, and never with a loss (section 6.9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest

from perdure.server.context import ServerSettings
from perdure.server.limits import ServerLimits
from perdure.wire.protobuf import decode_append_ack, decode_read_batch
from perdure.wire.s2s import Frame, Terminal
from tests.server.h2_peer import H2Peer, H2Stream, connected
from tests.server.recording import RECORDS, STREAM, acks_and_end, batch, bodies, frames, open_append, open_read
from tests.server.running import BASIN, Running, Serve

ENOUGH_SECS = 10.0
LONGER_SECS = 100.0
"""A session that waited for so long would not end within `ENOUGH_SECS`."""


@pytest.fixture
async def patient(serve: Serve) -> AsyncIterator[Running]:
    """A server whose append sessions wait long for the batch that they answer with the end."""
    async with serve(ServerSettings(limits=ServerLimits(last_batch_secs=LONGER_SECS))) as server:
        await server.store.create_basin(BASIN)
        await server.store.create_stream(BASIN, STREAM)
        yield server


@pytest.fixture
async def peer(patient: Running) -> AsyncIterator[H2Peer]:
    async with connected(patient.port) as peer:
        yield peer


async def next_frame(stream: H2Stream) -> Frame:
    content = await stream.frame()
    return Frame(content[0], content[1:])


def says_draining(terminal: Terminal | None) -> bool:
    return (
        terminal is not None
        and terminal.status == 503
        and msgspec.json.decode(terminal.body)["code"] == "server_draining"
    )


async def test_acks_advise_a_new_session_and_the_old_one_goes_on(patient: Running, peer: H2Peer) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("a")))
    assert not (await next_frame(session)).reconnect_advised
    patient.app.advise_reconnect()
    late = await open_append(peer)
    for number, stream in ((1, session), (2, late), (3, session)):
        await stream.send(frames(batch("b")))
        frame = await next_frame(stream)
        assert (frame.reconnect_advised, decode_append_ack(frame.message()).start.seq_num) == (True, number)
    for stream in (session, late):
        await stream.send(end=True)
        assert await stream.rest() == b""


@pytest.mark.parametrize(("coding", "packed"), [("identity", 0), ("zstd", 0x20), ("gzip", 0x40)])
async def test_batches_and_heartbeats_advise_a_new_session(
    patient: Running, peer: H2Peer, coding: str, packed: int
) -> None:
    session = await open_read(peer, "seq_num=0", accept_encoding=coding)
    assert not (await next_frame(session)).reconnect_advised
    patient.app.advise_reconnect()
    late = await open_read(peer, "seq_num=0", accept_encoding=coding)
    assert (await next_frame(late)).flag == 0x10, "a heartbeat"
    for _ in range(2):
        await patient.store.append(BASIN, STREAM, batch("word " * 1000))
        for stream in (session, late):
            frame = await next_frame(stream)
            assert frame.flag == 0x10 | packed
            assert bodies([decode_read_batch(frame.message())]) == [b"word " * 1000]


async def test_events_say_nothing_of_it(patient: Running) -> None:
    fields = {"accept": "text/event-stream"}
    async with (
        patient.in_basin() as http,
        http.stream("GET", f"{RECORDS}?seq_num=0&count=1&wait=60", headers=fields) as answer,
    ):
        patient.app.advise_reconnect()
        await patient.store.append(BASIN, STREAM, batch("x"))
        text = (await answer.aread()).decode()
    assert '"body":"x"' in text
    assert text.endswith("data: [DONE]\n\n")


async def test_the_end_is_the_answer_to_the_next_batch(patient: Running, peer: H2Peer) -> None:
    """A client that has an unanswered batch sends it again elsewhere; what it does otherwise is less certain."""
    session = await open_append(peer)
    await session.send(frames(batch("a")))
    await session.frame()
    draining = asyncio.create_task(patient.app.drain(ENOUGH_SECS))
    await session.send(frames(batch("b"), batch("c")))
    acks, terminal = acks_and_end(await session.rest())
    assert says_draining(terminal)
    await session.send(end=True)
    assert await draining
    tail = (await patient.store.check_tail(BASIN, STREAM)).seq_num
    assert tail == 1 + len(acks), "what has no ack was not taken"


async def test_a_client_that_ends_its_session_then_hears_of_no_error(patient: Running, peer: H2Peer) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("a")))
    await session.frame()
    draining = asyncio.create_task(patient.app.drain(ENOUGH_SECS))
    await session.send(end=True)
    assert await session.rest() == b""
    assert session.ended
    assert await draining


async def test_a_client_that_goes_away_is_not_waited_for(patient: Running) -> None:
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(connected(patient.port))
        session = await open_append(peer)
        await session.send(frames(batch("a")))
        await session.frame()
        draining = asyncio.create_task(patient.app.drain(ENOUGH_SECS))
        await stack.aclose()
        assert await draining


async def test_a_session_that_is_opened_while_the_server_stops_is_told(patient: Running, peer: H2Peer) -> None:
    patient.app.start_draining()
    for late in (await open_append(peer), await open_read(peer, "seq_num=0")):
        assert await late.head() == 503
        assert msgspec.json.decode(await late.rest())["code"] == "server_draining"


async def test_a_read_that_waits_is_told_at_once(patient: Running) -> None:
    async with patient.in_basin() as http:
        waiting = asyncio.create_task(http.get(f"{RECORDS}?wait=60"))
        while not patient.app.open_sessions:  # noqa: ASYNC110  # nothing else tells that the read waits
            await asyncio.sleep(0.002)
        assert await patient.app.drain(ENOUGH_SECS)
        answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (503, "server_draining")


@pytest.fixture
async def hesitant(serve: Serve) -> AsyncIterator[Running]:
    """A server that holds one refusal back for longer than any test waits."""
    async with serve(ServerSettings(limits=ServerLimits(refusal_secs=3600, max_held_refusals=1))) as server:
        yield server


async def test_refusals_are_held_back_as_far_as_their_number_allows(hesitant: Running) -> None:
    """Otherwise official SDKs, which do not pause, ask a hundred times and more until the server is gone."""
    hesitant.app.start_draining()
    async with connected(hesitant.port) as peer:
        held = await peer.open("GET", "/v1/basins", end=True)
        for _ in range(3):
            refused = await peer.open("GET", "/v1/basins", end=True)
            assert await refused.head() == 503, "there is room for one to wait"
        assert not held.fields


async def test_clients_are_not_held_back_from_a_successor(hesitant: Running) -> None:
    hesitant.app.advise_reconnect()
    hesitant.app.start_draining()
    async with hesitant.in_basin() as http:
        assert (await http.get("/v1/basins")).json()["code"] == "server_draining"
