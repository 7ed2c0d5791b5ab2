"""A writer: one connection that turns whatever waits for its streams into one transaction at a time.

Every stream of a server belongs to one of its writers, by the id, so its batches stay in order; while one writer waits
for its commit, the others go on. Other servers have writers of their own: the row of a stream is where they meet.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, cast

from msgspec import Struct

from ...errors import PerdureError, StorageFailed, Unavailable
from ...model.batches import AppendAck, AppendInput
from ..catalogue import StreamId
from ..engine import Lane
from ..sequencing import Block
from .connection import Connection, ConnectionLost
from .group import LOAD, LOCK, WRITE, Answer, Append, Known, Plan, decide, known_from_rows
from .session import Session, Transaction

logger: Final = logging.getLogger("perdure.store.postgres")

MAX_GROUP_ITEMS: Final = 512
MAX_GROUP_BYTES: Final = 4 * 1024 * 1024
"""Metered bytes after which a group is closed: sequencing it holds up the event loop, by some milliseconds."""

MAX_KNOWN_STREAMS: Final = 100_000
CONTENDED_GROUPS: Final = 32
"""For so many groups after a conflict a stream's row is locked before deciding."""


class Committed(Struct, frozen=True):
    """What a group made durable."""

    blocks: list[tuple[StreamId, Block]]
    trimmed: bool
    seconds: float


class Writer:
    """Owns its task, from `start` to `close`, and its session.

    `on_commit` is called on the event loop when a group is durable, before its answers are given; with None when one
    was given up.
    """

    def __init__(
        self,
        session: Session,
        *,
        now_ms: Callable[[], int],
        on_commit: Callable[[Committed | None], None],
    ) -> None:
        self._session = session
        self._now_ms = now_ms
        self._on_commit = on_commit
        self._known: dict[StreamId, Known] = {}
        self._contended: dict[StreamId, int] = {}
        self._groups = 0
        self._epoch = 0
        self._waiting: deque[Append] = deque()
        self._work = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        self._task = self._loop.create_task(self._run(), name="perdure-writer")

    def append(self, stream_id: StreamId, batch: AppendInput, lane: Lane | None) -> asyncio.Future[AppendAck]:
        future: asyncio.Future[AppendAck] = self._loop.create_future()
        if self._closing:
            future.set_exception(Unavailable("the store is closed"))
            return future
        self._waiting.append(Append(stream_id, batch, lane, future))
        self._work.set()
        return future

    async def close(self) -> None:
        """Answer what waits, then end the task and the session."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._session.aclose()

    async def _run(self) -> None:
        while not self._closing or self._waiting:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                await self._commit(self._take())

    def _take(self) -> list[Append]:
        items: list[Append] = []
        size = 0
        while self._waiting and len(items) < MAX_GROUP_ITEMS and size < MAX_GROUP_BYTES:
            items.append(self._waiting.popleft())
            size += items[-1].batch.metered_bytes
        return items

    async def _commit(self, items: list[Append]) -> None:
        begun = time.perf_counter()
        try:
            plan, conflicted = await self._write(items)
        except PerdureError as exc:
            failure: PerdureError = exc
        except Exception as exc:  # a defect: whether the group was written is not known here
            logger.exception("a writer failed")
            failure = StorageFailed(f"the writer failed: {exc!r}")
        else:
            self._settle(plan, conflicted, time.perf_counter() - begun)
            return
        self._known.clear()
        self._on_commit(None)
        self._refuse(items, failure)

    async def _write(self, items: list[Append]) -> tuple[Plan, Collection[StreamId]]:
        """Decide on the group and commit what comes out; the streams of which nothing was committed come as well."""
        self._groups += 1
        streams = {item.stream_id for item in items}
        if self._contended and not self._contended.keys().isdisjoint(streams):
            return await self._session.transact(lambda transaction: self._write_locked(items, streams, transaction)), ()
        plan: Plan | None = None

        async def attempt(transaction: Transaction) -> list[StreamId]:
            nonlocal plan
            if transaction.epoch != self._epoch:
                # Another primary may have lost what this one remembers, and have given out the same versions anew.
                self._known.clear()
                self._epoch, plan = transaction.epoch, None
            if plan is None:
                await self._load(streams, transaction.connection)
                plan = decide(items, self._known, self._now_ms())
            if not plan.streams:
                return []
            return await write(plan.values(), transaction)

        conflicted = await self._session.mark_in_statement(attempt)
        assert plan is not None, "the group was decided before it was written"
        return plan, frozenset(conflicted)

    async def _write_locked(self, items: list[Append], streams: set[StreamId], transaction: Transaction) -> Plan:
        """Where other servers write to the same streams: wait for the rows first, and decide then."""
        connection = transaction.connection
        await connection.fetch(LOCK, sorted(streams))
        for stream_id in streams:
            self._known.pop(stream_id, None)
        await self._load(streams, connection)
        plan = decide(items, self._known, self._now_ms())
        if plan.streams:
            conflicted = await write(plan.values(), transaction)
            assert not conflicted, "the rows were locked"
            # Rejections as well: only a commit shows that this is still the primary, which may say what a tail is.
            transaction.changed = True
        return plan

    async def _load(self, streams: Collection[StreamId], connection: Connection) -> None:
        missing = [stream_id for stream_id in streams if stream_id not in self._known]
        if missing:
            if len(self._known) + len(missing) > MAX_KNOWN_STREAMS:
                self._known.clear()
                missing = list(streams)
            self._known.update(known_from_rows(await connection.fetch(LOAD, missing)))

    def _settle(self, plan: Plan, conflicted: Collection[StreamId], seconds: float) -> None:
        blocks: list[tuple[StreamId, Block]] = []
        trimmed = False
        for stream_id, work in plan.streams.items():
            if stream_id in conflicted:
                self._known.pop(stream_id, None)
                self._contended[stream_id] = self._groups + CONTENDED_GROUPS
                continue
            self._known[stream_id] = work.after
            trimmed = trimmed or work.trims
            blocks += [(stream_id, block) for block in work.blocks]
        if self._contended:
            self._contended = {stream_id: until for stream_id, until in self._contended.items() if until > self._groups}
        self._on_commit(Committed(blocks, trimmed, seconds))
        for item, answer in plan.settled(conflicted):
            _answer(item, answer)
        self._waiting.extendleft(reversed(plan.left(conflicted)))

    def _refuse(self, items: Sequence[Append], failure: PerdureError) -> None:
        for item in items:
            # Each caller raises an error of its own, with its own traceback; what comes behind on a lane gets the same.
            told = copy.copy(failure)
            if item.lane is not None:
                told = item.lane.failure = item.lane.failure or told
            if not item.future.done():
                item.future.set_exception(told)


async def write(values: list[object], transaction: Transaction) -> list[StreamId]:
    """Run `WRITE`; gives the streams that had changed, to which nothing was written."""
    rows = await transaction.connection.fetch(
        WRITE, transaction.writer_id, transaction.epoch, transaction.number, *values
    )
    if not rows:
        raise ConnectionLost("the row of this writer was taken over", may_have_committed=False)
    return list(cast("list[StreamId]", rows[0][0]))


def _answer(item: Append, answer: Answer) -> None:
    if isinstance(answer, AppendAck):
        if not item.future.done():
            item.future.set_result(answer)
        return
    if item.lane is not None and item.lane.failure is None:
        item.lane.failure = answer
    if not item.future.done():
        item.future.set_exception(answer)
