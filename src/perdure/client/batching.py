"""Gathering single records into batches: decisions only, the waiting is done elsewhere."""

from __future__ import annotations

from typing import Final

from ..errors import Invalid
from ..model.limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from ..model.metering import RECORD_OVERHEAD_BYTES
from ..model.records import AppendRecord

DEFAULT_LINGER_MS: Final = 5.0


class Batcher:
    """Records in, one by one; batches out, in order, none above the limits.

    A batch comes out when it is full, when the next record would not fit, when its first record has
    waited for `linger_ms` (0: at once, so that every record is a batch of its own), and on `flush`. The
    caller owns the clock: it passes the time in seconds and calls `due` when `deadline` has come.
    """

    def __init__(
        self,
        *,
        linger_ms: float = DEFAULT_LINGER_MS,
        max_batch_records: int = MAX_BATCH_RECORDS,
        max_batch_bytes: int = MAX_BATCH_BYTES,
    ) -> None:
        """Raises `Invalid` for a negative linger, and for limits that the protocol does not allow."""
        if not isinstance(linger_ms, (int, float)) or not 0 <= linger_ms < float("inf"):
            raise Invalid(f"linger_ms must be a finite number, 0 or more, got {linger_ms!r}")
        if not isinstance(max_batch_records, int) or not 1 <= max_batch_records <= MAX_BATCH_RECORDS:
            raise Invalid(f"max_batch_records must be 1 to {MAX_BATCH_RECORDS}, got {max_batch_records!r}")
        if not isinstance(max_batch_bytes, int) or not RECORD_OVERHEAD_BYTES <= max_batch_bytes <= MAX_BATCH_BYTES:
            raise Invalid(
                f"max_batch_bytes must be {RECORD_OVERHEAD_BYTES} to {MAX_BATCH_BYTES}, got {max_batch_bytes!r}"
            )
        self._linger = linger_ms / 1000
        self._max_records = max_batch_records
        self._max_bytes = max_batch_bytes
        self._records: list[AppendRecord] = []
        self._bytes = 0
        self.deadline: float | None = None
        """When the records held here must go out, in the caller's seconds; None while there are none."""

    def __len__(self) -> int:
        return len(self._records)

    def fits(self, record: AppendRecord) -> bool:
        """Whether `record` can join the records held here, rather than push them out first."""
        return self._bytes + record.metered_bytes <= self._max_bytes

    def add(self, record: AppendRecord, now: float) -> list[list[AppendRecord]]:
        """Take `record`, and give the batches that are ready because of it: none, one or two.

        Raises `Invalid` for a record above the byte limit; nothing is taken then.
        """
        size = record.metered_bytes
        if size > self._max_bytes:
            raise Invalid(f"a record of {size} metered bytes exceeds maximum batch size of {self._max_bytes} bytes")
        ready = [] if self.fits(record) else [self.flush()]
        if not self._records:
            self.deadline = now + self._linger
        self._records.append(record)
        self._bytes += size
        if not self._linger or len(self._records) == self._max_records or self._bytes == self._max_bytes:
            ready.append(self.flush())
        return ready

    def join(self, record: AppendRecord) -> int:
        """The quick half of `add`: take `record` if it has to wait with the ones held here, and nothing else follows.

        Gives its place in their batch; 0 if nothing was taken, and `add` has to decide.
        """
        records = self._records
        place = len(records)
        size = self._bytes + record.metered_bytes
        if not place or place + 1 >= self._max_records or size >= self._max_bytes:
            return 0
        records.append(record)
        self._bytes = size
        return place

    def due(self, now: float) -> bool:
        """Whether the records held here have waited long enough."""
        return self.deadline is not None and now >= self.deadline

    def flush(self) -> list[AppendRecord]:
        """Give up what is held here, as one batch; empty if there is nothing."""
        records, self._records = self._records, []
        self._bytes = 0
        self.deadline = None
        return records
