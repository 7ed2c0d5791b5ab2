"""Access tokens as rows: finding, listing and changing them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias, cast

import apsw
import msgspec

from ...model.access_tokens import AccessTokenInfo
from ..access_tokens import AccessTokenEntry, is_forgettable
from .write_items import WriteContext

_Row: TypeAlias = tuple[bytes, bytes]

_encode: Final = msgspec.json.Encoder().encode
_info: Final = msgspec.json.Decoder(AccessTokenInfo)

_TOKEN: Final = "SELECT info, secret_hash FROM access_token "
_HASHED: Final = _TOKEN + "WHERE secret_hash IN (SELECT unhex(value) FROM json_each(?))"

FORGOTTEN_AT_ONCE: Final = 8
"""How many other tokens a change looks at, to remove those that expired long ago.

They are the next ones in order of their ids, from the first again after the last. So there is no more to forget than a
few times what is in force, whether ids are random or count up, and no change takes long.
"""


def _entry(row: _Row) -> AccessTokenEntry:
    info, secret_hash = row
    return AccessTokenEntry(_info.decode(info), secret_hash)


def find_access_tokens(connection: apsw.Connection, secret_hashes: Sequence[bytes]) -> tuple[AccessTokenEntry, ...]:
    """See `Engine.find_access_tokens`."""
    wanted = json.dumps([secret_hash.hex() for secret_hash in secret_hashes])
    return tuple(_entry(cast(_Row, row)) for row in connection.execute(_HASHED, (wanted,)))


def list_access_tokens(
    connection: apsw.Connection, prefix: str, start_after: str, limit: int
) -> tuple[AccessTokenEntry, ...]:
    """See `Engine.list_access_tokens`."""
    found: list[AccessTokenEntry] = []
    query = _TOKEN + "WHERE token_id > ? AND token_id >= ? ORDER BY token_id LIMIT ?"
    for row in connection.execute(query, (start_after, prefix, limit)):
        entry = _entry(cast(_Row, row))
        if not entry.info.id.startswith(prefix):
            break  # ids with a common prefix stand together
        found.append(entry)
    return tuple(found)


def change_access_token(
    token_id: str, decide: Callable[[AccessTokenEntry | None], AccessTokenEntry | None], context: WriteContext
) -> AccessTokenEntry | None:
    """See `Engine.change_access_token`."""
    connection = context.connection
    existing: AccessTokenEntry | None = None
    for row in connection.execute(_TOKEN + "WHERE token_id = ?", (token_id,)):
        existing = _entry(cast(_Row, row))
    left = decide(existing)
    if left is None:
        _delete(connection, token_id)
    elif left != existing:
        connection.execute(
            "INSERT OR REPLACE INTO access_token (token_id, secret_hash, expires_at, info) VALUES (?, ?, ?, ?)",
            (
                token_id,
                left.secret_hash,
                None if left.info.expires_at is None else left.info.expires_at.isoformat(),
                _encode(left.info),
            ),
        )
    _forget(context, token_id)
    return left


def _forget(context: WriteContext, token_id: str) -> None:
    now = datetime.fromtimestamp(context.now_ms / 1000, UTC)
    connection = context.connection
    rows = connection.execute(_TOKEN + "WHERE token_id > ? ORDER BY token_id LIMIT ?", (token_id, FORGOTTEN_AT_ONCE))
    others = rows.fetchall()
    if len(others) < FORGOTTEN_AT_ONCE:
        others += connection.execute(
            _TOKEN + "WHERE token_id < ? ORDER BY token_id LIMIT ?", (token_id, FORGOTTEN_AT_ONCE - len(others))
        ).fetchall()
    for row in others:
        info = _entry(cast(_Row, row)).info
        if is_forgettable(info, now):
            _delete(connection, info.id)


def _delete(connection: apsw.Connection, token_id: str) -> None:
    connection.execute("DELETE FROM access_token WHERE token_id = ?", (token_id,))
