"""The routes of the Anthropic page: one session log for each chat, which every tab reads, the one that asked too.

The page loads the history, keeps a live replay open from there, and posts; what it shows comes from the replay.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints

from perdure.resumable.anthropic import AnthropicChat, replay_options, user_message

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
            messages = await chat.conversation(name, request.text, partials=True)  # all that the page shows
            yield user_message(request.text)
            said = [Said(message["role"], message["content"]) for message in messages]
            async for event in events_of_turn(model, said):
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
