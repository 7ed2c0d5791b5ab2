"""The demo's application: the stock routes of `useChat` with history, stop and watch; and what the other pages need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from fastapi import Body, FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from perdure import S2, __version__
from perdure.resumable import aisdk, anthropic, tanstack_ai

from .agent import AgentRuns
from .agent_routes import agent_routes
from .anthropic_routes import anthropic_routes
from .chats import AiSdkChats, AnthropicChats, ChatKind, ChatList, TanstackChats
from .claude import failure_text
from .messages_model import MessagesModel
from .models import Model, ModelInfo, Turn
from .names import StreamName, anthropic_stream_of, stream_of, tanstack_stream_of
from .plain_pages import add_pages
from .tanstack_routes import tanstack_routes

BASIN: Final = "perdure-demo"
STATIC: Final = Path(__file__).with_name("static")
CLOSE_SECONDS: Final = 3.0
"""How long answers that are being written may go on when the server is told to stop."""

_NO_STORE: Final = {"cache-control": "no-store"}


class Message(BaseModel):
    """A UI message as the AI SDK sends it; what the demo does not read is kept as it is."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    id: str
    role: Literal["user", "assistant", "system"]
    parts: list[dict[str, Any]]

    def as_turn(self) -> Turn:
        text = "".join(str(part.get("text", "")) for part in self.parts if part.get("type") == "text")
        return Turn(self.role, text)


class ChatRequest(BaseModel):
    """What the stock `DefaultChatTransport` posts."""

    id: str
    messages: list[Message] = Field(min_length=1)
    trigger: str = "submit-message"
    messageId: str | None = None


def _chunks(model: Model, conversation: Sequence[Message]) -> AsyncIterator[Mapping[str, object]]:
    return model.answer([message.as_turn() for message in conversation])


class DemoApp(FastAPI):
    """The application, with what its server needs to end it."""

    chats: tuple[aisdk.AiSdkChat, anthropic.AnthropicChat, tanstack_ai.TanstackChat]
    runs: AgentRuns

    async def end(self) -> None:
        """End what is being written, and the bodies that would never end by themselves."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.runs.aclose())
            for chat in self.chats:
                tasks.create_task(chat.aclose(timeout=CLOSE_SECONDS))


def create_app(location: str, model: Model, messages_model: MessagesModel, *, session_lease_ms: int = 5_000) -> DemoApp:
    """The application over the store at `location`, a directory or ":memory:".

    `model` answers on the AI SDK page, `messages_model` on the others. `session_lease_ms` is how long a reader waits
    for a writer that may have died.
    """
    s2 = S2.open(location)
    chat = aisdk.create_resumable_chat(s2=s2, basin=BASIN, mode="session", session_lease_ms=session_lease_ms)
    claude = anthropic.create_resumable_chat(
        s2=s2, basin=BASIN, mode="session", session_lease_ms=session_lease_ms, on_error=failure_text
    )
    tanstack = tanstack_ai.create_resumable_chat(
        s2=s2, basin=BASIN, mode="session", session_lease_ms=session_lease_ms, on_error=failure_text
    )
    runs = AgentRuns(s2, BASIN, messages_model)
    listed = ChatList(s2, BASIN, (AiSdkChats(chat), AnthropicChats(claude), TanstackChats(tanstack)))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with s2, chat, claude, tanstack:
            await runs.take_up_unfinished()
            try:
                yield
            finally:
                await runs.aclose()

    app = DemoApp(title="Perdure demo", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.chats = chat, claude, tanstack
    app.runs = runs

    @app.post("/api/chat")
    async def send(request: Annotated[ChatRequest, Body()]) -> Response:
        return await chat.make_resumable(
            stream_of(request.id),
            lambda: _chunks(model, request.messages),  # called only once the turn is claimed
            wait_until=chat.background,
            user_message=request.messages[-1].model_dump(),
            trigger=request.trigger,
            message_id=request.messageId,
        )

    @app.get("/api/chat/{chat_id}/stream")
    async def resume(name: StreamName) -> Response:
        return await chat.replay(name, active_only=True)

    @app.post("/api/chat/{chat_id}/stop")
    async def stop(name: StreamName) -> Response:
        return Response(status_code=202 if await chat.stop(name) else 204, headers=_NO_STORE)

    @app.get("/api/chat/{chat_id}/history")
    async def history(name: StreamName) -> Response:
        return await chat.history_response(name)

    @app.get("/api/chat/{chat_id}/watch")
    async def watch(name: StreamName) -> Response:
        return await chat.watch(name)

    @app.get("/api/chats")
    async def chats() -> Response:
        shown = [summary.model_dump() for summary in await listed.newest()]
        return JSONResponse({"chats": shown}, headers=_NO_STORE)

    @app.delete("/api/chats/{chat_id}")
    async def delete(chat_id: str, kind: ChatKind = "aisdk") -> Response:
        match kind:
            case "aisdk":
                await chat.delete(stream_of(chat_id))
            case "anthropic":
                await claude.delete(anthropic_stream_of(chat_id))
            case "tanstack":
                await tanstack.delete(tanstack_stream_of(chat_id))
        return Response(status_code=204)

    @app.get("/api/info")
    async def info() -> Response:
        shown = {"version": __version__, "model": _shown(model.info), "messagesModel": _shown(messages_model.info)}
        return JSONResponse(shown, headers=_NO_STORE)

    @app.get("/health")
    async def health() -> Response:
        return PlainTextResponse("OK")

    app.include_router(anthropic_routes(claude, messages_model))
    app.include_router(tanstack_routes(tanstack, messages_model))
    app.include_router(agent_routes(runs))
    add_pages(app)

    @app.get("/")
    async def page() -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/tanstack")
    async def tanstack_page() -> Response:
        return FileResponse(STATIC / "tanstack.html", headers={"cache-control": "no-cache"})

    app.mount("/", StaticFiles(directory=STATIC))
    return app


def _shown(about: ModelInfo) -> dict[str, str]:
    return {"name": about.name, "kind": about.kind, "note": about.note}
