"""The application that the tabs of `tabs.py` follow: sources that go by the clock, and the resume route of a chat.

Granian serves it in one worker, under uvloop. `BENCH_STORE` is the directory of the store, `BENCH_LOAD` what to
generate.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.resumable.aisdk import AiSdkChat, create_resumable_chat

from .metronome import Metronome
from .scenario import check

STORE, LOAD = "BENCH_STORE", "BENCH_LOAD"

START_SECONDS = 1.0
"""From the request that lets the sources go to the first token."""


@dataclass(frozen=True)
class Load:
    """So many generations of so many tokens, one a second from each, evenly spread over the second."""

    generations: int
    tokens: int


class Sources:
    """The models, which wait for `begin`."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._begin: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._metronome = Metronome()

    def begin(self) -> None:
        self._begin.set_result(time.perf_counter() + START_SECONDS)

    async def answer(self, number: int) -> AsyncIterator[dict[str, str]]:
        yield {"type": "start"}
        yield {"type": "text-start", "id": "text-1"}
        due = await asyncio.shield(self._begin) + number / self._load.generations
        for second in range(self._load.tokens):
            await self._metronome.until(due + second)
            yield {"type": "text-delta", "id": "text-1", "delta": f"{time.perf_counter_ns()}"}
        yield {"type": "text-end", "id": "text-1"}
        yield {"type": "finish"}

    def close(self) -> None:
        self._metronome.close()


async def _generate(chat: AiSdkChat, sources: Sources, load: Load) -> None:
    """Start everything: the answers wait for their first token."""

    async def generate(number: int) -> None:
        response = await chat.make_resumable(
            f"chat-{number}", lambda: sources.answer(number), delivery="replay", wait_until=chat.background
        )
        check(response.status == 202, f"the chat answered {response.status}")

    await asyncio.gather(*(generate(number) for number in range(load.generations)))


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    load = msgspec.json.decode(os.environ[LOAD], type=Load)
    sources = app.state.sources = Sources(load)
    async with create_resumable_chat(path=Path(os.environ[STORE]), basin="bench-tabs", mode="session") as chat:
        app.state.chat = chat
        await _generate(chat, sources, load)
        yield
    sources.close()


async def _resume(request: Request) -> Response:
    chat: AiSdkChat = request.app.state.chat
    return await chat.replay(request.path_params["name"], active_only=True)


async def _begin(request: Request) -> Response:
    sources: Sources = request.app.state.sources
    sources.begin()
    return Response(status_code=204)


app = Starlette(
    routes=[Route("/chat/{name}", _resume), Route("/begin", _begin, methods=["POST"])],
    lifespan=_lifespan,
)
