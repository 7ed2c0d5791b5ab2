"""The chat object of TanStack AI: generations, turns of a session, replays and histories."""

from __future__ import annotations

from functools import partial

from ..errors import Invalid
from . import frames
from .adapter import ClosingFold, OnError, View, safe_error_text
from .chat import ResumableChat, WaitUntil
from .chat_store import ChatStore
from .chunks import KeyStyle
from .following import PrecededBody
from .generation import Interruption, Plan
from .json_body import JsonObject, encode_body
from .kept_histories import KeptHistories
from .replay import live_replay
from .responses import (
    ALREADY_GENERATING_TEXT,
    EVENT_STREAM_HEADERS,
    ChatResponse,
    accepted,
    in_use,
    json_snapshot,
    nothing,
    refused,
)
from .settings import ChatSettings, Delivery, Mode, Surroundings
from .sources import open_source
from .stream_names import InvalidStreamName
from .tanstack_abort import AbortableSource, AbortController
from .tanstack_history import History, SessionFold
from .tanstack_records import ClosingRun, error_event, rewrite_error_event, snapshot_event
from .tanstack_session import SessionSource, SourceContext, echo_bodies
from .tanstack_stored import StoredEvents, StoredSource
from .tanstack_wire import normalized


class _Adapter:
    """The wire format of TanStack AI: AG-UI events as data, each with its cursor in front."""

    headers = EVENT_STREAM_HEADERS

    def __init__(self, surroundings: Surroundings) -> None:
        self._now_ms = surroundings.now_ms

    def error_body(self, text: str) -> bytes:
        return encode_body(error_event(text, self._now_ms()))

    def closing_fold(self) -> ClosingFold:
        return ClosingRun(self._now_ms)

    def view(self, *, seed: bool = False, include_user: bool = False) -> View:
        return frames.IdFirst()  # a message goes on under its id, and the user's own events are part of the log


class SessionChat(ResumableChat):
    """What a chat of TanStack AI does for an application's own routes."""

    def __init__(
        self,
        store: ChatStore,
        settings: ChatSettings,
        *,
        on_error: OnError | None,
        rewrite_error_chunks: bool,
        key_style: KeyStyle,
        enable_stop: bool,
        surroundings: Surroundings | None,
    ) -> None:
        surroundings = surroundings or Surroundings()
        super().__init__(_Adapter(surroundings), store, settings, on_error=on_error, surroundings=surroundings)
        self._rewrites_errors = rewrite_error_chunks and on_error is not None
        self._key_style: KeyStyle = key_style
        self._histories = KeptHistories(SessionFold, max_bytes=settings.history_cache_bytes)
        self._stoppable: dict[str, AbortController] | None = {} if enable_stop else None
        """The handles of the turns that are generated here, if they are to be known."""

    async def make_resumable(
        self,
        name: str,
        source: object,
        *,
        delivery: Delivery = "response",
        wait_until: WaitUntil | None = None,
    ) -> ChatResponse:
        """Generate an answer that outlives the request: store the events of `source`, and stream them from the store.

        Running totals of a text, which TanStack AI sends beside each increment, are not stored. A run that the source
        leaves open is finished.

        Args:
            name: the stream, one for each chat (in single-use mode one for each generation).
            source: what gives the events; best a function without arguments, which is called only once the chat is
                claimed, so that a refused turn costs no model call.
            delivery: "response" streams the answer here; "replay" answers 202, for clients that read `replay`.
            wait_until: is given what resolves when the answer is stored; `chat.background` leaves it to this object.

        Gives 200 or 202, or 409 if a generation is active. Raises what the store raises when it cannot be reached.
        """
        return await self._make_resumable(name, Plan(self._stored(source)), delivery=delivery, wait_until=wait_until)

    async def make_session_response(
        self,
        name: str,
        *,
        messages: object,
        source: SessionSource,
        wait_until: WaitUntil | None = None,
    ) -> ChatResponse:
        """Take a turn of a session: store what the user said and what `source` answers, for those who read `replay`.

        The user's message is stored under the same claim as the answer, so a turn that is refused stores nothing. A
        list that ends with another message, as when tools have been run on the page, continues the turn. An empty
        list generates nothing.

        Args:
            name: the stream, one for each chat.
            messages: the request's `messages` as they are, in the form of UI messages or of AG-UI.
            source: is called with the messages, all with `parts`, and the context, once the chat is claimed; messages
                of the roles "tool" and "reasoning", which AG-UI has beside the assistant's, are given as they came.
            wait_until: is given what resolves when the turn is stored, and the answer is a 202 at once;
                `chat.background` leaves it to this object. Without it the 202 comes when all is stored.

        Gives 202, or 409 if a generation is active. Raises `Invalid`, a `ValueError`, in another mode than session,
        and what the store raises when it cannot be reached.
        """
        self._require_session("makeSessionResponse")
        if self._stoppable is not None and name in self._stoppable:
            return in_use(ALREADY_GENERATING_TEXT)
        submitted = normalized(messages)
        handle = AbortController(partial(self._stop_here, name))
        if self._stoppable is not None:
            self._stoppable[name] = handle
        stored = self._stored(partial(source, submitted, SourceContext(handle)) if submitted else ())
        plan = Plan(
            AbortableSource(stored, handle, partial(self._forget_handle, name, handle)),
            echo_bodies(submitted, self._surroundings.now_ms()),
        )
        return await self._make_resumable(name, plan, delivery="replay", wait_until=wait_until)

    async def stop_session(self, name: str) -> ChatResponse:
        """`stop` as an answer for a stop route: 202 if a generation was ended, else 204.

        With `enable_stop`, a turn that runs here is told at once, and ends by itself after the answer. Raises
        `Invalid`, a `ValueError`, in another mode than session.
        """
        self._require_session("stopSession")
        handle = None if self._stoppable is None else self._stoppable.get(name)
        if handle is not None and handle.abort():
            return accepted()
        try:
            return accepted() if await self.stop(name) else nothing()
        except InvalidStreamName as exc:
            return refused(exc.message)

    def _require_session(self, call: str) -> None:
        if self._settings.mode is not Mode.SESSION:
            raise Invalid(f'{call} requires mode: "session"')

    def _stop_here(self, name: str) -> bool:
        run = self._runs.get(name)
        return run is not None and run.interrupt(Interruption.STOP)

    def _forget_handle(self, name: str, handle: AbortController) -> None:
        if self._stoppable is not None and self._stoppable.get(name) is handle:
            del self._stoppable[name]

    async def replay(
        self,
        name: str,
        *,
        from_seq_num: int | None = None,
        live: bool = False,
        active_only: bool = False,
    ) -> ChatResponse:
        """Show a chat again, as `ResumableChat.replay` does.

        In session mode without a cursor, a page gets all it needs and stays connected, whatever `live` says: the
        messages so far as one `MESSAGES_SNAPSHOT`, a run that is active from its start, and then what comes. Of a run
        that waits for the user, for a tool to be approved, say, the end is sent too, since it tells what to ask.
        """
        if self._settings.mode is not Mode.SESSION or from_seq_num is not None or active_only:
            return await super().replay(name, from_seq_num=from_seq_num, live=live, active_only=active_only)
        try:
            opening = (await self._folded(name)).live_opening()
        except InvalidStreamName as exc:
            return refused(exc.message)
        body = self._body(await self._store.stream(name), live_replay(opening.live_from).body, None)
        if not opening.messages:
            return ChatResponse(200, headers=self._adapter.headers, chunks=body)
        snapshot = encode_body(snapshot_event(opening.messages, self._surroundings.now_ms()))
        first = frames.id_first(opening.snapshot_id - 1, snapshot)
        return ChatResponse(200, headers=self._adapter.headers, chunks=PrecededBody(first, body))

    async def history(self, name: str) -> History:
        """The chat's UI messages, and the cursor at which a replay goes on; empty for an unknown chat.

        What an active generation has written is left out, and the cursor is in front of it. Do not change what you
        get: it is shared with later calls. Raises `Invalid`, a `ValueError`, in another mode than session.
        """
        self._require_session("history")
        return (await self._folded(name)).history()

    async def history_response(self, name: str) -> ChatResponse:
        """`history` as a JSON answer that nobody stores; for a history route."""
        try:
            return json_snapshot(encode_body(await self.history(name)))
        except InvalidStreamName as exc:
            return refused(exc.message)

    async def delete(self, name: str) -> bool:
        """Stop what is active in a chat, and delete the chat with all it holds. False if there is no such chat."""
        self._histories.forget(name)
        return await super().delete(name)

    async def _folded(self, name: str) -> SessionFold:
        """The whole log, once a generation whose writer is gone has been ended."""
        stream = await self._store.stream(name)
        fold = await self._histories.fold(stream)
        if fold.active and name not in self._runs:
            await self._head(stream)
            fold = await self._histories.fold(stream)
        return fold

    def _stored(self, source: object) -> StoredSource:
        """What is stored of `source`."""
        rewrite = self._rewritten if self._rewrites_errors else None
        events = StoredEvents(self._surroundings.now_ms, self._new_id, rewrite)
        return StoredSource(open_source(source, key_style=self._key_style), events)

    def _rewritten(self, event: JsonObject) -> JsonObject:
        return rewrite_error_event(event, lambda failure: safe_error_text(self._on_error, failure))

    def _new_id(self, prefix: str) -> str:
        return prefix + self._surroundings.random_bytes(8).hex()
