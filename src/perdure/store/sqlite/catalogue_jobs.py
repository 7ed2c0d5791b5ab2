"""Changes of the catalogue, as jobs of the writer: decide on what is there, and write what comes out."""

from __future__ import annotations

from collections.abc import Callable

from ..catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry
from . import catalogue_rows as rows
from .schema import saturated
from .write_items import WriteContext


def change_basin(name: str, decide: Callable[[BasinEntry | None], BasinChange], context: WriteContext) -> BasinChange:
    """See `Engine.change_basin`."""
    existing = rows.get_basin(context.connection, name)
    change = decide(existing)
    if not change.write:
        return change
    if change.entry.deleted_at is not None:
        context.group.sweep = True
    return BasinChange(rows.put_basin(context.connection, change.entry), change.result)


def change_stream(
    basin: str,
    name: str,
    decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange],
    context: WriteContext,
) -> StreamChange:
    """See `Engine.change_stream`."""
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
    due = saturated(context.now_ms + entry.config.delete_on_empty_secs * 1000)
    context.connection.execute(
        "UPDATE stream_state SET sweep_due_ms = min(ifnull(sweep_due_ms, ?1), ?1) WHERE stream_id = ?2",
        (due, entry.stream_id),
    )
