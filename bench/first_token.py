"""What `make_resumable` adds to one answer: to its first token, to each token, and in CPU time.

The same source is streamed with and without it, in turns, into the same counting ASGI client: without it by Starlette's
own `StreamingResponse`, as an application without Perdure would. Chats are in session mode and keep the user's
messages, so a request pays for the claim, for the prologue and for reading its answer back from the store.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.responses import StreamingResponse
from starlette.types import ASGIApp

from perdure.resumable.aisdk import AiSdkChat, create_resumable_chat

from .measure import Samples, Usage
from .scenario import Row, Run, alone, at_most, check

ADDED_LIMIT_MS = 1.5
MODEL_SECONDS = 0.005
TOKEN = b'"text-delta"'
SCOPE = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST"}

Chunk: TypeAlias = dict[str, str]
Source: TypeAlias = Callable[[], AsyncIterator[Chunk]]
Ask: TypeAlias = "Callable[[Model], Awaitable[ASGIApp]]"


class Model:
    """A stand-in for a model that waits before its first token, and before each further one."""

    def __init__(self, tokens: int, *, first: float = 0.0, gap: float = 0.0) -> None:
        self.tokens = tokens
        self._first = first
        self._gap = gap
        self.waited = 0.0
        """Seconds that the first token took by itself."""

    async def answer(self) -> AsyncIterator[Chunk]:
        yield {"type": "start"}
        yield {"type": "start-step"}
        if self._first:
            started = time.perf_counter()
            await asyncio.sleep(self._first)
            self.waited = time.perf_counter() - started
        yield {"type": "text-start", "id": "text-1"}
        for number in range(self.tokens):
            if self._gap and number:
                await asyncio.sleep(self._gap)
            yield {"type": "text-delta", "id": "text-1", "delta": f"{time.perf_counter_ns()}"}
        yield {"type": "text-end", "id": "text-1"}
        yield {"type": "finish-step"}
        yield {"type": "finish"}


class Client:
    """Calls an ASGI application and looks at the body as it comes."""

    def __init__(self) -> None:
        self.first_token_at = 0.0
        self.tokens = 0
        self.delays: list[float] = []

    async def get(self, app: ASGIApp) -> None:
        gone = asyncio.get_running_loop().create_future()

        async def receive() -> MutableMapping[str, Any]:
            await gone
            return {"type": "http.disconnect"}

        await app(SCOPE, receive, self._send)
        gone.cancel()

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        body: bytes = message.get("body", b"")
        count = body.count(TOKEN)
        if not count:
            return
        now = time.perf_counter()
        self.tokens += count
        if not self.first_token_at:
            self.first_token_at = now
        for piece in body.split(b'"delta":"')[1:]:
            self.delays.append(now - int(piece[: piece.index(b'"')]) / 1e9)


async def _plainly(source: Source) -> AsyncIterator[str]:
    async for chunk in source():
        yield f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"


async def plain(model: Model) -> ASGIApp:
    """The answer without Perdure."""
    return StreamingResponse(_plainly(model.answer), media_type="text/event-stream")


class Chats:
    """The answer with Perdure, in a new chat or in one that goes on."""

    def __init__(self, chat: AiSdkChat) -> None:
        self._chat = chat
        self._numbers = itertools.count()

    async def first_turn(self, model: Model) -> ASGIApp:
        return await self._turn(f"new-{next(self._numbers)}", model)

    async def next_turn(self, model: Model) -> ASGIApp:
        return await self._turn("old", model)

    async def _turn(self, name: str, model: Model) -> ASGIApp:
        number = next(self._numbers)
        message = {"id": f"message-{number}", "role": "user", "parts": [{"type": "text", "text": "What is new?"}]}
        return await self._chat.make_resumable(
            name, model.answer, user_message=message, wait_until=self._chat.background
        )


async def _answer(ask: Ask, model: Model) -> tuple[float, Client]:
    """The time to the first token, without what the model itself waited, and the client that got the answer."""
    client = Client()
    started = time.perf_counter()
    await client.get(await ask(model))
    check(client.tokens == model.tokens, f"{model.tokens} tokens were generated, {client.tokens} arrived")
    return client.first_token_at - started - model.waited, client


async def _first_tokens(run: Run, chats: Chats, first: float, when: str) -> list[Row]:
    count = run.pick(400, 60)
    ways: dict[str, Ask] = {"": plain, "next turn of a chat": chats.next_turn, "first turn of a chat": chats.first_turn}
    samples = {way: Samples() for way in ways}
    run.progress(f"first token, {when}: {count} answers each")
    for number in range(count + 20):
        for way, ask in ways.items():
            seconds, _ = await _answer(ask, Model(3, first=first))
            if number >= 20:
                samples[way].add(seconds)
    bare = samples.pop("")
    return [
        Row(
            f"added to the first token, {way}, {when}",
            with_store.p50_ms - bare.p50_ms,
            "ms",
            at_most(ADDED_LIMIT_MS),
            f"with p50 {with_store.p50_ms:.2f} ms, p99 {with_store.p99_ms:.2f} ms; without p50 {bare.p50_ms:.2f} ms, "
            f"p99 {bare.p99_ms:.2f} ms",
        )
        for way, with_store in samples.items()
    ]


async def _tokens(run: Run, chats: Chats, tokens: int, gap: float, rounds: int, when: str) -> Row:
    """CPU time by token, and how old a token is when the client has it."""
    usage = {ask: Usage() for ask in (plain, chats.next_turn)}
    delays = {ask: Samples() for ask in usage}
    await _answer(chats.next_turn, Model(100))
    for number in range(rounds):
        run.progress(f"tokens, {when}: round {number + 1} of {rounds}")
        for ask, used in usage.items():
            used.resume()
            _, client = await _answer(ask, Model(tokens, gap=gap))
            used.stop()
            delays[ask].extend(client.delays)
    count = rounds * tokens
    bare, with_store = (each.micros_per(count) for each in usage.values())
    late, bare_late = delays[chats.next_turn], delays[plain]
    return Row(
        f"added CPU a token, {when}",
        with_store - bare,
        "µs",
        notes=f"with {with_store:.0f} µs, without {bare:.0f} µs; from source to client p50 {late.p50_ms:.2f} ms, p99 "
        f"{late.p99_ms:.2f} ms, without p50 {bare_late.p50_ms:.2f} ms; {count / usage[chats.next_turn].wall:,.0f} "
        f"tokens/s; {usage[chats.next_turn].describe()}",
    )


async def run(run: Run) -> list[Row]:
    async with create_resumable_chat(path=run.store(), basin="bench-answers", mode="session") as chat:
        chats = Chats(chat)
        return [
            *await _first_tokens(run, chats, MODEL_SECONDS, f"a model that takes {MODEL_SECONDS * 1e3:.0f} ms"),
            *await _first_tokens(run, chats, 0.0, "all at once"),
            await _tokens(run, chats, run.pick(500, 100), 0.004, run.pick(5, 2), "one generation, 4 ms apart"),
            await _tokens(run, chats, run.pick(20_000, 2_000), 0.0, run.pick(5, 2), "one generation, all at once"),
        ]


if __name__ == "__main__":
    alone(run)
