"""Basins and streams as rows: reading, writing and listing the catalogue's entries."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeAlias, cast

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
from .connection import Connection, Row
from .group import Known, known_from_rows

_BasinRow: TypeAlias = "tuple[int, bytes, datetime, datetime | None, bytes, bytes | None, str | None]"
_StreamRow: TypeAlias = "tuple[int, bytes, datetime, datetime | None, str | None, bytes, bytes | None]"

_BASIN: Final = "SELECT basin_id, name, created_at, deleted_at, config, creation, location FROM basin "
_STREAM_COLUMNS: Final = "s.stream_id, s.name, s.created_at, s.deleted_at, s.cipher, s.config, s.creation"
_STREAM: Final = f"SELECT {_STREAM_COLUMNS} FROM stream s JOIN basin b USING (basin_id) "

_STREAM_TO_CHANGE: Final = (
    f"SELECT {_STREAM_COLUMNS}, t.stream_id, t.version, s.config, s.cipher, t.deleted, t.tail, t.last_timestamp, "
    "t.fencing_token, t.trim_point, t.kept_until_ms "
    "FROM stream s JOIN stream_state t USING (stream_id) WHERE s.basin_id = $1 AND s.name = $2 "
    "FOR NO KEY UPDATE OF s, t"
)
_ENTRY_COLUMNS: Final = 7

_LIST_BASINS: Final = _BASIN + "WHERE name > $1 AND name >= $2 ORDER BY name LIMIT $3"
_LIST_STREAMS: Final = (
    f"SELECT {_STREAM_COLUMNS} FROM stream s WHERE s.basin_id = (SELECT basin_id FROM basin WHERE name = $1) "
    "AND s.name > $2 AND s.name >= $3 ORDER BY s.name LIMIT $4"
)
_INSERT_BASIN: Final = (
    "INSERT INTO basin (name, created_at, deleted_at, config, creation, location) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT (name) DO NOTHING RETURNING basin_id"
)
_UPDATE_BASIN: Final = "UPDATE basin SET deleted_at = $2, config = $3, location = $4 WHERE basin_id = $1"
_INSERT_STREAM: Final = (
    "WITH made AS ("
    "INSERT INTO stream (basin_id, name, created_at, deleted_at, cipher, config, creation) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (basin_id, name) DO NOTHING RETURNING stream_id) "
    "INSERT INTO stream_state (stream_id, version, deleted, tail, last_timestamp, fencing_token, trim_point, "
    "written_ms, kept_until_ms, sweep_due_ms, stored_bytes) "
    "SELECT stream_id, 0, false, 0, 0, '', 0, $8, 0, $9::bigint, 0 FROM made RETURNING stream_id"
)
_UPDATE_STREAM: Final = (
    "WITH changed AS (UPDATE stream SET deleted_at = $2, config = $3 WHERE stream_id = $1) "
    "UPDATE stream_state SET version = version + 1, deleted = $4, sweep_due_ms = least(sweep_due_ms, $5::bigint) "
    "WHERE stream_id = $1"
)


def _basin_entry(row: Row) -> BasinEntry:
    basin_id, name, created_at, deleted_at, config, creation, location = cast(_BasinRow, tuple(row))
    return BasinEntry(
        name=name.decode(),
        created_at=created_at,
        config=decode_basin_config(config),
        deleted_at=deleted_at,
        creation=decode_basin_creation(creation),
        basin_id=BasinId(basin_id),
        location=location,
    )


def _stream_entry(basin: str, row: Row) -> StreamEntry:
    stream_id, name, created_at, deleted_at, cipher, config, creation = cast(_StreamRow, tuple(row))
    return StreamEntry(
        basin=basin,
        name=name.decode(),
        created_at=created_at,
        config=decode_stream_config(config),
        cipher=None if cipher is None else Cipher(cipher),
        deleted_at=deleted_at,
        creation=decode_stream_creation(creation),
        stream_id=StreamId(stream_id),
    )


async def get_basin(connection: Connection, name: str) -> BasinEntry | None:
    rows = await connection.fetch(_BASIN + "WHERE name = $1", name.encode())
    return _basin_entry(rows[0]) if rows else None


async def get_stream(connection: Connection, basin: str, name: str) -> StreamEntry | None:
    rows = await connection.fetch(_STREAM + "WHERE b.name = $1 AND s.name = $2", basin.encode(), name.encode())
    return _stream_entry(basin, rows[0]) if rows else None


async def list_basins(connection: Connection, prefix: str, start_after: str, limit: int) -> tuple[BasinEntry, ...]:
    found: list[BasinEntry] = []
    for row in await connection.fetch(_LIST_BASINS, start_after.encode(), prefix.encode(), limit):
        entry = _basin_entry(row)
        if not entry.name.startswith(prefix):
            break  # names with a common prefix stand together
        found.append(entry)
    return tuple(found)


async def list_streams(
    connection: Connection, basin: str, prefix: str, start_after: str, limit: int
) -> tuple[StreamEntry, ...]:
    found: list[StreamEntry] = []
    names = (basin.encode(), start_after.encode(), prefix.encode())
    for row in await connection.fetch(_LIST_STREAMS, *names, limit):
        entry = _stream_entry(basin, row)
        if not entry.name.startswith(prefix):
            break
        found.append(entry)
    return tuple(found)


# Inside a transaction that changes them -----------------------------------------------------------------


async def basin_to_change(connection: Connection, name: str) -> BasinEntry | None:
    """The basin, for whoever is about to change it: others wait."""
    rows = await connection.fetch(_BASIN + "WHERE name = $1 FOR NO KEY UPDATE", name.encode())
    return _basin_entry(rows[0]) if rows else None


async def basin_to_rely_on(connection: Connection, name: str) -> BasinEntry | None:
    """The basin, for whoever changes a stream of it: nobody changes it in the meantime."""
    rows = await connection.fetch(_BASIN + "WHERE name = $1 FOR SHARE", name.encode())
    return _basin_entry(rows[0]) if rows else None


async def stream_to_change(connection: Connection, basin: BasinEntry, name: str) -> tuple[StreamEntry, Known] | None:
    """The stream and its state, for whoever is about to change them: others wait, appends too.

    Both rows are locked by the statement that reads them, so both are as the last transaction left them.
    """
    rows = await connection.fetch(_STREAM_TO_CHANGE, basin.basin_id, name.encode())
    if not rows:
        return None
    entry, state = tuple(rows[0])[:_ENTRY_COLUMNS], tuple(rows[0])[_ENTRY_COLUMNS:]
    stream = _stream_entry(basin.name, entry)
    return stream, known_from_rows([state])[stream.stream_id]


async def insert_basin(connection: Connection, entry: BasinEntry) -> BasinId | None:
    """The id of the new basin; None if there is one of this name by now."""
    rows = await connection.fetch(
        _INSERT_BASIN,
        entry.name.encode(),
        entry.created_at,
        entry.deleted_at,
        encode_config(entry.config),
        encode_creation(entry.creation),
        entry.location,
    )
    return BasinId(cast(int, rows[0][0])) if rows else None


async def update_basin(connection: Connection, entry: BasinEntry) -> None:
    await connection.fetch(_UPDATE_BASIN, entry.basin_id, entry.deleted_at, encode_config(entry.config), entry.location)


async def insert_stream(
    connection: Connection, basin_id: BasinId, entry: StreamEntry, *, now_ms: int, sweep_due_ms: int | None
) -> StreamId | None:
    """The id of the new stream, which is empty; None if there is one of this name by now."""
    rows = await connection.fetch(
        _INSERT_STREAM,
        basin_id,
        entry.name.encode(),
        entry.created_at,
        entry.deleted_at,
        None if entry.cipher is None else entry.cipher.value,
        encode_config(entry.config),
        encode_creation(entry.creation),
        now_ms,
        sweep_due_ms,
    )
    return StreamId(cast(int, rows[0][0])) if rows else None


async def update_stream(connection: Connection, entry: StreamEntry, *, sweep_due_ms: int | None) -> None:
    """Write what of a stream may change, and have whoever remembers it look again."""
    await connection.fetch(
        _UPDATE_STREAM,
        entry.stream_id,
        entry.deleted_at,
        encode_config(entry.config),
        entry.deleted_at is not None,
        sweep_due_ms,
    )
