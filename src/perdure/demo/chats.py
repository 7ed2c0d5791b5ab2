"""The list of chats that the page shows beside the conversation."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from perdure import S2, PerdureError, StreamPosition
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


class ChatList:
    """The chats of one basin. What was learnt of a chat is kept until its stream has grown."""

    def __init__(self, chat: AiSdkChat, s2: S2, basin: str) -> None:
        self._chat = chat
        self._basin = s2.basin(basin)
        self._known: dict[str, tuple[StreamPosition, ChatSummary]] = {}

    async def newest(self) -> list[ChatSummary]:
        """The chats that were written to last, the latest first; those without a question are left out."""
        tails: list[tuple[StreamPosition, str]] = []
        async for info in self._chat.list(prefix=STREAM_PREFIX):
            try:
                tails.append((await self._basin.stream(info.name).check_tail(), info.name))
            except PerdureError:
                continue  # deleted meanwhile
        tails.sort(key=lambda found: -found[0].timestamp)
        known, self._known = self._known, {}
        for tail, name in tails[:LISTED_CHATS]:
            if name not in known or known[name][0] != tail:
                try:
                    known[name] = tail, await self._summary(name, tail)
                except PerdureError:
                    continue
            self._known[name] = known[name]
        return [summary for _, summary in self._known.values() if summary.title]

    async def _summary(self, name: str, tail: StreamPosition) -> ChatSummary:
        history = await self._chat.history(name)
        return ChatSummary(
            id=name.removeprefix(STREAM_PREFIX),
            title=_title(history["messages"]),
            updatedAt=tail.timestamp,
            active=history["active"] is True,
        )


def _title(messages: object) -> str:
    """The beginning of the first thing that the user said; empty if nothing was."""
    for message in messages if isinstance(messages, list) else ():
        if message["role"] == "user":
            text = " ".join(
                "".join(part.get("text", "") for part in message["parts"] if part["type"] == "text").split()
            )
            return text if len(text) <= TITLE_CHARACTERS else text[:TITLE_CHARACTERS].rstrip() + "…"
    return ""
