"""What it takes to load a page: the history of a long chat, at first and again after another turn.

A chat object that has seen nothing folds the whole log; one that was asked before reads what came since. Both are
measured as a route answers them: as JSON, or for TanStack AI as the snapshot that its live session begins with.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from perdure import S2
from perdure.resumable import aisdk, anthropic, tanstack_ai
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.anthropic import AnthropicChat, ChatResponse, user_message
from perdure.resumable.tanstack_ai import SourceContext, TanstackChat

from .measure import Samples
from .scenario import Row, Run, alone, at_most, check

FIRST_LIMIT_MS = 100.0
AGAIN_LIMIT_MS = 10.0
SHORT_TURN_EVENTS = 10
BASIN = "bench-histories"

Chat: TypeAlias = AiSdkChat | AnthropicChat | TanstackChat
Event: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """What differs between the adapters: how a chat is made, a turn of so many events written, and a page loaded."""

    create: Callable[..., Chat]
    turn: Callable[[Any, int, int], Awaitable[ChatResponse]]
    load: Callable[[Any], Awaitable[bytes]]
    """Gives the body that a page begins with."""
    found: Callable[[bytes], int]
    """How many questions and answers, or turns of both, such a body has."""


async def _anthropic_turn(chat: AnthropicChat, number: int, events: int) -> ChatResponse:
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "bench", "content": []}

    async def source() -> AsyncIterator[Event]:
        yield user_message("What is new?")
        yield {"type": "message_start", "message": {**message, "usage": {"input_tokens": 25, "output_tokens": 1}}}
        yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        for word in range(events - 8):
            delta = {"type": "text_delta", "text": f"word {word} of the answer "}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": events}}
        yield {"type": "message_stop"}

    return await chat.make_resumable("chat", source, delivery="replay")


async def _aisdk_turn(chat: AiSdkChat, number: int, events: int) -> ChatResponse:
    message = {"id": f"u{number}", "role": "user", "parts": [{"type": "text", "text": "What is new?"}]}

    async def source() -> AsyncIterator[Event]:
        yield {"type": "start", "messageId": f"a{number}"}
        yield {"type": "text-start", "id": "t"}
        for word in range(events - 7):
            yield {"type": "text-delta", "id": "t", "delta": f"word {word} of the answer "}
        yield {"type": "text-end", "id": "t"}
        yield {"type": "finish"}

    return await chat.make_resumable("chat", source, delivery="replay", user_message=message)


async def _tanstack_turn(chat: TanstackChat, number: int, events: int) -> ChatResponse:
    asked = {"id": f"u{number}", "role": "user", "parts": [{"type": "text", "content": "What is new?"}]}
    message = {"messageId": f"a{number}"}

    async def source(_messages: list[Event], _context: SourceContext) -> AsyncIterator[Event]:
        run = {"runId": f"r{number}", "threadId": "chat"}
        yield {"type": "RUN_STARTED", **run}
        yield {"type": "TEXT_MESSAGE_START", **message, "role": "assistant"}
        for word in range(events - 9):  # the rest are these four, the three of the question, and two fences
            yield {"type": "TEXT_MESSAGE_CONTENT", **message, "delta": f"word {word} of the answer "}
        yield {"type": "TEXT_MESSAGE_END", **message}
        yield {"type": "RUN_FINISHED", **run}

    return await chat.make_session_response("chat", messages=[asked], source=source)


async def _history_body(chat: AiSdkChat | AnthropicChat) -> bytes:
    return bytes((await chat.history_response("chat")).body)


async def _snapshot_frame(chat: TanstackChat) -> bytes:
    response = await chat.replay("chat")
    assert response.chunks is not None
    try:
        return await anext(response.chunks)
    finally:
        await response.aclose()


def _messages_of_frame(frame: bytes) -> int:
    (data,) = (line for line in frame.splitlines() if line.startswith(b"data: "))
    return len(json.loads(data.removeprefix(b"data: "))["messages"])


DIALECTS = {
    "Anthropic": Dialect(
        anthropic.create_resumable_chat, _anthropic_turn, _history_body, lambda body: len(json.loads(body)["turns"])
    ),
    "AI SDK": Dialect(
        aisdk.create_resumable_chat, _aisdk_turn, _history_body, lambda body: len(json.loads(body)["messages"])
    ),
    "TanStack AI": Dialect(tanstack_ai.create_resumable_chat, _tanstack_turn, _snapshot_frame, _messages_of_frame),
}


async def _histories(run: Run, s2: S2, name: str, dialect: Dialect, events: int, turn_events: int) -> list[Row]:
    rounds = run.pick(20, 5)
    first, again = Samples(), Samples()
    size = 0
    # A basin for each: they would otherwise share the stream.
    basin = f"{BASIN}-{name.lower().replace(' ', '-')}-{turn_events}"
    async with dialect.create(s2=s2, basin=basin, mode="session") as writer:
        run.progress(f"histories, {name}: {events} events in turns of {turn_events}")
        turns = events // turn_events
        for number in range(turns):
            await dialect.turn(writer, number, turn_events)
        for _ in range(rounds):
            async with dialect.create(s2=s2, basin=basin, mode="session") as chat:
                size = await _timed(chat, first, dialect, turns)
                await dialect.turn(writer, turns, SHORT_TURN_EVENTS)
                turns += 1
                await _timed(chat, again, dialect, turns)
    what = f"{name}, {events:,} events in turns of {turn_events}"
    return [
        Row(f"first history, {what}", first.p50_ms, "ms", at_most(FIRST_LIMIT_MS), _notes(first, size)),
        Row(
            f"history after {SHORT_TURN_EVENTS} more, {what}",
            again.p50_ms,
            "ms",
            at_most(AGAIN_LIMIT_MS),
            _notes(again),
        ),
    ]


async def _timed(chat: Chat, samples: Samples, dialect: Dialect, turns: int) -> int:
    """Ask once; gives the bytes of the answer."""
    started = time.perf_counter()
    body = await dialect.load(chat)
    samples.add(time.perf_counter() - started)
    found = dialect.found(body)
    check(found in (turns, 2 * turns), f"{turns} turns were written, the page has {found} turns or messages")
    return len(body)


def _notes(samples: Samples, size: int | None = None) -> str:
    worst = f"worst of {len(samples)}: {samples.max_ms:.1f} ms"
    return worst if size is None else f"{worst}; {size:,} bytes"


async def run(run: Run) -> list[Row]:
    rows: list[Row] = []
    async with S2.open(run.store()) as s2:
        for name, dialect in DIALECTS.items():
            for turn_events in (100, 20):
                rows += await _histories(run, s2, name, dialect, run.pick(10_000, 1_000), turn_events)
    return rows


if __name__ == "__main__":
    alone(run)
