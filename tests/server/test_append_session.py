"""Append sessions over s2s (store API, section 5.8; checklist 67 to 77, 127)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from perdure.model.configs import BasinConfig, Cipher
from perdure.wire.compression import Compression
from perdure.wire.protobuf import decode_append_ack, encode_append_input
from perdure.wire.s2s import encode_frame, encode_terminal
from tests.server.h2_peer import H2Peer, connected
from tests.server.recording import RECORDS, STREAM, acks_and_end, append, appended, batch, frames, open_append
from tests.server.running import BASIN, Running


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


@pytest.fixture
async def peer(server: Running, http: httpx.AsyncClient) -> AsyncIterator[H2Peer]:
    async with connected(server.port) as peer:
        yield peer


async def test_head_comes_before_any_input(peer: H2Peer) -> None:
    session = await open_append(peer)
    assert await session.head() == 200
    assert session.fields["content-type"] == "s2s/proto"
    assert session.fields["cache-control"] == "no-cache, no-transform"
    assert session.fields["x-accel-buffering"] == "no"


async def test_acks_come_while_the_session_is_open(peer: H2Peer) -> None:
    session = await open_append(peer)
    for number in range(3):
        await session.send(frames(batch("a", "b")))
        ack = decode_append_ack((await session.frame())[1:])
        assert (ack.start.seq_num, ack.end.seq_num) == (2 * number, 2 * number + 2)
    await session.send(end=True)
    assert await session.rest() == b""
    assert session.ended


async def test_pipelined_batches_are_acked_in_order_then_the_answer_ends(peer: H2Peer) -> None:
    session = await open_append(peer)
    await session.send(frames(*[batch(f"r{n}") for n in range(500)]), end=True)
    acks, terminal = acks_and_end(await session.rest())
    assert [ack.start.seq_num for ack in acks] == list(range(500))
    assert terminal is None


async def test_nothing_after_a_rejected_batch_is_applied(peer: H2Peer, http: httpx.AsyncClient) -> None:
    session = await open_append(peer)
    good = [batch(f"g{n}") for n in range(4)]
    await session.send(frames(*good, batch("bad", match=99), batch("late"), batch("late", match=4)), end=True)
    acks, terminal = acks_and_end(await session.rest())
    assert [ack.end.seq_num for ack in acks] == [1, 2, 3, 4]
    assert terminal is not None
    assert (terminal.status, terminal.body) == (412, b'{"seq_num_mismatch":4}')
    assert (await http.get(f"{RECORDS}/tail")).json()["tail"]["seq_num"] == 4


async def test_the_answer_ends_though_the_client_does_not(peer: H2Peer) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("x", token="other")))
    acks, terminal = acks_and_end(await session.rest())
    assert (acks, terminal and terminal.body) == ([], b'{"fencing_token_mismatch":""}')
    assert session.ended, "the end of the answer is no reset"
    # The connection goes on, and what is still sent on the stream does not stall it.
    other = await open_append(peer)
    await other.send(frames(batch("y")), end=True)
    acks, terminal = acks_and_end(await other.rest())
    assert (len(acks), terminal) == (1, None)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"\0\0\0\0", "length 0"),
        (b"\xff\xff\xff\0", "exceeds the limit"),
        (b"\0\0\x02\x60\0", "unknown compression"),
        (b"\0\0\x04\x20abc", "zstd"),
        (b"\0\0\x04\x40abc", "gzip"),
        (b"\0\0\x04\0\xff\xff\xff", "AppendInput"),
        (b"\0\0\x09\0\x0a", "ended in the middle of a frame"),
        (b"\0\0", "ended in the middle of a frame"),
    ],
)
async def test_bad_frame_is_told_after_the_acks_of_earlier_batches(peer: H2Peer, bad: bytes, message: str) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("a"), batch("b")) + bad, end=True)
    acks, terminal = acks_and_end(await session.rest())
    assert len(acks) == 2
    assert terminal is not None
    told = msgspec.json.decode(terminal.body, type=dict[str, str])
    assert (terminal.status, told["code"]) == (400, "bad_frame")
    assert told["message"].startswith("Failed to decode S2S frame: ")
    assert message in told["message"]


async def test_terminal_frame_of_the_client_is_refused(peer: H2Peer) -> None:
    session = await open_append(peer)
    await session.send(encode_terminal(500, b"{}"))
    _, terminal = acks_and_end(await session.rest())
    assert terminal is not None
    assert terminal.status == 400
    assert msgspec.json.decode(terminal.body) == {
        "code": "bad_frame",
        "message": "Unexpected terminal frame as input",
    }


@pytest.mark.parametrize("message", [b"", b"\x0a\x00" * 1001, b"\x0a\x06\x12\x04\x12\x02no"])
async def test_batch_against_a_limit_is_invalid(peer: H2Peer, message: bytes) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("a")) + encode_frame(message) + frames(batch("late")))
    acks, terminal = acks_and_end(await session.rest())
    assert len(acks) == 1
    assert terminal is not None
    assert (terminal.status, msgspec.json.decode(terminal.body)["code"]) == (422, "invalid")


@pytest.mark.parametrize("coding", list(Compression))
async def test_frames_may_be_packed(peer: H2Peer, http: httpx.AsyncClient, coding: Compression) -> None:
    session = await open_append(peer)
    wanted = batch("word " * 1000)
    await session.send(encode_frame(encode_append_input(wanted), coding), end=True)
    acks, terminal = acks_and_end(await session.rest())
    assert (len(acks), terminal) == (1, None)
    assert (await http.get(f"{RECORDS}?seq_num=0")).json()["records"][0]["body"] == "word " * 1000


async def test_frames_may_come_byte_by_byte(peer: H2Peer) -> None:
    session = await open_append(peer)
    for byte in frames(batch("a"), batch("b")):
        await session.send(bytes([byte]))
    await session.send(end=True)
    acks, terminal = acks_and_end(await session.rest())
    assert (len(acks), terminal) == (2, None)


async def test_reset_leaves_what_was_acked(server: Running, peer: H2Peer, http: httpx.AsyncClient) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("a")))
    await session.frame()
    await session.reset()
    await appended(http, "b")
    assert (await http.get(f"{RECORDS}/tail")).json()["tail"]["seq_num"] == 2


async def test_sessions_interleave_whole_batches(peer: H2Peer, http: httpx.AsyncClient) -> None:
    sessions = [await open_append(peer) for _ in range(4)]
    for _ in range(20):
        for index, session in enumerate(sessions):
            await session.send(frames(batch(*[f"{index}"] * 5)))
    for session in sessions:
        await session.send(end=True)
        acks, terminal = acks_and_end(await session.rest())
        assert (len(acks), terminal) == (20, None)
    records = (await http.get(f"{RECORDS}?seq_num=0")).json()["records"]
    assert len(records) == 400
    for start in range(0, 400, 5):
        assert len({record["body"] for record in records[start : start + 5]}) == 1


async def test_opening_fails_as_a_plain_answer(server: Running, peer: H2Peer) -> None:
    missing = await open_append(peer, "/v1/streams/none/records")
    assert await missing.head() == 404
    assert missing.fields["content-type"] == "application/json"
    assert msgspec.json.decode(await missing.rest())["code"] == "stream_not_found"
    nowhere = await peer.open("POST", RECORDS, content_type="s2s/proto")
    assert await nowhere.head() == 400
    assert msgspec.json.decode(await nowhere.rest())["code"] == "bad_header"


async def test_opening_creates_the_stream_where_the_basin_says_so(server: Running) -> None:
    await server.store.create_basin("auto-basin", BasinConfig(create_stream_on_append=True))
    async with connected(server.port) as peer:
        session = await peer.open("POST", "/v1/streams/new/records", content_type="s2s/proto", s2_basin="auto-basin")
        assert await session.head() == 200
        assert (await server.store.check_tail("auto-basin", "new")).seq_num == 0


async def test_sealed_stream_wants_a_key(server: Running) -> None:
    await server.store.create_basin("sealed-basin", BasinConfig(stream_cipher=Cipher.AEGIS_256))
    await server.store.create_stream("sealed-basin", STREAM)
    async with connected(server.port) as peer:
        session = await peer.open("POST", RECORDS, content_type="s2s/proto", s2_basin="sealed-basin")
        assert await session.head() == 400
        told = msgspec.json.decode(await session.rest())
        assert (told["code"], "aegis-256" in told["message"]) == ("bad_header", True)


async def test_draining_acks_what_was_taken_then_says_why(server: Running, peer: H2Peer) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("a")))
    await session.frame()
    assert await server.app.drain(10)
    acks, terminal = acks_and_end(await session.rest())
    assert acks == []
    assert terminal is not None
    assert (terminal.status, msgspec.json.decode(terminal.body)["code"]) == (503, "server_draining")
    late = await open_append(peer)
    assert await late.head() == 503


async def test_session_over_http_1(http: httpx.AsyncClient) -> None:
    answer = await http.post(RECORDS, content=frames(batch("a"), batch("b")), headers={"content-type": "s2s/proto"})
    acks, terminal = acks_and_end(answer.content)
    assert (answer.status_code, len(acks), terminal) == (200, 2, None)


async def test_unary_appends_go_on_beside_a_failed_session(peer: H2Peer, http: httpx.AsyncClient) -> None:
    session = await open_append(peer)
    await session.send(frames(batch("x", match=7)))
    await session.rest()
    assert (await append(http, "y")).status_code == 200
