"""The messages of the next request: what is told of each kind of turn, and that the API would take every list."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import AppendRecord
from perdure.model.records import SequencedRecord
from perdure.resumable.anthropic import RequestMessage, tool_result, user_message
from perdure.resumable.anthropic_conversation import NO_RESULT_TEXT, conversation
from perdure.resumable.anthropic_history import TurnsFold
from perdure.resumable.anthropic_records import ClosingEvents, error_event
from perdure.resumable.json_body import JsonObject, encode_body
from tests.resumable.anthropic_scripts import Event, message_delta, streamed_message, text_turn
from tests.resumable.chats import HOLDER

Entry = Event | str
"""A stored event, or the token of a fence."""


def said_in(*entries: Entry, text: str | None = None, partials: bool = False) -> list[RequestMessage]:
    fold = TurnsFold()
    for seq_num, entry in enumerate(entries):
        record = AppendRecord.fence(entry) if isinstance(entry, str) else AppendRecord(encode_body(entry))
        fold.feed((SequencedRecord(seq_num, seq_num, record.body, record.headers),))
    return conversation(fold.said(), text, partials=partials)


def text(words: str) -> Event:
    return {"type": "text", "text": words}


def call(call_id: str) -> Event:
    return {"type": "tool_use", "id": call_id, "name": "f", "input": {"a": 1}}


def thought(signature: str = "sig") -> Event:
    return {"type": "thinking", "thinking": "hm", "signature": signature}


def message(*blocks: Event, stop_reason: str = "end_turn") -> list[Event]:
    return streamed_message(*blocks, stop_reason=stop_reason)


def generation(*events: Event, end: str = "end-A") -> list[Entry]:
    return [HOLDER, *events, end]


def stopped(*events: Event) -> list[Entry]:
    """A generation that was stopped after `events`."""
    fold = ClosingEvents(lambda: 0)
    for event in events:
        fold.feed(encode_body(event))
    return [HOLDER, *events, *(json.loads(body) for body in fold.records()), "end-stop-A"]


def shape(messages: Sequence[RequestMessage]) -> list[tuple[str, Any]]:
    """The roles, and the types of the blocks or the plain text."""
    return [
        (told["role"], told["content"] if isinstance(told["content"], str) else [b["type"] for b in told["content"]])
        for told in messages
    ]


# --- each kind of turn ---

HI = user_message("hi")


def test_an_answer_is_told_as_it_was_and_then_what_the_user_says() -> None:
    blocks = [thought(), text("Hello")]
    assert said_in(*generation(HI, *message(*blocks)), text="more") == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "more"},
    ]
    assert said_in(text="first") == [{"role": "user", "content": "first"}]
    assert said_in() == []


def test_a_tool_loop_is_told_with_all_its_messages() -> None:
    told = said_in(
        *generation(
            HI,
            *message(thought(), text("I look."), call("t1"), call("t2"), stop_reason="tool_use"),
            tool_result("t2", "two"),
            tool_result("t1", "broken", is_error=True),
            *message(call("t3"), stop_reason="tool_use"),
            tool_result("t3", [text("three")]),
            *message(text("Done.")),
        )
    )
    assert shape(told) == [
        ("user", "hi"),
        ("assistant", ["thinking", "text", "tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result"]),
        ("assistant", ["tool_use"]),
        ("user", ["tool_result"]),
        ("assistant", ["text"]),
    ]
    assert told[2]["content"] == [tool_result("t1", "broken", is_error=True), tool_result("t2", "two")]


def test_of_calls_whose_results_nobody_stored_the_texts_around_them_are_told() -> None:
    log = generation(
        HI, *message(thought(), text("I look."), call("t1"), stop_reason="tool_use"), *message(text("Done."))
    )
    assert said_in(*log)[1:] == [{"role": "assistant", "content": [text("I look."), text("Done.")]}]


def test_a_call_that_the_answer_ended_with_is_told_with_an_error_for_a_result() -> None:
    """It may have had its effect, so the model is to know of it."""
    events = [HI, *message(call("t1"), call("t2"), stop_reason="tool_use"), tool_result("t1", "one")]
    for log in (stopped(*events), generation(*events, error_event("x"), end="error-A"), generation(*events)):
        told = said_in(*log, text="what now?")
        assert told[2]["content"] == [
            tool_result("t1", "one"),
            tool_result("t2", NO_RESULT_TEXT, is_error=True),
            text("what now?"),
        ]


def test_a_loop_that_was_interrupted_ends_with_what_the_model_is_to_answer() -> None:
    log: list[Entry] = [HOLDER, HI, *message(call("t1"), stop_reason="tool_use"), tool_result("t1", "one"), "error-A"]
    assert shape(said_in(*log))[-1] == ("user", ["tool_result"])
    log += generation(*message(text("Done.")))  # somebody took it up, with what the log tells
    assert shape(said_in(*log))[-1] == ("assistant", ["text"])


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_of_an_answer_that_was_cut_off_its_texts_are_told(end: str) -> None:
    events: list[Event] = [HI, *message(thought(), text("Well"), text(" "), text("then"), call("t1"))[:-2]]
    log = stopped(*events) if end == "stopped" else generation(*events, end="error-A")
    told = said_in(*log, text="go on", partials=True)
    assert told[1]["content"] == [text("Well"), text("then")]
    assert shape(said_in(*log, text="go on")) == (shape(told) if end == "stopped" else [("user", "go on")])


def test_an_answer_that_was_stopped_once_it_was_complete_is_told_whole() -> None:
    blocks = [thought(), text("Hello")]
    assert said_in(*stopped(HI, *message(*blocks)[:-1]))[1]["content"] == blocks


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(generation(HI, error_event("x"), end="error-A"), id="failed"),
        pytest.param(stopped(HI), id="stopped"),
        pytest.param(generation(HI), id="silent"),
        pytest.param(generation(HI, *message(text(" "))), id="blank"),
        pytest.param(generation(HI, *message(thought())), id="thought only"),
        pytest.param(generation(HI, *message(text("I will not."), stop_reason="refusal")), id="refused"),
        pytest.param(generation(user_message(" "), *message(text("What?"))), id="nothing asked"),
        pytest.param(generation(*message(text("Hello"))), id="no user"),
    ],
)
def test_a_turn_without_an_answer_is_left_out(log: list[Entry]) -> None:
    assert said_in(*log, text="again") == [{"role": "user", "content": "again"}]
    others = generation(user_message("before"), *message(text("Yes.")))
    if log[1] == HI:
        assert said_in(*others, *log, text="again")[2:] == [{"role": "user", "content": "again"}]


def test_what_is_being_written_is_left_out() -> None:
    """A source that has yielded the user's message asks for the conversation: it may be stored by now, or not yet."""
    before = generation(HI, *message(text("Hello")))
    assert said_in(*before, HOLDER, user_message("more"), text="more") == said_in(*before, text="more")


def test_two_messages_of_the_user_in_one_generation_are_one() -> None:
    told = said_in(*generation(user_message("one"), user_message("two"), *message(text("Yes."))))
    assert told[0] == {"role": "user", "content": [text("one"), text("two")]}


def test_calls_of_the_api_itself_are_told_with_their_results_only() -> None:
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    assert said_in(*generation(HI, *message(text("a"), search, result, text("b"))))[1]["content"] == [
        *(text("a"), search, result, text("b")),
    ]
    paused: list[Event] = [*message(text("a"), search, stop_reason="pause_turn")]
    assert said_in(*generation(HI, *paused))[1]["content"] == [text("a")]
    assert said_in(*generation(HI, *paused, *message(result, text("b"))))[1]["content"] == [
        *(text("a"), search, result, text("b")),
    ]


def test_what_is_handed_out_may_be_marked_for_the_cache() -> None:
    fold = TurnsFold()
    for seq_num, entry in enumerate(generation(HI, *message(text("Hello")))):
        record = AppendRecord.fence(entry) if isinstance(entry, str) else AppendRecord(encode_body(entry))
        fold.feed((SequencedRecord(seq_num, seq_num, record.body, record.headers),))
    (_, answer) = conversation(fold.said())
    assert isinstance(answer["content"], list)
    answer["content"][-1]["cache_control"] = {"type": "ephemeral"}
    assert conversation(fold.said())[1]["content"] == [text("Hello")]


# --- any log ---

IDS = st.sampled_from(["t1", "t2", "t3", "t4"])
SERVER_IDS = st.sampled_from(["s1", "s2"])
ANY_BLOCK: st.SearchStrategy[Event] = st.one_of(
    st.sampled_from(["", " \n", "Hello"]).map(text),
    st.sampled_from(["", "sig"]).map(thought),
    st.just({"type": "redacted_thinking", "data": "x"}),
    IDS.map(call),
    SERVER_IDS.map(lambda name: {"type": "server_tool_use", "id": name, "name": "web_search", "input": {}}),
    SERVER_IDS.map(lambda name: {"type": "web_search_tool_result", "tool_use_id": name, "content": []}),
)
REASONS = st.sampled_from(["end_turn", "tool_use", "tool_use", "max_tokens", "pause_turn", "refusal"])
MESSAGE = st.builds(
    lambda blocks, reason: message(*blocks, stop_reason=reason), st.lists(ANY_BLOCK, max_size=4), REASONS
)
PART: st.SearchStrategy[list[Event]] = st.one_of(
    MESSAGE,
    MESSAGE.flatmap(lambda events: st.integers(1, len(events)).map(lambda count: events[:count])),
    IDS.map(lambda name: [tool_result(name, "result")]),
    st.sampled_from(["", "hi"]).map(lambda words: [user_message(words)]),
    st.just([error_event("x")]),
)
EVENTS = st.lists(PART, max_size=6).map(lambda parts: [event for part in parts for event in part])
LOGS = st.lists(
    st.one_of(
        EVENTS.map(lambda events: generation(*events)),
        EVENTS.map(lambda events: generation(*events, end="error-A")),
        EVENTS.map(lambda events: stopped(*events)),
        EVENTS.map(lambda events: [HOLDER, *events]),  # taken over by the next one
    ),
    max_size=4,
).map(lambda parts: [entry for part in parts for entry in part])


def refusals(messages: Sequence[RequestMessage]) -> list[str]:
    """What the API would refuse in a request, by the rules of its documentation and its own error texts."""
    found: list[str] = []
    blocks = [[text(m["content"])] if isinstance(m["content"], str) else m["content"] for m in messages]
    roles = [m["role"] for m in messages]
    if roles != [("user", "assistant")[number % 2] for number in range(len(roles))]:
        found.append("roles must alternate, and begin with the user")
    if not all(blocks):
        found.append("all messages must have non-empty content")
    ids: list[Any] = []
    for number, content in enumerate(blocks):
        kinds = [block["type"] for block in content]
        if any(block["type"] == "text" and not str(block["text"]).strip() for block in content):
            found.append("text content blocks must contain non-whitespace text")
        if any(block["type"] == "thinking" and not block["signature"] for block in content):
            found.append("thinking.signature: field required")
        if roles[number] == "assistant" and kinds[-1:] and kinds[-1] in ("thinking", "redacted_thinking"):
            found.append("the final block in an assistant message cannot be thinking")
        calls = [block["id"] for block in content if block["type"] == "tool_use"]
        ids += calls
        following = blocks[number + 1] if number + 1 < len(blocks) else []
        results = [block["tool_use_id"] for block in following if block["type"] == "tool_result"]
        if sorted(map(str, calls)) != sorted(map(str, results)):
            found.append("tool_use ids were found without tool_result blocks immediately after, or the other way round")
        if "tool_result" in kinds and kinds != sorted(kinds, key=lambda kind: kind != "tool_result"):
            found.append("tool_result blocks must come first")
        own_calls = [block["id"] for block in content if block["type"] == "server_tool_use"]
        own_results = [b["tool_use_id"] for b in content if b["type"] == "web_search_tool_result"]
        if set(map(str, own_calls)) != set(map(str, own_results)):
            found.append("web_search tool use was found without a corresponding web_search_tool_result block")
    if len(ids) != len(set(map(str, ids))):
        found.append("tool_use ids must be unique")
    return found


@given(LOGS, st.booleans(), st.sampled_from([None, "more"]))
def test_the_api_would_take_every_list(log: list[Entry], partials: bool, more: str | None) -> None:
    messages = said_in(*log, text=more, partials=partials)
    assert refusals(messages) == []
    if more is not None:
        assert messages[-1]["role"] == "user"


def test_the_rules_refuse_what_the_api_refuses() -> None:
    user: RequestMessage = {"role": "user", "content": "hi"}
    bad: list[list[RequestMessage]] = [
        [user, user],
        [{"role": "assistant", "content": [text("a")]}],
        [user, {"role": "assistant", "content": []}],
        [user, {"role": "assistant", "content": [text(" ")]}],
        [user, {"role": "assistant", "content": [thought("")]}],
        [user, {"role": "assistant", "content": [call("t")]}],
        [user, {"role": "assistant", "content": [call("t")]}, user],
        [user, {"role": "assistant", "content": [text("a")]}, {"role": "user", "content": [tool_result("t", "x")]}],
        [{"role": "user", "content": [text("a"), tool_result("t", "x")]}],
    ]
    assert all(map(refusals, bad))


def test_a_stopped_message_has_a_reason_of_none() -> None:
    """What the tests above call stopped is what a stop leaves behind."""
    assert stopped(HI, *text_turn("Hello")[:-2])[-3] == message_delta(None, 1)


def test_a_result_that_is_no_result_is_refused() -> None:
    with pytest.raises(ValueError, match="the id of a tool_use block, got int"):
        tool_result(1, "x")  # type: ignore[arg-type]  # that is what is refused
    block: JsonObject = tool_result("t", [text("a")])
    assert block == {"type": "tool_result", "tool_use_id": "t", "content": [text("a")]}
