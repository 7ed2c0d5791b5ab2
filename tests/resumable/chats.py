"""Chats on a store in this process, logs written by hand, and sources that wait for the test."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, cast

from perdure import S2, AppendRecord, SeqNum, Stream
from perdure.errors import ReadUnwritten
from perdure.model.records import CommandKind, SequencedRecord
from perdure.resumable import aisdk, anthropic, events, tanstack_ai
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.anthropic import AnthropicChat
from perdure.resumable.events import EventsChat
from perdure.resumable.json_body import JsonObject
from perdure.resumable.responses import ChatResponse
from perdure.resumable.tanstack_ai import TanstackChat
from tests.patience import PATIENCE_SECONDS

BASIN = "test-chats"
HOLDER = "session-AAAAAAAAAAA="
Chat: TypeAlias = AiSdkChat | AnthropicChat | EventsChat | TanstackChat


def type_of(event: JsonObject) -> str | None:
    """The name of an event of the tests."""
    return cast("str | None", event.get("type"))


CREATE: Final[dict[str, Callable[..., Chat]]] = {
    "aisdk": aisdk.create_resumable_chat,
    "anthropic": anthropic.create_resumable_chat,
    "events": partial(events.create_resumable_chat, event_key=type_of, stop_event={"type": "stopped"}),
    "tanstack_ai": tanstack_ai.create_resumable_chat,
}
"""How each adapter makes its chats."""
ERROR_BODIES: Final = {
    "aisdk": '{"type":"error","errorText":"An error occurred."}',
    "anthropic": '{"type":"error","error":{"type":"api_error","message":"An error occurred."}}',
    "events": '{"type":"error","error":{"message":"An error occurred."}}',
    "tanstack_ai": (
        '{"type":"RUN_ERROR","timestamp":0,"message":"An error occurred.","error":{"message":"An error occurred."}}'
    ),
}
"""What each adapter tells readers of a failed source; `timeless`."""

STOP_BODIES: Final = {
    "aisdk": '{"type":"abort"}',
    "anthropic": '{"type":"message_stop"}',
    "events": '{"type":"stopped"}',
    "tanstack_ai": (
        '{"type":"RUN_FINISHED","runId":"s2-stop-0","model":"s2-stop","timestamp":0,"finishReason":"stop"}'
    ),
}
"""The last record of a generation that was stopped; `timeless`."""


class NewChat(Protocol):
    """Makes a chat object with these options that is ready."""

    async def __call__(self, **options: Any) -> Chat: ...


Chunk = dict[str, Any]


def leased(lease_ms: int) -> str:
    return f"{HOLDER}.{lease_ms}"


def text(delta: str, part: str = "t") -> Chunk:
    return {"type": "text-delta", "id": part, "delta": delta}


START: Chunk = {"type": "start", "messageId": "m1"}
TEXT_START: Chunk = {"type": "text-start", "id": "t"}
TEXT_END: Chunk = {"type": "text-end", "id": "t"}
FINISH: Chunk = {"type": "finish"}
ANSWER = [START, TEXT_START, text("Hel"), text("lo"), TEXT_END, FINISH]


def user(message_id: str = "u1", content: str = "hi") -> Chunk:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": content}]}


async def chat_of(adapter: str, s2: S2, **options: Any) -> Chat:
    """A chat object that is ready, in session mode unless told otherwise."""
    chat = CREATE[adapter](s2=s2, basin=BASIN, **{"mode": "session", **options})
    await chat.__aenter__()
    return chat


async def chat_on(s2: S2, **options: Any) -> AiSdkChat:
    """The same for the AI SDK."""
    return cast("AiSdkChat", await chat_of("aisdk", s2, **options))


async def anthropic_chat_on(s2: S2, **options: Any) -> AnthropicChat:
    """The same for Anthropic."""
    return cast("AnthropicChat", await chat_of("anthropic", s2, **options))


async def tanstack_chat_on(s2: S2, **options: Any) -> TanstackChat:
    """The same for TanStack AI."""
    return cast("TanstackChat", await chat_of("tanstack_ai", s2, **options))


class Source:
    """Gives `chunks`, then waits for more until `end` or `fail` is called. Tells what was done to it."""

    def __init__(self, *chunks: Chunk) -> None:
        self.calls = 0
        self.began = False
        """Whether it was asked for anything."""
        self.closed = asyncio.Event()
        self.given = asyncio.Event()
        self._queue: asyncio.Queue[Chunk | BaseException | None] = asyncio.Queue()
        for chunk in chunks:
            self._queue.put_nowait(chunk)

    def give(self, *chunks: Chunk) -> None:
        for chunk in chunks:
            self._queue.put_nowait(chunk)

    def end(self) -> None:
        self._queue.put_nowait(None)

    def fail(self, failure: BaseException) -> None:
        self._queue.put_nowait(failure)

    def __call__(self) -> AsyncIterator[Chunk]:
        self.calls += 1
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[Chunk]:
        self.began = True
        try:
            while True:
                if self._queue.empty():
                    self.given.set()
                item = await self._queue.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.closed.set()


def timeless(body: str) -> str:
    """Bodies with what depends on the clock as 0; only TanStack AI's have such things."""
    return re.sub(r'("timestamp":|"s2-stop-)\d+', r"\g<1>0", body)


async def body_of(response: ChatResponse) -> str:
    """The whole body, without comments."""
    chunks = response.chunks
    assert chunks is not None, f"a {response.status} has no body that streams"
    parts = [chunk async for chunk in chunks]
    await response.aclose()
    return timeless(b"".join(parts).decode().replace(": keep-alive\n\n", ""))


def frames(body: str) -> list[tuple[int | None, str]]:
    """The frames of a body, of any adapter: cursor and data."""
    found = []
    for frame in body.split("\n\n")[:-1]:
        match = re.fullmatch(r"(?:id: (\d+)\n)?(?:event: [^\n]+\n)?data: ([^\n]*)", frame)
        match = match or re.fullmatch(r"(?:event: [^\n]+\n)?(?=data: [^\n]*\nid: (\d+)\Z)data: ([^\n]*)\n.*", frame)
        assert match is not None, frame
        found.append((None if match[1] is None else int(match[1]), match[2]))
    return found


class Reading:
    """A body that is read step by step, each with a time limit."""

    def __init__(self, response: ChatResponse) -> None:
        assert response.chunks is not None
        self.response = response
        self._chunks = response.chunks
        self.text = ""

    async def until(self, wanted: str) -> str:
        """Read on until the body contains `wanted`; gives all of it so far."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while wanted not in self.text:
                self.text += timeless((await anext(self._chunks)).decode())
        return self.text

    async def rest(self) -> str:
        """Read to the end; gives all of it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for chunk in self._chunks:
                self.text += timeless(chunk.decode())
        await self.response.aclose()
        return self.text

    async def close(self) -> None:
        await self.response.aclose()


def fence(token: str) -> AppendRecord:
    return AppendRecord.fence(token)


async def write(stream: Stream, *records: AppendRecord | str) -> None:
    """Write a log by hand: text is a data record."""
    await stream.append([AppendRecord(record) if isinstance(record, str) else record for record in records])


async def records_of(stream: Stream) -> list[SequencedRecord]:
    """All records that are retained."""
    records: list[SequencedRecord] = []
    cursor = 0
    while True:
        try:
            batch = await stream.read(SeqNum(cursor), clamp=True, wait=0)
        except ReadUnwritten:
            return records
        if not batch.records:
            return records
        records += batch.records
        cursor = records[-1].seq_num + 1


def shown(records: Iterable[SequencedRecord]) -> list[str]:
    """Records in short: the text of data, `fence …` up to the random part, `trim n`."""
    return [_short(record) for record in records]


def _short(record: SequencedRecord) -> str:
    match record.command:
        case CommandKind.FENCE:
            token = record.text
            kinds = ("end-stop-", "end-", "error-", "session-")
            return "fence " + next((kind for kind in kinds if token.startswith(kind)), token)
        case CommandKind.TRIM:
            return f"trim {int.from_bytes(record.body, 'big')}"
    return timeless(record.text)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something that it does has happened."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what it looks at rings no bell
            await asyncio.sleep(0.001)
