"""How far a read session has come, and what is left to ask for after a lost connection (store API, section 10.6)."""

from __future__ import annotations

from ..model.batches import ReadBatch
from ..model.positions import SeqNum
from ..model.reads import ReadLimits, ReadRequest


class ReadProgress:
    """A read request, and what was received of it. Times are seconds of any clock that only goes forward."""

    __slots__ = ("_asked", "_bytes", "_count", "_next", "_seen_tail_at")

    def __init__(self, request: ReadRequest) -> None:
        self._asked = request
        self._next: int | None = None
        self._count = 0
        self._bytes = 0
        self._seen_tail_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the place to go on at is known."""
        return self._next is not None

    def received(self, batch: ReadBatch, now: float) -> None:
        """Account for a batch or a heartbeat. Every record counts, also those that somebody will leave out."""
        if batch.records:
            self._next = batch.records[-1].seq_num + 1
            self._count += len(batch.records)
            if self._asked.limits.bytes is not None:
                self._bytes += sum([record.metered_bytes for record in batch.records])
        elif batch.tail is not None:
            # From here on and not from the start again, which may have been "the tail" of an earlier moment.
            self._next = batch.tail.seq_num
        self._seen_tail_at = None if batch.tail is None else now

    def rest(self, now: float) -> ReadRequest | None:
        """What to ask for next; None when a limit is reached, so that nothing is left."""
        asked, limits = self._asked, self._asked.limits
        count = None if limits.count is None else limits.count - self._count
        size = None if limits.bytes is None else limits.bytes - self._bytes
        if self._next is None:
            return asked
        if (count is not None and count <= 0) or (size is not None and size <= 0):
            return None
        wait = asked.wait
        if wait is not None and self._seen_tail_at is not None:
            wait = max(wait - int(now - self._seen_tail_at), 0.0)
        return ReadRequest(SeqNum(self._next), ReadLimits(count, size, limits.until), asked.clamp, wait)
