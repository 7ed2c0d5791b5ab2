"""The body of one response: records as they become durable, as frames, with nothing lost and no silence too long."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..errors import PerdureError, ReadUnwritten, StreamDeletionPending, StreamNotFound, Unavailable
from ..model.batches import Part, PlainRecords
from ..model.positions import SeqNum
from ..model.records import CommandKind, SequencedRecord
from ..telemetry.log_fields import about
from ..wire.sse import KEEP_ALIVE
from . import tokens
from .adapter import StretchView, View
from .lease import LeaseWarden, silence_ms
from .tap import Tap

if TYPE_CHECKING:
    from ..client import ReadSession, Stream

logger: Final = logging.getLogger("perdure.resumable")

_GONE: Final = (StreamNotFound, StreamDeletionPending, Unavailable)
"""What reading a stream raises that was deleted meanwhile."""

POLL_SECONDS: Final = (0.25, 0.5, 1.0, 2.0)
"""How long to wait for a stream that does not exist, the first time, the second, and so on."""

ENOUGH_BYTES: Final = 64 * 1024
"""What goes out as one piece, if not more was read together. Larger pieces take longer: they are new memory each."""


class RecordsLost(PerdureError):
    """Records were trimmed before this reader got them. The response is cut off, never ended as if it were whole."""

    code = "range_not_satisfiable"


class EndAt(Enum):
    """Which record ends a body."""

    ANY_FENCE = "any fence"
    TERMINAL_FENCE = "terminal fence"
    TERMINAL_FENCE_OR_TAIL = "terminal fence or tail"
    TAIL = "tail"
    NEVER = "never"


_TO_TAIL: Final = (EndAt.TAIL, EndAt.TERMINAL_FENCE_OR_TAIL)


class BodyPlan(Struct, frozen=True):
    """What one body shows.

    Records from `start_seq` on, and none from `end_seq` on. Terminal fences below `fences_from` are part of the history
    and end nothing. With `gapless_from_start`, the very first record must be the one at `start_seq`. `lease_ms` is
    the lease of the generation that is followed, None if it has none; `knows_state` tells that this was looked up.
    With `waits_for_stream`, a stream that does not exist yet is waited for. `trimmed_at_end` tells that the record
    before the terminal fence may be missing: the trim of a single-use stream takes itself away too.
    """

    start_seq: int
    end_at: EndAt
    end_seq: int | None = None
    fences_from: int = 0
    gapless_from_start: bool = False
    lease_ms: int | None = None
    knows_state: bool = True
    waits_for_stream: bool = False
    trimmed_at_end: bool = False


class FollowingBody:
    """An async iterator over the bytes of a body. `aclose` it; that works at any time, also before the first step.

    `tap` gives the records from the first one on, and `tap_from` those from a sequence number on, if they become
    durable next in this process: then the body has caught up, and needs the store no more.
    """

    def __init__(
        self,
        stream: Stream,
        plan: BodyPlan,
        view: View,
        warden: LeaseWarden,
        *,
        keep_alive_ms: float | None,
        jitter: Callable[[], float],
        tap: Tap | None = None,
        tap_from: Callable[[int], Tap | None] | None = None,
        reached: Callable[[int], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self._plan = plan
        self._view = view
        self._stretches = view if isinstance(view, StretchView) else None
        self._warden = warden
        self._keep_alive = None if keep_alive_ms is None else keep_alive_ms / 1000
        self._jitter = jitter
        self._reached = reached
        self._on_close = on_close
        self._session: ReadSession | Tap | None = tap
        self._tap_from = tap_from
        self._lease_ms = plan.lease_ms if plan.knows_state else warden.unknown_lease_ms
        self._cursor = plan.start_seq
        self._seen_any = plan.gapless_from_start
        self._unshown: Sequence[Part] = ()
        """What was read, and comes next."""
        self._first: bytes | None = None
        self._ended = False
        self._ping_at: float | None = None
        self._look_at: float | None = None
        """When to look whether the writer is dead; None while that is not to be asked."""
        if tap is not None:
            self._quiet_from_now()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    @property
    def name(self) -> str:
        """The name of the stream."""
        return self._stream.name

    @property
    def is_endless(self) -> bool:
        """Whether it shows what comes until the client goes."""
        return self._plan.end_at is EndAt.NEVER

    async def open(self) -> bool:
        """Begin to read, as the first step of the iteration would; False if there is no such stream."""
        return self._session is not None or await self._open() is not None

    async def peek(self) -> bytes | None:
        """The first bytes of data, which stay to be iterated; None if the body ends without any."""
        if self._first is None:
            self._first = await self._next(pings=False)
        return self._first

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        chunk = first if first is not None else await self._next(pings=True)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Let go of everything. Idempotent."""
        self._ended = True
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()

    async def _next(self, *, pings: bool) -> bytes | None:
        """The next bytes to send; None at the end. Whatever ends the body closes it."""
        if self._reached is not None:
            self._reached(self._cursor)  # the client has taken what was given before
        try:
            while not self._ended:
                parts: Sequence[Part] | None
                parts, self._unshown = self._unshown, ()
                if not parts:
                    parts = await self._next_parts(pings)
                if parts is None:
                    if not pings or self._ended:
                        continue
                    return KEEP_ALIVE
                chunk = self._show(parts)
                if chunk:
                    return chunk
                if self._reached is not None:
                    self._reached(self._cursor)
        except BaseException:
            await self.aclose()
            raise
        await self.aclose()
        return None

    def _show(self, parts: Sequence[Part]) -> bytes:
        """The frames of what was read, up to the record that ends the body; what is too much for now waits."""
        frames: list[bytes] = []
        size = 0
        for index, part in enumerate(parts, 1):
            shown = self._bodies(part) if isinstance(part, PlainRecords) else self._shown(part.records)
            frames.append(shown)
            size += len(shown)
            if self._ended or size >= ENOUGH_BYTES:
                self._unshown = parts[index:]
                break
        self._quiet_from_now()  # by the lease that a fence among them tells of
        return b"".join(frames) if len(frames) != 1 else frames[0]

    def _bodies(self, records: PlainRecords) -> bytes:
        """The frames of records none of which ends the body."""
        start_seq, bodies, end_seq = records.start_seq, records.bodies, self._plan.end_seq
        if end_seq is not None and start_seq + len(bodies) >= end_seq:
            bodies = bodies[: max(0, end_seq - start_seq)]
            self._ended = True
        if not bodies:
            return b""
        if start_seq != self._cursor and self._seen_any:
            self._check_gap(SequencedRecord(start_seq, records.last_timestamp, bodies[0]), self._cursor)
        self._cursor, self._seen_any = start_seq + len(bodies), True
        if self._stretches is not None and all(bodies):
            return self._stretches.stretch(start_seq, bodies)
        view = self._view
        return b"".join([view(seq_num, body) for seq_num, body in enumerate(bodies, start_seq) if body])

    def _shown(self, records: tuple[SequencedRecord, ...]) -> bytes:
        frames: list[bytes] = []
        view, end_seq, cursor = self._view, self._plan.end_seq, self._cursor
        for record in records:
            seq_num = record.seq_num
            if end_seq is not None and seq_num >= end_seq:
                self._ended = True
                break
            if seq_num != cursor:
                self._check_gap(record, cursor)
            cursor = seq_num + 1
            if not record.headers or (command := record.command) is None:
                if record.body:
                    frames.append(view(seq_num, record.body))
            elif command is CommandKind.FENCE and self._fence_ends(record):
                self._ended = True
                break
            self._seen_any = True
        self._cursor = cursor
        return b"".join(frames) if len(frames) != 1 else frames[0]

    def _check_gap(self, record: SequencedRecord, cursor: int) -> None:
        missing = record.seq_num - cursor
        if missing <= 0 or not self._seen_any:
            return
        if missing == 1 and self._plan.trimmed_at_end and _is_terminal_fence(record):
            return
        lost = f"{cursor} to {record.seq_num - 1}"
        raise RecordsLost(f"records {lost} of {self._stream.name!r} were trimmed before they were read")

    def _fence_ends(self, fence: SequencedRecord) -> bool:
        match self._plan.end_at:
            case EndAt.ANY_FENCE:
                return True
            case EndAt.TERMINAL_FENCE | EndAt.TERMINAL_FENCE_OR_TAIL:
                if tokens.is_terminal(fence.text):
                    return fence.seq_num >= self._plan.fences_from
        self._lease_ms = tokens.lease_of(fence.text)
        return False

    # --- waiting ---

    async def _next_parts(self, pings: bool) -> Sequence[Part] | None:
        """What is read next; None when it is time for a ping, or at the end."""
        session: ReadSession | Tap | None = self._session or await self._open()
        if session is None:
            return None
        while True:
            try:
                if not isinstance(session, Tap):
                    session = await self._tapped(session)
                parts, in_time = await _next_of(session, self._next_deadline(pings))
            except _GONE as exc:
                if not self.is_endless:
                    raise  # what was to come is lost, and the client is to know
                logger.info("a live replay ends: %s", exc, extra=about(self.name, error=exc))
                self._ended = True
                return None
            if in_time:
                if parts is None:
                    if isinstance(session, Tap) and not self._ended:
                        # Dry: the store has what comes next.
                        session = await self._open()
                        if session is not None:
                            continue
                    self._ended = True
                    return None
                if any(map(_has_records, parts)):
                    return parts
                continue
            now = asyncio.get_running_loop().time()
            if self._look_at is not None and now >= self._look_at:
                look_again_ms = await self._warden.silence_noticed(self._stream, self._lease_ms)
                self._look_at = None if look_again_ms is None else now + look_again_ms / 1000
            if pings and self._ping_at is not None and now >= self._ping_at:
                assert self._keep_alive is not None
                self._ping_at = now + self._keep_alive
                return None

    async def _tapped(self, session: ReadSession) -> ReadSession | Tap:
        """A tap in the place of `session`, if that has nothing more to give before it."""
        if self._tap_from is None or self._ended or self._plan.end_at in _TO_TAIL:
            return session
        tap = self._tap_from(self._cursor)
        if tap is None:
            return session
        self._session = tap
        await session.aclose()
        return tap

    async def _open(self) -> ReadSession | None:
        """Start reading; None if there is nothing to read and nothing to wait for."""
        wait = 0 if self._plan.end_at in _TO_TAIL else None
        for poll in itertools.count():
            session = self._stream.read_session(SeqNum(self._cursor), clamp=True, wait=wait)
            try:
                await session.__aenter__()
            except ReadUnwritten:
                break
            except (StreamNotFound, StreamDeletionPending):
                if not self._plan.waits_for_stream:
                    break
                await asyncio.sleep(POLL_SECONDS[min(poll, len(POLL_SECONDS) - 1)])
                continue
            if self._ended:  # closed meanwhile
                await session.aclose()
                return None
            self._session = session
            self._quiet_from_now()
            return session
        self._ended = True
        return None

    def _quiet_from_now(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._keep_alive is not None:
            self._ping_at = now + self._keep_alive
        self._look_at = None
        if self._lease_ms is not None:
            self._look_at = now + silence_ms(self._lease_ms, self._jitter()) / 1000

    def _next_deadline(self, pings: bool) -> float | None:
        ping_at = self._ping_at if pings else None
        if self._look_at is None or ping_at is None:
            return self._look_at if ping_at is None else ping_at
        return min(self._look_at, ping_at)


class PrecededBody:
    """A body that begins with bytes of its own, before what `body` follows. Close it as you would close `body`."""

    def __init__(self, first: bytes, body: FollowingBody) -> None:
        self._first: bytes | None = first
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        return await anext(self._body) if first is None else first

    async def aclose(self) -> None:
        """Let go of everything. Idempotent."""
        self._first = None
        await self._body.aclose()


async def _next_of(session: ReadSession | Tap, deadline: float | None) -> tuple[Sequence[Part] | None, bool]:
    """What the session gives next, and whether it came before `deadline`."""
    if isinstance(session, Tap):
        parts = await session.next_parts(deadline)
        return parts, parts is None or bool(parts)
    timeout = asyncio.timeout_at(deadline)
    try:
        async with timeout:
            return await session.next_parts(), True
    except TimeoutError:
        if not timeout.expired():
            raise
        return None, False


def _has_records(part: Part) -> bool:
    """Whether it is more than a heartbeat."""
    return isinstance(part, PlainRecords) or bool(part.records)


def _is_terminal_fence(record: SequencedRecord) -> bool:
    return record.command is CommandKind.FENCE and tokens.is_terminal(record.text)
