"""How much of an append session is on its way: arithmetic, without waiting."""

from __future__ import annotations

from typing import Final

from ..errors import Invalid
from ..model.limits import MAX_BATCH_BYTES

DEFAULT_MAX_IN_FLIGHT_BYTES: Final = 5 * 1024 * 1024
"""Five full batches: enough to keep a link busy, little enough to lose interest in."""


class InFlight:
    """Metered bytes and batches that were submitted and not yet answered, and their bounds.

    Raises `Invalid` for a bound on bytes below one full batch, since such a batch could never be sent,
    and for a bound on batches below 1.
    """

    __slots__ = ("batches", "bytes", "max_batches", "max_bytes")

    def __init__(self, *, max_bytes: int = DEFAULT_MAX_IN_FLIGHT_BYTES, max_batches: int | None = None) -> None:
        if not isinstance(max_bytes, int) or max_bytes < MAX_BATCH_BYTES:
            raise Invalid(f"max_in_flight_bytes must be at least {MAX_BATCH_BYTES}, got {max_bytes!r}")
        if max_batches is not None and (not isinstance(max_batches, int) or max_batches < 1):
            raise Invalid(f"max_in_flight_batches must be at least 1, got {max_batches!r}")
        self.max_bytes: int = max_bytes
        self.max_batches: int | None = max_batches
        self.bytes: int = 0
        self.batches: int = 0

    def fits(self, size_bytes: int) -> bool:
        """Whether a batch of this metered size may be sent now."""
        return self.bytes + size_bytes <= self.max_bytes and (
            self.max_batches is None or self.batches < self.max_batches
        )

    def add(self, size_bytes: int) -> None:
        """A batch was sent."""
        self.bytes += size_bytes
        self.batches += 1

    def remove(self, size_bytes: int) -> None:
        """A batch was answered, or given up."""
        self.bytes -= size_bytes
        self.batches -= 1
