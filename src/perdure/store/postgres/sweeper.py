"""Removing what nobody can read any more: trimmed and expired blocks, deleted streams and basins.

Readers do not depend on it: what is trimmed or expired is hidden from the moment on. One server sweeps at a time: each
step is a transaction that begins with an advisory lock, and does nothing if another holds it. A step is small, so
appends wait for it a few milliseconds, and passes over rows that somebody is using. Only when nothing else is due it
waits for one of them, in turn with the appends: a stream that is written to all the time is never free by chance.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar, cast

from ...errors import PerdureError
from ..catalogue import StreamId
from ..entry_coding import decode_stream_config
from .catalogue_jobs import close_stream
from .connection import Connection, TransactionUndone
from .group import LOAD, Known, known_from_rows
from .schema import LOCK_CLASS, MAX_I64, SWEEPER_LOCK, saturated
from .session import Transaction
from .usage_rows import remember_activity

T = TypeVar("T")

logger: Final = logging.getLogger("perdure.store.postgres")

SWEEP_SECONDS: Final = 60.0
"""Between two rounds, with a jitter of a tenth; a trim or a deletion starts one at once."""

BUSY_SECONDS: Final = 1.0
"""Until the next try while another server sweeps, or what is due is in use: it may have looked before it was due."""

STEP_STREAMS: Final = 8
CLOSED_STREAMS: Final = 64
STEP_BLOCKS: Final = 512
STEP_BYTES: Final = 8 * 1024 * 1024
"""What one transaction removes at most, and how many streams of a deleted basin it closes. Appends to a stream that is
swept wait for the end of the transaction."""

WRITER_ROWS_KEPT: Final = timedelta(days=2)
"""A server that is gone leaves rows in `writer`. One that only has nothing to do makes its own anew."""

_TRY: Final = f"SELECT pg_try_advisory_xact_lock({LOCK_CLASS}, {SWEEPER_LOCK})"
_DUE: Final = (
    "SELECT stream_id FROM stream_state WHERE sweep_due_ms <= $1 ORDER BY sweep_due_ms LIMIT $2 "
    "FOR NO KEY UPDATE SKIP LOCKED"
)
_DUE_IN_USE: Final = (
    "SELECT stream_id FROM stream_state WHERE sweep_due_ms <= $1 ORDER BY sweep_due_ms LIMIT 1 FOR NO KEY UPDATE"
)
"""For one that is in use, the lock is waited for: whoever uses it is done in a moment, or somebody else is next."""

_WAIT_BRIEFLY: Final = "SET LOCAL lock_timeout = '500ms'"
_IS_DUE: Final = "SELECT EXISTS (SELECT FROM stream_state WHERE sweep_due_ms <= $1)"
_ABOUT: Final = (
    "SELECT t.trim_point, t.written_ms, s.config, t.deleted FROM stream_state t JOIN stream s USING (stream_id) "
    "WHERE t.stream_id = $1"
)
_OLDEST: Final = (
    "SELECT start_seq, end_seq, expires_ms, metered_bytes FROM block WHERE stream_id = $1 ORDER BY start_seq LIMIT $2"
)
_REMOVE_UP_TO: Final = "DELETE FROM block WHERE stream_id = $1 AND start_seq <= $2"
_EARLY: Final = (
    "SELECT start_seq, expires_ms, metered_bytes FROM block WHERE stream_id = $1 AND early ORDER BY expires_ms LIMIT $2"
)
_REMOVE: Final = "DELETE FROM block WHERE stream_id = $1 AND start_seq = ANY($2::bigint[])"
_SWEPT: Final = (
    "UPDATE stream_state SET stored_bytes = stored_bytes - $2, sweep_due_ms = $3::bigint WHERE stream_id = $1"
)
_PURGE: Final = "WITH gone AS (DELETE FROM stream_state WHERE stream_id = $1) DELETE FROM stream WHERE stream_id = $1"
_MARK_DELETED: Final = (
    "WITH marked AS (UPDATE stream SET deleted_at = $2 WHERE stream_id = $1) "
    "UPDATE stream_state SET deleted = true, version = version + 1 WHERE stream_id = $1"
)
_DELETED_BASINS: Final = "SELECT basin_id FROM basin WHERE deleted_at IS NOT NULL FOR UPDATE SKIP LOCKED"
_LIVE_STREAMS: Final = (
    "SELECT t.stream_id FROM stream_state t JOIN stream s USING (stream_id) "
    "WHERE s.basin_id = $1 AND s.deleted_at IS NULL ORDER BY s.stream_id LIMIT $2 FOR NO KEY UPDATE OF t SKIP LOCKED"
)
_HAS_STREAMS: Final = (
    "SELECT EXISTS (SELECT FROM stream WHERE basin_id = $1), "
    "EXISTS (SELECT FROM stream WHERE basin_id = $1 AND deleted_at IS NULL)"
)
_REMOVE_BASIN: Final = "DELETE FROM basin WHERE basin_id = $1"
_FORGET_WRITERS: Final = "DELETE FROM writer WHERE touched_at < now() - $1::interval"


class Swept:
    """What a step did: streams that hold less, streams that were closed with their tails, and whether there is more."""

    def __init__(self) -> None:
        self.elected: bool = True
        self.more: bool = False
        self.busy: bool = False
        self.resized: set[StreamId] = set()
        self.closed: dict[StreamId, int] = {}


class _Transact(Protocol):
    def __call__(self, body: Callable[[Transaction], Awaitable[T]], /) -> Awaitable[T]: ...


class Sweeper:
    """Owns the sweeping task. `on_swept` is told of every step that was committed."""

    def __init__(self, transact: _Transact, now_ms: Callable[[], int], on_swept: Callable[[Swept], None]) -> None:
        self._transact = transact
        self._now_ms = now_ms
        self._on_swept = on_swept
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="perdure-sweeper")

    def wake(self) -> None:
        """Something was trimmed or deleted."""
        self._wake.set()

    async def aclose(self) -> None:
        """End after the step that is under way."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            pause = SWEEP_SECONDS * random.uniform(0.9, 1.1) if await self._round() else BUSY_SECONDS
            try:
                async with asyncio.timeout(0 if self._closing else pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> bool:
        """Sweep until nothing is left; False if something is, but not for us now."""
        try:
            while not self._closing:
                swept = await self._transact(lambda transaction: sweep_step(transaction, self._now_ms()))
                self._on_swept(swept)
                if not swept.elected or swept.busy:
                    return False
                if not swept.more:
                    return True
        except PerdureError as exc:
            logger.warning("sweeping failed and is tried again in a minute: %s", exc)
        except Exception:
            logger.exception("sweeping failed and is tried again in a minute")
        return True


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


async def sweep_step(transaction: Transaction, now_ms: int) -> Swept:
    """Do one small piece of work, unless another server is at it."""
    connection = transaction.connection
    swept = Swept()
    (elected,) = await connection.fetch(_TRY)
    if not elected[0]:
        swept.elected = False
        return swept
    await _close_streams_of_deleted_basins(transaction, now_ms, swept)
    rows = await connection.fetch(_DUE, now_ms, STEP_STREAMS)
    if not rows and not swept.more:
        (due,) = await connection.fetch(_IS_DUE, now_ms)
        if due[0]:
            await connection.execute(_WAIT_BRIEFLY)
            try:
                rows = await connection.fetch(_DUE_IN_USE, now_ms)
            except TransactionUndone:
                swept.busy, transaction.changed = True, False  # it is rolled back, and with it what became of basins
                return swept
    if rows:
        transaction.changed = swept.more = True
        allowance = _Allowance()
        for row in rows:
            await _sweep_stream(transaction, StreamId(cast(int, row[0])), now_ms, allowance, swept)
            if allowance.spent:
                break
    elif not swept.more and await connection.fetch(_FORGET_WRITERS + " RETURNING true", WRITER_ROWS_KEPT):
        transaction.changed = True
    return swept


async def _sweep_stream(
    transaction: Transaction, stream_id: StreamId, now_ms: int, allowance: _Allowance, swept: Swept
) -> None:
    connection = transaction.connection
    rows = await connection.fetch(_ABOUT, stream_id)
    trim_point, written_ms, config, deleted = cast("tuple[int, int, bytes, bool]", tuple(rows[0]))
    before = allowance.spent_bytes
    holds_blocks, due = await _remove_oldest(
        connection, stream_id, MAX_I64 if deleted else trim_point, now_ms, allowance
    )
    if deleted and not holds_blocks:
        await remember_activity(connection, stream_id)
        await connection.fetch(_PURGE, stream_id)
        return
    if deleted:
        due = 0
    elif holds_blocks:
        early = await _remove_early(connection, stream_id, now_ms, allowance)
        due = early if due is None else min(due, due if early is None else early)
    else:
        delete_after_secs = decode_stream_config(config).delete_on_empty_secs
        if delete_after_secs:
            due = saturated(written_ms + delete_after_secs * 1000)
            if due <= now_ms:
                await _mark_deleted(transaction, stream_id, now_ms, swept)
                due = 0
    removed_bytes = allowance.spent_bytes - before
    if removed_bytes:
        swept.resized.add(stream_id)
    await connection.fetch(_SWEPT, stream_id, removed_bytes, due)


async def _remove_oldest(
    connection: Connection, stream_id: StreamId, trim_point: int, now_ms: int, allowance: _Allowance
) -> tuple[bool, int | None]:
    """Remove unreadable blocks from the front; tells whether any block is left, and when the next one is due."""
    below: int | None = None
    holds_blocks, due = False, None
    for row in await connection.fetch(_OLDEST, stream_id, allowance.blocks + 1):
        start_seq, end_seq, expires_ms, size = cast("tuple[int, int, int | None, int]", tuple(row))
        if allowance.spent:
            holds_blocks, due = True, 0
            break
        if end_seq > trim_point and (expires_ms is None or expires_ms > now_ms):
            holds_blocks, due = True, expires_ms
            break
        allowance.spend(size)
        below = start_seq
    if below is not None:
        await connection.fetch(_REMOVE_UP_TO, stream_id, below)
    return holds_blocks, due


async def _remove_early(connection: Connection, stream_id: StreamId, now_ms: int, allowance: _Allowance) -> int | None:
    """Remove blocks that expired before older ones of their stream; tells when the next one is due."""
    removed: list[int] = []
    due: int | None = None
    for row in await connection.fetch(_EARLY, stream_id, max(allowance.blocks, 0) + 1):
        start_seq, expires_ms, size = cast("tuple[int, int, int]", tuple(row))
        if allowance.spent or expires_ms > now_ms:
            due = 0 if expires_ms <= now_ms else expires_ms
            break
        removed.append(start_seq)
        allowance.spend(size)
    if removed:
        await connection.fetch(_REMOVE, stream_id, removed)
    return due


async def _mark_deleted(transaction: Transaction, stream_id: StreamId, now_ms: int, swept: Swept) -> None:
    """Close a stream whose state is locked."""
    connection = transaction.connection
    known: Known = known_from_rows(await connection.fetch(LOAD, [stream_id]))[stream_id]
    if known.deleted:
        return  # by somebody else, just before the lock
    await close_stream(stream_id, known, now_ms, transaction)
    await connection.fetch(_MARK_DELETED, stream_id, datetime.fromtimestamp(now_ms / 1000, UTC))
    swept.closed[stream_id] = known.state.tail + 1


async def _close_streams_of_deleted_basins(transaction: Transaction, now_ms: int, swept: Swept) -> None:
    """A step of deleting basins: their streams first, then the basin itself."""
    connection = transaction.connection
    for (basin_id,) in await connection.fetch(_DELETED_BASINS):
        live = await connection.fetch(_LIVE_STREAMS, basin_id, CLOSED_STREAMS)
        for (stream_id,) in live:
            await _mark_deleted(transaction, StreamId(cast(int, stream_id)), now_ms, swept)
        if live:
            swept.more = True
            continue
        (found,) = await connection.fetch(_HAS_STREAMS, basin_id)
        if found[1]:
            swept.busy = True
        elif not found[0]:
            transaction.changed = True
            await connection.fetch(_REMOVE_BASIN, basin_id)
