"""Removing what nobody can read any more: trimmed and expired blocks, deleted streams and basins.

Readers do not depend on it: what is trimmed or expired is hidden from the moment on. The sweeper gives
the space back to the database, for new blocks. One process sweeps at a time, by lock; each step is a
small job of the writer, so that appends pass between two of them, and each is complete in itself, so
that a crash in between costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Final, cast

import apsw

from ...errors import PerdureError
from ...model.configs import ResolvedStreamConfig
from ..catalogue import StreamId
from .catalogue_rows import decode_stream_config
from .locks import FileLock
from .writer import WriteContext

logger = logging.getLogger("perdure.store.sqlite")

SWEEP_SECONDS: Final = 60.0
"""Between two rounds, with a jitter of a tenth; a trim or a deletion starts one at once."""

STEP_STREAMS: Final = 32
STEP_BLOCKS: Final = 64
"""Blocks removed in one transaction: at most about 64 MiB of pages to free."""

_DUE: Final = (
    "SELECT t.stream_id, t.tail, t.trim_point, t.written_ms, s.config, s.deleted_at IS NOT NULL "
    "FROM stream_state t JOIN stream s USING (stream_id) "
    "WHERE t.sweep_due_ms <= ? ORDER BY t.sweep_due_ms LIMIT ?"
)
_OLDEST: Final = "SELECT commit_id, end_seq, expires_ms FROM block WHERE stream_id = ? ORDER BY start_seq LIMIT ?"


class Sweeper:
    """Owns the sweeping task and the badge that lets one process sweep."""

    def __init__(self, badge: FileLock, submit: Callable[[Callable[[WriteContext], bool]], Awaitable[bool]]) -> None:
        self._badge = badge
        self._submit = submit
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="perdure-sweeper")

    def wake(self) -> None:
        """Something was trimmed or deleted."""
        self._wake.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._badge.close()

    async def _run(self) -> None:
        while True:
            if self._badge.try_acquire():  # kept once it is ours
                await self._round()
            try:
                async with asyncio.timeout(SWEEP_SECONDS * random.uniform(0.9, 1.1)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _round(self) -> None:
        try:
            while await self._submit(sweep_step):
                pass
        except PerdureError as exc:
            logger.warning("sweeping failed and is tried again in a minute: %s", exc)


def sweep_step(context: WriteContext) -> bool:
    """Do one small piece of work; True if more may be waiting."""
    basins = _close_streams_of_deleted_basins(context)
    rows = context.connection.execute(_DUE, (context.now_ms, STEP_STREAMS)).fetchall()
    for row in rows:
        stream, tail, trim_point, written_ms, config, deleted = cast(tuple[int, int, int, int, bytes, int], row)
        stream_id = StreamId(stream)
        if deleted:
            _purge(context, stream_id)
        else:
            _sweep_stream(context, stream_id, trim_point, written_ms, decode_stream_config(config))
        context.forget(stream_id)
    return bool(rows) or basins


def _remove_oldest(context: WriteContext, stream_id: StreamId, trim_point: int) -> tuple[bool, int | None]:
    """Remove a few unreadable blocks; tells whether any is left, and when the next one expires."""
    removable: list[int] = []
    for row in context.connection.execute(_OLDEST, (stream_id, STEP_BLOCKS + 1)):
        commit_id, end_seq, expires_ms = cast(tuple[int, int, int | None], row)
        expired = expires_ms is not None and expires_ms <= context.now_ms
        if not expired and end_seq > trim_point:
            _delete_blocks(context.connection, removable)
            return True, expires_ms
        removable.append(commit_id)
    _delete_blocks(context.connection, removable[:STEP_BLOCKS])
    return len(removable) > STEP_BLOCKS, 0 if len(removable) > STEP_BLOCKS else None


def _delete_blocks(connection: apsw.Connection, commit_ids: list[int]) -> None:
    if commit_ids:
        marks = ",".join("?" * len(commit_ids))
        connection.execute(f"DELETE FROM block WHERE commit_id IN ({marks})", commit_ids)


def _sweep_stream(
    context: WriteContext, stream_id: StreamId, trim_point: int, written_ms: int, config: ResolvedStreamConfig
) -> None:
    holds_blocks, due = _remove_oldest(context, stream_id, trim_point)
    if not holds_blocks and config.delete_on_empty_secs:
        due = written_ms + config.delete_on_empty_secs * 1000
        if due <= context.now_ms:
            _mark_deleted(context, stream_id)
            return
    context.connection.execute("UPDATE stream_state SET sweep_due_ms = ? WHERE stream_id = ?", (due, stream_id))


def _purge(context: WriteContext, stream_id: StreamId) -> None:
    """A step of a deletion: blocks first, and with the last of them the name, which is free then."""
    holds_blocks, _ = _remove_oldest(context, stream_id, 2**63 - 1)
    if holds_blocks:
        return
    context.connection.execute("DELETE FROM stream_state WHERE stream_id = ?", (stream_id,))
    context.connection.execute("DELETE FROM stream WHERE stream_id = ?", (stream_id,))


def _mark_deleted(context: WriteContext, stream_id: StreamId) -> None:
    now = datetime.fromtimestamp(context.now_ms / 1000, timezone.utc).isoformat()
    context.group.close_stream(stream_id, context.now_ms)
    context.connection.execute("UPDATE stream SET deleted_at = ? WHERE stream_id = ?", (now, stream_id))
    context.forget(stream_id)


def _close_streams_of_deleted_basins(context: WriteContext) -> bool:
    """A step of deleting basins: their streams in order of names, then the basin itself."""
    connection = context.connection
    worked = False
    for (basin_id,) in connection.execute("SELECT basin_id FROM basin WHERE deleted_at IS NOT NULL").fetchall():
        live = connection.execute(
            "SELECT stream_id FROM stream WHERE basin_id = ? AND deleted_at IS NULL ORDER BY name LIMIT ?",
            (basin_id, STEP_STREAMS),
        ).fetchall()
        for (stream_id,) in live:
            _mark_deleted(context, StreamId(cast(int, stream_id)))
        if live:
            worked = True
        elif connection.execute("SELECT count(*) FROM stream WHERE basin_id = ?", (basin_id,)).get == 0:
            connection.execute("DELETE FROM basin WHERE basin_id = ?", (basin_id,))
    return worked
