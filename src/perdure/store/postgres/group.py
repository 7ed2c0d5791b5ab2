"""One group of batches: decided on what is known of their streams, written by one statement.

The statement is a transaction by itself, so a group costs one round trip. It locks the rows of all streams of the
group, in the order of their ids, and writes only to those that are still at the version on which the decision was made;
of the others it writes nothing, and tells which they are. Rejections are decisions as well, so their streams are looked
at in the same way. Streams are independent of each other: those that did not conflict are done.

Everything in this module but the text of the statement is pure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias, cast

from msgspec import Struct

from ...errors import PerdureError, StorageFailed, StreamDeletionPending, StreamNotFound
from ...model.batches import AppendAck, AppendInput
from ...model.configs import Cipher, ResolvedStreamConfig
from ..catalogue import StreamId
from ..engine import Lane
from ..entry_coding import decode_stream_config
from ..sequencing import Block, StreamState, sequence, terminal_trim
from .connection import Row
from .schema import MAX_I64, from_i64, saturated, to_i64

logger: Final = logging.getLogger("perdure.store.postgres")

LOAD: Final = (
    "SELECT t.stream_id, t.version, s.config, s.cipher, t.deleted, t.tail, t.last_timestamp, t.fencing_token, "
    "t.trim_point, t.kept_until_ms FROM stream_state t JOIN stream s USING (stream_id) "
    "WHERE t.stream_id = ANY($1::bigint[])"
)
"""What must be known of streams to decide: one statement, so one view of a state and its configuration."""

LOCK: Final = (
    "SELECT stream_id FROM stream_state WHERE stream_id = ANY($1::bigint[]) ORDER BY stream_id FOR NO KEY UPDATE"
)
"""Taken before `LOAD` where several servers write to one stream: they queue for the row, and none is in vain."""

WRITE: Final = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(
        $4::bigint[], $5::bigint[], $6::boolean[], $7::bigint[], $8::bigint[], $9::bytea[], $10::bigint[],
        $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[]
    ) AS w (
        stream_id, version, changes, tail, last_timestamp, fencing_token, trim_point,
        written_ms, kept_until_ms, due_ms, added_bytes
    )
), alive AS MATERIALIZED (
    SELECT writer_id FROM writer WHERE writer_id = $1::uuid AND epoch = $2::bigint FOR NO KEY UPDATE
), locked AS MATERIALIZED (
    SELECT stream_id, version FROM stream_state
    WHERE stream_id = ANY($4::bigint[]) AND EXISTS (SELECT FROM alive)
    ORDER BY stream_id FOR NO KEY UPDATE
), fresh AS MATERIALIZED (
    SELECT w.stream_id FROM wanted w JOIN locked l ON l.stream_id = w.stream_id AND l.version = w.version
), changed AS (
    UPDATE stream_state s SET
        version = s.version + 1,
        tail = w.tail,
        last_timestamp = w.last_timestamp,
        fencing_token = w.fencing_token,
        trim_point = w.trim_point,
        written_ms = w.written_ms,
        kept_until_ms = w.kept_until_ms,
        sweep_due_ms = least(s.sweep_due_ms, w.due_ms),
        stored_bytes = s.stored_bytes + w.added_bytes
    FROM wanted w JOIN fresh USING (stream_id)
    WHERE s.stream_id = w.stream_id AND w.changes
), inserted AS (
    INSERT INTO block (
        stream_id, start_seq, end_seq, last_timestamp, stored_ms, expires_ms, metered_bytes, early, body
    )
    SELECT b.* FROM unnest(
        $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[],
        $21::integer[], $22::boolean[], $23::bytea[]
    ) AS b (stream_id, start_seq, end_seq, last_timestamp, stored_ms, expires_ms, metered_bytes, early, body)
    WHERE b.stream_id IN (SELECT stream_id FROM fresh)
)
UPDATE writer SET
    number = $3::bigint,
    touched_at = now(),
    conflicted = ARRAY(SELECT stream_id FROM wanted EXCEPT SELECT stream_id FROM fresh)
WHERE writer_id = (SELECT writer_id FROM alive)
RETURNING conflicted
"""
"""$1 to $3: the writer, its epoch, the number of the transaction. Then the streams, then the blocks. No row comes back
if the writer has another epoch by now: then nothing was written."""


class Append:
    """A batch for a stream, whose `future` gets the ack; those of one lane fail together."""

    __slots__ = ("batch", "future", "lane", "stream_id")

    def __init__(
        self, stream_id: StreamId, batch: AppendInput, lane: Lane | None, future: asyncio.Future[AppendAck]
    ) -> None:
        self.stream_id: StreamId = stream_id
        self.batch: AppendInput = batch
        self.lane: Lane | None = lane
        self.future: asyncio.Future[AppendAck] = future


class Known(Struct, frozen=True, gc=False):
    """A stream at one version. `kept_until_ms` is when the last of all blocks so far expires, `MAX_I64` for never."""

    version: int
    config: ResolvedStreamConfig
    cipher: Cipher | None
    deleted: bool
    state: StreamState
    kept_until_ms: int


Answer: TypeAlias = "AppendAck | PerdureError"


def known_from_rows(rows: Sequence[Row]) -> dict[StreamId, Known]:
    """The streams of `LOAD`."""
    found: dict[StreamId, Known] = {}
    for row in rows:
        stream_id, version, config, cipher, deleted, tail, last, token, trim_point, kept = cast(
            "tuple[int, int, bytes, str | None, bool, int, int, bytes, int, int]", tuple(row)
        )
        found[StreamId(stream_id)] = Known(
            version=version,
            config=decode_stream_config(config),
            cipher=None if cipher is None else Cipher(cipher),
            deleted=deleted,
            state=StreamState(tail, from_i64(last), token.decode(), trim_point),
            kept_until_ms=kept,
        )
    return found


class StreamWork:
    """What a group does to one stream."""

    def __init__(self, stream_id: StreamId, known: Known) -> None:
        self.stream_id: StreamId = stream_id
        self.known: Known = known
        self.state: StreamState = known.state
        self.kept_until_ms: int = known.kept_until_ms
        self.due_ms: int | None = None
        self.blocks: list[Block] = []
        self.early: list[bool | None] = []

    def append(self, batch: AppendInput, now_ms: int) -> AppendAck:
        """Sequence `batch`; raises why it may not be appended, and then nothing has changed."""
        if self.known.deleted:
            raise StreamDeletionPending("stream deletion pending")
        new, block, ack = sequence(self.state, self.known.config, self.known.cipher, batch, now_ms=now_ms)
        self._keep(new, block)
        return ack

    def close(self, now_ms: int) -> None:
        """Append the terminal trim of a deletion."""
        self._keep(*terminal_trim(self.state, now_ms=now_ms))

    def _keep(self, new: StreamState, block: Block) -> None:
        expires = MAX_I64 if block.expires_ms is None else saturated(block.expires_ms)
        if expires >= self.kept_until_ms:
            self.kept_until_ms = expires
            self.early.append(None)
        else:
            self.early.append(True)
        if new.trim_point > self.state.trim_point:
            self.due_ms = 0
        elif expires < MAX_I64 and (self.due_ms is None or expires < self.due_ms):
            self.due_ms = expires
        self.state = new
        self.blocks.append(block)

    @property
    def after(self) -> Known:
        """The stream once this is committed."""
        if not self.blocks:
            return self.known
        known = self.known
        return Known(known.version + 1, known.config, known.cipher, known.deleted, self.state, self.kept_until_ms)

    @property
    def trims(self) -> bool:
        return self.due_ms == 0


class Plan:
    """What a group is to write, and what everybody is to be told once that is committed."""

    def __init__(self) -> None:
        self.streams: dict[StreamId, StreamWork] = {}
        self.answers: list[tuple[Append, Answer]] = []

    def settled(self, conflicted: Collection[StreamId]) -> list[tuple[Append, Answer]]:
        """The answers that count now, acks with the tail as of the commit."""
        told: list[tuple[Append, Answer]] = []
        for item, answer in self.answers:
            if item.stream_id in conflicted:
                continue
            if isinstance(answer, AppendAck):
                tail = self.streams[item.stream_id].state.position
                if tail != answer.tail:
                    answer = AppendAck(answer.start, answer.end, tail)
            told.append((item, answer))
        return told

    def left(self, conflicted: Collection[StreamId]) -> list[Append]:
        """The batches that are to be decided again, in their order."""
        return [item for item, _ in self.answers if item.stream_id in conflicted]

    def values(self) -> list[object]:
        """The parameters of `WRITE` from the fourth on."""
        return write_values(list(self.streams.values()))


def decide(items: Sequence[Append], known: Mapping[StreamId, Known], now_ms: int) -> Plan:
    """Decide each batch in turn. Withdrawn ones are left out, unless they are on a lane, which would get a hole."""
    plan = Plan()
    ended: dict[Lane, PerdureError] = {}
    for item in items:
        lane = item.lane
        if lane is None:
            if item.future.done():
                continue
        elif (failure := lane.failure or ended.get(lane)) is not None:
            plan.answers.append((item, failure))
            continue
        answer = _decide_one(item, known, plan, now_ms)
        plan.answers.append((item, answer))
        if lane is not None and isinstance(answer, PerdureError):
            ended[lane] = answer
    return plan


def _decide_one(item: Append, known: Mapping[StreamId, Known], plan: Plan, now_ms: int) -> Answer:
    work = plan.streams.get(item.stream_id)
    if work is None:
        found = known.get(item.stream_id)
        if found is None:
            return StreamNotFound("the stream does not exist any more")
        work = plan.streams[item.stream_id] = StreamWork(item.stream_id, found)
    try:
        return work.append(item.batch, now_ms)
    except PerdureError as exc:
        return exc
    except Exception as exc:  # a defect: sequencing is pure, so it concerns this batch alone
        logger.exception("a batch could not be sequenced")
        return StorageFailed(f"the batch could not be sequenced: {exc!r}")


def write_values(streams: Sequence[StreamWork]) -> list[object]:
    """The parameters of `WRITE` from the fourth on."""
    blocks = [
        (work.stream_id, block, early) for work in streams for block, early in zip(work.blocks, work.early, strict=True)
    ]
    return [
        [work.stream_id for work in streams],
        [work.known.version for work in streams],
        [bool(work.blocks) for work in streams],
        [work.state.tail for work in streams],
        [to_i64(work.state.last_timestamp) for work in streams],
        [work.state.fencing_token.encode() for work in streams],
        [work.state.trim_point for work in streams],
        [work.blocks[-1].stored_ms if work.blocks else 0 for work in streams],
        [work.kept_until_ms for work in streams],
        [work.due_ms for work in streams],
        [sum([block.metered_bytes for block in work.blocks]) for work in streams],
        [stream_id for stream_id, _, _ in blocks],
        [block.start_seq for _, block, _ in blocks],
        [block.end_seq for _, block, _ in blocks],
        [to_i64(block.last_timestamp) for _, block, _ in blocks],
        [block.stored_ms for _, block, _ in blocks],
        [None if block.expires_ms is None else saturated(block.expires_ms) for _, block, _ in blocks],
        [block.metered_bytes for _, block, _ in blocks],
        [early for _, _, early in blocks],
        [block.body for _, block, _ in blocks],
    ]
