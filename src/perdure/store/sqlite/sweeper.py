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
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar, cast

from ...errors import PerdureError
from ..catalogue import StreamId
from ..entry_coding import decode_stream_config
from .locks import FileLock
from .schema import MAX_I64, saturated
from .usage_rows import remember_activity
from .write_items import WriteContext

T = TypeVar("T")

logger: Final = logging.getLogger("perdure.store.sqlite")

SWEEP_SECONDS: Final = 60.0
"""Between two rounds, with a jitter of a tenth; a trim or a deletion starts one at once."""

BUSY_SECONDS: Final = 1.0
"""Until the next try while another process sweeps: it may have looked just before there was work for us."""

STEP_STREAMS: Final = 32
STEP_BLOCKS: Final = 256
STEP_BYTES: Final = 4 * 1024 * 1024
"""What one transaction removes at most: it holds up the appends that share it, by a few milliseconds."""

STEP_SEGMENTS: Final = 2
"""The same for segments; deleting one takes the file system some milliseconds."""

_DUE: Final = (
    "SELECT t.stream_id, t.trim_point, t.written_ms, s.config, s.deleted_at IS NOT NULL "
    "FROM stream_state t JOIN stream s USING (stream_id) "
    "WHERE t.sweep_due_ms <= ? ORDER BY t.sweep_due_ms LIMIT ?"
)
_OLDEST: Final = (
    "SELECT start_seq, end_seq, expires_ms, metered_bytes FROM block WHERE stream_id = ? ORDER BY start_seq LIMIT ?"
)
_EARLY: Final = (
    "SELECT start_seq, expires_ms, metered_bytes FROM block WHERE stream_id = ? AND early ORDER BY expires_ms LIMIT ?"
)


class _Submit(Protocol):
    def __call__(self, run: Callable[[WriteContext], T], /) -> Awaitable[T]: ...


class Sweeper:
    """Owns the sweeping task, and the badge that lets one process sweep at a time."""

    def __init__(self, badge: FileLock, submit: _Submit) -> None:
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

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._badge.try_acquire():
                try:
                    await self._round()
                finally:
                    self._badge.release()
                pause = SWEEP_SECONDS * random.uniform(0.9, 1.1)
            else:
                pause = BUSY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        try:
            while await self._submit(sweep_step):
                pass
            await self._collect()
        except PerdureError as exc:
            logger.warning("sweeping failed and is tried again in a minute: %s", exc)
        except Exception:
            logger.exception("sweeping failed and is tried again in a minute")

    async def _collect(self) -> None:
        """Have segments deleted until there are none, or they stay though they should have gone."""
        before: list[str] = []
        while (found := await self._submit(collect_segments)) and found != before:
            before = found


class _Allowance:
    """How much a step may still remove."""

    def __init__(self) -> None:
        self.blocks = STEP_BLOCKS
        self.spent_bytes = 0

    def spend(self, size: int) -> None:
        self.blocks -= 1
        self.spent_bytes += size

    @property
    def spent(self) -> bool:
        return self.blocks <= 0 or self.spent_bytes >= STEP_BYTES


def sweep_step(context: WriteContext) -> bool:
    """Do one small piece of work; True if more may be waiting."""
    basins = _close_streams_of_deleted_basins(context)
    rows = context.connection.execute(_DUE, (context.now_ms, STEP_STREAMS)).fetchall()
    allowance = _Allowance()
    for row in rows:
        stream, trim_point, written_ms, config, deleted = cast(tuple[int, int, int, bytes, int], row)
        stream_id = StreamId(stream)
        if deleted:
            _purge(context, stream_id, allowance)
        else:
            delete_after = decode_stream_config(config).delete_on_empty_secs
            _sweep_stream(context, stream_id, trim_point, written_ms, delete_after, allowance)
        context.forget(stream_id)
        if allowance.spent:
            break
    return bool(rows) or basins


def collect_segments(context: WriteContext) -> list[str]:
    """Have a few segments deleted that no block is in any more, once it is committed that none is."""
    context.group.let_go_of_segment()
    found = context.segments.unneeded(context.connection, STEP_SEGMENTS)
    context.group.unneeded_segments += found
    return found


def _remove_oldest(
    context: WriteContext, stream_id: StreamId, trim_point: int, allowance: _Allowance
) -> tuple[bool, int | None]:
    """Remove unreadable blocks from the front; tells whether any block is left, and when the next one is due."""
    below: int | None = None
    holds_blocks, due = False, None
    rows = context.connection.execute(_OLDEST, (stream_id, allowance.blocks + 1)).fetchall()
    for row in rows:
        start_seq, end_seq, expires_ms, size = cast(tuple[int, int, int | None, int], row)
        if allowance.spent:
            holds_blocks, due = True, 0
            break
        if end_seq > trim_point and (expires_ms is None or expires_ms > context.now_ms):
            holds_blocks, due = True, expires_ms
            break
        allowance.spend(size)
        below = start_seq
    if below is not None:
        context.connection.execute("DELETE FROM block WHERE stream_id = ? AND start_seq <= ?", (stream_id, below))
    return holds_blocks, due


def _remove_early(context: WriteContext, stream_id: StreamId, allowance: _Allowance) -> int | None:
    """Remove blocks that expired before older ones of their stream; tells when the next one is due."""
    connection = context.connection
    rows = connection.execute(_EARLY, (stream_id, max(allowance.blocks, 0) + 1)).fetchall()
    for row in rows:
        start_seq, expires_ms, size = cast(tuple[int, int, int], row)
        if allowance.spent or expires_ms > context.now_ms:
            return 0 if expires_ms <= context.now_ms else expires_ms
        connection.execute("DELETE FROM block WHERE stream_id = ? AND start_seq = ?", (stream_id, start_seq))
        allowance.spend(size)
    return None


def _holds_less(context: WriteContext, stream_id: StreamId, removed_bytes: int) -> None:
    """Blocks of the stream were removed: account for it."""
    if removed_bytes:
        context.connection.execute(
            "UPDATE stream_state SET stored_bytes = stored_bytes - ? WHERE stream_id = ?", (removed_bytes, stream_id)
        )
        context.forget(stream_id)
        context.group.resized.add(stream_id)


def _sweep_stream(
    context: WriteContext,
    stream_id: StreamId,
    trim_point: int,
    written_ms: int,
    delete_after_secs: int,
    allowance: _Allowance,
) -> None:
    spent_before = allowance.spent_bytes
    holds_blocks, due = _remove_oldest(context, stream_id, trim_point, allowance)
    if holds_blocks:
        early = _remove_early(context, stream_id, allowance)
        due = early if due is None else min(due, due if early is None else early)
    _holds_less(context, stream_id, allowance.spent_bytes - spent_before)
    if not holds_blocks and delete_after_secs:
        due = saturated(written_ms + delete_after_secs * 1000)
        if due <= context.now_ms:
            _mark_deleted(context, stream_id)
            return
    context.connection.execute("UPDATE stream_state SET sweep_due_ms = ? WHERE stream_id = ?", (due, stream_id))


def _purge(context: WriteContext, stream_id: StreamId, allowance: _Allowance) -> None:
    """A step of a deletion: blocks first, and with the last of them the name, which is free then."""
    spent_before = allowance.spent_bytes
    holds_blocks, _ = _remove_oldest(context, stream_id, MAX_I64, allowance)
    if holds_blocks:
        _holds_less(context, stream_id, allowance.spent_bytes - spent_before)
        return
    remember_activity(context.connection, stream_id)
    context.connection.execute("DELETE FROM stream_state WHERE stream_id = ?", (stream_id,))
    context.connection.execute("DELETE FROM stream WHERE stream_id = ?", (stream_id,))


def _mark_deleted(context: WriteContext, stream_id: StreamId) -> None:
    now = datetime.fromtimestamp(context.now_ms / 1000, UTC).isoformat()
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
        elif not connection.execute("SELECT EXISTS (SELECT 1 FROM stream WHERE basin_id = ?)", (basin_id,)).get:
            connection.execute("DELETE FROM basin WHERE basin_id = ?", (basin_id,))
    return worked
