"""Watching a chat: what an open tab is told, and how little that costs."""

import asyncio
import json
from typing import Any

import pytest

from perdure import S2, AppendRecord, Basin, Stream
from perdure.errors import StorageFailed
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.watch import MAX_WAITING_EVENTS
from tests.resumable.chats import ANSWER, BASIN, HOLDER, Reading, Source, body_of, chat_on, fence, until, write
from tests.resumable.spy_transport import SpyTransport

PREFIX = "event: generation\ndata: "


def event(name: str, active: bool, start: int | None, next_seq_num: int) -> str:
    data = {"event": name, "active": active, "generationStart": start, "nextSeqNum": next_seq_num}
    return f"{PREFIX}{json.dumps(data, separators=(',', ':'))}\n\n"


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.stream("c")


async def test_a_watcher_is_told_the_state_and_then_every_start_and_end(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, *["x"] * 8, fence("end-AAAA"))
    response = await chat.watch("c")
    assert response.status == 200
    watching = Reading(response)
    assert await watching.until("state") == event("state", False, None, 9)
    await write(stream, fence(HOLDER), "a", "b", "c", "d", fence("end-stop-AAAA"))
    await write(stream, fence(HOLDER), "a", fence("error-AAAA"), fence(HOLDER), fence("end-AAAA"))
    assert await watching.until('"nextSeqNum":20') == "".join(
        [
            event("state", False, None, 9),
            event("start", True, 9, 10),
            event("stop", False, 9, 15),
            event("start", True, 15, 16),
            event("error", False, 15, 18),
            event("start", True, 18, 19),
            event("end", False, 18, 20),
        ]
    )
    await watching.close()


async def test_a_watcher_of_a_busy_chat_is_told_since_when(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, "x", fence("end-AAAA"), fence(HOLDER), "a")
    watching = Reading(await chat.watch("c"))
    assert await watching.until("state") == event("state", True, 2, 4)
    await watching.close()


async def test_watchers_see_the_turns_of_this_object(chat: AiSdkChat) -> None:
    watching = Reading(await chat.watch("c"))
    await watching.until("state")
    await body_of(await chat.make_resumable("c", ANSWER))
    assert "".join(await watching.until('"end"')).count(PREFIX) == 3
    await watching.close()


async def test_watchers_of_a_chat_share_one_read_session(chat: AiSdkChat, stream: Stream, spy: SpyTransport) -> None:
    await write(stream, fence("end-AAAA"))
    watchers = [Reading(await chat.watch("c")) for _ in range(20)]
    for watcher in watchers:
        assert await watcher.until("state") == event("state", False, None, 1)
    await until(lambda: spy.open_reads == 1)
    await write(stream, fence(HOLDER))
    for watcher in watchers:
        await watcher.until('"start"')
    late = Reading(await chat.watch("c"))
    assert await late.until("state") == event("state", True, 1, 2)
    assert spy.opened_reads == 1
    for watcher in [*watchers, late]:
        await watcher.close()
    assert spy.open_reads == 0


async def test_a_watch_that_is_left_and_entered_again_goes_on(chat: AiSdkChat, stream: Stream) -> None:
    for _ in range(5):
        first, second = Reading(await chat.watch("c")), Reading(await chat.watch("c"))
        await first.until("state")
        closing = asyncio.gather(first.close(), second.close())
        third = Reading(await chat.watch("c"))
        await closing
        await third.until("state")
        await write(stream, fence(HOLDER), fence("end-AAAA"))
        await third.until('"end"')
        await third.close()


async def test_a_slow_watcher_is_told_the_state_instead(chat: AiSdkChat, stream: Stream) -> None:
    slow, quick = Reading(await chat.watch("c")), Reading(await chat.watch("c"))
    await slow.until("state")
    turns = MAX_WAITING_EVENTS
    for _ in range(turns):
        await write(stream, fence(HOLDER), fence("end-AAAA"))
    await quick.until(f'"nextSeqNum":{2 * turns}}}')
    told = (await slow.until(f'"nextSeqNum":{2 * turns}}}')).count(PREFIX)
    assert told <= 1 + MAX_WAITING_EVENTS
    await slow.close()
    await quick.close()


async def test_silences_of_a_watch_are_bridged(s2: S2) -> None:
    chat = await chat_on(s2, keep_alive_ms=20)
    watching = Reading(await chat.watch("c"))
    await watching.until(": keep-alive\n\n: keep-alive\n\n")
    await watching.close()
    await chat.aclose()


async def test_a_watch_of_a_stream_that_does_not_exist_waits_for_it(chat: AiSdkChat, s2: S2) -> None:
    await s2.basins.reconfigure(BASIN, create_stream_on_append=False, create_stream_on_read=False)
    watching = Reading(await chat.watch("c"))
    assert await watching.until("state") == event("state", False, None, 0)
    await write(await s2.basin(BASIN).streams.create("c"), fence(HOLDER))
    await watching.until('"active":true')
    await watching.close()


async def test_a_watch_survives_a_store_that_fails_for_a_while(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport
) -> None:
    failures = 0

    def fail(name: str, request: object) -> None:
        nonlocal failures
        failures += 1
        if failures == 2:
            spy.before_read = None
        raise StorageFailed("the disk hiccuped")

    spy.before_read = fail
    watching = Reading(await chat.watch("c"))
    await watching.until("state")
    await write(stream, fence(HOLDER))
    await watching.until('"start"')
    await watching.close()


async def test_closing_the_chat_ends_its_watches(chat: AiSdkChat) -> None:
    watching = Reading(await chat.watch("c"))
    await watching.until("state")
    rest = asyncio.create_task(watching.rest())
    await asyncio.sleep(0)
    await chat.aclose()
    assert PREFIX in await rest


async def test_shared_chats_can_be_watched_and_single_use_ones_cannot(s2: S2) -> None:
    shared: Any = await chat_on(s2, mode="shared")
    watching = Reading(await shared.watch("c"))
    await watching.until("state")
    await body_of(await shared.make_resumable("c", ANSWER))
    await watching.until('"end"')
    source = Source()
    posted = Reading(await shared.make_resumable("c", source, wait_until=shared.background))
    source.end()
    await posted.rest()
    await watching.until('"end"')
    await watching.close()
    await shared.aclose()
    single = await chat_on(s2, mode="single-use")
    with pytest.raises(ValueError, match="single-use"):
        await single.watch("c")
    await single.aclose()


async def test_renewals_and_data_are_no_events(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence(HOLDER))
    watching = Reading(await chat.watch("c"))
    await watching.until("state")
    await write(stream, "a", AppendRecord.trim(0), "b", fence("end-AAAA"))
    assert (await watching.until('"end"')).count(PREFIX) == 2
    await watching.close()
