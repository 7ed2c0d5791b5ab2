"""Resumable chats for TanStack AI, and for anything else that streams AG-UI events.

::

    chat = create_resumable_chat(path="./data", basin="my-app-chats", mode="session")
    app = FastAPI(lifespan=chat.lifespan)

    @app.post("/api/chat")
    async def send(body: dict):
        return await chat.make_session_response(
            f"chat-{body['id']}", messages=body["messages"], source=answer, wait_until=chat.background
        )

    @app.get("/api/chat/replay")
    async def replay(request: Request, id: str):
        return await chat.replay(f"chat-{id}", **replay_options(request))

    @app.delete("/api/chat")
    async def stop(body: dict):
        return await chat.stop_session(f"chat-{body['id']}")

    async def answer(messages, context):
        async for event in agent.run(messages):
            yield event

The stock connection of TanStack AI, `fetchServerSentEvents`, needs one route for all that it asks; it resumes an answer
that was cut off by itself::

    @app.api_route("/api/stock", methods=["GET", "POST"])
    async def stock(request: Request):
        return await chat.handle_tanstack_request(
            request, stream_name_for=lambda asked: f"chat-{asked.chat_id}", start=lambda asked: answer(asked.messages)
        )

A source gives AG-UI events: models of `ag-ui-protocol`, what Pydantic AI's `AGUIAdapter` runs, dicts, or server-sent
events as text; `perdure.resumable.sources` says more.

A chat id is not a credential: look whether this user may see this chat before you call any of these.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from starlette.requests import Request

from ..client import S2, Stream
from ..client.endpoints import Endpoints
from .adapter import OnError
from .chat import WaitUntil
from .chat_store import ChatStore
from .chunks import KeyStyle
from .following import BodyPlan, EndAt, RecordsLost
from .frames import without_id
from .generation import Plan
from .json_body import encode_body
from .responses import EVENT_STREAM_HEADERS, json_snapshot, not_found, refused
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
    Mode,
    ModeName,
    Surroundings,
)
from .stop import feed_generation
from .stream_names import InvalidStreamName
from .tail_search import StreamHead
from .tanstack_abort import AbortController as AbortController
from .tanstack_abort import AbortSignal as AbortSignal
from .tanstack_chat import SessionChat
from .tanstack_history import History as History
from .tanstack_records import ClosingRun, run_finished
from .tanstack_session import SessionSource as SessionSource
from .tanstack_session import SourceContext as SourceContext
from .tanstack_session import echo_bodies
from .tanstack_stock import Asked as Asked
from .tanstack_stock import BadRequest, EndedBody, RunView, asked_by, hydration

__all__ = [
    "AbortController",
    "AbortSignal",
    "Asked",
    "ChatResponse",
    "History",
    "SessionSource",
    "SourceContext",
    "StreamNameFor",
    "TanstackChat",
    "create_resumable_chat",
    "replay_options",
]

StreamNameFor: TypeAlias = Callable[[Asked], str | Awaitable[str | None] | None]
"""Gives the stream for what is asked; None if there is none for this user, which is answered with a 404."""


class TanstackChat(SessionChat):
    """Resumable chats for TanStack AI, from `create_resumable_chat`."""

    async def handle_tanstack_request(
        self,
        request: Request,
        *,
        stream_name_for: StreamNameFor,
        start: Callable[[Asked], object],
        wait_until: WaitUntil | None = None,
    ) -> ChatResponse:
        """Answer whatever the stock connection `fetchServerSentEvents` asks of its one URL.

        A POST starts a run, whose answer streams on this response; the same POST with a `Last-Event-ID` goes on with
        it; a GET with `offset=-1` and `runId` joins a run from its start; a GET with `threadId` gives the messages of
        a thread and the run that is active. In session mode the user's message is stored with the answer.

        Args:
            request: the request as it is.
            stream_name_for: the stream for what is asked. Look here whether this user may see this chat. A join names
                the run only, unless the page's URL says more, in `asked.query`: derive the stream from the run's id in
                single-use mode, and let the URL name the chat in the others.
            start: is called with what is asked once the chat is claimed, and gives the source.
            wait_until: is given what resolves when the answer is stored; by default this object keeps it alive.

        Gives 200 and a body that streams or JSON; 400 for a request that is none of these, 404 for a run or a chat that
        does not exist, 409 if a generation is active.
        """
        body = await request.body() if request.method == "POST" else b""
        try:
            asked = asked_by(request.method, request.headers, request.query_params, body)
        except BadRequest as exc:
            return refused(str(exc))
        name = stream_name_for(asked)
        if isinstance(name, Awaitable):
            name = await name
        if name is None:
            return not_found()
        try:
            match asked.kind:
                case "start":
                    return await self._start_run(name, asked, start, wait_until)
                case "resume":
                    return await self._resume_run(name, asked)
                case "join":
                    return await self._join_run(name, asked)
                case "hydrate":
                    return await self._hydrate(name, asked)
        except InvalidStreamName as exc:
            return refused(exc.message)

    async def _start_run(
        self, name: str, asked: Asked, start: Callable[[Asked], object], wait_until: WaitUntil | None
    ) -> ChatResponse:
        keeps_history = self._settings.mode is Mode.SESSION
        echo = echo_bodies(asked.messages, self._surroundings.now_ms()) if keeps_history else ()
        plan = Plan(self._stored(partial(start, asked)), echo)
        return await self._make_resumable(
            name, plan, delivery="response", wait_until=self.background if wait_until is None else wait_until
        )

    async def _resume_run(self, name: str, asked: Asked) -> ChatResponse:
        stream = await self._store.stream(name)
        head = await self._head(stream)
        assert asked.cursor is not None
        if self._settings.mode is not Mode.SESSION and head.active and asked.cursor <= (head.active_start or 0):
            return self._ended(asked)  # another run has taken its place
        body = await self._body_from(name, head, asked.cursor, asked)
        if not head.active:
            try:
                await body.peek()
            except RecordsLost:  # what was written after the cursor is gone
                return self._ended(asked)
        return self._streamed(body)

    async def _join_run(self, name: str, asked: Asked) -> ChatResponse:
        begin: int | None = None
        if self._settings.mode is Mode.SESSION:
            fold = await self._folded(name)
            opening = fold.opening()
            begin = fold.run_starts.get(asked.run_id or "")
            if fold.active and (begin is None or opening.run_id == asked.run_id):
                # Clients know a run by an id of their own, so one that no run has is that of the active one.
                begin = opening.live_from if opening.run_id is not None else fold.generation_start
        head = await self._head(await self._store.stream(name))
        if self._settings.mode is not Mode.SESSION:
            begin = head.active_start if head.active else None
            if begin is None and head.next_seq_num > 0:
                return self._ended(asked)  # it is over, and what it said is gone
        return not_found() if begin is None else self._streamed(await self._body_from(name, head, begin, asked))

    async def _hydrate(self, name: str, asked: Asked) -> ChatResponse:
        if self._settings.mode is Mode.SESSION:
            fold = await self._folded(name)
            opening = fold.opening()
            messages, active, run_id, pause = opening.messages, fold.active, opening.run_id, fold.pause
        else:
            stream = await self._store.stream(name)
            head = await self._head(stream)
            messages, active, run_id, pause = (), head.active, None, None
            if head.active and head.active_start is not None:
                run_id = await self._run_id(stream, head.active_start)
        # A run that has not told its id yet is joined by the thread's: whatever is active is meant.
        run_id = run_id or asked.thread_id if active else None
        return json_snapshot(encode_body(hydration(messages, run_id, pause, asked)))

    async def _run_id(self, stream: Stream, active_start: int) -> str | None:
        fold = ClosingRun(self._surroundings.now_ms)
        await feed_generation(stream, fold, active_start + 1)
        return fold.run.run_id if isinstance(fold.run.run_id, str) else None

    async def _body_from(self, name: str, head: StreamHead, start_seq: int, asked: Asked) -> EndedBody:
        """A body from `start_seq` to the end of that generation, which shows the end of a run in any case."""
        view = RunView()
        plan = BodyPlan(
            min(start_seq, head.next_seq_num),
            EndAt.TERMINAL_FENCE if head.active else EndAt.TERMINAL_FENCE_OR_TAIL,
            gapless_from_start=self._settings.mode is not Mode.SESSION,
            lease_ms=head.lease_ms,
            trimmed_at_end=self._settings.mode is Mode.SINGLE_USE,
        )
        stream = await self._store.stream(name)
        body = self._body(stream, plan, self._run_of(head, name), view=view)
        return EndedBody(body, view, self._end_frame(asked))

    def _ended(self, asked: Asked) -> ChatResponse:
        """For a run that is over, and of which nothing is left."""
        return self._streamed(EndedBody(None, RunView(), self._end_frame(asked)))

    def _streamed(self, body: EndedBody) -> ChatResponse:
        return ChatResponse(200, headers=EVENT_STREAM_HEADERS, chunks=body)

    def _end_frame(self, asked: Asked) -> bytes:
        """What tells a client that a run is over of which nothing is left; no place to resume from."""
        event = run_finished(asked.run_id or "", asked.thread_id, self._surroundings.now_ms())
        return without_id(encode_body(event))


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
    enable_stop: bool = False,
    surroundings: Surroundings | None = None,
) -> TanstackChat:
    """A chat object for TanStack AI. Nothing is opened before its `lifespan`, `async with` or first use.

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
        rewrite_error_chunks: give the text of `RUN_ERROR` events in a source to `on_error` too.
        key_style: "camel" writes the fields of dataclasses in camelCase.
        enable_stop: know the turns that run here, so that `stop_session` ends them without asking the store, and a
            second turn is refused without asking it. Stops work without this, too.
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
    return TanstackChat(
        store,
        settings,
        on_error=on_error,
        rewrite_error_chunks=rewrite_error_chunks,
        key_style=key_style,
        enable_stop=enable_stop,
        surroundings=surroundings,
    )
