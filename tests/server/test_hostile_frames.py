"""Garbage on the record path: the error of the specification or a closed connection, and the server keeps serving."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.wire.compression import Compression, compress
from perdure.wire.s2s import encode_frame
from tests.server.h2_peer import connected
from tests.server.recording import RECORDS, STREAM, acks_and_end, batch, frames, open_append
from tests.server.running import BASIN, Running

GOOD = frames(batch("a", "b"))
CODES = {400: "bad_frame", 422: "invalid"}

hostile = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


def damaged() -> st.SearchStrategy[bytes]:
    """Frames that were cut, changed in a byte, given another length or flag, or are nothing but noise."""

    def change(at: int, value: int) -> bytes:
        data = bytearray(GOOD)
        data[at % len(data)] = value
        return bytes(data)

    return st.one_of(
        st.binary(max_size=200),
        st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]),
        st.builds(change, st.integers(0, 1000), st.integers(0, 255)),
        st.binary(max_size=100).map(encode_frame),
        st.builds(
            lambda size, flag, body: size.to_bytes(3, "big") + bytes([flag]) + body,
            st.integers(0, 2**24 - 1),
            st.integers(0, 255),
            st.binary(max_size=64),
        ),
    )


def check_session(answer: bytes, good: int) -> None:
    acks, terminal = acks_and_end(answer)
    assert len(acks) >= good
    if terminal is not None and terminal.status != 412:  # one changed byte can make a condition of a body
        assert msgspec.json.decode(terminal.body)["code"] == CODES[terminal.status]


@hostile
@given(damaged())
async def test_damaged_frames_over_http_2(server: Running, http: httpx.AsyncClient, garbage: bytes) -> None:
    async with connected(server.port) as peer:
        session = await open_append(peer)
        await session.send(GOOD + garbage, end=True)
        check_session(await session.rest(), 1)
        assert session.ended
        # The same connection, and the same stream of records, go on.
        again = await open_append(peer)
        await again.send(GOOD, end=True)
        acks, terminal = acks_and_end(await again.rest())
        assert (len(acks), terminal) == (1, None)


@hostile
@given(damaged())
async def test_damaged_frames_over_http_1(http: httpx.AsyncClient, garbage: bytes) -> None:
    answer = await http.post(RECORDS, content=GOOD + garbage, headers={"content-type": "s2s/proto"})
    assert answer.status_code == 200
    check_session(answer.content, 1)
    assert (await http.get(f"{RECORDS}/tail")).status_code == 200


@hostile
@given(
    st.binary(max_size=300), st.sampled_from(["application/protobuf", "application/json", "text/plain", "s2s/proto"])
)
async def test_noise_in_unary_bodies(http: httpx.AsyncClient, noise: bytes, media: str) -> None:
    answer = await http.post(RECORDS, content=noise, headers={"content-type": media})
    assert answer.status_code in (200, 400, 422)


@hostile
@given(st.binary(max_size=300), st.sampled_from(["gzip", "zstd"]))
async def test_noise_in_packed_bodies(http: httpx.AsyncClient, noise: bytes, coding: str) -> None:
    fields = {"content-type": "application/json", "content-encoding": coding}
    answer = await http.post(RECORDS, content=noise, headers=fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


@hostile
@given(st.text("abc=&%+,;0123456789_seqnumtail", max_size=40), st.sampled_from(["s2s/proto", "text/plain"]))
async def test_noise_in_queries(http: httpx.AsyncClient, query: str, media: str) -> None:
    answer = await http.get(f"{RECORDS}?wait=0&{query}", headers={"content-type": media})
    assert answer.status_code in (200, 400, 416, 422)


async def test_client_that_leaves_in_the_middle_of_a_frame(server: Running, http: httpx.AsyncClient) -> None:
    for cut in range(1, len(GOOD)):
        async with connected(server.port) as peer:
            session = await open_append(peer)
            await session.send(GOOD[:cut])
    assert (await http.get(f"{RECORDS}/tail")).json()["tail"]["seq_num"] == 0, "nothing of a part of a batch is applied"


async def test_frame_that_unfolds_without_end(server: Running, http: httpx.AsyncClient) -> None:
    bomb = bytes(64 * 1024 * 1024)
    for coding in (Compression.GZIP, Compression.ZSTD):
        packed = compress(bomb, coding)
        flag = {Compression.GZIP: 0x40, Compression.ZSTD: 0x20}[coding]
        content = (len(packed) + 1).to_bytes(3, "big") + bytes([flag]) + packed
        answer = await http.post(RECORDS, content=content, headers={"content-type": "s2s/proto"})
        acks, terminal = acks_and_end(answer.content)
        assert acks == []
        assert terminal is not None
        assert msgspec.json.decode(terminal.body)["code"] == "bad_frame"
