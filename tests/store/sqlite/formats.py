"""Data directories as older versions of Perdure made them."""

from pathlib import Path

import apsw

V1 = """
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

APPLICATION_ID = 0x50657244


def make_older(directory: Path, tables: str, version: int) -> None:
    """Replace the database of a closed directory by one with older tables, and the rows that these have room for."""
    current, older = directory / "streams.db", directory / "older.db"
    connection = apsw.Connection(str(older))
    try:
        connection.pragma("page_size", 4096)
        connection.pragma("journal_mode", "wal")
        connection.execute(tables)
        connection.execute("ATTACH ? AS current", (str(current),))
        names = connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL")
        for (name,) in names.fetchall():
            columns = ", ".join(str(row[1]) for row in connection.execute(f"PRAGMA main.table_info({name})"))
            connection.execute(f"DELETE FROM main.{name}")
            if columns:
                connection.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM current.{name}")
        connection.execute("DETACH current")
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", version)
    finally:
        connection.close()
    for path in directory.glob("streams.db*"):
        path.unlink()
    older.rename(current)
