"""Changes of the catalogue, each in a transaction: decide on what is there, and write what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ...errors import PerdureError
from ...model.batches import AppendAck, AppendInput
from ..catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry, StreamId
from ..sequencing import Block, StreamState
from . import catalogue_rows as rows
from .connection import TransactionUndone
from .group import Known, StreamWork, write_values
from .schema import saturated
from .session import Transaction
from .writer import write

DecideBasin: TypeAlias = Callable[["BasinEntry | None"], BasinChange]
DecideStream: TypeAlias = Callable[["BasinEntry | None", "StreamEntry | None"], StreamChange]


class ChangedStream(Struct, frozen=True):
    """What became of a stream: the change, its state, what was appended to it and is to be handed to followers."""

    change: StreamChange
    known: Known
    blocks: tuple[Block, ...] = ()
    deleted: bool = False
    refused: PerdureError | None = None
    ack: AppendAck | None = None


async def change_basin(name: str, decide: DecideBasin, transaction: Transaction) -> BasinChange:
    """See `Engine.change_basin`."""
    connection = transaction.connection
    existing = await rows.basin_to_change(connection, name)
    change = decide(existing)
    if not change.write:
        return change
    transaction.changed = True
    entry = change.entry
    if existing is None:
        basin_id = await rows.insert_basin(connection, entry)
        if basin_id is None:
            raise TransactionUndone("a basin of the same name was created at the same time")
        entry = replace(entry, basin_id=basin_id)
    else:
        await rows.update_basin(connection, entry)
    return BasinChange(entry, change.result)


async def change_stream(
    basin: str, name: str, decide: DecideStream, now_ms: int, transaction: Transaction
) -> ChangedStream:
    """See `Engine.change_stream`."""
    connection = transaction.connection
    parent = await rows.basin_to_rely_on(connection, basin)
    found = None if parent is None else await rows.stream_to_change(connection, parent, name)
    existing, known = (None, None) if found is None else found
    change = decide(parent, existing)
    entry = change.entry
    if not change.write:
        assert known is not None, "a stream that need not be written is there"
        return ChangedStream(change, known)
    assert parent is not None, "a stream is only written into a basin that exists"
    transaction.changed = True
    due = None
    if entry.deleted_at is None and entry.config.delete_on_empty_secs:
        due = saturated(now_ms + entry.config.delete_on_empty_secs * 1000)
    if known is None:
        stream_id = await rows.insert_stream(connection, parent.basin_id, entry, now_ms=now_ms, sweep_due_ms=due)
        if stream_id is None:
            raise TransactionUndone("a stream of the same name was created at the same time")
        entry = replace(entry, stream_id=stream_id)
        known = Known(0, entry.config, entry.cipher, entry.deleted_at is not None, StreamState(), 0)
        return ChangedStream(StreamChange(entry, change.result), known)
    if entry.deleted_at is not None:
        await close_stream(entry.stream_id, known, now_ms, transaction)
    await rows.update_stream(connection, entry, sweep_due_ms=due)
    # What is appended in this transaction must find the version as it is now.
    known = replace(known, version=known.version + 1, config=entry.config)
    return ChangedStream(StreamChange(entry, change.result), known, deleted=entry.deleted_at is not None)


async def close_stream(stream_id: StreamId, known: Known, now_ms: int, transaction: Transaction) -> None:
    """Append the terminal trim to a stream whose rows are locked; whoever calls marks it deleted."""
    work = StreamWork(stream_id, known)
    work.close(now_ms)
    conflicted = await write(write_values([work]), transaction)
    assert not conflicted, "the rows were locked"
    transaction.changed = True


async def append_first(
    basin: str, name: str, decide: DecideStream, batch: AppendInput, now_ms: int, transaction: Transaction
) -> ChangedStream:
    """See `Engine.append_first`. A batch that is refused does not undo the creation of the stream."""
    changed = await change_stream(basin, name, decide, now_ms, transaction)
    work = StreamWork(changed.change.entry.stream_id, changed.known)
    try:
        ack = work.append(batch, now_ms)
    except PerdureError as exc:
        return replace(changed, refused=exc)
    conflicted = await write(write_values([work]), transaction)
    assert not conflicted, "the rows were locked, or are ours alone"
    transaction.changed = True
    return replace(changed, blocks=tuple(work.blocks), ack=ack)
