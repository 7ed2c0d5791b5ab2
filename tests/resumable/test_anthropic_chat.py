"""Chats in the Anthropic form: what is stored, what is sent, stops, and what a history costs."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, AppendRecord, Invalid, SeqNum, Stream, StreamDeletionPending
from perdure.model.batches import AppendInput
from perdure.resumable.anthropic import AnthropicChat, AnthropicError, tool_result, user_message
from perdure.resumable.frames import type_named
from perdure.resumable.settings import ModeName
from tests.patience import PATIENCE_SECONDS
from tests.resumable.anthropic_scripts import (
    MESSAGE_STOP,
    Event,
    block_start,
    block_stop,
    bodies,
    message_delta,
    message_start,
    text_delta,
    text_message,
    text_turn,
    tool_turn,
)
from tests.resumable.chats import (
    BASIN,
    HOLDER,
    Reading,
    Source,
    anthropic_chat_on,
    body_of,
    fence,
    frames,
    leased,
    records_of,
    shown,
    write,
)
from tests.resumable.spy_transport import SpyTransport

MODES: tuple[ModeName, ...] = ("single-use", "shared", "session")
GENERIC = '{"type":"error","error":{"type":"api_error","message":"An error occurred."}}'
TURN: list[Event] = [user_message("hi"), *text_turn("Hel", "lo")]
CLOSING = bodies(message_delta(None, output_tokens=1), MESSAGE_STOP)


@pytest.fixture
async def chat(s2: S2) -> AsyncIterator[AnthropicChat]:
    chat = await anthropic_chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


@pytest.fixture
def stream(chat: AnthropicChat, s2: S2) -> Stream:
    return s2.basin(BASIN).stream("c")


async def run(chat: AnthropicChat, source: object, name: str = "c") -> str:
    body = await body_of(await chat.make_resumable(name, source, wait_until=lambda stored: None))
    await chat.drain()
    return body


# --- what is stored and what is sent ---


@pytest.mark.parametrize("mode", MODES)
async def test_events_are_sent_under_their_names_with_the_cursor_last(s2: S2, mode: ModeName) -> None:
    chat = await anthropic_chat_on(s2, mode=mode)
    response = await chat.make_resumable("c", TURN, wait_until=chat.background)
    assert dict(response.headers) == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "connection": "keep-alive",
        "x-accel-buffering": "no",
    }
    expected = "".join(
        f"event: {event['type']}\ndata: {body}\nid: {number}\n\n"
        for number, (event, body) in enumerate(zip(TURN, bodies(*TURN), strict=True), start=2)
    )
    assert await body_of(response) == expected
    await chat.aclose()


async def test_the_log_holds_the_raw_events_and_the_user(chat: AnthropicChat, stream: Stream) -> None:
    await run(chat, TURN)
    assert shown(await records_of(stream)) == ["fence session-", *bodies(*TURN), "fence end-"]
    assert all(record.headers == () for record in (await records_of(stream))[1:-1])


async def test_what_an_sdk_derives_and_pings_are_not_stored(chat: AnthropicChat, stream: Stream) -> None:
    derived: list[Event] = [
        {"type": "ping"},
        *({"type": kind, "snapshot": "x"} for kind in ("text", "citation", "thinking", "signature", "input_json")),
    ]
    stop, end = block_stop() | {"content_block": {"type": "text"}}, MESSAGE_STOP | {"message": text_message("x")}
    await run(chat, [message_start(), *derived, stop, *derived, end, {"type": "future", "message": 1}])
    expected = bodies(message_start(), block_stop(), MESSAGE_STOP, {"type": "future", "message": 1})
    assert shown(await records_of(stream))[1:-1] == expected


async def test_what_an_sdk_derives_is_not_even_serialised(chat: AnthropicChat, stream: Stream) -> None:
    """Each of them holds all of the text so far: an answer would cost the square of its length."""

    class TextEvent:
        type = "text"

        def model_dump(self) -> Event:
            raise AssertionError("serialised for nothing")

    await run(chat, [message_start(), TextEvent(), MESSAGE_STOP])
    assert shown(await records_of(stream))[1:-1] == bodies(message_start(), MESSAGE_STOP)


async def test_a_source_may_be_the_api_s_own_text(chat: AnthropicChat, stream: Stream) -> None:
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in [{"type": "ping"}, *TURN[1:]])
    await run(chat, [text[:100], text[100:].encode()])
    assert shown(await records_of(stream))[1:-1] == bodies(*TURN[1:])


@pytest.mark.parametrize("as_text", [False, True])
async def test_an_error_event_is_a_failure_of_the_source(s2: S2, as_text: bool) -> None:
    seen: list[BaseException] = []

    def on_error(failure: BaseException) -> str:
        seen.append(failure)
        return "Busy, try again."

    chat = await anthropic_chat_on(s2, on_error=on_error)
    error: Event = {"type": "error", "error": {"type": "overloaded_error", "message": "secret"}}
    failing = f"event: error\ndata: {json.dumps(error)}\n\n" if as_text else error
    body = await body_of(await chat.make_resumable("c", [message_start(), failing]))
    (_, last) = frames(body)[-1]
    assert json.loads(last) == {"type": "error", "error": {"type": "api_error", "message": "Busy, try again."}}
    assert "event: error\n" in body
    (failure,) = seen
    assert isinstance(failure, AnthropicError)
    assert (str(failure), failure.error_type) == ("secret", "overloaded_error")
    await chat.drain()
    assert shown(await records_of(s2.basin(BASIN).stream("c")))[-1] == "fence error-"
    await chat.aclose()


@pytest.mark.parametrize("error", [None, {}, {"type": 1, "message": []}, "text"])
async def test_an_error_event_without_its_envelope_is_one_too(chat: AnthropicChat, error: object) -> None:
    assert frames(await run(chat, [{"type": "error", "error": error}])) == [(2, GENERIC)]


async def test_the_words_of_a_failed_source_reach_nobody(chat: AnthropicChat) -> None:
    source = Source(*TURN[:2])
    reading = Reading(await chat.make_resumable("c", source, wait_until=lambda stored: None))
    source.fail(RuntimeError("secret"))
    assert "secret" not in await reading.rest()
    assert frames(reading.text)[-1] == (4, GENERIC)


def test_only_text_is_a_user_message() -> None:
    text: Any = ["blocks"]
    with pytest.raises(Invalid, match="text of the user, got list"):
        user_message(text)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ('{"a":1,"type":"x"}', "event: x\n"),
        ('{"type":"später"}', "event: später\n"),
        ('{"type":"x","text":"\\ud800"}', "event: x\n"),
        ('{"type":1e400,"type":"x"}', ""),
        ('{"a":{"type":"x"}}', ""),
        ('{"type":5}', ""),
        ('{"type":""}', ""),
        ('["type"]', ""),
        ("no JSON", ""),
        ('{"type":"a\\ndata: b"}', ""),
        ('{"type":"a\\rb"}', ""),
    ],
)
def test_a_frame_is_named_by_the_type_of_its_object_if_it_has_one(body: str, line: str) -> None:
    assert type_named(6, body.encode()).decode() == f"{line}data: {body}\nid: 7\n\n"


@given(st.text(), st.text())
def test_no_type_can_begin_a_line_of_its_own(kind: str, text: str) -> None:
    (body,) = bodies({"type": kind, "text": text})
    frame = type_named(1, body.encode()).decode()
    assert frame.endswith(f"data: {body}\nid: 2\n\n")
    head = frame.removesuffix(f"data: {body}\nid: 2\n\n")
    assert head in ("", f"event: {kind}\n")
    assert "\r" not in head


# --- replays ---


async def test_a_session_is_replayed_from_the_cursor_of_its_history(chat: AnthropicChat) -> None:
    await run(chat, TURN)
    source = Source(user_message("again"), *text_turn("And", " again")[:3])
    post = await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    assert post.status == 202
    await source.given.wait()
    live = Reading(await chat.replay("c", live=True))
    await live.until('"And"')
    history = await chat.history("c")
    assert [turn["user"] for turn in history["turns"]] == ["hi", "again"]
    assert history["nextSeqNum"] == 12  # behind the second user message
    resumed = Reading(await chat.replay("c", from_seq_num=history["nextSeqNum"], live=True))
    assert (await resumed.until("event: message_start")).startswith("event: message_start\n")
    source.give(*text_turn("And", " again")[3:])
    source.end()
    assert len(frames(await live.until("id: 19\n\n"))) == len(TURN) + 8
    await resumed.close()
    await live.close()


async def test_an_idle_chat_answers_nothing_new(chat: AnthropicChat) -> None:
    await run(chat, TURN)
    assert (await chat.replay("c", from_seq_num=(await chat.history("c"))["nextSeqNum"])).status == 204
    assert (await chat.replay("c", active_only=True)).status == 204


@pytest.mark.parametrize(
    ("log", "cursor", "expected"),
    [
        (["fence holder", "first", "second", "fence end-A"], 0, "data: first\nid: 2\n\ndata: second\nid: 3\n\n"),
        (["fence holder", "first", "second", "fence end-A"], 2, "data: second\nid: 3\n\n"),
        (["fence holder", "first", "fence end-A"], 3, None),
        (["fence holder", "first", "fence end-A"], 1, "data: first\nid: 2\n\n"),
        (
            ["fence holder", "a", "fence end-A", "fence other", "b", "fence end-B"],
            0,
            "data: a\nid: 2\n\ndata: b\nid: 5\n\n",
        ),
    ],
)
async def test_a_log_of_another_writer_is_replayed(
    chat: AnthropicChat, stream: Stream, log: list[str], cursor: int, expected: str | None
) -> None:
    """Its tokens offer no lease, and its bodies need not be events."""
    await write(stream, *(fence(line[6:]) if line.startswith("fence ") else line for line in log))
    response = await chat.replay("c", from_seq_num=cursor)
    assert (None if response.status == 204 else await body_of(response)) == expected


async def test_history_and_the_generation_that_runs_are_one_body(chat: AnthropicChat, stream: Stream) -> None:
    await write(stream, *bodies(user_message("old")), fence(HOLDER), *bodies(message_start()))
    reading = Reading(await chat.replay("c", from_seq_num=0))
    await reading.until("event: message_start")
    await write(stream, *bodies(MESSAGE_STOP), fence("end-AAAA"), *bodies(user_message("later")))
    assert [cursor for cursor, _ in frames(await reading.rest())] == [1, 3, 4]


# --- stops ---


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_stop_keeps_what_was_said_as_a_whole_message(s2: S2, mode: ModeName, elsewhere: bool) -> None:
    chat, other = await anthropic_chat_on(s2, mode=mode), await anthropic_chat_on(s2, mode=mode)
    source = Source(*TURN[:4])
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("Hel")
    assert await (other if elsewhere else chat).stop("c")
    expected = [*bodies(*TURN[:4], block_stop()), *CLOSING]
    assert [data for _, data in frames(await reading.rest())] == expected
    async with asyncio.timeout(PATIENCE_SECONDS):
        await source.closed.wait()
    await chat.drain()
    assert not await chat.stop("c")
    history = await other.history("c")
    if mode == "single-use" and not elsewhere:
        assert history["turns"] == []
    else:
        (turn,) = history["turns"]
        assert turn["stopped"]
        assert turn["assistant"]["content"] == [{"type": "text", "text": "Hel"}]
    await chat.aclose()
    await other.aclose()


async def test_a_stop_before_the_first_event_leaves_a_turn_without_an_answer(s2: S2) -> None:
    chat = await anthropic_chat_on(s2)
    source = Source(user_message("hi"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("hi")
    assert await chat.stop("c")
    body = await reading.rest()
    assert '"id":"msg_perdure_stop_' in body
    assert body.count("event: message_stop") == 1
    assert (await chat.history("c"))["turns"] == [{"user": "hi", "stopped": True}]
    await chat.aclose()


async def test_a_stop_after_the_last_event_adds_nothing(chat: AnthropicChat, stream: Stream) -> None:
    await write(stream, fence(HOLDER), *bodies(*TURN))
    assert await chat.stop("c")
    assert shown(await records_of(stream)) == ["fence session-", *bodies(*TURN), "fence end-stop-"]


async def test_a_block_that_ends_meanwhile_is_not_ended_twice(
    chat: AnthropicChat, stream: Stream, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), *bodies(*TURN[:4]))

    async def go_on(batch: object) -> None:
        spy.meanwhile = None
        await stream.append([AppendRecord(bodies(block_stop())[0])], fencing_token=HOLDER)

    spy.meanwhile = go_on
    assert await chat.stop("c")
    assert shown(await records_of(stream))[5:] == [*bodies(block_stop()), *CLOSING, "fence end-stop-"]


async def test_a_stop_races_a_writer_and_the_message_is_whole(s2: S2) -> None:
    """Whenever the stop comes: each block ends once, the message ends once, and the SDK reads all of it."""
    chat, other = await anthropic_chat_on(s2), await anthropic_chat_on(s2)
    for number in range(8):
        name = f"race-{number}"

        async def source() -> AsyncIterator[Event]:
            yield message_start()
            for index in itertools.count():
                yield block_start(index)
                yield text_delta("x", index)
                await asyncio.sleep(0.001)
                yield block_stop(index)

        reading = Reading(await chat.make_resumable(name, source, wait_until=chat.background))
        await reading.until(f'"index":{number}')
        assert await other.stop(name)
        await reading.rest()
        await chat.drain()
        records = shown(await records_of(s2.basin(BASIN).stream(name)))
        assert records[-3:] == [*CLOSING, "fence end-stop-"]
        events = [json.loads(record) for record in records[1:-1]]
        kinds = [(event["type"], event.get("index")) for event in events]
        started = [index for kind, index in kinds if kind == "content_block_start"]
        stopped = [index for kind, index in kinds if kind == "content_block_stop"]
        assert stopped in (started, started[:-1])  # the last is missing if the stop lost so many races that it insisted
        assert [kind for kind, _ in kinds].count("message_stop") == 1
        message: Any = (await other.history(name))["messages"][0]
        assert [block["text"] for block in message["content"]][:-1] == ["x"] * (len(started) - 1)
    await chat.aclose()
    await other.aclose()


async def test_after_many_lost_races_the_stop_insists(chat: AnthropicChat, stream: Stream, spy: SpyTransport) -> None:
    await write(stream, fence(HOLDER), *bodies(*TURN[:4]))
    races = 0

    async def go_on(batch: AppendInput) -> None:
        nonlocal races
        if batch.fencing_token == HOLDER and batch.records[-1].body.startswith(b"end-stop-"):
            races += 1
            await stream.append([AppendRecord(bodies(text_delta(str(races)))[0])])

    spy.meanwhile = go_on
    assert await chat.stop("c")
    assert races == 21
    stored = shown(await records_of(stream))
    assert stored[-3:] == [*CLOSING, "fence end-stop-"]
    assert bodies(block_stop())[0] not in stored


# --- abandoned generations ---


async def test_a_history_ends_a_generation_whose_writer_is_gone(chat: AnthropicChat, stream: Stream) -> None:
    dead = AppendRecord.fence(leased(100), timestamp=1)
    await stream.append([dead, *(AppendRecord(body, timestamp=2) for body in bodies(*TURN[:4]))])
    history = await chat.history("c", partials=True)
    (turn,) = history["turns"]
    assert turn["error"] == {"type": "api_error", "message": "An error occurred."}
    assert turn["partial"]["content"] == [{"type": "text", "text": "Hel"}]
    assert history["nextSeqNum"] == 7
    assert shown(await records_of(stream))[-2:] == [GENERIC, "fence error-"]


async def test_the_next_turn_takes_an_abandoned_session_over(chat: AnthropicChat, stream: Stream) -> None:
    dead = AppendRecord.fence(leased(100), timestamp=1)
    await stream.append([dead, *(AppendRecord(body, timestamp=2) for body in bodies(*TURN[:2]))])
    assert frames(await run(chat, TURN))[0][0] == 7
    assert shown(await records_of(stream))[3:6] == [GENERIC, "fence error-", "fence session-"]


# --- histories ---


async def test_a_source_asks_for_the_conversation_before_it(chat: AnthropicChat) -> None:
    async def source() -> AsyncIterator[Event]:
        yield user_message("weather?")
        asked.append(await chat.conversation("c", "weather?"))
        for event in tool_turn("{}", message_id="m1"):
            yield event
        yield tool_result("toolu_1", "sunny")
        asked.append(await chat.conversation("c", "weather?"))  # what is active is not in it, stored or not
        for event in text_turn("Sunny.", message_id="m2"):
            yield event

    asked: list[object] = []
    await run(chat, source)
    assert asked == [[{"role": "user", "content": "weather?"}]] * 2
    await run(chat, source)
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    assert (
        asked[2:]
        == [
            [
                {"role": "user", "content": "weather?"},
                {"role": "assistant", "content": [call]},
                {"role": "user", "content": [tool_result("toolu_1", "sunny")]},
                {"role": "assistant", "content": [{"type": "text", "text": "Sunny."}]},
                {"role": "user", "content": "weather?"},
            ]
        ]
        * 2
    )


async def test_a_conversation_has_what_a_writer_left_that_is_gone(chat: AnthropicChat, stream: Stream) -> None:
    dead = AppendRecord.fence(leased(100), timestamp=1)
    await stream.append([dead, *(AppendRecord(body, timestamp=2) for body in bodies(*TURN[:-3]))])
    said = await chat.conversation("c", partials=True)
    assert said[1] == {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
    assert await chat.conversation("c", [{"type": "text", "text": "again"}]) == [
        {"role": "user", "content": "again"},
    ]


async def test_a_chat_that_nobody_wrote_to_has_an_empty_history(chat: AnthropicChat) -> None:
    assert await chat.history("c") == {"turns": [], "messages": [], "nextSeqNum": 0}


async def test_a_history_is_json_that_nobody_stores(chat: AnthropicChat) -> None:
    await run(chat, TURN)
    response = await chat.history_response("c")
    assert (response.status, response.headers["cache-control"]) == (200, "no-store")
    assert response.headers["content-type"] == "application/json"
    expected = {
        "turns": [{"user": "hi", "assistant": text_message("Hello")}],
        "messages": [text_message("Hello")],
        "nextSeqNum": 10,
    }
    assert json.loads(bytes(response.body)) == expected


async def test_what_a_history_has_read_it_does_not_read_again(
    chat: AnthropicChat, stream: Stream, spy: SpyTransport
) -> None:
    for _ in range(5):
        await run(chat, TURN)
    await chat.history("c")
    await run(chat, TURN)
    before = len(spy.reads)
    assert len((await chat.history("c"))["turns"]) == 6
    assert len(spy.reads) - before <= 3
    starts = [request.start for _, request in spy.reads[before:]]
    assert starts[:2] == [SeqNum(0), SeqNum(49)]
    assert starts[2:] in ([], [SeqNum(60)])


async def test_a_chat_that_was_deleted_and_made_anew_shows_nothing_old(s2: S2, chat: AnthropicChat) -> None:
    other = await anthropic_chat_on(s2)  # was not told of the deletion
    await run(chat, TURN)
    assert await chat.history("c") == await other.history("c")
    assert await chat.delete("c")
    assert not await chat.delete("c")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:  # the name is free when what it held is gone
            try:
                await run(chat, [user_message("anew"), *text_turn("Hello")])
                break
            except StreamDeletionPending:
                await asyncio.sleep(0.01)
    for each in (chat, other):
        assert [turn["user"] for turn in (await each.history("c"))["turns"]] == ["anew"]
    await other.aclose()


async def test_a_history_whose_first_records_are_gone_is_made_anew(chat: AnthropicChat, stream: Stream) -> None:
    await run(chat, TURN)
    tail = (await stream.check_tail()).seq_num
    await run(chat, [user_message("second"), *text_turn("Bye")])
    assert len((await chat.history("c"))["turns"]) == 2
    await stream.trim(tail)
    assert [turn["user"] for turn in (await chat.history("c"))["turns"]] == ["second"]


async def test_a_shared_stream_has_the_history_of_its_last_turn(s2: S2) -> None:
    chat = await anthropic_chat_on(s2, mode="shared")
    for said in ("one", "two"):
        await run(chat, [user_message(said), *text_turn("Hello")])
        assert said in [turn["user"] for turn in (await chat.history("c"))["turns"]]
    await chat.aclose()


async def test_a_history_while_the_first_message_arrives(chat: AnthropicChat) -> None:
    source = Source(user_message("hi"), message_start(), block_start(), text_delta("Hel"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("Hel")
    assert await chat.history("c") == {"turns": [{"user": "hi"}], "messages": [], "nextSeqNum": 2}
    source.give(block_stop(), message_delta(), MESSAGE_STOP)
    source.end()
    await reading.rest()
    await chat.drain()
    assert (await chat.history("c"))["messages"] == [text_message("Hel")]
