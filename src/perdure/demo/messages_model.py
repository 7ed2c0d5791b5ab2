"""What the demo asks of a model where it speaks the Anthropic Messages API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from .models import ModelInfo
from .tools import TOOLS, Tool


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the conversation. `content` is text, or a list of the API's content blocks."""

    role: Literal["user", "assistant"]
    content: object


class MessagesModel(Protocol):
    """Goes on with a conversation, as raw events of the Messages API, as they come."""

    @property
    def info(self) -> ModelInfo: ...

    def stream(
        self, said: Sequence[Said], *, may_call: bool, tools: Sequence[Tool] = TOOLS
    ) -> AsyncIterator[Mapping[str, object]]:
        """The events of the next message. Unless it `may_call` one of the `tools`, it has to answer."""
        ...
