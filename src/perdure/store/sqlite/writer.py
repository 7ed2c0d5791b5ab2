"""The writer: one thread that turns whatever waits, of all streams, into one transaction at a time.

Answers leave it only after the commit, acknowledgements and rejections alike, so nothing is revealed
before it is on disk. The thread is the only one of this process that writes to the database; changes
of the catalogue and the sweeper's work come to it as jobs.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

import apsw

from ...errors import PerdureError, StorageFailed, Unavailable
from ...model.batches import AppendAck, AppendInput
from ..catalogue import StreamId
from ..engine import Lane
from ..sequencing import Block
from .failures import is_fatal, translate
from .group import Group, StateCache
from .locks import Turnstile

T = TypeVar("T")

logger = logging.getLogger("perdure.store.sqlite")

MAX_GROUP_ITEMS: Final = 4096
MAX_GROUP_BYTES: Final = 8 * 1024 * 1024
"""Metered bytes after which a group is closed, so that one transaction does not hold up the next for long."""

CLOSE_SECONDS: Final = 30.0
"""How long `close` waits for the thread; only a stopped process that holds the turnstile makes it longer."""


class _Append:
    __slots__ = ("batch", "future", "lane", "stream_id")

    def __init__(
        self, stream_id: StreamId, batch: AppendInput, lane: Lane | None, future: asyncio.Future[AppendAck]
    ) -> None:
        self.stream_id = stream_id
        self.batch = batch
        self.lane = lane
        self.future = future


class _Job(Generic[T]):
    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[WriteContext], T], future: asyncio.Future[T]) -> None:
        self.run = run
        self.future = future


class _Stop:
    pass


class WriteContext:
    """What a job may use: the connection inside the transaction, the group, and the time."""

    def __init__(self, connection: apsw.Connection, group: Group, cache: StateCache, now_ms: int) -> None:
        self.connection = connection
        self.group = group
        self.now_ms = now_ms
        self._cache = cache

    def forget(self, stream_id: StreamId) -> None:
        """The job changed this stream's rows by itself: what the writer remembers of it is stale."""
        self._cache.forget(stream_id)


class Committed:
    """What a group made durable, handed to the event loop in one piece."""

    __slots__ = ("blocks", "deleted", "first_commit_id", "last_commit_id", "outcomes", "sweep")

    def __init__(self, outcomes: list[tuple[asyncio.Future[object], object]], group: Group) -> None:
        self.outcomes = outcomes
        self.blocks: list[tuple[StreamId, Block]] = group.blocks
        self.deleted = group.deleted
        self.first_commit_id = group.first_commit_id
        self.last_commit_id = group.last_commit_id
        self.sweep = group.sweep


_Item: TypeAlias = "_Append | _Job[object] | _Stop"


class Writer:
    """Owns the write connection and its thread; `close` ends both.

    `on_commit` runs on the event loop after every group, before its answers are given;
    `after_commit` runs on the thread, to ring the other processes' bells.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        turnstile: Turnstile,
        *,
        loop: asyncio.AbstractEventLoop,
        now_ms: Callable[[], int],
        on_commit: Callable[[Committed], None],
        after_commit: Callable[[Committed], None],
        checkpoint_due: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._turnstile = turnstile
        self._loop = loop
        self._now_ms = now_ms
        self._on_commit = on_commit
        self._after_commit = after_commit
        self._checkpoint_due = checkpoint_due
        self._cache = StateCache()
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._failure: PerdureError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="perdure-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def append(self, stream_id: StreamId, batch: AppendInput, lane: Lane | None) -> asyncio.Future[AppendAck]:
        future: asyncio.Future[AppendAck] = self._loop.create_future()
        if self._closing:
            future.set_exception(_closed())
        else:
            self._queue.put(_Append(stream_id, batch, lane, future))
        return future

    def submit(self, run: Callable[[WriteContext], T]) -> asyncio.Future[T]:
        """Run a job inside a transaction; what it raises is its answer and undoes what it did."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(_closed())
        else:
            self._queue.put(_Job(run, future))  # type: ignore[arg-type]  # futures are invariant; the item only carries it
        return future

    async def close(self) -> None:
        """Answer what waits, then end the thread. Raises `Unavailable` if it does not end in time."""
        if not self._closing:
            self._closing = True
            self._queue.put(_Stop())
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)
        if self._thread.is_alive():
            raise Unavailable(
                f"the writer did not finish within {CLOSE_SECONDS:.0f} s; another process that holds the write "
                "lock may be stopped"
            )

    # On the writer's thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        stopping = False
        while not stopping:
            first = self._queue.get()  # no time-out: `close` puts a stop
            items: list[_Append | _Job[object]] = []
            size = 0
            item: _Item = first
            while True:
                if isinstance(item, _Stop):
                    stopping = True
                    break
                items.append(item)
                if isinstance(item, _Append):
                    size += item.batch.metered_bytes
                if len(items) >= MAX_GROUP_ITEMS or size >= MAX_GROUP_BYTES:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if items:
                self._commit(items)
        self._connection.close()

    def _commit(self, items: list[_Append | _Job[object]]) -> None:
        group = Group(self._connection, self._cache)
        outcomes: list[tuple[asyncio.Future[object], object]] = []
        failure = self._failure
        if failure is None:
            try:
                with self._turnstile:
                    outcomes = self._transact(items, group)
                    self._finish_checkpoint()
            except apsw.Error as exc:
                failure = self._give_up(exc)
            except Exception as exc:  # a defect: the group is undone and everybody is told
                logger.exception("the writer failed")
                failure = StorageFailed(f"the writer failed: {exc!r}")
                self._roll_back()
        if failure is not None:
            group = Group(self._connection, self._cache)
            outcomes = [(item.future, failure) for item in items]  # type: ignore[misc]  # invariant
            for item in items:
                _fail_lane(item, failure)
        committed = Committed(outcomes, group)
        try:
            self._loop.call_soon_threadsafe(self._settle, committed)
        except RuntimeError:
            logger.warning("the event loop was closed before the store; %d answers are lost", len(outcomes))
        if committed.first_commit_id is not None:
            self._after_commit(committed)

    def _finish_checkpoint(self) -> None:
        """Copy the log to its end, if it is due; nobody else writes now, so that it can be used anew.

        It comes after the commit, whose answers stand whatever happens here.
        """
        if not self._checkpoint_due():
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            logger.debug("another connection is checkpointing")
        except apsw.Error as exc:
            self._give_up(exc)

    def _transact(
        self, items: list[_Append | _Job[object]], group: Group
    ) -> list[tuple[asyncio.Future[object], object]]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        self._cache.validate(connection.execute("PRAGMA data_version").get)
        outcomes: list[tuple[asyncio.Future[object], object]] = []
        for item in items:
            outcome: object
            if isinstance(item, _Append):
                if item.lane is None:
                    if item.future.cancelled():
                        continue
                elif item.lane.failure is not None:
                    outcomes.append((item.future, item.lane.failure))  # type: ignore[arg-type]  # invariant
                    continue
                try:
                    outcome = group.append(item.stream_id, item.batch, self._now_ms())
                except PerdureError as exc:
                    _fail_lane(item, exc)
                    outcome = exc
            else:
                outcome = self._run_job(item, group)
            outcomes.append((item.future, outcome))  # type: ignore[arg-type]  # invariant
        group.flush()
        connection.execute("COMMIT")
        return outcomes

    def _run_job(self, job: _Job[object], group: Group) -> object:
        group.flush()
        self._connection.execute("SAVEPOINT job")
        try:
            outcome = job.run(WriteContext(self._connection, group, self._cache, self._now_ms()))
        except PerdureError as exc:
            self._connection.execute("ROLLBACK TO job")
            self._cache.clear()
            outcome = exc
        self._connection.execute("RELEASE job")
        return outcome

    def _give_up(self, exc: apsw.Error) -> PerdureError:
        """Undo the group. After a failed write or sync the engine stays refused until it is opened anew."""
        failure = translate(exc, "writing to the store")
        if is_fatal(exc):
            failure = StorageFailed(
                f"{failure.message}; whether the last batches were kept is unknown, so this store refuses to go on: "
                "close it and open it again"
            )
            self._failure = failure
            logger.error("the store stopped: %s", failure)
        self._roll_back()
        return failure

    def _roll_back(self) -> None:
        self._cache.clear()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as exc:
                logger.error("rolling back failed: %s", exc)

    # On the event loop --------------------------------------------------------------------------------

    def _settle(self, committed: Committed) -> None:
        self._on_commit(committed)
        for future, outcome in committed.outcomes:
            if future.done():
                continue  # the caller went away
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def _fail_lane(item: _Append | _Job[object], failure: PerdureError) -> None:
    if isinstance(item, _Append) and item.lane is not None and item.lane.failure is None:
        item.lane.failure = failure


def _closed() -> Unavailable:
    return Unavailable("the store is closed")
