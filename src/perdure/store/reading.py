"""Where a read starts, what of a block it may hand out, and when its limits end it.

Pure decisions after the store API, sections 6.2 and 6.3; `read_session.py` does the waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from msgspec import Struct, structs

from ..errors import ReadUnwritten
from ..model.batches import Part, PlainRecords, ReadBatch
from ..model.positions import SeqNum, StreamPosition, TailOffset, Timestamp
from ..model.reads import ReadLimits, ReadRequest
from ..model.records import SequencedRecord
from ..wire.protobuf import decode_plain_bodies, decode_records, encode_records, encode_tail
from .sealing import Seal
from .sequencing import Block


class Measured(Protocol):
    """What the limits of a read look at."""

    @property
    def timestamp(self) -> int: ...

    @property
    def metered_bytes(self) -> int: ...


PART_RECORDS: Final = 1_000
"""How many records are taken from their blocks in one step: more at once is new memory, which is slower."""

MeasuredT = TypeVar("MeasuredT", bound=Measured)


class Delivery(Struct, frozen=True, gc=False):
    """What one step of a read hands out.

    Either whole blocks, still encoded and untouched, or records that were cut out of a block; a
    delivery with neither is a heartbeat. `tail` is given when the step came from following live.
    `cursor` is the sequence number at which the next step goes on. `opened` are the whole blocks once more, with what
    else is known of them.
    """

    cursor: int
    blocks: tuple[bytes, ...] = ()
    cut: tuple[SequencedRecord, ...] = ()
    tail: StreamPosition | None = None
    opened: tuple[Block, ...] = ()

    @property
    def is_heartbeat(self) -> bool:
        return not self.blocks and not self.cut

    def decoded(self) -> ReadBatch:
        """The delivery as values."""
        if len(self.blocks) == 1:
            records = tuple(decode_records(self.blocks[0]))
        elif self.blocks:
            records = tuple(decode_records(b"".join(self.blocks)))
        else:
            records = self.cut
        return ReadBatch(records, self.tail)

    def parts(self) -> tuple[Part, ...]:
        """The delivery as values where they are needed, and bodies where not. A heartbeat is one part."""
        blocks = self.opened
        if not blocks:
            return (self.decoded(),)
        parts: list[Part] = []
        start = 0
        for index, block in enumerate(blocks, 1):
            if index in (1, len(blocks) - 1, len(blocks)) or block.end_seq - blocks[start].start_seq >= PART_RECORDS:
                parts += _parts_of(blocks[start:index])  # what begins or ends a generation is in a block at an end
                start = index
        if self.tail is not None:
            parts[-1] = structs.replace(parts[-1], tail=self.tail)
        return tuple(parts)

    def encoded(self) -> bytes:
        """The delivery as one protobuf `ReadBatch`; whole blocks are passed on as they were stored."""
        parts = list(self.blocks)
        if self.cut:
            parts.append(encode_records(self.cut))
        if self.tail is not None:
            parts.append(encode_tail(self.tail))
        return b"".join(parts)


def start_of(request: ReadRequest, tail: StreamPosition) -> int | Timestamp:
    """The sequence number at which a read starts, or the timestamp that the engine must look for.

    Raises `ReadUnwritten` where nothing is written and the read may not wait for it.
    """
    start = request.start
    if isinstance(start, Timestamp):
        if start.value <= tail.timestamp:
            return start
        if not request.clamp:
            raise ReadUnwritten(tail)
        seq_num = tail.seq_num
    elif isinstance(start, TailOffset):
        seq_num = max(0, tail.seq_num - start.value)
    else:
        assert isinstance(start, SeqNum)
        seq_num = start.value
        if seq_num > tail.seq_num:
            if not request.clamp:
                raise ReadUnwritten(tail)
            seq_num = tail.seq_num
    if seq_num == tail.seq_num and not request.may_follow:
        raise ReadUnwritten(tail)
    return seq_num


class Budget:
    """How much of its limits a read has used, and so what it may still hand out."""

    def __init__(self, limits: ReadLimits) -> None:
        self._count = limits.count
        self._bytes = limits.bytes
        self._until = limits.until
        self.spent: bool = limits.count == 0 or limits.bytes == 0
        """True once a limit is reached: nothing more may be handed out."""
        self.taken_bytes: int = 0
        """Metered bytes handed out so far."""

    def records_left(self, most: int) -> int:
        """How many records may still be handed out, `most` at the most."""
        return most if self._count is None else min(most, self._count)

    def bytes_left(self, most: int) -> int:
        """How many metered bytes may still be handed out, `most` at the most."""
        return most if self._bytes is None else min(most, self._bytes)

    def take_whole(self, block: Block) -> bool:
        """Whether the whole block fits the limits; if so it counts as handed out."""
        count, size = block.end_seq - block.start_seq, block.metered_bytes
        if (
            (self._count is not None and count > self._count)
            or (self._bytes is not None and size > self._bytes)
            or (self._until is not None and block.last_timestamp >= self._until)
        ):
            return False
        self._spend(count, size)
        return True

    def take_records(self, records: Sequence[MeasuredT]) -> tuple[MeasuredT, ...]:
        """The records that still fit, in order; the first that does not ends the read."""
        taken: list[MeasuredT] = []
        for record in records:
            if self.spent:
                break
            size = record.metered_bytes
            if (self._bytes is not None and size > self._bytes) or (
                self._until is not None and record.timestamp >= self._until
            ):
                self.spent = True
                break
            taken.append(record)
            self._spend(1, size)
        return tuple(taken)

    def _spend(self, count: int, size: int) -> None:
        self.taken_bytes += size
        if self._count is not None:
            self._count -= count
            self.spent = self.spent or self._count == 0
        if self._bytes is not None:
            self._bytes -= size
            self.spent = self.spent or self._bytes == 0


def deliver(
    blocks: Sequence[Block],
    cursor: int,
    trim_point: int,
    budget: Budget,
    tail: StreamPosition | None,
    seal: Seal | None = None,
) -> Delivery:
    """What of `blocks` a read at `cursor` hands out, within its limits.

    Whole blocks go out as they are, as many as follow each other; a block that begins below the
    cursor or the trim point, or that the limits cut, goes out as records, by itself.

    With `seal`, the stream's blocks are sealed: what is handed out is opened, and nothing else. Raises
    `DecryptionFailed` if the key is not the one that a block was sealed with.
    """
    first = max(cursor, trim_point)
    whole: list[Block] = []
    for block in blocks:
        if block.end_seq <= first:
            continue
        if block.start_seq >= first and budget.take_whole(block):
            whole.append(block if seal is None else seal.open(block))
            cursor = block.end_seq
            if budget.spent:
                break
            continue
        if whole:
            break  # the next step cuts this one
        cut = _cut(block, first, budget, seal)
        if cut:
            cursor = cut[-1].seq_num + 1
        return Delivery(cursor, cut=cut, tail=tail)
    return Delivery(cursor, blocks=tuple([block.body for block in whole]), tail=tail, opened=tuple(whole))


def _parts_of(blocks: Sequence[Block]) -> list[Part]:
    """Blocks that follow each other, as bodies but for those blocks that hold headers."""
    start_seq, last = blocks[0].start_seq, blocks[-1]
    encoded = b"".join([block.body for block in blocks])
    bodies = decode_plain_bodies(encoded, start_seq, last.end_seq, last.last_timestamp)
    if bodies is not None:
        return [PlainRecords(start_seq, bodies, last.last_timestamp)]
    if len(blocks) == 1:
        return [ReadBatch(tuple(decode_records(encoded)))]
    middle = len(blocks) // 2
    return [*_parts_of(blocks[:middle]), *_parts_of(blocks[middle:])]


def _cut(block: Block, first: int, budget: Budget, seal: Seal | None) -> tuple[SequencedRecord, ...]:
    """The records of `block` from sequence number `first` on that the limits allow."""
    if seal is None:
        return budget.take_records([record for record in decode_records(block.body) if record.seq_num >= first])
    taken = budget.take_records([outline for outline in seal.outlines(block) if outline.seq_num >= first])
    if any(outline.is_sealed for outline in taken):
        block = seal.open(block)
    wanted = {outline.seq_num for outline in taken}
    return tuple([record for record in decode_records(block.body) if record.seq_num in wanted])
