"""What an append does to a stream: the one decision that every engine commits and none repeats.

`sequence` is a pure function of a stream's state, its configuration, a batch and the time. It either
raises why the batch may not be appended, and then nothing has changed, or gives the stream's next
state and the block to store. Engines call it inside the transaction that writes the outcome.

The rules are those of the store API, sections 5.2 to 5.7.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ..errors import FencingTokenMismatch, Invalid, SeqNumMismatch
from ..model.batches import AppendAck, AppendInput
from ..model.configs import Cipher, ResolvedStreamConfig, TimestampingMode
from ..model.limits import MAX_FRAME_BYTES, MAX_U32, MAX_U64
from ..model.positions import StreamPosition
from ..model.records import AppendRecord, CommandKind, is_command, trim_point_of
from ..wire.block import encode_block

_FRAME_OVERHEAD_BYTES: Final = 1 + 24
"""The flag of an s2s frame, and the tail that a live batch carries beside its block."""

MAX_BLOCK_BYTES: Final = MAX_FRAME_BYTES - _FRAME_OVERHEAD_BYTES
"""An encoded block must fit the frame in which readers get it."""

MAX_AES_GCM_SEQ_NUM: Final = MAX_U32
"""Random 96-bit nonces bound how many records one AES-256-GCM key may seal (store API, section 1.7)."""


class StreamState(Struct, frozen=True, gc=False):
    """What sequencing must know of a stream.

    `tail` is the sequence number that the next record will get, `last_timestamp` that of the last
    record (0 before the first), `fencing_token` the current writer's claim (empty: none), and records
    below `trim_point` may go.
    """

    tail: int = 0
    last_timestamp: int = 0
    fencing_token: str = ""
    trim_point: int = 0

    @property
    def position(self) -> StreamPosition:
        return StreamPosition(self.tail, self.last_timestamp)


class Block(Struct, frozen=True, gc=False):
    """One appended batch as it is stored and sent: `body` is an encoded `ReadBatch` without tail.

    It holds the records from `start_seq` up to but not including `end_seq`. `stored_ms` and
    `expires_ms` are milliseconds since the epoch; no expiry means that it stays until trimmed.
    """

    start_seq: int
    end_seq: int
    last_timestamp: int
    metered_bytes: int
    stored_ms: int
    expires_ms: int | None
    body: bytes

    @property
    def tail(self) -> StreamPosition:
        """The stream's tail right after this batch."""
        return StreamPosition(self.end_seq, self.last_timestamp)


class CopiedBatch(AppendInput, frozen=True):
    """A block of another engine's stream, to be stored as it is; `match_seq_num` must be the tail that it comes after.

    `state` is what the stream is with it: its tail is the block's end. The block may begin beyond the tail, as where
    the original lost records to retention. Build it with `CopiedBatch.of_block`.
    """

    block: Block | None = None
    state: StreamState | None = None

    @classmethod
    def of_block(cls, block: Block, *, after: int, state: StreamState) -> CopiedBatch:
        """Raises `ValueError` unless positions follow each other."""
        if not after <= block.start_seq < block.end_seq == state.tail:
            raise ValueError(
                f"a block from {block.start_seq} to {block.end_seq} does not lead from {after} to {state.tail}"
            )
        return cls((), after, None, block.metered_bytes, block, state)


def sequence(
    state: StreamState,
    config: ResolvedStreamConfig,
    cipher: Cipher | None,
    batch: AppendInput,
    *,
    now_ms: int,
) -> tuple[StreamState, Block, AppendAck]:
    """Number and stamp `batch` from the tail: the next state, the block to store and its ack.

    Raises `FencingTokenMismatch`, `SeqNumMismatch` or `Invalid` (a required timestamp is missing, a
    sequence number is beyond what the cipher allows, the encoded batch does not fit a frame), checked
    in this order. Commands in the batch take effect after it: the batch itself is checked against
    the state before it. A `CopiedBatch` is numbered and stamped already.
    """
    if batch.fencing_token is not None and batch.fencing_token != state.fencing_token:
        raise FencingTokenMismatch(state.fencing_token)
    if batch.match_seq_num is not None and batch.match_seq_num != state.tail:
        raise SeqNumMismatch(state.tail)
    records = batch.records
    if not records:
        return _copied(batch)
    start, end = state.tail, state.tail + len(records)
    if cipher is Cipher.AES_256_GCM and end - 1 > MAX_AES_GCM_SEQ_NUM:
        _check_cipher_range(start, records)
    timestamps = _timestamps(state.last_timestamp, config, records, now_ms)
    body = encode_block(start, timestamps, records)
    if len(body) > MAX_BLOCK_BYTES:
        raise Invalid(f"record batch must not exceed {MAX_BLOCK_BYTES} bytes as encoded for readers, got {len(body)}")
    last = timestamps[-1]
    retention = config.retention_secs
    block = Block(
        start_seq=start,
        end_seq=end,
        last_timestamp=last,
        metered_bytes=batch.metered_bytes,
        stored_ms=now_ms,
        expires_ms=None if retention is None else now_ms + retention * 1000,
        body=body,
    )
    tail = StreamPosition(end, last)
    ack = AppendAck(StreamPosition(start, timestamps[0]), tail, tail)
    return _after_commands(state, start, records, end, last), block, ack


def _copied(batch: AppendInput) -> tuple[StreamState, Block, AppendAck]:
    assert isinstance(batch, CopiedBatch), "any other batch has records"
    assert batch.block is not None
    assert batch.state is not None
    block = batch.block
    start = StreamPosition(block.start_seq, block.last_timestamp)
    return batch.state, block, AppendAck(start, block.tail, block.tail)


def _timestamps(
    previous: int, config: ResolvedStreamConfig, records: tuple[AppendRecord, ...], now_ms: int
) -> list[int]:
    """The timestamp of each record: wanted, capped at arrival, never running backwards (section 5.3)."""
    mode, uncapped = config.timestamping_mode, config.timestamping_uncapped
    given = [record.timestamp for record in records]
    missing = given.count(None)
    if missing and mode is TimestampingMode.CLIENT_REQUIRE:
        raise Invalid("record timestamp was required but was missing")
    if missing == len(given) or mode is TimestampingMode.ARRIVAL:
        return [max(now_ms, previous)] * len(given)
    timestamps = []
    for wanted in given:
        if wanted is None or (wanted > now_ms and not uncapped):
            wanted = now_ms
        if wanted > previous:
            previous = wanted
        timestamps.append(previous)
    return timestamps


def _after_commands(
    state: StreamState, start: int, records: tuple[AppendRecord, ...], tail: int, last_timestamp: int
) -> StreamState:
    """The state after the batch: its last fence wins, its highest effective trim point counts."""
    token, trim_point = state.fencing_token, state.trim_point
    with_headers = [(seq_num, record) for seq_num, record in enumerate(records, start) if record.headers]
    for seq_num, record in with_headers:
        if not is_command(record.headers):
            continue
        if record.command is CommandKind.FENCE:
            token = record.body.decode()
        else:
            # A trim reaches at most itself: a huge value never drops what is appended later.
            trim_point = max(trim_point, min(trim_point_of(record.body), seq_num + 1))
    return StreamState(tail, last_timestamp, token, trim_point)


def _check_cipher_range(start: int, records: tuple[AppendRecord, ...]) -> None:
    for seq_num, record in enumerate(records, start):
        if seq_num > MAX_AES_GCM_SEQ_NUM and record.command is None:
            raise Invalid(f"max assignable sequence number is {MAX_AES_GCM_SEQ_NUM}; attempted {seq_num}")


def terminal_trim(state: StreamState, *, now_ms: int) -> tuple[StreamState, Block]:
    """What deleting a stream appends: a trim of everything, which no client can write (section 1.7).

    The state's trim point is the new tail, so that no record of the stream is readable any more;
    followers that are attached still get the block as their last one.
    """
    timestamp = max(state.last_timestamp, now_ms)
    record = AppendRecord.trim(MAX_U64)
    end = state.tail + 1
    block = Block(
        start_seq=state.tail,
        end_seq=end,
        last_timestamp=timestamp,
        metered_bytes=record.metered_bytes,
        stored_ms=now_ms,
        expires_ms=None,
        body=encode_block(state.tail, [timestamp], [record]),
    )
    return StreamState(end, timestamp, state.fencing_token, end), block
