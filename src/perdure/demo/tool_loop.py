"""A model that may call tools, asked again and again until it has answered: the loop that every agent is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from perdure.resumable.anthropic import create_accumulator

from .messages_model import MessagesModel, Said
from .tools import ToolCall, ToolResult, run_tool

MAX_STEPS: Final = 10
"""How often the model is asked within one turn. In the last step it must answer without a tool."""


async def events_of_turn(model: MessagesModel, said: Sequence[Said]) -> AsyncIterator[Mapping[str, object]]:
    """The events of all the messages that it takes to answer `said`."""
    for step in range(MAX_STEPS):
        fold = create_accumulator()
        async for event in model.stream(said, may_call=step < MAX_STEPS - 1):
            fold.push(event)
            yield event
        message = fold.final_message()
        calls = calls_in(message)
        if not calls:
            return
        said = [*said, *exchange(message["content"], [run_tool(call) for call in calls])]


def calls_in(message: Mapping[str, object]) -> list[ToolCall]:
    """The tools that a message asks for; none if it ended for another reason, such as its length."""
    content = message.get("content")
    if message.get("stop_reason") != "tool_use" or not isinstance(content, list):
        return []
    return [
        ToolCall(block["id"], block["name"], block["input"] if isinstance(block["input"], dict) else {})
        for block in content
        if block["type"] == "tool_use"
    ]


def exchange(content: object, results: Sequence[ToolResult]) -> list[Said]:
    """What a model said, and what it is told back of the tools that it called."""
    told = [
        {"type": "tool_result", "tool_use_id": result.id, "content": result.output, "is_error": result.is_error}
        for result in results
    ]
    return [Said("assistant", content), *([Said("user", told)] if told else [])]
