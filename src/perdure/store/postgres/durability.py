"""What an acknowledgement means on a given PostgreSQL, by its settings.

The engine promises what the server does: a commit. Whether that outlives a power cut, or the loss of the primary, is a
matter of `fsync`, `synchronous_commit` and `synchronous_standby_names`, which belong to whoever runs the server.
"""

from __future__ import annotations

from typing import Final, cast

from msgspec import Struct

from ...errors import UsageError
from .connection import Connection, connect

OLDEST_VERSION: Final = 13

_SETTINGS: Final = (
    "SELECT name, setting FROM pg_settings "
    "WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names', 'server_version')"
)


class Durability(Struct, frozen=True):
    """The settings that decide what an acknowledgement means; `describe` says it in a line."""

    server_version: str
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    synchronous_standbys: str

    @property
    def survives_power_cut(self) -> bool:
        """Whether what was acknowledged is on the primary's disk."""
        return self.fsync and self.full_page_writes and self.synchronous_commit != "off"

    @property
    def survives_primary(self) -> bool:
        """Whether what was acknowledged is on another server as well."""
        return bool(self.synchronous_standbys) and self.synchronous_commit not in ("off", "local")

    def describe(self) -> str:
        where = {
            "remote_write": "written, not yet synced, by its synchronous standbys",
            "remote_apply": "on the disks of its synchronous standbys, and visible there",
        }.get(self.synchronous_commit, "on the disks of its synchronous standbys")
        if not self.fsync:
            meaning = "that PostgreSQL has it in memory: fsync is off, so a power cut loses or damages everything"
        elif self.synchronous_commit == "off":
            meaning = (
                "next to nothing: synchronous_commit is off, so a crash of PostgreSQL loses what was acknowledged last"
            )
        elif self.survives_primary:
            meaning = f"on the primary's disk and {where} ({self.synchronous_standbys})"
        elif self.synchronous_standbys:
            meaning = "on the primary's disk only: synchronous_commit is local, so the standbys may lack it"
        else:
            meaning = (
                "on the primary's disk only: no synchronous standby is set, so a failover may lose the last appends"
            )
        if self.fsync and not self.full_page_writes:
            meaning += "; full_page_writes is off, so a power cut may damage the database"
        return f"PostgreSQL {self.server_version}: an acknowledgement means {meaning}"


async def look_at_durability(connection: Connection) -> Durability:
    """The settings as they are for this connection."""
    found = dict(cast("list[tuple[str, str]]", [tuple(row) for row in await connection.fetch(_SETTINGS)]))
    return Durability(
        server_version=found["server_version"].partition(" ")[0],
        fsync=found["fsync"] == "on",
        full_page_writes=found["full_page_writes"] == "on",
        synchronous_commit=found["synchronous_commit"],
        synchronous_standbys=found["synchronous_standby_names"],
    )


def check_version(connection: Connection) -> None:
    """Raises `UsageError` for a server that is too old."""
    if connection.version < OLDEST_VERSION:
        raise UsageError(f"the server is PostgreSQL {connection.version}, and Perdure needs {OLDEST_VERSION} or newer")


async def check_pooling(url: str, connection: Connection) -> None:
    """Raises `UsageError` if a pooler hands one server connection to several of ours: transaction or statement mode.

    Two connections that are open at the same time have two processes, unless somebody in between shares one.
    """
    if connection.claimed_pid == await _process_of(connection):
        return  # nobody is in between
    another = await connect(url)
    try:
        shared = await _process_of(another) == await _process_of(connection)
    finally:
        another.terminate()
    if shared:
        raise UsageError(
            "a pooler in transaction or statement mode is in front of PostgreSQL: the engine needs its settings, "
            "prepared statements and notifications to stay with the connection; use session mode "
            "(PgBouncer: pool_mode = session), or connect directly"
        )


async def _process_of(connection: Connection) -> int:
    (row,) = await connection.fetch("SELECT pg_backend_pid()")
    return cast(int, row[0])
