"""Resumable generations of any JSON events, for SDKs and protocols that have no module here.

::

    chat = create_resumable_chat(path="./data", basin="my-app-runs", mode="session")
    app = FastAPI(lifespan=chat.lifespan)

    @app.post("/api/runs/{run_id}")
    async def start(run_id: str):
        return await chat.make_resumable(f"run-{run_id}", lambda: agent(run_id), wait_until=chat.background)

    @app.get("/api/runs/{run_id}/stream")
    async def replay(request: Request, run_id: str):
        return await chat.replay(f"run-{run_id}", **replay_options(request))

    @app.get("/api/runs/{run_id}/history")
    async def history(run_id: str):
        return await chat.history_response(f"run-{run_id}")

An event is any JSON object: a dict, a model or a dataclass of the source, or JSON text or server-sent events. It is
stored and replayed as it is; `perdure.resumable.sources` says what a source may be.

A name is not a credential: look whether this user may see it before you call any of these.
"""

from __future__ import annotations

import os
from functools import partial

from ..client import S2
from ..client.endpoints import Endpoints
from ..errors import Invalid
from .adapter import OnError
from .chat import ResumableChat, WaitUntil
from .chat_store import ChatStore
from .events_history import EventHistory as EventHistory
from .events_history import EventsFold, EventsPage, read_page
from .events_history import HistoryEvent as HistoryEvent
from .events_records import ErrorRecord as ErrorRecord
from .events_records import EventKey as EventKey
from .events_records import EventsAdapter, checked_key, error_event, view_of
from .events_records import IsTerminal as IsTerminal
from .events_records import StopEvent as StopEvent
from .generation import Plan
from .json_body import JsonObject
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

__all__ = [
    "ChatResponse",
    "ErrorRecord",
    "EventHistory",
    "EventKey",
    "EventsChat",
    "HistoryEvent",
    "IsTerminal",
    "StopEvent",
    "create_resumable_chat",
    "replay_options",
]


class EventsChat(ResumableChat):
    """Resumable generations of JSON events, from `create_resumable_chat`."""

    def __init__(
        self,
        adapter: EventsAdapter,
        store: ChatStore,
        settings: ChatSettings,
        *,
        event_key: EventKey | None,
        terminal: IsTerminal | None,
        on_error: OnError | None,
        surroundings: Surroundings | None,
    ) -> None:
        super().__init__(adapter, store, settings, on_error=on_error, surroundings=surroundings)
        self._event_key = event_key
        self._terminal = terminal
        self._histories = KeptHistories(EventsFold, max_bytes=settings.history_cache_bytes)

    def is_terminal(self, event: JsonObject) -> bool:
        """Whether `event` ends a turn, as `terminal` says; for clients, since a body ends by itself."""
        return self._terminal is not None and self._terminal(event)

    async def make_resumable(
        self,
        name: str,
        source: object,
        *,
        delivery: Delivery = "response",
        wait_until: WaitUntil | None = None,
    ) -> ChatResponse:
        """Generate events that outlive the request: store those of `source`, and stream them from the store.

        Args:
            name: the stream, one for each session (in single-use mode one for each generation).
            source: what gives the events; best a function without arguments, which is called only once the stream is
                claimed, so that what is refused costs nothing.
            delivery: "response" streams the events here; "replay" answers 202, for clients that read `replay`.
            wait_until: is given what resolves when all is stored; `chat.background` leaves it to this object.

        Gives 200 or 202, or 409 if a generation is active. Raises what the store raises when it cannot be reached.
        """
        return await self._make_resumable(name, self._plan(source), delivery=delivery, wait_until=wait_until)

    def _plan(self, source: object) -> Plan:
        accept = None if self._event_key is None else partial(checked_key, self._event_key)
        return Plan(open_source(source, accept=accept, require_type=False))

    async def history(self, name: str, *, from_seq_num: int | None = None, limit: int | None = None) -> EventHistory:
        """The events up to now, each with its cursor, and the cursor at which a replay goes on; empty if unknown.

        Those of a generation that is active are among them. In the modes that keep no history they are all there is.

        Args:
            name: the stream.
            from_seq_num: go on from `nextSeqNum` of an earlier page.
            limit: at most so many events; all if not given.

        Do not change what you get: it is shared with later calls.
        """
        return (await self._page(name, from_seq_num, limit)).snapshot()

    async def history_response(
        self, name: str, *, from_seq_num: int | None = None, limit: int | None = None
    ) -> ChatResponse:
        """`history` as a JSON answer that nobody stores; for a history route."""
        try:
            return json_snapshot((await self._page(name, from_seq_num, limit)).to_json())
        except InvalidStreamName as exc:
            return refused(exc.message)

    async def _page(self, name: str, from_seq_num: int | None, limit: int | None) -> EventsPage:
        _check("from_seq_num", from_seq_num, 0)
        _check("limit", limit, 1)
        stream = await self._store.stream(name)
        if self._settings.mode is Mode.SESSION and from_seq_num is None and limit is None:
            fold = await self._histories.fold(stream)
            if fold.generating and name not in self._runs:
                await self._head(stream)  # ends what nobody writes any more
                fold = await self._histories.fold(stream)
            return fold.page()
        head = await self._head(stream)
        start_seq = from_seq_num or 0
        if self._settings.mode is not Mode.SESSION:
            if not head.active or head.active_start is None:
                return EventsPage([], head.next_seq_num, False)
            start_seq = max(start_seq, head.active_start)
        return await read_page(stream, start_seq, limit, active=head.active)

    async def delete(self, name: str) -> bool:
        """Stop what is active in a stream, and delete it with all it holds. False if there is no such stream."""
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
    event_key: EventKey | None = None,
    on_error_record: ErrorRecord | None = None,
    stop_event: StopEvent | None = None,
    terminal: IsTerminal | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    linger_ms: float = DEFAULT_LINGER_MS,
    lease_duration_ms: int = DEFAULT_LEASE_DURATION_MS,
    session_lease_ms: int | None = DEFAULT_SESSION_LEASE_MS,
    keep_alive_ms: float | None = DEFAULT_KEEP_ALIVE_MS,
    history_cache_bytes: int = DEFAULT_HISTORY_CACHE_BYTES,
    on_error: OnError | None = None,
    surroundings: Surroundings | None = None,
) -> EventsChat:
    """A chat object for JSON events. Nothing is opened before its `lifespan`, `async with` or first use.

    Args:
        basin: the basin of the streams. It is created if it is missing, and made to create streams by itself.
        s2: a client that is open, and stays yours to close; or
        path: a directory for the embedded store, or ":memory:"; or
        access_token, endpoints: a service.
        mode: "session" keeps all generations of a name as its history; "shared" keeps the active one only;
            "single-use", the default, needs a new name for each generation.
        event_key: gives the name under which an event is sent, for readers that choose by it; from the event alone.
        on_error_record: gives the event that tells of a failure; `{"type": "error", "error": {"message": text}}` if not
            given.
        stop_event: what is stored when a generation is stopped: an event, or a function that is given the events of the
            generation and returns some. None for nothing.
        terminal: whether an event ends a turn. It tells clients, by `is_terminal`, and changes nothing here.
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
    return EventsChat(
        EventsAdapter(view_of(event_key), on_error_record or error_event, stop_event),
        ChatStore.of(s2=s2, path=path, access_token=access_token, endpoints=endpoints, basin=basin, mode=settings.mode),
        settings,
        event_key=event_key,
        terminal=terminal,
        on_error=on_error,
        surroundings=surroundings,
    )


def _check(name: str, value: int | None, low: int) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < low):
        raise Invalid(f"{name} must be a whole number, {low} or more, got {value!r}")
