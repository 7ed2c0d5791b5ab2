"""The tables of the embedded engine, their version, and how a connection is opened.

`block` is in commit order: appending to the end of one table is two to three times as fast as
keeping blocks clustered by stream, and other processes find what is new by `commit_id > last`.
The state of a stream is a row of its own, small and hot, apart from its configuration. The body of a
large block is in a segment file instead of its row: `segment`, `place` and `length` say where.

Sequence numbers, trim points and times in milliseconds are plain integers. A record's timestamp is
whatever a client sent, up to 2^64 - 1: columns keep all 64 bits, as SQLite's signed integer, and no
query compares them.

Records expire by the retention at their append, so after a change of the configuration a block may
expire before an older one of its stream. Such a block is marked `early`, and found by an index of its
own; all others go in order.

`stored_bytes` of a stream is the sum of the metered bytes of its blocks, kept up by a trigger for those that are added,
and by whoever removes one; `kept_until_ms` is when the last of all its blocks so far expires (2^63 - 1: never). What
is counted for the usage metrics is in the tables `usage_…` and `…_storage…`: `usage_book.py` says why they look so.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import apsw

from ...errors import StorageFailed, Unavailable, UsageError
from .locks import FileLock

APPLICATION_ID: Final = 0x50657244  # "PerD"
FORMAT_VERSION: Final = 3
"""The version of the tables. A change adds a step to `_MIGRATIONS`; old directories keep working."""

PAGE_BYTES: Final = 4096
"""Every stream that is appended to dirties a page of the index, so small pages write less (measured at 200 streams:
10 KB a batch of 1 KB instead of 14 with 8 KiB pages). Large blocks, which would want large pages, are in segments."""

BUSY_TIMEOUT_MS: Final = 10_000
"""How long to wait for a program that holds SQLite's own lock, such as a backup or a shell."""

CACHE_KIB: Final = 32 * 1024
"""Room for a whole commit group, so that it reaches the log in one go."""

PREPARE_SECONDS: Final = 10.0
"""How long opening waits for a process that is just creating or changing the tables."""

WAL_KEPT_BYTES: Final = 64 * 1024 * 1024
"""The file of the write-ahead log is cut to this when it is used anew; overwriting is faster than growing."""

_STATE_FOLLOWS_BLOCKS: Final = f"""
CREATE TRIGGER block_moves_tail AFTER INSERT ON block BEGIN
    UPDATE stream_state SET
        tail = new.end_seq,
        last_timestamp = new.last_timestamp,
        written_ms = new.stored_ms,
        kept_until_ms = max(kept_until_ms, ifnull(new.expires_ms, {2**63 - 1})),
        stored_bytes = stored_bytes + new.metered_bytes
    WHERE stream_id = new.stream_id;
END;
"""
"""What of a stream's state its newest block tells. A group of plain appends is one statement thanks to this, and that
one statement is a transaction by itself: the GIL is handed over once, instead of for the begin, the blocks, the states
and the commit."""

_USAGE_TABLES: Final = """
CREATE TABLE usage_minute (
    hour            INTEGER NOT NULL,
    basin_id        INTEGER NOT NULL,
    metric_set      TEXT NOT NULL,
    series          TEXT NOT NULL,
    minute          INTEGER NOT NULL,
    value           INTEGER NOT NULL,
    PRIMARY KEY (hour, basin_id, metric_set, series, minute)
) WITHOUT ROWID;
CREATE TABLE usage_hour (
    hour            INTEGER NOT NULL,
    basin_id        INTEGER NOT NULL,
    metric_set      TEXT NOT NULL,
    series          TEXT NOT NULL,
    value           INTEGER NOT NULL,
    PRIMARY KEY (hour, basin_id, metric_set, series)
) WITHOUT ROWID;
CREATE TABLE stream_storage_minute (
    hour            INTEGER NOT NULL,
    stream_id       INTEGER NOT NULL,
    minute          INTEGER NOT NULL,
    stored_bytes    INTEGER NOT NULL,
    PRIMARY KEY (hour, stream_id, minute)
) WITHOUT ROWID;
CREATE TABLE stream_storage_hour (
    hour            INTEGER NOT NULL,
    stream_id       INTEGER NOT NULL,
    minute          INTEGER NOT NULL,
    stored_bytes    INTEGER NOT NULL,
    PRIMARY KEY (hour, stream_id)
) WITHOUT ROWID;
CREATE TABLE basin_storage (
    hour            INTEGER NOT NULL,
    basin_id        INTEGER NOT NULL,
    at_secs         INTEGER NOT NULL,
    stored_bytes    INTEGER NOT NULL,
    PRIMARY KEY (hour, basin_id)
) WITHOUT ROWID;
CREATE TABLE past_activity (
    basin           TEXT NOT NULL,
    from_secs       INTEGER NOT NULL,
    until_secs      INTEGER NOT NULL,
    PRIMARY KEY (basin, from_secs)
) WITHOUT ROWID;
"""

_TABLES: Final = (
    """
CREATE TABLE basin (
    basin_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT NOT NULL UNIQUE,
    location        TEXT,
    created_at      TEXT NOT NULL,
    deleted_at      TEXT,
    config          BLOB NOT NULL,
    creation        BLOB
);
CREATE INDEX basin_by_deletion ON basin (deleted_at) WHERE deleted_at IS NOT NULL;
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
    kept_until_ms   INTEGER NOT NULL,
    sweep_due_ms    INTEGER,
    stored_bytes    INTEGER NOT NULL DEFAULT 0
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
    early           INTEGER,
    segment         TEXT,
    place           INTEGER,
    length          INTEGER,
    body            BLOB
);
CREATE UNIQUE INDEX block_by_seq ON block (stream_id, start_seq);
CREATE INDEX block_by_early_expiry ON block (stream_id, expires_ms) WHERE early;
CREATE INDEX block_by_segment ON block (segment) WHERE segment IS NOT NULL;
CREATE TABLE access_token (
    token_id        TEXT PRIMARY KEY,
    secret_hash     BLOB NOT NULL UNIQUE,
    expires_at      TEXT,
    info            BLOB NOT NULL
) WITHOUT ROWID;
"""
    + _STATE_FOLLOWS_BLOCKS
    + _USAGE_TABLES
)

_MIGRATIONS: Final[dict[int, str]] = {
    1: """
ALTER TABLE stream_state ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE stream_state SET stored_bytes = found.total
    FROM (SELECT stream_id, sum(metered_bytes) AS total FROM block GROUP BY stream_id) AS found
    WHERE found.stream_id = stream_state.stream_id;
"""
    + _USAGE_TABLES,
    2: _STATE_FOLLOWS_BLOCKS,
}
"""From each older version to the next."""

MAX_I64: Final = 2**63 - 1
CACHED_STATEMENTS: Final = 256
"""Prepared statements that a connection keeps: the writer uses two for each number of rows up to `group.MAX_ROWS`."""

_U64: Final = 2**64


def to_i64(value: int) -> int:
    """An unsigned 64-bit number as SQLite keeps it."""
    return value if value <= MAX_I64 else value - _U64


def from_i64(value: int) -> int:
    return value if value >= 0 else value + _U64


def saturated(value: int) -> int:
    """An unsigned 64-bit number cut to what SQLite can order."""
    return min(value, MAX_I64)


def connect(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """A connection with our settings. An ack means on disk, hence `synchronous = FULL`."""
    connection = apsw.Connection(os.fspath(path), vfs=vfs, statementcachesize=CACHED_STATEMENTS)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("synchronous", "full")
        connection.wal_autocheckpoint(0)
        connection.pragma("cache_size", -CACHE_KIB)
        connection.pragma("journal_size_limit", WAL_KEPT_BYTES)
        keep_log_on_close(connection, keep=True)
    except BaseException:
        connection.close()
        raise
    return connection


def keep_log_on_close(connection: apsw.Connection, *, keep: bool) -> None:
    """Whether closing leaves the write-ahead log alone, even as the last connection to the database."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))


def prepare(connection: apsw.Connection, users: FileLock) -> None:
    """Share `users` with the others at this version of the format; create or migrate the tables if need be.

    The tables are changed by whoever holds `users` alone, so never under the feet of another process.
    Raises `UsageError` if the file belongs to another program or to a newer version, `Unavailable` if
    another process does not let go of it.
    """
    deadline = time.monotonic() + PREPARE_SECONDS
    while True:
        if users.try_share():
            if format_version(connection) == FORMAT_VERSION:
                return
            users.release()
        if users.try_acquire():
            _upgrade(connection, format_version(connection))
            users.release()
        elif time.monotonic() > deadline:
            raise Unavailable("another process has the data directory open and keeps its tables from being changed")
        else:
            time.sleep(0.002)


def format_version(connection: apsw.Connection) -> int:
    """The version of the tables, 0 if there are none. Raises `UsageError` if they are not for us."""
    with connection:  # one view, whoever else is at it
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
        application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if tables == 0:
        return 0
    if application != APPLICATION_ID or version < 1:
        raise UsageError("the database in the data directory was not made by Perdure; choose another directory")
    if version > FORMAT_VERSION:
        raise UsageError(
            f"the data directory has format version {version}, this Perdure knows up to {FORMAT_VERSION}; "
            "use a newer Perdure"
        )
    return int(version)


def _upgrade(connection: apsw.Connection, version: int) -> None:
    if version == 0:
        connection.pragma("page_size", PAGE_BYTES)
        if connection.pragma("journal_mode", "wal") != "wal":
            raise StorageFailed("the data directory does not allow SQLite's write-ahead log; use a local disk")
        _run(connection, _TABLES, FORMAT_VERSION)
    else:
        for step in range(version, FORMAT_VERSION):
            _run(connection, _MIGRATIONS[step], step + 1)


def _run(connection: apsw.Connection, script: str, version: int) -> None:
    """One step of the format, whole or not at all."""
    with connection:
        connection.execute(script)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", version)
