"""What the server bears from its clients, each number said once.

What the protocol fixes for everybody (batches, frames, bodies) is in `perdure.model.limits`; these are this server's
own, and all of them can be set.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ..errors import UsageError
from ..model.limits import MAX_BATCH_BYTES, MAX_BODY_BYTES

MIN_INFLIGHT_APPEND_BYTES: Final = MAX_BATCH_BYTES
"""A batch of the largest size must be admissible."""

MAX_HEAD_BYTES: Final = 512 * 1024
"""What a connection buffers at most of a request's head. Where the application's own limit is lower, that answers."""

SMALL_BODY_BYTES: Final = 64 * 1024
"""A body up to this size is taken in without more ado: it takes little more than the connection that it comes on."""

SMALL_FRAME_BYTES: Final = 16 * 1024
"""Likewise the beginning of a frame up to this size, since a connection can have many sessions."""

MIN_STREAMS_PER_CONNECTION: Final = 100
"""The TypeScript SDK opens this many HTTP/2 streams on a connection without looking (store API, section 2.2)."""


class ServerLimits(Struct, frozen=True, kw_only=True):
    """Bounds against abuse, for one worker process unless they say otherwise.

    Raises `UsageError` when they make no sense.
    """

    max_body_bytes: int = MAX_BODY_BYTES
    """A unary request's body, compressed and decompressed alike."""

    max_header_bytes: int = 64 * 1024
    """Names and values of one request's header fields, its path and its query, all together."""

    max_inflight_append_bytes: int = 128 * 1024 * 1024
    """Metered bytes of appends taken in and not yet acknowledged; more of them wait, none is refused for it.

    As much again is taken in of large bodies, and of large frames to append sessions, before it is known what is in
    them.
    """

    max_sessions: int = 20_000
    """Append and read sessions (SSE included) and reads that wait, at a time; the next is told to come back (429)."""

    max_sessions_per_connection: int = 128
    """Sessions on one HTTP/2 connection; more would be refused by its own limit of streams a little later."""

    max_streams_per_connection: int = 256
    """HTTP/2 streams at a time on one connection, which the connection's settings advertise."""

    body_timeout_secs: float = 30.0
    """How long a unary request's body may take to arrive; then 408."""

    max_pending_batches: int = 1_024
    """Batches of one append session whose acks are not yet sent: a client that reads no acks is not read either."""

    max_pending_bytes: int = 16 * MAX_BATCH_BYTES
    """Metered bytes of one append session in flight: a single writer should not hold the whole budget of the server."""

    last_batch_secs: float = 0.4
    """How long an append session that ends because the server stops waits for one more batch, to end as the answer."""

    stall_timeout_secs: float = 60.0
    """How long a session's client may take nothing of what is sent to it; then the session ends without a clean end.

    Over HTTP/1.1 its connection is closed. Over HTTP/2 the stream is reset once the client takes what is on its way.
    Likewise how long the rest of a frame to an append session may make no headway; then the session ends with 408.
    """

    header_timeout_secs: float = 30.0
    """How long a connection may take for its first request to begin, and for the head of any other on HTTP/1.1.

    On HTTP/1.1 this includes the time between two requests.
    """

    idle_timeout_secs: float = 120.0
    """How long a connection may stay open, between two requests, without a request. A session is a request."""

    drain_secs: float = 10.0
    """How long running requests may take to end once the server was told to stop."""

    refusal_secs: float = 0.25
    """How long a request that comes while the server stops waits for its refusal, if no other process takes over.

    The official SDKs ask again at once when they hear that a server stops, a hundred times until it has.
    """

    max_held_refusals: int = 1_000
    """How many such requests wait at a time; more are refused at once."""

    def __post_init__(self) -> None:
        for names, least, most in _RANGES:
            for name in names:
                value = getattr(self, name)
                if not least <= value <= most:
                    raise UsageError(f"{name} must be from {least:,} to {most:,}, got {value:,}")


MAX_COUNT: Final = 1_000_000
MAX_BYTES: Final = 2**40
MAX_SECS: Final = 86_400
"""No limit may be set higher: what is beyond is a slip of the hand, or more than some layer below can hold."""

_RANGES: Final = (
    (("max_body_bytes",), 1024, MAX_BYTES),
    (("max_header_bytes",), 8 * 1024, MAX_HEAD_BYTES),
    (("max_inflight_append_bytes",), MIN_INFLIGHT_APPEND_BYTES, MAX_BYTES),
    (("max_pending_bytes",), MAX_BATCH_BYTES, MAX_BYTES),
    (("max_streams_per_connection",), MIN_STREAMS_PER_CONNECTION, MAX_COUNT),
    (("max_pending_batches", "max_sessions", "max_sessions_per_connection"), 1, MAX_COUNT),
    (("max_held_refusals",), 0, MAX_COUNT),
    (("body_timeout_secs", "stall_timeout_secs", "header_timeout_secs", "idle_timeout_secs"), 0.001, MAX_SECS),
    (("last_batch_secs", "drain_secs", "refusal_secs"), 0, MAX_SECS),
)

DEFAULT_LIMITS: Final = ServerLimits()
