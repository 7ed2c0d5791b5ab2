"""Leases as time passes: a writer that lives keeps its generation, however long its source says nothing."""

import asyncio

import pytest

from perdure import S2
from perdure.model.batches import AppendInput
from perdure.model.records import CommandKind
from perdure.resumable import create_resumable_stream_context
from perdure.resumable.settings import Surroundings
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import (
    ANSWER,
    BASIN,
    CREATE,
    FINISH,
    START,
    NewChat,
    Reading,
    Source,
    frames,
    records_of,
    shown,
    text,
)
from tests.resumable.scripts import stored
from tests.resumable.spy_transport import SpyTransport
from tests.resumable.texts import Words, text_of, until_text

pytestmark = pytest.mark.jumping

LEASE_MS = 3_000


@pytest.fixture(params=CREATE)
def adapter(request: pytest.FixtureRequest) -> str:
    """Everything here holds for every adapter."""
    name: str = request.param
    return name


async def test_a_writer_looks_at_its_stream_once_for_all_the_pauses_of_a_slow_source(
    spy: SpyTransport, new_chat: NewChat
) -> None:
    """A renewal tells of a pause that was longer than what makes a writer look."""
    renewed = asyncio.Event()

    def see(_: str, batch: AppendInput) -> None:
        if batch.records[0].command is CommandKind.TRIM:
            renewed.set()

    spy.before_append = see
    chat = await new_chat(session_lease_ms=LEASE_MS)
    source = Source(START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    opened: list[int] = []
    for number in range(3):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await renewed.wait()
        renewed.clear()
        opened.append(spy.opened_reads)
        source.give(text(f"chunk {number}"))
    source.end()
    await chat.aclose()
    assert opened[0] > 0
    assert opened == [opened[0]] * 3


async def test_a_silent_source_keeps_its_generation(
    s2: S2, caplog: pytest.LogCaptureFixture, new_chat: NewChat
) -> None:
    chat, other = await new_chat(session_lease_ms=LEASE_MS), await new_chat(session_lease_ms=LEASE_MS)
    stream = s2.basin(BASIN).stream("c")
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    replaying = Reading(await other.replay("c", active_only=True))
    await replaying.until("start")
    rest = asyncio.create_task(replaying.rest())
    async with asyncio.timeout(PATIENCE_SECONDS), stream.read_session() as renewals:
        count = 0
        async for record in renewals:
            assert record.command is CommandKind.TRIM
            count += 1
            if count >= 13:  # more than four leases
                break
    assert (await other.make_resumable("c", ANSWER)).status == 409
    source.give(text("after the pause"), FINISH)
    source.end()
    expected = [data for _, data in frames(await reading.rest())]
    assert expected == [stored(chunk) for chunk in (START, text("after the pause"), FINISH)]
    assert frames(await rest) == frames(reading.text)
    kept = [short for short in shown(await records_of(stream)) if short != "trim 0"]
    assert kept == ["fence session-", *expected, "fence end-"]
    await chat.aclose()
    await other.aclose()


async def test_renewals_leave_gaps_in_the_ids_and_none_in_the_body(s2: S2, new_chat: NewChat) -> None:
    chat = await new_chat(session_lease_ms=LEASE_MS)
    stream = s2.basin(BASIN).stream("c")
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await until_records(s2, 4)
    source.give(FINISH)
    source.end()
    body = frames(await reading.rest())
    data = [(record.seq_num + 1, record.text) for record in await records_of(stream) if record.command is None]
    assert body == data
    assert data[1][0] > 4
    await chat.aclose()


async def until_records(s2: S2, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), s2.basin(BASIN).stream("c").read_session() as session:
        async for record in session:
            if record.seq_num >= count:
                return


async def test_a_text_stream_keeps_its_lease_while_its_source_is_silent(s2: S2, surroundings: Surroundings) -> None:
    async with create_resumable_stream_context(
        s2, basin=BASIN, lease_ms=LEASE_MS, surroundings=surroundings
    ) as context:
        source = Words("a")
        started, joined = await context.resumable_stream("a", source), await context.resume_stream("a")
        await until_text(joined, "a")
        waiting = asyncio.create_task(text_of(joined))
        await asyncio.wait((waiting,), timeout=5 * LEASE_MS / 1000)
        source.give("b")
        source.end()
        assert await waiting == "b"
        assert await text_of(started) == "ab"
