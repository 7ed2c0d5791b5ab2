"""Who answers in the demo: a real provider when the environment names one, otherwise the stand-in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import httpx

from perdure import UsageError

from .prose import TOKENS_PER_SECOND
from .stand_in import StandIn

OPENAI_URL: Final = "https://api.openai.com/v1"
OPENAI_MODEL: Final = "gpt-5-mini"

_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 120.0
"""How long a provider may think between two tokens before the answer counts as failed."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation, as plain text."""

    role: Literal["user", "assistant", "system"]
    text: str


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the page tells about who answers."""

    name: str
    kind: Literal["stand-in", "provider"]
    note: str


class Model(Protocol):
    """Answers a conversation with AI SDK message chunks (JSON objects), as they come."""

    @property
    def info(self) -> ModelInfo: ...

    def answer(self, conversation: Sequence[Turn]) -> AsyncIterator[dict[str, object]]: ...


class ProviderFailure(Exception):
    """The provider could not answer, or not to the end. The details are for the log."""


class OpenAICompatible:
    """Any service that speaks OpenAI's chat completions: OpenAI itself, a gateway, a local server."""

    def __init__(self, base_url: str, model: str, key: str | None) -> None:
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model = model
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}

    @property
    def info(self) -> ModelInfo:
        host = httpx.URL(self._url).host
        return ModelInfo(self._model, "provider", f"Answers come from {host}.")

    async def answer(self, conversation: Sequence[Turn]) -> AsyncIterator[dict[str, object]]:
        yield {"type": "start"}
        yield {"type": "start-step"}
        yield {"type": "text-start", "id": "answer"}
        async for text in self._tokens(conversation):
            yield {"type": "text-delta", "id": "answer", "delta": text}
        yield {"type": "text-end", "id": "answer"}
        yield {"type": "finish-step"}
        yield {"type": "finish"}

    async def _tokens(self, conversation: Sequence[Turn]) -> AsyncIterator[str]:
        body = {
            "model": self._model,
            "stream": True,
            "messages": [{"role": turn.role, "content": turn.text} for turn in conversation],
        }
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        async with (
            httpx.AsyncClient(timeout=timeout) as client,
            client.stream("POST", self._url, json=body, headers=self._headers) as response,
        ):
            if response.is_error:
                await response.aread()
                raise ProviderFailure(f"the provider answered {response.status_code}: {response.text[:500]}")
            finished = False
            async for data in _sse_data(response):
                if data == "[DONE]":
                    return
                event = json.loads(data)
                if event.get("error"):
                    raise ProviderFailure(f"the provider broke off: {str(event['error'])[:500]}")
                for choice in event.get("choices") or ():
                    finished = finished or bool(choice.get("finish_reason"))
                    if text := (choice.get("delta") or {}).get("content"):
                        yield text
            if not finished:
                raise ProviderFailure("the provider's answer ended in the middle")


async def _sse_data(response: httpx.Response) -> AsyncIterator[str]:
    """The `data` lines of a response. Lines end at LF: httpx's own iterator would also split at U+2028."""
    pending = b""
    async for piece in response.aiter_bytes():
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip().decode()


def choose_model(environment: Mapping[str, str] = os.environ) -> Model:
    """The provider that the environment names, else the stand-in.

    `OPENAI_API_KEY` or `OPENAI_BASE_URL` (any compatible service) chooses a provider, `OPENAI_MODEL` its
    model. `PERDURE_DEMO_TOKENS_PER_SECOND` sets the stand-in's pace. Raises `UsageError` for a value that is neither.
    """
    key, base_url = environment.get("OPENAI_API_KEY"), environment.get("OPENAI_BASE_URL")
    if base_url and not re.match(r"https?://[^/]+", base_url):
        raise UsageError(f"OPENAI_BASE_URL must be an address like {OPENAI_URL}, got {base_url!r}")
    if key or base_url:
        return OpenAICompatible(base_url or OPENAI_URL, environment.get("OPENAI_MODEL", OPENAI_MODEL), key or None)
    return StandIn(tokens_per_second=stand_in_pace(environment))


def stand_in_pace(environment: Mapping[str, str]) -> float:
    """How fast a stand-in is to speak. Raises `UsageError` for a value that is no number above 0."""
    pace = environment.get("PERDURE_DEMO_TOKENS_PER_SECOND", str(TOKENS_PER_SECOND))
    try:
        tokens_per_second = float(pace)
    except ValueError:
        tokens_per_second = 0.0
    if not tokens_per_second > 0:
        raise UsageError(f"PERDURE_DEMO_TOKENS_PER_SECOND must be a number above 0, got {pace!r}")
    return tokens_per_second
