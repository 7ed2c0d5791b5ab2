"""What a generation of this process has made durable, handed to the body of its own POST without a detour.

A tap gives what a read session from the generation's first record on would give: durable records with their sequence
numbers, in order, the terminal fence included. It promises only a beginning of that. When the reader is too slow, or
when anybody else has written to the stream, the tap ends early, and the reader goes on in the store where it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ..model.batches import AppendAck, ReadBatch
from ..model.records import AppendRecord, SequencedRecord

MAX_WAITING_BYTES: Final = 256 * 1024
"""What may wait for a reader in memory; beyond that it reads from the store."""


class Tap:
    """The durable records of one generation for one reader, from its first one on."""

    __slots__ = ("_dry", "_loop", "_size_bytes", "_waiter", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[SequencedRecord] = []
        self._size_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._dry = False

    def put(self, ack: AppendAck, records: Sequence[AppendRecord]) -> None:
        """Take a batch that was acknowledged."""
        if self._dry:
            return
        seq_num, timestamp = ack.start.seq_num, ack.end.timestamp
        for record in records:
            self._waiting.append(SequencedRecord(seq_num, timestamp, record.body, record.headers))
            self._size_bytes += record.metered_bytes
            seq_num += 1
        if self._size_bytes > MAX_WAITING_BYTES:
            self._dry = True
        self._wake()

    def close(self) -> None:
        """Nothing more comes; what waits is still given."""
        self._dry = True
        self._wake()

    @property
    def holds_all(self) -> bool:
        """Whether the reader gets everything from here, and needs nothing from the store."""
        return not self._dry

    async def next_batch(self) -> ReadBatch | None:
        """What has become durable since the last call; None when the reader must go on in the store."""
        while not self._waiting:
            if self._dry:
                return None
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        records, self._waiting, self._size_bytes = tuple(self._waiting), [], 0
        return ReadBatch(records)

    async def aclose(self) -> None:
        """The reader is gone."""
        self._dry = True
        self._waiting = []

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
