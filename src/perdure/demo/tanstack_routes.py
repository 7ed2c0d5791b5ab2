"""The routes of the TanStack page: one session log for each chat, which every tab follows, the one that asked too."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from perdure.resumable.tanstack_ai import SourceContext, TanstackChat, replay_options

from .agui_run import Run, events_of_run, result_of
from .messages_model import MessagesModel
from .names import TanstackStreamName, tanstack_stream_of
from .ui_messages import conversation_of, decided_calls, decisions_in

MAX_MESSAGES: Final = 1000


class SendRequest(BaseModel):
    """What the page's connection posts. Fields that are not read here are let through."""

    id: str
    messages: list[dict[str, Any]] = Field(max_length=MAX_MESSAGES)
    threadId: str | None = None
    runId: str | None = None


class StopRequest(BaseModel):
    """What it sends to stop an answer."""

    id: str


def tanstack_routes(chat: TanstackChat, model: MessagesModel) -> APIRouter:
    """The routes over `chat`, a chat object in session mode; `model` answers."""
    routes = APIRouter(prefix="/api/tanstack/chat")

    @routes.post("")
    async def send(request: SendRequest) -> Response:
        name = tanstack_stream_of(request.id)
        run = Run(request.threadId or request.id, request.runId or f"run-{secrets.token_hex(8)}")

        async def source(messages: list[Any], _: SourceContext) -> AsyncIterator[Mapping[str, object]]:
            # What was said comes from the log: of the page's own list only the question and the decisions count.
            history = (await chat.history(name))["messages"]
            decided = decided_calls(history, decisions_in(messages))
            results = [result_of(call, approved=approved) for call, approved in decided]
            said = conversation_of(history, messages[-1], results)
            async for event in events_of_run(model, run, said, results):
                yield event

        return await chat.make_session_response(
            name, messages=request.messages, source=source, wait_until=chat.background
        )

    @routes.get("/replay")
    async def replay(request: Request, name: TanstackStreamName) -> Response:
        return await chat.replay(name, **replay_options(request))

    @routes.delete("")
    async def stop(request: StopRequest) -> Response:
        return await chat.stop_session(tanstack_stream_of(request.id))

    return routes
