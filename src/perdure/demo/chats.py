"""The list of chats that the page shows beside the conversation."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from perdure import S2, PerdureError
from perdure.resumable.aisdk import AiSdkChat

from .names import STREAM_PREFIX

TITLE_CHARACTERS: Final = 60
LISTED_CHATS: Final = 200


class ChatSummary(BaseModel):
    """One line of the list. `updatedAt` is in milliseconds since the epoch."""

    id: str
    title: str
    updatedAt: int
    active: bool


async def list_chats(chat: AiSdkChat, s2: S2, basin: str) -> list[ChatSummary]:
    """The chats, the one that was written to last first."""
    streams = s2.basin(basin)
    found: list[ChatSummary] = []
    async for info in chat.list(prefix=STREAM_PREFIX):
        try:
            tail = await streams.stream(info.name).check_tail()
            history = await chat.history(info.name)
        except PerdureError:
            continue  # deleted meanwhile
        title = _title(history["messages"])
        if title:
            chat_id = info.name.removeprefix(STREAM_PREFIX)
            found.append(
                ChatSummary(id=chat_id, title=title, updatedAt=tail.timestamp, active=history["active"] is True)
            )
        if len(found) == LISTED_CHATS:
            break
    return sorted(found, key=lambda summary: -summary.updatedAt)


def _title(messages: object) -> str:
    """The beginning of the first thing that the user said; empty if nothing was."""
    for message in messages if isinstance(messages, list) else ():
        if message["role"] == "user":
            text = " ".join(
                "".join(part.get("text", "") for part in message["parts"] if part["type"] == "text").split()
            )
            return text if len(text) <= TITLE_CHARACTERS else text[:TITLE_CHARACTERS].rstrip() + "…"
    return ""
