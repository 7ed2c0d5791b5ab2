"""Basins and streams as rows: reading, writing and listing the catalogue's entries."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeAlias, cast

import apsw

from ...model.configs import Cipher
from ..catalogue import BasinEntry, BasinId, StreamEntry, StreamId
from ..entry_coding import (
    decode_basin_config,
    decode_basin_creation,
    decode_stream_config,
    decode_stream_creation,
    encode_config,
    encode_creation,
)

_BasinRow: TypeAlias = tuple[int, str, str, str | None, bytes, bytes | None, str | None]
_StreamRow: TypeAlias = tuple[int, str, str, str, str | None, str | None, bytes, bytes | None]

_BASIN: Final = "SELECT basin_id, name, created_at, deleted_at, config, creation, location FROM basin "
_STREAM: Final = (
    "SELECT s.stream_id, b.name, s.name, s.created_at, s.deleted_at, s.cipher, s.config, s.creation "
    "FROM stream s JOIN basin b USING (basin_id) "
)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _basin_entry(row: _BasinRow) -> BasinEntry:
    basin_id, name, created_at, deleted_at, config, creation, location = row
    return BasinEntry(
        name=name,
        created_at=datetime.fromisoformat(created_at),
        config=decode_basin_config(config),
        deleted_at=_time(deleted_at),
        creation=decode_basin_creation(creation),
        basin_id=BasinId(basin_id),
        location=location,
    )


def _stream_entry(row: _StreamRow) -> StreamEntry:
    stream_id, basin, name, created_at, deleted_at, cipher, config, creation = row
    return StreamEntry(
        basin=basin,
        name=name,
        created_at=datetime.fromisoformat(created_at),
        config=decode_stream_config(config),
        cipher=None if cipher is None else Cipher(cipher),
        deleted_at=_time(deleted_at),
        creation=decode_stream_creation(creation),
        stream_id=StreamId(stream_id),
    )


def get_basin(connection: apsw.Connection, name: str) -> BasinEntry | None:
    for row in connection.execute(_BASIN + "WHERE name = ?", (name,)):
        return _basin_entry(cast(_BasinRow, row))
    return None


def get_stream(connection: apsw.Connection, basin: str, name: str) -> StreamEntry | None:
    for row in connection.execute(_STREAM + "WHERE b.name = ? AND s.name = ?", (basin, name)):
        return _stream_entry(cast(_StreamRow, row))
    return None


def list_basins(connection: apsw.Connection, prefix: str, start_after: str, limit: int) -> tuple[BasinEntry, ...]:
    found: list[BasinEntry] = []
    query = _BASIN + "WHERE name > ? AND name >= ? ORDER BY name LIMIT ?"
    for row in connection.execute(query, (start_after, prefix, limit)):
        entry = _basin_entry(cast(_BasinRow, row))
        if not entry.name.startswith(prefix):
            break  # names with a common prefix stand together
        found.append(entry)
    return tuple(found)


def list_streams(
    connection: apsw.Connection, basin: str, prefix: str, start_after: str, limit: int
) -> tuple[StreamEntry, ...]:
    found: list[StreamEntry] = []
    query = _STREAM + (
        "WHERE s.basin_id = (SELECT basin_id FROM basin WHERE name = ?) AND s.name > ? AND s.name >= ? "
        "ORDER BY s.name LIMIT ?"
    )
    for row in connection.execute(query, (basin, start_after, prefix, limit)):
        entry = _stream_entry(cast(_StreamRow, row))
        if not entry.name.startswith(prefix):
            break
        found.append(entry)
    return tuple(found)


def put_basin(connection: apsw.Connection, entry: BasinEntry) -> BasinEntry:
    """Write a new or changed basin; the entry comes back with its id."""
    connection.execute(
        "INSERT INTO basin (name, created_at, deleted_at, config, creation, location) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET deleted_at = excluded.deleted_at, config = excluded.config, "
        "location = excluded.location",
        (
            entry.name,
            _text(entry.created_at),
            _text(entry.deleted_at),
            encode_config(entry.config),
            encode_creation(entry.creation),
            entry.location,
        ),
    )
    stored = get_basin(connection, entry.name)
    assert stored is not None, "a basin that was just written is there"
    return stored


def put_stream(connection: apsw.Connection, basin_id: BasinId, entry: StreamEntry, now_ms: int) -> StreamEntry:
    """Write a new or changed stream, a new one with its empty state; the entry comes back with its id."""
    connection.execute(
        "INSERT INTO stream (basin_id, name, created_at, deleted_at, cipher, config, creation) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (basin_id, name) "
        "DO UPDATE SET deleted_at = excluded.deleted_at, config = excluded.config",
        (
            basin_id,
            entry.name,
            _text(entry.created_at),
            _text(entry.deleted_at),
            None if entry.cipher is None else entry.cipher.value,
            encode_config(entry.config),
            encode_creation(entry.creation),
        ),
    )
    stored = get_stream(connection, entry.basin, entry.name)
    assert stored is not None, "a stream that was just written is there"
    connection.execute(
        "INSERT INTO stream_state VALUES (?, 0, 0, '', 0, ?, 0, NULL, 0) ON CONFLICT DO NOTHING",
        (stored.stream_id, now_ms),
    )
    return stored
