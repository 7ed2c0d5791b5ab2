"""Resumable chats for the Vercel AI SDK: the stock `useChat` and `DefaultChatTransport`, versions 5 to 7.

::

    chat = create_resumable_chat(path="./data", basin="my-app-chats", mode="session")
    app = FastAPI(lifespan=chat.lifespan)

    @app.post("/api/chat")
    async def send(body: dict):
        name, message = f"chat-{body['id']}", body["messages"][-1]
        return await chat.make_resumable(
            name, lambda: answer(body["messages"]), wait_until=chat.background,
            user_message=message, trigger=body["trigger"], message_id=body.get("messageId"),
        )

    @app.get("/api/chat/{id}/stream")
    async def resume(id: str):
        return await chat.replay(f"chat-{id}", active_only=True)

A chat id is not a credential: look whether this user may see this chat before you call any of these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from ..client import S2
from ..client.endpoints import Endpoints
from ..errors import Invalid
from .adapter import Adapter, ClosingFold, OnError, Transform, View, safe_error_text
from .aisdk_history import SessionFold
from .aisdk_records import OpenParts, error_chunk, rewrite_error_chunk
from .aisdk_seed import ReplayView
from .aisdk_user import StartIdentity, is_user_record, may_hold_user_record, user_record_bodies
from .chat import ResumableChat, WaitUntil
from .chat_store import ChatStore
from .chunks import DEFAULT_SDK_VERSION, KeyStyle, SourceChunk
from .frames import IdFirst, id_first, ids_first, with_ids, without_id
from .generation import Plan
from .json_body import JsonObject, encode_body, parse_object
from .kept_histories import KeptHistories
from .responses import ChatResponse as ChatResponse
from .responses import json_snapshot, refused
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
    Mode,
    ModeName,
    Surroundings,
)
from .sources import open_source
from .stream_names import InvalidStreamName

__all__ = ["AiSdkChat", "ChatResponse", "create_resumable_chat", "replay_options"]

_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "connection": "keep-alive",
    "x-vercel-ai-ui-message-stream": "v1",
    "x-accel-buffering": "no",
}


class _Closing:
    """The ends of the parts that are open, and `abort`."""

    def __init__(self) -> None:
        self._parts = OpenParts()

    def feed(self, body: bytes) -> None:
        chunk = parse_object(body)
        if chunk is not None:
            self._parts.feed(chunk)

    def records(self) -> list[bytes]:
        return [encode_body(chunk) for chunk in self._parts.closing_chunks()]

    def essential(self) -> list[bytes]:
        return self.records()[-1:]  # `abort`; an end for a part that has ended meanwhile would break readers


class _Adapter:
    """The AI SDK's wire format."""

    headers = _HEADERS

    def error_body(self, text: str) -> bytes:
        return encode_body(error_chunk(text))

    def closing_fold(self) -> ClosingFold:
        return _Closing()

    def view(self, *, seed: bool = False, include_user: bool = False) -> View:
        if seed:
            return _Seeded(ReplayView(seed=True, include_user=include_user))
        return IdFirst() if include_user else _WithoutUser()


class _WithoutUser:
    """Leaves the user's records out."""

    def __call__(self, seq_num: int, body: bytes) -> bytes:
        return b"" if is_user_record(body) else id_first(seq_num, body)

    def stretch(self, start_seq: int, bodies: Sequence[bytes]) -> bytes:
        frames = ids_first(start_seq, bodies)
        if not may_hold_user_record(frames):
            return frames
        shown = [index for index, body in enumerate(bodies) if not is_user_record(body)]
        return with_ids([start_seq + index + 1 for index in shown], [bodies[index] for index in shown])


class _Seeded:
    """Begins with what a reader needs who has nothing of the message; then all is sent as it is."""

    def __init__(self, view: ReplayView) -> None:
        self._view = view

    def __call__(self, seq_num: int, body: bytes) -> bytes:
        if self._view.is_settled:
            return id_first(seq_num, body)
        shown = self._view.show(body)
        own = id_first(seq_num, body) if shown.send else b""
        return own + b"".join(map(without_id, shown.seed)) if shown.seed else own

    def stretch(self, start_seq: int, bodies: Sequence[bytes]) -> bytes:
        frames: list[bytes] = []
        while len(frames) < len(bodies) and not self._view.is_settled:
            frames.append(self(start_seq + len(frames), bodies[len(frames)]))
        shown = len(frames)
        return b"".join(frames) + ids_first(start_seq + shown, bodies[shown:])


class AiSdkChat(ResumableChat):
    """Resumable chats for the AI SDK, from `create_resumable_chat`."""

    def __init__(
        self,
        store: ChatStore,
        settings: ChatSettings,
        *,
        on_error: OnError | None,
        rewrite_error_chunks: bool,
        key_style: KeyStyle,
        sdk_version: int,
        surroundings: Surroundings | None,
    ) -> None:
        adapter: Adapter = _Adapter()
        super().__init__(adapter, store, settings, on_error=on_error, surroundings=surroundings)
        self._rewrites_errors = rewrite_error_chunks and on_error is not None
        self._key_style: KeyStyle = key_style
        self._sdk_version = sdk_version
        self._histories = KeptHistories(SessionFold, max_bytes=settings.history_cache_bytes)

    async def make_resumable(
        self,
        name: str,
        source: object,
        *,
        delivery: Delivery = "response",
        wait_until: WaitUntil | None = None,
        user_message: Mapping[str, object] | None = None,
        trigger: str | None = "submit-message",
        message_id: str | None = None,
    ) -> ChatResponse:
        """Generate an answer that outlives the request: store what `source` gives, and stream it from the store.

        Args:
            name: the stream, one for each chat (in single-use mode one for each generation).
            source: what gives the chunks; best a function without arguments, which is called only once the chat is
                claimed, so that a refused turn costs no model call. See `perdure.resumable.sources`.
            delivery: "response" streams the answer here; "replay" answers 202, for clients that read `replay`.
            wait_until: is given what resolves when the answer is stored; `chat.background` leaves it to this object.
            user_message: the last message of the request, to be kept in the chat's history.
            trigger: the request's `trigger`, as it is.
            message_id: the request's `messageId`, as it is.

        Gives 200 or 202, or 409 if a generation is active. Raises what the store raises when it cannot be reached.
        """
        prologue: list[bytes] = []
        identity: StartIdentity | None = None
        if user_message is not None:
            message = parse_object(encode_body(user_message))
            if message is None:
                raise Invalid("user_message must be a UI message, a mapping with `id`, `role` and `parts`")
            prologue = user_record_bodies(message, trigger=trigger, message_id=message_id)
            identity = StartIdentity.for_message(message)
        plan = Plan(
            open_source(source, key_style=self._key_style, sdk_version=self._sdk_version),
            prologue,
            self._transform(identity),
        )
        return await self._make_resumable(name, plan, delivery=delivery, wait_until=wait_until)

    def _transform(self, identity: StartIdentity | None) -> Transform | None:
        """What is done to the chunks of a source before they are stored; None for nothing."""
        if not self._rewrites_errors:
            return None if identity is None else identity.apply

        def rewrite(chunk: SourceChunk) -> tuple[SourceChunk, ...]:
            value = rewrite_error_chunk(chunk.value, self._text_of)
            rewritten = chunk if value is chunk.value else SourceChunk(value, encode_body(value))
            return (rewritten,) if identity is None else tuple(identity.apply(rewritten))

        return rewrite

    def _text_of(self, failure: Exception) -> str:
        return safe_error_text(self._on_error, failure)

    async def replay(
        self,
        name: str,
        *,
        from_seq_num: int | None = None,
        live: bool = False,
        active_only: bool = False,
        include_user: bool = False,
    ) -> ChatResponse:
        """Show a chat again, as `ResumableChat.replay` does; `include_user` shows the user's own records too."""
        return await self._replay(
            name, from_seq_num=from_seq_num, live=live, active_only=active_only, include_user=include_user
        )

    async def history(self, name: str, *, include_active: bool = False) -> JsonObject:
        """The chat's messages: `{"messages": […], "nextSeqNum": n, "active": bool}`, empty for an unknown chat.

        The output of an active generation is left out, since a client gets it by resuming; `include_active` adds it,
        for use on the server. Do not change what you get: it is shared with later calls. Raises `Invalid`, a
        `ValueError`, in another mode than session.
        """
        if self._settings.mode is not Mode.SESSION:
            raise Invalid('history requires mode: "session"')
        stream = await self._store.stream(name)
        fold = await self._histories.fold(stream)
        if fold.active and name not in self._runs:
            await self._head(stream)  # ends what nobody writes any more
            fold = await self._histories.fold(stream)
        return fold.snapshot(include_active=include_active)

    async def history_response(self, name: str, *, include_active: bool = False) -> ChatResponse:
        """`history` as a JSON answer that nobody stores; for a history route."""
        try:
            return json_snapshot(encode_body(await self.history(name, include_active=include_active)))
        except InvalidStreamName as exc:
            return refused(exc.message)

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
    rewrite_error_chunks: bool = True,
    key_style: KeyStyle = "snake",
    sdk_version: int = DEFAULT_SDK_VERSION,
    surroundings: Surroundings | None = None,
) -> AiSdkChat:
    """A chat object for the AI SDK. Nothing is opened before its `lifespan`, `async with` or first use.

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
        rewrite_error_chunks: give the text of error chunks in a source to `on_error` too.
        key_style: "camel" writes the fields of dataclasses in camelCase.
        sdk_version: the AI SDK version that Pydantic AI's chunks are encoded for.
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
    return AiSdkChat(
        store,
        settings,
        on_error=on_error,
        rewrite_error_chunks=rewrite_error_chunks,
        key_style=key_style,
        sdk_version=sdk_version,
        surroundings=surroundings,
    )
