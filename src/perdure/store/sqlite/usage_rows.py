"""The usage tables: adding to them, asking them, and forgetting what is old.

All of them are ordered by the hour first. What is written now is then together on few pages, whatever basins and
streams it is about, and what is old goes from the front; a question looks at each of the hours that it is about.
The minutes of the last days, and the hours of a month, are in tables of their own, so nothing is ever rolled up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, cast

import apsw

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

HOUR_SECS: Final = 3600
MINUTE_SECS: Final = 60
HOUR_MINUTES: Final = 60

FORGOTTEN_AT_ONCE: Final = 2_000
"""Rows that one transaction removes, which holds up the appends that share it by some milliseconds."""

_ACCOUNT_ID: Final = 0

_BASIN_ID: Final = "SELECT basin_id FROM basin WHERE name = ?"
_ADD_TO_MINUTE: Final = (
    "INSERT INTO usage_minute (hour, basin_id, metric_set, series, minute, value) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET value = value + excluded.value"
)
_ADD_TO_HOUR: Final = (
    "INSERT INTO usage_hour (hour, basin_id, metric_set, series, value) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET value = value + excluded.value"
)
_MINUTES: Final = (
    "SELECT series, minute * 60, value FROM usage_minute "
    "WHERE hour IN (SELECT value FROM json_each(?)) AND basin_id = ? AND metric_set = ?"
)
_HOURS: Final = (
    "SELECT series, hour * 3600, value FROM usage_hour "
    "WHERE hour IN (SELECT value FROM json_each(?)) AND basin_id = ? AND metric_set = ?"
)
_SAMPLE: Final = (
    "INSERT INTO {table} (hour, stream_id, minute, stored_bytes) "
    "SELECT ?, stream_id, ?, stored_bytes FROM stream_state WHERE stream_id IN (SELECT value FROM json_each(?)) "
    "ON CONFLICT DO UPDATE SET minute = excluded.minute, stored_bytes = excluded.stored_bytes"
)
_SAMPLES: Final = (
    "SELECT minute * 60, stored_bytes FROM {table} "
    "WHERE hour IN (SELECT value FROM json_each(?)) AND stream_id = ? ORDER BY minute"
)
_BASIN_SAMPLES: Final = (
    "SELECT at_secs, stored_bytes FROM basin_storage "
    "WHERE hour IN (SELECT value FROM json_each(?)) AND basin_id = ? ORDER BY at_secs"
)
_BASIN_TOTAL: Final = (
    "SELECT ifnull(sum(t.stored_bytes), 0) FROM stream s JOIN stream_state t USING (stream_id) WHERE s.basin_id = ?"
)
_BASIN_TOTALS: Final = (
    "SELECT b.basin_id, ifnull(sum(t.stored_bytes), 0) FROM basin b "
    "LEFT JOIN stream s USING (basin_id) LEFT JOIN stream_state t USING (stream_id) GROUP BY b.basin_id"
)
_FORGETTABLE: Final = (
    ("usage_minute", "hour, basin_id, metric_set, series, minute", MINUTES_KEPT_HOURS),
    ("stream_storage_minute", "hour, stream_id, minute", MINUTES_KEPT_HOURS),
    ("usage_hour", "hour, basin_id, metric_set, series", HOURS_KEPT),
    ("stream_storage_hour", "hour, stream_id", HOURS_KEPT),
    ("basin_storage", "hour, basin_id", HOURS_KEPT),
)
_ACTIVE: Final = (
    "SELECT b.name FROM basin b WHERE EXISTS (SELECT 1 FROM stream s WHERE s.basin_id = b.basin_id "
    "AND s.created_at < ?1 AND (s.deleted_at IS NULL OR s.deleted_at >= ?2)) "
    "UNION SELECT basin FROM past_activity WHERE from_secs <= ?3 AND until_secs >= ?4 ORDER BY 1"
)


def hour_of(secs: int) -> int:
    return secs // HOUR_SECS


def _basin_id(connection: apsw.Connection, basin: str) -> int | None:
    if basin == ACCOUNT:
        return _ACCOUNT_ID
    return cast("int | None", connection.execute(_BASIN_ID, (basin,)).get)


def _hours(first: int, end: int) -> str:
    return json.dumps(list(range(first, end)))


# Counts -------------------------------------------------------------------------------------------


def add_counts(connection: apsw.Connection, counts: Sequence[UsageCount]) -> None:
    """See `UsageBook.add`."""
    ids = {basin: _basin_id(connection, basin) for basin in {count.key.basin for count in counts}}
    minutes: list[tuple[int, int, str, str, int, int]] = []
    hours: list[tuple[int, int, str, str, int]] = []
    for minute, (basin, metric_set, series), value in counts:
        basin_id = ids[basin]
        if basin_id is not None:
            hour = minute // HOUR_MINUTES
            minutes.append((hour, basin_id, metric_set, series, minute, value))
            hours.append((hour, basin_id, metric_set, series, value))
    connection.executemany(_ADD_TO_MINUTE, minutes)
    connection.executemany(_ADD_TO_HOUR, hours)


def read_counts(
    connection: apsw.Connection,
    basin: str,
    metric_set: str,
    start_secs: int,
    end_secs: int,
    *,
    by_minute: bool,
    now_secs: int,
) -> tuple[UsagePoint, ...]:
    """See `UsageBook.counts`."""
    basin_id = _basin_id(connection, basin)
    if basin_id is None:
        return ()
    first, end = hour_of(start_secs), hour_of(end_secs)
    apart = max(first, hour_of(now_secs) - MINUTES_KEPT_HOURS) if by_minute else end
    points: list[UsagePoint] = []
    for query, hours in ((_HOURS, _hours(first, min(apart, end))), (_MINUTES, _hours(apart, end))):
        rows = connection.execute(query, (hours, basin_id, metric_set))
        points += [UsagePoint(*cast(tuple[str, int, int], row)) for row in rows]
    return tuple(points)


# Storage ------------------------------------------------------------------------------------------


def sample_streams(connection: apsw.Connection, streams: Iterable[StreamId], minute: int) -> None:
    """Note what these streams hold now, as the level at the beginning of `minute`, without those that are gone."""
    wanted = json.dumps(list(streams))
    for table in ("stream_storage_minute", "stream_storage_hour"):
        connection.execute(_SAMPLE.format(table=table), (minute // HOUR_MINUTES, minute, wanted))


def stream_history(connection: apsw.Connection, stream: StreamId, now_secs: int) -> StorageHistory:
    """See `UsageBook.stream_storage`."""
    with connection:  # one view of the level and the samples
        row = connection.execute(
            "SELECT stored_bytes, written_ms FROM stream_state WHERE stream_id = ?", (stream,)
        ).fetchone()
        if row is None:
            raise StreamNotFound("the stream does not exist any more")
        now = hour_of(now_secs)
        apart = now - MINUTES_KEPT_HOURS
        samples: list[StorageSample] = []
        for table, hours in (
            ("stream_storage_hour", _hours(now - HOURS_KEPT, apart)),
            ("stream_storage_minute", _hours(apart, now + 1)),
        ):
            samples += _samples(connection, _SAMPLES.format(table=table), hours, stream)
    stored_bytes, written_ms = cast(tuple[int, int], row)
    return StorageHistory(stored_bytes, tuple(samples), written_ms // 1000)


def _samples(connection: apsw.Connection, query: str, hours: str, of: int) -> list[StorageSample]:
    return [StorageSample(*cast(tuple[int, int], row)) for row in connection.execute(query, (hours, of))]


def basin_history(connection: apsw.Connection, basin: str, start_secs: int, end_secs: int) -> StorageHistory:
    """See `UsageBook.basin_storage`."""
    basin_id = _basin_id(connection, basin)
    if basin_id is None:
        return StorageHistory(0, ())
    hours = _hours(hour_of(start_secs), hour_of(end_secs) + 1)
    samples = _samples(connection, _BASIN_SAMPLES, hours, basin_id)
    return StorageHistory(cast(int, connection.execute(_BASIN_TOTAL, (basin_id,)).get), tuple(samples))


def basin_totals(connection: apsw.Connection, hour: int) -> list[tuple[int, int]] | None:
    """What each basin holds, by its id; None if that was noted for this hour already."""
    if connection.execute("SELECT EXISTS (SELECT 1 FROM basin_storage WHERE hour = ?)", (hour,)).get:
        return None
    return [cast(tuple[int, int], row) for row in connection.execute(_BASIN_TOTALS)]


def sample_basins(connection: apsw.Connection, totals: Sequence[tuple[int, int]], at_secs: int) -> None:
    """Note what basins hold; where another process was faster, what it noted stays."""
    connection.executemany(
        "INSERT INTO basin_storage (hour, basin_id, at_secs, stored_bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(hour_of(at_secs), basin_id, at_secs, stored_bytes) for basin_id, stored_bytes in totals],
    )


def forget_old(connection: apsw.Connection, now_secs: int) -> bool:
    """Remove some of what is too old; True if there may be more."""
    hour = hour_of(now_secs)
    for table, key, kept_hours in _FORGETTABLE:
        connection.execute(
            f"DELETE FROM {table} WHERE ({key}) IN "
            f"(SELECT {key} FROM {table} WHERE hour < ? ORDER BY {key} LIMIT {FORGOTTEN_AT_ONCE})",
            (hour - kept_hours,),
        )
        if connection.changes():
            return True
    connection.execute("DELETE FROM past_activity WHERE until_secs < ?", ((hour - HOURS_KEPT) * HOUR_SECS,))
    return False


# Activity -----------------------------------------------------------------------------------------


def remember_activity(connection: apsw.Connection, stream: StreamId) -> None:
    """Before the row of a deleted stream goes: from when to when its basin had it, joined with what was known."""
    row = connection.execute(
        "SELECT b.name, s.created_at, s.deleted_at FROM stream s JOIN basin b USING (basin_id) WHERE s.stream_id = ?",
        (stream,),
    ).fetchone()
    basin, created_at, deleted_at = cast(tuple[str, str, str], row)
    from_secs = int(datetime.fromisoformat(created_at).timestamp()) // MINUTE_SECS * MINUTE_SECS
    until_secs = -(-int(datetime.fromisoformat(deleted_at).timestamp()) // MINUTE_SECS) * MINUTE_SECS
    until_secs = max(until_secs, from_secs)  # the clock may have been set back
    overlapping = "FROM past_activity WHERE basin = ? AND from_secs <= ? AND until_secs >= ?"
    bounds = (basin, until_secs, from_secs)
    for known in connection.execute(f"SELECT from_secs, until_secs {overlapping}", bounds).fetchall():
        known_from, known_until = cast(tuple[int, int], known)
        from_secs, until_secs = min(from_secs, known_from), max(until_secs, known_until)
    connection.execute(f"DELETE {overlapping}", bounds)
    connection.execute("INSERT INTO past_activity VALUES (?, ?, ?)", (basin, from_secs, until_secs))


def active_basins(connection: apsw.Connection, start_secs: int, end_secs: int) -> tuple[str, ...]:
    """See `UsageBook.active_basins`."""
    bounds = (_text(end_secs + 1), _text(start_secs), end_secs, start_secs)
    return tuple(str(name) for (name,) in connection.execute(_ACTIVE, bounds))


def _text(secs: int) -> str:
    """As times stand in the catalogue's rows, where they sort as text."""
    return datetime.fromtimestamp(secs, UTC).isoformat()
