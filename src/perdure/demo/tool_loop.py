"""A model that may call tools, asked again and again until it has answered: the loop that every agent is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from perdure.resumable.anthropic import create_accumulator, tool_result
from perdure.resumable.json_body import JsonObject

from .messages_model import MessagesModel, Said
from .tools import ToolCall, ToolResult, run_tool

MAX_STEPS: Final = 10
"""How often the model is asked within one turn. In the last step it must answer without a tool."""


async def events_of_turn(model: MessagesModel, said: Sequence[Said]) -> AsyncIterator[Mapping[str, object]]:
    """The events of all the messages that it takes to answer `said`, and what the tools gave between them.

    A result is an event of the log and a block of the next request alike.
    """
    for step in range(MAX_STEPS):
        fold = create_accumulator()
        async for event in model.stream(said, may_call=step < MAX_STEPS - 1):
            fold.push(event)
            yield event
        message = fold.final_message()
        calls = calls_in(message)
        if not calls:
            return
        results = results_of([run_tool(call) for call in calls])
        for result in results:
            yield result
        said = [*said, Said("assistant", message["content"]), Said("user", results)]


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
    told = results_of(results)
    return [Said("assistant", content), *([Said("user", told)] if told else [])]


def results_of(results: Sequence[ToolResult]) -> list[JsonObject]:
    """What tools gave, as the API is told of it."""
    return [tool_result(result.id, result.output, is_error=result.is_error) for result in results]
