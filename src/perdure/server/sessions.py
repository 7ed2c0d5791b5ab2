"""The sessions that are open on one server: how many there may be, and how they end when the server stops."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from ..errors import RateLimited, ServerDraining

RETRY_AFTER_MS: Final = 1_000
"""What a client that was told 429 should wait at least."""

Peer: TypeAlias = tuple[str, int]
"""Address and port of a client: one connection, as long as that is open."""


class SessionKind(Enum):
    """What a session does, and in which form."""

    APPEND = "append"
    READ = "read"
    SSE = "sse"
    WAIT = "wait"
    """No session but a unary read that waits for records, which takes as much for as long."""


class SessionObserver(Protocol):
    """Told of every session as it comes and goes. Calls must be quick, and must not raise."""

    def session_opened(self, kind: SessionKind) -> None: ...

    def session_closed(self, kind: SessionKind) -> None: ...

    def session_refused(self, kind: SessionKind) -> None:
        """One was told to come back later, because too many are open."""
        ...


class Drainable(Protocol):
    """What the registry asks of a session; neither may raise."""

    def advise(self) -> None:
        """Suggest to the client that it go on in a new session, where the protocol has a word for that. Idempotent."""
        ...

    def drain(self) -> None:
        """End soon, and tell the client why. Called once at most."""
        ...


class SessionStatistics(Struct, frozen=True):
    """How many sessions are open, of `max_sessions`; on how many connections; and how many were refused so far."""

    open: int
    connections: int
    max_sessions: int
    refused: int


class Slot:
    """The place of one session, from `Sessions.open`; it is closed once, whatever becomes of the session."""

    __slots__ = ("_closed", "_peer", "_sessions", "kind", "session")

    def __init__(self, sessions: Sessions, kind: SessionKind, peer: Peer | None) -> None:
        self._sessions = sessions
        self._peer = peer
        self._closed = False
        self.kind: SessionKind = kind
        self.session: Drainable | None = None
        """Who is told when the server stops; None while the session is being opened."""

    def close(self) -> None:
        """Give the place back. Idempotent."""
        if not self._closed:
            self._closed = True
            self._sessions.discard(self, self._peer)

    def attach(self, session: Drainable) -> None:
        """`session` has begun. If the server stops already, or is about to, it is told at once."""
        self.session = session
        if self._sessions.leaving:
            session.advise()
        if self._sessions.draining:
            session.drain()


class Sessions:
    """All open sessions of one server."""

    def __init__(self, *, max_sessions: int, max_per_connection: int, observer: SessionObserver) -> None:
        self._max_sessions = max_sessions
        self._max_per_connection = max_per_connection
        self._observer = observer
        self._slots: set[Slot] = set()
        self._by_peer: dict[Peer, int] = {}
        self._refused = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.leaving: bool = False
        """Whether `advise` was called."""
        self.draining: bool = False
        """Whether `start_draining` was called."""

    def open(self, kind: SessionKind, peer: Peer | None) -> Slot:
        """A place for one more session of this connection; a peer without an address is bounded by the total only.

        Raises `RateLimited` when there is none, `ServerDraining` after `start_draining`.
        """
        if self.draining:
            raise ServerDraining("the server is about to stop; try again")
        if len(self._slots) >= self._max_sessions:
            self._refuse(kind)
            raise RateLimited(
                f"the server has {self._max_sessions} sessions open, which is its limit; try again later",
                RETRY_AFTER_MS,
            )
        if peer is not None:
            held = self._by_peer.get(peer, 0)
            if held >= self._max_per_connection:
                self._refuse(kind)
                raise RateLimited(
                    f"this connection has {held} sessions open, which is the limit; use another connection",
                    RETRY_AFTER_MS,
                )
            self._by_peer[peer] = held + 1
        slot = Slot(self, kind, peer)
        self._slots.add(slot)
        self._empty.clear()
        self._observer.session_opened(kind)
        return slot

    def _refuse(self, kind: SessionKind) -> None:
        self._refused += 1
        self._observer.session_refused(kind)

    def discard(self, slot: Slot, peer: Peer | None) -> None:
        """For `Slot.close`."""
        self._slots.discard(slot)
        self._observer.session_closed(slot.kind)
        if peer is not None:
            held = self._by_peer[peer] - 1
            if held:
                self._by_peer[peer] = held
            else:
                del self._by_peer[peer]
        if not self._slots:
            self._empty.set()

    def advise(self) -> None:
        """Suggest to all clients, from now on, that they go on in new sessions elsewhere. Idempotent."""
        self.leaving = True
        for slot in tuple(self._slots):
            if slot.session is not None:
                slot.session.advise()

    def start_draining(self) -> None:
        """Take no more, and tell every session that the server is about to stop. Idempotent."""
        if self.draining:
            return
        self.draining = True
        for slot in tuple(self._slots):
            if slot.session is not None:
                slot.session.drain()

    async def wait_ended(self) -> None:
        """Wait until no session is open."""
        await self._empty.wait()

    def statistics(self) -> SessionStatistics:
        return SessionStatistics(len(self._slots), len(self._by_peer), self._max_sessions, self._refused)
