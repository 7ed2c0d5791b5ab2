"""AG-UI events as TanStack AI streams them, and any sequence of them."""

import json
from typing import Any

from hypothesis import strategies as st

Event = dict[str, Any]


def run_started(run: str = "r1", thread: str = "t1") -> Event:
    return {"type": "RUN_STARTED", "threadId": thread, "runId": run}


def run_finished(run: str = "r1", reason: str = "stop", thread: str = "t1", **more: Any) -> Event:
    return {"type": "RUN_FINISHED", "threadId": thread, "runId": run, "finishReason": reason, **more}


def run_error(message: str = "secret", **more: Any) -> Event:
    return {"type": "RUN_ERROR", "message": message, **more}


def run_interrupted(run: str = "r1", call: str = "c1", thread: str = "t1") -> Event:
    """The end of a run that asks whether a tool may be called."""
    asked = {
        "id": f"ask-{call}",
        "reason": "approval_required",
        "toolCallId": call,
        "metadata": {"kind": "approval", "toolName": "weather", "input": {}},
    }
    return run_finished(run, "tool_calls", thread, outcome={"type": "interrupt", "interrupts": [asked]})


def text_start(message: str = "a1", role: str = "assistant") -> Event:
    return {"type": "TEXT_MESSAGE_START", "messageId": message, "role": role}


def text_content(delta: str, message: str = "a1") -> Event:
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": delta}


def text_end(message: str = "a1") -> Event:
    return {"type": "TEXT_MESSAGE_END", "messageId": message}


def text_message(*deltas: str, message: str = "a1", role: str = "assistant") -> list[Event]:
    return [text_start(message, role), *(text_content(delta, message) for delta in deltas), text_end(message)]


def tool_start(call: str = "c1", name: str = "weather", **more: Any) -> Event:
    return {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": name, **more}


def tool_args(delta: str, call: str = "c1") -> Event:
    return {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": delta}


def tool_end(call: str = "c1", **more: Any) -> Event:
    return {"type": "TOOL_CALL_END", "toolCallId": call, **more}


def tool_result(content: str, call: str = "c1", message: str = "tool-1", **more: Any) -> Event:
    return {"type": "TOOL_CALL_RESULT", "toolCallId": call, "messageId": message, "content": content, **more}


def tool_call(*deltas: str, call: str = "c1", **more: Any) -> list[Event]:
    return [tool_start(call, **more), *(tool_args(delta, call) for delta in deltas), tool_end(call)]


def thought(delta: str, message: str = "th1") -> Event:
    return {"type": "REASONING_MESSAGE_CONTENT", "messageId": message, "delta": delta}


def answer(*deltas: str, run: str = "r1", message: str = "a1") -> list[Event]:
    """A run that says something."""
    return [run_started(run), *text_message(*deltas, message=message), run_finished(run)]


def echo(content: str, message: str = "u1") -> list[Event]:
    """What a session stores of what the user said."""
    return text_message(*([content] if content else []), message=message, role="user")


def bodies(*events: Event) -> list[str]:
    return [json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in events]


# --- any sequence of events ---

DELTAS = st.text('ab {}"\\é\u2028', max_size=4)
MESSAGES = st.sampled_from(["a1", "a2", "u1"])
CALLS = st.sampled_from(["c1", "c2"])
RUNS = st.sampled_from(["r1", "r2"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)


def event_of(kind: str, /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


def source_events() -> st.SearchStrategy[Event]:
    """One event of a source of any age, with all that a source may get wrong."""
    maybe_message = st.none() | MESSAGES
    return st.one_of(
        event_of("RUN_STARTED", runId=RUNS, threadId=st.just("t1")),
        event_of("RUN_FINISHED", runId=RUNS, finishReason=st.sampled_from(["stop", "tool_calls"])),
        event_of("RUN_ERROR", message=st.just("failed")),
        event_of("TEXT_MESSAGE_START", messageId=MESSAGES, role=st.sampled_from(["assistant", "user"])),
        event_of("TEXT_MESSAGE_CONTENT", messageId=MESSAGES, delta=DELTAS),
        event_of("TEXT_MESSAGE_CONTENT", messageId=MESSAGES, delta=DELTAS, content=DELTAS),
        event_of("TEXT_MESSAGE_CONTENT", messageId=MESSAGES, content=DELTAS),
        event_of("TEXT_MESSAGE_END", messageId=MESSAGES),
        event_of("TEXT_MESSAGE_CHUNK", messageId=maybe_message, delta=DELTAS),
        event_of("TOOL_CALL_START", toolCallId=CALLS, toolCallName=st.just("weather")),
        event_of("TOOL_CALL_ARGS", toolCallId=CALLS, delta=DELTAS),
        event_of("TOOL_CALL_END", toolCallId=CALLS),
        event_of("TOOL_CALL_END", toolCallId=CALLS, result=JSON),
        event_of("TOOL_CALL_RESULT", toolCallId=CALLS, messageId=st.just("tool-1"), content=DELTAS),
        event_of("TOOL_CALL_CHUNK", toolCallId=st.none() | CALLS, toolCallName=st.just("weather"), delta=DELTAS),
        event_of("REASONING_MESSAGE_CHUNK", messageId=maybe_message, delta=DELTAS),
        event_of("REASONING_MESSAGE_CONTENT", messageId=st.just("th1"), delta=DELTAS),
        event_of("THINKING_START"),
        event_of("THINKING_TEXT_MESSAGE_START"),
        event_of("THINKING_TEXT_MESSAGE_CONTENT", delta=DELTAS),
        event_of("THINKING_TEXT_MESSAGE_END"),
        event_of("THINKING_END"),
        event_of("CUSTOM", name=st.just("x"), value=JSON),
        event_of("STATE_DELTA", delta=st.just([])),
    )
