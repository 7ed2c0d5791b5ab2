"""The writer: one thread that turns whatever waits, of all streams, into one transaction at a time.

Answers leave it only after the commit, acknowledgements and rejections alike, so nothing is revealed
before it is on disk. The thread is the only one of this process that writes to the database; changes
of the catalogue and the sweeper's work come to it as jobs.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import apsw

from ...errors import PerdureError, StorageFailed, StorageFull, Unavailable
from ...model.batches import AppendAck, AppendInput
from ..catalogue import StreamChange, StreamId
from ..engine import Lane
from .backlog import Backlog
from .change_notes import ChangeNotes
from .checkpoint import Checkpointer
from .failures import is_fatal, translate, translate_os
from .group import Group, StateCache
from .locks import Turnstile
from .schema import keep_log_on_close
from .segments import SegmentFailed, SegmentWriter
from .write_items import Append, Committed, FirstAppend, Item, Job, Outcome, WriteContext, with_tails

T = TypeVar("T")

logger: Final = logging.getLogger("perdure.store.sqlite")

TURN_SECONDS: Final = 10.0
"""How long the turn may not come before callers are told: longer than any process needs that is not stopped."""

CLOSE_SECONDS: Final = 30.0
"""How long `close` waits for the thread; only a stopped process that holds the turnstile makes it longer."""


class Writer:
    """Owns the thread that writes, and from `start` on the write connection; `close` ends the thread.

    `after_commit` runs on the thread right after a group that wrote blocks, `on_commit` on the event loop
    after every group, before its answers are given. `on_stop` runs on any thread, once nothing is written any more.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        turnstile: Turnstile,
        notes: ChangeNotes,
        segments: SegmentWriter,
        checkpointer: Checkpointer,
        *,
        loop: asyncio.AbstractEventLoop,
        now_ms: Callable[[], int],
        after_commit: Callable[[Committed], None],
        on_commit: Callable[[Committed], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._turnstile = turnstile
        self._notes = notes
        self._segments = segments
        self._checkpointer = checkpointer
        self._loop = loop
        self._now_ms = now_ms
        self._after_commit = after_commit
        self._on_commit = on_commit
        self._on_stop = on_stop
        self._cache = StateCache()
        self._backlog = Backlog()
        self._unqueued: list[Item] = []
        self._failure: PerdureError | None = None
        self._closing = False
        self._in_hand: list[Item] = []
        self._waiting = False
        self._refusing = threading.Lock()  # so that a turn that comes just then finds all callers refused, or none
        self._turns = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="perdure-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def append(self, stream_id: StreamId, batch: AppendInput, lane: Lane | None) -> asyncio.Future[AppendAck]:
        future: asyncio.Future[AppendAck] = self._loop.create_future()
        self._enqueue(Append(stream_id, batch, lane, future), future)
        return future

    def append_first(self, find: Callable[[WriteContext], StreamChange], batch: AppendInput) -> FirstAppend:
        """Append to the stream that `find` gives, in one transaction with what it does."""
        future: asyncio.Future[AppendAck] = self._loop.create_future()
        item = FirstAppend(find, batch, future)
        self._enqueue(item, future)
        return item

    def submit(self, run: Callable[[WriteContext], T]) -> asyncio.Future[T]:
        """Run a job inside a transaction; what it raises is its answer and undoes what it did."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._enqueue(Job(run, future), future)  # type: ignore[arg-type]  # futures are invariant; the item only carries it
        return future

    def _enqueue(self, item: Item, future: asyncio.Future[T]) -> None:
        if self._closing:
            future.set_exception(Unavailable("the store is closed"))
            return
        self._unqueued.append(item)
        if len(self._unqueued) == 1:
            # What comes in the same step of the loop goes into the same group: the thread, woken at once, would begin
            # with the first alone, and fight for the GIL with whoever is about to bring the others.
            self._loop.call_soon(self._queue_all)
        if self._alarm is None:
            self._alarm = self._loop.call_later(TURN_SECONDS, self._check_turns, self._turns)

    def _queue_all(self) -> None:
        for item in self._unqueued:
            self._backlog.put(item)
        self._unqueued.clear()

    async def close(self) -> bool:
        """Answer what waits, then end the thread. False if it could not end, because its turn never came."""
        if not self._closing:
            self._closing = True
            self._queue_all()
            self._backlog.stop()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)
        ended = not self._thread.is_alive()
        if not ended:
            with self._refusing:
                self._refuse_waiting()
        if self._alarm is not None:
            self._alarm.cancel()
        return ended

    def join(self) -> None:
        """Wait for the end of the thread, however long it takes. Blocks."""
        if self._thread.ident is not None:
            self._thread.join()

    def fail(self, exc: apsw.Error) -> None:
        """Refuse to write from now on, after a failure elsewhere that leaves the disk unknown. Any thread."""
        self._stop_writing(translate(exc, "checkpointing the store"))

    # On the event loop --------------------------------------------------------------------------------

    def _settle(self, committed: Committed) -> None:
        try:
            self._on_commit(committed)
        finally:
            for future, outcome in committed.outcomes:
                if future.done():
                    continue  # the caller went away
                if isinstance(outcome, BaseException):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _check_turns(self, turns_then: int) -> None:
        """Some time after an item was queued: is the thread still getting its turns?"""
        self._alarm = None
        with self._refusing:
            if self._waiting and self._turns == turns_then:
                self._refuse_waiting()
                return
        if self._waiting or not self._backlog.is_empty:
            self._alarm = self._loop.call_later(TURN_SECONDS, self._check_turns, self._turns)

    def _refuse_waiting(self) -> None:
        """Answer everybody, since another process keeps the turn; what is done by then is not written."""
        self._queue_all()
        items = [*(item for item in self._in_hand if not item.future.done()), *self._backlog.drain()]
        failure = Unavailable(
            f"another process has kept the turn to write for over {TURN_SECONDS:.0f} s; it may be stopped"
        )
        logger.error("%d calls are refused: %s", len(items), failure)
        for item in items:
            if isinstance(item, Append) and item.lane is not None:
                item.lane.failure = item.lane.failure or failure
            if not item.future.done():
                item.future.set_exception(copy.copy(failure))

    # On the writer's thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._backlog.stopped:
            items = self._backlog.take()
            if items:
                self._commit(items)
            if not self._backlog.stopped and self._checkpointer.due():
                self._finish_checkpoint()

    def _commit(self, items: list[Item]) -> None:
        failure = self._failure
        if failure is None:
            group = Group(self._connection, self._cache, self._segments)
            begun = time.perf_counter()
            try:
                committed = self._in_turn(items, group)
                committed.seconds = time.perf_counter() - begun
            except apsw.Error as exc:
                failure = self._give_up(exc)
            except SegmentFailed as exc:
                failure = self._segment_failed(exc.cause)
            except OSError as exc:  # the turnstile's files
                failure = translate_os(exc, "waiting for the turn to write")
            except Exception as exc:  # a defect: the group is undone and everybody is told
                logger.exception("the writer failed")
                failure = StorageFailed(f"the writer failed: {exc!r}")
        if failure is not None:
            if isinstance(failure, StorageFull):
                self._segments.give_back()
            committed = self._refused(items, failure)
        try:
            self._loop.call_soon_threadsafe(self._settle, committed)
        except RuntimeError:
            logger.warning("the event loop was closed before the store; %d answers are lost", len(items))

    def _in_turn(self, items: list[Item], group: Group) -> Committed:
        self._take_turn(items)
        try:
            self._backlog.add_to(items)
            committed = self._transact(items, group)
            self._segments.keep()
            if committed.first_commit_id is not None:
                self._after_commit(committed)
            self._delete_segments(group.unneeded_segments)
            return committed
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._turnstile.leave()

    def _delete_segments(self, segments: list[str]) -> None:
        """After the commit, whose answers stand whatever happens here."""
        try:
            self._segments.directory.delete(self._connection, segments)
        except (apsw.Error, OSError) as exc:
            logger.warning("segments that nobody needs could not be deleted: %s", exc)

    def _take_turn(self, items: list[Item]) -> None:
        """Wait for the turn, for the sake of `items`."""
        self._in_hand, self._waiting = items, True
        try:
            self._turnstile.enter()
        finally:
            with self._refusing:
                self._in_hand, self._waiting = [], False
        self._turns += 1

    def _transact(self, items: list[Item], group: Group) -> Committed:
        connection = self._connection
        self._cache.begin(self._notes.read())
        appends = {item.stream_id for item in items if type(item) is Append}
        if not all(type(item) is Append for item in items):
            connection.execute("BEGIN IMMEDIATE")
        self._cache.prepare(connection, appends)
        outcomes: list[Outcome] = []
        ended: dict[Lane, PerdureError] = {}
        for item in items:
            outcome: object
            lane = item.lane if isinstance(item, Append) else None
            if lane is None:
                if item.future.done():
                    continue  # withdrawn, or told that its turn did not come
            elif (failure := lane.failure or ended.get(lane)) is not None:
                outcomes.append((item.future, failure))  # type: ignore[arg-type]  # invariant
                continue
            if isinstance(item, Append):
                outcome = self._append(item, group)
                if lane is not None and isinstance(outcome, PerdureError):
                    ended[lane] = outcome
            else:
                outcome = self._run_job(item.run, group)
            outcomes.append((item.future, outcome))  # type: ignore[arg-type]  # invariant
        if group.is_one_insert and not connection.in_transaction:
            group.sync()
            self._notes.note(group.changed)
            group.insert_alone()
        else:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            group.flush()
            group.sync()
            self._notes.note(group.changed)
            connection.execute("COMMIT")
        for lane, failure in ended.items():
            lane.failure = failure
        if group.appends_twice:
            outcomes = with_tails(outcomes, group.blocks)
        return Committed(outcomes, group)

    def _append(self, item: Append, group: Group) -> object:
        """The ack, or why there is none."""
        stream_id = item.stream_id
        if isinstance(item, FirstAppend):
            found = self._run_job(item.find, group)
            if not isinstance(found, StreamChange):
                return found
            item.entry, stream_id = found.entry, found.entry.stream_id
        try:
            return group.append(stream_id, item.batch, self._now_ms())
        except PerdureError as exc:
            return exc
        except (apsw.Error, SegmentFailed):
            raise
        except Exception as exc:  # a defect: sequencing is pure, so it concerns this batch alone
            logger.exception("a batch could not be sequenced")
            return StorageFailed(f"the batch could not be sequenced: {exc!r}")

    def _run_job(self, run: Callable[[WriteContext], object], group: Group) -> object:
        mark = group.mark()
        self._connection.execute("SAVEPOINT job")
        try:
            outcome = run(WriteContext(self._connection, group, self._segments.directory, self._now_ms()))
            group.flush()
        except apsw.Error:
            raise
        except Exception as exc:  # the answer of whoever gave the job
            self._connection.execute("ROLLBACK TO job")
            group.undo_to(mark)
            outcome = exc
        self._connection.execute("RELEASE job")
        return outcome

    def _refused(self, items: list[Item], failure: PerdureError) -> Committed:
        outcomes: list[Outcome] = []
        for item in items:
            told = copy.copy(failure)  # each caller raises its own, with its own traceback
            if isinstance(item, Append) and item.lane is not None:
                told = item.lane.failure = item.lane.failure or told
            outcomes.append((item.future, told))  # type: ignore[arg-type]  # invariant
        return Committed(outcomes, Group(self._connection, self._cache, self._segments))

    def _finish_checkpoint(self) -> None:
        """Between two groups, inside the turnstile: nobody else writes, so the log's end can be reached."""
        if self._failure is not None:
            return
        try:
            self._take_turn([])
            try:
                self._checkpointer.finish(self._connection)
            finally:
                self._turnstile.leave()
        except apsw.Error as exc:
            if is_fatal(exc):
                self.fail(exc)
            else:
                logger.warning("copying the write-ahead log failed: %s", exc)
        except OSError as exc:
            logger.warning("copying the write-ahead log failed: %s", exc)

    def _give_up(self, exc: apsw.Error) -> PerdureError:
        """After a failed write or sync the engine stays refused until it is opened anew."""
        failure = translate(exc, "writing to the store")
        return self._stop_writing(failure) if is_fatal(exc) else failure

    def _segment_failed(self, cause: OSError) -> PerdureError:
        """No row names what was written to the segment, so a full disk or a lack of descriptors has changed nothing."""
        failure = translate_os(cause, "writing to the store")
        harmless = isinstance(failure, StorageFull) or cause.errno in (errno.EMFILE, errno.ENFILE)
        return failure if harmless else self._stop_writing(failure)

    def _stop_writing(self, failure: PerdureError) -> PerdureError:
        if self._failure is None:
            self._failure = StorageFailed(
                f"{failure.message}; whether the last batches were kept is unknown, so this store refuses to go on: "
                "close it and open it again"
            )
            logger.error("the store stopped: %s", self._failure)
            self._on_stop()
        return self._failure

    def _roll_back(self) -> None:
        self._cache.clear()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as exc:
                logger.error("rolling back failed: %s", exc)

    def let_log_be_copied(self) -> None:
        """After `close`: closing the connection may copy the log for good, if all has been well.

        After a failed sync it must not: that would be the same sync, tried again.
        """
        if self._failure is None:
            keep_log_on_close(self._connection, keep=False)
