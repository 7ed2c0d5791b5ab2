"""An application with chats of every mode and both adapters, whose answers go on when the test lets them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from perdure import S2
from perdure.resumable import anthropic, events
from perdure.resumable.anthropic import replay_options, user_message
from perdure.resumable.settings import Delivery, ModeName
from perdure.web import BrowserModules
from tests.resumable.anthropic_scripts import Event

PAGE: Final = Path(__file__).with_name("chats_page.html")
BASIN: Final = "test-chats"
STOPPED: Final[Event] = {"type": "stopped"}

Chat: TypeAlias = anthropic.AnthropicChat | events.EventsChat
CREATE: Final[dict[str, Callable[..., Chat]]] = {
    "anthropic": anthropic.create_resumable_chat,
    "events": lambda **options: events.create_resumable_chat(stop_event=STOPPED, **options),
}
MODES: Final[tuple[ModeName, ...]] = ("session", "shared", "single-use")


class Answer:
    """A source that gives one stage of its events whenever the test says so, and then ends or fails."""

    def __init__(self, *stages: list[Event], failure: Exception | None = None) -> None:
        self._stages = stages
        self._failure = failure
        self._may_go_on = asyncio.Semaphore(0)
        self._waits = asyncio.Semaphore(0)
        self._stored: asyncio.Future[None] | None = None
        self.closed = asyncio.Event()

    def keep(self, stored: Awaitable[None]) -> None:
        """The `wait_until` of this answer: takes what resolves when it is stored."""
        self._stored = asyncio.ensure_future(stored)

    async def is_stored(self) -> None:
        """Wait until its end is stored, however it ended."""
        assert self._stored is not None, "it was asked for"
        await asyncio.wait((self._stored,))

    async def begins(self) -> None:
        """Wait until it is asked for; to be awaited once."""
        await self._waits.acquire()

    async def go_on(self) -> None:
        """Let the next stage be given, and wait until all of it was taken."""
        self._may_go_on.release()
        await self._waits.acquire()

    async def __call__(self, text: str) -> AsyncIterator[Event]:
        try:
            yield user_message(text)
            for stage in self._stages:
                await self._go_on_is_called()
                for event in stage:
                    yield event
            await self._go_on_is_called()
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed.set()
            self._waits.release()

    async def _go_on_is_called(self) -> None:
        self._waits.release()
        await self._may_go_on.acquire()


class ChatsServed:
    """The application, and what the tests tell it."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.answers: defaultdict[str, list[Answer]] = defaultdict(list)
        """The answers to the next questions of each chat."""
        self._turns: defaultdict[str, int] = defaultdict(int)
        self._chats: dict[tuple[str, str], Chat] = {}
        self._opened = AsyncExitStack()
        self.app = FastAPI()
        self._add_routes()

    def name_of(self, adapter: str, mode: str, chat_id: str) -> str:
        """The stream that a chat is at: a single-use chat has another one for each turn."""
        name = f"{adapter}-{mode}-{chat_id}"
        return f"{name}-{self._turns[name]}" if mode == "single-use" else name

    async def __aenter__(self) -> Self:
        s2 = await self._opened.enter_async_context(S2.open(str(self.store)))
        for adapter, create in CREATE.items():
            for mode in MODES:
                chat = self._chats[adapter, mode] = create(s2=s2, basin=BASIN, mode=mode)
                await self._opened.enter_async_context(chat)
        return self

    async def __aexit__(self, *_: object) -> None:
        for chat in self._chats.values():
            await chat.aclose(timeout=0)  # a test that has failed may have left an answer that waits for ever
        await self._opened.aclose()

    def _add_routes(self) -> None:
        app, place = self.app, "/{adapter}/{mode}/{chat_id}"

        @app.post(place)
        async def send(
            adapter: str, mode: str, chat_id: str, body: dict[str, Any], delivery: Delivery = "response"
        ) -> Response:
            chat, answer = self._chats[adapter, mode], self.answers[chat_id].pop(0)
            self._turns[f"{adapter}-{mode}-{chat_id}"] += 1
            name = self.name_of(adapter, mode, chat_id)
            return await chat.make_resumable(
                name, lambda: answer(body["text"]), delivery=delivery, wait_until=answer.keep
            )

        @app.get(f"{place}/stream")
        async def stream(request: Request, adapter: str, mode: str, chat_id: str) -> Response:
            name = self.name_of(adapter, mode, chat_id)
            return await self._chats[adapter, mode].replay(name, **replay_options(request))

        @app.get(f"{place}/history")
        async def history(adapter: str, mode: str, chat_id: str) -> Response:
            chat, name = self._chats[adapter, mode], self.name_of(adapter, mode, chat_id)
            if isinstance(chat, anthropic.AnthropicChat):
                return await chat.history_response(name, partials=True)
            return await chat.history_response(name)

        @app.delete(place)
        async def stop(adapter: str, mode: str, chat_id: str) -> Response:
            stopped = await self._chats[adapter, mode].stop(self.name_of(adapter, mode, chat_id))
            return Response(status_code=202 if stopped else 204)

        @app.get("/")
        async def page() -> Response:
            return HTMLResponse(PAGE.read_text())

        app.mount("/perdure", BrowserModules())
