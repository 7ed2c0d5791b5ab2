"""Which stream a chat or a run is kept in."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, HTTPException

STREAM_PREFIX: Final = "chat-"
ANTHROPIC_PREFIX: Final = "anthropic-"
TANSTACK_PREFIX: Final = "tanstack-"
"""A stream holds one wire format, so the chats of each page have streams of their own."""
RUN_PREFIX: Final = "agent/run-"

_CHAT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RUN_ID: Final = re.compile(r"[0-9a-f]{8}")


def stream_of(chat_id: str) -> str:
    """The stream of a chat. Raises 400 for an id that no page of ours would make.

    A chat id is not a credential. This demo has no users, so everybody who reaches it sees every chat; where your
    application has them, this is the place to check that this user may see this chat.
    """
    return f"{STREAM_PREFIX}{_checked(chat_id)}"


def anthropic_stream_of(id: str) -> str:
    """The stream of a chat of the Anthropic page; the same holds of its ids."""
    return f"{ANTHROPIC_PREFIX}{_checked(id)}"


def tanstack_stream_of(id: str) -> str:
    """The stream of a chat of the TanStack page; the same holds of its ids."""
    return f"{TANSTACK_PREFIX}{_checked(id)}"


def run_stream_of(run_id: str) -> str:
    """The stream of an agent's run. Raises 404 for an id that no run has."""
    if _RUN_ID.fullmatch(run_id) is None:
        raise HTTPException(404, "a run's id has eight hexadecimal digits")
    return f"{RUN_PREFIX}{run_id}"


def _checked(chat_id: str) -> str:
    if _CHAT_ID.fullmatch(chat_id) is None:
        raise HTTPException(400, "a chat id has 1 to 64 letters, digits, hyphens or underscores")
    return chat_id


StreamName = Annotated[str, Depends(stream_of)]
"""In a route with `chat_id` in its path: the name of that chat's stream."""

AnthropicStreamName = Annotated[str, Depends(anthropic_stream_of)]
"""In a route with `id` in its query: the name of that chat's stream."""

TanstackStreamName = Annotated[str, Depends(tanstack_stream_of)]
"""In a route with `id` in its query: the name of that chat's stream."""

RunStreamName = Annotated[str, Depends(run_stream_of)]
"""In a route with `run_id` in its path: the name of that run's stream."""
