"""Readers in the process that generates: they hear from the writer, and from the store only what they missed."""

import asyncio
from collections.abc import Sequence

from perdure import Basin, Stream
from perdure.model.batches import Part, ReadBatch
from perdure.model.records import SequencedRecord
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.tap import MAX_WAITING_BYTES, Tap
from tests.resumable.chats import START, Reading, Source, body_of, fence, frames, text, until
from tests.resumable.spy_transport import SpyTransport


def batch_at(seq_num: int, body: bytes = b"x") -> ReadBatch:
    return ReadBatch((SequencedRecord(seq_num, 0, body),))


def seq_nums(parts: Sequence[Part] | None) -> list[int]:
    assert parts is not None
    return [record.seq_num for part in parts if isinstance(part, ReadBatch) for record in part.records]


async def test_what_waits_is_given_at_once_and_before_the_end() -> None:
    tap = Tap()
    tap.put(batch_at(0), 9)
    tap.put(batch_at(1), 9)
    assert seq_nums(await tap.next_parts()) == [0, 1]
    tap.put(batch_at(2), 9)
    tap.close()
    tap.put(batch_at(3), 9)
    assert seq_nums(await tap.next_parts()) == [2]
    assert await tap.next_parts() is None


async def test_a_tap_whose_reader_is_too_slow_gives_what_it_has_and_ends() -> None:
    tap = Tap()
    tap.put(batch_at(0), MAX_WAITING_BYTES)
    assert tap.holds_all
    tap.put(batch_at(1), 1)
    assert not tap.holds_all
    tap.put(batch_at(2), 1)
    assert seq_nums(await tap.next_parts()) == [0, 1]
    assert await tap.next_parts() is None


async def test_a_wait_ends_at_its_deadline_and_an_earlier_alarm_is_no_end() -> None:
    tap, loop = Tap(), asyncio.get_running_loop()
    assert seq_nums(await tap.next_parts(loop.time())) == []
    deadline = loop.time() + 0.05
    assert seq_nums(await tap.next_parts(deadline)) == []
    assert loop.time() >= deadline - 0.01
    loop.call_soon(tap.put, batch_at(0), 9)
    assert seq_nums(await tap.next_parts(loop.time() + 0.05)) == [
        0
    ]  # its alarm is still set, and too early for the next
    later = loop.time() + 0.2
    assert seq_nums(await tap.next_parts(later)) == []
    assert loop.time() >= later - 0.01
    await tap.aclose()


async def test_who_waits_hears_of_the_end() -> None:
    gone: list[Tap] = []
    tap = Tap(gone.append)
    waiting = asyncio.create_task(tap.next_parts(asyncio.get_running_loop().time() + 60))
    await asyncio.sleep(0)
    await tap.aclose()
    assert await waiting is None
    assert gone == [tap]


async def test_a_tab_that_has_caught_up_reads_no_more_from_the_store(chat: AiSdkChat, spy: SpyTransport) -> None:
    source = Source(START, text("a"))
    asked = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await asked.until('"a"')
    tab = Reading(await chat.replay("c", active_only=True))
    await tab.until('"a"')
    rest = asyncio.create_task(tab.rest())
    await until(lambda: spy.open_reads == 0)
    source.give(text("b"))
    source.end()
    assert (await asked.rest()).count('"b"') == (await rest).count('"b"') == 1
    await asked.close()


async def test_a_tab_that_is_far_behind_misses_nothing(chat: AiSdkChat) -> None:
    source = Source(START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    tab = Reading(await chat.replay("c", active_only=True))
    await tab.until("start")
    large = "x" * (MAX_WAITING_BYTES // 3)
    for number in range(10):
        source.give(text(f"{number} {large}"))
    source.end()
    await source.closed.wait()
    whole = frames(await body_of(await chat.replay("c")))
    seen = frames(await tab.rest())
    assert seen == whole
    assert len(seen) == 11


async def test_a_tab_sees_that_somebody_else_has_ended_the_generation(chat: AiSdkChat, basin: Basin) -> None:
    stream: Stream = basin.stream("c")
    source = Source(START, text("a"))
    await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    tab = Reading(await chat.replay("c", active_only=True))
    await tab.until('"a"')
    rest = asyncio.create_task(tab.rest())
    await stream.append([fence("end-AAAAAAAAAAA=")])
    source.give(text("b"))
    assert '"b"' not in await rest
    await source.closed.wait()
