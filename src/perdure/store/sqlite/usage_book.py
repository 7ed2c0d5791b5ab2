"""What the embedded engine keeps about the use of its basins and streams: `perdure.store.usage.UsageBook`.

The tables are in the streams' own database, so a backup of the one is a backup of the other. Nobody is elected to
take samples: each process notes the level of the streams that it changed itself, and what is noted once an hour is
noted by whoever comes first. What processes change that keep no usage is noted with the next change by one that does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import apsw

from ..catalogue import StreamId
from ..usage import StorageHistory, UsageCount, UsagePoint
from . import usage_rows as rows
from .write_items import WriteContext

T = TypeVar("T")

SAMPLED_AT_ONCE: Final = 256
"""Streams whose level is noted in one transaction."""


class _Query(Protocol):
    def __call__(self, query: Callable[[apsw.Connection], T], /) -> Awaitable[T]: ...


class _Submit(Protocol):
    def __call__(self, run: Callable[[WriteContext], T], /) -> Awaitable[T]: ...


class SqliteUsageBook:
    """Implements `UsageBook`, on the event loop of its engine."""

    def __init__(self, query: _Query, submit: _Submit, now_ms: Callable[[], int]) -> None:
        self._query = query
        self._submit = submit
        self._now_ms = now_ms
        self._resized: set[StreamId] | None = None
        self._kept_hour: int | None = None

    def resized(self, streams: Iterable[StreamId]) -> None:
        """This process committed something that changed how much these streams hold."""
        if self._resized is not None:
            self._resized.update(streams)

    def _now_secs(self) -> int:
        return self._now_ms() // 1000

    async def add(self, counts: Sequence[UsageCount]) -> None:
        await self._submit(lambda context: rows.add_counts(context.connection, counts))

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
        if self._resized:
            await self._sample_streams(now // rows.MINUTE_SECS)
        elif self._resized is None:
            self._resized = set()
        if self._kept_hour != rows.hour_of(now):
            await self._keep_hour(now)
            self._kept_hour = rows.hour_of(now)

    async def _sample_streams(self, minute: int) -> None:
        assert self._resized is not None, "there is something in it"
        waiting, self._resized = self._resized, set()
        streams = sorted(waiting)
        try:
            for first in range(0, len(streams), SAMPLED_AT_ONCE):
                chunk = streams[first : first + SAMPLED_AT_ONCE]
                await self._submit(partial(_sample_streams, chunk, minute))
                waiting.difference_update(chunk)
        finally:
            self._resized |= waiting

    async def _keep_hour(self, now_secs: int) -> None:
        totals = await self._query(lambda connection: rows.basin_totals(connection, rows.hour_of(now_secs)))
        if totals is not None:
            await self._submit(lambda context: rows.sample_basins(context.connection, totals, now_secs))
            while await self._submit(lambda context: rows.forget_old(context.connection, now_secs)):
                pass

    async def stream_storage(self, stream: StreamId) -> StorageHistory:
        now = self._now_secs()
        return await self._query(lambda connection: rows.stream_history(connection, stream, now))

    async def basin_storage(self, basin: str, start_secs: int, end_secs: int) -> StorageHistory:
        return await self._query(lambda connection: rows.basin_history(connection, basin, start_secs, end_secs))

    async def active_basins(self, start_secs: int, end_secs: int) -> tuple[str, ...]:
        return await self._query(lambda connection: rows.active_basins(connection, start_secs, end_secs))


def _sample_streams(streams: Sequence[StreamId], minute: int, context: WriteContext) -> None:
    rows.sample_streams(context.connection, streams, minute)
