"""One generation in this process, from its claim to its terminal fence.

One task iterates the source and writes what it gives; nobody's request owns it. However the source ends, by itself, by
an error, by a stop, because somebody else ended the generation or because the process shuts down, the task closes the
source, writes the records that end the generation as the situation asks for, and waits until they are durable.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from ..errors import AppendConditionFailed, FencingTokenMismatch, PerdureError
from ..model.batches import AppendAck
from ..model.positions import SeqNum
from ..model.records import AppendRecord, CommandKind
from ..telemetry.log_fields import about
from . import tokens
from .adapter import Adapter, OnError, Transform, safe_error_text
from .chunks import SourceChunk
from .claim import Claim
from .doubt import go_on_after_doubt
from .local_readers import LocalReaders, Reader
from .observed import Observed
from .owned_tasks import SHUTDOWN_SECONDS
from .settings import ChatSettings, Mode, Surroundings
from .stop import feed_generation
from .tail_search import StreamHead
from .tap import Tap
from .tee import Branch
from .tokens import RandomBytes
from .writer import PAUSE_SECONDS, GenerationWriter, WriterTiming

if TYPE_CHECKING:
    from ..client import AppendSession, Stream

logger: Final = logging.getLogger("perdure.resumable")

TRIM_ALL: Final = 2**53 - 1
"""What a finished single-use stream is trimmed to: in effect, to the position of the trim itself."""


class GenerationInterrupted(PerdureError):
    """The server went down while this answer was generated; `on_error` gets this to find a text for the readers."""

    def __init__(self, message: str = "the server shut down while the answer was generated") -> None:
        super().__init__(message)


class Interruption(Enum):
    """Why a generation ends before its source does."""

    STOP = "stop"
    ENDED_ELSEWHERE = "ended elsewhere"
    STORE_FAILED = "store failed"
    SHUTDOWN = "shutdown"


class _Phase(Enum):
    NEW = "new"
    GENERATING = "generating"
    ENDING = "ending"
    DONE = "done"


class ChunkSource(Protocol):
    """What a generation takes its chunks from."""

    def __aiter__(self) -> AsyncIterator[SourceChunk]: ...

    async def aclose(self) -> None:
        """Nobody wants more. Idempotent; called by the task that iterates."""
        ...


class Plan(Struct, frozen=True):
    """What one generation writes: `prologue`, each chunk of `source` as `transform` says, and a token of the end.

    `error_body` gives the record that tells of a failure, where what was generated makes a difference to it.
    """

    source: ChunkSource
    prologue: Sequence[bytes] = ()
    transform: Transform | None = None
    terminal_token: Callable[[tokens.FenceKind, RandomBytes], str] = tokens.terminal_token
    error_body: Callable[[str], bytes | None] | None = None


class Generation:
    """A generation that was claimed. `run` is the body of its task.

    `session` is the append session that `opening` resolves to, connected while the claim was made. `on_end` is given
    the token of the terminal fence that this generation wrote, and the sequence number after it.
    """

    def __init__(
        self,
        stream: Stream,
        claim: Claim,
        plan: Plan,
        adapter: Adapter,
        settings: ChatSettings,
        surroundings: Surroundings,
        timing: WriterTiming,
        *,
        session: AppendSession,
        opening: asyncio.Future[AppendSession],
        on_error: OnError | None,
        on_end: Callable[[str, int], None],
        observed: Observed,
    ) -> None:
        self._observed = observed
        self._session = session
        self._opening = opening
        self._on_end = on_end
        self._stream = stream
        self.claim = claim
        self._plan = plan
        self._adapter = adapter
        self._settings = settings
        self._surroundings = surroundings
        self._timing = timing
        self._on_error = on_error
        self._phase = _Phase.NEW
        self._interruption: Interruption | None = None
        self._foreign_fence: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._writer: GenerationWriter | None = None
        self._fence_watch: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._readers = LocalReaders(stream.name)
        self.stopped: bool = False
        """Whether the generation's fence says that it was stopped here."""
        self.is_trimming: bool = False
        """Whether the stream is being trimmed: whoever did not read from it before comes too late."""

    @property
    def name(self) -> str:
        """The name of the stream."""
        return self._stream.name

    @property
    def is_generating(self) -> bool:
        """Whether the source has not been let go of yet."""
        return self._phase in (_Phase.NEW, _Phase.GENERATING)

    @property
    def head(self) -> StreamHead | None:
        """The state of the stream, without a look at it; None unless this generation is what is active there.

        Somebody else may have ended it without its writer knowing yet. Who reads from here on sees that as those do who
        came a moment earlier: the terminal fence follows.
        """
        if not self.is_generating or self._foreign_fence is not None or self._interruption is not None:
            return None
        start_seq = self.claim.start_seq
        end = start_seq if self._writer is None else self._writer.durable_end
        return StreamHead(end, None, None, self.claim.token, start_seq - 1, True)

    @property
    def task(self) -> asyncio.Task[None]:
        """The task, from `start`; it resolves when the end is durable, and raises what the source raised."""
        assert self._task is not None
        return self._task

    def start(self) -> asyncio.Task[None]:
        """Start the generation's task. The caller keeps it and looks at its outcome."""
        self._task = asyncio.get_running_loop().create_task(self.run(), name=f"generation on {self.name}")
        return self._task

    def attach_reader(self, position: int, tap: Tap | None) -> Reader:
        """Announce a reader that has been given everything below `position`, and reads from `tap` if it can."""
        return self._readers.attach(position, tap)

    def tap(self) -> Tap:
        """Everything that becomes durable from now on; call it before the task has written anything."""
        return self._readers.tap()

    def tap_from(self, seq_num: int) -> Tap | None:
        """Everything from `seq_num` on as it becomes durable; None if that is not what becomes durable next here."""
        head = self.head
        return None if head is None or head.next_seq_num != seq_num else self._readers.tap()

    def interrupt(self, why: Interruption) -> bool:
        """End the generation for this reason, unless it is ending already. True if it ends for this reason."""
        if self._interruption is None and self._phase in (_Phase.NEW, _Phase.GENERATING):
            self._interruption = why
            if self._phase is _Phase.GENERATING and self._task is not asyncio.current_task():
                self.task.cancel()
        return self._interruption is why

    async def run(self) -> None:
        """Write the generation. Raises what the source raised, and what kept the end from being written."""
        failures: list[BaseException] = []
        cancelled: asyncio.CancelledError | None = None
        try:
            try:
                writer = await self._open_writer(failures)
            except asyncio.CancelledError as exc:
                writer, cancelled = None, exc
                await self._give_up(GenerationInterrupted())
            if writer is not None:
                self._phase = _Phase.GENERATING
                cancelled = await self._generate(writer, failures)
                self._phase = _Phase.ENDING
                async with asyncio.timeout(None if cancelled is None else SHUTDOWN_SECONDS):
                    await self._end(writer, failures)
        except Exception as exc:
            _add(failures, exc)
        finally:
            self._phase = _Phase.DONE
            stored = 0 if self._writer is None else self._writer.durable_end - self.claim.start_seq
            self._observed.ended(self._outcome(failures), stored, failures[0] if failures else None)
            await self._release()
        if cancelled is not None:
            raise cancelled
        self._report(failures)

    def _outcome(self, failures: list[BaseException]) -> str:
        """How the generation has ended, in a word that operators count by."""
        if self._foreign_fence is not None:
            return Interruption.STOP.value if self._was_stopped_elsewhere() else Interruption.ENDED_ELSEWHERE.value
        if self._interruption is not None:
            return self._interruption.value
        return "error" if failures else "end"

    async def _open_writer(self, failures: list[BaseException]) -> GenerationWriter | None:
        """The writer; None if the store cannot be written to, which is then told to readers as far as possible."""
        try:
            session = await asyncio.shield(self._opening)
        except Exception as exc:
            failures.append(exc)
            await self._give_up(exc)
            return None
        self._writer = GenerationWriter(
            session,
            self.claim,
            self._settings,
            self._timing,
            on_durable=self._became_durable,
            on_failure=self._write_failed,
            on_pause=self._watch_for_fences,
            on_doubt=self._look_what_was_applied,
        )
        return self._writer

    def _became_durable(self, ack: AppendAck, records: Sequence[AppendRecord]) -> None:
        self._readers.became_durable(ack, records)
        self._observed.durable(ack.end.seq_num)

    async def _give_up(self, failure: BaseException) -> None:
        """End the generation before its source was asked for anything."""
        await self._plan.source.aclose()
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            await self._write_end_without_session(failure)

    async def _release(self) -> None:
        self._readers.close_taps()
        if self._writer is not None:
            self._writer.close()
        tasks = [task for task in (self._fence_watch, self._looking) if task is not None]
        self._fence_watch = self._looking = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._session.abandon()  # not `aclose`, which would raise what `_end` has dealt with

    # --- the source ---

    async def _generate(self, writer: GenerationWriter, failures: list[BaseException]) -> asyncio.CancelledError | None:
        """Write what the source gives, until it ends or the generation is interrupted; then close it.

        Gives the cancellation, if the task was cancelled by somebody other than `interrupt`.
        """
        cancelled: asyncio.CancelledError | None = None
        source = self._plan.source
        try:
            try:
                for body in self._plan.prologue:
                    writer.put(body)
                if self._interruption is None:
                    await self._pump(writer, source)
            finally:
                await source.aclose()
        except asyncio.CancelledError as exc:
            if self._interruption is None:
                self._interruption, cancelled = Interruption.SHUTDOWN, exc
            else:
                self.task.uncancel()
        except Exception as exc:
            if self._interruption is None:
                _add(failures, exc)
            else:
                logger.debug(
                    *("the source of the stopped generation on %r failed", self.name),
                    exc_info=exc,
                    extra=self._about(exc),
                )
        return cancelled

    async def _pump(self, writer: GenerationWriter, source: ChunkSource) -> None:
        put, transform = writer.put, self._plan.transform
        if isinstance(source, Branch) and transform is None:
            source.pour_into(writer)
            if self._interruption is not None:
                return  # found out by what waited
        is_first = True
        async for chunk in source:
            if is_first:
                is_first = False
                self._observed.first_chunk(self.claim.start_seq + len(self._plan.prologue))
            if transform is None:
                put(chunk.body)
            else:
                for changed in transform(chunk):
                    put(changed.body)
            if self._interruption is not None:
                return  # found out by this very append, or the source took the cancellation for something else
            if not writer.has_room:
                await writer.wait_for_room()

    # --- the end ---

    async def _end(self, writer: GenerationWriter, failures: list[BaseException]) -> None:
        """Write the records that end the generation."""
        try:
            await self._write_end(writer, failures)
            return
        except FencingTokenMismatch as exc:
            self._foreign_fence = exc.expected
        except Exception as exc:
            _add(failures, exc)
            await self._write_end_without_session(failures[0])
            return
        # Somebody else ended the generation: what bounced for that reason is no failure, in the modes that allow it.
        failures[:] = [failure for failure in failures if not isinstance(failure, FencingTokenMismatch)]
        if self._settings.mode is Mode.SINGLE_USE and not self._was_stopped_elsewhere():
            failures.append(FencingTokenMismatch(self._foreign_fence))

    async def _write_end(self, writer: GenerationWriter, failures: list[BaseException]) -> None:
        if self._foreign_fence is not None:
            writer.drop_waiting()
            raise FencingTokenMismatch(self._foreign_fence)
        bodies: list[bytes] = []
        kind = tokens.FenceKind.END
        if self._interruption is Interruption.STOP:
            kind = tokens.FenceKind.STOP
            await writer.drain()
            bodies = await self._closing_bodies(writer)
        elif self._interruption is Interruption.SHUTDOWN:
            kind = tokens.FenceKind.ERROR
            bodies = self._error_bodies(GenerationInterrupted())
        elif failures:
            kind = tokens.FenceKind.ERROR
            bodies = self._error_bodies(failures[0])
        for body in bodies:
            writer.put(body)
        last: list[AppendRecord] = []
        if self._settings.mode is Mode.SINGLE_USE:
            if self._readers.are_there:
                await writer.drain()
                await self._readers.wait_until_at(writer.durable_end)
            self.is_trimming = True
            last.append(AppendRecord.trim(TRIM_ALL))
        token = self._plan.terminal_token(kind, self._surroundings.random_bytes)
        last.append(AppendRecord.fence(token))
        writer.put_last(last)
        await writer.drain()
        self.stopped = kind is tokens.FenceKind.STOP
        self._on_end(token, writer.durable_end)

    async def _write_end_without_session(self, failure: BaseException) -> None:
        """The store failed: try once more, guarded by the token alone. If this fails too, the lease ends it."""
        records = [AppendRecord(body) for body in self._error_bodies(failure)]
        if self._settings.mode is Mode.SINGLE_USE:
            records.append(AppendRecord.trim(TRIM_ALL))
        token = self._plan.terminal_token(tokens.FenceKind.ERROR, self._surroundings.random_bytes)
        records.append(AppendRecord.fence(token))
        try:
            await self._stream.append(records, fencing_token=self.claim.token)
        except AppendConditionFailed:
            logger.debug("the generation on %r is over already", self.name, extra=self._about())
        except Exception as exc:
            logger.warning(
                *("the end of the generation on %r could not be written", self.name),
                exc_info=exc,
                extra=self._about(exc),
            )

    async def _closing_bodies(self, writer: GenerationWriter) -> list[bytes]:
        fold = self._adapter.closing_fold()
        await feed_generation(self._stream, fold, self.claim.start_seq, writer.durable_end)
        return fold.records()

    def _error_bodies(self, failure: BaseException) -> list[bytes]:
        error_body = self._plan.error_body or self._adapter.error_body
        body = error_body(safe_error_text(self._on_error, failure))
        return [] if body is None else [body]

    def _was_stopped_elsewhere(self) -> bool:
        return self._foreign_fence is not None and tokens.kind_of(self._foreign_fence) is tokens.FenceKind.STOP

    def _report(self, failures: list[BaseException]) -> None:
        """Raise what went wrong: the error itself, or a group if it is several."""
        if not failures:
            return
        if len(failures) == 1:
            raise failures[0]
        message = f"the generation on {self.name!r} failed, and so did its end"
        raise BaseExceptionGroup(message, failures)

    # --- what others do to the stream ---

    def _write_failed(self) -> None:
        assert self._writer is not None
        failure = self._writer.failure
        if isinstance(failure, FencingTokenMismatch):
            self.saw_fence(failure.expected)
        else:
            self.interrupt(Interruption.STORE_FAILED)

    def _look_what_was_applied(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._go_on_after_doubt())

    async def _go_on_after_doubt(self) -> None:
        assert self._writer is not None
        session = await go_on_after_doubt(self._stream, self._writer)
        if session is not None:
            failed, self._session = self._session, session
            await failed.abandon()

    def saw_fence(self, token: str) -> None:
        """The stream was fenced with `token`: if that is somebody else's doing, this generation is over."""
        if token != self.claim.token and self._phase in (_Phase.NEW, _Phase.GENERATING):
            self._foreign_fence = token
            self._readers.close_taps()  # what the others wrote is in the store only
            self.interrupt(Interruption.ENDED_ELSEWHERE)

    def _watch_for_fences(self) -> None:
        """Nothing is being written, so no append would tell: follow the stream until something is."""
        if self._fence_watch is None or self._fence_watch.done():
            self._fence_watch = asyncio.get_running_loop().create_task(self._follow_fences())

    async def _follow_fences(self) -> None:
        assert self._writer is not None
        loop, last_data_at = asyncio.get_running_loop(), -math.inf
        try:
            async with self._stream.read_session(SeqNum(self._writer.durable_end), clamp=True) as session:
                async for batch in session.batches():
                    is_own_data = False
                    for record in batch.records:
                        command = record.command
                        if command is CommandKind.FENCE:
                            self.saw_fence(record.text)
                            return
                        if command is None and record.seq_num < self._writer.next_seq:
                            is_own_data = True
                    if is_own_data:
                        # From here on appends tell, unless this source pauses after each chunk: to open a session in
                        # each pause costs more than one that stays.
                        if loop.time() - last_data_at < PAUSE_SECONDS:
                            return
                        last_data_at = loop.time()
        except Exception as exc:
            # The next tick of the writer tries again, and its next append finds out anyway.
            logger.debug(
                *("the stream %r could not be followed by its writer", self.name), exc_info=exc, extra=self._about(exc)
            )

    def _about(self, error: BaseException | None = None) -> dict[str, object]:
        return about(self.name, generation=self.claim.start_seq, error=error)


def _add(failures: list[BaseException], failure: BaseException) -> None:
    """Several phases may fail with the very same error; it counts once."""
    if all(failure is not known for known in failures):
        failures.append(failure)
