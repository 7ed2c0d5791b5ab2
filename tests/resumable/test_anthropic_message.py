"""Events folded to messages: the rules one by one, and any message streamed in any way."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from perdure.resumable.anthropic import (
    IncompleteMessage,
    accumulate_message,
    create_accumulator,
    messages_from_events,
)
from perdure.resumable.anthropic_message import MessageFold
from perdure.resumable.json_body import SourceError
from tests.resumable.anthropic_scripts import (
    MESSAGE_STOP,
    Event,
    block_start,
    block_stop,
    delta,
    message_delta,
    message_start,
    streamed,
    text_delta,
    text_message,
    text_turn,
    tool_turn,
)


def content_of(*events: Event) -> list[Any]:
    content: Any = accumulate_message([message_start(), *events, MESSAGE_STOP])["content"]
    assert isinstance(content, list)
    return content


# --- any message ---


@given(streamed())
def test_the_fold_of_a_stream_is_the_message_that_was_streamed(case: tuple[Event, list[Event]]) -> None:
    message, events = case
    assert accumulate_message(events) == message


@given(streamed())
def test_folding_changes_no_event(case: tuple[Event, list[Event]]) -> None:
    _, events = case
    before = copy.deepcopy(events)
    accumulate_message(events)
    assert events == before


@given(streamed(), st.data())
def test_a_message_that_is_cut_off_is_a_beginning_of_the_whole(
    case: tuple[Event, list[Event]], data: st.DataObject
) -> None:
    message, events = case
    fold = MessageFold()
    for event in events[: data.draw(st.integers(1, len(events)))]:
        fold.feed(event)
    partial: Any = fold.message_so_far()
    kinds = sorted(block["type"] for block in message["content"])
    for block in partial["content"]:
        assert block["type"] in kinds
        match block:
            case {"type": "text", "text": text}:
                assert any(whole.get("text", "").startswith(text) for whole in message["content"])
            case {"type": "thinking", "thinking": thinking}:
                assert any(whole.get("thinking", "").startswith(thinking) for whole in message["content"])


@given(st.lists(streamed(), max_size=3))
async def test_one_message_for_each_stop(cases: list[tuple[Event, list[Event]]]) -> None:
    async def events() -> AsyncIterator[Event]:
        for _, stream in cases:
            for event in stream:
                yield event
        yield message_start("msg_cut_off")

    assert [message async for message in messages_from_events(events())] == [message for message, _ in cases]


@given(
    st.lists(st.dictionaries(st.sampled_from(["type", "index", "delta", "message", "usage"]), st.none() | st.text()))
)
def test_nonsense_folds_to_nothing(events: list[Event]) -> None:
    fold = MessageFold()
    for event in events:
        fold.feed(event)
    assert not fold.has_begun


# --- the rules ---


def test_text_and_usage() -> None:
    assert accumulate_message(text_turn("Hel", "lo")) == text_message("Hello")


def test_counters_are_totals_and_null_says_nothing() -> None:
    ending = message_delta() | {
        "usage": {"output_tokens": 15, "input_tokens": None, "server_tool_use": {"web_search_requests": 1}}
    }
    message = accumulate_message([message_start(), ending, MESSAGE_STOP])
    assert message["usage"] == {
        "input_tokens": 25,
        "output_tokens": 15,
        "server_tool_use": {"web_search_requests": 1},
    }


def test_the_input_of_a_tool_comes_in_pieces() -> None:
    (block,) = content_of(*tool_turn('{"location":', ' "San Francisco, CA"', "}")[1:-1])
    assert block["input"] == {"location": "San Francisco, CA"}


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
@pytest.mark.parametrize(("pieces", "expected"), [((), {}), (("",), {}), (('{"a":1}',), {"a": 1}), (('{"a":',), {})])
def test_an_input_without_text_is_empty_and_a_broken_one_stays_as_it_began(
    kind: str, pieces: tuple[str, ...], expected: object
) -> None:
    (block,) = content_of(*tool_turn(*pieces, kind=kind)[1:-1])
    assert block["input"] == expected


def test_an_input_counts_only_once_its_block_has_ended() -> None:
    events = [*tool_turn('{"a":1}')[:-3], message_delta(), MESSAGE_STOP]
    fold = MessageFold()
    for event in events:
        fold.feed(event)
    whole: Any = fold.message()
    assert whole["content"][0]["input"] == {}
    so_far: Any = fold.message_so_far()
    assert so_far["content"][0]["input"] == {"a": 1}


def test_a_captured_start_may_hold_text_already() -> None:
    start = message_start(content=[{"type": "text", "text": "Hello"}])
    assert accumulate_message([start, *text_turn("Hello")[1:]]) == text_message("Hello")


def test_a_signature_replaces_and_citations_add_up() -> None:
    blocks = content_of(
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "signature_delta", signature="a"),
        delta(0, "signature_delta", signature="b"),
        block_stop(0),
        block_start(1, type="text", text="", citations=None),
        delta(1, "citations_delta", citation={"n": 1}),
        delta(1, "citations_delta", citation={"n": 2}),
        block_stop(1),
    )
    assert blocks == [
        {"type": "thinking", "thinking": "hm", "signature": "b"},
        {"type": "text", "text": "", "citations": [{"n": 1}, {"n": 2}]},
    ]


def test_deltas_of_another_kind_than_their_block_add_nothing() -> None:
    blocks = content_of(
        block_start(0),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "signature_delta", signature="s"),
        block_start(1, type="thinking", thinking=""),
        text_delta("x", 1),
        delta(1, "citations_delta", citation={}),
    )
    assert blocks == [{"type": "text", "text": ""}, {"type": "thinking", "thinking": ""}]


def test_a_compaction_keeps_its_summary() -> None:
    (block,) = content_of(
        block_start(0, type="compaction", content=None),
        delta(0, "compaction_delta", content="In short: …"),
        block_stop(0),
    )
    assert block == {"type": "compaction", "content": "In short: …"}


def test_blocks_come_in_order_without_gaps() -> None:
    blocks = content_of(block_start(3), text_delta("b", 3), block_start(1), text_delta("a", 1))
    assert [block["text"] for block in blocks] == ["a", "b"]


def test_what_ends_a_message_is_taken_if_it_is_told() -> None:
    ending = message_delta("refusal", container={"id": "c1"}, stop_details=None, other=1)
    message = accumulate_message([message_start(), ending, MESSAGE_STOP])
    assert (message["stop_reason"], message["container"], message["stop_details"]) == ("refusal", {"id": "c1"}, None)
    assert "other" not in message


def test_what_sdks_add_to_the_stops_is_not_looked_at() -> None:
    events = text_turn("Hello")
    events[3] |= {"content_block": {"type": "text", "text": "other"}}
    events[-1] = MESSAGE_STOP | {"message": text_message("other")}
    assert accumulate_message(events) == text_message("Hello")


def test_a_message_is_there_once_it_is_whole() -> None:
    accumulator = create_accumulator()
    with pytest.raises(IncompleteMessage, match="before message_start"):
        accumulator.final_message()
    for event in text_turn("Hello"):
        assert not accumulator.is_done()
        with pytest.raises(IncompleteMessage, match="before message_st"):
            accumulator.final_message()
        accumulator.push(event)
    assert accumulator.is_done()
    assert accumulator.final_message() == text_message("Hello")
    accumulator.push(message_start("msg_2"))
    assert not accumulator.is_done()
    accumulator.reset()
    with pytest.raises(IncompleteMessage, match="before message_start"):
        accumulator.final_message()


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(SourceError, match="JSON object"):
        create_accumulator().push("data: [1]\n\n")


async def test_models_of_the_sdk_are_events_too() -> None:
    models = [TypeAdapter[Any](RawMessageStreamEvent).validate_python(event) for event in tool_turn('{"a":', "1}")]
    message = accumulate_message(models)
    assert message == accumulate_message(tool_turn('{"a":', "1}"))
    assert Message.model_validate(message).content[0].type == "tool_use"
