"""AG-UI events of other people's libraries as sources: `ag-ui-protocol`, and what Pydantic AI runs."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ag_ui.core import (
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from ag_ui.core.events import BaseEvent
from ag_ui.encoder import EventEncoder
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter

from perdure import S2
from perdure.resumable.tanstack_ai import TanstackChat
from tests.patience import PROCESS_SECONDS
from tests.resumable.chats import body_of, frames, tanstack_chat_on
from tests.resumable.tanstack_scripts import Event, run_started, text_message, tool_call, tool_result
from tests.resumable.test_pydantic_ai import calls_a_tool, weather_agent


@pytest.fixture
async def chat(s2: S2) -> AsyncIterator[TanstackChat]:
    chat = await tanstack_chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


async def stored(chat: TanstackChat, source: object) -> list[Event]:
    body = await body_of(await chat.make_resumable("c", source, wait_until=lambda stored: None))
    await chat.drain()
    return [json.loads(data) for _, data in frames(body)]


MODELS: list[BaseEvent] = [
    RunStartedEvent(thread_id="t1", run_id="r1"),
    ToolCallStartEvent(tool_call_id="c1", tool_call_name="weather", parent_message_id="a1"),
    ToolCallArgsEvent(tool_call_id="c1", delta="{}"),
    ToolCallEndEvent(tool_call_id="c1"),
    ToolCallResultEvent(tool_call_id="c1", message_id="tool-1", content="21.5"),
    TextMessageStartEvent(message_id="a1", role="assistant"),
    TextMessageContentEvent(message_id="a1", delta="It is warm:\u2028 21.5 °C"),
    TextMessageEndEvent(message_id="a1"),
    RunFinishedEvent(thread_id="t1", run_id="r1"),
]
EXPECTED: list[Event] = [
    run_started(),
    *tool_call("{}", parentMessageId="a1"),
    tool_result("21.5"),
    *text_message("It is warm:\u2028 21.5 °C"),
    {"type": "RUN_FINISHED", "threadId": "t1", "runId": "r1"},
]


async def test_models_and_their_encoded_frames_are_the_same_source(chat: TanstackChat) -> None:
    encoder = EventEncoder()
    frames_of_models = [encoder.encode(model) for model in MODELS]
    assert all(frame.startswith("data: ") for frame in frames_of_models)
    found = await stored(chat, MODELS)
    assert [{**event, "role": "tool"} if event["type"] == "TOOL_CALL_RESULT" else event for event in found] == [
        {**event, "role": "tool"} if event["type"] == "TOOL_CALL_RESULT" else event for event in EXPECTED
    ]
    assert await stored(chat, frames_of_models) == found
    text = "".join(frames_of_models)
    assert await stored(chat, [text[:100], text[100:200].encode(), text[200:]]) == found


PREVIOUS = Path(sys.prefix) / "previous"
"""Where `make test` installs the release before 1.0."""

OF_THE_PREVIOUS_RELEASE = """
import asyncio, json
from importlib.metadata import version
from ag_ui.core import *
from ag_ui.encoder import EventEncoder
from perdure.resumable.tanstack_ai import create_resumable_chat

models = [
    RunStartedEvent(thread_id="t1", run_id="r1"),
    ThinkingTextMessageContentEvent(delta="Hm"),
    ToolCallStartEvent(tool_call_id="c1", tool_call_name="weather", parent_message_id="a1"),
    ToolCallArgsEvent(tool_call_id="c1", delta="{}"),
    ToolCallEndEvent(tool_call_id="c1"),
    ToolCallResultEvent(tool_call_id="c1", message_id="tool-1", content="21.5"),
    TextMessageStartEvent(message_id="a1", role="assistant"),
    TextMessageContentEvent(message_id="a1", delta="It is warm:\\u2028 21.5 °C"),
    TextMessageEndEvent(message_id="a1"),
    RunFinishedEvent(thread_id="t1", run_id="r1"),
]

async def stored(name, source):
    response = await chat.make_resumable(name, source, wait_until=chat.background)
    body = b"".join([chunk async for chunk in response.chunks]).decode()
    return [json.loads(line[6:]) for line in body.split("\\n") if line.startswith("data: ")]

async def main():
    global chat
    async with create_resumable_chat(path=":memory:", basin="older-events", mode="session") as chat:
        encoder = EventEncoder()
        return [await stored("models", models), await stored("frames", [encoder.encode(model) for model in models])]

print(json.dumps([version("ag-ui-protocol"), *asyncio.run(main())]))
"""


async def test_models_of_the_release_before_are_a_source_as_well() -> None:
    """Their fields that are not set are None, and they have kinds of events that 1.0 has removed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OF_THE_PREVIOUS_RELEASE),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PREVIOUS), *filter(None, sys.path)])},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PROCESS_SECONDS):
        said, _ = await process.communicate()
    assert process.returncode == 0
    version, of_models, of_frames = json.loads(said)
    assert version.startswith("0."), f"{PREVIOUS} has no older release: run `make test`"
    assert [event["type"] for event in of_models] == [event["type"] for event in of_frames]
    for found in (of_models, of_frames):
        thought = found.pop(1)
        assert thought == {"type": "REASONING_MESSAGE_CONTENT", "messageId": thought["messageId"], "delta": "Hm"}
        assert [{**event, "role": "tool"} if event["type"] == "TOOL_CALL_RESULT" else event for event in found] == [
            {**event, "role": "tool"} if event["type"] == "TOOL_CALL_RESULT" else event for event in EXPECTED
        ]


async def test_chunk_models_become_what_clients_read(chat: TanstackChat) -> None:
    source = [TextMessageChunkEvent(message_id="a1", delta="x"), TextMessageChunkEvent(delta="y")]
    found = await stored(chat, source)
    assert [{k: v for k, v in event.items() if k != "timestamp"} for event in found] == text_message("x", "y")


async def test_the_words_of_a_failed_run_can_be_rewritten(s2: S2) -> None:
    chat = await tanstack_chat_on(s2, on_error=lambda failure: "Sorry.")
    (event,) = await stored(chat, [RunErrorEvent(message="secret", code="E1")])
    assert event == {"type": "RUN_ERROR", "message": "Sorry.", "code": "E1", "error": {"message": "Sorry."}}
    await chat.aclose()


# --- Pydantic AI ---


def agui(agent: Agent[None, str], ag_ui_version: str | None = None) -> AsyncIterator[BaseEvent]:
    """What a route runs for the request of a client."""
    run_input = RunAgentInput(
        thread_id="t1",
        run_id="r1",
        state={},
        messages=[{"id": "u1", "role": "user", "content": "How warm is it?"}],  # type: ignore[list-item]
        tools=[],
        context=[],
        forwarded_props={},
    )
    options: Any = {} if ag_ui_version is None else {"ag_ui_version": ag_ui_version}
    return AGUIAdapter(agent=agent, run_input=run_input, **options).run_stream()


async def test_a_run_with_a_tool_is_stored_as_the_events_that_it_has(chat: TanstackChat) -> None:
    events = await stored(chat, agui(weather_agent(FunctionModel(stream_function=calls_a_tool))))
    kinds = [event["type"] for event in events]
    assert kinds[0] == "RUN_STARTED"
    assert kinds[-1] == "RUN_FINISHED"
    assert (events[0]["threadId"], events[0]["runId"]) == ("t1", "r1")
    assert "".join(event["delta"] for event in events if event["type"] == "TOOL_CALL_ARGS") == '{"city":"Köln"}'
    (result,) = [event for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert json.loads(result["content"])["degrees"] == 21.5
    words = [event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CONTENT"]
    assert "".join(words) == "It is warm:\u2028 21.5 °C"


async def test_the_exception_of_a_failed_agent_reaches_clients_through_on_error_only(s2: S2) -> None:
    async def fails(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "Well"
        raise RuntimeError("secret")

    chat = await tanstack_chat_on(s2, on_error=lambda failure: "Sorry.")
    events = await stored(chat, agui(weather_agent(FunctionModel(stream_function=fails))))
    assert events[-1]["type"] == "RUN_ERROR"
    assert events[-1]["message"] == "Sorry."
    assert "secret" not in json.dumps(events)
    await chat.aclose()
