"""Access tokens as rows: finding, listing and changing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from ...model.access_tokens import AccessTokenInfo
from ..access_tokens import AccessTokenEntry, is_forgettable
from .connection import Connection, Row, TransactionUndone
from .session import Transaction

_encode: Final = msgspec.json.Encoder().encode
_info: Final = msgspec.json.Decoder(AccessTokenInfo)

_TOKEN: Final = "SELECT info, secret_hash FROM access_token "
_HASHED: Final = _TOKEN + "WHERE secret_hash = ANY($1::bytea[])"
_LIST: Final = _TOKEN + "WHERE token_id > $1 AND token_id >= $2 ORDER BY token_id LIMIT $3"
_INSERT: Final = (
    "INSERT INTO access_token (token_id, secret_hash, info) VALUES ($1, $2, $3) ON CONFLICT (token_id) DO NOTHING "
    "RETURNING true"
)
_UPDATE: Final = "UPDATE access_token SET secret_hash = $2, info = $3 WHERE token_id = $1"
_DELETE: Final = "DELETE FROM access_token WHERE token_id = ANY($1::bytea[])"
_NEXT: Final = _TOKEN + "WHERE token_id > $1 ORDER BY token_id LIMIT $2"

FORGOTTEN_AT_ONCE: Final = 8
"""How many other tokens a change looks at, to remove those that expired long ago: the next ones in order of their ids,
from the first again after the last. So no change takes long, and there is never much to forget.
"""


def _entry(row: Row) -> AccessTokenEntry:
    info, secret_hash = cast("tuple[bytes, bytes]", tuple(row))
    return AccessTokenEntry(_info.decode(info), secret_hash)


async def find_access_tokens(connection: Connection, secret_hashes: Sequence[bytes]) -> tuple[AccessTokenEntry, ...]:
    """See `Engine.find_access_tokens`."""
    return tuple([_entry(row) for row in await connection.fetch(_HASHED, list(secret_hashes))])


async def list_access_tokens(
    connection: Connection, prefix: str, start_after: str, limit: int
) -> tuple[AccessTokenEntry, ...]:
    """See `Engine.list_access_tokens`."""
    found: list[AccessTokenEntry] = []
    for row in await connection.fetch(_LIST, start_after.encode(), prefix.encode(), limit):
        entry = _entry(row)
        if not entry.info.id.startswith(prefix):
            break  # ids with a common prefix stand together
        found.append(entry)
    return tuple(found)


async def change_access_token(
    token_id: str,
    decide: Callable[[AccessTokenEntry | None], AccessTokenEntry | None],
    now_ms: int,
    transaction: Transaction,
) -> AccessTokenEntry | None:
    """See `Engine.change_access_token`."""
    connection, key = transaction.connection, token_id.encode()
    rows = await connection.fetch(_TOKEN + "WHERE token_id = $1 FOR NO KEY UPDATE", key)
    existing = _entry(rows[0]) if rows else None
    left = decide(existing)
    if left is None:
        if existing is not None:
            transaction.changed = True
            await connection.fetch(_DELETE, [key])
    elif left != existing:
        transaction.changed = True
        values = (key, left.secret_hash, _encode(left.info))
        if existing is not None:
            await connection.fetch(_UPDATE, *values)
        elif not await connection.fetch(_INSERT, *values):
            raise TransactionUndone("a token of the same id was issued at the same time")
    if transaction.changed:
        await _forget(connection, key, now_ms)
    return left


async def _forget(connection: Connection, key: bytes, now_ms: int) -> None:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    others = await connection.fetch(_NEXT, key, FORGOTTEN_AT_ONCE)
    if len(others) < FORGOTTEN_AT_ONCE:
        others += await connection.fetch(_NEXT, b"", FORGOTTEN_AT_ONCE - len(others))
    infos = [_entry(row).info for row in others]
    forgotten = [info.id.encode() for info in infos if is_forgettable(info, now) and info.id.encode() != key]
    if forgotten:
        await connection.fetch(_DELETE, forgotten)
