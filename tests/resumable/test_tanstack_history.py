"""Session logs of TanStack AI: what a page gets that opens a chat, and what is read for it."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, AppendRecord, Invalid, SeqNum, Stream
from perdure.model.records import CommandKind, SequencedRecord
from perdure.resumable.json_body import encode_body, parse_object
from perdure.resumable.tanstack_ai import TanstackChat
from perdure.resumable.tanstack_fold import MessagesFold
from perdure.resumable.tanstack_history import Opening, SessionFold
from tests.resumable.chats import (
    BASIN,
    HOLDER,
    Reading,
    Source,
    body_of,
    fence,
    frames,
    leased,
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
    echo,
    run_error,
    run_finished,
    run_interrupted,
    run_started,
    source_events,
    text_content,
    text_message,
    text_start,
    tool_call,
    tool_result,
)
from tests.resumable.test_tanstack_fold import USER, message, text

U1_AND_A1 = [USER, message("a1", "assistant", text("hello"))]
FIRST_TURN = [*echo("hi"), *answer("hello")]


@pytest.fixture
async def chat(s2: S2) -> AsyncIterator[TanstackChat]:
    chat = await tanstack_chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


@pytest.fixture
def stream(chat: TanstackChat, s2: S2) -> Stream:
    return s2.basin(BASIN).stream("c")


async def turn(chat: TanstackChat, *events: Event) -> None:
    await body_of(await chat.make_resumable("c", events, wait_until=lambda stored: None))
    await chat.drain()


async def opened(chat: TanstackChat, wanted: str) -> list[tuple[int | None, Any]]:
    """The frames of a replay without a cursor, up to the one that has `wanted`."""
    reading = Reading(await chat.replay("c"))
    await reading.until(wanted)
    await reading.close()
    return [(cursor, json.loads(data)) for cursor, data in frames(reading.text)]


# --- opening a chat ---


async def test_an_idle_chat_opens_with_one_snapshot_and_stays_open(chat: TanstackChat, stream: Stream) -> None:
    await turn(chat, *FIRST_TURN)
    reading = Reading(await chat.replay("c"))
    await reading.until("MESSAGES_SNAPSHOT")
    ((cursor, data),) = frames(reading.text)
    assert json.loads(data) == {"type": "MESSAGES_SNAPSHOT", "timestamp": 0, "messages": U1_AND_A1}
    assert cursor == 1 + len(FIRST_TURN), "the one after the last data record; the fence after it is no data"
    await turn(chat, *echo("more", "u2"), *answer("well", run="r2", message="a2"))
    await reading.until("r2")
    later = frames(reading.text)[1:]
    assert [data for _, data in later][:3] == bodies(*echo("more", "u2"))
    assert later[0][0] == len(FIRST_TURN) + 4
    await reading.close()


async def test_a_chat_with_an_active_run_opens_with_what_was_before_it(chat: TanstackChat, stream: Stream) -> None:
    await write(stream, *bodies(*FIRST_TURN, *echo("more", "u2"), run_started("r2"), text_content("we", "a2")))
    first, second, third = await opened(chat, '"we"')
    assert first[1]["messages"] == [*U1_AND_A1, message("u2", "user", text("more"))]
    at = len(FIRST_TURN) + 3
    assert first[0] == at
    assert second == (at + 1, run_started("r2"))
    assert third == (at + 2, text_content("we", "a2"))


async def test_the_cursor_of_a_snapshot_is_in_front_of_the_active_run(chat: TanstackChat, stream: Stream) -> None:
    await write(stream, *bodies(*echo("hi"), run_started()))
    first, second = await opened(chat, "RUN_STARTED")
    assert (first[0], first[1]["messages"]) == (3, [USER])
    assert second == (4, run_started())
    reading = Reading(await chat.replay("c", from_seq_num=3))
    await reading.until("RUN_STARTED")
    assert frames(reading.text) == [(4, bodies(run_started())[0])]
    await reading.close()


async def test_a_run_that_is_all_there_is_opens_without_a_snapshot(chat: TanstackChat, stream: Stream) -> None:
    await write(stream, *bodies(run_started()), "no json", "[]", '{"no":"type"}')
    reading = Reading(await chat.replay("c"))
    await reading.until('no":')
    assert [data for _, data in frames(reading.text)] == [*bodies(run_started()), "no json", "[]", '{"no":"type"}']
    await reading.close()


async def test_a_run_that_waits_for_the_user_asks_whoever_opens_the_chat(chat: TanstackChat) -> None:
    """Until the next run begins: it has the answer, or the chat has gone on without one."""
    asking = [run_started(), *tool_call("{}"), run_interrupted()]
    await turn(chat, *echo("hi"), *asking)
    snapshot, end = await opened(chat, "RUN_FINISHED")
    assert [made["id"] for made in snapshot[1]["messages"]] == ["u1", "msg-5"]
    assert snapshot[1]["messages"][1]["parts"][0]["state"] == "approval-requested"
    assert snapshot[0] == 3 + len(asking), "a page that loses its connection here is told the end again"
    assert end == (4 + len(asking), run_interrupted())
    await turn(chat, *echo("never mind", "u2"))
    assert [event["type"] for _, event in await opened(chat, '"never mind"')][1] == "RUN_FINISHED"
    await turn(chat, run_started("r2"), tool_result("21"), run_finished("r2"))
    ((_, snapshot_again),) = await opened(chat, "SNAPSHOT")
    assert snapshot_again["type"] == "MESSAGES_SNAPSHOT"


async def test_a_chat_that_nobody_wrote_to_opens_and_waits(chat: TanstackChat) -> None:
    response = await chat.replay("c")
    assert response.status == 200
    reading = Reading(response)
    await turn(chat, *FIRST_TURN)
    await reading.until("RUN_FINISHED")
    assert [data for _, data in frames(reading.text)] == bodies(*FIRST_TURN)
    await reading.close()


async def test_a_run_that_a_fence_has_ended_is_history(chat: TanstackChat, stream: Stream) -> None:
    """A writer that does not finish its runs leaves them open; a page must not wait for their end."""
    await write(stream, fence(HOLDER), *bodies(run_started(), *text_message("hello")), fence("end-AAAA"))
    ((cursor, snapshot),) = await opened(chat, "SNAPSHOT")
    assert cursor == 5
    assert snapshot["messages"] == U1_AND_A1[1:]


async def test_a_dead_writer_s_run_is_ended_before_a_page_opens(s2: S2, chat: TanstackChat, stream: Stream) -> None:
    await write(stream, fence(leased(1)), *bodies(run_started(), text_start(), text_content("hello")))
    while (await chat.history("c"))["active"]:
        pass
    ((_, snapshot),) = await opened(chat, "SNAPSHOT")
    assert snapshot["messages"] == U1_AND_A1[1:]
    assert (await chat.make_resumable("c", [], wait_until=chat.background)).status == 200


async def test_closing_a_page_before_it_has_read_anything_lets_go_of_all(chat: TanstackChat, spy: SpyTransport) -> None:
    await turn(chat, *FIRST_TURN)
    response = await chat.replay("c")
    await response.aclose()
    chunks = response.chunks
    assert chunks is not None
    assert [chunk async for chunk in chunks] == []


async def test_snapshots_are_never_stored(chat: TanstackChat, stream: Stream) -> None:
    for number in range(3):
        await turn(chat, *echo("hi", f"u{number}"), *answer("hello", message=f"a{number}"))
        await opened(chat, "SNAPSHOT")
    assert "SNAPSHOT" not in "".join(shown(await records_of(stream)))


# --- history ---


async def test_a_history_has_the_messages_and_the_cursor(chat: TanstackChat) -> None:
    assert await chat.history("c") == {"messages": [], "nextSeqNum": 0, "active": False}
    await turn(chat, *FIRST_TURN)
    tail = len(FIRST_TURN) + 2
    assert await chat.history("c") == {"messages": U1_AND_A1, "nextSeqNum": tail, "active": False}
    source = Source(*echo("more", "u2"), run_started("r2"), *text_message("we", message="a2"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until('"we"')
    assert await chat.history("c") == {"messages": U1_AND_A1, "nextSeqNum": tail, "active": True}
    following = Reading(await chat.replay("c", from_seq_num=tail))
    await following.until('"we"')
    assert json.loads(frames(following.text)[0][1]) == echo("more", "u2")[0]
    assert await chat.stop("c")
    await following.rest()
    messages = (await chat.history("c"))["messages"]
    assert messages == [*U1_AND_A1, message("u2", "user", text("more")), message("a2", "assistant", text("we"))]
    response = await chat.history_response("c")
    assert response.headers["cache-control"] == "no-store"
    assert json.loads(bytes(response.body))["messages"] == messages


@pytest.mark.parametrize("mode", ["shared", "single-use"])
async def test_a_history_needs_a_log_that_keeps_it(s2: S2, mode: Any) -> None:
    chat = await tanstack_chat_on(s2, mode=mode)
    with pytest.raises(Invalid, match='history requires mode: "session"'):
        await chat.history("c")
    await chat.aclose()


async def test_an_error_leaves_what_was_said(chat: TanstackChat) -> None:
    await turn(chat, *echo("hi"), run_started(), text_start(), text_content("hello"), run_error())
    assert (await chat.history("c"))["messages"] == U1_AND_A1


async def test_a_second_look_reads_what_is_new(chat: TanstackChat, spy: SpyTransport) -> None:
    for number in range(5):
        await turn(chat, *echo("hi", f"u{number}"), *answer("hello", message=f"a{number}"))
    first = await chat.history("c")
    spy.reads.clear()
    assert await chat.history("c") == first
    first_record, *others = [request for _, request in spy.reads]
    assert (first_record.start, first_record.limits.count) == (SeqNum(0), 1), "by which the log is known again"
    assert len(others) == 2
    assert all(isinstance(other.start, SeqNum) and other.start.value >= first["nextSeqNum"] - 1 for other in others)


# --- the fold ---

Entry = Event | str


def records(*entries: Entry) -> list[SequencedRecord]:
    """Events, and fences by their tokens."""
    made = [
        AppendRecord.fence(entry) if isinstance(entry, str) else AppendRecord(encode_body(entry)) for entry in entries
    ]
    return [SequencedRecord(number, number, record.body, record.headers) for number, record in enumerate(made)]


def inner_events() -> st.SearchStrategy[Event]:
    return source_events().filter(lambda event: not event["type"].startswith("RUN_"))


@st.composite
def logs(draw: st.DrawFn) -> list[SequencedRecord]:
    """Generations, the last of them perhaps unfinished."""
    entries: list[Entry] = []
    for number in range(draw(st.integers(0, 4))):
        if entries and isinstance(entries[-1], dict):
            entries.append(draw(st.sampled_from(["end-A", "end-stop-A", "error-A"])))
        entries.append(f"{HOLDER}.{number}")
        entries += echo("hi", f"u{number}") if draw(st.booleans()) else []
        if draw(st.booleans()):
            entries += [run_started(f"r{number}"), *draw(st.lists(inner_events(), max_size=10))]
        if draw(st.booleans()):
            ends = [run_finished(f"r{number}"), run_interrupted(f"r{number}"), run_error()]
            entries.append(draw(st.sampled_from(ends)))
    if draw(st.booleans()):
        entries.append("end-A")
    return records(*entries)


@given(logs(), st.data())
def test_a_kept_fold_goes_on_to_what_a_fold_of_everything_says(log: list[SequencedRecord], data: st.DataObject) -> None:
    whole = SessionFold()
    whole.feed(log)
    at = data.draw(st.integers(0, len(log)))
    first = SessionFold()
    first.feed(log[:at])
    kept = first.settled()
    assert kept.is_settled
    assert kept.settled().history() == kept.history()
    kept.feed(log[kept.next_seq_num :])
    first.feed(log)
    for fold in (kept, first):
        assert fold.history() == whole.history()
        assert fold.opening() == whole.opening()
        assert fold.live_opening() == whole.live_opening()
        assert fold.pause == whole.pause
        assert fold.size_bytes == whole.size_bytes


@given(logs(), st.sampled_from([SessionFold.opening, SessionFold.live_opening]))
def test_a_page_that_opens_and_follows_sees_what_the_log_amounts_to(
    log: list[SequencedRecord], opening_of: Callable[[SessionFold], Opening]
) -> None:
    """Whoever opens a chat has, once the run is over, the messages of somebody who opens it then."""
    fold = SessionFold()
    fold.feed(log)
    opening = opening_of(fold)
    page, everything = MessagesFold(opening.messages), SessionFold()
    for record in log[opening.live_from :]:
        if record.command is CommandKind.FENCE:
            page.end_generation()
        elif (event := parse_object(record.body)) is not None:
            page.feed(event, record.seq_num)
    end = [*log, *(SequencedRecord(len(log), 0, b.body, b.headers) for b in (AppendRecord.fence("end-A"),))]
    everything.feed(end)
    page.end_generation()
    assert list(page.messages()) == everything.history()["messages"]


@given(logs())
def test_a_history_ends_in_front_of_what_its_cursor_delivers(log: list[SequencedRecord]) -> None:
    fold, before = SessionFold(), SessionFold()
    fold.feed(log)
    history = fold.history()
    before.feed(log[: history["nextSeqNum"]])
    assert before.history()["messages"] == history["messages"]
