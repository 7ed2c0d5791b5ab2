"""The records of one generation on their way into its stream: batched, in order, under the claim's guard.

A record goes out at once when nothing of this generation is on its way, together with what the source gives in the
same step of the event loop, so a lone token never waits. While an append is under way records gather, and go out
together when it is answered, when they fill a batch, or when the first of them has waited for `linger_ms`. Every batch
carries the holder's token and the sequence number it must get, so whatever somebody else appends in between makes the
next batch fail instead of tearing the generation apart.

Nothing here is created for a record: no task, no timer, no closure, and what waits is the body and nothing more. A
batch costs one call into the append session and one callback, and the writers of a chat object share the timers for
lingering and for renewing their leases.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from ..errors import AppendConditionFailed, SeqNumMismatch
from ..model.batches import AppendAck, AppendInput
from ..model.limits import MAX_BATCH_BYTES
from ..model.metering import RECORD_OVERHEAD_BYTES
from ..model.records import AppendRecord
from .claim import Claim
from .delay_line import DelayLine
from .event_limit import too_large
from .settings import ChatSettings

if TYPE_CHECKING:
    from ..client import AppendSession

MAX_BATCHES_IN_FLIGHT: Final = 16
"""Batches on their way before the source has to wait; enough to keep a distant store busy."""

MAX_WAITING_BYTES: Final = MAX_BATCH_BYTES

PAUSE_SECONDS: Final = 0.25
"""A writer that is silent for this long gets word of foreign fences by other means than its next append."""


RENEWAL: Final = AppendRecord.trim(0)
"""Frees nothing, and is skipped by every reader of every implementation; its timestamp is what counts."""


class WriterTiming:
    """What the writers of one chat object share: how long they wait for what, in seconds, and who wakes them."""

    def __init__(self, settings: ChatSettings) -> None:
        renew_after_ms = settings.renew_after_ms
        self.linger: float = settings.linger_ms / 1000
        self.renew_after: float = math.inf if renew_after_ms is None else renew_after_ms / 1000
        self.lingering: DelayLine = DelayLine(self.linger)
        # Often enough that a renewal is never late by much of its period.
        self.ticks: DelayLine = DelayLine(min(PAUSE_SECONDS, self.renew_after / 4))


class GenerationWriter:
    """Writes one generation through an append session that is open.

    `on_durable` is called for every batch that was acknowledged, in order. `on_failure` is called once, when a batch is
    refused or fails; after that nothing more is written. `on_pause` is called, perhaps more than once, when nothing
    was written for a while: then no append tells that somebody else has ended the generation. `on_doubt` is called when
    a batch was refused that may be there all the same, because its first answer was lost: nothing is submitted until
    `resume`, or `fail`, says what became of `in_flight`.
    """

    __slots__ = (
        "_batch_size", "_doubt", "_failure", "_has_commands", "_in_flight", "_inseparable", "_lingering", "_loop",
        "_on_doubt", "_on_durable", "_on_failure", "_on_pause", "_renew_after", "_session", "_ticking", "_timing",
        "_token", "_waiter", "_waiting", "_waiting_bytes", "durable_end", "has_room", "last_put", "next_seq",
        "on_answer",
    )  # fmt: skip

    def __init__(
        self,
        session: AppendSession,
        claim: Claim,
        settings: ChatSettings,
        timing: WriterTiming,
        *,
        on_durable: Callable[[AppendAck, Sequence[AppendRecord]], None],
        on_failure: Callable[[], None],
        on_pause: Callable[[], None],
        on_doubt: Callable[[], None],
    ) -> None:
        self._session = session
        self._token = claim.token
        self.next_seq: int = claim.start_seq
        """The sequence number after the last record that was submitted."""
        self._batch_size = settings.batch_size
        self._timing = timing
        self._renew_after = timing.renew_after
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._on_pause = on_pause
        self._on_doubt = on_doubt
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes | AppendRecord] = []
        self._waiting_bytes = 0
        self._has_commands = False
        self._lingering = False
        self._inseparable = 0
        self._in_flight: deque[tuple[AppendRecord, ...]] = deque()
        self.has_room: bool = True
        """Whether the next record may come; otherwise `wait_for_room` first."""
        self._doubt: AppendConditionFailed | None = None
        self._failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ticking = True
        self.on_answer: Callable[[], None] | None = None
        """Called when a batch was answered, so that there may be room again."""
        self.durable_end: int = claim.start_seq
        """The sequence number after the last record that is known to be durable."""
        self.last_put: float = self._loop.time()
        """When the last record was given, by the loop's clock."""
        timing.ticks.add(self._tick)

    @property
    def failure(self) -> BaseException | None:
        """Why a batch was not applied."""
        return self._failure

    @property
    def in_flight(self) -> Sequence[Sequence[AppendRecord]]:
        """The batches that were submitted and not acknowledged, in order; the first one goes to `durable_end`."""
        return tuple(self._in_flight)

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes after `in_flight`, as the generation's end is among it."""
        return not self._ticking and not self._waiting

    def put(self, body: bytes) -> None:
        """Take the body of one record. Once the writer has failed, what is put goes nowhere.

        Raises `EventTooLarge` if no record can hold it.
        """
        size = RECORD_OVERHEAD_BYTES + len(body)
        if size > MAX_BATCH_BYTES:
            raise too_large(body)
        self._take(body, size)

    def _take(self, record: bytes | AppendRecord, size: int) -> None:
        if self._failure is not None:
            return
        waiting = self._waiting
        waiting.append(record)
        self._waiting_bytes += size
        if len(waiting) >= self._batch_size or self._waiting_bytes >= MAX_BATCH_BYTES:
            self._flush()
        elif len(waiting) == 1:
            self.last_put = self._loop.time()
            if not self._in_flight:
                # Not this very moment: what the source gives in the same breath shares the append.
                self._loop.call_soon(self._flush)
            elif not self._lingering:
                self._lingering = True
                self._timing.lingering.add(self._lingered)

    def put_last(self, records: Sequence[AppendRecord]) -> None:
        """Take the records that end the generation: together with what waits, and with no renewal after them.

        They go in one batch whatever its limit is: whoever died between the trim of all and the fence would leave a
        stream that tells nobody of its end.
        """
        self.stop_ticking()
        if self._failure is None:
            self._waiting.extend(records)
            self._has_commands = True
            self._inseparable = len(records)
            self._waiting_bytes += sum(record.metered_bytes for record in records)
            self._flush()

    async def wait_for_room(self) -> None:
        """Wait until `put` may be called again, or the writer has failed."""
        while not self.has_room and self._failure is None:
            await self._changed()

    async def drain(self) -> None:
        """Write what waits and wait for every acknowledgement; raises why one did not come."""
        while self._failure is None and (self._waiting or self._in_flight):
            if self._waiting:
                self._flush()
            if self._in_flight:
                await self._changed()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def stop_ticking(self) -> None:
        """Renew no more, and look for no more pauses."""
        self._ticking = False

    def drop_waiting(self) -> None:
        """Forget what was not submitted yet."""
        self._waiting, self._waiting_bytes, self._has_commands = [], 0, False
        self._count_room()

    def close(self) -> None:
        """Write nothing more. The append session is its opener's to close."""
        self.stop_ticking()
        self.drop_waiting()

    def _flush(self) -> None:
        """Submit what waits, batch by batch; what finds no room goes after the next answer."""
        while self._waiting and self._failure is None and self._doubt is None:
            count, size = self._next_batch()
            waiting = self._waiting
            try:
                records = self._records(waiting if count == len(waiting) else waiting[:count])
                # Unchecked, for these limits were kept all along, and the token was checked when it was claimed.
                batch = AppendInput(records, self.next_seq, self._token, size)
                ticket = self._session.try_submit(batch)
            except Exception as exc:
                if not self._is_in_doubt(exc):
                    self._fail(exc)
                break
            if ticket is None:
                break
            self.next_seq += count
            self._in_flight.append(records)
            self._waiting = waiting[count:]
            self._waiting_bytes -= size
            if not self._waiting:
                self._has_commands = False
            ticket.add_done_callback(self._answered)
        self._count_room()

    def _records(self, waiting: Sequence[bytes | AppendRecord]) -> tuple[AppendRecord, ...]:
        if self._has_commands:
            return tuple([record if isinstance(record, AppendRecord) else AppendRecord(record) for record in waiting])
        return AppendRecord.of_bodies(cast("Sequence[bytes]", waiting))

    def _next_batch(self) -> tuple[int, int]:
        """How many of the waiting records one batch may hold, and their metered size."""
        waiting = self._waiting
        if len(waiting) <= self._batch_size and self._waiting_bytes <= MAX_BATCH_BYTES:
            return len(waiting), self._waiting_bytes
        sizes = [_metered_bytes(record) for record in waiting[: self._batch_size]]
        while sum(sizes) > MAX_BATCH_BYTES:
            sizes.pop()
        before_last = len(waiting) - self._inseparable
        if len(sizes) > before_last:
            sizes = [_metered_bytes(record) for record in waiting[: before_last or len(waiting)]]
        return len(sizes), sum(sizes)

    def _count_room(self) -> None:
        self.has_room = len(self._in_flight) < MAX_BATCHES_IN_FLIGHT and self._waiting_bytes < MAX_WAITING_BYTES

    def _answered(self, answer: asyncio.Future[AppendAck]) -> None:
        if self._doubt is not None or not self._in_flight:
            return  # one before it is in doubt: the session gave up on all of them
        failure = None if answer.cancelled() else answer.exception()
        if self._is_in_doubt(failure):
            return
        if failure is not None or answer.cancelled():
            self._in_flight.popleft()
            if failure is not None:
                self._fail(failure)
            self._wake()
            return
        self._became_durable(answer.result())
        if self._waiting and not self._in_flight:
            self._flush()
        self._wake()

    def _became_durable(self, ack: AppendAck) -> None:
        records = self._in_flight.popleft()
        self._count_room()
        self.durable_end = ack.end.seq_num
        self._on_durable(ack, records)

    def resume(self, session: AppendSession | None, applied: Sequence[AppendAck]) -> None:
        """The first batches in flight were applied after all; submit the others to `session`, which is fresh.

        None if there are no others, and none will come.
        """
        self._doubt = None
        self._session = session or self._session
        for ack in applied:
            self._became_durable(ack)
        seq_num = self.durable_end
        for records in self._in_flight:
            try:
                batch = AppendInput.of(records, match_seq_num=seq_num, fencing_token=self._token)
                ticket = self._session.try_submit(batch)
                assert ticket is not None, "they had room in the session before"
            except Exception as exc:
                self._in_flight.clear()
                self._fail(exc)
                return
            seq_num += len(records)
            ticket.add_done_callback(self._answered)
        if self._waiting and not self._in_flight:
            self._flush()
        self._wake()

    def fail(self) -> None:
        """Nothing in flight was applied, or nobody can tell: the batch in doubt has failed."""
        failure, self._doubt = self._doubt, None
        assert failure is not None, "nothing was in doubt"
        self._in_flight.clear()
        self._fail(failure)

    def _is_in_doubt(self, failure: BaseException | None) -> bool:
        """Whether it has to be found out what became of what is in flight; if so, nothing is submitted until then.

        Whoever submits next may hear of the failure before the answers are looked at. Any mismatch of sequence numbers
        is looked into: what was sent over a connection that broke may reach the store later than what came after it.
        """
        if not isinstance(failure, AppendConditionFailed) or not self._in_flight:
            return False
        if not failure.in_doubt and not isinstance(failure, SeqNumMismatch):
            return False
        self._doubt = failure
        self._on_doubt()
        return True

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure
            self.drop_waiting()
            self.stop_ticking()
            self._on_failure()
        self._wake()

    def _lingered(self) -> None:
        """Some batch began `linger_ms` ago. What waits now goes, also if it is of another batch, begun since."""
        self._lingering = False
        self._flush()

    def _tick(self) -> None:
        """Look for a pause, a few times a second."""
        if not self._ticking:
            return
        now = self._loop.time()
        if self._in_flight:
            self.last_put = now  # what is under way renews the lease by itself
        quiet = now - self.last_put
        if quiet >= self._renew_after:
            self._has_commands = True
            self._take(RENEWAL, RENEWAL.metered_bytes)
        elif quiet >= PAUSE_SECONDS:
            self._on_pause()
        self._timing.ticks.add(self._tick)

    async def _changed(self) -> None:
        """Wait for the next answer."""
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.on_answer is not None:
            self.on_answer()


def _metered_bytes(record: bytes | AppendRecord) -> int:
    return record.metered_bytes if isinstance(record, AppendRecord) else RECORD_OVERHEAD_BYTES + len(record)
