"""The routes of the Anthropic page: one session log for each chat, which every tab reads, the one that asked too.

The page loads the history, keeps a live replay open from there, and posts; what it shows comes from the replay.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints

from perdure.resumable.anthropic import AnthropicChat, History, replay_options, user_message

from .messages_model import MessagesModel, Said
from .names import AnthropicStreamName, anthropic_stream_of
from .tool_loop import events_of_turn

MAX_QUESTION_CHARACTERS: Final = 2000

_NO_STORE: Final = {"cache-control": "no-store"}


class SendRequest(BaseModel):
    """What the page posts: the chat's id, and what the user said. The rest of the conversation is in the log."""

    id: str
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARACTERS)]


def anthropic_routes(chat: AnthropicChat, model: MessagesModel) -> APIRouter:
    """The routes over `chat`, a chat object in session mode; `model` answers."""
    routes = APIRouter(prefix="/api/anthropic/chat")

    @routes.post("")
    async def send(request: SendRequest) -> Response:
        name = anthropic_stream_of(request.id)

        async def source() -> AsyncIterator[Mapping[str, object]]:  # called only once the turn is claimed
            said = conversation_of(await chat.history(name))
            yield user_message(request.text)
            async for event in events_of_turn(model, [*said, Said("user", request.text)]):
                yield event

        return await chat.make_resumable(name, source, delivery="replay", wait_until=chat.background)

    @routes.get("/stream")
    async def stream(request: Request, name: AnthropicStreamName) -> Response:
        return await chat.replay(name, **replay_options(request))

    @routes.get("/history")
    async def history(name: AnthropicStreamName) -> Response:
        return await chat.history_response(name, partials=True)

    @routes.delete("")
    async def stop(name: AnthropicStreamName) -> Response:
        return Response(status_code=202 if await chat.stop(name) else 204, headers=_NO_STORE)

    return routes


def conversation_of(history: History) -> list[Said]:
    """The conversation so far for the next request: the turns that have an answer, as their text.

    Tool calls and thoughts are left out, since the API refuses a call without its result, which the log does not keep,
    and a thought that was cut off.
    """
    answers = [list[str]() for _ in history["turns"]]
    first_messages = {
        turn["assistant"]["id"]: number for number, turn in enumerate(history["turns"]) if "assistant" in turn
    }
    number: int | None = None
    for message in history["messages"]:
        number = first_messages.get(message["id"], number)
        if number is not None:
            answers[number] += _texts(message["content"])
    said: list[Said] = []
    for turn, texts in zip(history["turns"], answers, strict=True):
        if texts:
            said += [Said("user", turn["user"]), Said("assistant", "\n\n".join(texts))]
    return said


def _texts(content: object) -> list[str]:
    """The text blocks that say something."""
    blocks = content if isinstance(content, list) else []
    return [block["text"].strip() for block in blocks if block["type"] == "text" and block["text"].strip()]
