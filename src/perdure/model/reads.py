"""What a read asks for."""

from __future__ import annotations

from msgspec import Struct

from ..errors import Invalid
from .positions import ReadStart, SeqNum, TailOffset, Timestamp, check_u64


class ReadLimits(Struct, frozen=True, gc=False):
    """Where a read ends: after `count` records, `bytes` metered bytes, or before timestamp `until`."""

    count: int | None = None
    bytes: int | None = None
    until: int | None = None

    @property
    def unbounded(self) -> bool:
        return self.count is None and self.bytes is None and self.until is None


class ReadRequest(Struct, frozen=True, gc=False):
    """One read (store API, section 6.1). Build it with `ReadRequest.of`, which checks it.

    `clamp`: a start beyond the tail becomes the tail. `wait`: seconds to wait for new records at the
    tail; None waits for ever in a session without limits, and not at all otherwise.
    """

    start: ReadStart = TailOffset(0)
    limits: ReadLimits = ReadLimits()
    clamp: bool = False
    wait: float | None = None

    @classmethod
    def of(
        cls,
        start: ReadStart | None = None,
        *,
        count: int | None = None,
        bytes: int | None = None,
        until: int | None = None,
        clamp: bool = False,
        wait: float | None = None,
    ) -> ReadRequest:
        """Check the request's parts and build it; raises `Invalid`."""
        for value, what in ((count, "count"), (bytes, "bytes"), (until, "until")):
            if value is not None:
                check_u64(value, what)
        if start is not None and not isinstance(start, (SeqNum, Timestamp, TailOffset)):
            raise Invalid(f"a read starts at SeqNum(…), Timestamp(…) or TailOffset(…), got {start!r}")
        if wait is not None and (not isinstance(wait, (int, float)) or not 0 <= wait < float("inf")):
            raise Invalid(f"wait must be a finite number of seconds, 0 or more, got {wait!r}")
        if isinstance(start, Timestamp) and until is not None and start.value >= until:
            raise Invalid("start `timestamp` exceeds or equal to `until`")
        return cls(start if start is not None else TailOffset(0), ReadLimits(count, bytes, until), clamp, wait)

    @property
    def may_follow(self) -> bool:
        """Whether the read may wait at the tail for records to come (store API, section 6.3)."""
        return self.limits.unbounded or bool(self.wait)
