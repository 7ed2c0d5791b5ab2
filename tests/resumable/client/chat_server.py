"""A process that serves one application with chats of the Anthropic adapter, for tests that kill it.

`python -m tests.resumable.client.chat_server <directory> <port> <lease in ms>` prints `ready` and its address. With
`--lenient`, it takes nobody for dead. What the user says decides the answer: "stall" gets the beginning of one and then
nothing, all else gets an answer in two pieces.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from perdure.resumable.anthropic import create_resumable_chat, replay_options, user_message
from perdure.resumable.settings import Surroundings
from perdure.server import serving
from perdure.web import BrowserModules
from tests.resumable.anthropic_scripts import Event, text_turn
from tests.resumable.held_clock import HeldClock

PAGE: Final = Path(__file__).with_name("chat_page.html")


def answer_to(text: str) -> list[Event]:
    """The events of a whole answer."""
    return text_turn("You said: ", text, message_id=f"msg_{text}")


async def source(text: str) -> AsyncIterator[Event]:
    yield user_message(text)
    events = answer_to(text)
    for event in events[:3] if text == "stall" else events:
        yield event
    if text == "stall":
        await asyncio.Event().wait()


def create_app(path: str, lease_ms: int, *, lenient: bool) -> FastAPI:
    surroundings = Surroundings(now_ms=HeldClock().now_ms) if lenient else None
    chat = create_resumable_chat(
        path=path, basin="test-chats", mode="session", session_lease_ms=lease_ms, surroundings=surroundings
    )
    app = FastAPI(lifespan=chat.lifespan)

    @app.post("/api/chat")
    async def send(body: dict[str, Any]) -> Response:
        return await chat.make_resumable(
            f"chat-{body['id']}", lambda: source(body["text"]), delivery="replay", wait_until=chat.background
        )

    @app.get("/api/chat/stream")
    async def stream(request: Request, id: str) -> Response:
        return await chat.replay(f"chat-{id}", **replay_options(request))

    @app.get("/api/chat/history")
    async def history(id: str) -> Response:
        return await chat.history_response(f"chat-{id}", partials=True)

    @app.delete("/api/chat")
    async def stop(id: str) -> Response:
        return Response(status_code=202 if await chat.stop(f"chat-{id}") else 204)

    @app.get("/")
    async def page() -> Response:
        return HTMLResponse(PAGE.read_text())

    app.mount("/perdure", BrowserModules())
    return app


async def serve(path: str, port: int, lease_ms: int, *, lenient: bool) -> None:
    listener = serving.listen("127.0.0.1", port)
    with listener:
        async with serving.Serving(create_app(path, lease_ms, lenient=lenient), listener):
            print(f"ready http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
            await asyncio.to_thread(sys.stdin.read)  # the test closes it, or kills


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), lenient="--lenient" in sys.argv[4:]))
