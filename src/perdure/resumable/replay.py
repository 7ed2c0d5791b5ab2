"""Which records a replay shows, and when it is over: a decision from the mode, the options and the stream's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from msgspec import Struct

from .cursors import parse_cursor
from .following import BodyPlan, EndAt
from .settings import Mode
from .tail_search import StreamHead


class ReplayPlan(Struct, frozen=True):
    """A body to send. Unless `answer_at_once`, the answer waits for its first data, and is a 204 without any."""

    body: BodyPlan
    answer_at_once: bool


def live_replay(from_seq_num: int | None) -> ReplayPlan:
    """Everything from the cursor on, and then what comes, until the client goes."""
    start_seq = from_seq_num or 0
    return ReplayPlan(BodyPlan(start_seq, EndAt.NEVER, knows_state=False, waits_for_stream=True), True)


def replay(mode: Mode, head: StreamHead, *, from_seq_num: int | None, active_only: bool) -> ReplayPlan | None:
    """What a replay that ends by itself shows; None when there is nothing."""
    if mode is not Mode.SESSION or active_only:
        cursor = None if active_only else from_seq_num
        return _active_generation(mode, head, cursor, answer_at_once=active_only)
    start_seq = from_seq_num or 0
    if not head.active or head.active_start is None:
        if start_seq >= head.next_seq_num:
            return None
        return ReplayPlan(BodyPlan(start_seq, EndAt.TAIL, end_seq=head.next_seq_num), False)
    # A cursor from nowhere must not make the body begin behind the fence that ends it.
    start_seq = min(start_seq, head.next_seq_num)
    body = BodyPlan(start_seq, EndAt.TERMINAL_FENCE, fences_from=head.active_start, lease_ms=head.lease_ms)
    return ReplayPlan(body, True)


def _active_generation(
    mode: Mode, head: StreamHead, from_seq_num: int | None, *, answer_at_once: bool
) -> ReplayPlan | None:
    if not head.active or head.active_start is None:
        return None
    body = BodyPlan(
        max(head.active_start, min(from_seq_num or 0, head.next_seq_num)),
        EndAt.TERMINAL_FENCE,
        lease_ms=head.lease_ms,
        trimmed_at_end=mode is Mode.SINGLE_USE,
    )
    return ReplayPlan(body, answer_at_once)


class ReplayOptions(TypedDict):
    """The options of `replay` that a client's query may set."""

    from_seq_num: int | None
    live: bool


def options_of(query: Mapping[str, str]) -> ReplayOptions:
    """The replay options in a query: `from`, digits only, and `live`, which is true for "1" only.

    Anything else counts as absent, so that a bad link replays from the beginning instead of failing.
    """
    return {"from_seq_num": parse_cursor(query.get("from", "")), "live": query.get("live") == "1"}
