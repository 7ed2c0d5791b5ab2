"""What the Responses API streams, as it writes it: the events of whole responses, numbered."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Event: TypeAlias = dict[str, Any]


def numbered(*events: Event) -> list[Event]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def response(status: str = "in_progress", *output: Event, **fields: Any) -> Event:
    """A response object, with the nulls that the API writes."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_741_476_542,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-test",
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
        "user": None,
        "metadata": {},
        **fields,
    }


def begun() -> list[Event]:
    return [
        {"type": "response.created", "response": response()},
        {"type": "response.in_progress", "response": response()},
    ]


def text_item(status: str, *content: Event) -> Event:
    return {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": list(content)}


def text_part(text: str) -> Event:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def text_delta(text: str, index: int = 0) -> Event:
    return {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": index,
        "content_index": 0,
        "delta": text,
        "logprobs": [],
    }


def message(*deltas: str, index: int = 0) -> list[Event]:
    text = "".join(deltas)
    at: Event = {"item_id": "msg_1", "output_index": index, "content_index": 0}
    done = text_item("completed", text_part(text))
    return [
        {"type": "response.output_item.added", "output_index": index, "item": text_item("in_progress")},
        {"type": "response.content_part.added", **at, "part": text_part("")},
        *[text_delta(delta, index) for delta in deltas],
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": text_part(text)},
        {"type": "response.output_item.done", "output_index": index, "item": done},
    ]


def function_call(*deltas: str) -> list[Event]:
    item: Event = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "get_weather"}
    arguments = "".join(deltas)
    at: Event = {"item_id": "fc_1", "output_index": 0}
    begin = {**item, "status": "in_progress", "arguments": ""}
    done = {**item, "status": "completed", "arguments": arguments}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": begin},
        *[{"type": "response.function_call_arguments.delta", **at, "delta": delta} for delta in deltas],
        {"type": "response.function_call_arguments.done", **at, "name": "get_weather", "arguments": arguments},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]


def reasoning(*deltas: str) -> list[Event]:
    text = "".join(deltas)
    at: Event = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    item: Event = {"id": "rs_1", "type": "reasoning", "summary": []}
    done = {**item, "summary": [{"type": "summary_text", "text": text}], "encrypted_content": "gAAAA="}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}},
        *[{"type": "response.reasoning_summary_text.delta", **at, "delta": delta} for delta in deltas],
        {"type": "response.reasoning_summary_text.done", **at, "text": text},
        {"type": "response.reasoning_summary_part.done", **at, "part": {"type": "summary_text", "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]


def completed(*events: Event) -> list[Event]:
    output = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    usage: Event = {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 123,
    }
    end: Event = {"type": "response.completed", "response": response("completed", *output, usage=usage)}
    return numbered(*begun(), *events, end)


def text_response(*deltas: str) -> list[Event]:
    return completed(*message(*deltas))


FAILED: Final = numbered(
    *begun(),
    *message("Hel")[:3],
    {
        "type": "response.failed",
        "response": response("failed", error={"code": "server_error", "message": "The model failed to generate."}),
    },
)

ERROR: Final = numbered(
    *begun(),
    *message("Hel")[:3],
    {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None},
)

INCOMPLETE: Final = numbered(
    *begun(),
    *message("Hel")[:3],
    {
        "type": "response.incomplete",
        "response": response("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    },
)

RESPONSES: Final[dict[str, list[Event]]] = {
    "text": text_response("Hel", "lo, “world”\u2028\x85", "\n\U0001f600"),
    "function call": completed(*function_call('{"location":', ' "San Francisco, CA"', "}")),
    "reasoning": completed(*reasoning("Let me ", "think."), *message("12231", index=1)),
    "failed": FAILED,
    "error": ERROR,
    "incomplete": INCOMPLETE,
}
