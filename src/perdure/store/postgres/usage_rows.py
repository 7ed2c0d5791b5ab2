"""The usage tables: adding to them, asking them, and forgetting what is old.

All of them are ordered by the hour first, so what is written now is together, and what is old goes from the front. The
minutes of the last days, and the hours of a month, are in tables of their own, so nothing is ever rolled up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, cast

from ...errors import StreamNotFound
from ..catalogue import StreamId
from ..usage import (
    ACCOUNT,
    HOURS_KEPT,
    MINUTES_KEPT_HOURS,
    StorageHistory,
    StorageSample,
    UsageCount,
    UsagePoint,
)
from .connection import Connection

HOUR_SECS: Final = 3600
MINUTE_SECS: Final = 60
HOUR_MINUTES: Final = 60

FORGOTTEN_AT_ONCE: Final = 5_000
"""Rows that one transaction removes."""

_ACCOUNT_ID: Final = 0

_BASIN_IDS: Final = "SELECT name, basin_id FROM basin WHERE name = ANY($1::bytea[])"
# Summed and in order: one statement may change a row but once, and servers that add at the same time do not meet
# crosswise.
_ADD_TO_MINUTE: Final = (
    "INSERT INTO usage_minute (hour, basin_id, metric_set, series, minute, value) "
    "SELECT minute / 60, basin_id, metric_set, series, minute, sum(value) "
    "FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[]) "
    "AS c (minute, basin_id, metric_set, series, value) GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 "
    "ON CONFLICT (hour, basin_id, metric_set, series, minute) DO UPDATE SET value = usage_minute.value + excluded.value"
)
_ADD_TO_HOUR: Final = (
    "INSERT INTO usage_hour (hour, basin_id, metric_set, series, value) "
    "SELECT minute / 60, basin_id, metric_set, series, sum(value) "
    "FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[]) "
    "AS c (minute, basin_id, metric_set, series, value) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 "
    "ON CONFLICT (hour, basin_id, metric_set, series) DO UPDATE SET value = usage_hour.value + excluded.value"
)
_COUNTS: Final = (
    "SELECT series, hour * 3600, value FROM usage_hour "
    "WHERE hour = ANY($3::bigint[]) AND basin_id = $1 AND metric_set = $2 "
    "UNION ALL SELECT series, minute * 60, value FROM usage_minute "
    "WHERE hour = ANY($4::bigint[]) AND basin_id = $1 AND metric_set = $2"
)
_SAMPLE: Final = (
    "INSERT INTO {table} (hour, stream_id, minute, stored_bytes) "
    "SELECT $1, stream_id, $2, stored_bytes FROM stream_state WHERE stream_id = ANY($3::bigint[]) ORDER BY stream_id "
    "ON CONFLICT ({key}) DO UPDATE SET minute = excluded.minute, stored_bytes = excluded.stored_bytes"
)
_SAMPLE_TABLES: Final = (
    ("stream_storage_minute", "hour, stream_id, minute"),
    ("stream_storage_hour", "hour, stream_id"),
)
_LEVEL: Final = "SELECT stored_bytes, written_ms FROM stream_state WHERE stream_id = $1"
_SAMPLES: Final = (
    "SELECT minute * 60, stored_bytes FROM stream_storage_hour WHERE hour = ANY($2::bigint[]) AND stream_id = $1 "
    "UNION ALL "
    "SELECT minute * 60, stored_bytes FROM stream_storage_minute WHERE hour = ANY($3::bigint[]) AND stream_id = $1 "
    "ORDER BY 1"
)
_BASIN_SAMPLES: Final = (
    "SELECT at_secs, stored_bytes FROM basin_storage WHERE hour = ANY($2::bigint[]) AND basin_id = $1 ORDER BY at_secs"
)
_BASIN_TOTAL: Final = (
    "SELECT coalesce(sum(t.stored_bytes), 0)::bigint FROM stream s JOIN stream_state t USING (stream_id) "
    "WHERE s.basin_id = $1"
)
_SAMPLE_BASINS: Final = (
    "INSERT INTO basin_storage (hour, basin_id, at_secs, stored_bytes) "
    "SELECT $1, b.basin_id, $2, coalesce(sum(t.stored_bytes), 0) FROM basin b "
    "LEFT JOIN stream s USING (basin_id) LEFT JOIN stream_state t USING (stream_id) "
    "GROUP BY b.basin_id ORDER BY b.basin_id ON CONFLICT DO NOTHING"
)
_FORGETTABLE: Final = (
    ("usage_minute", "hour, basin_id, metric_set, series, minute", MINUTES_KEPT_HOURS),
    ("stream_storage_minute", "hour, stream_id, minute", MINUTES_KEPT_HOURS),
    ("usage_hour", "hour, basin_id, metric_set, series", HOURS_KEPT),
    ("stream_storage_hour", "hour, stream_id", HOURS_KEPT),
    ("basin_storage", "hour, basin_id", HOURS_KEPT),
)
_LIFE: Final = (
    "SELECT b.name, s.created_at, s.deleted_at FROM stream s JOIN basin b USING (basin_id) WHERE s.stream_id = $1"
)
_OVERLAPPING: Final = "FROM past_activity WHERE basin = $1 AND from_secs <= $2 AND until_secs >= $3"
_ACTIVE: Final = (
    "SELECT b.name FROM basin b WHERE EXISTS (SELECT FROM stream s WHERE s.basin_id = b.basin_id "
    "AND s.created_at < $1 AND (s.deleted_at IS NULL OR s.deleted_at >= $2)) "
    "UNION SELECT basin FROM past_activity WHERE from_secs <= $3 AND until_secs >= $4 ORDER BY 1"
)


def hour_of(secs: int) -> int:
    return secs // HOUR_SECS


async def _basin_id(connection: Connection, basin: str) -> int | None:
    if basin == ACCOUNT:
        return _ACCOUNT_ID
    rows = await connection.fetch(_BASIN_IDS, [basin.encode()])
    return cast(int, rows[0][1]) if rows else None


# Counts -------------------------------------------------------------------------------------------


async def add_counts(connection: Connection, counts: Sequence[UsageCount]) -> None:
    """See `UsageBook.add`."""
    names = {count.key.basin.encode() for count in counts if count.key.basin != ACCOUNT}
    ids = {ACCOUNT: _ACCOUNT_ID}
    if names:
        for name, basin_id in cast("list[tuple[bytes, int]]", await connection.fetch(_BASIN_IDS, list(names))):
            ids[name.decode()] = basin_id
    kept = [count for count in counts if count.key.basin in ids]
    if not kept:
        return
    columns = (
        [count.minute for count in kept],
        [ids[count.key.basin] for count in kept],
        [count.key.metric_set for count in kept],
        [count.key.series for count in kept],
        [count.value for count in kept],
    )
    await connection.fetch(_ADD_TO_MINUTE, *columns)
    await connection.fetch(_ADD_TO_HOUR, *columns)


async def read_counts(
    connection: Connection,
    basin: str,
    metric_set: str,
    start_secs: int,
    end_secs: int,
    *,
    by_minute: bool,
    now_secs: int,
) -> tuple[UsagePoint, ...]:
    """See `UsageBook.counts`."""
    basin_id = await _basin_id(connection, basin)
    if basin_id is None:
        return ()
    first, end = hour_of(start_secs), hour_of(end_secs)
    apart = max(first, hour_of(now_secs) - MINUTES_KEPT_HOURS) if by_minute else end
    by_hour, apart_hours = list(range(first, min(apart, end))), list(range(apart, end))
    rows = await connection.fetch(_COUNTS, basin_id, metric_set, by_hour, apart_hours)
    return tuple([UsagePoint(*cast("tuple[str, int, int]", tuple(row))) for row in rows])


# Storage ------------------------------------------------------------------------------------------


async def sample_streams(connection: Connection, streams: Iterable[StreamId], minute: int) -> None:
    """Note what these streams hold now, as the level at the beginning of `minute`, without those that are gone."""
    wanted = list(streams)
    for table, key in _SAMPLE_TABLES:
        await connection.fetch(_SAMPLE.format(table=table, key=key), minute // HOUR_MINUTES, minute, wanted)


async def stream_history(connection: Connection, stream: StreamId, now_secs: int) -> StorageHistory:
    """See `UsageBook.stream_storage`."""
    now = hour_of(now_secs)
    apart = now - MINUTES_KEPT_HOURS
    hours = list(range(now - HOURS_KEPT, apart))
    # The samples first: a level that is newer than they are is right, samples that are newer than the level are not.
    samples = _samples(await connection.fetch(_SAMPLES, stream, hours, list(range(apart, now + 1))))
    rows = await connection.fetch(_LEVEL, stream)
    if not rows:
        raise StreamNotFound("the stream does not exist any more")
    stored_bytes, written_ms = cast("tuple[int, int]", tuple(rows[0]))
    return StorageHistory(stored_bytes, samples, written_ms // 1000)


def _samples(rows: Sequence[Sequence[object]]) -> tuple[StorageSample, ...]:
    return tuple([StorageSample(*cast("tuple[int, int]", tuple(row))) for row in rows])


async def basin_history(connection: Connection, basin: str, start_secs: int, end_secs: int) -> StorageHistory:
    """See `UsageBook.basin_storage`."""
    basin_id = await _basin_id(connection, basin)
    if basin_id is None:
        return StorageHistory(0, ())
    hours = list(range(hour_of(start_secs), hour_of(end_secs) + 1))
    samples = _samples(await connection.fetch(_BASIN_SAMPLES, basin_id, hours))
    (total,) = await connection.fetch(_BASIN_TOTAL, basin_id)
    return StorageHistory(cast(int, total[0]), samples)


async def sample_basins(connection: Connection, at_secs: int) -> bool:
    """Note what basins hold; False if that was done for this hour already."""
    (noted,) = await connection.fetch("SELECT EXISTS (SELECT FROM basin_storage WHERE hour = $1)", hour_of(at_secs))
    if noted[0]:
        return False
    await connection.fetch(_SAMPLE_BASINS, hour_of(at_secs), at_secs)
    return True


async def forget_old(connection: Connection, now_secs: int) -> bool:
    """Remove some of what is too old; True if there may be more."""
    hour = hour_of(now_secs)
    for table, key, kept_hours in _FORGETTABLE:
        removed = await connection.fetch(
            f"DELETE FROM {table} WHERE ({key}) IN "
            f"(SELECT {key} FROM {table} WHERE hour < $1 ORDER BY {key} LIMIT {FORGOTTEN_AT_ONCE}) RETURNING true",
            hour - kept_hours,
        )
        if removed:
            return True
    await connection.fetch("DELETE FROM past_activity WHERE until_secs < $1", (hour - HOURS_KEPT) * HOUR_SECS)
    return False


# Activity -----------------------------------------------------------------------------------------


async def remember_activity(connection: Connection, stream: StreamId) -> None:
    """Before the row of a deleted stream goes: from when to when its basin had it, joined with what was known."""
    rows = await connection.fetch(_LIFE, stream)
    basin, created_at, deleted_at = cast("tuple[bytes, datetime, datetime]", tuple(rows[0]))
    from_secs = int(created_at.timestamp()) // MINUTE_SECS * MINUTE_SECS
    until_secs = -(-int(deleted_at.timestamp()) // MINUTE_SECS) * MINUTE_SECS
    until_secs = max(until_secs, from_secs)  # the clock may have been set back
    removed = await connection.fetch(
        f"DELETE {_OVERLAPPING} RETURNING from_secs, until_secs", basin, until_secs, from_secs
    )
    for known_from, known_until in cast("list[tuple[int, int]]", removed):
        from_secs, until_secs = min(from_secs, known_from), max(until_secs, known_until)
    await connection.fetch(
        "INSERT INTO past_activity VALUES ($1, $2, $3) "
        "ON CONFLICT (basin, from_secs) "
        "DO UPDATE SET until_secs = greatest(past_activity.until_secs, excluded.until_secs)",
        basin,
        from_secs,
        until_secs,
    )


async def active_basins(connection: Connection, start_secs: int, end_secs: int) -> tuple[str, ...]:
    """See `UsageBook.active_basins`."""
    rows = await connection.fetch(_ACTIVE, _time(end_secs + 1), _time(start_secs), end_secs, start_secs)
    return tuple([cast(bytes, row[0]).decode() for row in rows])


def _time(secs: int) -> datetime:
    return datetime.fromtimestamp(secs, UTC)
