"""Text streams that outlive the request that started them, and that anybody may join: no chat, no wire format.

::

    context = create_resumable_stream_context(path="./data", basin="my-app-streams")
    app = FastAPI(lifespan=context.lifespan)

    @app.post("/stream/{stream_id}")
    async def start(stream_id: str):
        return text_response(await context.resumable_stream(stream_id, lambda: generate(stream_id)))

    @app.get("/stream/{stream_id}")
    async def resume(stream_id: str, skip: int = 0):
        return text_response(await context.resume_existing_stream(stream_id, skip))

A stream has one text, ever. Whoever asks for it first starts it, and gets what the source gives without a detour, while
it is stored; everybody else, in any process, reads what is stored from the beginning on. The streams are those of the
npm package `@s2-dev/resumable-stream`, and the calls are also those of `resumable-stream`, whose streams are in Redis.

A stream id is not a credential: look whether this user may see this stream before you call any of these.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Literal, TypeAlias
from weakref import WeakSet

from ..client import S2, Stream
from ..errors import Invalid, SessionClosed, UsageError
from . import tokens
from .chat_store import ChatStore
from .claim import Claim, Guard, StreamInUse, append_fence, claim_and_connect
from .following import BodyPlan, EndAt, FollowingBody
from .generation import Generation, GenerationInterrupted, Interruption, Plan
from .lease import LeaseWarden
from .observed import Observed
from .owned_tasks import DRAIN_SECONDS, OwnedTasks
from .plain_text import AsItIs, PlainText, log_outcome, no_record
from .settings import ChatSettings, Mode, Surroundings
from .sources import Source
from .tail_search import read_end, search_back
from .tee import Tee
from .termination import ServerEnd
from .text_bodies import SkippingDecoder, TextItems, TextUnit
from .text_settings import Place, place_of, settings_of
from .text_stream import MISSING, Missing, StoredText, TextStream, ToldText
from .writer import WriterTiming

TextSource: TypeAlias = AsyncIterable[str] | Iterable[str]
MakeStream: TypeAlias = Callable[[], TextSource | Awaitable[TextSource]]
"""Starts the source; called once, and only by the one who may write the stream."""

WaitUntil: TypeAlias = Callable[[Awaitable[None]], object]
"""Is given what resolves when a stream is stored, however it ended, and keeps it alive."""


class _StreamDone(StreamInUse):
    """The stream has its text already."""


class ResumableStreamContext:
    """Starts, joins and stops text streams; make one with `create_resumable_stream_context`.

    It owns the streams that it has started: they run on when the request is gone, and end with `lifespan`, `aclose`
    or `drain`. It opens its store on the first use.
    """

    def __init__(
        self,
        place: Callable[[], Place],
        settings: Callable[[], ChatSettings],
        *,
        client: S2 | None,
        path: str | os.PathLike[str] | None,
        wait_until: WaitUntil | None,
        key_prefix: str,
        lease_ms: int | None,
        surroundings: Surroundings | None,
    ) -> None:
        self._place = place
        self._read_settings = settings
        self._client = client
        self._path = path
        self._wait_until = wait_until
        self._key_prefix = key_prefix
        self._lease_ms = lease_ms
        self._surroundings = surroundings or Surroundings()
        self._settings = settings()
        self._timing = WriterTiming(self._settings)
        self._warden = LeaseWarden(self._surroundings, no_record, lease_ms)
        self._stores: dict[Place, ChatStore] = {}
        self._runs: dict[tuple[str, str], Generation] = {}
        self._tasks = OwnedTasks()
        self._joined_texts: WeakSet[StoredText] = WeakSet()
        self._server_end = ServerEnd(self.drain, self._cut_off_joined)
        self._closed = False
        place()  # tells now what is not set

    # --- life -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Open the store, make sure of the basin, and close everything at the end; for `FastAPI(lifespan=…)`.

        When the process gets SIGINT or SIGTERM, it drains, and then cuts off who has joined a stream that goes on
        elsewhere, or that nobody writes: they get `GenerationInterrupted`, since the server waits for them before it
        ends this. Clients ask again, and find the next process.
        """
        with self._server_end.awaited():
            async with self:
                yield

    async def __aenter__(self) -> ResumableStreamContext:
        await self._store().basin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self, *, timeout: float = DRAIN_SECONDS) -> None:
        """Take no more calls, `drain`, then close the rest. Idempotent."""
        self._closed = True
        await self.drain(timeout=timeout)
        await self._server_end.aclose()
        for store in self._stores.values():
            await store.aclose()

    async def drain(self, *, timeout: float = DRAIN_SECONDS) -> None:
        """Wait for the streams that were started here; end those that still run after `timeout` seconds as failed.

        Who reads what their sources give directly gets `GenerationInterrupted`.
        """
        await self._tasks.drain(timeout=timeout)

    async def _cut_off_joined(self) -> None:
        for text in tuple(self._joined_texts):
            text.cut_off_soon()

    # --- starting -------------------------------------------------------------------------------------------------

    async def resumable_stream(
        self,
        stream_id: str,
        make_stream: MakeStream,
        skip_characters: int | None = None,
        *,
        unit: TextUnit = "utf16",
    ) -> TextStream | None:
        """Start a stream, or join it if somebody has started it; None if it is done.

        Args:
            stream_id: the stream, one for each text.
            make_stream: starts the source; called only if nobody has started the stream. What the source raises is
                raised to the caller of this, and ends the stream for the others.
            skip_characters: for who joins, so many characters from the beginning are left out. Ignored by who starts.
            unit: what counts as a character: "utf16" as in the length of a JavaScript string, or "codepoint".

        Raises `Invalid`, a `ValueError`, and what the store raises when it cannot be reached: that is no None.
        """
        decoder = SkippingDecoder(skip_characters, unit)
        try:
            return await self._started(stream_id, make_stream)
        except _StreamDone:
            return None
        except StreamInUse:
            return await self._joined(await self._stream(stream_id), decoder)

    async def create_new_resumable_stream(
        self,
        stream_id: str,
        make_stream: MakeStream,
        skip_characters: int | None = None,
        *,
        unit: TextUnit = "utf16",
    ) -> TextStream | None:
        """Start a stream that is to be new; None if it was started before.

        `skip_characters` means nothing to who starts a stream. Raises as `resumable_stream` does.
        """
        SkippingDecoder(skip_characters, unit)  # checks both
        try:
            return await self._started(stream_id, make_stream)
        except (_StreamDone, StreamInUse):
            return None

    async def _started(self, stream_id: str, make_stream: MakeStream) -> TextStream:
        """Claim and start the stream. Raises `StreamInUse`, and `_StreamDone` if nobody writes it any more."""
        if not callable(make_stream):
            kind = type(make_stream).__qualname__
            raise Invalid(f"make_stream must be a function without arguments that starts the source, got {kind}")
        stream = await self._stream(stream_id)
        # In a task of its own: a request that is cancelled must not leave a claim behind that nobody writes under.
        starting = asyncio.get_running_loop().create_task(
            self._start(stream, make_stream), name=f"claim of {stream.name}"
        )
        self._tasks.own(starting, on_done=_seen)
        told, stored = await asyncio.shield(starting)
        if self._wait_until is not None:
            try:
                self._wait_until(stored)
            except BaseException:
                await told.aclose()
                raise
        return told

    async def _start(self, stream: Stream, make_stream: MakeStream) -> tuple[TextStream, asyncio.Future[None]]:
        """Claim the stream, and start what stores it; gives what the source gives, and what resolves at the end."""
        observed = Observed(stream, "text", Mode.SINGLE_USE.value)
        with observed.span.active():
            return await self._start_observed(stream, make_stream, observed)

    async def _start_observed(
        self, stream: Stream, make_stream: MakeStream, observed: Observed
    ) -> tuple[TextStream, asyncio.Future[None]]:
        holder = tokens.text_holder_token(self._lease_ms, self._surroundings.random_bytes)

        async def claim(about_to_append: Callable[[], None]) -> Claim:
            # A look before it would cost every new stream a round trip, and would create it, which is a commit more.
            try:
                return await append_fence(stream, Guard(fencing_token=""), holder, self._surroundings.now_ms())
            except StreamInUse as exc:
                if exc.token is not None and tokens.is_terminal(exc.token):
                    raise _StreamDone(f"{stream.name!r} is done") from None
                raise

        settings = self._read_settings()
        try:
            claimed, session, opening = await claim_and_connect(stream, claim)
        except BaseException as exc:
            observed.refused(exc)
            raise
        observed.claimed(claimed.start_seq)
        if settings != self._settings:
            self._settings, self._timing = settings, WriterTiming(settings)
        tee = Tee(Source(make_stream, TextItems()), GenerationInterrupted())
        run = Generation(
            stream,
            claimed,
            Plan(tee.stored, terminal_token=tokens.text_terminal_token),
            PlainText(),
            settings,
            self._surroundings,
            self._timing,
            session=session,
            opening=opening,
            on_error=None,
            on_end=_nothing_to_remember,
            observed=observed,
        )
        key = (stream.basin_name, stream.name)
        self._runs[key] = run
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def persisted(task: asyncio.Future[None]) -> None:
            if self._runs.get(key) is run:
                del self._runs[key]
            log_outcome(stream.name, task, tee.failure)
            if not stored.done():
                stored.set_result(None)

        self._tasks.own(tee.start(stream.name), on_done=_seen)
        self._tasks.own(run.start(), interrupt=partial(run.interrupt, Interruption.SHUTDOWN), on_done=persisted)
        return TextStream(ToldText(tee.told), self._tasks.background), stored

    # --- joining --------------------------------------------------------------------------------------------------

    async def resume_stream(
        self, stream_id: str, skip_characters: int | None = None, *, unit: TextUnit = "utf16"
    ) -> TextStream | None:
        """The text of a stream from its beginning, also of one that is done; None if there is no such stream.

        A stream that nobody has started yet is waited for, where reading creates it, as in basins that this context has
        made. Arguments and errors are those of `resumable_stream`.
        """
        decoder = SkippingDecoder(skip_characters, unit)
        return await self._joined(await self._stream(stream_id), decoder)

    async def resume_existing_stream(
        self, stream_id: str, skip_characters: int | None = None, *, unit: TextUnit = "utf16"
    ) -> TextStream | Literal[Missing.MISSING] | None:
        """The text of a stream that is not done yet; None if it is done, `MISSING` if there is no such stream.

        Arguments and errors are those of `resumable_stream`.
        """
        decoder = SkippingDecoder(skip_characters, unit)
        stream = await self._stream(stream_id)
        match await self._state(stream):
            case None:
                return MISSING
            case "DONE":
                return None
        return await self._joined(stream, decoder)

    async def has_existing_stream(self, stream_id: str) -> Literal[True, "DONE"] | None:
        """None if there is no such stream, True while it runs, "DONE" when it is done."""
        return await self._state(await self._stream(stream_id))

    async def _state(self, stream: Stream) -> Literal[True, "DONE"] | None:
        run = self._runs.get((stream.basin_name, stream.name))
        if run is not None and run.head is not None:
            return True
        end = await read_end(stream)
        if end.last is None:
            return None
        head = await self._warden.end_if_over(stream, await search_back(stream, end))
        return "DONE" if head.reusable_token and tokens.is_terminal(head.reusable_token) else True

    async def _joined(self, stream: Stream, decoder: SkippingDecoder) -> TextStream | None:
        run = self._runs.get((stream.basin_name, stream.name))
        body = FollowingBody(
            stream,
            BodyPlan(0, EndAt.TERMINAL_FENCE),
            AsItIs(),
            self._warden,
            keep_alive_ms=None,
            jitter=self._surroundings.jitter,
            tap_from=None if run is None else run.tap_from,
        )
        try:
            exists = await body.open()
        except BaseException:
            await body.aclose()
            raise
        if not exists:
            return None
        text = StoredText(body, decoder)
        self._server_end.listen()
        self._joined_texts.add(text)
        if self._server_end.has_come:
            text.cut_off_soon()
        return TextStream(text, self._tasks.background)

    # --- stopping -------------------------------------------------------------------------------------------------

    async def stop_stream(self, stream_id: str) -> None:
        """End a stream, wherever it runs, and whether it runs or not: who has joined it gets the end.

        Who has started it still gets what the source gives; the source is closed when that reader is. Raises what the
        store raises.
        """
        stream = await self._stream(stream_id)
        token = tokens.text_terminal_token(tokens.FenceKind.STOP, self._surroundings.random_bytes)
        await stream.fence(token)
        run = self._runs.get((stream.basin_name, stream.name))
        if run is not None:
            run.saw_fence(token)

    # --- the store ------------------------------------------------------------------------------------------------

    def _store(self) -> ChatStore:
        """The store that the arguments and the environment name now."""
        if self._closed:
            raise SessionClosed("the stream context is closed")
        place = self._place()
        store = self._stores.get(place)
        if store is None:
            store = self._stores[place] = ChatStore.of(
                s2=self._client,
                path=self._path,
                access_token=place.access_token,
                endpoints=place.endpoints,
                basin=place.basin,
                mode=Mode.SINGLE_USE,  # a name is used once, and need not be kept for ever
            )
        return store

    async def _stream(self, stream_id: str) -> Stream:
        if not isinstance(stream_id, str) or not stream_id:
            from .stream_names import invalid_stream_name  # needs Starlette, which text streams may do without

            raise invalid_stream_name(f"stream_id must be text, and not empty, got {stream_id!r}")
        name = f"{self._key_prefix}/{stream_id}" if self._key_prefix else stream_id
        return await self._store().stream(name)


def create_resumable_stream_context(
    client: S2 | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    basin: str | None = None,
    wait_until: WaitUntil | None = None,
    key_prefix: str = "",
    lease_ms: int | None = None,
    surroundings: Surroundings | None = None,
) -> ResumableStreamContext:
    """A context for text streams. Nothing is opened before its `lifespan`, `async with` or first use.

    Without `client` and `path` the environment names the service: `S2_ACCESS_TOKEN`, and `S2_ACCOUNT_ENDPOINT` with
    `S2_BASIN_ENDPOINT`. `S2_BATCH_SIZE` (10) and `S2_LINGER_DURATION_MS` (500) are ceilings for gathering records while
    an append is under way. All of them are read again with each call.

    Args:
        client: a client that is open, and stays yours to close; or
        path: a directory for the embedded store, or ":memory:".
        basin: the basin of the streams; `S2_BASIN` if not given. It is created if it is missing, with streams that are
            kept for a week, and made to create streams by itself.
        wait_until: is given what resolves when a stream is stored. The context keeps it alive in any case.
        key_prefix: streams are named `<key_prefix>/<stream_id>`.
        lease_ms: the lease that writers offer, so that readers end the stream that a dead process left; without it
            `stop_stream` does. Only Perdure's readers look at it.
        surroundings: clocks and dice, for tests.

    Raises `UsageError` when something is not set, and `Invalid`, a `ValueError`, for a number that is none and for what
    cannot be the name of a basin.
    """
    if client is not None and path is not None:
        raise UsageError("give `client` or `path`, not both")
    has_store = client is not None or path is not None
    return ResumableStreamContext(
        lambda: place_of(basin, os.environ, has_store=has_store),
        lambda: settings_of(os.environ, lease_ms),
        client=client,
        path=path,
        wait_until=wait_until,
        key_prefix=key_prefix,
        lease_ms=lease_ms,
        surroundings=surroundings,
    )


def _nothing_to_remember(token: str, tail: int) -> None:
    """A stream is claimed once."""


def _seen(task: asyncio.Future[object]) -> None:
    """A failure is raised to the caller; if that has gone, nobody wants it."""
    if not task.cancelled():
        task.exception()
