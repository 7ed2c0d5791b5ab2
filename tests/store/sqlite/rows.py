"""A look at the rows themselves, past what the engine shows."""

from pathlib import Path

import apsw

from perdure.store.catalogue import StreamId


def _numbers(path: Path, query: str, stream: StreamId) -> list[int]:
    connection = apsw.Connection(str(path / "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [int(str(number)) for (number,) in connection.execute(query, (stream,))]
    finally:
        connection.close()


def block_starts(path: Path, stream: StreamId) -> list[int]:
    """The first sequence numbers of the blocks that take up space, readable or not."""
    return _numbers(path, "SELECT start_seq FROM block WHERE stream_id = ? ORDER BY start_seq", stream)


def block_sizes(path: Path, stream: StreamId) -> list[int]:
    """The metered bytes of the blocks that take up space, readable or not."""
    return _numbers(path, "SELECT metered_bytes FROM block WHERE stream_id = ? ORDER BY start_seq", stream)


def stored_bytes(path: Path, stream: StreamId) -> int:
    """What the account says that the stream's blocks take; 0 for one that is gone."""
    return sum(_numbers(path, "SELECT stored_bytes FROM stream_state WHERE stream_id = ?", stream))


def accounts(path: Path) -> list[tuple[int, int]]:
    """For each stream what its account says, and what its blocks take, as one look at both."""
    connection = apsw.Connection(str(path / "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
    query = (
        "SELECT stored_bytes, (SELECT ifnull(sum(metered_bytes), 0) FROM block b WHERE b.stream_id = t.stream_id) "
        "FROM stream_state t ORDER BY stream_id"
    )
    try:
        return [(int(str(account)), int(str(taken))) for account, taken in connection.execute(query)]
    finally:
        connection.close()
