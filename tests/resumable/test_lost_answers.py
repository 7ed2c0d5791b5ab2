"""Chats over HTTP whose connection breaks between an append and its answer: no turn is lost or refused for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, AppendRecord, SeqNum, Stream
from perdure.client.retries import RetryPolicy
from perdure.model.records import SequencedRecord
from perdure.resumable.aisdk import AiSdkChat, create_resumable_chat
from perdure.resumable.doubt import acks_of_applied
from perdure.resumable.settings import ModeName
from perdure.store.sqlite import SqliteEngine
from tests.client.cutting_proxy import Fate, cutting
from tests.client.http_server import HOST, serving_engine
from tests.client.losing_proxy import LosingProxy, losing
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import BASIN, FINISH, START, TEXT_START, Chunk, Source, body_of, records_of, shown, text

MODES: tuple[ModeName, ...] = ("single-use", "shared", "session")
UNARY_APPEND = (b"POST", b"content-type\x14application/protobuf")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    engine = await SqliteEngine.open(":memory:")
    try:
        async with serving_engine(engine) as port:
            yield port
    finally:
        await engine.aclose()


@pytest.fixture
async def proxy(port: int) -> AsyncIterator[LosingProxy]:
    async with losing(port) as proxy:
        yield proxy


@pytest.fixture
async def direct(port: int, chat: AiSdkChat) -> AsyncIterator[Stream]:
    """The chat's stream without anything in between."""
    async with S2(endpoints=f"http://{HOST}:{port}") as s2:
        yield s2.basin(BASIN).stream("c")


@pytest.fixture(params=MODES)
async def chat(request: pytest.FixtureRequest, proxy: LosingProxy) -> AsyncIterator[AiSdkChat]:
    endpoints = f"http://{HOST}:{proxy.port}"
    async with create_resumable_chat(access_token="t", endpoints=endpoints, basin=BASIN, mode=request.param) as chat:
        assert not await chat.stop("c")  # the basin is there, and the stream
        yield chat


async def arrived(stream: Stream, wanted: str, *, times: int = 1) -> None:
    """Until the stream holds so many such records; see `shown`."""
    seen = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for record in stream.read_session(SeqNum(0), clamp=True):
            seen += shown([record]) == [wanted]
            if seen == times:
                return


def written(records: list[SequencedRecord]) -> list[str]:
    return [short for short in shown(records) if not short.startswith("trim")]


CHUNKS = [START, TEXT_START, text("one"), text("two"), FINISH]
FRAMES = 5


def data_frames(body: str) -> int:
    return sum(line.startswith("data: {") for line in body.splitlines())


async def test_a_claim_is_not_mistaken_for_somebody_elses(chat: AiSdkChat, proxy: LosingProxy, direct: Stream) -> None:
    proxy.lose_answer_to(*UNARY_APPEND)
    turn = asyncio.create_task(chat.make_resumable("c", lambda: CHUNKS))
    await arrived(direct, "fence session-")
    proxy.cut()
    response = await turn
    assert response.status == 200
    assert data_frames(await body_of(response)) == FRAMES
    await chat.drain()
    assert written(await records_of(direct))[-1] == "fence end-"


@pytest.mark.parametrize("chat", ["shared", "session"], indirect=True)
async def test_the_claim_of_a_later_turn_neither(chat: AiSdkChat, proxy: LosingProxy, direct: Stream) -> None:
    await body_of(await chat.make_resumable("c", lambda: CHUNKS))
    await chat.drain()
    before = (await direct.check_tail()).seq_num
    proxy.lose_answer_to(*UNARY_APPEND)
    turn = asyncio.create_task(chat.make_resumable("c", lambda: CHUNKS))
    async with direct.read_session(SeqNum(before), wait=30, count=1) as records:
        assert shown([record async for record in records]) == ["fence session-"]
    proxy.cut()
    response = await turn
    assert response.status == 200
    assert data_frames(await body_of(response)) == FRAMES


async def test_a_generation_goes_on_behind_what_was_applied(
    chat: AiSdkChat, proxy: LosingProxy, direct: Stream
) -> None:
    source = Source(*CHUNKS[:2])
    response = await chat.make_resumable("c", source)
    reading = asyncio.create_task(body_of(response))
    await arrived(direct, '{"type":"text-start","id":"t"}')
    proxy.lose_answer_to(b"")
    source.give(CHUNKS[2])
    await arrived(direct, '{"type":"text-delta","id":"t","delta":"one"}')
    source.give(*CHUNKS[3:])
    proxy.cut()
    source.end()
    assert data_frames(await reading) == FRAMES
    await chat.drain()
    log = written(await records_of(direct))
    assert log[-1] == "fence end-"
    if len(log) > 1:  # not trimmed
        assert len(log) == 1 + FRAMES + 1


async def test_an_end_whose_answer_is_lost_is_an_end(
    chat: AiSdkChat, proxy: LosingProxy, direct: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(*CHUNKS)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    reading = asyncio.create_task(body_of(response))
    await arrived(direct, '{"type":"finish"}')
    proxy.lose_answer_to(b"")
    source.end()
    await arrived(direct, "fence end-")
    proxy.cut()
    assert data_frames(await reading) == FRAMES
    await chat.drain()
    assert not [entry for entry in caplog.records if entry.levelname == "ERROR"]
    assert written(await records_of(direct)).count("fence end-") == 1


@pytest.mark.parametrize("chat", ["session"], indirect=True)
async def test_records_of_somebody_else_end_the_generation(chat: AiSdkChat, proxy: LosingProxy, direct: Stream) -> None:
    source = Source(*CHUNKS[:2])
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    reading = asyncio.create_task(body_of(response))
    await arrived(direct, '{"type":"text-start","id":"t"}')
    proxy.lose_answer_to(b"", forwards=False)
    source.give(CHUNKS[2])
    await proxy.caught.wait()
    await direct.append([AppendRecord("foreign"), AppendRecord("foreign")])
    proxy.cut()
    await source.closed.wait()
    assert '"type":"error"' in await reading
    await chat.drain()
    assert written(await records_of(direct))[-1] == "fence error-"


@given(sizes=st.lists(st.integers(1, 4), max_size=6), applied=st.integers(0, 6), trimmed=st.integers(0, 30))
def test_batches_are_found_again(sizes: list[int], applied: int, trimmed: int) -> None:
    batches = [[AppendRecord(f"{number}.{index}") for index in range(size)] for number, size in enumerate(sizes)]
    flat = [record for batch in batches[:applied] for record in batch]
    there = [SequencedRecord(10 + at, 7, record.body, record.headers) for at, record in enumerate(flat)]
    acks = acks_of_applied(10, batches, there[min(trimmed, max(0, len(there) - 1)) :])
    assert [ack.end.seq_num - ack.start.seq_num for ack in acks] == sizes[:applied]
    assert all(ack.end.timestamp == 7 for ack in acks)


def test_other_records_are_not_taken_for_the_batches() -> None:
    batches = [[AppendRecord("a"), AppendRecord("b")]]
    assert acks_of_applied(0, batches, [SequencedRecord(0, 1, b"a"), SequencedRecord(1, 1, b"x")]) == []
    assert acks_of_applied(0, batches, [SequencedRecord(0, 1, b"a")]) == []
    assert acks_of_applied(0, batches, []) == []


TURNS = 8
WORDS = 40
SEEDS = [*range(3), *[pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 60)]]


async def slowly(turn: int) -> AsyncIterator[Chunk]:
    """A source that gives the loop a turn now and then, so that its records go in many batches."""
    for word in range(WORDS):
        yield text(f"{turn}.{word} " + "." * 200)
        for _ in range(word % 5):
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", SEEDS)
async def test_turns_over_a_network_that_breaks_at_random_are_whole(port: int, seed: int) -> None:
    patient = RetryPolicy(max_attempts=50, min_delay_ms=1, max_delay_ms=20)
    async with (
        S2(endpoints=f"http://{HOST}:{port}") as undisturbed,
        cutting(port, seed, [*Fate], most_bytes=15_000) as proxy,
        S2(endpoints=f"http://{HOST}:{proxy.port}", retries=patient, request_timeout=0.5) as s2,
    ):
        proxy.mischief = False
        async with create_resumable_chat(s2=s2, basin=BASIN, mode="session") as chat:
            assert not await chat.stop("c")
            proxy.mischief = True
            turns = 0
            while turns < TURNS or not proxy.fates:
                response = await chat.make_resumable("c", lambda turn=turns: slowly(turn))
                assert response.status == 200, "nobody else wants the chat"
                await response.aclose()
                await chat.drain(timeout=50)
                turns += 1
            log = written(await records_of(undisturbed.basin(BASIN).stream("c")))
    words = [re.findall(r"\d+\.\d+ ", short) for short in log if not short.startswith("fence")]
    assert words == [[f"{turn}.{word} "] for turn in range(turns) for word in range(WORDS)]
    assert [short for short in log if short.startswith("fence")] == ["fence session-", "fence end-"] * turns
