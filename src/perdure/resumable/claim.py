"""Claiming a stream for one generation.

What to append is decided by pure functions from the end of the stream; the I/O around them is at the end. Every claim
is one append whose conditions fail unless the stream is still what the decision saw, so of any number of claimers in
any number of processes one wins, and the others learn that before they touch their model.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..errors import (
    AppendConditionFailed,
    FencingTokenMismatch,
    PerdureError,
    SeqNumMismatch,
)
from ..model.records import AppendRecord, CommandKind, SequencedRecord
from ..telemetry.measures import LEASES_LOST
from . import lease, tokens
from .settings import ChatSettings, Mode, Surroundings
from .tail_search import StreamEnd, StreamHead, find_head, read_end, search_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..client import AppendSession, Stream


class StreamInUse(PerdureError):
    """A generation is active on the stream, or its name was used up; answer 409.

    `token` is the fencing token that was in force, if that is known.
    """

    code = "resource_already_exists"

    def __init__(self, message: str, token: str | None = None) -> None:
        super().__init__(message)
        self.token = token


class Claim(Struct, frozen=True, gc=False):
    """The right to write one generation: its token, and the sequence number of its first record."""

    token: str
    start_seq: int


class Guard(Struct, frozen=True, gc=False):
    """The conditions under which a claim's fence may be appended."""

    fencing_token: str | None = None
    match_seq_num: int | None = None


REMEMBERED_ENDS: Final = 10_000
"""Streams whose end is remembered; one that is not costs one more read."""

FRESH_NAME: Final = Guard(fencing_token="", match_seq_num=0)
"""The stream was never written to."""


def session_guard(end: StreamEnd) -> Guard | None:
    """How to claim a session stream that ends like this; None while a generation is, or seems, active."""
    last = end.last
    if last is None:
        # With records written and expired, the token in force is not known; the tail is condition enough.
        return FRESH_NAME if end.tail == 0 else Guard(match_seq_num=end.tail)
    if last.command is CommandKind.FENCE and tokens.is_terminal(last.text):
        return Guard(fencing_token=last.text)
    return None


def shared_guard(head: StreamHead, *, lease_duration_ms: int, now_ms: int) -> Guard | None:
    """How to claim a shared stream, taking over from a writer that was silent for too long; None if it is in use."""
    if head.last_record_timestamp is None:
        return Guard(fencing_token="") if head.next_seq_num == 0 else Guard(match_seq_num=head.next_seq_num)
    if head.reusable_token is not None:
        return Guard(fencing_token=head.reusable_token)
    if lease.is_over(lease_duration_ms, head.last_record_timestamp, now_ms):
        return Guard(fencing_token=head.held_token)
    return None


def takeover_guard(held_token: str, last: SequencedRecord, now_ms: int) -> Guard | None:
    """How to end the abandoned generation of a session stream and claim it; None if its writer may live."""
    lease_ms = tokens.lease_of(held_token)
    if lease_ms is None or not lease.is_over(lease_ms, last.timestamp, now_ms):
        return None
    return Guard(fencing_token=held_token, match_seq_num=last.seq_num + 1)


class Claimer:
    """Claims streams in one mode. `abandoned_body` is the error record for a generation that is taken over."""

    def __init__(self, settings: ChatSettings, surroundings: Surroundings, abandoned_body: lease.AbandonedBody) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._abandoned_body = abandoned_body
        self._ended: OrderedDict[str, Guard] = OrderedDict()

    def remember(self, name: str, token: str, tail: int) -> None:
        """A generation that ran here has ended like this, so that the next claim need not look."""
        if self._settings.mode is not Mode.SINGLE_USE:
            self._ended[name] = Guard(fencing_token=token, match_seq_num=tail)
            if len(self._ended) > REMEMBERED_ENDS:
                self._ended.popitem(last=False)

    async def claim(self, stream: Stream, about_to_append: Callable[[], None] = lambda: None) -> Claim:
        """Claim `stream`; raises `StreamInUse`, and whatever the store raises when it cannot tell.

        `about_to_append` is called when nothing speaks against the claim any more but its own append, if the stream
        is known to exist.
        """
        if self._settings.mode is Mode.SINGLE_USE:
            return await self._append_fence(stream, FRESH_NAME)
        remembered = self._ended.pop(stream.name, None)
        if remembered is not None:
            about_to_append()
            try:
                claim = await self._append_fence(stream, remembered)
            except StreamInUse:
                pass  # somebody wrote there since: look
            else:
                return claim if self._settings.mode is Mode.SESSION else await self._drop_older(stream, claim)
        if self._settings.mode is Mode.SHARED:
            return await self._claim_shared(stream, about_to_append)
        return await self._claim_session(stream, about_to_append)

    async def _claim_session(self, stream: Stream, about_to_append: Callable[[], None]) -> Claim:
        # As if the chat were new: then that is all, and otherwise the refusal names the token in force, which costs no
        # more than to read the last record.
        claim, in_force = await self._claim_fresh(stream)
        if claim is not None:
            return claim
        if in_force is not None and tokens.is_terminal(in_force):
            about_to_append()
            return await self._append_fence(stream, Guard(fencing_token=in_force))
        end = await read_end(stream)
        guard = session_guard(end)
        if guard is not None:
            about_to_append()
            return await self._append_fence(stream, guard)
        assert end.last is not None
        held_token = end.last.text if end.last.command is CommandKind.FENCE else in_force or ""
        guard = takeover_guard(held_token, end.last, self._surroundings.now_ms())
        if guard is None:
            raise StreamInUse(f"a generation is active on {stream.name!r}")
        ended = tokens.terminal_token(tokens.FenceKind.ERROR, self._surroundings.random_bytes)
        body = await self._abandoned_body(stream, end.last.seq_num + 1)
        told = [] if body is None else [AppendRecord(body)]
        claim = await self._append_fence(stream, guard, [*told, AppendRecord.fence(ended)])
        LEASES_LOST.add(1)
        return claim

    async def _claim_fresh(self, stream: Stream) -> tuple[Claim | None, str | None]:
        """Claim a stream that was never written to; or else the token in force, None if that is not told."""
        token = self._new_token()
        fence = AppendRecord.fence(token, timestamp=self._surroundings.now_ms())
        try:
            ack = await stream.append([fence], fencing_token="", match_seq_num=0)
        except AppendConditionFailed as exc:
            in_force = exc.expected if isinstance(exc, FencingTokenMismatch) else None
            if exc.in_doubt or in_force == token:
                head = await find_head(stream)  # the ack of a first try was lost
                if head.held_token == token and head.active_start is not None:
                    return Claim(token, head.active_start + 1), None
            return None, in_force
        except PerdureError as exc:
            return await _after_failure(stream, token, exc), None
        return Claim(token, ack.end.seq_num), None

    async def _claim_shared(self, stream: Stream, about_to_append: Callable[[], None]) -> Claim:
        end = await read_end(stream)
        head = await search_back(stream, end)
        guard = shared_guard(
            head,
            lease_duration_ms=self._settings.lease_duration_ms,
            now_ms=self._surroundings.now_ms(),
        )
        if guard is None:
            raise StreamInUse(f"a generation is active on {stream.name!r}")
        about_to_append()
        claim = await self._append_fence(stream, guard)
        if head.next_seq_num == 0:
            return claim
        return await self._drop_older(stream, claim)

    async def _drop_older(self, stream: Stream, claim: Claim) -> Claim:
        """Trim what was before the claim's fence. Its own guard is the token: only the holder may."""
        fence_seq = claim.start_seq - 1
        trim = AppendRecord.trim(fence_seq)
        try:
            ack = await stream.append([trim], fencing_token=claim.token, match_seq_num=claim.start_seq)
        except FencingTokenMismatch:
            raise StreamInUse(f"{stream.name!r} was claimed by somebody else") from None
        except SeqNumMismatch as exc:
            end = await read_end(stream)  # the ack of a first try was lost
            if end.last is not None and end.last.headers == trim.headers and end.last.body == trim.body:
                return Claim(claim.token, end.last.seq_num + 1)
            raise StreamInUse(f"{stream.name!r} was written to by somebody else") from exc
        return Claim(claim.token, ack.end.seq_num)

    async def _append_fence(self, stream: Stream, guard: Guard, before: Sequence[AppendRecord] = ()) -> Claim:
        return await append_fence(stream, guard, self._new_token(), self._surroundings.now_ms(), before)

    def _new_token(self) -> str:
        return tokens.holder_token(self._settings.session_lease_ms, self._surroundings.random_bytes)


async def append_fence(
    stream: Stream, guard: Guard, token: str, now_ms: int, before: Sequence[AppendRecord] = ()
) -> Claim:
    """Claim `stream` with the fence of `token`, in one batch with the records `before` it.

    Raises `StreamInUse` when the guard does not hold, and whatever the store raises when it cannot tell.
    """
    try:
        ack = await stream.append(
            [*before, AppendRecord.fence(token, timestamp=now_ms)],
            fencing_token=guard.fencing_token,
            match_seq_num=guard.match_seq_num,
        )
    except PerdureError as exc:
        return await _after_failure(stream, token, exc)
    return Claim(token, ack.end.seq_num)


async def _after_failure(stream: Stream, token: str, failure: PerdureError) -> Claim:
    """The claim failed, unless it was applied and only its acknowledgement was lost."""
    condition_failed = isinstance(failure, AppendConditionFailed)
    if isinstance(failure, FencingTokenMismatch):
        applied: bool | None = failure.expected == token
    else:
        applied = False if failure.has_no_side_effects and not condition_failed else None
    if applied is not False:
        try:
            head = await find_head(stream)
        except PerdureError:
            raise failure from None
        if head.held_token == token and head.active_start is not None:
            return Claim(token, head.active_start + 1)
    if condition_failed:
        token_in_force = failure.expected if isinstance(failure, FencingTokenMismatch) else None
        raise StreamInUse(f"{stream.name!r} was claimed by somebody else", token_in_force) from None
    raise failure


async def claim_and_connect(
    stream: Stream, claim: Callable[[Callable[[], None]], Awaitable[Claim]]
) -> tuple[Claim, AppendSession, asyncio.Future[AppendSession]]:
    """Claim `stream`, and open the way for the records meanwhile.

    `claim` is given what it calls when nothing but its append can still go wrong. Gives the claim, and an append
    session with what resolves once that is open; both are the caller's to close. Raises what `claim` raises.
    """
    session = stream.append_session()
    opening: asyncio.Task[AppendSession] | None = None

    def connect() -> None:
        nonlocal opening
        opening = opening or asyncio.get_running_loop().create_task(session.__aenter__())

    try:
        claimed = await claim(connect)
        if opening is not None and opening.done() and (opening.cancelled() or opening.exception() is not None):
            # It met what was there before the claim: a stream that was being deleted, and is new now.
            await session.abandon()
            session, opening = stream.append_session(), None
        connect()
    except BaseException:
        if opening is not None:
            await asyncio.wait((opening,))
            if not opening.cancelled():
                opening.exception()  # the claim's own failure says more
        await session.abandon()
        raise
    assert opening is not None
    return claimed, session, opening
