"""What it takes to load a page: the history of a long chat, at first and again after another turn.

A chat object that has seen nothing folds the whole log; one that was asked before reads what came since. Both are
measured as a route answers them, as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from perdure import S2
from perdure.resumable import aisdk, anthropic
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.anthropic import AnthropicChat, ChatResponse, user_message

from .measure import Samples
from .scenario import Row, Run, alone, at_most, check

FIRST_LIMIT_MS = 100.0
AGAIN_LIMIT_MS = 10.0
SHORT_TURN_EVENTS = 10
BASIN = "bench-histories"

Chat: TypeAlias = AiSdkChat | AnthropicChat
Event: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """What differs between the adapters: how a chat is made, and how a turn of so many events is written to it."""

    create: Callable[..., Chat]
    turn: Callable[[Any, int, int], Awaitable[ChatResponse]]
    answers: str
    """Where a history keeps what was answered and asked."""


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


DIALECTS = {
    "Anthropic": Dialect(anthropic.create_resumable_chat, _anthropic_turn, "turns"),
    "AI SDK": Dialect(aisdk.create_resumable_chat, _aisdk_turn, "messages"),
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
    response = await chat.history_response("chat")
    samples.add(time.perf_counter() - started)
    body = bytes(response.body)
    found = len(json.loads(body)[dialect.answers])
    check(found in (turns, 2 * turns), f"{turns} turns were written, the history has {found} {dialect.answers}")
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
