"""A look at the rows themselves, past what the engine shows."""

from pathlib import Path

import apsw

from perdure.store.catalogue import StreamId


def block_starts(path: Path, stream: StreamId) -> list[int]:
    """The first sequence numbers of the blocks that take up space, readable or not."""
    connection = apsw.Connection(str(path / "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        query = "SELECT start_seq FROM block WHERE stream_id = ? ORDER BY start_seq"
        return [int(str(start)) for (start,) in connection.execute(query, (stream,))]
    finally:
        connection.close()
