"""The tables of the embedded engine, their version, and how a connection is opened.

`block` is in commit order: appending to the end of one table is two to three times as fast as
keeping blocks clustered by stream, and other processes find what is new by `commit_id > last`.
The state of a stream is a row of its own, small and hot, apart from its configuration.

Sequence numbers, trim points and times in milliseconds are plain integers. A record's timestamp is
whatever a client sent, up to 2^64 - 1: `stream_state.last_timestamp` keeps all 64 bits (as SQLite's
signed integer), `block.last_timestamp` is cut at 2^63 - 1, since it only guides a search.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import apsw

from ...errors import StorageFailed, UsageError

APPLICATION_ID: Final = 0x50657244  # "PerD"
FORMAT_VERSION: Final = 1
"""The version of the tables. A change adds a step to `_MIGRATIONS`; old directories keep working."""

PAGE_BYTES: Final = 8192
"""Measured: twice the rate of 4 KiB at 1 MiB blocks, and still a tenth above it for a lone small append."""

BUSY_TIMEOUT_MS: Final = 10_000
"""How long to wait for a program that holds SQLite's own lock, such as a backup or a shell."""

WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Beyond this the writer itself finishes the checkpoint, so the log cannot grow to the size of the data."""

_TABLES: Final = """
CREATE TABLE basin (
    basin_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT NOT NULL UNIQUE,
    location        TEXT,
    created_at      TEXT NOT NULL,
    deleted_at      TEXT,
    config          BLOB NOT NULL,
    creation        BLOB
);
CREATE TABLE stream (
    stream_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    basin_id        INTEGER NOT NULL REFERENCES basin,
    name            TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    deleted_at      TEXT,
    cipher          TEXT,
    config          BLOB NOT NULL,
    creation        BLOB,
    UNIQUE (basin_id, name)
);
CREATE TABLE stream_state (
    stream_id       INTEGER PRIMARY KEY REFERENCES stream,
    tail            INTEGER NOT NULL,
    last_timestamp  INTEGER NOT NULL,
    fencing_token   TEXT NOT NULL,
    trim_point      INTEGER NOT NULL,
    written_ms      INTEGER NOT NULL,
    sweep_due_ms    INTEGER
);
CREATE INDEX stream_state_by_sweep ON stream_state (sweep_due_ms) WHERE sweep_due_ms IS NOT NULL;
CREATE TABLE block (
    commit_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id       INTEGER NOT NULL,
    start_seq       INTEGER NOT NULL,
    end_seq         INTEGER NOT NULL,
    last_timestamp  INTEGER NOT NULL,
    metered_bytes   INTEGER NOT NULL,
    stored_ms       INTEGER NOT NULL,
    expires_ms      INTEGER,
    body            BLOB NOT NULL
);
CREATE UNIQUE INDEX block_by_seq ON block (stream_id, start_seq);
CREATE TABLE access_token (
    token_id        TEXT PRIMARY KEY,
    secret_hash     BLOB NOT NULL UNIQUE,
    expires_at      TEXT,
    info            BLOB NOT NULL
) WITHOUT ROWID;
"""

_MIGRATIONS: Final[dict[int, str]] = {}
"""From each older version to the next."""

_MAX_I64: Final = 2**63 - 1
_U64: Final = 2**64


def to_i64(value: int) -> int:
    """An unsigned 64-bit number as SQLite keeps it."""
    return value if value <= _MAX_I64 else value - _U64


def from_i64(value: int) -> int:
    return value if value >= 0 else value + _U64


def saturated(value: int) -> int:
    """An unsigned 64-bit number cut to what SQLite can order."""
    return min(value, _MAX_I64)


def connect(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """A connection with our settings. An ack means on disk, hence `synchronous = FULL`."""
    connection = apsw.Connection(os.fspath(path), vfs=vfs)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("synchronous", "full")
    connection.wal_autocheckpoint(0)
    connection.pragma("cache_size", -32 * 1024)
    connection.pragma("journal_size_limit", WAL_LIMIT_BYTES)
    return connection


def prepare(connection: apsw.Connection) -> None:
    """Create the tables, or bring them to this version; the caller keeps other processes out.

    Raises `UsageError` if the file belongs to another program or to a newer version.
    """
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if tables == 0:
        connection.pragma("page_size", PAGE_BYTES)
        if connection.pragma("journal_mode", "wal") != "wal":
            raise StorageFailed("the data directory does not allow SQLite's write-ahead log; use a local disk")
        _run(connection, _TABLES, FORMAT_VERSION)
        return
    if application != APPLICATION_ID:
        raise UsageError("the database in the data directory was not made by Perdure; choose another directory")
    if version > FORMAT_VERSION:
        raise UsageError(
            f"the data directory has format version {version}, this Perdure knows up to {FORMAT_VERSION}; "
            "use a newer Perdure"
        )
    for step in range(version, FORMAT_VERSION):
        _run(connection, _MIGRATIONS[step], step + 1)


def _run(connection: apsw.Connection, script: str, version: int) -> None:
    """One step of the format, whole or not at all."""
    with connection:
        connection.execute(script)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", version)
