"""Logs of Anthropic events folded to turns: each rule, any slicing, and agreement with a plain model of the table."""

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import AppendRecord
from perdure.model.records import SequencedRecord
from perdure.resumable.anthropic import accumulate_message, tool_result, user_message
from perdure.resumable.anthropic_history import TurnsFold
from perdure.resumable.anthropic_message import RAW_EVENT_TYPES
from perdure.resumable.anthropic_records import AnthropicError, ClosingEvents, error_event, stored_event
from perdure.resumable.frames import type_named
from perdure.resumable.json_body import JsonObject, encode_body
from tests.resumable.anthropic_scripts import (
    MESSAGE_STOP,
    Event,
    block_start,
    message_delta,
    message_start,
    streamed,
    text_delta,
    text_message,
    text_turn,
    tool_turn,
)
from tests.resumable.chats import HOLDER

Entry = Event | str
"""A stored event; or `fence <token>`, `trim`, or any other text as a body."""


def records(*entries: Entry) -> list[SequencedRecord]:
    return [_record(seq_num, entry) for seq_num, entry in enumerate(entries)]


def _record(seq_num: int, entry: Entry) -> SequencedRecord:
    if isinstance(entry, dict):
        record = AppendRecord(encode_body(entry))
    elif entry.startswith("fence "):
        record = AppendRecord.fence(entry.removeprefix("fence "))
    else:
        record = AppendRecord.trim(0) if entry == "trim" else AppendRecord(entry)
    return SequencedRecord(seq_num, seq_num, record.body, record.headers)


def history(*entries: Entry, partials: bool = False) -> Any:
    fold = TurnsFold()
    fold.feed(records(*entries))
    return fold.snapshot(partials=partials)


BEGIN = f"fence {HOLDER}"
PARTIAL = [message_start(), block_start(), text_delta("he")]


# --- acceptance vectors and the table ---


def test_a_failed_turn_and_an_answered_one() -> None:
    failed = error_event("upstream failed")
    log: list[Entry] = [
        BEGIN,
        user_message("first"),
        failed,
        "fence error-A",
        BEGIN,
        user_message("second"),
        *text_turn("Hello"),
    ]
    assert history(*log, "fence end-A") == {
        "turns": [
            {"user": "first", "error": {"type": "api_error", "message": "upstream failed"}},
            {"user": "second", "assistant": text_message("Hello")},
        ],
        "messages": [text_message("Hello")],
        "nextSeqNum": 13,
    }


def test_an_answer_that_is_arriving_is_left_to_the_replay() -> None:
    assert history(BEGIN, user_message("hello"), *PARTIAL) == {
        "turns": [{"user": "hello"}],
        "messages": [],
        "nextSeqNum": 2,
    }


def test_an_empty_log_has_an_empty_history() -> None:
    assert history() == {"turns": [], "messages": [], "nextSeqNum": 0}


def test_an_answer_without_a_user_message_is_a_message_without_a_turn() -> None:
    assert history(BEGIN, *text_turn("Hello"), "fence end-A") == {
        "turns": [],
        "messages": [text_message("Hello")],
        "nextSeqNum": 8,
    }


def test_of_a_tool_loop_the_turn_has_the_first_message_and_the_list_has_all() -> None:
    call, answer = tool_turn('{"a":1}', message_id="m1"), text_turn("Sunny", message_id="m2")
    found = history(BEGIN, user_message("weather?"), *call, *answer, "fence end-A")
    assert [message["id"] for message in found["messages"]] == ["m1", "m2"]
    assert [turn["assistant"]["id"] for turn in found["turns"]] == ["m1"]


@pytest.mark.parametrize("skipped", ["trim", "", "no JSON", "[1]", '{"type":"user_message","message":1}'])
@pytest.mark.parametrize("event", [{"type": "ping"}, {"type": "future"}, text_delta("nobody's"), MESSAGE_STOP])
def test_what_is_no_part_of_the_chat_moves_nothing(skipped: str, event: Event) -> None:
    assert history(BEGIN, user_message("a"), skipped, event)["nextSeqNum"] == 2


def test_renewals_between_events_change_nothing_but_the_cursor() -> None:
    plain: list[Entry] = [BEGIN, user_message("a"), *text_turn("Hel", "lo"), "fence end-A"]
    renewed = [entry for event in plain for entry in (event, "trim")]
    assert history(*renewed)["turns"] == history(*plain)["turns"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "overloaded_error", "message": "Busy"}, {"type": "overloaded_error", "message": "Busy"}),
        ({}, {"type": "api_error", "message": "unknown"}),
        (None, {"type": "api_error", "message": "unknown"}),
        ({"type": 1, "message": 2}, {"type": "api_error", "message": "unknown"}),
    ],
)
def test_what_an_error_record_lacks_has_a_default(error: object, expected: object) -> None:
    found = history(BEGIN, user_message("a"), {"type": "error", "error": error}, "fence error-A")
    assert found["turns"] == [{"user": "a", "error": expected}]


CALL = tool_turn('{"a":1}', message_id="msg_0")


def test_a_tool_loop_that_fails_after_its_first_message_tells_so_in_the_turn() -> None:
    log: list[Entry] = [BEGIN, user_message("a"), *CALL, *PARTIAL, error_event("x"), "fence error-A"]
    (turn,) = history(*log, partials=True)["turns"]
    assert (turn["assistant"]["id"], turn["error"]) == ("msg_0", {"type": "api_error", "message": "x"})
    assert turn["partial"]["content"] == [{"type": "text", "text": "he"}]
    assert "stopped" not in turn
    assert history(*log, BEGIN, *text_turn("late"), "fence end-A")["turns"][0]["error"] == turn["error"]


def test_a_tool_loop_that_is_stopped_after_its_first_message_tells_so_in_the_turn() -> None:
    in_a_tool = [user_message("a"), *CALL]
    in_an_answer = [*in_a_tool, *PARTIAL]
    for begun in (in_a_tool, in_an_answer):
        (turn,) = history(BEGIN, *begun, *closing(*begun), "fence end-stop-A")["turns"]
        assert (turn["assistant"]["id"], turn["stopped"]) == ("msg_0", True)


def test_a_generation_that_fails_before_it_says_anything_leaves_the_answered_turn_before_it_alone() -> None:
    log: list[Entry] = [BEGIN, user_message("a"), *text_turn("Hello"), "fence end-A"]
    found = history(*log, BEGIN, error_event("x"), "fence error-A")
    assert found["turns"] == [{"user": "a", "assistant": text_message("Hello")}]


def test_an_answer_that_is_stopped_once_the_model_has_said_why_it_ended_is_whole() -> None:
    begun = [user_message("a"), *text_turn("Hello")[:-1]]
    assert closing(*begun) == ['{"type":"message_stop"}']
    found = history(BEGIN, *begun, *closing(*begun), "fence end-stop-A")
    assert found["turns"] == [{"user": "a", "assistant": text_message("Hello")}]
    fold = ClosingEvents(lambda: 0)
    for event in begun:
        fold.feed(encode_body(event))
    assert fold.essential() == [b'{"type":"message_stop"}']


def test_what_a_tool_gave_moves_nothing() -> None:
    """So that readers who know nothing of it see what they saw before."""
    plain: list[Entry] = [BEGIN, user_message("a"), *CALL]
    told = history(*plain, tool_result("toolu_1", "sunny"))
    assert told == history(*plain)


def test_events_after_an_error_wait_for_the_next_message() -> None:
    log: list[Entry] = [
        BEGIN,
        user_message("a"),
        *PARTIAL,
        error_event("x"),
        text_delta("late"),
        MESSAGE_STOP,
        "fence error-A",
    ]
    assert history(*log)["messages"] == []


def test_the_end_of_a_generation_ends_its_message() -> None:
    log: list[Entry] = [
        BEGIN,
        user_message("a"),
        *PARTIAL,
        "fence end-A",
        BEGIN,
        text_delta("late"),
        MESSAGE_STOP,
        "fence end-B",
    ]
    assert history(*log) == {"turns": [{"user": "a"}], "messages": [], "nextSeqNum": 10}


# --- stopped and failed ---


def closing(*entries: Event) -> list[Event | str]:
    fold = ClosingEvents(lambda: 1700)
    for entry in entries:
        fold.feed(encode_body(entry))
    return [body.decode() for body in fold.records()]


def test_a_stopped_answer_is_whole_and_marked() -> None:
    begun = [user_message("hi"), *PARTIAL]
    stopped = text_message("he", stop_reason=None) | {"usage": {"input_tokens": 25, "output_tokens": 1}}
    assert history(BEGIN, *begun, *closing(*begun), "fence end-stop-A") == {
        "turns": [{"user": "hi", "assistant": stopped, "stopped": True}],
        "messages": [stopped],
        "nextSeqNum": 9,
    }


@pytest.mark.parametrize("begun", [[], [message_start()], [message_start(), block_start()]])
def test_an_answer_that_was_stopped_before_a_word_is_no_message(begun: list[Event]) -> None:
    begun = [user_message("hi"), *begun]
    found = history(BEGIN, *begun, *closing(*begun), "fence end-stop-A")
    assert (found["turns"], found["messages"]) == ([{"user": "hi", "stopped": True}], [])


def test_a_stop_without_closing_records_marks_the_turn() -> None:
    assert history(BEGIN, user_message("hi"), "fence end-stop-A")["turns"] == [{"user": "hi", "stopped": True}]
    answered: list[Entry] = [BEGIN, user_message("hi"), *text_turn("Hello"), "fence end-stop-A"]
    assert history(*answered)["turns"] == [{"user": "hi", "assistant": text_message("Hello")}]


def test_an_answer_to_a_turn_that_was_stopped_takes_the_mark_away() -> None:
    log: list[Entry] = [BEGIN, user_message("hi"), "fence end-stop-A", BEGIN, *text_turn("Hello"), "fence end-B"]
    assert history(*log)["turns"] == [{"user": "hi", "assistant": text_message("Hello")}]


@pytest.mark.parametrize("with_record", [True, False])
def test_what_there_was_of_a_failed_answer_is_told_on_request(with_record: bool) -> None:
    error = [error_event("broken")] if with_record else []
    log: list[Entry] = [BEGIN, user_message("hi"), *PARTIAL, *error, "fence error-A"]
    told = {"error": {"type": "api_error", "message": "broken"}} if with_record else {}
    assert history(*log) == {"turns": [{"user": "hi", **told}], "messages": [], "nextSeqNum": len(log)}
    partial = PARTIAL[0]["message"] | {"content": [{"type": "text", "text": "he"}]}
    assert history(*log, partials=True)["turns"] == [{"user": "hi", **told, "partial": partial}]


def test_a_failed_tool_call_keeps_an_input_that_can_be_read() -> None:
    for pieces, expected in ((('{"a":', "1}"), {"a": 1}), (('{"a":',), {})):
        log: list[Entry] = [BEGIN, user_message("hi"), *tool_turn(*pieces)[:-3], error_event("x"), "fence error-A"]
        (turn,) = history(*log, partials=True)["turns"]
        assert turn["partial"]["content"][0]["input"] == expected


# --- any log ---

ENTRIES = st.one_of(
    st.just([BEGIN]),
    st.just(["fence end-A"]),
    st.just(["fence end-stop-A"]),
    st.just(["fence error-A"]),
    st.just(["trim"]),
    st.just(["{"]),
    st.just([error_event("x")]),
    st.just([tool_result("toolu_1", "sunny")]),
    st.text(max_size=3).map(lambda text: [user_message(text)]),
    streamed().map(lambda case: case[1]),
    streamed().flatmap(lambda case: st.integers(1, len(case[1])).map(lambda count: case[1][:count])),
)
LOGS = st.lists(ENTRIES, max_size=6).map(lambda parts: [entry for part in parts for entry in part])


def model(log: Sequence[Entry]) -> Any:
    """The rows of the table, with the message folded by `accumulate` at the end of each."""
    turns: list[Any] = []
    messages: list[Any] = []
    cursor = 0
    events: list[JsonObject] | None = None
    speaks, last_reason = False, None
    for seq_num, entry in enumerate(log):
        open_turn = turns[-1] if turns and not turns[-1].keys() & {"assistant", "error"} else None
        turn = turns[-1] if turns and speaks else open_turn
        if isinstance(entry, str):
            if entry.startswith(("fence end-", "fence error-")):
                cursor, events = seq_num + 1, None
                if entry.startswith("fence end-stop-"):
                    if open_turn is not None:
                        open_turn["stopped"] = True
                    elif turn is not None and last_reason == "tool_use":
                        turn["stopped"] = True
            if entry.startswith("fence "):
                speaks, last_reason = False, None
            continue
        match entry["type"]:
            case "user_message":
                turns.append({"user": entry["message"]})
                events, speaks, last_reason = None, True, None
            case "error":
                if turn is not None:
                    turn.setdefault("error", entry["error"])
                events = None
            case "message_start":
                events, speaks = [entry], True
                continue
            case "message_stop" if events is not None:
                message: Any = accumulate_message([*events, entry])
                events, last_reason = None, message["stop_reason"]
                if message["stop_reason"] or any(
                    block["type"] != "text" or block["text"] for block in message["content"]
                ):
                    messages.append(message)
                    if open_turn is not None:
                        open_turn.pop("stopped", None)
                        open_turn["assistant"] = message
                elif open_turn is not None:
                    open_turn["stopped"] = True
            case _:
                if events is not None:
                    events.append(entry)
                continue
        cursor = seq_num + 1
    return {"turns": turns, "messages": messages, "nextSeqNum": cursor}


ODD_VALUES = st.recursive(
    st.sampled_from([None, True, -1, 0, 1, 1e300, "text", "tool_use", "thinking", "compaction", "{", '{"a":1}'])
    | st.sampled_from(["text_delta", "input_json_delta", "citations_delta", "signature_delta", "compaction_delta"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "index", "text", "usage", "content", "output_tokens", "partial_json", "citation"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)
ODD_EVENTS: st.SearchStrategy[Event] = st.fixed_dictionaries(
    {"type": st.sampled_from([*sorted(RAW_EVENT_TYPES), "user_message", "error"]) | ODD_VALUES},
    optional={
        "index": st.sampled_from([0, 1]) | ODD_VALUES,
        "message": st.just({"content": []}) | ODD_VALUES,
        **dict.fromkeys(["delta", "content_block", "usage", "error"], ODD_VALUES),
    },
)


@given(st.lists(ODD_EVENTS, max_size=10))
def test_no_odd_event_keeps_the_rest_from_being_told(events: list[Event]) -> None:
    log: list[Entry] = [BEGIN, user_message("hi"), *events, "fence end-A", BEGIN, user_message("more")]
    found = history(*log, *text_turn("Hello"), "fence end-B", partials=True)
    assert (found["turns"][0]["user"], found["turns"][-1]) == (
        "hi",
        {"user": "more", "assistant": text_message("Hello")},
    )
    assert found["nextSeqNum"] == len(log) + 7
    assert not closing(*events, *text_turn("Hello"))
    for event in events:
        with contextlib.suppress(AnthropicError):
            stored_event(event)
        assert type_named(0, encode_body(event)).endswith(b"id: 1\n\n")


@given(LOGS)
def test_the_fold_does_what_the_table_says(log: list[Entry]) -> None:
    assert history(*log) == model(log)


@given(LOGS, st.data())
def test_a_kept_fold_goes_on_as_if_it_had_seen_all(log: list[Entry], data: st.DataObject) -> None:
    """Whatever was kept, whenever: what is fed to one fold is not seen by the other."""
    every = records(*log)
    whole = TurnsFold()
    whole.feed(every)
    seen = data.draw(st.integers(0, len(every)))
    kept = TurnsFold()
    kept.feed(every[:seen])
    before = copy.deepcopy(kept.snapshot(partials=True))
    settled = kept.settled()
    assert settled.is_settled
    settled.feed(every)  # what it knows is passed over
    again = settled.settled()
    again.feed(every)
    assert settled.snapshot(partials=True) == again.snapshot(partials=True) == whole.snapshot(partials=True)
    assert kept.snapshot(partials=True) == before
    assert (settled.generating, settled.size_bytes) == (whole.generating, whole.size_bytes)


# --- closing records ---


@given(streamed(), st.data())
def test_what_closes_a_message_makes_it_whole_wherever_it_was_stopped(
    case: tuple[Event, list[Event]], data: st.DataObject
) -> None:
    message, events = case
    begun = events[: data.draw(st.integers(0, len(events)))]
    found = history(BEGIN, user_message("hi"), *begun, *closing(*begun), "fence end-stop-A")
    (turn,) = found["turns"]
    reason = message["stop_reason"] if message_ends(begun) else None
    assert turn.get("stopped", False) == (reason is None or reason == "tool_use")
    assert "error" not in turn
    assert found["messages"] == ([turn["assistant"]] if "assistant" in turn else [])


def message_ends(begun: Sequence[Event]) -> bool:
    """Whether the model has said why it stops."""
    return any(event["type"] == "message_delta" for event in begun)


def test_closing_records_close_the_open_blocks_in_order() -> None:
    events = [message_start(), block_start(1), block_start(0), message_delta(None, output_tokens=7)]
    assert closing(*events) == [
        '{"type":"content_block_stop","index":0}',
        '{"type":"content_block_stop","index":1}',
        '{"type":"message_delta","delta":{"stop_reason":null,"stop_sequence":null},"usage":{"output_tokens":7}}',
        '{"type":"message_stop"}',
    ]


def test_a_generation_without_a_message_is_closed_with_an_empty_one() -> None:
    start, *rest = closing(user_message("hi"))
    assert start == (
        '{"type":"message_start","message":{"id":"msg_perdure_stop_1700","type":"message","role":"assistant",'
        '"model":"perdure-stop","content":[],"stop_reason":null,"stop_sequence":null,'
        '"usage":{"input_tokens":0,"output_tokens":0}}}'
    )
    assert rest == closing(message_start(usage={}))


def test_after_a_whole_message_nothing_is_closed() -> None:
    fold = ClosingEvents(lambda: 0)
    for event in [*PARTIAL, MESSAGE_STOP, text_delta("late")]:
        fold.feed(encode_body(event))
    assert (fold.records(), fold.essential()) == ([], [])
    fold.feed(encode_body(message_start("msg_2")))  # a tool loop goes on
    assert len(fold.records()) == 2


def test_the_essential_records_name_no_block() -> None:
    fold = ClosingEvents(lambda: 0)
    assert len(fold.essential()) == 2
    for event in PARTIAL:
        fold.feed(encode_body(event))
    assert fold.essential() == fold.records()[1:]
