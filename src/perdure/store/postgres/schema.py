"""The tables of the replicated engine, their version, and how they are made and changed.

A stream is two rows: what the catalogue knows of it, and its state, which every append changes. The state is small and
no index is on what an append changes, so a new version of it stays on its page. `version` counts its changes, and those
of the stream's configuration: who has seen the same version knows everything.

Blocks are kept by (stream, first sequence number); large bodies go out of line as they are, without an attempt to
compress them. Names, fencing tokens and ids of tokens are bytes: they compare as the API wants it, and may hold what
text may not.

`writer` has a row for each connection that writes: the number of its last transaction, written in that same
transaction. Whoever lost the connection in the middle of a commit reads there what became of it.

A record's timestamp is whatever a client sent, up to 2^64 - 1: columns keep all 64 bits, as signed integers. A block
that expires before an older one of its stream is marked `early`, and found by an index of its own; all others go in
order.
"""

from __future__ import annotations

from typing import Final

from ...errors import UsageError
from .connection import SCHEMA, Connection, Row

FORMAT_VERSION: Final = 1
"""The version of the tables. A change adds a step to `_STEPS`; old databases keep working."""

LOCK_CLASS: Final = 0x50657244  # "PerD"
MIGRATION_LOCK: Final = 1
SWEEPER_LOCK: Final = 2

MIGRATION_SECONDS: Final = 600.0

MAX_I64: Final = 2**63 - 1
_U64: Final = 2**64

_FIRST: Final = """
CREATE TABLE basin (
    basin_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            bytea NOT NULL UNIQUE,
    created_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    config          bytea NOT NULL,
    creation        bytea,
    location        text
);
CREATE INDEX basin_by_deletion ON basin (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE stream (
    stream_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    basin_id        bigint NOT NULL REFERENCES basin,
    name            bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    cipher          text,
    config          bytea NOT NULL,
    creation        bytea,
    UNIQUE (basin_id, name)
);
CREATE INDEX stream_by_life ON stream (basin_id, stream_id) WHERE deleted_at IS NULL;

CREATE TABLE stream_state (
    stream_id       bigint PRIMARY KEY,
    version         bigint NOT NULL,
    deleted         boolean NOT NULL,
    tail            bigint NOT NULL,
    last_timestamp  bigint NOT NULL,
    fencing_token   bytea NOT NULL,
    trim_point      bigint NOT NULL,
    written_ms      bigint NOT NULL,
    kept_until_ms   bigint NOT NULL,
    sweep_due_ms    bigint,
    stored_bytes    bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX stream_state_by_sweep ON stream_state (sweep_due_ms) WHERE sweep_due_ms IS NOT NULL;

CREATE TABLE block (
    stream_id       bigint NOT NULL,
    start_seq       bigint NOT NULL,
    end_seq         bigint NOT NULL,
    last_timestamp  bigint NOT NULL,
    stored_ms       bigint NOT NULL,
    expires_ms      bigint,
    metered_bytes   integer NOT NULL,
    early           boolean,
    body            bytea NOT NULL,
    PRIMARY KEY (stream_id, start_seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1,
        toast.autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE block ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX block_by_early_expiry ON block (stream_id, expires_ms) WHERE early;

CREATE TABLE writer (
    writer_id       uuid PRIMARY KEY,
    epoch           bigint NOT NULL,
    number          bigint NOT NULL,
    conflicted      bigint[] NOT NULL DEFAULT '{}',
    touched_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE access_token (
    token_id        bytea PRIMARY KEY,
    secret_hash     bytea NOT NULL UNIQUE,
    info            bytea NOT NULL
);

CREATE TABLE usage_minute (
    hour            bigint NOT NULL,
    basin_id        bigint NOT NULL,
    metric_set      text NOT NULL,
    series          text NOT NULL,
    minute          bigint NOT NULL,
    value           bigint NOT NULL,
    PRIMARY KEY (hour, basin_id, metric_set, series, minute)
);
CREATE TABLE usage_hour (
    hour            bigint NOT NULL,
    basin_id        bigint NOT NULL,
    metric_set      text NOT NULL,
    series          text NOT NULL,
    value           bigint NOT NULL,
    PRIMARY KEY (hour, basin_id, metric_set, series)
);
CREATE TABLE stream_storage_minute (
    hour            bigint NOT NULL,
    stream_id       bigint NOT NULL,
    minute          bigint NOT NULL,
    stored_bytes    bigint NOT NULL,
    PRIMARY KEY (hour, stream_id, minute)
);
CREATE TABLE stream_storage_hour (
    hour            bigint NOT NULL,
    stream_id       bigint NOT NULL,
    minute          bigint NOT NULL,
    stored_bytes    bigint NOT NULL,
    PRIMARY KEY (hour, stream_id)
);
CREATE TABLE basin_storage (
    hour            bigint NOT NULL,
    basin_id        bigint NOT NULL,
    at_secs         bigint NOT NULL,
    stored_bytes    bigint NOT NULL,
    PRIMARY KEY (hour, basin_id)
);
CREATE TABLE past_activity (
    basin           bytea NOT NULL,
    from_secs       bigint NOT NULL,
    until_secs      bigint NOT NULL,
    PRIMARY KEY (basin, from_secs)
);
"""

_STEPS: Final[dict[int, str]] = {0: _FIRST}
"""From each older version to the next; from nothing to the first."""


def to_i64(value: int) -> int:
    """An unsigned 64-bit number as a column keeps it."""
    return value if value <= MAX_I64 else value - _U64


def from_i64(value: int) -> int:
    return value if value >= 0 else value + _U64


def saturated(value: int) -> int:
    """An unsigned 64-bit number cut to what a column can order."""
    return min(value, MAX_I64)


async def prepare(connection: Connection, *, create: bool = True) -> None:
    """Create the tables or bring them to this version, one process at a time.

    Raises `UsageError` for a newer version, and where there are none without `create`.
    """
    version = await _version(connection)
    if version == FORMAT_VERSION:
        return
    _check(version)
    if not version and not create:
        raise UsageError(
            f"the database holds no store: there are no tables in its schema {SCHEMA!r}; give the one that the server "
            "uses, or create a basin in this one"
        )
    await connection.execute("BEGIN")
    try:
        # Whoever comes second waits here, and then finds the work done.
        await connection.execute(
            f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {MIGRATION_LOCK})",
            seconds=MIGRATION_SECONDS,
        )
        version = await _version(connection)
        _check(version)
        for step in range(version, FORMAT_VERSION):
            await connection.execute(await _script(connection, step), seconds=MIGRATION_SECONDS)
        await connection.execute("COMMIT", seconds=MIGRATION_SECONDS)
    except BaseException:
        if not connection.is_closed:
            await connection.execute("ROLLBACK")
        raise


async def _script(connection: Connection, step: int) -> str:
    if step:
        return f"{_STEPS[step]}; UPDATE format SET version = {step + 1}"
    # A schema that an administrator made needs no privilege on the database.
    found = await connection.fetch("SELECT 1 FROM pg_namespace WHERE nspname = $1", SCHEMA)
    schema = "" if found else f"CREATE SCHEMA {SCHEMA};"
    return f"{schema}{_FIRST}; CREATE TABLE format (version integer NOT NULL); INSERT INTO format VALUES (1)"


async def _version(connection: Connection) -> int:
    """The version of the tables, 0 if there are none."""
    # Looked up in the tables: `to_regclass` may answer within a transaction from what was known before it began.
    found = await connection.fetch(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = 'format'",
        SCHEMA,
    )
    if not found:
        return 0
    rows: list[Row] = await connection.fetch(f"SELECT version FROM {SCHEMA}.format")
    return int(str(rows[0][0]))


def _check(version: int) -> None:
    if version > FORMAT_VERSION:
        raise UsageError(
            f"the tables in PostgreSQL have format version {version}, this Perdure knows up to {FORMAT_VERSION}; "
            "use a newer Perdure"
        )
