"""What waits for the writer, what it gives to a job, and what it answers after a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import apsw

from ...model.batches import AppendAck, AppendInput
from ..catalogue import NO_STREAM, StreamChange, StreamEntry, StreamId
from ..engine import Lane
from ..sequencing import Block
from .group import Group
from .segments import SegmentDirectory

T = TypeVar("T")


class Append:
    """A batch for a stream, whose `future` gets the ack; those of one lane fail together."""

    __slots__ = ("batch", "future", "lane", "stream_id")

    def __init__(
        self, stream_id: StreamId, batch: AppendInput, lane: Lane | None, future: asyncio.Future[AppendAck]
    ) -> None:
        self.stream_id: StreamId = stream_id
        self.batch: AppendInput = batch
        self.lane: Lane | None = lane
        self.future: asyncio.Future[AppendAck] = future


class FirstAppend(Append):
    """A batch for a stream that may not exist yet: `find` gives the stream, or creates it, in the same transaction.

    If the batch is refused, a stream that was created stays. `entry` is there once the batch was acknowledged.
    """

    __slots__ = ("entry", "find")

    def __init__(
        self, find: Callable[[WriteContext], StreamChange], batch: AppendInput, future: asyncio.Future[AppendAck]
    ) -> None:
        super().__init__(NO_STREAM, batch, None, future)
        self.find: Callable[[WriteContext], StreamChange] = find
        self.entry: StreamEntry | None = None


class Job(Generic[T]):
    """A change of anything but records, run inside the transaction; what `run` gives or raises goes to `future`."""

    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[WriteContext], T], future: asyncio.Future[T]) -> None:
        self.run: Callable[[WriteContext], T] = run
        self.future: asyncio.Future[T] = future


class Stop:
    """The end of the queue."""


class WriteContext:
    """What a job may use: the connection inside the transaction, the group, and the time."""

    def __init__(self, connection: apsw.Connection, group: Group, segments: SegmentDirectory, now_ms: int) -> None:
        self.connection: apsw.Connection = connection
        self.segments: SegmentDirectory = segments
        self.group: Group = group
        self.now_ms: int = now_ms

    def forget(self, stream_id: StreamId) -> None:
        """The job changed this stream's rows by itself: what writers remember of it is stale."""
        self.group.note_change(stream_id)


Item: TypeAlias = "Append | Job[object]"
Outcome: TypeAlias = "tuple[asyncio.Future[object], object]"


class Committed:
    """What a group made durable, handed to the event loop in one piece."""

    __slots__ = (
        "blocks",
        "deleted",
        "first_commit_id",
        "last_commit_id",
        "logged_bytes",
        "outcomes",
        "resized",
        "seconds",
        "sweep",
    )

    def __init__(self, outcomes: list[Outcome], group: Group) -> None:
        self.outcomes: list[Outcome] = outcomes
        self.blocks: list[tuple[StreamId, Block]] = group.blocks
        self.deleted: list[StreamId] = group.deleted
        self.resized: set[StreamId] = group.resized
        self.first_commit_id: int | None = group.first_commit_id
        self.last_commit_id: int = group.last_commit_id
        self.logged_bytes: int = group.logged_bytes
        self.sweep: bool = group.sweep
        self.seconds: float | None = None
        """How long the group took, its turn included; None for one that failed."""


def with_tails(outcomes: list[Outcome], blocks: list[tuple[StreamId, Block]]) -> list[Outcome]:
    """The acks tell the tail as of the commit: past the end of a batch if later ones of its stream came with it.

    Each ack among `outcomes` is that of the next of `blocks`.
    """
    last = dict(blocks)
    if len(last) == len(blocks):
        return outcomes
    acked = iter(blocks)
    told: list[Outcome] = []
    for future, outcome in outcomes:
        if isinstance(outcome, AppendAck):
            stream_id, block = next(acked)
            if block is not last[stream_id]:
                outcome = AppendAck(outcome.start, outcome.end, last[stream_id].tail)
        told.append((future, outcome))
    return told
