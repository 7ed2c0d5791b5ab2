"""What every chat object does, whatever wire format its adapter speaks.

A chat object owns everything that runs on its behalf: the generations, the watch rooms, and the store if it opened it.
It starts them when they are asked for; `lifespan`, `aclose` and `drain` end them. No request owns any of it, so a
client that goes away ends nothing but its own body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Final, TypeAlias, TypeVar
from weakref import WeakSet

import msgspec

from ..client import Stream
from ..errors import Invalid, NotFound, SessionClosed
from ..model.resources import StreamInfo
from ..telemetry.spans import STREAM, Span, span
from . import replay
from .adapter import Adapter, OnError, View, safe_error_text
from .chat_store import ChatStore
from .claim import Claimer, StreamInUse, claim_and_connect
from .following import BodyPlan, EndAt, FollowingBody
from .generation import Generation, Interruption, Plan
from .json_body import encode_body
from .lease import GenerationAbandoned, LeaseWarden
from .local_readers import Reader
from .observed import ADAPTER, Observed
from .owned_tasks import DRAIN_SECONDS, OwnedTasks
from .replay import ReplayPlan
from .responses import ChatResponse, accepted, going, in_use, nothing, refused
from .settings import ChatSettings, Delivery, Mode, Surroundings
from .stop import FixedClosing, stop_from_outside
from .stream_names import InvalidStreamName
from .tail_search import StreamHead, find_head
from .tap import Tap
from .termination import ServerEnd
from .watch import WatchRooms
from .writer import WriterTiming

STOP_GRACE_SECONDS: Final = 5.0
"""How long a stop waits for a source that does not let itself be closed, before it ends the generation without it."""

WaitUntil: TypeAlias = Callable[[Awaitable[None]], object]
"""Is given what resolves when a generation is persisted, and keeps it alive."""

ChatT = TypeVar("ChatT", bound="ResumableChat")


class ResumableChat:
    """The base of the adapters' chat objects; make one with an adapter's `create_resumable_chat`."""

    def __init__(
        self,
        adapter: Adapter,
        store: ChatStore,
        settings: ChatSettings,
        *,
        on_error: OnError | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._adapter = adapter
        self._adapter_name = type(self).__module__.rpartition(".")[2]
        self._store = store
        self._settings = settings
        self._on_error = on_error
        self._surroundings = surroundings or Surroundings()
        self._timing = WriterTiming(settings)
        self._warden = LeaseWarden(self._surroundings, self._abandoned_body, settings.session_lease_ms)
        self._claimer = Claimer(settings, self._surroundings, self._abandoned_body)
        self._rooms = WatchRooms(self._warden, self._surroundings)
        self._runs: dict[str, Generation] = {}
        self._tasks = OwnedTasks()
        self._bodies: WeakSet[FollowingBody] = WeakSet()
        self._closed = False
        self._server_end = ServerEnd(self.drain, self._end_what_has_no_end)

    # --- life -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Open the store, make sure of the basin, and close everything at the end; for `FastAPI(lifespan=…)`.

        When the process gets SIGINT or SIGTERM, it drains, and then ends live replays and watches: the server waits for
        them before it ends this. Clients ask again, and find the next process.
        """
        with self._server_end.awaited():
            async with self:
                yield

    async def __aenter__(self: ChatT) -> ChatT:
        await self._store.basin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self, *, timeout: float = DRAIN_SECONDS) -> None:
        """Take no more calls, `drain`, end the bodies that are still being sent, then close the rest. Idempotent."""
        self._closed = True
        await self.drain(timeout=timeout)
        await self._server_end.aclose()
        # Live replays never end by themselves, and servers wait for their responses before they stop.
        for body in tuple(self._bodies):
            await body.aclose()
        await self._rooms.aclose()
        await self._store.aclose()

    async def drain(self, *, timeout: float = DRAIN_SECONDS) -> None:
        """Wait for the generations that run here; end those that still run after `timeout` seconds with an error.

        Those write their error and terminal records, for which they get two more seconds.
        """
        await self._tasks.drain(timeout=timeout)

    async def _end_what_has_no_end(self) -> None:
        for body in tuple(self._bodies):
            if body.is_endless:
                await body.aclose()
        await self._rooms.aclose()

    def background(self, awaitable: Awaitable[object]) -> None:
        """Keep `awaitable` running until it is done or this object is closed; a failure is logged.

        `wait_until=chat.background` answers at once and leaves the generation to this object.
        """
        self._tasks.background(awaitable)

    # --- generations ----------------------------------------------------------------------------------------------

    async def _make_resumable(
        self,
        name: str,
        plan: Plan,
        *,
        delivery: Delivery,
        wait_until: WaitUntil | None,
    ) -> ChatResponse:
        """Claim the stream, start the generation, and answer as the options say."""
        if delivery not in ("response", "replay"):
            raise Invalid(f"delivery must be 'response' or 'replay', got {delivery!r}")
        # In a task of its own: a request that is cancelled must not leave a claim behind that nobody writes under.
        starting = asyncio.get_running_loop().create_task(self._start(name, plan, delivery), name=f"claim of {name}")
        self._tasks.own(starting, on_done=_seen)
        try:
            run, body = await asyncio.shield(starting)
        except StreamInUse:
            return in_use()
        except InvalidStreamName as exc:
            return refused(exc.message)
        except asyncio.CancelledError:
            starting.add_done_callback(self._close_unwanted)
            raise
        if wait_until is not None:
            try:
                wait_until(run.task)
            except BaseException:
                if body is not None:
                    await body.aclose()
                raise
        elif body is None:
            await asyncio.wait((run.task,))
        if body is None:
            return accepted()
        return ChatResponse(200, headers=self._adapter.headers, chunks=body)

    async def _start(self, name: str, plan: Plan, delivery: Delivery) -> tuple[Generation, FollowingBody | None]:
        """Claim the stream and start its generation; the body, if one is wanted, is there before the first record."""
        try:
            if self._closed:
                raise SessionClosed("the chat object is closed")
            stream = await self._store.stream(name)
            run = await self._claim(stream, plan)
        except BaseException:
            await plan.source.aclose()  # never begun: only a coroutine that would complain is touched
            raise
        if delivery == "replay":
            return run, None
        body_plan = BodyPlan(
            run.claim.start_seq,
            EndAt.ANY_FENCE,
            gapless_from_start=True,
            lease_ms=self._settings.session_lease_ms,
            trimmed_at_end=self._settings.mode is Mode.SINGLE_USE,
        )
        return run, self._body(stream, body_plan, run, tap=run.tap())

    def _close_unwanted(self, starting: asyncio.Task[tuple[Generation, FollowingBody | None]]) -> None:
        """The request went away before it was answered: its generation goes on, its body must not wait for a reader."""
        if not starting.cancelled() and starting.exception() is None:
            _, body = starting.result()
            if body is not None:
                closing = asyncio.get_running_loop().create_task(body.aclose(), name="closing of an unwanted body")
                self._tasks.own(closing)

    async def _claim(self, stream: Stream, plan: Plan) -> Generation:
        observed = Observed(stream, self._adapter_name, self._settings.mode.value)
        with observed.span.active():  # the generation's task, and what the source does there, are within the span
            return await self._claim_observed(stream, plan, observed)

    async def _claim_observed(self, stream: Stream, plan: Plan, observed: Observed) -> Generation:
        try:
            claim, session, opening = await claim_and_connect(stream, partial(self._claimer.claim, stream))
        except BaseException as exc:
            observed.refused(exc)
            raise
        observed.claimed(claim.start_seq)
        run = Generation(
            stream,
            claim,
            plan,
            self._adapter,
            self._settings,
            self._surroundings,
            self._timing,
            session=session,
            opening=opening,
            on_error=self._on_error,
            on_end=partial(self._claimer.remember, stream.name),
            observed=observed,
        )
        self._runs[stream.name] = run
        task = run.start()
        self._tasks.own(task, interrupt=partial(run.interrupt, Interruption.SHUTDOWN))
        task.add_done_callback(lambda _: self._forget(run))
        return run

    def _forget(self, run: Generation) -> None:
        if self._runs.get(run.name) is run:
            del self._runs[run.name]

    async def _abandoned_body(self, stream: Stream, tail: int) -> bytes | None:
        """The error record for the generation at the end of `stream`, whose writer is gone."""
        return self._adapter.error_body(safe_error_text(self._on_error, GenerationAbandoned()))

    # --- reading --------------------------------------------------------------------------------------------------

    async def replay(
        self,
        name: str,
        *,
        from_seq_num: int | None = None,
        live: bool = False,
        active_only: bool = False,
    ) -> ChatResponse:
        """Show a chat again: 200 with a body, or 204 when there is nothing to show.

        Args:
            name: the stream.
            from_seq_num: go on from the id of the last frame that was received.
            live: in session mode, stay and show what comes, for ever.
            active_only: in session mode, show the generation that is active, from its beginning; for the resume
                route of stock clients, which want nothing else.
        """
        return await self._replay(name, from_seq_num=from_seq_num, live=live, active_only=active_only)

    def _span(self, what: str, name: str) -> AbstractContextManager[Span]:
        return span(f"perdure.{what}", attributes={ADAPTER: self._adapter_name, STREAM: name})

    async def _replay(
        self,
        name: str,
        *,
        from_seq_num: int | None,
        live: bool,
        active_only: bool,
        include_user: bool = False,
    ) -> ChatResponse:
        with self._span("replay", name) as told:
            response = await self._replay_body(
                name, from_seq_num=from_seq_num, live=live, active_only=active_only, include_user=include_user
            )
            told.set("http.response.status_code", response.status_code)
            return response

    async def _replay_body(
        self, name: str, *, from_seq_num: int | None, live: bool, active_only: bool, include_user: bool
    ) -> ChatResponse:
        if from_seq_num is not None and (not isinstance(from_seq_num, int) or from_seq_num < 0):
            raise Invalid(f"from_seq_num must be a whole number, 0 or more, got {from_seq_num!r}")
        if self._closed:
            raise SessionClosed("the chat object is closed")
        try:
            stream = await self._store.stream(name)
        except InvalidStreamName as exc:
            return refused(exc.message)
        mode = self._settings.mode
        plan: ReplayPlan | None
        run = None
        if mode is Mode.SESSION and live and not active_only:
            plan = replay.live_replay(from_seq_num)
        else:
            run = self._runs.get(name)
            head = None if run is None else run.head
            if head is not None and from_seq_num is not None and from_seq_num > head.next_seq_num:
                # The client has seen more than the writer knows of: somebody else may have ended this generation.
                head = None
            if head is None:
                head = await self._head(stream)
                run = self._run_of(head, name)
                if run is not None and run.is_trimming:
                    # A reader that begins now would lose what is trimmed before it gets there. It finds the stream
                    # idle.
                    await asyncio.wait((run.task,))
                    head, run = await self._head(stream), None
            plan = replay.replay(mode, head, from_seq_num=from_seq_num, active_only=active_only)
        if plan is None:
            return nothing()
        body = self._body(stream, plan.body, run, seed=active_only, include_user=include_user)
        if not plan.answer_at_once:
            try:
                first = await body.peek()
            except BaseException:
                await body.aclose()
                raise
            if first is None:
                return nothing()
        return ChatResponse(200, headers=self._adapter.headers, chunks=body)

    def _body(
        self,
        stream: Stream,
        plan: BodyPlan,
        run: Generation | None,
        *,
        tap: Tap | None = None,
        seed: bool = False,
        include_user: bool = False,
        view: View | None = None,
    ) -> FollowingBody:
        if plan.end_at is EndAt.NEVER:
            self._server_end.listen()
            if self._server_end.has_come:  # a client that asks again before the server has closed its door
                plan = msgspec.structs.replace(plan, end_at=EndAt.TAIL, waits_for_stream=False)
        reader: Reader | None = None
        tap_from = None
        if run is not None:
            if self._settings.mode is Mode.SINGLE_USE:
                reader = run.attach_reader(plan.start_seq, tap)
            else:
                tap_from = run.tap_from
        body = FollowingBody(
            stream,
            plan,
            view or self._adapter.view(seed=seed, include_user=include_user),
            self._warden,
            keep_alive_ms=self._settings.keep_alive_ms,
            jitter=self._surroundings.jitter,
            tap=tap,
            tap_from=tap_from,
            reached=None if reader is None else reader.reached,
            on_close=None if reader is None else reader.detach,
        )
        self._bodies.add(body)
        return body

    async def _head(self, stream: Stream) -> StreamHead:
        """The state of the stream, once a generation whose writer is gone has been ended."""
        return await self._warden.end_if_over(stream, await find_head(stream))

    def _run_of(self, head: StreamHead, name: str) -> Generation | None:
        """The active generation, if it runs here."""
        run = self._runs.get(name)
        return run if run is not None and run.claim.token == head.held_token else None

    async def watch(self, name: str) -> ChatResponse:
        """Tell when generations start and end, for ever; for tabs that are open while another one sends.

        Raises `Invalid`, a `ValueError`, in single-use mode, where no name sees two generations.
        """
        if self._settings.mode is Mode.SINGLE_USE:
            raise Invalid("watch needs mode 'session' or 'shared': a single-use name sees one generation only")
        if self._server_end.has_come:
            return going()
        self._server_end.listen()
        try:
            stream = await self._store.stream(name)
        except InvalidStreamName as exc:
            return refused(exc.message)
        watcher = self._rooms.enter(stream, self._settings.keep_alive_ms)
        return ChatResponse(200, headers=self._adapter.headers, chunks=watcher)

    # --- stopping -------------------------------------------------------------------------------------------------

    async def stop(self, name: str) -> bool:
        """End the active generation, wherever it runs; what was generated stays.

        True: a generation was ended as stopped, and that is durable. False: none was active.
        """
        with self._span("stop", name) as told:
            stopped = await self._stop(name)
            told.set("perdure.stopped", stopped)
            return stopped

    async def _stop(self, name: str) -> bool:
        run = self._runs.get(name)
        if run is not None:
            stopping = run.interrupt(Interruption.STOP)
            await asyncio.wait((run.task,), timeout=STOP_GRACE_SECONDS)
            if not run.is_generating:
                await asyncio.wait((run.task,))
            if stopping and run.stopped:
                return True
        stream = await self._store.stream(name)
        return await stop_from_outside(stream, self._adapter.closing_fold(), self._surroundings)

    async def force_stop(self, name: str, body: Mapping[str, object] | None = None) -> bool:
        """`stop` for recovery tools: by the store alone, with `body` as the one closing record if it is given."""
        fold = self._adapter.closing_fold() if body is None else FixedClosing(encode_body(body))
        return await stop_from_outside(await self._store.stream(name), fold, self._surroundings)

    # --- the chats ------------------------------------------------------------------------------------------------

    def list(self, *, prefix: str = "", start_after: str = "") -> AsyncIterator[StreamInfo]:
        """The chats whose names start with `prefix` and sort after `start_after`, in order of their names."""
        return self._list(prefix, start_after)

    async def _list(self, prefix: str, start_after: str) -> AsyncIterator[StreamInfo]:
        basin = await self._store.basin()
        async for info in basin.streams.list_all(prefix=prefix, start_after=start_after):
            yield info

    async def delete(self, name: str) -> bool:
        """Stop what is active in a chat, and delete the chat with all it holds. False if there is no such chat.

        Live replays of it end; a page that is still open asks again, and so begins an empty chat of this name.
        """
        await self._store.stream(name)  # for its name
        basin = await self._store.basin()
        # Asked for by the list, since looking at a stream would create it.
        page = await basin.streams.list(prefix=name, limit=1)
        if not any(info.name == name and info.deleted_at is None for info in page.items):
            return False
        await self.stop(name)
        try:
            await basin.streams.delete(name)
        except NotFound:
            return False
        for body in tuple(self._bodies):
            if body.is_endless and body.name == name:  # would go on with whatever gets this name next
                await body.aclose()
        return True


def _seen(starting: asyncio.Future[tuple[Generation, FollowingBody | None]]) -> None:
    """A failure is raised to the request, unless that was cancelled; then nobody wants it."""
    if not starting.cancelled():
        starting.exception()
