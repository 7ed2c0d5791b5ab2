"""The embedded engine put together: who owns which thread, and the contract of `store.engine` on top.

An acknowledgement means that the batch is in SQLite's write-ahead log and the log was synced to disk
(`synchronous = FULL`). For `:memory:` it means that it is in a private directory on a memory file
system, which is gone when the engine is closed.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import apsw

from ...errors import PerdureError, Unavailable, UsageError
from ...model.batches import AppendAck, AppendInput
from ..catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry, StreamId
from ..engine import BlockRange, Lane
from ..hub import Hub
from ..sequencing import Block, StreamState
from . import catalogue_rows as rows
from . import readers as queries
from .checkpoint import Checkpointer
from .directory import DataDirectory
from .doorbell import BellDirectory, Ringer
from .failures import translate
from .locks import FileLock, Turnstile
from .readers import Readers
from .schema import connect, prepare
from .sweeper import Sweeper
from .watcher import Watcher
from .writer import Committed, WriteContext, Writer

_PAGES_A_BLOCK: Final = 3 * 8192
"""What a commit of one small block writes besides its body: a leaf, an index page and a state page."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteEngine:
    """A directory of streams, from `SqliteEngine.open`. Implements `perdure.store.engine.Engine`.

    All calls belong to the event loop that opened it. Another process may open the same directory at
    the same time. A child made by `fork` may not use it: it must open the directory itself.
    """

    def __init__(
        self,
        directory: DataDirectory,
        *,
        loop: asyncio.AbstractEventLoop,
        now_ms: Callable[[], int],
        vfs: str | None,
        maintain: bool,
    ) -> None:
        self._directory = directory
        self._loop = loop
        self._now_ms = now_ms
        self._vfs = vfs
        self._forked = False
        self._closed = False
        self._maintain = maintain

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        maintain: bool = True,
        now_ms: Callable[[], int] = wall_clock_ms,
        vfs: str | None = None,
    ) -> SqliteEngine:
        """Open the data directory `path`, creating it if it is missing; `:memory:` for a private one.

        `maintain=False` leaves the removal of expired records to other processes, as a tool that only
        looks should. `now_ms` is the clock in milliseconds, `vfs` the name of an SQLite file system;
        both are for tests. Raises `UsageError` for a directory that cannot be used (a network file
        system, another program's, a newer version's), `StorageFailed` when it cannot be read or written.
        """
        directory = await asyncio.to_thread(DataDirectory.prepare, path)
        engine = cls(directory, loop=asyncio.get_running_loop(), now_ms=now_ms, vfs=vfs, maintain=maintain)
        try:
            await engine._start()
        except apsw.Error as exc:
            directory.remove()
            raise translate(exc, f"opening the data directory {directory.path}") from exc
        except OSError as exc:
            directory.remove()
            raise translate_os(exc, directory) from exc
        return engine

    async def _start(self) -> None:
        directory = self._directory
        async with AsyncExitStack() as undo:
            self._turnstile = Turnstile(directory.gate_lock, directory.turn_lock)
            undo.callback(self._turnstile.close)
            connection = await asyncio.to_thread(self._prepare)
            undo.callback(connection.close)
            self._bells = BellDirectory(directory.bells)
            undo.callback(self._bells.close)
            self._ringer = Ringer(self._bells)
            undo.callback(self._ringer.close)
            badge = FileLock(directory.sweeper_lock)
            undo.pop_all()
        self._checkpointer = Checkpointer(self._connect)
        self._watcher = Watcher(self._connect, self._bells, self._ringer, self._loop)
        self._readers = Readers(self._connect, self._loop)
        self._writer = Writer(
            connection,
            self._turnstile,
            loop=self._loop,
            now_ms=self._now_ms,
            on_commit=self._on_commit,
            after_commit=self._after_commit,
            checkpoint_due=self._checkpointer.due,
        )
        self._sweeper = Sweeper(badge, self._writer.submit)
        self._checkpointer.start()
        self._readers.start()
        self._writer.start()
        if self._maintain:
            self._sweeper.start()
        after_fork = weakref.WeakMethod(self._after_fork)

        def in_child() -> None:
            method = after_fork()
            if method is not None:
                method()

        os.register_at_fork(after_in_child=in_child)

    def _prepare(self) -> apsw.Connection:
        """Open the write connection and bring the tables up to date, one process at a time."""
        with self._turnstile:
            connection = self._connect()
            try:
                prepare(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _connect(self) -> apsw.Connection:
        return connect(self._directory.database, vfs=self._vfs)

    def _after_fork(self) -> None:
        # The child shares our locks with their open files: without closing them, it would go on holding
        # the turnstile if this process died inside.
        self._forked = True
        self._turnstile.close()

    @property
    def hub(self) -> Hub:
        return self._watcher.hub

    @property
    def path(self) -> str:
        """The data directory."""
        return os.fspath(self._directory.path)

    async def aclose(self) -> None:
        """Answer what waits, then end the threads and close the database. Idempotent."""
        if self._closed or self._forked:
            return
        self._closed = True
        await self._sweeper.close()
        try:
            await self._writer.close()
        finally:
            self.hub.nudge()
            await self._watcher.close()
            await self._readers.close()
            await asyncio.to_thread(self._checkpointer.close)
            self._ringer.close()
            self._bells.close()
            self._turnstile.close()
            await asyncio.to_thread(self._directory.remove)

    # After a commit -----------------------------------------------------------------------------------

    def _on_commit(self, committed: Committed) -> None:
        """On the event loop: wake followers before the writers hear of it."""
        if committed.first_commit_id is not None:
            self.hub.publish(committed.blocks)
            self._watcher.note_local(committed.first_commit_id, committed.last_commit_id)
        if committed.deleted:
            self.hub.nudge(committed.deleted)
        if committed.sweep:
            self._sweeper.wake()

    def _after_commit(self, committed: Committed) -> None:
        """On the writer's thread: tell the other processes, and count what the log has grown by."""
        self._ringer.ring()
        self._checkpointer.wrote(
            sum(len(block.body) for _, block in committed.blocks) + _PAGES_A_BLOCK * len(committed.blocks)
        )

    # Streams of records ---------------------------------------------------------------------------

    def append(self, stream: StreamId, batch: AppendInput, lane: Lane | None = None) -> asyncio.Future[AppendAck]:
        self._check()
        return self._writer.append(stream, batch, lane)

    async def state(self, stream: StreamId) -> StreamState:
        self._check()
        return await self._readers.submit(lambda connection: queries.live_state(connection, stream))

    async def read_blocks(self, stream: StreamId, start_seq: int, *, max_records: int, max_bytes: int) -> BlockRange:
        self._check()
        now = self._now_ms()
        return await self._readers.submit(
            lambda connection: queries.read_blocks(connection, stream, start_seq, max_records, max_bytes, now)
        )

    async def find_timestamp(self, stream: StreamId, timestamp: int) -> Block | None:
        self._check()
        now = self._now_ms()
        return await self._readers.submit(lambda connection: queries.find_timestamp(connection, stream, timestamp, now))

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
        return await self._writer.submit(partial(_change_basin, name, decide))

    async def change_stream(
        self, basin: str, name: str, decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange]
    ) -> StreamChange:
        self._check()
        return await self._writer.submit(partial(_change_stream, basin, name, decide))

    def _check(self) -> None:
        if self._forked:
            raise UsageError("this store was opened before a fork; open it again in the child process")
        if self._closed:
            raise Unavailable("the store is closed")


def _change_basin(name: str, decide: Callable[[BasinEntry | None], BasinChange], context: WriteContext) -> BasinChange:
    existing = rows.get_basin(context.connection, name)
    change = decide(existing)
    if not change.write:
        return change
    if change.entry.deleted_at is not None:
        context.group.sweep = True
    return BasinChange(rows.put_basin(context.connection, change.entry), change.result)


def _change_stream(
    basin: str,
    name: str,
    decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange],
    context: WriteContext,
) -> StreamChange:
    connection = context.connection
    parent, existing = rows.get_basin(connection, basin), rows.get_stream(connection, basin, name)
    change = decide(parent, existing)
    if not change.write:
        return change
    assert parent is not None, "a stream is only written into a basin that exists"
    stored = rows.put_stream(connection, parent.basin_id, change.entry, context.now_ms)
    if stored.deleted_at is not None:
        context.group.close_stream(stored.stream_id, context.now_ms)
    elif stored.config.delete_on_empty_secs:
        _arm_delete_on_empty(context, stored)
    context.forget(stored.stream_id)
    return StreamChange(stored, change.result)


def _arm_delete_on_empty(context: WriteContext, entry: StreamEntry) -> None:
    """Have the sweeper look at the stream when it may be due, unless it will look earlier anyway."""
    due = context.now_ms + entry.config.delete_on_empty_secs * 1000
    context.connection.execute(
        "UPDATE stream_state SET sweep_due_ms = min(ifnull(sweep_due_ms, ?1), ?1) WHERE stream_id = ?2",
        (due, entry.stream_id),
    )


def translate_os(exc: OSError, directory: DataDirectory) -> PerdureError:
    """A failure of the file system outside SQLite, while opening."""
    from ...errors import StorageFailed

    return StorageFailed(f"opening the data directory {directory.path} failed: {exc.strerror}")
