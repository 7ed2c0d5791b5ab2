"""Resumable chats for the Anthropic Messages API: raw stream events stored, and replayed as the API streams them.

::

    chat = create_resumable_chat(path="./data", basin="my-app-chats", mode="session")
    app = FastAPI(lifespan=chat.lifespan)

    @app.post("/api/chat")
    async def send(body: ChatRequest):
        name = f"chat-{body.id}"
        async def source():
            messages = await chat.conversation(name, body.text)
            yield user_message(body.text)
            async for event in await claude.messages.create(model=..., messages=messages, stream=True):
                yield event
        return await chat.make_resumable(name, source, delivery="replay", wait_until=chat.background)

    @app.get("/api/chat/stream")
    async def replay(request: Request, id: str):
        return await chat.replay(f"chat-{id}", **replay_options(request))

    @app.get("/api/chat/history")
    async def history(id: str):
        return await chat.history_response(f"chat-{id}")

A source is what `messages.create(stream=True)` or `messages.stream()` of the SDK's client gives, or server-sent events
as text, or dicts; `perdure.resumable.sources` says more. With the SDK's blocking client, make the source a generator
function without `async`: a thread runs it.

The SDKs' stream decoders read what a replay sends. They hand out the `user_message` events as well, which the folding
`messages.stream()` of Python refuses in front of a message: read with `messages.create`, or from `nextSeqNum` of the
history on.

A chat id is not a credential: look whether this user may see this chat before you call any of these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ..client import S2
from ..client.endpoints import Endpoints
from . import frames
from .adapter import ClosingFold, OnError, View
from .anthropic_accumulator import Accumulator as Accumulator
from .anthropic_accumulator import IncompleteMessage as IncompleteMessage
from .anthropic_accumulator import accumulate_message as accumulate_message
from .anthropic_accumulator import create_accumulator as create_accumulator
from .anthropic_accumulator import messages_from_events as messages_from_events
from .anthropic_conversation import RequestMessage as RequestMessage
from .anthropic_conversation import conversation
from .anthropic_history import History as History
from .anthropic_history import Turn as Turn
from .anthropic_history import TurnError as TurnError
from .anthropic_history import TurnsFold
from .anthropic_records import UNWANTED_TYPES, ClosingEvents, error_event, stored_event
from .anthropic_records import AnthropicError as AnthropicError
from .anthropic_records import tool_result as tool_result
from .anthropic_records import user_message as user_message
from .chat import ResumableChat, WaitUntil
from .chat_store import ChatStore
from .generation import Plan
from .json_body import JsonValue, encode_body
from .kept_histories import KeptHistories
from .responses import EVENT_STREAM_HEADERS, json_snapshot, refused
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
    Delivery,
    ModeName,
    Surroundings,
)
from .sources import open_source
from .stream_names import InvalidStreamName

__all__ = [
    "Accumulator",
    "AnthropicChat",
    "AnthropicError",
    "ChatResponse",
    "History",
    "IncompleteMessage",
    "RequestMessage",
    "Turn",
    "TurnError",
    "accumulate_message",
    "create_accumulator",
    "create_resumable_chat",
    "messages_from_events",
    "replay_options",
    "tool_result",
    "user_message",
]


class _Adapter:
    """The wire format of the Messages API."""

    headers = EVENT_STREAM_HEADERS

    def __init__(self, surroundings: Surroundings) -> None:
        self._now_ms = surroundings.now_ms

    def error_body(self, text: str) -> bytes:
        return encode_body(error_event(text))

    def closing_fold(self) -> ClosingFold:
        return ClosingEvents(self._now_ms)

    def view(self, *, seed: bool = False, include_user: bool = False) -> View:
        return frames.type_named  # a message is never continued, and the user's events are part of the log


class AnthropicChat(ResumableChat):
    """Resumable chats for the Anthropic Messages API, from `create_resumable_chat`."""

    def __init__(
        self, store: ChatStore, settings: ChatSettings, *, on_error: OnError | None, surroundings: Surroundings | None
    ) -> None:
        surroundings = surroundings or Surroundings()
        super().__init__(_Adapter(surroundings), store, settings, on_error=on_error, surroundings=surroundings)
        self._histories = KeptHistories(TurnsFold, max_bytes=settings.history_cache_bytes)

    async def make_resumable(
        self,
        name: str,
        source: object,
        *,
        delivery: Delivery = "response",
        wait_until: WaitUntil | None = None,
    ) -> ChatResponse:
        """Generate an answer that outlives the request: store the events of `source`, and stream them from the store.

        Stored are the raw events and `user_message`s, not what an SDK derives from them. An `error` event counts as a
        failure of the source: clients see the text of `on_error` for it.

        Args:
            name: the stream, one for each chat (in single-use mode one for each generation).
            source: what gives the events; best a function without arguments, which is called only once the chat is
                claimed, so that a refused turn costs no model call. It may yield several messages, as a tool loop does.
            delivery: "response" streams the answer here; "replay" answers 202, for clients that read `replay`.
            wait_until: is given what resolves when the answer is stored; `chat.background` leaves it to this object.

        Gives 200 or 202, or 409 if a generation is active. Raises what the store raises when it cannot be reached.
        """
        plan = Plan(open_source(source, accept=stored_event, unwanted_types=UNWANTED_TYPES))
        return await self._make_resumable(name, plan, delivery=delivery, wait_until=wait_until)

    async def history(self, name: str, *, partials: bool = False) -> History:
        """The turns of the chat, its messages, and the cursor at which a replay goes on; empty for an unknown chat.

        An answer that is being generated is left out, and the cursor is in front of it. `partials` adds what there was
        of answers that failed. Do not change what you get: it is shared with later calls.
        """
        return (await self._folded(name)).snapshot(partials=partials)

    async def history_response(self, name: str, *, partials: bool = False) -> ChatResponse:
        """`history` as a JSON answer that nobody stores; for a history route."""
        try:
            return json_snapshot(encode_body(await self.history(name, partials=partials)))
        except InvalidStreamName as exc:
            return refused(exc.message)

    async def conversation(
        self, name: str, text: str | Sequence[Mapping[str, JsonValue]] | None = None, *, partials: bool = False
    ) -> list[RequestMessage]:
        """The `messages` of the next request to the API: what was said so far, and then `text` in the user's voice.

        The API accepts the list as it is; `perdure.resumable.anthropic_conversation` has the rules. Answers are whole,
        with their thoughts, tool calls and results. Of an answer that was stopped its texts are there. A turn without
        an answer is left out, and so is one that the model refused (`stop_reason` "refusal"), as the API asks for. A
        call has the result that the source yielded as `tool_result`; one that the answer ended with has an error for a
        result; others are left out.

        Best called in the source: what the generation that is active has written is not in it. It is empty for logs
        without `user_message`s. The list is yours to change, except for what is inside of content blocks.

        Args:
            name: the stream.
            text: what the user says now: text, or content blocks of the API, such as images. Without it the list ends
                with the last answer, or with the results of tools that the model has not answered.
            partials: with what there was of answers that failed, which pages show that ask for it.
        """
        return conversation((await self._folded(name)).said(), text, partials=partials)

    async def _folded(self, name: str) -> TurnsFold:
        stream = await self._store.stream(name)
        fold = await self._histories.fold(stream)
        if fold.generating and name not in self._runs:
            await self._head(stream)  # ends what nobody writes any more
            fold = await self._histories.fold(stream)
        return fold

    async def delete(self, name: str) -> bool:
        """Stop what is active in a chat, and delete the chat with all it holds. False if there is no such chat."""
        self._histories.forget(name)
        return await super().delete(name)


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
) -> AnthropicChat:
    """A chat object for the Messages API. Nothing is opened before its `lifespan`, `async with` or first use.

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
        on_error: gives the text that clients see when a source fails; by default they see a generic one. The SDK's
            errors have a `status_code`, `AnthropicError` has an `error_type`.
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
    store = ChatStore.of(
        s2=s2, path=path, access_token=access_token, endpoints=endpoints, basin=basin, mode=settings.mode
    )
    return AnthropicChat(store, settings, on_error=on_error, surroundings=surroundings)
