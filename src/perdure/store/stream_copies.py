"""Basins and streams of one engine copied to another: block by block, as they are, while the original is in use.

A copy has the same sequence numbers, timestamps, fencing token and trim point, so cursors and sessions of clients hold
for it as well, and a sealed stream is opened by the same key. What was copied before is not copied again: a copy that
was broken off, or that the original has outgrown, is gone on with. Nobody else may append to it in the meantime; that
is noticed, and refused.

Access tokens and metrics are not copied.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ..errors import BasinNotFound, ResourceExists, StorageFailed, StreamDeletionPending
from ..model.batches import AppendAck
from ..model.limits import MAX_PAGE_ITEMS
from ..model.records import AppendRecord
from ..model.resources import ProvisionResult
from ..wire.block import encode_block
from .catalogue import NO_STREAM, BasinChange, BasinEntry, BasinId, StreamChange, StreamEntry, StreamId
from .clock import wall_clock_ms
from .engine import Engine, Lane
from .sequencing import Block, CopiedBatch, StreamState

READ_RECORDS: Final = 100_000
READ_BYTES: Final = 8 * 1024 * 1024
"""How much of a stream is in memory at a time."""


class CopiedStream(Struct, frozen=True):
    """What a copy of one stream amounts to: `tail` is that of both, `blocks` and `stored_bytes` were copied now.

    `since` is the tail that the copy had before.
    """

    basin: str
    name: str
    since: int
    tail: int
    blocks: int
    stored_bytes: int


async def basins(engine: Engine, prefix: str = "") -> AsyncIterator[BasinEntry]:
    """All basins that start with `prefix`, but for those that are being deleted."""
    after = ""
    while True:
        entries = await engine.list_basins(prefix, after, MAX_PAGE_ITEMS)
        for entry in entries:
            if entry.deleted_at is None and entry.location is None:
                yield entry
        if len(entries) < MAX_PAGE_ITEMS:
            return
        after = entries[-1].name


async def streams(engine: Engine, basin: str, prefix: str = "") -> AsyncIterator[StreamEntry]:
    """All streams of a basin that start with `prefix`, but for those that are being deleted."""
    after = ""
    while True:
        entries = await engine.list_streams(basin, prefix, after, MAX_PAGE_ITEMS)
        for entry in entries:
            if entry.deleted_at is None:
                yield entry
        if len(entries) < MAX_PAGE_ITEMS:
            return
        after = entries[-1].name


async def copy_basin(target: Engine, original: BasinEntry) -> None:
    """Make sure that the basin is there; one that exists keeps its configuration.

    Raises `ResourceExists` for one that is being deleted there, or whose name is at another location.
    """

    def decide(existing: BasinEntry | None) -> BasinChange:
        if existing is not None:
            _check_takes_streams(existing)
            return BasinChange(existing, ProvisionResult.NOOP)
        return BasinChange(replace(original, basin_id=BasinId(0)), ProvisionResult.CREATED)

    await target.change_basin(original.name, decide)


async def copy_stream(source: Engine, target: Engine, original: StreamEntry) -> CopiedStream:
    """Bring the copy of a stream to where the original is now. The basin must be there.

    Raises `ResourceExists` if there is another stream of this name, or one that somebody else has appended to,
    `SeqNumMismatch` if somebody does so meanwhile, `StreamNotFound` or `StreamDeletionPending` if the original is
    deleted meanwhile, and what either engine raises.
    """
    copy = await _copy_of(target, original)
    state = await target.state(copy)
    await _check_is_copy(source, target, original, copy, state)
    lane, since = Lane(), state.tail
    blocks = stored_bytes = 0
    while True:
        found = await source.read_blocks(original.stream_id, state.tail, max_records=READ_RECORDS, max_bytes=READ_BYTES)
        if found.deleted:
            raise StreamDeletionPending(f"{_named(original)} is being deleted")
        goal = found.state
        if state.tail >= goal.tail:
            return CopiedStream(original.basin, original.name, since, state.tail, blocks, stored_bytes)
        known = [block for block in found.blocks if state.tail <= block.start_seq and block.end_seq <= goal.tail]
        appends = []
        for block in known or [_gone(goal)]:
            reached = _state_with(block, state, goal)
            batch = CopiedBatch.of_block(block, after=state.tail, state=reached)
            appends.append(target.append(copy, batch, lane))
            state = reached
        await _all_of(appends)
        blocks += len(known)
        stored_bytes += sum(len(block.body) for block in known)


async def verify_stream(
    source: Engine,
    target: Engine,
    original: StreamEntry,
    up_to: int,
    *,
    since: int = 0,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> int:
    """Read both, and compare every block that the original still has from `since` to `up_to`; gives how many.

    Raises `StorageFailed` if the copy lacks one, or has another.
    """
    entry = await target.stream(original.basin, original.name)
    if entry is None:
        raise StorageFailed(f"the copy of {_named(original)} is not there")
    compared = 0
    async with (
        aclosing(_blocks(source, original.stream_id, since, up_to)) as ours,
        aclosing(_blocks(target, entry.stream_id, since, up_to)) as theirs,
    ):
        found = await anext(theirs, None)
        async for block in ours:
            while found is not None and found.start_seq < block.start_seq:
                found = await anext(theirs, None)  # the original has lost this one to a trim or to retention
            if found is not None and _is_same(found, block):
                compared += 1
            elif block.expires_ms is None or block.expires_ms > now_ms():
                raise StorageFailed(f"the copy of {_named(original)} lacks the records from {block.start_seq} on")
    return compared


def _is_same(one: Block, other: Block) -> bool:
    return (one.start_seq, one.end_seq, one.body) == (other.start_seq, other.end_seq, other.body)


def _check_takes_streams(basin: BasinEntry) -> None:
    """A copy in any other basin would be there for a moment only, or not for whoever looks for it."""
    if basin.deleted_at is not None:
        raise ResourceExists(f"basin `{basin.name}` of the target is being deleted; copy to it once it is gone")
    if basin.location is not None:
        raise ResourceExists(f"basin `{basin.name}` of the target is at location `{basin.location}`; copy to that one")


async def _copy_of(target: Engine, original: StreamEntry) -> StreamId:
    def decide(parent: BasinEntry | None, existing: StreamEntry | None) -> StreamChange:
        if parent is None:
            raise BasinNotFound(f"basin `{original.basin}` of the target was deleted while it was copied to")
        _check_takes_streams(parent)
        if existing is None:
            return StreamChange(replace(original, stream_id=NO_STREAM), ProvisionResult.CREATED)
        if existing.deleted_at is not None or existing.created_at != original.created_at:
            raise ResourceExists(f"the target has another {_named(original)}; delete it, or copy to another target")
        return StreamChange(existing, ProvisionResult.NOOP)

    return (await target.change_stream(original.basin, original.name, decide)).entry.stream_id


async def _check_is_copy(
    source: Engine, target: Engine, original: StreamEntry, copy: StreamId, state: StreamState
) -> None:
    """The last block of the copy must be one of the original's, unless that has lost it."""
    ahead = ResourceExists(
        f"the target's {_named(original)} is no copy any more: it has records that the original has not; "
        "delete it, or copy to another target"
    )
    if state.tail > (await source.state(original.stream_id)).tail:
        raise ahead
    if state.tail == 0:
        return
    last = await target.read_blocks(copy, state.tail - 1, max_records=1, max_bytes=1)
    for block in last.blocks:
        theirs = await source.read_blocks(original.stream_id, block.start_seq, max_records=1, max_bytes=1)
        for found in theirs.blocks[:1]:
            if found.start_seq < block.end_seq and not _is_same(found, block):
                raise ahead


def _state_with(block: Block, before: StreamState, goal: StreamState) -> StreamState:
    """Commands are in the blocks, but what they amount to at the end is known without decoding any."""
    if block.end_seq == goal.tail:
        return goal
    return StreamState(block.end_seq, block.last_timestamp, before.fencing_token, before.trim_point)


def _gone(goal: StreamState) -> Block:
    """Stands for everything up to the tail when the original has lost it all; nobody can read it, for it is trimmed."""
    start = goal.tail - 1
    record = AppendRecord()
    return Block(
        start_seq=start,
        end_seq=goal.tail,
        last_timestamp=goal.last_timestamp,
        metered_bytes=record.metered_bytes,
        stored_ms=0,
        expires_ms=0,
        body=encode_block(start, [goal.last_timestamp], [record]),
    )


async def _blocks(engine: Engine, stream: StreamId, since: int, up_to: int) -> AsyncGenerator[Block]:
    cursor = since
    while cursor < up_to:
        found = await engine.read_blocks(stream, cursor, max_records=READ_RECORDS, max_bytes=READ_BYTES)
        for block in found.blocks:
            if block.end_seq > up_to:
                return
            yield block
        if not found.blocks or not found.more:
            return
        cursor = found.blocks[-1].end_seq


async def _all_of(appends: Sequence[asyncio.Future[AppendAck]]) -> None:
    """Wait for every one, and raise the first failure."""
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _named(stream: StreamEntry) -> str:
    return f"stream `{stream.name}` in basin `{stream.basin}`"
