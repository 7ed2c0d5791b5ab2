"""What is asked of streams: their state, their blocks, a place in time. One statement each, so one view of the
database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast

from msgspec import Struct

from ...errors import StreamDeletionPending, StreamNotFound
from ..catalogue import StreamId
from ..engine import BlockRange
from ..sequencing import Block, StreamState
from .connection import Connection
from .schema import from_i64, saturated, to_i64

_StateRow: TypeAlias = "tuple[bool, int, int, bytes, int]"
_BlockRow: TypeAlias = "tuple[int, int, int, int, int, int | None, bytes]"

MOST_BLOCKS: Final = 256
"""Blocks of one read at most: so many rows are looked at, whatever they hold, to see how far the bounds allow to go."""

HANDED_BYTES: Final = 256 * 1024
"""Of a stream's new blocks that are read ahead for all of its followers; beyond it they read by themselves."""

_STATE_COLUMNS: Final = "t.deleted, t.tail, t.last_timestamp, t.fencing_token, t.trim_point"
_BLOCK_COLUMNS: Final = "start_seq, end_seq, last_timestamp, metered_bytes, stored_ms, expires_ms, body"
_STATE: Final = f"SELECT {_STATE_COLUMNS} FROM stream_state t WHERE t.stream_id = $1"
_STATE_WIDTH: Final = 5

_BLOCKS: Final = f"""
SELECT {_STATE_COLUMNS}, b.* FROM stream_state t LEFT JOIN LATERAL (
    SELECT {_BLOCK_COLUMNS}, records, size FROM (
        SELECT {_BLOCK_COLUMNS},
            sum(end_seq - start_seq) OVER (ORDER BY start_seq) AS records,
            sum(metered_bytes) OVER (ORDER BY start_seq) AS size,
            row_number() OVER (ORDER BY start_seq) AS place
        FROM (
            SELECT {_BLOCK_COLUMNS} FROM block
            WHERE stream_id = $1 AND end_seq > greatest($2::bigint, t.trim_point)
                AND start_seq >= coalesce(
                    (SELECT max(start_seq) FROM block
                        WHERE stream_id = $1 AND start_seq <= greatest($2::bigint, t.trim_point)),
                    $2::bigint)
                AND (expires_ms IS NULL OR expires_ms > $3::bigint)
            ORDER BY start_seq LIMIT $6::int
        ) AS next
    ) AS summed
    WHERE place = 1 OR (records <= $4::bigint AND size <= $5::bigint)
) b ON true
WHERE t.stream_id = $1 ORDER BY b.start_seq
"""
"""Bodies that are out of line are fetched for the rows that come back only."""

_LATE: Final = "(last_timestamp < 0, last_timestamp) >= ($2::bigint < 0, $2::bigint)"
"""Timestamps are unsigned: those that look negative are the highest."""

_FIND: Final = f"""
WITH RECURSIVE search (low, high) AS (
    SELECT trim_point, tail FROM stream_state WHERE stream_id = $1
    UNION ALL
    SELECT
        CASE WHEN found.start_seq IS NULL THEN middle + 1
            WHEN found.late THEN low ELSE greatest(found.end_seq, middle + 1) END,
        CASE WHEN found.late THEN least(found.start_seq, middle) ELSE high END
    FROM search
    CROSS JOIN LATERAL (SELECT low + (high - low) / 2 AS middle) AS half
    LEFT JOIN LATERAL (
        SELECT start_seq, end_seq, {_LATE} AS late FROM block
        WHERE stream_id = $1 AND start_seq <= middle ORDER BY start_seq DESC LIMIT 1
    ) AS found ON true
    WHERE low < high
), place AS MATERIALIZED (
    SELECT low FROM search WHERE low >= high LIMIT 1
)
SELECT {_BLOCK_COLUMNS} FROM block
WHERE stream_id = $1 AND end_seq > (SELECT low FROM place)
    AND start_seq >= coalesce(
        (SELECT max(start_seq) FROM block WHERE stream_id = $1 AND start_seq <= (SELECT low FROM place)), 0)
    AND (expires_ms IS NULL OR expires_ms > $3::bigint) AND {_LATE}
ORDER BY start_seq LIMIT 1
"""
"""A binary search over sequence numbers, since time never runs back within a stream."""

_AFTER: Final = f"""
SELECT w.stream_id, t.deleted, t.tail, b.* FROM unnest($1::bigint[], $2::bigint[]) AS w (stream_id, seen)
LEFT JOIN stream_state t ON t.stream_id = w.stream_id
LEFT JOIN LATERAL (
    SELECT {_BLOCK_COLUMNS} FROM (
        SELECT {_BLOCK_COLUMNS}, sum(metered_bytes) OVER (ORDER BY start_seq) AS size FROM (
            SELECT {_BLOCK_COLUMNS} FROM block
            WHERE block.stream_id = w.stream_id AND start_seq >= w.seen AND NOT t.deleted
                AND (expires_ms IS NULL OR expires_ms > $3::bigint)
            ORDER BY start_seq LIMIT $4::int
        ) AS next
    ) AS summed WHERE size <= $5::bigint
) b ON true
ORDER BY w.stream_id, b.start_seq
"""
_TAILS: Final = "SELECT stream_id, tail FROM stream_state WHERE stream_id = ANY($1::bigint[])"


def _state_of(row: Sequence[object]) -> tuple[StreamState, bool]:
    deleted, tail, last, token, trim_point = cast(_StateRow, tuple(row))
    return StreamState(tail, from_i64(last), token.decode(), trim_point), deleted


def _block_of(row: Sequence[object]) -> Block:
    start, end, last, metered, stored, expires, body = cast(_BlockRow, tuple(row))
    return Block(start, end, from_i64(last), metered, stored, expires, body)


async def known_state(connection: Connection, stream_id: StreamId) -> tuple[StreamState, bool]:
    """The state, and whether the stream is deleted. Raises `StreamNotFound`."""
    rows = await connection.fetch(_STATE, stream_id)
    if not rows:
        raise _gone()
    return _state_of(rows[0])


async def live_state(connection: Connection, stream_id: StreamId) -> StreamState:
    """See `Engine.state`."""
    state, deleted = await known_state(connection, stream_id)
    if deleted:
        raise StreamDeletionPending("stream deletion pending")
    return state


async def read_blocks(
    connection: Connection, stream_id: StreamId, start_seq: int, max_records: int, max_bytes: int, now_ms: int
) -> BlockRange:
    """See `Engine.read_blocks`."""
    most = max(1, min(max_records, MOST_BLOCKS))  # a block holds a record at least
    rows = await connection.fetch(_BLOCKS, stream_id, saturated(start_seq), now_ms, max_records, max_bytes, most)
    if not rows:
        raise _gone()
    state, deleted = _state_of(tuple(rows[0])[:_STATE_WIDTH])
    blocks: list[Block] = []
    for row in rows:
        columns = tuple(row)[_STATE_WIDTH:-2]
        if columns[0] is not None:
            blocks.append(_block_of(columns))
    return BlockRange(state, deleted, tuple(blocks), more=bool(blocks) and blocks[-1].end_seq < state.tail)


async def find_timestamp(connection: Connection, stream_id: StreamId, timestamp: int, now_ms: int) -> Block | None:
    """See `Engine.find_timestamp`."""
    rows = await connection.fetch(_FIND, stream_id, to_i64(timestamp), now_ms)
    return _block_of(rows[0]) if rows else None


class News(Struct, frozen=True):
    """What a stream has got after a place: some of it, if it is much. `closed` is one that is deleted or gone."""

    tail: int
    closed: bool
    blocks: tuple[Block, ...]


async def read_after(
    connection: Connection, seen: Mapping[StreamId, int], now_ms: int, most_blocks: int
) -> dict[StreamId, News]:
    """The blocks of each stream from its place in `seen` on, `HANDED_BYTES` of each at most."""
    rows = await connection.fetch(_AFTER, list(seen), list(seen.values()), now_ms, most_blocks, HANDED_BYTES)
    found: dict[StreamId, News] = {}
    for row in rows:
        stream, deleted, tail = cast("tuple[int, bool | None, int | None]", tuple(row)[:3])
        stream_id, columns = StreamId(stream), tuple(row)[3:]
        before = found.get(stream_id) or News(tail or 0, deleted is not False, ())
        if columns[0] is not None:
            before = News(before.tail, before.closed, (*before.blocks, _block_of(columns)))
        found[stream_id] = before
    return found


async def tails(connection: Connection, streams: Sequence[StreamId]) -> dict[StreamId, int]:
    """The tail of each stream, without those that are gone."""
    rows = await connection.fetch(_TAILS, list(streams))
    return {StreamId(stream): tail for stream, tail in cast("list[tuple[int, int]]", rows)}


def _gone() -> StreamNotFound:
    return StreamNotFound("the stream does not exist any more")
