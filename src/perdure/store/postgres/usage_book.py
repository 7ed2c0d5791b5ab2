"""What the replicated engine keeps about the use of its basins and streams: `perdure.store.usage.UsageBook`.

The tables are in the streams' own database, so a backup of the one is a backup of the other. Nobody is elected to take
samples: each server notes the level of the streams that it changed itself, and what is noted once an hour is noted by
whoever comes first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

from ..catalogue import StreamId
from ..usage import StorageHistory, UsageCount, UsagePoint
from . import usage_rows as rows
from .connection import Connection
from .session import Transaction

T = TypeVar("T")

SAMPLED_AT_ONCE: Final = 512
"""Streams whose level is noted in one transaction."""


class _Query(Protocol):
    def __call__(self, query: Callable[[Connection], Awaitable[T]], /) -> Awaitable[T]: ...


class _Change(Protocol):
    def __call__(self, run: Callable[[Transaction], Awaitable[T]], /) -> Awaitable[T]: ...


class PostgresUsageBook:
    """Implements `UsageBook`, on the event loop of its engine."""

    def __init__(self, query: _Query, change: _Change, now_ms: Callable[[], int]) -> None:
        self._query = query
        self._change = change
        self._now_ms = now_ms
        self._resized: set[StreamId] | None = None
        self._kept_hour: int | None = None

    def resized(self, streams: Iterable[StreamId]) -> None:
        """This server committed something that changed how much these streams hold."""
        if self._resized is not None:
            self._resized.update(streams)

    def _now_secs(self) -> int:
        return self._now_ms() // 1000

    async def add(self, counts: Sequence[UsageCount]) -> None:
        async def run(transaction: Transaction) -> None:
            transaction.changed = bool(counts)
            await rows.add_counts(transaction.connection, counts)

        await self._change(run)

    async def counts(
        self, basin: str, metric_set: str, start_secs: int, end_secs: int, *, by_minute: bool
    ) -> tuple[UsagePoint, ...]:
        now = self._now_secs()
        return await self._query(
            lambda connection: rows.read_counts(
                connection, basin, metric_set, start_secs, end_secs, by_minute=by_minute, now_secs=now
            )
        )

    async def sample(self) -> None:
        now = self._now_secs()
        if self._resized is None:
            self._resized = set()
        await self._sample_streams(now // rows.MINUTE_SECS)
        if self._kept_hour != rows.hour_of(now):
            await self._keep_hour(now)
            self._kept_hour = rows.hour_of(now)

    async def _sample_streams(self, minute: int) -> None:
        assert self._resized is not None, "the first call begins to take notice"
        waiting, self._resized = self._resized, set()
        streams = sorted(waiting)
        try:
            for first in range(0, len(streams) or 1, SAMPLED_AT_ONCE):
                chunk = streams[first : first + SAMPLED_AT_ONCE]
                await self._change(lambda transaction: _sample_streams(chunk, minute, transaction))  # noqa: B023  # awaited
                waiting.difference_update(chunk)
        finally:
            self._resized |= waiting

    async def _keep_hour(self, now_secs: int) -> None:
        if await self._change(lambda transaction: _sample_basins(now_secs, transaction)):
            while await self._change(lambda transaction: _forget_old(now_secs, transaction)):
                pass

    async def stream_storage(self, stream: StreamId) -> StorageHistory:
        now = self._now_secs()
        return await self._query(lambda connection: rows.stream_history(connection, stream, now))

    async def basin_storage(self, basin: str, start_secs: int, end_secs: int) -> StorageHistory:
        return await self._query(lambda connection: rows.basin_history(connection, basin, start_secs, end_secs))

    async def active_basins(self, start_secs: int, end_secs: int) -> tuple[str, ...]:
        return await self._query(lambda connection: rows.active_basins(connection, start_secs, end_secs))


async def _sample_streams(streams: Sequence[StreamId], minute: int, transaction: Transaction) -> None:
    if streams:
        transaction.changed = True
        await rows.sample_streams(transaction.connection, streams, minute)


async def _sample_basins(now_secs: int, transaction: Transaction) -> bool:
    transaction.changed = await rows.sample_basins(transaction.connection, now_secs)
    return transaction.changed


async def _forget_old(now_secs: int, transaction: Transaction) -> bool:
    transaction.changed = True
    return await rows.forget_old(transaction.connection, now_secs)
