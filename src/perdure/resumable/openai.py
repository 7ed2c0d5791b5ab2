"""Resumable answers of OpenAI's Responses API: its stream events stored, and replayed as the API streams them.

::

    chat = create_resumable_chat(path="./data", basin="my-app-chats", mode="session")
    app = FastAPI(lifespan=chat.lifespan)

    @app.post("/api/chat/{chat_id}")
    async def send(chat_id: str, body: ChatRequest):
        name = f"chat-{chat_id}"
        async def source():  # called only once the turn is claimed: a 409 costs no model call
            said = await chat.conversation(name, body.text)
            yield {"type": "user_message", "message": body.text}
            async for event in await client.responses.create(model=..., input=said, stream=True):
                yield event
        return await chat.make_resumable(name, source, wait_until=chat.background)

    @app.get("/api/chat/{chat_id}/stream")
    async def replay(request: Request, chat_id: str):
        return await chat.replay(f"chat-{chat_id}", **replay_options(request))

A source is what `responses.create(stream=True)` of either client of the SDK gives, or server-sent events as text, or
dicts. The helper `responses.stream()` gives the same events; the text so far, which it adds to each increment, is not
stored. `error` and `response.failed` events are part of the answer, and their texts are the API's.

The SDKs' stream decoders read what a replay sends. `sequence_number` is the API's own count within one response; the id
of a frame is the cursor.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from ..client import S2, Stream
from ..client.endpoints import Endpoints
from . import frames
from .adapter import OnError, safe_error_text
from .chat_store import ChatStore
from .events import EventHistory as EventHistory
from .events import EventsChat
from .events import HistoryEvent as HistoryEvent
from .events_history import read_page
from .events_records import EventsAdapter
from .generation import Plan
from .json_body import JsonObject, JsonValue, parse_object
from .lease import GenerationAbandoned
from .openai_conversation import conversation
from .openai_records import Numbers, as_sent, error_event, type_of
from .openai_records import is_terminal as is_terminal
from .responses import ChatResponse as ChatResponse
from .responses import replay_options as replay_options
from .settings import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_HISTORY_CACHE_BYTES,
    DEFAULT_KEEP_ALIVE_MS,
    DEFAULT_LEASE_DURATION_MS,
    DEFAULT_LINGER_MS,
    DEFAULT_SESSION_LEASE_MS,
    ChatSettings,
    ModeName,
    Surroundings,
)
from .sources import open_source
from .tail_search import find_head

__all__ = [
    "ChatResponse",
    "EventHistory",
    "HistoryEvent",
    "ResponsesChat",
    "create_resumable_chat",
    "is_terminal",
    "replay_options",
]

_LOOK_BACK_RECORDS: Final = 64
"""Where the last number of an abandoned response is looked for; behind its last event there are renewals at most."""


class ResponsesChat(EventsChat):
    """Resumable answers of the Responses API, from `create_resumable_chat`."""

    async def conversation(
        self, name: str, text: str | Sequence[Mapping[str, JsonValue]] | None = None
    ) -> list[JsonObject]:
        """The `input` of the next request to the API: what was said so far, and then `text` in the user's voice.

        It needs nothing that the API keeps, so it has turns as well that `previous_response_id` cannot lead to: of a
        response that was stopped its texts are there. `perdure.resumable.openai_conversation` has the rules. Thoughts
        and the calls of the API's own tools are left out, and so is a turn without an answer. A call of a function has
        the output that the source yielded, `{"type": "function_call_output", "call_id": …, "output": …}`; one that
        the answer ended with has a word about that for an output; others are left out.

        Best called in the source: what the generation that is active has written is not in it. It is empty for logs
        without `{"type": "user_message", "message": …}` events.

        Args:
            name: the stream.
            text: what the user says now: text, or content parts of the API, such as images.
        """
        head = await self._head(await self._store.stream(name))
        end_seq = head.next_seq_num
        if head.active and head.active_start is not None:
            end_seq = head.active_start
        stored = (await self._page(name, None, None)).events
        events = [parse_object(event.body) or {} for event in stored if event.seq_num < end_seq]
        return conversation(events, text)

    def _plan(self, source: object) -> Plan:
        numbers = Numbers()
        opened = open_source(source, accept=as_sent, require_type=False)
        return Plan(opened, transform=numbers.passed, error_body=numbers.error_body)

    async def _abandoned_body(self, stream: Stream, tail: int) -> bytes | None:
        numbers = Numbers()
        head = await find_head(stream)
        if head.active_start is not None:
            start_seq = max(head.active_start, tail - _LOOK_BACK_RECORDS)
            for event in (await read_page(stream, start_seq, None, active=True)).events:
                numbers.seen(parse_object(event.body) or {})
        return numbers.error_body(safe_error_text(self._on_error, GenerationAbandoned()))


def create_resumable_chat(
    *,
    basin: str,
    s2: S2 | None = None,
    path: str | os.PathLike[str] | None = None,
    access_token: str | None = None,
    endpoints: Endpoints | str | None = None,
    mode: ModeName = "single-use",
    batch_size: int = DEFAULT_BATCH_SIZE,
    linger_ms: float = DEFAULT_LINGER_MS,
    lease_duration_ms: int = DEFAULT_LEASE_DURATION_MS,
    session_lease_ms: int | None = DEFAULT_SESSION_LEASE_MS,
    keep_alive_ms: float | None = DEFAULT_KEEP_ALIVE_MS,
    history_cache_bytes: int = DEFAULT_HISTORY_CACHE_BYTES,
    on_error: OnError | None = None,
    surroundings: Surroundings | None = None,
) -> ResponsesChat:
    """A chat object for the Responses API. Nothing is opened before its `lifespan`, `async with` or first use.

    Args:
        basin: the basin of the chats. It is created if it is missing, and made to create streams by itself.
        s2: a client that is open, and stays yours to close; or
        path: a directory for the embedded store, or ":memory:"; or
        access_token, endpoints: a service.
        mode: "session" keeps all generations of a chat as its history; "shared" keeps the active one only;
            "single-use", the default, needs a new name for each generation.
        batch_size, linger_ms: ceilings for gathering records while an append is under way.
        lease_duration_ms: in shared mode, the pause after which a generation may be taken over.
        session_lease_ms: the lease that writers offer, so that others end what a dead process left; None for none.
        keep_alive_ms: the longest silence of a body before a comment is sent; None for no comments.
        history_cache_bytes: about how much of the histories asked for lately is kept in memory, over all chats, in
            bytes of JSON; 0 for none.
        on_error: gives the text that clients see when a source fails; by default they see a generic one.
        surroundings: clocks and dice, for tests.

    Raises `Invalid`, a `ValueError`, for a setting out of range, and `UsageError` unless exactly one store is named.
    """
    settings = ChatSettings.of(
        mode=mode,
        batch_size=batch_size,
        linger_ms=linger_ms,
        lease_duration_ms=lease_duration_ms,
        session_lease_ms=session_lease_ms,
        keep_alive_ms=keep_alive_ms,
        history_cache_bytes=history_cache_bytes,
    )
    return ResponsesChat(
        EventsAdapter(frames.keyed_by_type, lambda text: error_event(text, 0), None),
        ChatStore.of(s2=s2, path=path, access_token=access_token, endpoints=endpoints, basin=basin, mode=settings.mode),
        settings,
        event_key=type_of,
        terminal=is_terminal,
        on_error=on_error,
        surroundings=surroundings,
    )
