"""Claude, where the environment has a key for it; otherwise the stand-in answers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from perdure import UsageError

from .messages_model import MessagesModel, Said
from .messages_stand_in import MessagesStandIn
from .models import ModelInfo, stand_in_pace
from .tools import TOOLS, Tool

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import MessageParam, ToolUnionParam

CLAUDE_MODEL: Final = "claude-haiku-4-5"
MAX_TOKENS: Final = 1024

_MISSING_PACKAGE: Final = (
    "ANTHROPIC_API_KEY is set, but the `anthropic` package is not installed, so the stand-in answers. "
    "To talk to Claude: .venv/bin/pip install anthropic"
)
_NO_KEY: Final = "No AI: prepared text at a model's pace. Set ANTHROPIC_API_KEY to talk to Claude."


class Claude:
    """The API itself, or whatever speaks it at ANTHROPIC_BASE_URL."""

    def __init__(self, client: AsyncAnthropic, model: str, max_tokens: int) -> None:
        self._client = client
        self._model = model
        self._max_tokens = max_tokens

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(self._model, "provider", f"Answers come from {self._client.base_url.host}.")

    async def stream(
        self, said: Sequence[Said], *, may_call: bool, tools: Sequence[Tool] = TOOLS
    ) -> AsyncIterator[Mapping[str, object]]:
        messages = [{"role": message.role, "content": message.content} for message in said]
        events = await self._client.messages.create(
            model=self._model,
            max_tokens=self._max_tokens,
            messages=cast("list[MessageParam]", messages),
            tools=cast("list[ToolUnionParam]", list(tools)),
            tool_choice={"type": "auto"} if may_call else {"type": "none"},
            stream=True,
        )
        async with events:
            async for event in events:
                yield event.to_dict()


def choose_messages_model(environment: Mapping[str, str] = os.environ) -> MessagesModel:
    """Claude if `ANTHROPIC_API_KEY` is set and the `anthropic` package is there, else the stand-in, which says why.

    `ANTHROPIC_MODEL` and `ANTHROPIC_MAX_TOKENS` are for Claude. Raises `UsageError` for a value that is no number.
    """
    key = environment.get("ANTHROPIC_API_KEY")
    client = _client(key, environment.get("ANTHROPIC_BASE_URL")) if key else None
    if client is None:
        note = _MISSING_PACKAGE if key else _NO_KEY
        return MessagesStandIn(note=note, tokens_per_second=stand_in_pace(environment))
    tokens = environment.get("ANTHROPIC_MAX_TOKENS", str(MAX_TOKENS))
    if not tokens.isdecimal() or int(tokens) == 0:
        raise UsageError(f"ANTHROPIC_MAX_TOKENS must be a whole number above 0, got {tokens!r}")
    return Claude(client, environment.get("ANTHROPIC_MODEL", CLAUDE_MODEL), int(tokens))


def _client(key: str, base_url: str | None) -> AsyncAnthropic | None:
    """The SDK's client, or None where the SDK is not installed."""
    try:
        from anthropic import AsyncAnthropic
    except ModuleNotFoundError:
        return None
    return AsyncAnthropic(api_key=key, base_url=base_url or None)


def failure_text(failure: BaseException) -> str:
    """What the page tells of a failure: nothing of its own words, but whose turn it is to do something."""
    status = getattr(failure, "status_code", None)
    if status in (401, 403):
        return "The provider refused the API key."
    if status in (429, 529):
        return "The provider is busy. Try again in a moment."
    return "An error occurred."
