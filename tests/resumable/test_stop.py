"""Stopping a generation: here, in another process, or where its writer is long gone."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import pytest

from perdure import S2, AppendRecord, Basin, Stream
from perdure.errors import StorageFailed
from perdure.model.batches import AppendInput
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.settings import ModeName
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import (
    ANSWER,
    BASIN,
    HOLDER,
    START,
    TEXT_END,
    TEXT_START,
    Chunk,
    Reading,
    Source,
    body_of,
    chat_on,
    fence,
    frames,
    leased,
    records_of,
    shown,
    text,
    write,
)
from tests.resumable.spy_transport import SpyTransport

MODES: tuple[ModeName, ...] = ("single-use", "shared", "session")
ABORT = {"type": "abort"}


def compact(*chunks: Chunk) -> list[str]:
    return [json.dumps(chunk, separators=(",", ":")) for chunk in chunks]


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.stream("c")


# --- a run of this object ---


@pytest.mark.parametrize("mode", MODES)
async def test_a_stop_ends_the_run_and_keeps_what_was_generated(s2: S2, mode: ModeName) -> None:
    chat = await chat_on(s2, mode=mode)
    source = Source(START, TEXT_START, text("Hel"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("Hel")
    assert await chat.stop("c")
    assert source.closed.is_set()
    expected = compact(START, TEXT_START, text("Hel"), TEXT_END, ABORT)
    assert [data for _, data in frames(await reading.rest())] == expected
    stored = shown(await records_of(s2.basin(BASIN).stream("c")))
    if mode == "single-use":
        assert stored == ["fence end-stop-"]
    else:
        assert stored == ["fence session-", *expected, "fence end-stop-"]
    assert not await chat.stop("c")
    await chat.aclose()


async def test_two_stops_at_once_both_ended_it(chat: AiSdkChat, stream: Stream) -> None:
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    await source.given.wait()
    assert list(await asyncio.gather(chat.stop("c"), chat.stop("c"))) == [True, True]
    assert shown(await records_of(stream)).count("fence end-stop-") == 1
    await response.aclose()


async def test_a_stop_before_the_source_was_asked_for_anything_asks_it_for_nothing(
    chat: AiSdkChat, stream: Stream
) -> None:
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    assert await chat.stop("c")
    assert shown(await records_of(stream))[-2:] == [*compact(ABORT), "fence end-stop-"]
    await response.aclose()


async def test_an_error_of_the_source_after_the_stop_counts_as_the_stop(chat: AiSdkChat, stream: Stream) -> None:
    waiting = asyncio.Event()

    async def source() -> AsyncIterator[Chunk]:
        yield START
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("the connection to the model was cut")

    response = await chat.make_resumable("c", source, wait_until=chat.background)
    await waiting.wait()
    assert await chat.stop("c")
    assert shown(await records_of(stream)) == ["fence session-", *compact(START, ABORT), "fence end-stop-"]
    await response.aclose()


async def test_the_next_turn_works_after_a_stop(chat: AiSdkChat) -> None:
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    await source.given.wait()
    await chat.stop("c")
    await response.aclose()
    assert len(frames(await body_of(await chat.make_resumable("c", ANSWER, wait_until=chat.background)))) == len(ANSWER)


async def test_a_source_that_holds_on_to_its_request_does_not_hold_up_a_stop(
    chat: AiSdkChat, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.resumable.chat.STOP_GRACE_SECONDS", 0.05)
    waiting, let_go = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[Chunk]:
        yield START
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    response = await chat.make_resumable("c", source, wait_until=chat.background)
    await waiting.wait()
    assert await chat.stop("c")
    assert shown(await records_of(stream)) == ["fence session-", *compact(START, ABORT), "fence end-stop-"]
    let_go.set()
    await chat.drain()
    assert shown(await records_of(stream))[-1] == "fence end-stop-"
    await response.aclose()


# --- a run elsewhere ---


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_of_another_object_is_stopped_although_it_is_silent(s2: S2, mode: ModeName) -> None:
    # Without a lease, so that it does not find out by renewing it.
    chat, other = [await chat_on(s2, mode=mode, session_lease_ms=None) for _ in range(2)]
    stream = s2.basin(BASIN).stream("c")
    source = Source(START, TEXT_START, text("Hel"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("Hel")
    assert await other.stop("c")
    async with asyncio.timeout(PATIENCE_SECONDS):  # its source says nothing more, so no append of its own can tell
        await source.closed.wait()
    expected = compact(START, TEXT_START, text("Hel"), TEXT_END, ABORT)
    assert [data for _, data in frames(await reading.rest())] == expected
    assert shown(await records_of(stream)) == ["fence session-", *expected, "fence end-stop-"]
    assert not await other.stop("c")
    assert not await chat.stop("c")
    await chat.aclose()
    await other.aclose()


async def test_open_parts_are_closed_with_the_guard_of_the_tail(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), *compact(START, TEXT_START, text("a")))
    assert await chat.stop("c")
    (_, batch) = spy.appends[-1]
    assert (batch.fencing_token, batch.match_seq_num) == (HOLDER, 4)
    assert shown(await records_of(stream))[4:] == [*compact(TEXT_END, ABORT), "fence end-stop-"]


async def test_a_part_that_ends_meanwhile_is_not_ended_twice(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), *compact(START, TEXT_START, text("a")))

    async def go_on(batch: AppendInput) -> None:
        spy.meanwhile = None
        await stream.append([AppendRecord(compact(TEXT_END)[0])], fencing_token=HOLDER)

    spy.meanwhile = go_on
    assert await chat.stop("c")
    assert shown(await records_of(stream))[4:] == [*compact(TEXT_END, ABORT), "fence end-stop-"]


async def test_a_generation_that_ends_by_itself_meanwhile_was_not_stopped(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), *compact(START))

    async def end(batch: AppendInput) -> None:
        spy.meanwhile = None
        await stream.append([fence("end-AAAA"), fence("session-newer")], fencing_token=HOLDER)

    spy.meanwhile = end
    assert not await chat.stop("c")
    assert shown(await records_of(stream))[-1] == "fence session-"  # the newer generation goes on


async def test_after_many_lost_races_the_stop_insists(chat: AiSdkChat, stream: Stream, spy: SpyTransport) -> None:
    await write(stream, fence(HOLDER), *compact(START, TEXT_START))
    races = 0

    async def go_on(batch: AppendInput) -> None:
        nonlocal races
        if batch.fencing_token == HOLDER and batch.records[-1].body.startswith(b"end-stop-"):
            races += 1
            await stream.append([AppendRecord(compact(text(str(races)))[0])])

    spy.meanwhile = go_on
    assert await chat.stop("c")
    assert races == 21
    assert shown(await records_of(stream))[-2:] == [*compact(ABORT), "fence end-stop-"]
    assert compact(TEXT_END)[0] not in shown(await records_of(stream))


@pytest.mark.parametrize("retried", [False, True])
async def test_a_stop_whose_answer_got_lost_is_a_stop(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport, retried: bool
) -> None:
    await write(stream, fence(HOLDER), *compact(START))
    spy.lose_acks, spy.retry_lost = 1, retried
    assert await chat.stop("c")
    assert shown(await records_of(stream)).count("fence end-stop-") == 1


async def test_a_stop_that_the_store_refuses_says_so(chat: AiSdkChat, stream: Stream, spy: SpyTransport) -> None:
    await write(stream, fence(HOLDER), *compact(START))

    def fail(name: str, batch: AppendInput) -> None:
        raise StorageFailed("the disk is gone")

    spy.before_append = fail
    with pytest.raises(StorageFailed):
        await chat.stop("c")


@pytest.mark.parametrize("token", [HOLDER, leased(1000), "session-abcde"])
async def test_a_stop_recovers_a_chat_whose_writer_is_gone(chat: AiSdkChat, stream: Stream, token: str) -> None:
    await write(stream, fence(token), *compact(START))
    assert await chat.stop("c")
    response = await chat.make_resumable("c", ANSWER, wait_until=chat.background)
    assert response.status == 200
    await response.aclose()


async def test_nothing_is_stopped_where_nothing_is_active(chat: AiSdkChat, stream: Stream) -> None:
    assert not await chat.stop("c")
    await write(stream, fence(HOLDER), "a", fence("end-AAAA"))
    assert not await chat.stop("c")
    assert len(await records_of(stream)) == 3


# --- force ---


async def test_a_forced_stop_asks_no_local_source_and_stores_what_it_is_given(chat: AiSdkChat, stream: Stream) -> None:
    source = Source(START, TEXT_START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("text-start")
    assert await chat.force_stop("c", {"type": "error", "errorText": "An operator ended this."})
    assert json.loads(frames(await reading.rest())[-1][1])["errorText"] == "An operator ended this."
    async with asyncio.timeout(PATIENCE_SECONDS):
        await source.closed.wait()
    await chat.drain()
    assert shown(await records_of(stream))[-1] == "fence end-stop-"


async def test_a_forced_stop_without_a_body_closes_what_is_open(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence(HOLDER), *compact(START, TEXT_START))
    assert await chat.force_stop("c")
    assert shown(await records_of(stream))[-3:] == [*compact(TEXT_END, ABORT), "fence end-stop-"]


async def test_a_stop_races_a_writer_and_the_log_stays_sound(s2: S2) -> None:
    """Whenever the stop comes, the log holds each end once, and one terminal fence, at its end."""
    chat, other = await chat_on(s2), await chat_on(s2)
    for number in range(8):
        name = f"race-{number}"

        async def source() -> AsyncIterator[Chunk]:
            yield START
            for part in itertools.count():
                yield {"type": "text-start", "id": str(part)}
                yield text("x", str(part))
                await asyncio.sleep(0.001)
                yield {"type": "text-end", "id": str(part)}

        reading = Reading(await chat.make_resumable(name, source, wait_until=chat.background))
        await reading.until(f'"id":"{number}"')
        assert await other.stop(name)
        await reading.rest()
        await chat.drain()
        records = shown(await records_of(s2.basin(BASIN).stream(name)))
        assert records[-2:] == [*compact(ABORT), "fence end-stop-"]
        kinds = [json.loads(record) for record in records[1:-1]]
        open_parts: set[str] = set()
        for chunk in kinds:
            match chunk["type"]:
                case "text-start":
                    open_parts.add(chunk["id"])
                case "text-delta":
                    assert chunk["id"] in open_parts
                case "text-end":
                    open_parts.remove(chunk["id"])
        assert len(open_parts) <= 1  # one, if the stop lost so many races that it insisted
    await chat.aclose()
    await other.aclose()
