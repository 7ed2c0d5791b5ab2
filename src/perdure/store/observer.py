"""Who wants to know what a store does while it does it: the seam for an operator's statistics.

A store pushes; how it is counted, kept and shown is the observer's business.
"""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from ..telemetry.measures import APPENDS, BYTES, COMMIT_FAILURES, COMMITS, FOLLOWERS, RECORDS


class CommitFacts(Struct, frozen=True, gc=False):
    """One commit group that became durable.

    `batches`, `records` and `metered_bytes` are what it appended: all 0 when it only changed the catalogue or tidied
    up. `seconds` is what it took once the group was closed: its turn among processes, the writes, the sync.
    """

    batches: int
    records: int
    metered_bytes: int
    seconds: float


class StoreObserver(Protocol):
    """Told of what one store of this process does, on the event loop that opened it.

    Calls come before the answers to whoever wrote, so they must be quick, and they must not raise.
    """

    def committed(self, commit: CommitFacts) -> None:
        """A group is durable."""
        ...

    def commit_failed(self) -> None:
        """A group was given up; everybody in it is told why."""
        ...

    def followers_changed(self, followers: int) -> None:
        """So many readers follow a stream live now."""
        ...


class _Nobody:
    """Looks away."""

    def committed(self, commit: CommitFacts) -> None:
        pass

    def commit_failed(self) -> None:
        pass

    def followers_changed(self, followers: int) -> None:
        pass


NOBODY: Final[StoreObserver] = _Nobody()
"""The observer of a store that nobody observes."""


class Measuring:
    """An observer that counts for OpenTelemetry: nothing, unless the application has it. One for each store."""

    def __init__(self) -> None:
        self._followers = 0

    def committed(self, commit: CommitFacts) -> None:
        if commit.batches:
            COMMITS.record(commit.seconds)
            APPENDS.add(commit.batches)
            RECORDS.add(commit.records)
            BYTES.add(commit.metered_bytes)

    def commit_failed(self) -> None:
        COMMIT_FAILURES.add(1)

    def followers_changed(self, followers: int) -> None:
        FOLLOWERS.add(followers - self._followers)
        self._followers = followers
