"""One commit group: the appends and changes that share a transaction, decided inside it.

`StateCache` remembers what earlier transactions left, until another process has written to the same stream.
`Group` sequences batches against it, collects blocks and states, and writes them in few statements:
each statement hands the GIL over twice, which under load costs more than SQLite itself.

Inside a transaction the cache runs ahead of the disk. So whoever undoes a transaction, or a part of
it, clears the cache.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Final, cast

import apsw
from msgspec import Struct

from ...errors import StreamDeletionPending, StreamNotFound
from ...model.batches import AppendAck, AppendInput
from ...model.configs import Cipher, ResolvedStreamConfig
from ..catalogue import StreamId
from ..entry_coding import decode_stream_config
from ..sequencing import Block, StreamState, sequence, terminal_trim
from .placement import Placement
from .schema import MAX_I64, from_i64, saturated, to_i64
from .segments import SegmentWriter

MAX_ROWS: Final = 64
"""Rows per INSERT at most. There is a text for each number of rows up to it: one statement for nearly every group,
since the GIL is handed over twice for each; and few enough to stay prepared (`schema.CACHED_STATEMENTS`)."""

_BLOCK_COLUMNS: Final = 12
_SEGMENT_COLUMN: Final = 8
_BODY_COLUMN: Final = 11
_BLOCK_SQL: Final = (
    " INTO block "
    "(stream_id, start_seq, end_seq, last_timestamp, metered_bytes, stored_ms, expires_ms, early, "
    "segment, place, length, body) VALUES "
)


def _inserts(verb: str) -> list[str]:
    row = "(" + ",".join("?" * _BLOCK_COLUMNS) + ")"
    return [verb + _BLOCK_SQL + ",".join([row] * count) for count in range(MAX_ROWS + 1)]


# In a transaction, a statement that might fail half-way keeps a copy of each page that it changes, which costs three
# times as much as the insert itself. `OR FAIL` leaves the half, and whatever fails undoes the whole transaction here.
_INSERTS_IN_TRANSACTION: Final = _inserts("INSERT OR FAIL")
_INSERTS_ALONE: Final = _inserts("INSERT")

_COMMANDED: Final = "UPDATE stream_state SET fencing_token = ?, trim_point = ? WHERE stream_id = ?"

_LOAD: Final = (
    "SELECT stream_id, s.config, s.cipher, s.deleted_at IS NOT NULL, t.tail, t.last_timestamp, t.fencing_token, "
    "t.trim_point, t.kept_until_ms, t.sweep_due_ms "
    "FROM stream s JOIN stream_state t USING (stream_id) WHERE stream_id IN (SELECT value FROM json_each(?))"
)


class Known(Struct, gc=False):
    """What the writer remembers of a stream between transactions.

    `kept_until_ms` is when the last of all blocks so far expires, `MAX_I64` for never; `sweep_due_ms` when the sweeper
    has something to look at.
    """

    config: ResolvedStreamConfig
    cipher: Cipher | None
    deleted: bool
    state: StreamState
    kept_until_ms: int
    sweep_due_ms: int | None


def load_known(connection: apsw.Connection, stream_ids: Iterable[StreamId]) -> dict[StreamId, Known]:
    """The streams as they are in the database, without those whose incarnation is gone."""
    found: dict[StreamId, Known] = {}
    for row in connection.execute(_LOAD, (json.dumps(list(stream_ids)),)):
        stream_id, config, cipher, deleted, tail, last, token, trim_point, kept, due = cast(
            tuple[int, bytes, str | None, int, int, int, str, int, int, int | None], row
        )
        found[StreamId(stream_id)] = Known(
            config=decode_stream_config(config),
            cipher=None if cipher is None else Cipher(cipher),
            deleted=bool(deleted),
            state=StreamState(tail, from_i64(last), token, trim_point),
            kept_until_ms=kept,
            sweep_due_ms=due,
        )
    return found


class StateCache:
    """The streams that the writer knows, and nobody else has changed since."""

    MAX_STREAMS: Final = 100_000

    def __init__(self) -> None:
        self._known: dict[StreamId, Known] = {}

    def begin(self, changed: Collection[StreamId] | None) -> None:
        """Forget the streams that others have `changed`; None: any of them."""
        if changed is None or len(self._known) > self.MAX_STREAMS:
            self._known.clear()
        else:
            for stream_id in changed:
                self._known.pop(stream_id, None)

    def get(self, connection: apsw.Connection, stream_id: StreamId) -> Known | None:
        if stream_id not in self._known:
            self._known.update(load_known(connection, [stream_id]))
        return self._known.get(stream_id)

    def prepare(self, connection: apsw.Connection, stream_ids: Iterable[StreamId]) -> None:
        """Load what is missing of these streams at once; all of them when many have been forgotten."""
        missing = [stream_id for stream_id in stream_ids if stream_id not in self._known]
        if len(missing) > 1:
            self._known.update(load_known(connection, missing))

    def forget(self, stream_id: StreamId) -> None:
        self._known.pop(stream_id, None)

    def clear(self) -> None:
        self._known.clear()


class GroupMark(Struct, frozen=True):
    """How far a group was when a job began, so that the job can be undone by itself."""

    blocks: int
    deleted: int
    first_commit_id: int | None
    last_commit_id: int
    sweep: bool


class Group:
    """The work of one transaction. Nothing of it shows outside before it is committed."""

    def __init__(self, connection: apsw.Connection, cache: StateCache, segments: SegmentWriter) -> None:
        self._connection = connection
        self._cache = cache
        self._segments = segments
        self._commanded: dict[StreamId, StreamState] = {}
        self._due: dict[StreamId, int] = {}
        self._unwritten: list[int | str | bytes | None] = []
        self._placement = Placement()
        self.logged_bytes: int = 0
        """Bytes of block bodies that went into rows, and so through the log."""
        self.blocks: list[tuple[StreamId, Block]] = []
        """Everything appended in this group, for the followers."""
        self.deleted: list[StreamId] = []
        """Streams that were closed in this group."""
        self.first_commit_id: int | None = None
        self.last_commit_id: int = 0
        self.sweep: bool = False
        """Whether there is something for the sweeper to do now."""
        self.appends_twice: bool = False
        """Whether more than one batch went to some stream, perhaps one that was undone."""
        self.resized: set[StreamId] = set()
        """Streams that hold more or less than before, and maybe some that were undone."""
        self._otherwise_changed: set[StreamId] = set()
        self.unneeded_segments: list[str] = []
        """Segments to delete once this is committed."""

    def append(self, stream_id: StreamId, batch: AppendInput, now_ms: int) -> AppendAck:
        """Sequence `batch`; raises why it may not be appended, and then nothing has changed."""
        known = self._cache.get(self._connection, stream_id)
        if known is None:
            raise StreamNotFound("the stream does not exist any more")
        if known.deleted:
            raise StreamDeletionPending("stream deletion pending")
        state = known.state
        new, block, ack = sequence(state, known.config, known.cipher, batch, now_ms=now_ms)
        self._keep(stream_id, known, new, block)
        self.blocks.append((stream_id, block))
        if new.trim_point > state.trim_point:
            self._sweep_now(stream_id, known)
        return ack

    def close_stream(self, stream_id: StreamId, now_ms: int) -> None:
        """Append the terminal trim; the catalogue row says in the same transaction that the stream is deleted.

        Followers are not handed its block: they learn of the end by looking at the store.
        """
        known = self._cache.get(self._connection, stream_id)
        assert known is not None, "the stream was found in this transaction"
        new, block = terminal_trim(known.state, now_ms=now_ms)
        self._keep(stream_id, known, new, block)
        self._sweep_now(stream_id, known)
        self.deleted.append(stream_id)
        self.flush()
        self._cache.forget(stream_id)

    def note_change(self, stream_id: StreamId) -> None:
        """A job changed this stream's rows by itself: what any writer remembers of it is stale."""
        self._otherwise_changed.add(stream_id)
        self._cache.forget(stream_id)

    @property
    def changed(self) -> set[StreamId]:
        """The streams of which something has changed, and maybe some where it was undone."""
        return self.resized | self._otherwise_changed

    def _sweep_now(self, stream_id: StreamId, known: Known) -> None:
        self._due[stream_id] = known.sweep_due_ms = 0
        self.sweep = True

    def _keep(self, stream_id: StreamId, known: Known, state: StreamState, block: Block) -> None:
        expires = None if block.expires_ms is None else saturated(block.expires_ms)
        kept_until = MAX_I64 if expires is None else expires
        early = None
        if kept_until >= known.kept_until_ms:
            known.kept_until_ms = kept_until
        else:
            early = 1
        if state.fencing_token != known.state.fencing_token or state.trim_point != known.state.trim_point:
            self._commanded[stream_id] = state
        known.state = state
        if stream_id in self.resized:
            self.appends_twice = True
        self.resized.add(stream_id)
        begin = len(self._unwritten)
        self._unwritten += (
            stream_id,
            block.start_seq,
            block.end_seq,
            to_i64(block.last_timestamp),
            block.metered_bytes,
            block.stored_ms,
            expires,
            early,
            None,
            None,
            None,
            block.body,
        )
        for row, body in self._placement.offer(begin, block.body, sync_is_due=self._segments.sync_is_due):
            place = self._segments.append(body)
            where = (place.segment, place.offset, place.length, None)
            self._unwritten[row + _SEGMENT_COLUMN : row + _BLOCK_COLUMNS] = where
        if expires is not None and (known.sweep_due_ms is None or expires < known.sweep_due_ms):
            self._due[stream_id] = known.sweep_due_ms = expires

    def flush(self) -> None:
        """Write what is collected, so that statements of this transaction see it."""
        if self._unwritten:
            self._write_blocks()
        for stream_id, state in self._commanded.items():
            self._connection.execute(_COMMANDED, (state.fencing_token, state.trim_point, stream_id))
        self._commanded.clear()
        for stream_id, due in self._due.items():
            self._connection.execute("UPDATE stream_state SET sweep_due_ms = ? WHERE stream_id = ?", (due, stream_id))
        self._due.clear()

    def let_go_of_segment(self) -> None:
        """Append to another segment from now on if nothing in this one is needed. Everything must be flushed."""
        self._segments.let_go_if_unneeded(self._connection)

    def sync(self) -> None:
        """Make durable what is not in SQLite's hands, as it must be before the commit."""
        self._segments.sync()

    def mark(self) -> GroupMark:
        """Where to come back to if what follows is undone. Everything before it is flushed."""
        self.flush()
        return GroupMark(len(self.blocks), len(self.deleted), self.first_commit_id, self.last_commit_id, self.sweep)

    def undo_to(self, mark: GroupMark) -> None:
        """Forget what came after `mark`; the caller rolls the rows back."""
        del self.blocks[mark.blocks :]
        del self.deleted[mark.deleted :]
        self.first_commit_id, self.last_commit_id = mark.first_commit_id, mark.last_commit_id
        self.sweep = mark.sweep
        self._commanded.clear()
        self._due.clear()
        self._unwritten.clear()
        self._placement.clear()
        self._cache.clear()

    @property
    def is_one_insert(self) -> bool:
        """Whether all that is collected is blocks, few enough for one statement; then `insert_alone` does."""
        rows = len(self._unwritten) // _BLOCK_COLUMNS
        return 0 < rows <= MAX_ROWS and not self._commanded and not self._due

    def insert_alone(self) -> None:
        """Write what is collected as a transaction of its own. There must be no transaction, and `is_one_insert`."""
        self._insert(_INSERTS_ALONE, self._unwritten)

    def _write_blocks(self) -> None:
        step = MAX_ROWS * _BLOCK_COLUMNS
        for begin in range(0, len(self._unwritten), step):
            self._insert(_INSERTS_IN_TRANSACTION, self._unwritten[begin : begin + step])
        self._unwritten = []
        self._placement.clear()

    def _insert(self, statements: list[str], values: list[int | str | bytes | None]) -> None:
        count = len(values) // _BLOCK_COLUMNS
        bodies = cast(list[bytes | None], values[_BODY_COLUMN::_BLOCK_COLUMNS])
        self.logged_bytes += sum(len(body) for body in bodies if body is not None)
        self._connection.execute(statements[count], values)
        last = self._connection.last_insert_rowid()
        if self.first_commit_id is None:
            self.first_commit_id = last - count + 1
        self.last_commit_id = last
