"""AG-UI events folded to UI messages: each rule, and what must never happen whatever the events are."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.resumable.tanstack_fold import MessagesFold
from perdure.resumable.tanstack_wire import normalized, shown, text_of
from tests.resumable.tanstack_scripts import (
    Event,
    answer,
    echo,
    run_error,
    run_finished,
    run_started,
    source_events,
    text_content,
    text_message,
    text_start,
    thought,
    tool_args,
    tool_call,
    tool_end,
    tool_result,
    tool_start,
)


def folded(*events: Event) -> list[Any]:
    fold = MessagesFold()
    for number, event in enumerate(events):
        fold.feed(event, number)
    return list(fold.messages())


def message(message_id: str, role: str, *parts: Event) -> Event:
    return {"id": message_id, "role": role, "parts": list(parts)}


def text(content: str) -> Event:
    return {"type": "text", "content": content}


def thinking(content: str, step: str = "th1", **more: Any) -> Event:
    return {"type": "thinking", "content": content, "stepId": step, **more}


def call(arguments: str = "", state: str = "input-complete", call: str = "c1", **more: Any) -> Event:
    return {"type": "tool-call", "id": call, "name": "weather", "arguments": arguments, "state": state, **more}


def custom(name: str, **value: Any) -> Event:
    return {"type": "CUSTOM", "name": name, "value": value}


USER = message("u1", "user", text("hi"))


def parts_of(*events: Event) -> Any:
    """The parts of the one message that events of one run make."""
    (made,) = folded(run_started(), *events)
    return made["parts"]


# --- texts ---


def test_both_sides_of_a_chat_are_messages() -> None:
    assert folded(*echo("hi"), *answer("Hel", "lo"), *echo("and?", "u2"), *answer("That is all", message="a2")) == [
        USER,
        message("a1", "assistant", text("Hello")),
        message("u2", "user", text("and?")),
        message("a2", "assistant", text("That is all")),
    ]


def test_a_message_is_dated_by_its_first_event_or_not_at_all() -> None:
    (dated,) = folded({**text_start(), "timestamp": 1_700_000_000_123}, {**text_content("x"), "timestamp": 5})
    assert dated["createdAt"] == "2023-11-14T22:13:20.123Z"
    for timestamp in (None, "2023", True, 1e300, float("nan")):
        (undated,) = folded({**text_start(), "timestamp": timestamp})
        assert "createdAt" not in undated


def test_text_after_a_tool_call_is_a_part_of_its_own() -> None:
    events = [text_start(), text_content("Let me see."), *tool_call(), text_start(), text_content("It rains.")]
    assert parts_of(*events) == [text("Let me see."), call(), text("It rains.")]


def test_text_after_a_thought_does_not_repeat_what_stood_before_it() -> None:
    events = [text_start(), text_content("A"), thought("hm"), text_content("B"), text_content("C")]
    assert parts_of(*events) == [text("A"), thinking("hm"), text("BC")]


def test_text_without_a_start_makes_its_message() -> None:
    assert folded(run_started(), text_content("x", "a7")) == [message("a7", "assistant", text("x"))]
    assert folded(run_started(), {"type": "TEXT_MESSAGE_CONTENT", "delta": "x"}) == [
        message("msg-1", "assistant", text("x"))
    ]


def test_roles_that_a_page_does_not_know_are_the_assistant_s() -> None:
    assert [made["role"] for made in folded(*(text_start(role, role) for role in ("developer", "tool", "system")))] == [
        "assistant",
        "assistant",
        "system",
    ]


def test_a_user_message_that_is_sent_again_replaces_what_followed() -> None:
    before = [*echo("hi"), *answer("Hello"), *echo("more", "u2"), *answer("Well", message="a2")]
    assert folded(*before, *echo("ho"), *answer("Hey", message="a3")) == [
        message("u1", "user", text("ho")),
        message("a3", "assistant", text("Hey")),
    ]


def test_an_assistant_s_message_goes_on_in_a_later_run_under_its_id() -> None:
    first = [*tool_call("{}", parentMessageId="a1"), run_finished("r1", "tool_calls")]
    events = [*echo("hi"), run_started(), text_start(), *first, run_started("r2"), *text_message("It rains.")]
    (_, made) = folded(*events, run_finished("r2"))
    assert made["parts"] == [call("{}", input={}), text("It rains.")]


@pytest.mark.parametrize("blank", ["\n", " \u00a0\u3000\ufeff"])
def test_a_blank_answer_is_no_message(blank: str) -> None:
    assert folded(*echo("hi"), *answer(blank)) == [USER]
    assert len(folded(*echo("hi"), run_started(), *text_message(blank), run_finished(reason="tool_calls"))) == 2
    assert len(folded(*echo("hi"), run_started(), *text_message(blank), run_error(), run_finished())) == 2


# --- tools ---


def test_a_tool_call_goes_through_its_states() -> None:
    events = [run_started(), tool_start(metadata={"a": 1}), tool_args(""), tool_args('{"city":'), tool_args('"Köln"}')]
    events += [tool_end(), tool_result('{"degrees":21}')]
    states = [folded(*events[:count])[0]["parts"][0]["state"] for count in range(2, 8)]
    assert states == [
        "awaiting-input",
        "awaiting-input",
        "input-streaming",
        "input-streaming",
        "input-complete",
        "complete",
    ]
    (made,) = folded(*events)
    assert made == message(
        "msg-1",
        "assistant",
        call('{"city":"Köln"}', "complete", metadata={"a": 1}, input={"city": "Köln"}, output={"degrees": 21}),
        {"type": "tool-result", "toolCallId": "c1", "content": '{"degrees":21}', "state": "complete"},
    )


@pytest.mark.parametrize(
    ("ends", "arguments", "given"),
    [
        ([tool_end(input={"a": 1})], '{"a":1}', {"a": 1}),
        ([tool_args("{}"), tool_end(input={"a": 1})], "{}", {"a": 1}),
        ([tool_end(metadata={"tanstack": {"input": [1]}})], "[1]", [1]),
        ([tool_args('{"a":'), tool_end()], '{"a":', None),
        ([tool_args('{"a":'), run_finished()], '{"a":', None),
        ([tool_args("{}"), run_finished()], "{}", {}),
    ],
)
def test_the_input_of_a_call_is_what_its_end_says_or_its_arguments(
    ends: list[Event], arguments: str, given: object
) -> None:
    (made,) = parts_of(tool_start(), *ends)
    more: Event = {} if given is None else {"input": given}
    assert made == call(arguments, **more)


@pytest.mark.parametrize(
    ("content", "error"),
    [('{"error":"no such city"}', "no such city"), ("broken", "broken"), ("[1]", "Tool execution failed")],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_failed_tool_tells_why(content: str, error: str, nested: bool) -> None:
    more: Event = {"metadata": {"tanstack": {"state": "output-error"}}} if nested else {"state": "output-error"}
    made, result = parts_of(*tool_call("{}"), tool_result(content, **more), run_finished())
    assert made["state"] == "error"
    assert result == {"type": "tool-result", "toolCallId": "c1", "content": content, "state": "error", "error": error}


def test_an_older_log_has_the_result_at_the_end_of_the_call() -> None:
    made, result = parts_of({**tool_start(), "toolCallName": None, "toolName": "x"}, tool_end(result='{"a":1}'))
    assert (made["state"], made["output"]) == ("complete", {"a": 1})
    assert result["content"] == '{"a":1}'
    assert folded({"type": "TOOL_CALL_START", "toolCallId": "c1", "toolName": "x"})[0]["parts"][0]["name"] == "x"


def test_a_result_is_replaced_and_finds_its_call_in_any_run() -> None:
    events = [*tool_call("{}"), run_finished("r1", "tool_calls"), run_started("r2"), tool_result("1"), tool_result("2")]
    made, result = parts_of(*events)
    assert made["output"] == 2
    assert result["content"] == "2"


def test_what_names_no_known_call_is_passed_over() -> None:
    assert folded(tool_args("x"), tool_end(), tool_result("1"), custom("approval-requested", toolCallId="c1")) == []
    assert parts_of(tool_start(), tool_start(name="other"), run_finished()) == [call()]


def test_approvals_are_asked_for_by_events_of_both_kinds() -> None:
    asked = call("{}", "approval-requested", input={}, approval={"id": "ap", "needsApproval": True})
    older = custom("approval-requested", toolCallId="c1", approval={"id": "ap", "needsApproval": True})
    interrupt = {"id": "ap", "toolCallId": "c1", "reason": "approval_required"}
    by_kind = {"id": "ap", "toolCallId": "c1", "metadata": {"kind": "approval"}}
    assert parts_of(*tool_call("{}"), older, run_finished()) == [asked]
    for one in (interrupt, by_kind):
        outcome = {"type": "interrupt", "interrupts": [one, {"id": "x", "toolCallId": "c9"}, None]}
        assert parts_of(*tool_call("{}"), run_finished(reason="tool_calls", outcome=outcome)) == [asked]


# --- thoughts ---


def test_thoughts_are_kept_by_step_with_their_signatures() -> None:
    step: Event = {"type": "STEP_STARTED", "stepName": "s1"}
    signed: Event = {"type": "STEP_FINISHED", "stepName": "s1", "signature": "sig"}
    second: Event = {"type": "STEP_STARTED", "stepId": "s2"}
    events = [step, thought("h"), thought("m", "th2"), signed, second, thought("oh"), *text_message("x")]
    (made,) = folded(run_started(), *events)
    assert made == message("a1", "assistant", thinking("hm", "s1", signature="sig"), thinking("oh", "s2"), text("x"))


def test_older_logs_think_at_the_end_of_steps() -> None:
    events: list[Event] = [
        {"type": "STEP_FINISHED", "stepId": "s1", "delta": "h", "content": "h"},
        {"type": "STEP_FINISHED", "stepId": "s1", "content": "hm"},
        {"type": "STEP_FINISHED", "stepId": "s1", "content": "h"},
    ]
    assert parts_of(*events) == [thinking("hm", "s1")]
    assert parts_of(thought("hm"), {**events[0], "stepId": "th1"}) == [thinking("hm")]


def test_secret_values_are_signatures_of_thoughts_and_calls() -> None:
    value: Event = {"type": "REASONING_ENCRYPTED_VALUE", "encryptedValue": "E"}
    assert parts_of(thought("hm"), {**value, "subtype": "message", "entityId": "x"}) == [thinking("hm", signature="E")]
    assert parts_of(*tool_call(metadata={"a": 1}), {**value, "subtype": "tool-call", "entityId": "c1"}) == [
        call(metadata={"a": 1, "thoughtSignature": "E"})
    ]


def test_what_a_run_thinks_first_belongs_to_the_message_that_it_begins() -> None:
    made = folded(*echo("hi"), *answer("A"), *echo("ho", "u2"), run_started("r2"), thought("hm"), *tool_call())
    assert made[-1] == message("msg-12", "assistant", thinking("hm"), call(state="input-complete"))
    made = folded(*answer("A"), run_started("r2"), thought("hm"), *text_message("B", message="a2"))
    assert made == [message("a1", "assistant", text("A")), message("a2", "assistant", thinking("hm"), text("B"))]


def test_what_follows_the_name_of_a_message_that_began_without_one_belongs_to_it() -> None:
    begun = [run_started(), thought("hm"), *text_message("B", message="a2")]
    unnamed: Event = {"type": "TEXT_MESSAGE_CONTENT", "delta": "C"}
    parts = [thinking("hm so"), text("B"), call(state="awaiting-input"), text("C")]
    assert folded(*begun, thought(" so"), tool_start(), unnamed) == [message("a2", "assistant", *parts)]


def test_within_a_turn_thoughts_go_on_in_the_same_message() -> None:
    loop = [*tool_call("{}"), run_finished("r1", "tool_calls"), run_started("r2"), thought("hm")]
    (made,) = folded(run_started(), *text_message("A"), *loop)
    assert [part["type"] for part in made["parts"]] == ["text", "tool-call", "thinking"]


# --- what else there is ---


def test_structured_output_takes_the_place_of_text() -> None:
    begun = [text_start(), custom("structured-output.start", messageId="a1"), text_content('{"a":[1,')]
    streaming = {"type": "structured-output", "status": "streaming", "raw": '{"a":[1,', "partial": {"a": [1]}}
    assert parts_of(*begun) == [streaming]
    done = custom("structured-output.complete", messageId="a1", object={"a": [1]}, reasoning="hm")
    whole = {"status": "complete", "raw": '{"a":[1,', "data": {"a": [1]}, "partial": {"a": [1]}, "reasoning": "hm"}
    assert parts_of(*begun, done, run_finished()) == [{"type": "structured-output", **whole}]
    failed = {**streaming, "status": "error", "errorMessage": "secret"}
    assert parts_of(*begun, run_error()) == [failed]
    ended = {**streaming, "status": "error", "errorMessage": "Stream ended without structured-output.complete"}
    assert parts_of(*begun, run_finished()) == [ended]


def test_a_widget_stands_with_its_tool_call() -> None:
    widget: Event = {"resource": {"uri": "ui://x"}, "toolCallId": "c1", "toolName": "weather", "meta": {"a": 1}}
    assert parts_of(*tool_call(), custom("ui-resource", **widget))[-1] == {"type": "ui-resource", **widget}


def test_an_error_adds_no_message_and_keeps_what_was_said() -> None:
    assert folded(*echo("hi"), run_started(), run_error()) == [USER]
    assert folded(run_started(), text_start(), text_content("Hel"), run_error()) == [
        message("a1", "assistant", text("Hel"))
    ]


def test_a_stored_snapshot_replaces_all_in_either_form() -> None:
    wire: list[Event] = [
        {"id": "u1", "role": "user", "content": "hi"},
        {"id": "th1", "role": "reasoning", "content": "hm"},
        {
            "id": "a1",
            "role": "assistant",
            "content": "Let me see.",
            "toolCalls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"id": "t1", "role": "tool", "toolCallId": "c1", "content": "21"},
    ]
    result: Event = {"type": "tool-result", "toolCallId": "c1", "content": "21", "state": "complete"}
    parts = [thinking("hm"), text("Let me see."), call("{}", "complete", input={}, output=21), result]
    ui = [USER, message("a1", "assistant", *parts)]
    for messages in (wire, ui):
        snapshot: Event = {"type": "MESSAGES_SNAPSHOT", "messages": messages}
        assert folded(*answer("gone", message="a9"), snapshot) == ui
    assert folded({"type": "MESSAGES_SNAPSHOT", "messages": None}) == []


# --- messages as they are submitted ---


def test_submitted_ui_messages_keep_all_that_they_have() -> None:
    image: Event = {"type": "image", "source": {"type": "url", "value": "x"}}
    submitted = [
        {"id": "u1", "role": "user", "parts": [image, text("hi"), "odd", {"no": "type"}], "createdAt": "now"},
        {"role": "assistant", "parts": None},
        {"id": 5, "role": "critic", "parts": []},
        "odd",
        {"id": 7, "role": "system", "parts": [text("be kind")]},
    ]
    assert normalized(submitted) == [
        {"id": "u1", "role": "user", "parts": [image, text("hi")], "createdAt": "now"},
        {"id": "message-1", "role": "assistant", "parts": []},
        {"id": "message-4", "role": "system", "parts": [text("be kind")]},
    ]
    assert normalized(None) == normalized({"id": "x"}) == []


def test_submitted_wire_messages_get_parts() -> None:
    media: Event = {"type": "image", "source": {"type": "data", "value": "x"}}
    submitted: list[Event] = [
        {"id": "d", "role": "developer", "content": "be kind"},
        {"id": "u1", "role": "user", "content": [{"type": "text", "text": "hi"}, media, {"type": "text", "text": "!"}]},
        {"id": "t1", "role": "tool", "toolCallId": "c1", "content": "21"},
    ]
    first, second, third = normalized(submitted)
    assert (first["role"], first["parts"]) == ("system", [text("be kind")])
    assert second["parts"] == [text("hi"), media, text("!")]
    assert text_of(second) == "hi!"
    assert third == submitted[2]


JSON_VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["user", "assistant", "tool", "text", "c1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "role", "content", "parts", "type", "toolCalls", "function", "toolCallId", "text"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_any_submitted_value_is_read(value: Any) -> None:
    before = copy.deepcopy(value)
    for made in normalized(value):
        assert made["role"] in ("system", "user", "assistant", "tool", "reasoning")
    for made in shown(value):
        assert isinstance(made["parts"], list)
        assert isinstance(made["id"], str)
    assert value == before


# --- anything ---


@given(st.lists(source_events(), max_size=30), st.data())
def test_what_was_handed_out_never_changes(events: list[Event], data: st.DataObject) -> None:
    fold = MessagesFold()
    handed: list[tuple[Any, Any]] = []
    for number, event in enumerate(events):
        fold.feed(event, number)
        if data.draw(st.booleans()):
            messages = fold.messages()
            handed.append((messages, copy.deepcopy(messages)))
    for now, then in handed:
        assert now == then


@given(st.lists(source_events(), max_size=30))
def test_looking_changes_nothing(events: list[Event]) -> None:
    looked_at, other = MessagesFold(), MessagesFold()
    for number, event in enumerate(events):
        looked_at.feed(event, number)
        looked_at.messages()
        other.feed(event, number)
    assert looked_at.messages() == other.messages()


@given(st.lists(source_events() | JSON_VALUES.filter(lambda value: isinstance(value, dict)), max_size=30))
def test_a_message_is_shown_once_with_ids_and_parts_that_pages_know(events: list[Any]) -> None:
    messages = folded(*events)
    ids = [made["id"] for made in messages]
    assert len(set(ids)) == len(ids)
    calls = [part["id"] for made in messages for part in made["parts"] if part["type"] == "tool-call"]
    assert len(set(calls)) == len(calls)
    for made in messages:
        assert made["role"] in ("user", "assistant", "system")
        for part in made["parts"]:
            assert part["type"] in ("text", "thinking", "tool-call", "tool-result", "structured-output", "ui-resource")


@given(st.lists(source_events(), max_size=30))
def test_text_is_the_same_however_it_was_cut(events: list[Event]) -> None:
    pieces = [
        piece
        for event in events
        for piece in (
            [{**event, "delta": letter} for letter in event["delta"]]
            if event["type"].endswith("_CONTENT") and event.get("delta") and "content" not in event
            else [event]
        )
    ]
    fold, whole = MessagesFold(), MessagesFold()
    for number, event in enumerate(events):
        whole.feed(event, number)
    numbers = iter(range(len(pieces)))
    for piece in pieces:
        fold.feed(piece, next(numbers))

    def plain(messages: Any) -> Any:
        return [made["parts"] for made in messages]

    assert plain(fold.messages()) == plain(whole.messages())
