"""The embedded engine put together: who owns which thread, and the contract of `store.engine` on top.

An acknowledgement means that the batch is in SQLite's write-ahead log and the log was synced to disk
(`synchronous = FULL`); the body of a large block, or of one of many medium ones, is in a segment file, which was synced
before. For `:memory:` it means that it is in a private directory on a memory file system, which is gone when the engine
is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import apsw

from ...errors import Unavailable, UsageError
from ...model.batches import AppendAck, AppendInput
from ..access_tokens import AccessTokenEntry
from ..catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry, StreamId
from ..clock import wall_clock_ms
from ..engine import BlockRange, Lane
from ..hub import Hub
from ..observer import NOBODY, CommitFacts, StoreObserver
from ..sequencing import Block, StreamState
from ..usage import UsageBook
from . import access_token_rows as tokens
from . import catalogue_jobs as jobs
from . import catalogue_rows as rows
from . import readers as queries
from .checkpoint import Checkpointer
from .files import OpenFiles
from .readers import Readers
from .schema import PAGE_BYTES
from .sweeper import Sweeper
from .usage_book import SqliteUsageBook
from .watcher import Watcher
from .write_items import Committed, WriteContext
from .writer import Writer

logger: Final = logging.getLogger("perdure.store")

T = TypeVar("T")

_PAGES_A_BLOCK: Final = 3 * PAGE_BYTES
"""What a commit of one small block writes besides its body: a leaf, an index page and a state page."""


class SqliteEngine:
    """A directory of streams, from `SqliteEngine.open`. Implements `perdure.store.engine.Engine`.

    All calls belong to the event loop that opened it. Another process may open the same directory at
    the same time. A child made by `fork` may neither use it nor open the same directory (see `inheritance`).
    """

    def __init__(
        self,
        files: OpenFiles,
        *,
        loop: asyncio.AbstractEventLoop,
        now_ms: Callable[[], int],
        maintain: bool,
        observer: StoreObserver,
    ) -> None:
        self._files = files
        self._loop = loop
        self._now_ms = now_ms
        self._maintain = maintain
        self._observer = observer
        self._forked = False
        self._closing: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._checkpointer = Checkpointer(
            files.connect, files.directory.log, files.log_is_pinned, self._on_failed_checkpoint
        )
        self._watcher = Watcher(
            files.connect,
            files.bell,
            files.ringer,
            loop,
            seen=files.newest_commit,
            on_followers=observer.followers_changed,
        )
        self._readers = Readers(files.connect, loop)
        self._writer = Writer(
            files.connection,
            files.turnstile,
            files.notes,
            files.segment_writer,
            self._checkpointer,
            loop=loop,
            now_ms=now_ms,
            after_commit=self._after_commit,
            on_commit=self._on_commit,
            on_stop=self._on_stop,
        )
        self._sweeper = Sweeper(files.badge, self._writer.submit)
        self._usage = SqliteUsageBook(self._query, self._change, now_ms)

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        maintain: bool = True,
        now_ms: Callable[[], int] = wall_clock_ms,
        vfs: str | None = None,
        observer: StoreObserver = NOBODY,
    ) -> SqliteEngine:
        """Open the data directory `path`, creating it if it is missing; `:memory:` for a private one.

        `maintain=False` leaves the removal of expired records to other processes, as a tool that only
        looks should. `observer` is told of commits and followers. `now_ms` is the clock in milliseconds,
        `vfs` the name of an SQLite file system; both are for tests. Raises `UsageError` for a directory that
        cannot be used (a network file system, another program's, a newer version's, or open in the parent when this
        process was forked), `StorageFailed` when it cannot be read or written.
        """
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, partial(OpenFiles, path, vfs=vfs))
        try:
            files = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        engine = cls(files, loop=loop, now_ms=now_ms, maintain=maintain, observer=observer)
        try:
            engine._start()
        except BaseException:
            await engine.aclose()
            raise
        return engine

    def _start(self) -> None:
        _in_this_process.add(self)
        self._checkpointer.start()
        self._readers.start()
        self._writer.start()
        if self._maintain:
            self._sweeper.start()

    @property
    def hub(self) -> Hub:
        return self._watcher.hub

    @property
    def stopped(self) -> asyncio.Event:
        return self._stopped

    @property
    def usage(self) -> UsageBook:
        return self._usage

    @property
    def path(self) -> str:
        """The data directory."""
        return os.fspath(self._files.directory.path)

    async def aclose(self) -> None:
        """Answer what waits, then end the threads and close the database. Idempotent.

        Raises `Unavailable` if the writer's turn does not come, because another process keeps it.
        """
        if self._forked:
            return
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(), name="perdure-close")
        await asyncio.shield(self._closing)  # whoever goes away while it runs does not leave it half done

    async def _close(self) -> None:
        await self._sweeper.close()
        ended = await self._writer.close()
        self.hub.nudge()
        await self._watcher.close()
        await self._readers.close()
        await asyncio.to_thread(self._checkpointer.close)
        _in_this_process.discard(self)
        if not ended:
            threading.Thread(target=self._release, name="perdure-release", daemon=True).start()
            raise Unavailable(
                "the writer did not end, since another process keeps the turn to write; it may be stopped"
            )
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._writer.join()
        self._writer.let_log_be_copied()
        self._files.close()

    def after_fork(self) -> None:
        """In a child that was made by `fork`: let go, and refuse everything."""
        self._forked = True
        self._files.close_after_fork()

    # After a commit -----------------------------------------------------------------------------------

    def _on_commit(self, committed: Committed) -> None:
        """On the event loop: wake followers before the writers hear of it."""
        self.hub.publish(committed.blocks)
        if committed.deleted:
            self.hub.nudge(committed.deleted)
        self._usage.resized(committed.resized)
        if committed.sweep:
            self._sweeper.wake()
        if self._observer is not NOBODY:
            self._observe(committed)

    def _observe(self, committed: Committed) -> None:
        if committed.seconds is None:
            self._observer.commit_failed()
            return
        records = metered_bytes = 0
        for _, block in committed.blocks:
            records += block.end_seq - block.start_seq
            metered_bytes += block.metered_bytes
        self._observer.committed(CommitFacts(len(committed.blocks), records, metered_bytes, committed.seconds))

    def _after_commit(self, committed: Committed) -> None:
        """On the writer's thread: tell the other processes, and count what the log has grown by."""
        if committed.first_commit_id is not None:
            self._watcher.note_local(committed.first_commit_id, committed.last_commit_id)
        self._files.ringer.ring()
        self._checkpointer.wrote(committed.logged_bytes + _PAGES_A_BLOCK * len(committed.blocks))

    def _on_failed_checkpoint(self, exc: apsw.Error) -> None:
        """On the checkpointer's thread."""
        self._writer.fail(exc)

    def _on_stop(self) -> None:
        """On any thread."""
        try:
            self._loop.call_soon_threadsafe(self._stopped.set)
        except RuntimeError:
            logger.debug("the event loop was closed before the store, so nobody waits to hear that it stopped")

    # Streams of records ---------------------------------------------------------------------------

    def append(self, stream: StreamId, batch: AppendInput, lane: Lane | None = None) -> asyncio.Future[AppendAck]:
        self._check()
        return self._writer.append(stream, batch, lane)

    async def append_first(
        self,
        basin: str,
        name: str,
        decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange],
        batch: AppendInput,
    ) -> tuple[StreamEntry, AppendAck]:
        self._check()
        item = self._writer.append_first(partial(jobs.change_stream, basin, name, decide), batch)
        ack = await item.future
        assert item.entry is not None, "what was appended to is known"
        return item.entry, ack

    async def state(self, stream: StreamId) -> StreamState:
        self._check()
        return await self._readers.submit(lambda connection: queries.live_state(connection, stream))

    async def read_blocks(self, stream: StreamId, start_seq: int, *, max_records: int, max_bytes: int) -> BlockRange:
        self._check()
        now = self._now_ms()
        return await self._readers.submit(
            lambda connection: queries.read_blocks(
                connection, self._files.segments, stream, start_seq, max_records, max_bytes, now
            )
        )

    async def find_timestamp(self, stream: StreamId, timestamp: int) -> Block | None:
        self._check()
        now = self._now_ms()
        return await self._readers.submit(
            lambda connection: queries.find_timestamp(connection, self._files.segments, stream, timestamp, now)
        )

    # The catalogue --------------------------------------------------------------------------------

    async def basin(self, name: str) -> BasinEntry | None:
        self._check()
        return await self._readers.submit(lambda connection: rows.get_basin(connection, name))

    async def stream(self, basin: str, name: str) -> StreamEntry | None:
        self._check()
        return await self._readers.submit(lambda connection: rows.get_stream(connection, basin, name))

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[BasinEntry, ...]:
        self._check()
        return await self._readers.submit(lambda connection: rows.list_basins(connection, prefix, start_after, limit))

    async def list_streams(self, basin: str, prefix: str, start_after: str, limit: int) -> tuple[StreamEntry, ...]:
        self._check()
        return await self._readers.submit(
            lambda connection: rows.list_streams(connection, basin, prefix, start_after, limit)
        )

    async def change_basin(self, name: str, decide: Callable[[BasinEntry | None], BasinChange]) -> BasinChange:
        self._check()
        return await self._writer.submit(partial(jobs.change_basin, name, decide))

    async def change_stream(
        self, basin: str, name: str, decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange]
    ) -> StreamChange:
        self._check()
        return await self._writer.submit(partial(jobs.change_stream, basin, name, decide))

    # Access tokens --------------------------------------------------------------------------------

    async def find_access_tokens(self, secret_hashes: Sequence[bytes]) -> tuple[AccessTokenEntry, ...]:
        self._check()
        return await self._readers.submit(lambda connection: tokens.find_access_tokens(connection, secret_hashes))

    async def list_access_tokens(self, prefix: str, start_after: str, limit: int) -> tuple[AccessTokenEntry, ...]:
        self._check()
        return await self._readers.submit(
            lambda connection: tokens.list_access_tokens(connection, prefix, start_after, limit)
        )

    async def change_access_token(
        self, token_id: str, decide: Callable[[AccessTokenEntry | None], AccessTokenEntry | None]
    ) -> AccessTokenEntry | None:
        self._check()
        return await self._writer.submit(partial(tokens.change_access_token, token_id, decide))

    def _query(self, query: Callable[[apsw.Connection], T]) -> asyncio.Future[T]:
        self._check()
        return self._readers.submit(query)

    def _change(self, run: Callable[[WriteContext], T]) -> asyncio.Future[T]:
        self._check()
        return self._writer.submit(run)

    def _check(self) -> None:
        if self._forked:
            raise UsageError("this store was opened before a fork; open it after the fork only, in the child")
        if self._closing is not None:
            raise Unavailable("the store is closed")


def _close_unwanted(opening: asyncio.Future[OpenFiles]) -> None:
    """The caller of `open` went away while it ran."""
    if not opening.cancelled() and opening.exception() is None:
        threading.Thread(target=opening.result().close, name="perdure-close").start()


_in_this_process: Final[weakref.WeakSet[SqliteEngine]] = weakref.WeakSet()


def _after_fork() -> None:
    for engine in tuple(_in_this_process):
        engine.after_fork()
    _in_this_process.clear()


os.register_at_fork(after_in_child=_after_fork)
