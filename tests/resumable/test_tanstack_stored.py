"""What is stored of a source's AG-UI events: slimmed, and in the forms that all clients read."""

import itertools
import json
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.resumable.chunks import SourceChunk
from perdure.resumable.json_body import encode_body
from perdure.resumable.tanstack_records import ClosingRun, rewrite_error_event
from perdure.resumable.tanstack_stored import StoredEvents
from tests.resumable.tanstack_scripts import (
    Event,
    answer,
    run_error,
    run_finished,
    run_started,
    source_events,
    text_content,
    text_end,
    text_message,
    text_start,
    tool_args,
    tool_call,
    tool_end,
    tool_result,
    tool_start,
)

NOW_MS = 1_700_000_000_000


def stored(events: list[Event], *, ends: bool = True) -> list[Event]:
    """What a log holds of a source that gives `events`, and then ends."""
    numbers = itertools.count(1)
    fold = StoredEvents(lambda: NOW_MS, lambda prefix: f"{prefix}{next(numbers)}")
    chunks = [one for event in events for one in fold.apply(SourceChunk(event, encode_body(event)))]
    chunks += fold.ending() if ends else []
    return [json.loads(chunk.body) for chunk in chunks]


def without_time(events: list[Event]) -> list[Event]:
    return [{key: value for key, value in event.items() if key != "timestamp"} for event in events]


# --- slimming ---


def test_a_normal_run_is_stored_as_it_is() -> None:
    events = [*answer("Hel", "lo"), *answer("x", run="r2", message="a2")]
    assert stored(events) == events


def test_the_running_total_beside_an_increment_is_dropped_and_nothing_else() -> None:
    event = {**text_content("lo"), "content": "Hello", "timestamp": 5, "model": "m", "rawEvent": None}
    assert stored([event]) == [{**text_content("lo"), "timestamp": 5, "model": "m", "rawEvent": None}]


def test_running_totals_alone_become_increments() -> None:
    totals: list[Event] = [
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a1", "content": text} for text in ("He", "Hello", "Hello", "H")
    ]
    assert stored([*totals, {**totals[0], "delta": "", "content": "Hello!"}]) == [
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a1", "delta": "He"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a1", "delta": "llo"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a1", "delta": "!"},
    ]


def test_a_total_counts_the_increments_before_it_of_its_own_message_only() -> None:
    total: Event = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a1", "content": "Hello"}
    events = [text_content("Hel"), text_content("x", "a2"), total]
    assert stored(events)[-1] == text_content("lo")


def test_a_total_that_does_not_go_on_from_the_text_is_all_new() -> None:
    total: Event = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a1", "content": "Other"}
    assert stored([text_content("Hel"), total])[-1] == text_content("Other")


# --- chunks ---


def test_text_chunks_become_a_message_that_ends_when_something_else_follows() -> None:
    chunks: list[Event] = [
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "a1", "delta": "Hel", "timestamp": 7},
        {"type": "TEXT_MESSAGE_CHUNK", "delta": "lo"},
    ]
    events = [run_started(), *chunks, {"type": "CUSTOM", "name": "x", "value": 1}, tool_start(), run_finished()]
    found = stored(events)
    assert without_time(found) == [
        run_started(),
        *text_message("Hel", "lo")[:-1],
        {"type": "CUSTOM", "name": "x", "value": 1},
        text_end(),
        tool_start(),
        run_finished(),
    ]
    assert [event.get("timestamp") for event in found[1:4]] == [7, 7, None]


def test_a_chunk_of_another_message_ends_the_one_before() -> None:
    events: list[Event] = [
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": message, "role": role, "delta": "x"}
        for message, role in (("a1", "assistant"), ("u1", "user"))
    ]
    expected = [*text_message("x"), *text_message("x", message="u1", role="user")]
    assert without_time(stored(events)) == expected


def test_tool_and_reasoning_chunks_become_their_events() -> None:
    events: list[Event] = [
        {"type": "REASONING_MESSAGE_CHUNK", "messageId": "th1", "delta": "Hm"},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "c1", "toolCallName": "weather", "parentMessageId": "a1"},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "c1", "delta": "{}"},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "c2", "toolCallName": "weather", "delta": "1"},
    ]
    assert without_time(stored([*events, run_error()])) == [
        {"type": "REASONING_MESSAGE_START", "messageId": "th1", "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "th1", "delta": "Hm"},
        {"type": "REASONING_MESSAGE_END", "messageId": "th1"},
        *tool_call("{}", parentMessageId="a1"),
        *tool_call("1", call="c2"),
        run_error(),
    ]


def test_chunks_of_what_the_source_has_begun_itself_get_no_second_start_or_end() -> None:
    chunk: Event = {"type": "TEXT_MESSAGE_CHUNK", "messageId": "a1", "delta": "x"}
    assert stored([text_start(), chunk, text_end()]) == text_message("x")


def test_a_text_without_an_id_gets_one() -> None:
    chunk: Event = {"type": "TEXT_MESSAGE_CHUNK", "delta": "x"}
    assert without_time(stored([chunk, chunk])) == text_message("x", "x", message="msg-1")


@pytest.mark.parametrize("lacking", ["toolCallId", "toolCallName"])
def test_a_tool_chunk_that_belongs_to_no_call_stays_what_it_is(lacking: str) -> None:
    chunk: Event = {"type": "TOOL_CALL_CHUNK", "toolCallId": "c1", "toolCallName": "weather", "delta": "x"}
    del chunk[lacking]
    assert stored([chunk]) == [chunk]


# --- older forms ---


def test_legacy_thinking_becomes_reasoning_with_ids() -> None:
    text: list[Event] = [
        {"type": "THINKING_TEXT_MESSAGE_START"},
        {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "Hm"},
        {"type": "THINKING_TEXT_MESSAGE_END"},
    ]
    events: list[Event] = [{"type": "THINKING_START", "title": "T"}, *text, {"type": "THINKING_END"}, *text, *text]

    def thought(message: str) -> list[Event]:
        return [
            {"type": "REASONING_MESSAGE_START", "messageId": message, "role": "reasoning"},
            {"type": "REASONING_MESSAGE_CONTENT", "messageId": message, "delta": "Hm"},
            {"type": "REASONING_MESSAGE_END", "messageId": message},
        ]

    assert stored(events) == [
        {"type": "REASONING_START", "messageId": "reasoning-1", "title": "T"},
        *thought("reasoning-1"),
        {"type": "REASONING_END", "messageId": "reasoning-1"},
        *thought("reasoning-2"),
        *thought("reasoning-3"),
    ]


def test_a_result_at_the_end_of_a_call_gets_the_event_that_newer_clients_read() -> None:
    ends = [tool_end("c1", result='{"a":1}', timestamp=3), tool_end("c2", result={"b": 2}, state="output-error")]
    events = [tool_start("c1", parentMessageId="a1"), tool_start("c2"), *ends, text_start("a2")]
    found = stored(events)
    assert found[:4] == events[:4]
    first, second, last = found[4:]
    assert first == {**tool_result('{"a":1}', "c1", "a1"), "timestamp": 3}
    assert second == {**tool_result('{"b":2}', "c2", "c2"), "timestamp": NOW_MS, "state": "output-error"}
    assert last == text_start("a2")


def test_a_result_that_comes_by_itself_is_not_told_twice() -> None:
    events = [tool_start(), tool_end(result="1"), tool_result("1"), run_finished()]
    assert stored(events) == events


# --- the end ---


def test_a_run_that_is_left_open_is_finished() -> None:
    assert stored([run_started("r7", "t7"), text_content("x")])[-1] == {
        "type": "RUN_FINISHED",
        "runId": "r7",
        "threadId": "t7",
        "timestamp": NOW_MS,
        "finishReason": "stop",
    }
    assert "threadId" not in stored([{"type": "RUN_STARTED", "runId": "r"}])[-1]


@pytest.mark.parametrize("events", [[], [text_content("x")], answer("x"), [run_started(), run_error()]])
def test_a_source_without_an_open_run_gets_nothing(events: list[Event]) -> None:
    assert stored(events) == events


def test_what_is_open_is_closed_before_the_run_is_finished() -> None:
    events: list[Event] = [run_started(), {"type": "TEXT_MESSAGE_CHUNK", "messageId": "a1", "delta": "x"}]
    kinds = [event["type"] for event in stored([*events, tool_start(), tool_end(result="1")])]
    assert kinds[-3:] == ["TOOL_CALL_END", "TOOL_CALL_RESULT", "RUN_FINISHED"]
    assert [event["type"] for event in stored(events)][-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]


# --- anything ---


@given(st.lists(source_events(), max_size=25))
def test_what_is_stored_is_stored_the_same_again(events: list[Event]) -> None:
    once = stored(events)
    assert stored(once) == once


@given(st.lists(source_events(), max_size=25))
def test_no_form_is_stored_that_clients_do_not_read(events: list[Event]) -> None:
    for event in stored(events):
        kind = event["type"]
        assert not kind.startswith("THINKING_")
        assert kind not in ("TEXT_MESSAGE_CHUNK", "REASONING_MESSAGE_CHUNK")
        if kind == "TEXT_MESSAGE_CONTENT" and event.get("delta"):
            assert "content" not in event


@given(st.lists(source_events(), max_size=25))
def test_no_text_is_lost_or_told_twice(events: list[Event]) -> None:
    expected: dict[str, str] = defaultdict(str)
    current = ""
    for event in events:
        kind, delta = event["type"], event.get("delta") or ""
        if kind == "TEXT_MESSAGE_CHUNK":
            # A chunk without an id belongs to the message of the chunk before, or to a new one.
            current = event["messageId"] or current or "new"
            expected[current] += delta
        elif kind == "TEXT_MESSAGE_CONTENT":
            message, content = event["messageId"], event.get("content", "")
            seen = expected[message]
            if delta or content.startswith(seen):
                expected[message] = seen + delta if delta else content
            elif not seen.startswith(content):
                expected[message] += content
        if kind not in ("TEXT_MESSAGE_CHUNK", "CUSTOM", "STATE_DELTA"):
            current = ""
    found: dict[str, str] = defaultdict(str)
    for event in stored(events):
        if event["type"] == "TEXT_MESSAGE_CONTENT":
            message = event["messageId"]
            found[message if message in ("a1", "a2", "u1") else "new"] += event.get("delta", "")
    assert {key: text for key, text in found.items() if text} == {key: text for key, text in expected.items() if text}


@given(st.lists(source_events(), max_size=25))
def test_what_is_begun_for_chunks_is_ended_once(events: list[Event]) -> None:
    chunks = [event for event in events if event["type"].endswith("_CHUNK") or event["type"] == "CUSTOM"]
    open_now: set[str] = set()
    for event in stored(chunks):
        kind = event["type"]
        key = kind.rsplit("_", 1)[0] + str(event.get("toolCallId", event.get("messageId")))
        if kind.endswith("_START"):
            assert not open_now
            open_now.add(key)
        elif kind.endswith("_END"):
            open_now.remove(key)
        elif kind.endswith(("_CONTENT", "_ARGS")):
            assert key in open_now
    assert not open_now


# --- stops and errors ---


def closing(events: list[Event]) -> list[Event]:
    fold = ClosingRun(lambda: NOW_MS)
    for event in events:
        fold.feed(encode_body(event))
    assert fold.essential() == fold.records()
    return [json.loads(body) for body in fold.records()]


def test_a_stop_finishes_the_run_under_its_own_ids() -> None:
    (event,) = closing([run_started("r1", "t1"), text_content("x")])
    assert list(event.items()) == [
        ("type", "RUN_FINISHED"),
        ("runId", "r1"),
        ("threadId", "t1"),
        ("model", "s2-stop"),
        ("timestamp", NOW_MS),
        ("finishReason", "stop"),
    ]


def test_a_stop_before_the_run_begins_names_a_run_of_its_own() -> None:
    (event,) = closing([])
    assert event["runId"] == f"s2-stop-{NOW_MS}"
    assert "threadId" not in event


@pytest.mark.parametrize("end", [run_finished(), run_error(), run_finished(reason="length")])
def test_a_run_that_is_over_is_not_finished_again(end: Event) -> None:
    assert closing([run_started(), end]) == []
    assert len(closing([run_started(), end, run_started("r2")])) == 1


@pytest.mark.parametrize(
    ("end", "finishes"),
    [
        (run_finished(reason="tool_calls"), True),
        (run_finished(reason="tool_calls", outcome={"type": "interrupt", "interrupts": []}), False),
        ({"type": "RUN_FINISHED", "runId": "r1", "metadata": {"tanstack": {"finishReason": "tool_calls"}}}, True),
    ],
)
def test_a_run_whose_tools_are_being_run_is_finished_since_clients_wait(end: Event, finishes: bool) -> None:
    assert len(closing([run_started(), end])) == int(finishes)


def test_the_words_of_a_provider_are_replaced_wherever_they_stand() -> None:
    event = run_error("secret", code="E1", error={"message": "secret"}, rawEvent={"body": "secret"})
    seen: list[str] = []

    def text_of(failure: Exception) -> str:
        seen.append(str(failure))
        return "Sorry."

    assert rewrite_error_event(event, text_of) == {
        "type": "RUN_ERROR",
        "message": "Sorry.",
        "code": "E1",
        "error": {"message": "Sorry."},
    }
    assert seen == ["secret"]
    rewrite_error_event({"type": "RUN_ERROR", "error": {"message": "nested"}}, text_of)
    assert seen[-1] == "nested"
    assert rewrite_error_event(tool_args("x"), text_of) == tool_args("x")
