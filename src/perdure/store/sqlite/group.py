"""One commit group: the appends and changes that share a transaction, decided inside it.

`StateCache` remembers what earlier transactions left, for as long as no other process has written.
`Group` sequences batches against it, collects blocks and states, and writes them in few statements:
each statement hands the GIL over twice, which under load costs more than SQLite itself.
"""

from __future__ import annotations

from typing import Final, cast

import apsw
from msgspec import Struct

from ...errors import StreamDeletionPending, StreamNotFound
from ...model.batches import AppendAck, AppendInput
from ...model.configs import Cipher, ResolvedStreamConfig
from ..catalogue import StreamId
from ..sequencing import Block, StreamState, sequence, terminal_trim
from .catalogue_rows import decode_stream_config
from .schema import from_i64, saturated, to_i64

_CHUNKS: Final = (64, 16, 4, 1)
"""Rows per INSERT. Few sizes, so that the prepared statements stay cached."""

_BLOCK_SQL: Final = (
    "INSERT INTO block (stream_id, start_seq, end_seq, last_timestamp, metered_bytes, stored_ms, expires_ms, body) "
    "VALUES "
)
_STATE_SQL: Final = (
    "INSERT INTO stream_state (stream_id, tail, last_timestamp, fencing_token, trim_point, written_ms) VALUES "
)
_STATE_CONFLICT: Final = (
    " ON CONFLICT (stream_id) DO UPDATE SET tail = excluded.tail, last_timestamp = excluded.last_timestamp, "
    "fencing_token = excluded.fencing_token, trim_point = excluded.trim_point, written_ms = excluded.written_ms"
)
_BLOCK_INSERTS: Final = {n: _BLOCK_SQL + ",".join(["(?,?,?,?,?,?,?,?)"] * n) for n in _CHUNKS}
_STATE_UPSERTS: Final = {n: _STATE_SQL + ",".join(["(?,?,?,?,?,?)"] * n) + _STATE_CONFLICT for n in _CHUNKS}
_BLOCK_COLUMNS: Final = 8
_STATE_COLUMNS: Final = 6

_LOAD: Final = (
    "SELECT s.config, s.cipher, s.deleted_at IS NOT NULL, t.tail, t.last_timestamp, t.fencing_token, t.trim_point, "
    "t.sweep_due_ms FROM stream s JOIN stream_state t USING (stream_id) WHERE stream_id = ?"
)


class Known(Struct, gc=False):
    """What the writer remembers of a stream between transactions."""

    config: ResolvedStreamConfig
    cipher: Cipher | None
    deleted: bool
    state: StreamState
    sweep_due_ms: int | None


def load_known(connection: apsw.Connection, stream_id: StreamId) -> Known | None:
    """The stream as it is in the database, or None if this incarnation is gone."""
    for row in connection.execute(_LOAD, (stream_id,)):
        config, cipher, deleted, tail, last, token, trim_point, due = cast(
            tuple[bytes, str | None, int, int, int, str, int, int | None], row
        )
        return Known(
            config=decode_stream_config(config),
            cipher=None if cipher is None else Cipher(cipher),
            deleted=bool(deleted),
            state=StreamState(tail, from_i64(last), token, trim_point),
            sweep_due_ms=due,
        )
    return None


class StateCache:
    """The streams that the writer knows; dropped whole when another process has written."""

    MAX_STREAMS: Final = 100_000

    def __init__(self) -> None:
        self._known: dict[StreamId, Known] = {}
        self._version: int | None = None

    def validate(self, data_version: int) -> None:
        """Forget everything if the database was changed by somebody else since the last look."""
        if data_version != self._version or len(self._known) > self.MAX_STREAMS:
            self._known.clear()
            self._version = data_version

    def get(self, connection: apsw.Connection, stream_id: StreamId) -> Known | None:
        known = self._known.get(stream_id)
        if known is None:
            known = load_known(connection, stream_id)
            if known is not None:
                self._known[stream_id] = known
        return known

    def forget(self, stream_id: StreamId) -> None:
        self._known.pop(stream_id, None)

    def clear(self) -> None:
        self._known.clear()
        self._version = None


class Group:
    """The work of one transaction. Nothing of it shows outside before `committed`."""

    def __init__(self, connection: apsw.Connection, cache: StateCache) -> None:
        self._connection = connection
        self._cache = cache
        self._states: dict[StreamId, tuple[StreamState, int]] = {}
        self._due: dict[StreamId, int] = {}
        self._unwritten: list[tuple[StreamId, Block]] = []
        self.blocks: list[tuple[StreamId, Block]] = []
        """Everything appended in this group, for the followers."""
        self.deleted: list[StreamId] = []
        """Streams that were closed in this group."""
        self.first_commit_id: int | None = None
        self.last_commit_id = 0
        self.sweep = False
        """Whether there is something for the sweeper to do now."""

    def append(self, stream_id: StreamId, batch: AppendInput, now_ms: int) -> AppendAck:
        """Sequence `batch`; raises why it may not be appended, and then nothing has changed."""
        known = self._cache.get(self._connection, stream_id)
        if known is None:
            raise StreamNotFound("the stream does not exist any more")
        if known.deleted:
            raise StreamDeletionPending("stream deletion pending")
        held = self._states.get(stream_id)
        state = known.state if held is None else held[0]
        new, block, ack = sequence(state, known.config, known.cipher, batch, now_ms=now_ms)
        self._keep(stream_id, known, new, block)
        if new.trim_point > state.trim_point:
            self._due[stream_id] = 0
            self.sweep = True
        return ack

    def close_stream(self, stream_id: StreamId, now_ms: int) -> None:
        """Append the terminal trim; the catalogue row says in the same transaction that the stream is deleted."""
        self.flush()
        known = self._cache.get(self._connection, stream_id)
        assert known is not None, "the stream was found in this transaction"
        new, block = terminal_trim(known.state, now_ms=now_ms)
        self._keep(stream_id, known, new, block)
        self.blocks.pop()  # followers learn of the end by looking at the store
        self.deleted.append(stream_id)
        self._due[stream_id] = 0
        self.sweep = True
        self.flush()
        self._cache.forget(stream_id)

    def _keep(self, stream_id: StreamId, known: Known, state: StreamState, block: Block) -> None:
        self._states[stream_id] = (state, block.stored_ms)
        self._unwritten.append((stream_id, block))
        self.blocks.append((stream_id, block))
        due = self._due.get(stream_id, known.sweep_due_ms)
        if block.expires_ms is not None and (due is None or block.expires_ms < due):
            self._due[stream_id] = block.expires_ms

    def flush(self) -> None:
        """Write what is collected, so that statements of this transaction see it."""
        self._write_blocks()
        self._write_states()
        for stream_id, due in self._due.items():
            self._connection.execute("UPDATE stream_state SET sweep_due_ms = ? WHERE stream_id = ?", (due, stream_id))
        for stream_id, (state, _) in self._states.items():
            known = self._cache.get(self._connection, stream_id)
            if known is not None:
                known.state = state
                known.sweep_due_ms = self._due.get(stream_id, known.sweep_due_ms)
        self._states.clear()
        self._due.clear()

    def _write_blocks(self) -> None:
        rows = self._unwritten
        if not rows:
            return
        values: list[int | bytes | None] = []
        for stream_id, block in rows:
            values += (
                stream_id,
                block.start_seq,
                block.end_seq,
                saturated(block.last_timestamp),
                block.metered_bytes,
                block.stored_ms,
                block.expires_ms,
                block.body,
            )
        self._insert(_BLOCK_INSERTS, values, _BLOCK_COLUMNS)
        last = self._connection.last_insert_rowid()
        if self.first_commit_id is None:
            self.first_commit_id = last - len(rows) + 1
        self.last_commit_id = last
        self._unwritten = []

    def _write_states(self) -> None:
        values: list[int | str] = []
        for stream_id, (state, written_ms) in self._states.items():
            values += (
                stream_id,
                state.tail,
                to_i64(state.last_timestamp),
                state.fencing_token,
                state.trim_point,
                written_ms,
            )
        self._insert(_STATE_UPSERTS, values, _STATE_COLUMNS)

    def _insert(
        self, statements: dict[int, str], values: list[int | bytes | None] | list[int | str], columns: int
    ) -> None:
        begin, left = 0, len(values) // columns
        for size in _CHUNKS:
            while left >= size:
                end = begin + size * columns
                self._connection.execute(statements[size], values[begin:end])
                begin, left = end, left - size
