"""What is stored and sent, byte by byte, so that services in other languages can share the streams.

Each file under `data/` has a fixed conversation in one mode and delivery, of three turns: one that ends by itself, one
whose source fails, one that is stopped. After a change that is meant, write them anew: REGENERATE=1 with this module.
"""

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from perdure import S2
from perdure.model.records import AppendRecord, CommandKind
from perdure.resumable.anthropic import ChatResponse, user_message
from perdure.resumable.settings import Delivery, ModeName, Surroundings
from tests.resumable.anthropic_scripts import Event, text_turn, tool_turn
from tests.resumable.chats import ANSWER, BASIN, CREATE, START, TEXT_START, Chat, Reading, Source, text
from tests.resumable.spy_transport import SpyTransport
from tests.resumable.tanstack_scripts import echo, run_started, text_content, text_start, tool_call

DATA: Final = Path(__file__).with_name("data")
MODES: Final[tuple[ModeName, ...]] = ("single-use", "shared", "session")
DELIVERIES: Final[tuple[Delivery, ...]] = ("response", "replay")
NOW_MS: Final = 1_700_000_000_000
FAILURE: Final = "the model is gone"

SCRIPTS: Final[dict[str, tuple[list[Event], list[Event], list[Event]]]] = {
    "anthropic": (
        [
            user_message("Wie spät\u2028ist es?"),
            *tool_turn('{"zone":', '"Europe/Zurich"}', message_id="msg_1"),
            *text_turn("Half ", "past \u201eacht\u201c 🕣", message_id="msg_2"),
        ],
        [user_message("again"), *text_turn("Hal", message_id="msg_3")[:3]],
        [user_message("and now?"), *text_turn("A qua", message_id="msg_4")[:3]],
    ),
    "events": (
        [{"type": "said", "text": "Grüße\u2028„acht“ 🕣"}, {"no": "type", "of": [None, 1.5, {}]}],
        [{"type": "begun"}],
        [{"type": "begun"}, {"type": "said", "text": ""}],
    ),
    "aisdk": (
        [START, TEXT_START, text("Half "), text("past\u2028„acht“ 🕣"), *ANSWER[-2:]],
        [{"type": "start", "messageId": "m2"}, TEXT_START, text("Hal")],
        [{"type": "start", "messageId": "m3"}, TEXT_START, text("A qua")],
    ),
    "tanstack_ai": (
        [
            *echo("Wie spät\u2028ist es?"),
            run_started(),
            *tool_call('{"zone":', '"Europe/Zurich"}'),
            {"type": "TEXT_MESSAGE_CHUNK", "messageId": "a1", "delta": "Half "},
            {"type": "TEXT_MESSAGE_CHUNK", "messageId": "a1", "delta": "past „acht“ 🕣"},
        ],
        [*echo("again", "u2"), run_started("r2"), text_start("a2"), {**text_content("Hal", "a2"), "content": "Hal"}],
        [*echo("and now?", "u3"), run_started("r3"), text_start("a3"), text_content("A qua", "a3")],
    ),
}
"""The chunks of the three turns."""


def chat_of(adapter: str, s2: S2, mode: ModeName) -> Chat:
    """A chat with a clock that stands still, and dice that count."""
    numbers = itertools.count(1)
    surroundings = Surroundings(
        now_ms=lambda: NOW_MS, random_bytes=lambda count: next(numbers).to_bytes(count, "big"), jitter=lambda: 0.0
    )
    return CREATE[adapter](s2=s2, basin=BASIN, mode=mode, surroundings=surroundings, on_error=str)


async def conversation(chat: Chat, spy: SpyTransport, mode: ModeName, delivery: Delivery, adapter: str) -> list[Any]:
    turns: list[Any] = []
    for number, chunks in enumerate(SCRIPTS[adapter]):
        name = f"chat-{number}" if mode == "single-use" else "chat"
        source = Source(*chunks)
        seen = len(spy.appends)
        response = await chat.make_resumable(name, source, delivery=delivery, wait_until=chat.background)
        await source.given.wait()
        # The replay is opened in the middle of the generation, which goes on once its first frame is there.
        shown = response if delivery == "response" else await chat.replay(name, from_seq_num=0)
        reading = Reading(shown)
        await reading.until("\n\n")
        match number:
            case 0:
                source.end()
            case 1:
                source.fail(RuntimeError(FAILURE))
            case _:
                stopping = asyncio.create_task(chat.stop(name))  # waits for the readers of a single-use stream
                await reading.rest()
                assert await stopping
        await reading.rest()
        await chat.drain()
        turns.append(
            {
                "stream": name,
                "post": head_of(response),
                "shown": {**head_of(shown), "body": reading.text},
                "appended": [stored(record) for _, batch in spy.appends[seen:] for record in batch.records],
                "claimed_with": spy.appends[seen][1].fencing_token,
            }
        )
    return turns


def head_of(response: ChatResponse) -> dict[str, Any]:
    return {"status": response.status, "headers": dict(response.headers)}


def stored(record: AppendRecord) -> dict[str, Any]:
    """A record as a file tells it: a body that is no text as hexadecimal digits."""
    headers = [[name.decode(), value.decode()] for name, value in record.headers]
    if record.command is CommandKind.TRIM:
        return {"headers": headers, "hex": record.body.hex()}
    return {"headers": headers, "body": record.body.decode()}


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("adapter", SCRIPTS)
async def test_streams_and_responses_are_what_they_were(
    s2: S2, spy: SpyTransport, adapter: str, mode: ModeName, delivery: Delivery
) -> None:
    chat = chat_of(adapter, s2, mode)
    found: dict[str, Any] = {"turns": await conversation(chat, spy, mode, delivery, adapter)}
    if mode == "session":
        found["history"] = await chat.history("chat")
        found["replay"] = await replayed(chat, (0 if adapter == "tanstack_ai" else None, 5))
    await chat.aclose()
    path = DATA / adapter / f"{mode}-{delivery}.json"
    if os.environ.get("REGENERATE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    expected = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(json.dumps(found)) == expected


async def replayed(chat: Chat, cursors: Sequence[int | None]) -> list[Any]:
    """Replays of the chat once it is idle."""
    bodies: list[Any] = []
    for cursor in cursors:
        response = await chat.replay("chat", from_seq_num=cursor)
        bodies.append({"from": cursor, **head_of(response), "body": await Reading(response).rest()})
    return bodies
