"""The list of chats that the pages show beside the conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pydantic import BaseModel

from perdure import S2, PerdureError, StreamPosition
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.anthropic import AnthropicChat
from perdure.resumable.tanstack_ai import TanstackChat

from .names import ANTHROPIC_PREFIX, STREAM_PREFIX, TANSTACK_PREFIX

TITLE_CHARACTERS: Final = 60
LISTED_CHATS: Final = 200

ChatKind = Literal["aisdk", "anthropic", "tanstack"]


class ChatSummary(BaseModel):
    """One line of the list. `updatedAt` is in milliseconds since the epoch, `kind` says which page the chat is of.

    `records` counts all that were ever written to its `stream`.
    """

    id: str
    kind: ChatKind
    stream: str
    title: str
    records: int
    updatedAt: int
    active: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a chat's own log tells for the list."""

    first_question: str
    active: bool


class Listed(Protocol):
    """The chats of one page."""

    @property
    def kind(self) -> ChatKind: ...

    @property
    def prefix(self) -> str:
        """What the names of their streams begin with."""
        ...

    async def tell(self, name: str, tail: StreamPosition) -> Told: ...


class AiSdkChats:
    """The chats of the AI SDK page."""

    kind: ChatKind = "aisdk"
    prefix = STREAM_PREFIX

    def __init__(self, chat: AiSdkChat) -> None:
        self._chat = chat

    async def tell(self, name: str, tail: StreamPosition) -> Told:
        history = await self._chat.history(name)
        return Told(_first_question(history["messages"]), history["active"] is True)


class AnthropicChats:
    """The chats of the Anthropic page."""

    kind: ChatKind = "anthropic"
    prefix = ANTHROPIC_PREFIX

    def __init__(self, chat: AnthropicChat) -> None:
        self._chat = chat

    async def tell(self, name: str, tail: StreamPosition) -> Told:
        turns = (await self._chat.history(name))["turns"]
        # A replay from the end on has nothing to say, unless there is more to come.
        rest = await self._chat.replay(name, from_seq_num=tail.seq_num)
        await rest.aclose()
        return Told(turns[0]["user"] if turns else "", rest.status == 200)


class TanstackChats:
    """The chats of the TanStack page."""

    kind: ChatKind = "tanstack"
    prefix = TANSTACK_PREFIX

    def __init__(self, chat: TanstackChat) -> None:
        self._chat = chat

    async def tell(self, name: str, tail: StreamPosition) -> Told:
        history = await self._chat.history(name)
        asked = _first_question(history["messages"])
        if not asked and history["active"]:  # what is being answered is no history yet
            asked = await self._being_asked(name)
        return Told(asked, history["active"])

    async def _being_asked(self, name: str) -> str:
        """The question of the first turn, which is what its generation begins with."""
        replay = await self._chat.replay(name, from_seq_num=0)
        try:
            if replay.chunks is not None:
                async for frame in replay.chunks:
                    for event in _events_in(frame):
                        if event.get("type") != "TEXT_MESSAGE_START":
                            return str(event.get("delta", ""))
            return ""
        finally:
            await replay.aclose()


class ChatList:
    """The chats of one basin. What was learnt of a chat is kept until its stream has grown."""

    def __init__(self, s2: S2, basin: str, listed: Sequence[Listed]) -> None:
        self._basin = s2.basin(basin)
        self._listed = listed
        self._known: dict[str, tuple[StreamPosition, ChatSummary]] = {}

    async def newest(self) -> list[ChatSummary]:
        """The chats that were written to last, the latest first; those without a question are left out."""
        tails: list[tuple[StreamPosition, str, Listed]] = []
        for listed in self._listed:
            async for info in self._basin.streams.list_all(prefix=listed.prefix):
                try:
                    tails.append((await self._basin.stream(info.name).check_tail(), info.name, listed))
                except PerdureError:
                    continue  # deleted meanwhile
        tails.sort(key=lambda found: -found[0].timestamp)
        known, self._known = self._known, {}
        for tail, name, listed in tails[:LISTED_CHATS]:
            if name not in known or known[name][0] != tail:
                try:
                    known[name] = tail, await self._summary(listed, name, tail)
                except PerdureError:
                    continue
            self._known[name] = known[name]
        return [summary for _, summary in self._known.values() if summary.title]

    async def _summary(self, listed: Listed, name: str, tail: StreamPosition) -> ChatSummary:
        told = await listed.tell(name, tail)
        return ChatSummary(
            id=name.removeprefix(listed.prefix),
            kind=listed.kind,
            stream=name,
            title=shortened(told.first_question),
            records=tail.seq_num,
            updatedAt=tail.timestamp,
            active=told.active,
        )


def _events_in(frames: bytes) -> list[dict[str, object]]:
    """The events of whole frames."""
    return [json.loads(line[6:]) for line in frames.split(b"\n") if line.startswith(b"data: ")]


def shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[:TITLE_CHARACTERS].rstrip() + "…"


def _first_question(messages: object) -> str:
    """The first thing that the user said; empty if nothing was."""
    for message in messages if isinstance(messages, list) else ():
        if message["role"] == "user":
            # The AI SDK calls the text of a part `text`, TanStack AI `content`.
            texts = (part.get("text", part.get("content", "")) for part in message["parts"] if part["type"] == "text")
            return "".join(texts)
    return ""
