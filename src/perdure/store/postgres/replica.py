"""A standby that serves what is read far behind the tail, so that the primary need not.

A standby repeats the history of its primary, some time later: the blocks that it has are those of the primary, without
a gap up to where it has come. What it cannot know is what has happened since, so state always comes from the primary.

That holds for as long as both share their history. After a failover a standby may hold what the new primary never got,
in the same places. So a row is written to the primary, with the timeline that it is on. A standby is believed if it has
got that row and is a standby still, and if the primary, asked later, has the row and is on that timeline still: then
what the standby had is a part of what the primary has.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeVar, cast
from urllib.parse import unquote

from msgspec import Struct

from ...errors import PerdureError, UsageError
from ..catalogue import StreamId
from ..opening import shown
from ..sequencing import Block, StreamState
from . import queries
from .connection import Connection, ConnectionLost, connect
from .pool import Pool
from .session import Transaction

T = TypeVar("T")

logger: Final = logging.getLogger("perdure.store.postgres")

OPTION: Final = "replica"
"""Of the address: the hosts of standbys, as in ``postgres://db-1,db-2/perdure?replica=db-2,db-3:5433``."""

REPLICA_SECONDS: Final = 2.0
"""What a standby may take for one read, with the connection if there is none. Then the primary is asked."""

PAUSE_SECONDS: Final = 5.0
"""How long one that failed is left alone."""

_TIMELINE: Final = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint"
_ANCHOR: Final = f"INSERT INTO writer (writer_id, epoch, number) VALUES ($1, {_TIMELINE}, 0) RETURNING epoch"
_HAS_COME_TO: Final = "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM writer WHERE writer_id = $1 AND epoch = $2)"
_IS_STILL_AT: Final = f"SELECT EXISTS (SELECT FROM writer WHERE writer_id = $1 AND epoch = $2) AND {_TIMELINE} = $2"


class Anchor(Struct, frozen=True):
    """A row that the primary wrote on a timeline."""

    row: uuid.UUID
    timeline: int


class RunsChanges(Protocol):
    async def run(self, body: Callable[[Transaction], Awaitable[T]]) -> T: ...


def split_address(url: str) -> tuple[str, str | None]:
    """The address without the option, and the address of the standbys, which differs in its hosts, if there is one.

    Raises `UsageError` for an option without hosts.
    """
    base, mark, query = url.partition("?")
    options = query.split("&") if mark else []
    found = [option.partition("=")[2] for option in options if option.partition("=")[0] == OPTION]
    if not found:
        return url, None
    hosts = unquote(found[-1])
    scheme, separator, rest = base.partition("://")
    user, at, authority = rest.rpartition("@")
    _, slash, database = authority.partition("/")
    if not hosts or any(character in hosts for character in "/@?# "):
        raise UsageError(
            f"`{OPTION}=` in {shown(url)} names hosts, with commas between them, as in {OPTION}=db-2,db-3:5433"
        )
    left = "&".join([option for option in options if option.partition("=")[0] != OPTION])
    kept = f"?{left}" if left else ""
    return f"{base}{kept}", f"{scheme}{separator}{user}{at}{hosts}{slash}{database}{kept}"


async def state_beside(connection: Connection, stream: StreamId, anchor: Anchor) -> tuple[StreamState, bool, bool]:
    """Asked of the primary: the state, whether the stream is deleted, and whether what a standby with the anchor has
    is a part of what is here."""
    state, deleted = await queries.known_state(connection, stream)
    (row,) = await connection.fetch(_IS_STILL_AT, anchor.row, anchor.timeline)
    return state, deleted, cast(bool, row[0])


class Replica:
    """The standbys of `url`, of which one is asked. Used on one event loop."""

    def __init__(self, url: str, changes: RunsChanges) -> None:
        self._shown = shown(url)
        self._changes = changes
        self._pool = Pool(partial(connect, url, standby=True), REPLICA_SECONDS)
        self._anchor: Anchor | None = None
        self._anchoring = asyncio.Lock()
        self._not_before = 0.0
        self._in_use = False

    async def blocks(
        self, stream: StreamId, start_seq: int, max_records: int, max_bytes: int, now_ms: int
    ) -> tuple[Anchor, tuple[Block, ...]] | None:
        """What a standby has from there on, to be believed if `state_beside` says so; None if the primary must be
        asked: it has nothing, is behind, is not there, or is no standby any more."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return None
        try:
            anchor = await self._anchored()
            async with asyncio.timeout(REPLICA_SECONDS):
                blocks = await self._pool.run(
                    lambda connection: _read(connection, anchor, stream, start_seq, max_records, max_bytes, now_ms)
                )
        except (PerdureError, TimeoutError) as exc:
            self._not_before = loop.time() + PAUSE_SECONDS
            self._in_use = False
            logger.warning(
                "the standby at %s is not asked for a while: %s", self._shown, str(exc) or "it takes too long"
            )
            return None
        if blocks and not self._in_use:
            self._in_use = True
            logger.info("long reads go on at the standby at %s", self._shown)
        return (anchor, blocks) if blocks else None

    async def _anchored(self) -> Anchor:
        async with self._anchoring:
            if self._anchor is None:
                self._anchor = await self._changes.run(_write_anchor)
            return self._anchor

    def doubt(self, anchor: Anchor) -> None:
        """The primary is another than the one that wrote the anchor, or has lost it."""
        if self._anchor == anchor:
            self._anchor = None
            self._pool.retire()

    async def forget(self) -> None:
        """Take the row away; if that fails, the sweeper does some day."""
        anchor, self._anchor = self._anchor, None
        if anchor is not None:
            try:
                await self._changes.run(partial(_remove_anchor, anchor))
            except PerdureError as exc:
                logger.debug("an anchor stays: %s", exc)

    async def aclose(self) -> None:
        await self._pool.aclose()


async def _write_anchor(transaction: Transaction) -> Anchor:
    row = uuid.uuid4()
    ((timeline,),) = await transaction.connection.fetch(_ANCHOR, row)
    transaction.changed = True
    return Anchor(row, cast(int, timeline))


async def _remove_anchor(anchor: Anchor, transaction: Transaction) -> None:
    await transaction.connection.fetch("DELETE FROM writer WHERE writer_id = $1", anchor.row)
    transaction.changed = True


async def _read(
    connection: Connection,
    anchor: Anchor,
    stream: StreamId,
    start_seq: int,
    max_records: int,
    max_bytes: int,
    now_ms: int,
) -> tuple[Block, ...]:
    """The blocks, and then whether they count: what a standby is then, it was before on the same connection."""
    try:
        found = await queries.read_blocks(connection, stream, start_seq, max_records, max_bytes, now_ms)
    except PerdureError as exc:
        logger.debug("a standby does not have what is read: %s", exc)
        return ()
    (row,) = await connection.fetch(_HAS_COME_TO, anchor.row, anchor.timeline)
    is_standby, has_anchor = cast("tuple[bool, bool]", tuple(row))
    if not is_standby:
        raise ConnectionLost("it is no standby any more")
    return found.blocks if has_anchor else ()
