"""Chats of TanStack AI: what is stored, what is sent, and stops."""

import json
from collections.abc import AsyncIterator

import pytest

from perdure import S2, AppendRecord, Invalid, Stream
from perdure.resumable.settings import ModeName
from perdure.resumable.tanstack_ai import TanstackChat, create_resumable_chat
from tests.resumable.chats import (
    BASIN,
    HOLDER,
    STOP_BODIES,
    Reading,
    Source,
    body_of,
    fence,
    frames,
    records_of,
    shown,
    tanstack_chat_on,
    write,
)
from tests.resumable.spy_transport import SpyTransport
from tests.resumable.tanstack_scripts import (
    Event,
    answer,
    bodies,
    run_error,
    run_finished,
    run_started,
    text_content,
    text_start,
)

MODES: tuple[ModeName, ...] = ("single-use", "shared", "session")


@pytest.fixture
async def chat(s2: S2) -> AsyncIterator[TanstackChat]:
    chat = await tanstack_chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


@pytest.fixture
def stream(chat: TanstackChat, s2: S2) -> Stream:
    return s2.basin(BASIN).stream("c")


async def run(chat: TanstackChat, source: object, name: str = "c") -> str:
    body = await body_of(await chat.make_resumable(name, source, wait_until=lambda stored: None))
    await chat.drain()
    return body


# --- what is stored and what is sent ---


@pytest.mark.parametrize("mode", MODES)
async def test_events_are_sent_with_the_cursor_in_front(s2: S2, mode: ModeName) -> None:
    chat = await tanstack_chat_on(s2, mode=mode)
    events = answer("Hel", "l\u2028ö")
    response = await chat.make_resumable("c", events, wait_until=chat.background)
    assert dict(response.headers) == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "connection": "keep-alive",
        "x-accel-buffering": "no",
    }
    expected = "".join(f"id: {number}\ndata: {body}\n\n" for number, body in enumerate(bodies(*events), start=2))
    assert await body_of(response) == expected
    await chat.aclose()


async def test_the_log_holds_the_events_without_their_totals(chat: TanstackChat, stream: Stream) -> None:
    events = answer("Hel", "lo")
    total = ""
    given: list[Event] = []
    for event in events:
        total += event.get("delta", "")
        given.append({**event, "content": total} if "delta" in event else event)
    await run(chat, given)
    assert shown(await records_of(stream)) == ["fence session-", *bodies(*events), "fence end-"]


async def test_a_run_that_the_source_leaves_open_is_finished_before_the_fence(
    chat: TanstackChat, stream: Stream
) -> None:
    body = await run(chat, [run_started("r7", "t7"), text_start()])
    finished = '{"type":"RUN_FINISHED","runId":"r7","threadId":"t7","timestamp":0,"finishReason":"stop"}'
    assert frames(body)[-1][1] == finished
    assert shown(await records_of(stream))[-2:] == [finished, "fence end-"]


async def test_a_source_that_fails_gets_the_error_and_no_other_end(
    chat: TanstackChat, stream: Stream, error_body: str
) -> None:
    async def source() -> AsyncIterator[Event]:
        yield run_started()
        raise RuntimeError("secret")

    body = await body_of(await chat.make_resumable("c", source, wait_until=lambda stored: None))
    assert "secret" not in body
    assert [data for _, data in frames(body)] == [*bodies(run_started()), error_body]
    await chat.drain()
    assert shown(await records_of(stream))[-2:] == [error_body, "fence error-"]


@pytest.fixture
def adapter() -> str:
    return "tanstack_ai"


@pytest.mark.parametrize("rewrites", [True, False])
async def test_a_reported_error_is_data_whose_text_on_error_may_replace(s2: S2, rewrites: bool) -> None:
    chat = await tanstack_chat_on(s2, on_error=lambda failure: "Sorry.", rewrite_error_chunks=rewrites)
    await run(chat, [run_started(), run_error("secret")])
    *_, error, end = shown(await records_of(s2.basin(BASIN).stream("c")))
    assert json.loads(error)["message"] == ("Sorry." if rewrites else "secret")
    assert end == "fence end-"
    await chat.aclose()


async def test_replays_begin_and_go_on_where_the_log_of_another_writer_says(
    chat: TanstackChat, stream: Stream, s2: S2
) -> None:
    await write(stream, fence(HOLDER), "first", "second")
    replay = Reading(await chat.replay("c", from_seq_num=0))
    assert await replay.until("second") == "id: 2\ndata: first\n\nid: 3\ndata: second\n\n"
    await replay.close()
    replay = Reading(await chat.replay("c", from_seq_num=2))
    assert await replay.until("second") == "id: 3\ndata: second\n\n"
    await replay.close()
    single = await tanstack_chat_on(s2, mode="single-use")
    replay = Reading(await single.replay("c", from_seq_num=2))
    assert await replay.until("second") == "id: 3\ndata: second\n\n"
    await replay.close()
    await single.aclose()


async def test_a_replay_of_an_idle_log_ends_or_is_empty(chat: TanstackChat, stream: Stream) -> None:
    await write(stream, fence(HOLDER), "data", fence("end-AAAA"))
    assert (await chat.replay("c", from_seq_num=3)).status == 204
    assert await body_of(await chat.replay("c", from_seq_num=1)) == "id: 2\ndata: data\n\n"


async def test_the_options_are_checked() -> None:
    with pytest.raises(Invalid):
        create_resumable_chat(path=":memory:", basin=BASIN, batch_size=0)


# --- stops ---


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_stop_finishes_the_run_under_its_own_ids(
    s2: S2, chat: TanstackChat, stream: Stream, elsewhere: bool
) -> None:
    stopper = await tanstack_chat_on(s2) if elsewhere else chat
    source = Source(run_started("r1", "t1"), text_start(), text_content("Hel"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("Hel")
    assert await stopper.stop("c")
    assert not await stopper.stop("c")
    _, last = frames(await reading.rest())[-1]
    assert last == (
        '{"type":"RUN_FINISHED","runId":"r1","threadId":"t1","model":"s2-stop","timestamp":0,"finishReason":"stop"}'
    )
    assert shown(await records_of(stream))[-2:] == [last, "fence end-stop-"]
    assert source.closed.is_set()
    await stopper.aclose()


async def test_a_stop_after_the_end_of_the_run_adds_no_second_end(chat: TanstackChat, stream: Stream) -> None:
    source = Source(*answer("x"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("RUN_FINISHED")
    assert await chat.stop("c")
    await reading.rest()
    assert shown(await records_of(stream))[-2:] == [*bodies(run_finished()), "fence end-stop-"]


async def test_a_run_that_ends_meanwhile_is_not_ended_twice(
    chat: TanstackChat, stream: Stream, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), *bodies(run_started("r1")))

    async def finish(batch: object) -> None:
        spy.meanwhile = None
        await stream.append([AppendRecord(bodies(run_finished("r1"))[0])], fencing_token=HOLDER)

    spy.meanwhile = finish
    assert await chat.stop("c")
    assert shown(await records_of(stream))[2:] == [*bodies(run_finished("r1")), "fence end-stop-"]


async def test_a_stop_before_the_first_event_still_tells_clients(chat: TanstackChat, stream: Stream) -> None:
    source = Source()
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await source.given.wait()
    assert await chat.stop("c")
    assert [data for _, data in frames(await reading.rest())] == [STOP_BODIES["tanstack_ai"]]
