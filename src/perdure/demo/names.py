"""Which stream a chat is kept in."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, HTTPException

STREAM_PREFIX: Final = "chat-"

_CHAT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def stream_of(chat_id: str) -> str:
    """The stream of a chat. Raises 400 for an id that no page of ours would make.

    A chat id is not a credential. This demo has no users, so everybody who reaches it sees every chat; where your
    application has them, this is the place to check that this user may see this chat.
    """
    if _CHAT_ID.fullmatch(chat_id) is None:
        raise HTTPException(400, "a chat id has 1 to 64 letters, digits, hyphens or underscores")
    return f"{STREAM_PREFIX}{chat_id}"


StreamName = Annotated[str, Depends(stream_of)]
"""In a route with `chat_id` in its path: the name of that chat's stream."""
