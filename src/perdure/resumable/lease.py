"""Leases: when a silent writer counts as dead, and how its generation is ended for it.

A writer that offers a lease in its holder token writes something at least once per third of it. So when nothing was
written for a whole lease, it is dead, and whoever notices ends its generation with one batch. The batch is guarded by
the holder's token and by the tail, so it loses against a writer that lives and against everybody who was quicker.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from ..errors import AppendConditionFailed, PerdureError
from ..model.records import AppendRecord
from ..telemetry.log_fields import about
from ..telemetry.measures import LEASES_LOST
from . import tokens
from .settings import DEFAULT_SESSION_LEASE_MS, Surroundings
from .tail_search import StreamHead, find_head

if TYPE_CHECKING:
    from ..client import Stream

logger: Final = logging.getLogger("perdure.resumable")

JITTER_SHARE: Final = 0.2
"""Readers wait up to this share of the lease longer, so that not all of them try at once."""


class GenerationAbandoned(PerdureError):
    """The process that wrote a generation died; `on_error` gets this to find a text for the readers."""

    def __init__(self, message: str = "the writer of this generation is gone") -> None:
        super().__init__(message)


def is_over(lease_ms: int, last_record_timestamp: int, now_ms: int) -> bool:
    """Whether a writer that was last heard of at `last_record_timestamp` has lost its lease."""
    return now_ms - last_record_timestamp >= lease_ms


def remaining_ms(head: StreamHead, now_ms: int) -> int | None:
    """How long the active generation's lease still runs, 0 if it is over; None if there is none."""
    lease_ms = head.lease_ms
    if lease_ms is None or head.last_record_timestamp is None:
        return None
    return max(0, lease_ms - (now_ms - head.last_record_timestamp))


def silence_ms(lease_ms: int, jitter: float) -> float:
    """How long a reader hears nothing before it looks whether the writer is dead."""
    return lease_ms * (1 + JITTER_SHARE * jitter)


AbandonedBody: TypeAlias = Callable[["Stream", int], Awaitable[bytes | None]]
"""Gives the error record for the abandoned generation at the end of a stream, which has this tail; None for none."""


class LeaseWarden:
    """Ends the abandoned generations of one process: one attempt at a time for each stream."""

    def __init__(
        self,
        surroundings: Surroundings,
        abandoned_body: AbandonedBody,
        session_lease_ms: int | None,
    ) -> None:
        self._surroundings = surroundings
        self._abandoned_body = abandoned_body
        self._trying: set[str] = set()
        self.unknown_lease_ms: int = DEFAULT_SESSION_LEASE_MS if session_lease_ms is None else session_lease_ms
        """The silence after which a reader that does not know the state looks for it."""

    async def end_if_over(self, stream: Stream, head: StreamHead) -> StreamHead:
        """End the generation if its lease is over; the state after that, or `head` if there was nothing to do."""
        remaining = remaining_ms(head, self._surroundings.now_ms()) if head.active else None
        if remaining != 0:
            return head
        await self._end(stream, head)
        return await find_head(stream)

    async def silence_noticed(self, stream: Stream, lease_ms: int | None) -> float | None:
        """A reader heard nothing for long: look, and end the generation if its writer is dead.

        Gives the milliseconds after which to look again if nothing comes; None to look only after the next record.
        """
        again_ms = silence_ms(lease_ms or self.unknown_lease_ms, self._surroundings.jitter())
        if stream.name in self._trying:
            return again_ms  # somebody else does it, and what they write wakes us
        self._trying.add(stream.name)
        try:
            head = await find_head(stream)
            remaining = remaining_ms(head, self._surroundings.now_ms()) if head.active else None
            if remaining is None:
                return None
            if remaining == 0:
                await self._end(stream, head)
                return again_ms
            return silence_ms(remaining, self._surroundings.jitter())
        except PerdureError as exc:
            logger.warning(
                *("could not look whether the writer of %r is gone", stream.name),
                exc_info=exc,
                extra=about(stream.name, error=exc),
            )
            return again_ms
        finally:
            self._trying.discard(stream.name)

    async def _end(self, stream: Stream, head: StreamHead) -> None:
        assert head.held_token is not None
        fence = tokens.terminal_token(tokens.FenceKind.ERROR, self._surroundings.random_bytes)
        body = await self._abandoned_body(stream, head.next_seq_num)
        told = [] if body is None else [AppendRecord(body)]
        try:
            await stream.append(
                [*told, AppendRecord.fence(fence)],
                fencing_token=head.held_token,
                match_seq_num=head.next_seq_num,
            )
        except AppendConditionFailed:
            return  # the writer lives, or somebody was quicker
        LEASES_LOST.add(1)
        logger.warning("ended the generation on %r, whose writer is gone", stream.name, extra=about(stream.name))
