"""Who reads a generation in the process that writes it.

A tap hands a reader what became durable without a detour through the store. A single-use stream is trimmed once its
generation has ended, so there the readers tell how far they have come, and the trim waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from ..model.batches import AppendAck, Part, PlainRecords, ReadBatch
from ..model.records import AppendRecord, SequencedRecord
from ..telemetry.log_fields import about
from .tap import Tap

logger: Final = logging.getLogger("perdure.resumable")

SLOW_READER_SECONDS: Final = 30.0
"""How long the trim of a single-use stream waits for the readers that this process serves."""


class Reader:
    """How far a reader that this process serves has come; the trim of a single-use stream waits for it."""

    __slots__ = ("_readers", "_tap", "position")

    def __init__(self, readers: LocalReaders, position: int, tap: Tap | None) -> None:
        self._readers = readers
        self._tap = tap
        self.position: int = position

    def is_safe_at(self, seq_num: int) -> bool:
        """Whether the reader needs nothing below `seq_num` from the store."""
        return self.position >= seq_num or (self._tap is not None and self._tap.holds_all)

    def reached(self, seq_num: int) -> None:
        """Everything below `seq_num` was handed to the client."""
        self.position = seq_num
        self._readers.moved()

    def detach(self) -> None:
        """The reader is gone."""
        self._readers.discard(self)


class LocalReaders:
    """The taps and readers of one generation, which is on the stream `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._taps: dict[Tap, None] = {}
        self._readers: set[Reader] = set()
        self._moved: asyncio.Event | None = None

    @property
    def are_there(self) -> bool:
        """Whether there are readers that tell how far they have come."""
        return bool(self._readers)

    def attach(self, position: int, tap: Tap | None) -> Reader:
        """Announce a reader that has been given everything below `position`, and reads from `tap` if it can."""
        reader = Reader(self, position, tap)
        self._readers.add(reader)
        return reader

    def discard(self, reader: Reader) -> None:
        """For `Reader.detach`."""
        self._readers.discard(reader)
        self.moved()

    def moved(self) -> None:
        """A reader has come further, or gone."""
        if self._moved is not None:
            self._moved.set()

    async def wait_until_at(self, seq_num: int) -> None:
        """Wait until every reader has passed `seq_num`, or has been too slow."""
        moved = self._moved = asyncio.Event()
        try:
            async with asyncio.timeout(SLOW_READER_SECONDS):
                while not all(reader.is_safe_at(seq_num) for reader in self._readers):
                    moved.clear()
                    await moved.wait()
        except TimeoutError:
            logger.warning(
                *("a reader of %r was too slow: the stream is trimmed before it has all", self._name),
                extra=about(self._name),
            )
        finally:
            self._moved = None

    def tap(self) -> Tap:
        """Everything that becomes durable from now on."""
        tap = Tap(self._forget_tap)
        self._taps[tap] = None
        return tap

    def _forget_tap(self, tap: Tap) -> None:
        self._taps.pop(tap, None)

    def became_durable(self, ack: AppendAck, records: Sequence[AppendRecord]) -> None:
        """Hand a batch that was acknowledged to the taps."""
        if not self._taps:
            return
        start_seq, timestamp = ack.start.seq_num, ack.end.timestamp
        metered_bytes = sum([record.metered_bytes for record in records])
        part: Part
        if any(record.headers for record in records):
            part = ReadBatch(
                tuple(
                    [
                        SequencedRecord(seq_num, timestamp, record.body, record.headers)
                        for seq_num, record in enumerate(records, start_seq)
                    ]
                )
            )
        else:
            part = PlainRecords(start_seq, [record.body for record in records], timestamp)
        for tap in self._taps:
            tap.put(part, metered_bytes)

    def close_taps(self) -> None:
        """Nothing more comes from here; who reads from a tap goes on in the store."""
        for tap in self._taps:
            tap.close()
