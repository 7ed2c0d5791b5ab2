"""From records to messages, with the place to go on from: decisions only, nothing waits here."""

from __future__ import annotations

from msgspec import Struct

from ..model.records import SequencedRecord
from .deduplication import DedupeFilter
from .framing import DEFAULT_MAX_FRAME_BYTES, FrameAssembler


class MessageRange(Struct, frozen=True, gc=False):
    """Where a message is in its stream: the sequence number of its first record, and one past its last."""

    start: int
    end: int


class ReadCheckpoint(Struct, frozen=True, gc=False):
    """Where to read on so that every later message comes once, and none again.

    Start the new read at `seq_num` and give the checkpoint to `DeserializingReadSession`. It is not enough to
    remember a sequence number: what follows it may be a second copy of what came before, which only the last
    writer's id and count tell. Keep it with the effect of the message, as JSON for example:
    `msgspec.json.encode(checkpoint)`.
    """

    seq_num: int
    writer_id: str | None = None
    dedupe_seq: int | None = None


class Assembled(Struct, frozen=True, gc=False):
    """A whole message, serialised, and where it was."""

    payload: bytes
    range: MessageRange


class Reassembly:
    """The records of a stream in, in order; whole messages out, each once."""

    __slots__ = ("_assembler", "_checkpoint", "_duplicates", "_filter", "_first")

    def __init__(
        self,
        *,
        enable_dedupe: bool = True,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        checkpoint: ReadCheckpoint | None = None,
    ) -> None:
        """Raises `Invalid` for `max_frame_bytes` below 1. What they are: see `DeserializingReadSession`."""
        self._assembler = FrameAssembler(max_frame_bytes=max_frame_bytes)
        self._filter: DedupeFilter | None = None
        if enable_dedupe:
            self._filter = DedupeFilter(
                last_writer_id=None if checkpoint is None else checkpoint.writer_id,
                last_seq=None if checkpoint is None else checkpoint.dedupe_seq,
            )
        self._checkpoint = checkpoint
        self._first = 0
        self._duplicates = 0

    @property
    def checkpoint(self) -> ReadCheckpoint | None:
        """Where a new read would go on behind the messages that came out here; None before the first record."""
        return self._checkpoint

    @property
    def dropped_frames(self) -> int:
        """How many messages began and were given up."""
        return self._assembler.dropped_frames

    @property
    def duplicate_records(self) -> int:
        """How many records were passed over because they came before."""
        return self._duplicates

    def push(self, record: SequencedRecord) -> Assembled | None:
        """Take the next record; gives the message that is whole with it.

        Raises `FrameSizeError` and `MalformedHeader`; the checkpoint is not moved past the record then.
        """
        if self._checkpoint is None:
            self._checkpoint = ReadCheckpoint(record.seq_num)
        payload: bytes | None = None
        if self._filter is not None and not self._filter.accepts(record.headers):
            self._duplicates += 1
        else:
            was_open, dropped = self._assembler.is_open, self._assembler.dropped_frames
            payload = self._assembler.push(record.headers, record.body)
            if not was_open or dropped != self._assembler.dropped_frames:
                self._first = record.seq_num  # of the message that began with this record, if one did
        if not self._assembler.is_open:
            # Inside of a message it stays before the message: who goes on from there reads it whole.
            self._checkpoint = self._mark(record.seq_num + 1)
        if payload is None:
            return None
        return Assembled(payload, MessageRange(self._first, record.seq_num + 1))

    def _mark(self, seq_num: int) -> ReadCheckpoint:
        if self._filter is None:
            return ReadCheckpoint(seq_num)
        return ReadCheckpoint(seq_num, self._filter.last_writer_id, self._filter.last_seq)
