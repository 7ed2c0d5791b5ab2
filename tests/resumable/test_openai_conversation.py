"""The input of the next request to the Responses API: what is told of each turn, and that every list is sound."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from pydantic import TypeAdapter

from perdure import S2
from perdure.resumable.json_body import JsonObject
from perdure.resumable.openai import create_resumable_chat
from perdure.resumable.openai_conversation import NO_OUTPUT_TEXT, conversation
from tests.resumable.chats import BASIN, Source
from tests.resumable.responses_scripts import (
    ERROR,
    FAILED,
    INCOMPLETE,
    Event,
    completed,
    function_call,
    message,
    reasoning,
    text_response,
)

HI: Event = {"type": "user_message", "message": "hi"}
USER: Event = {"role": "user", "content": "hi"}
TOLD_CALL: Event = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
OUTPUT: Event = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


def says(text: str) -> Event:
    return {"role": "assistant", "content": text}


def call(call_id: str, text: str = "") -> list[Event]:
    """A response with a call of this id, after a text if there is one."""
    events = [*message(*[text] * bool(text), index=0)] if text else []
    for event in function_call("{}"):
        item = event.get("item")
        changed = event | {"output_index": 1}
        events.append(changed if item is None else changed | {"item": item | {"call_id": call_id}})
    return completed(*events)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(text_response("Hel", "lo"), [says("Hello")], id="whole"),
        pytest.param(completed(*reasoning("hm"), *message("12", index=1)), [says("12")], id="thoughts"),
        pytest.param(INCOMPLETE, [says("Hel")], id="incomplete"),
        pytest.param(text_response("Hel", "lo")[:-4], [says("Hello")], id="stopped"),
        pytest.param(
            [*call("call_1", "I look."), OUTPUT, *text_response("Sunny.")],
            [says("I look."), TOLD_CALL, OUTPUT, says("Sunny.")],
            id="loop",
        ),
        pytest.param(
            [*call("t", "I look."), *text_response("Sunny.")], [says("I look."), says("Sunny.")], id="no output"
        ),
        pytest.param(call("call_1"), [TOLD_CALL, OUTPUT | {"output": NO_OUTPUT_TEXT}], id="ended"),
        pytest.param([*call("call_1"), OUTPUT, *ERROR], [TOLD_CALL, OUTPUT], id="failed later"),
        pytest.param(call("t", "I look.")[:-1], [says("I look.")], id="stopped in a call"),
    ],
)
def test_an_answer_is_told(answer: list[Event], told: list[Event]) -> None:
    assert conversation([HI, *answer], "more") == [USER, *told, {"role": "user", "content": "more"}]


@pytest.mark.parametrize("answer", [[], FAILED, ERROR, text_response(), text_response("Hel")[:2]])
def test_a_turn_without_an_answer_is_left_out(answer: list[Event]) -> None:
    assert conversation([HI, *answer], "again") == [{"role": "user", "content": "again"}]
    assert conversation([*text_response("nobody asked")], None) == []


# --- any log ---

IDS = st.sampled_from(["t1", "t2", ""])
PART: st.SearchStrategy[list[Event]] = st.one_of(
    st.sampled_from(["", "hi"]).map(lambda text: [{"type": "user_message", "message": text}]),
    st.sampled_from([FAILED, ERROR, INCOMPLETE, text_response(""), text_response("Yes.")]),
    st.builds(call, IDS, st.sampled_from(["", "I look."])),
    IDS.map(lambda call_id: [OUTPUT | {"call_id": call_id}]),
)
LOGS = st.lists(
    PART | PART.flatmap(lambda events: st.integers(1, len(events)).map(lambda count: events[:count])), max_size=8
).map(lambda parts: [event for part in parts for event in part])
ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)


def refusals(items: Sequence[JsonObject]) -> list[str]:
    """What the API would refuse."""
    found: list[str] = []
    open_calls: set[object] = set()
    seen: list[object] = []
    for number, item in enumerate(items):
        ITEM.validate_python(item)
        match item.get("type"):
            case "function_call":
                open_calls.add(item["call_id"])
                seen.append(item["call_id"])
            case "function_call_output":
                if item["call_id"] not in open_calls:
                    found.append("no tool call found for function call output")
                open_calls.discard(item["call_id"])
            case _:
                if item["role"] == "user" and open_calls:
                    found.append("no tool output found for function call")
                if not str(item["content"]).strip() or (number == 0 and item["role"] != "user"):
                    found.append("an empty message, or one of nobody")
    if open_calls or len(seen) != len(set(seen)):
        found.append("calls without an output, or with one id")
    return found


@given(LOGS, st.sampled_from([None, "more"]))
def test_the_api_would_take_every_list(log: list[Event], text: str | None) -> None:
    assert refusals(conversation(log, text)) == []


# --- over a log ---


async def test_a_source_asks_for_the_conversation_before_it(s2: S2) -> None:
    asked: list[Any] = []
    async with create_resumable_chat(s2=s2, basin=BASIN, mode="session") as chat:

        async def source() -> Any:
            yield HI
            asked.append(await chat.conversation("c", "hi"))
            for event in text_response("Hello"):
                yield event

        for _ in range(2):
            await chat.make_resumable("c", source, delivery="replay")
        stopped = Source(HI, *text_response("Well")[:-4])
        await chat.make_resumable("c", stopped, delivery="replay", wait_until=chat.background)
        await stopped.given.wait()
        before = await chat.conversation("c")
        assert await chat.stop("c")
        assert (await chat.conversation("c", [{"type": "input_text", "text": "so?"}]))[4:] == [
            USER,
            says("Well"),
            {"role": "user", "content": [{"type": "input_text", "text": "so?"}]},
        ]
    assert asked == [[USER], [USER, says("Hello"), USER]]
    assert before == [USER, says("Hello")] * 2
