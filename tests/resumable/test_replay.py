"""Replays: which records, from where, to what end, with which status; and that nothing is lost in silence."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, AppendRecord, Basin, Stream
from perdure.errors import SessionClosed, StorageFailed
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.cursors import MAX_CURSOR
from perdure.resumable.following import EndAt, RecordsLost
from perdure.resumable.replay import live_replay, options_of, replay
from perdure.resumable.responses import ChatResponse
from perdure.resumable.settings import Mode
from perdure.resumable.tail_search import StreamHead
from tests.resumable.chats import (
    ANSWER,
    BASIN,
    HOLDER,
    START,
    TEXT_START,
    Reading,
    Source,
    body_of,
    chat_on,
    fence,
    frames,
    text,
    until,
    user,
    write,
)
from tests.resumable.spy_transport import SpyTransport


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.stream("c")


async def replayed(chat: AiSdkChat, **options: Any) -> tuple[int, list[tuple[int | None, str]]]:
    response = await chat.replay("c", **options)
    return response.status, [] if response.status == 204 else frames(await body_of(response))


# --- the frames and the cursor ---


async def test_a_frame_carries_the_stored_body_and_the_number_after_it(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("holder"), "first", "second")
    response = await chat.replay("c", from_seq_num=0)
    reading = Reading(response)
    assert await reading.until("second") == "id: 2\ndata: first\n\nid: 3\ndata: second\n\n"
    await reading.close()


async def test_a_cursor_is_the_first_record_that_is_sent(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("holder"), "first", "second", fence("end-AAAA"))
    assert await replayed(chat, from_seq_num=2) == (200, [(3, "second")])


@pytest.mark.parametrize("mode", ["single-use", "shared"])
async def test_a_cursor_counts_in_the_other_modes_too_but_not_below_the_generation(s2: S2, mode: Any) -> None:
    chat = await chat_on(s2, mode=mode)
    await write(s2.basin(BASIN).stream("c"), "old", fence("holder"), "first", "second")
    for cursor, expected in ((3, "id: 4\ndata: second\n\n"), (0, "id: 3\ndata: first\n\nid: 4\ndata: second\n\n")):
        reading = Reading(await chat.replay("c", from_seq_num=cursor))
        assert await reading.until("second") == expected
        await reading.close()


@pytest.mark.parametrize("bad", [-1, "3", 1.5])
async def test_a_cursor_that_is_no_cursor_is_refused(chat: AiSdkChat, bad: Any) -> None:
    with pytest.raises(ValueError, match="from_seq_num"):
        await chat.replay("c", from_seq_num=bad)


async def test_empty_records_trims_and_fences_are_no_frames(chat: AiSdkChat, stream: Stream) -> None:
    await write(
        stream, fence("h"), "a", "", AppendRecord.trim(0), "b", fence("end-AAAA"), fence("i"), "c", fence("end-B")
    )
    assert await replayed(chat) == (200, [(2, "a"), (5, "b"), (8, "c")])


# --- sessions ---


async def test_an_idle_session_is_shown_to_its_tail(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("holder"), "a", fence("end-AAAA"))
    assert await replayed(chat, from_seq_num=3) == (204, [])
    assert await replayed(chat, from_seq_num=4_000) == (204, [])
    assert await replayed(chat, from_seq_num=1) == (200, [(2, "a")])
    assert await replayed(chat, from_seq_num=2) == (204, [])


async def test_a_session_without_records_is_nothing_to_show(chat: AiSdkChat, s2: S2) -> None:
    assert await replayed(chat) == (204, [])


async def test_two_generations_are_shown_without_what_is_between_them(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("h"), "a", fence("end-AAAA"), fence("i"), "b", fence("error-AAAA"))
    assert await replayed(chat, from_seq_num=0) == (200, [(2, "a"), (5, "b")])


async def test_an_active_session_is_shown_to_the_end_of_what_was_active(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, "old", fence("holder"), "live")
    reading = Reading(await chat.replay("c"))
    await reading.until("live")
    await write(stream, fence("end-AAAA"), "later")
    assert frames(await reading.rest()) == [(1, "old"), (3, "live")]


async def test_what_was_generated_before_comes_in_front_of_the_active_generation(
    chat: AiSdkChat, stream: Stream
) -> None:
    await write(stream, fence("h"), "a", fence("end-AAAA"), fence("i"), "b", fence("error-AAAA"), fence("j"), "live")
    reading = Reading(await chat.replay("c", from_seq_num=1))
    await reading.until("live")
    await write(stream, fence("end-BBBB"), fence("k"), "later")
    assert frames(await reading.rest()) == [(2, "a"), (5, "b"), (8, "live")]


async def test_a_cursor_past_the_start_of_the_active_generation_goes_on_there(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("h"), "a", fence("end-A"), fence("i"), "b", "c")
    reading = Reading(await chat.replay("c", from_seq_num=5))
    await reading.until("data: c")
    await write(stream, fence("end-AAAA"))
    assert frames(await reading.rest()) == [(6, "c")]


async def test_a_cursor_beyond_the_tail_is_no_error(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("h"), "a")
    response = await chat.replay("c", from_seq_num=4_000)
    assert response.status == 200
    await write(stream, fence("end-AAAA"))
    assert frames(await body_of(response)) == []


async def test_a_live_replay_goes_on_through_all_generations(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("h"), "a", fence("end-AAAA"))
    reading = Reading(await chat.replay("c", live=True, from_seq_num=1))
    await reading.until("data: a")
    await write(stream, fence("i"), "b", fence("end-BBBB"), fence("j"), "c")
    assert frames(await reading.until("data: c")) == [(2, "a"), (5, "b"), (8, "c")]
    await reading.close()


# --- active only ---


async def test_closing_the_chat_object_ends_its_live_replays(chat: AiSdkChat, stream: Stream) -> None:
    """A server that waits for its responses could not stop before."""
    await write(stream, fence("h"), "a", fence("end-AAAA"))
    reading = Reading(await chat.replay("c", live=True))
    await reading.until("data: a")
    await chat.aclose()
    assert frames(await reading.rest()) == [(2, "a")]
    with pytest.raises(SessionClosed):
        await chat.replay("c", live=True)


@pytest.mark.parametrize("turns", range(6))
async def test_a_body_that_is_closed_while_it_begins_to_read_ends(s2: S2, turns: int) -> None:
    chat = await chat_on(s2, keep_alive_ms=None)
    response = await chat.replay("c", live=True)
    assert response.chunks is not None
    reading = asyncio.ensure_future(anext(response.chunks, None))
    for _ in range(turns):
        await asyncio.sleep(0)
    await response.aclose()
    assert await reading is None
    await chat.aclose()


async def test_the_resume_route_of_an_idle_chat_answers_204_from_its_tail(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport
) -> None:
    for _ in range(5):
        await write(stream, *["x"] * 500)
    await write(stream, fence("end-AAAA"))
    spy.reads.clear()
    assert await replayed(chat, active_only=True) == (204, [])
    assert len(spy.reads) == 1
    assert spy.opened_reads == 0


async def test_the_resume_route_of_a_busy_chat_shows_the_generation_from_its_beginning(
    chat: AiSdkChat, stream: Stream
) -> None:
    await write(stream, fence("h"), "old", fence("end-AAAA"), fence("i"))
    response = await chat.replay("c", active_only=True, from_seq_num=4_000)
    assert response.status == 200  # at once, although there is no data yet
    await write(stream, "a", "b", fence("end-BBBB"), fence("j"), "later")
    assert frames(await body_of(response)) == [(5, "a"), (6, "b")]


async def test_the_resume_route_of_a_busy_chat_reads_its_generation_and_not_what_was_before(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport
) -> None:
    for _ in range(5):
        await write(stream, *["x"] * 500)
    await write(stream, fence("end-AAAA"), fence("i"), "a", "b")
    asked: list[ReadRequest] = []
    spy.before_read = lambda name, request: asked.append(request)
    reading = Reading(await chat.replay("c", active_only=True))
    assert frames(await reading.until("data: b")) == [(2503, "a"), (2504, "b")]
    *looks, following = asked
    assert len(looks) == 2
    assert sum(look.limits.count or 1000 for look in looks) <= 1 + 64
    assert isinstance(following.start, SeqNum)
    assert following.start.value in (2501, 2502)
    await reading.close()


async def test_user_records_are_for_the_history(chat: AiSdkChat) -> None:
    source = Source(START)
    posted = Reading(await chat.make_resumable("c", source, user_message=user(), wait_until=chat.background))
    await posted.until("start")
    resumed = await chat.replay("c", active_only=True)
    with_user = await chat.replay("c", active_only=True, include_user=True)
    source.end()
    answers = [frames(await posted.rest()), frames(await body_of(resumed)), frames(await body_of(with_user))]
    assert answers[0] == answers[1] == [(3, json.dumps(START, separators=(",", ":")))]
    assert json.loads(answers[2][0][1])["type"] == "data-perdure-user"
    assert answers[2][1:] == answers[0]
    assert frames(await body_of(await chat.replay("c"))) == answers[0]


async def test_a_resumed_continuation_begins_with_what_the_message_had(chat: AiSdkChat, stream: Stream) -> None:
    posted = {"id": "a1", "role": "assistant", "parts": [{"type": "text", "text": "Before."}]}
    source = Source({"type": "start"})
    post = Reading(await chat.make_resumable("c", source, user_message=posted, wait_until=chat.background))
    await post.until("start")
    resumed = Reading(await chat.replay("c", active_only=True))
    await resumed.until("text-end")
    source.give({"type": "finish"})
    source.end()
    kinds = [(cursor, json.loads(data)["type"]) for cursor, data in frames(await resumed.rest())]
    assert kinds == [(3, "start"), (None, "text-start"), (None, "text-delta"), (None, "text-end"), (4, "finish")]
    assert [json.loads(data)["type"] for _, data in frames(await post.rest())] == ["start", "finish"]
    assert json.loads(frames(post.text)[0][1])["messageId"] == "a1"
    await chat.drain()
    assert frames(await body_of(await chat.replay("c"))) == frames(post.text)


# --- single-use and shared ---


@pytest.mark.parametrize("mode", ["single-use", "shared"])
async def test_what_is_over_is_nothing_to_show(s2: S2, mode: Any) -> None:
    chat = await chat_on(s2, mode=mode)
    assert await replayed(chat) == (204, [])
    await body_of(await chat.make_resumable("c", ANSWER))
    await chat.drain()
    assert await replayed(chat) == (204, [])


@pytest.mark.parametrize("mode", ["single-use", "shared", "session"])
async def test_the_end_is_not_shown_twice_by_the_process_of_a_writer_that_was_stopped_elsewhere(
    s2: S2, spy: SpyTransport, mode: Any
) -> None:
    chat, other = await chat_on(s2, mode=mode), await chat_on(s2, mode=mode)
    source = Source(START, TEXT_START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    await source.given.wait()
    body = Reading(await chat.replay("c"))
    await body.until("text-start")
    spy.hold_back_readers()  # the writer does not hear of the stop; this reader did
    assert await other.stop("c")
    after_the_last = (await s2.basin(BASIN).stream("c").check_tail()).seq_num - 1
    async with asyncio.timeout(30):
        assert await replayed(chat, from_seq_num=after_the_last) == (204, [])
    spy.let_readers_go_on()
    assert await body.rest()
    await chat.aclose()
    await other.aclose()


@pytest.mark.parametrize("mode", ["single-use", "shared"])
async def test_the_answer_waits_for_the_first_data(s2: S2, spy: SpyTransport, mode: Any) -> None:
    chat = await chat_on(s2, mode=mode)
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence("h"))
    waiting = asyncio.create_task(chat.replay("c"))
    second = asyncio.create_task(chat.replay("c"))
    await until(lambda: spy.open_reads == 2)
    assert not waiting.done()
    await write(stream, "a", fence("end-AAAA"))
    for task in (waiting, second):
        response = await task
        assert (response.status, frames(await body_of(response))) == (200, [(2, "a")])


@pytest.mark.parametrize("mode", ["single-use", "shared"])
async def test_a_generation_that_ends_without_data_is_nothing_to_show(s2: S2, spy: SpyTransport, mode: Any) -> None:
    chat = await chat_on(s2, mode=mode)
    stream = s2.basin(BASIN).stream("c")
    await write(stream, fence("h"))
    waiting = asyncio.create_task(chat.replay("c"))
    await until(lambda: spy.open_reads == 1)
    await write(stream, fence("end-AAAA"))
    assert (await waiting).status == 204
    assert spy.open_reads == 0


async def test_a_shared_replay_shows_only_the_new_generation(s2: S2) -> None:
    chat = await chat_on(s2, mode="shared")
    await write(s2.basin(BASIN).stream("c"), fence("h"), "old", fence("end-XYZ"))
    source = Source(START)
    posted = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await posted.until("start")
    resumed = Reading(await chat.replay("c"))
    assert await resumed.until("start") == posted.text == f"id: 6\ndata: {json.dumps(START, separators=(',', ':'))}\n\n"
    source.end()
    await resumed.rest()
    await posted.rest()


# --- nothing is lost in silence ---


async def test_records_that_were_trimmed_before_they_were_sent_break_the_body(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("h"), *[f"{n}" * 2000 for n in range(5)])
    response = await chat.replay("c")
    reading = Reading(response)
    await reading.until("data: 4")
    big = ["x" * 1000] * 900
    for _ in range(4):  # more than a session keeps for its reader
        await write(stream, *big)
    tail = (await stream.check_tail()).seq_num
    await write(stream, AppendRecord.trim(tail), fence("end-AAAA"))
    with pytest.raises(RecordsLost):
        await reading.rest()


async def test_a_store_that_fails_breaks_the_body(chat: AiSdkChat, stream: Stream, spy: SpyTransport) -> None:
    await write(stream, fence("h"), "a")
    response = await chat.replay("c", live=True)

    def fail(name: str, request: object) -> None:
        raise StorageFailed("the disk is gone")

    spy.before_read = fail
    with pytest.raises(StorageFailed):
        await Reading(response).rest()
    with pytest.raises(StorageFailed):
        await chat.replay("c")
    assert spy.open_reads == 0


@pytest.mark.parametrize("after", [0, 1])
async def test_a_body_that_its_client_leaves_is_closed(
    chat: AiSdkChat, stream: Stream, spy: SpyTransport, after: int
) -> None:
    await write(stream, fence("h"), "a")
    reading = Reading(await chat.replay("c", live=True))
    if after:
        await reading.until("data: a")
        assert spy.open_reads == 1
    await reading.close()
    assert spy.open_reads == 0


async def test_a_body_whose_reader_is_cancelled_is_closed(chat: AiSdkChat, stream: Stream, spy: SpyTransport) -> None:
    await write(stream, fence("h"), "a")
    reading = Reading(await chat.replay("c", live=True))
    await reading.until("data: a")
    rest = asyncio.create_task(reading.rest())
    await asyncio.sleep(0)
    rest.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rest
    assert spy.open_reads == 0


# --- silences ---


async def test_silences_are_bridged_by_comments(s2: S2) -> None:
    chat = await chat_on(s2, keep_alive_ms=20)
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    reading, resumed = Reading(response), Reading(await chat.replay("c", active_only=True))
    for each in (reading, resumed):
        await each.until("start")
        await each.until(": keep-alive\n\n: keep-alive\n\n")
    source.give(text("a"))
    source.end()
    for each in (reading, resumed):
        assert (await each.rest()).replace(": keep-alive\n\n", "").count("\n\n") == 2
    await chat.aclose()


async def test_the_silence_before_the_first_token_is_bridged_too(s2: S2) -> None:
    chat = await chat_on(s2, keep_alive_ms=20, session_lease_ms=None)
    source = Source()
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until(": keep-alive\n\n: keep-alive\n\n")
    source.end()
    await reading.rest()
    await chat.aclose()


async def test_no_comments_if_they_are_disabled(s2: S2) -> None:
    chat = await chat_on(s2, keep_alive_ms=None)
    assert chat is not None
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("start")
    source.end()
    assert "keep-alive" not in await reading.rest()
    await chat.aclose()


# --- basins that create nothing ---


@pytest.fixture
async def strict(s2: S2, chat: AiSdkChat) -> AiSdkChat:
    """A chat object on a basin that creates streams neither on append nor on read."""
    await s2.basins.reconfigure(BASIN, create_stream_on_append=False, create_stream_on_read=False)
    return chat


async def test_a_missing_stream_is_nothing_to_show(strict: AiSdkChat) -> None:
    assert (await strict.replay("c")).status == 204
    assert (await strict.replay("c", active_only=True)).status == 204
    assert await strict.history("c") == {"messages": [], "nextSeqNum": 0, "active": False}
    assert not await strict.stop("c")


async def test_a_live_replay_waits_for_a_stream_that_does_not_exist(strict: AiSdkChat, s2: S2) -> None:
    reading = Reading(await strict.replay("c", live=True))
    following = asyncio.create_task(reading.until("data: a"))
    await asyncio.sleep(0)
    await write(await s2.basin(BASIN).streams.create("c"), fence("h"), "a")
    assert frames(await following) == [(2, "a")]
    await reading.close()


# --- the decision, and the query ---


def head(active: bool = False, start: int | None = None, tail: int = 10) -> StreamHead:
    return StreamHead(tail, 0, None if active else "end-A", HOLDER if active else None, start, active)


@given(
    from_seq_num=st.none() | st.integers(0, 30),
    tail=st.integers(0, 20),
    mode=st.sampled_from(list(Mode)),
    active_only=st.booleans(),
)
def test_an_idle_stream_is_followed_by_nobody(
    from_seq_num: int | None, tail: int, mode: Mode, active_only: bool
) -> None:
    plan = replay(mode, head(tail=tail), from_seq_num=from_seq_num, active_only=active_only)
    if mode is not Mode.SESSION or active_only or (from_seq_num or 0) >= tail:
        assert plan is None
    else:
        assert plan is not None
        assert (plan.body.end_at, plan.body.end_seq, plan.answer_at_once) == (EndAt.TAIL, tail, False)


@given(from_seq_num=st.none() | st.integers(0, 30), start=st.integers(0, 9), mode=st.sampled_from(list(Mode)))
def test_an_active_generation_is_followed_to_its_end(from_seq_num: int | None, start: int, mode: Mode) -> None:
    plan = replay(mode, head(True, start), from_seq_num=from_seq_num, active_only=False)
    assert plan is not None
    assert plan.body.end_at is EndAt.TERMINAL_FENCE
    if mode is Mode.SESSION:
        assert (plan.body.start_seq, plan.body.fences_from) == (min(10, from_seq_num or 0), start)
    else:
        assert plan.body.start_seq == max(start, min(10, from_seq_num or 0))


def test_a_live_replay_needs_to_know_nothing() -> None:
    plan = live_replay(7)
    assert (plan.body.start_seq, plan.body.end_at, plan.answer_at_once) == (7, EndAt.NEVER, True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, (None, False)),
        ({"from": "0", "live": "1"}, (0, True)),
        ({"from": "42", "live": "true"}, (42, False)),
        ({"from": str(MAX_CURSOR)}, (MAX_CURSOR, False)),
        ({"from": str(MAX_CURSOR + 1)}, (None, False)),
        ({"from": "9" * 5000}, (None, False)),
        ({"from": "-1"}, (None, False)),
        ({"from": "1.5"}, (None, False)),
        ({"from": " 1"}, (None, False)),
        ({"from": "１"}, (None, False)),
        ({"from": "1\n"}, (None, False)),
        ({"from": ""}, (None, False)),
    ],
)
def test_the_query_says_from_where_and_whether_live(query: dict[str, str], expected: tuple[int | None, bool]) -> None:
    options = options_of(query)
    assert (options["from_seq_num"], options["live"]) == expected


# --- responses ---


async def test_a_replay_has_the_headers_that_proxies_need(chat: AiSdkChat, stream: Stream) -> None:
    await write(stream, fence("h"), "a", fence("end-AAAA"))
    response = await chat.replay("c")
    assert isinstance(response, ChatResponse)
    assert dict(response.headers) == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "connection": "keep-alive",
        "x-vercel-ai-ui-message-stream": "v1",
        "x-accel-buffering": "no",
    }
    await response.aclose()
    assert dict((await chat.replay("none")).headers) == {"cache-control": "no-store"}
