"""Leases as time passes: those who wait for a writer that is gone end its generation."""

import asyncio

import pytest

from perdure import S2, AppendRecord, Basin, Stream
from perdure.errors import StorageFailed
from perdure.model.batches import AppendInput
from perdure.model.records import SequencedRecord
from perdure.resumable.lease import silence_ms
from perdure.resumable.settings import ModeName, Surroundings
from perdure.resumable.tanstack_ai import TanstackChat
from tests.jumping_loop import the_loop
from tests.resumable.chats import (
    ANSWER,
    BASIN,
    CREATE,
    HOLDER,
    START,
    Chat,
    NewChat,
    Reading,
    Source,
    fence,
    frames,
    leased,
    records_of,
    shown,
    until,
    write,
)
from tests.resumable.scripts import stored
from tests.resumable.spy_transport import SpyTransport

pytestmark = pytest.mark.jumping

LEASE_MS = 3_000


@pytest.fixture(params=CREATE)
def adapter(request: pytest.FixtureRequest) -> str:
    """Everything here holds for every adapter."""
    name: str = request.param
    return name


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.stream("c")


@pytest.mark.parametrize("mode", ["single-use", "shared", "session"])
async def test_a_reader_that_waits_for_a_dead_writer_gets_the_error_and_the_end(
    s2: S2, mode: ModeName, new_chat: NewChat, error_body: str
) -> None:
    chat = await new_chat(mode=mode)
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence(leased(LEASE_MS)), "a")
    started_ms = the_loop().now_ms()
    reading = Reading(await chat.replay("c", active_only=mode == "session"))
    assert [data for _, data in frames(await reading.rest())] == ["a", error_body]
    assert LEASE_MS <= the_loop().now_ms() - started_ms <= silence_ms(LEASE_MS, 1.0) + 1
    assert shown(await records_of(stream))[-2:] == [error_body, "fence error-"]
    await chat.aclose()


async def test_many_readers_end_a_dead_generation_once(s2: S2, new_chat: NewChat, error_body: str) -> None:
    chats = [await new_chat() for _ in range(3)]
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence(leased(LEASE_MS)), "a")
    readings = [Reading(await chats[n % 3].replay("c", active_only=True)) for n in range(50)]
    bodies = await asyncio.gather(*[reading.rest() for reading in readings])
    assert {tuple(data for _, data in frames(body)) for body in bodies} == {("a", error_body)}
    assert shown(await records_of(stream)) == ["fence session-", "a", error_body, "fence error-"]
    for chat in chats:
        await chat.aclose()


async def test_readers_and_claims_at_the_deadline_end_a_dead_generation_once(
    s2: S2, new_chat: NewChat, error_body: str
) -> None:
    at_the_deadline = Surroundings(now_ms=lambda: the_loop().now_ms(), jitter=lambda: 0.0)
    chats = [await new_chat(surroundings=at_the_deadline) for _ in range(3)]
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence(leased(LEASE_MS)), "a")
    endless = isinstance(chats[0], TanstackChat)  # its replays without a cursor, that is
    readings = [Reading(await chats[n % 3].replay("c", active_only=endless or n % 2 == 0)) for n in range(50)]
    reads = [asyncio.create_task(reading.rest()) for reading in readings]
    source = Source(START)
    await asyncio.sleep(LEASE_MS / 1000)
    claims = [chat.make_resumable("c", source, delivery="replay", wait_until=chat.background) for chat in chats[:2]]
    statuses = [response.status for response in await asyncio.gather(*claims)]
    assert sorted(statuses) == [202, 409]
    assert source.calls <= 1
    for body in await asyncio.gather(*reads):
        assert [data for _, data in frames(body)] == ["a", error_body]
    source.end()
    await chats[statuses.index(202)].drain()
    written = [short for short in shown(await records_of(stream)) if short != "trim 0"]
    ending = ["fence session-", "a", error_body, "fence error-", "fence session-", stored(START), "fence end-"]
    assert written == ending
    for chat in chats:
        await chat.aclose()


async def test_a_writer_that_comes_back_at_the_deadline_wins_against_its_readers(
    s2: S2, spy: SpyTransport, new_chat: NewChat, error_body: str
) -> None:
    chat = await new_chat()
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence(leased(LEASE_MS)), "a")

    async def come_back(batch: AppendInput) -> None:
        spy.meanwhile = None
        assert shown_batch(batch) == [error_body, "fence error-"]
        await stream.append([AppendRecord("late")], fencing_token=leased(LEASE_MS))

    spy.meanwhile = come_back
    reading = Reading(await chat.replay("c", active_only=True))
    assert frames(await reading.until("late")) == [(2, "a"), (3, "late")]
    assert shown(await records_of(stream)) == ["fence session-", "a", "late"]
    # From then on it is silent again, and its lease runs anew.
    assert [data for _, data in frames(await reading.rest())] == ["a", "late", error_body]
    await chat.aclose()


def shown_batch(batch: AppendInput) -> list[str]:
    return shown(SequencedRecord(number, 0, each.body, each.headers) for number, each in enumerate(batch.records))


async def test_a_live_replay_looks_after_a_silence_and_ends_a_dead_generation(s2: S2, new_chat: NewChat) -> None:
    chat = await new_chat(session_lease_ms=LEASE_MS)
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence(leased(LEASE_MS)), "a")
    live = Reading(await chat.replay("c", live=True, from_seq_num=2))
    await live.until("error")
    await live.close()
    await chat.aclose()


async def test_a_watcher_hears_that_a_dead_generation_was_ended(chat: Chat, stream: Stream) -> None:
    await write(stream, fence(leased(LEASE_MS)), "a")
    watching = Reading(await chat.watch("c"))
    assert '"event":"state","active":true,"generationStart":0,"nextSeqNum":2' in await watching.until("state")
    await watching.until('"event":"error","active":false,"generationStart":0,"nextSeqNum":4')
    await watching.close()


async def test_a_generation_without_a_lease_is_left_alone(s2: S2, spy: SpyTransport, new_chat: NewChat) -> None:
    chat = await new_chat(session_lease_ms=LEASE_MS)
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence(HOLDER), "a")
    live = await chat.replay("c", live=True, from_seq_num=1)
    readings = [Reading(await chat.replay("c", active_only=True)), Reading(live)]
    for reading in readings:
        await reading.until("data: a")
    rests = [asyncio.create_task(reading.rest()) for reading in readings]
    spy.reads.clear()
    await until(lambda: len(spy.reads) >= 1)  # the live one, which did not know, has looked
    assert (await chat.make_resumable("c", ANSWER)).status == 409
    assert shown(await records_of(stream)) == ["fence session-", "a"]
    await write(stream, fence("end-AAAA"))
    assert frames(await rests[0]) == [(2, "a")]
    rests[1].cancel()
    await asyncio.wait(rests)
    await chat.aclose()


async def test_a_reader_that_cannot_look_looks_again(
    s2: S2, spy: SpyTransport, new_chat: NewChat, error_body: str
) -> None:
    chat = await new_chat()
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence(leased(LEASE_MS)), "a")
    reading = Reading(await chat.replay("c", active_only=True))
    await reading.until("data: a")
    failures = 0

    def fail(name: str, request: object) -> None:
        nonlocal failures
        failures += 1
        if failures == 2:
            spy.before_read = None
        raise StorageFailed("the disk hiccuped")

    spy.before_read = fail
    assert [data for _, data in frames(await reading.rest())] == ["a", error_body]
    await chat.aclose()


async def test_an_object_without_a_lease_honours_those_that_it_meets(
    s2: S2, new_chat: NewChat, error_body: str
) -> None:
    chat = await new_chat(session_lease_ms=None)
    await write(s2.basin(BASIN).stream("c"), fence(leased(LEASE_MS)), "a")
    reading = Reading(await chat.replay("c", active_only=True))
    assert [data for _, data in frames(await reading.rest())] == ["a", error_body]
    await chat.aclose()
