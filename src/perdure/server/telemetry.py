"""What one worker counts for its operators. Everything here is called on the path of requests, and is quick.

It is kept on the scoreboard for `/metrics`, and told to OpenTelemetry where that is set up.

Labels are looked up once: after that, an observation is a bisection and two writes to memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from ..store.observer import CommitFacts, Measuring
from ..telemetry.measures import SERVER_IN_FLIGHT, SERVER_SESSIONS
from .instruments import APPENDING, OTHER_STATUS, STATUSES, TIDYING, UNROUTED, Family, Instruments
from .scoreboard import Cells, Scoreboard
from .sessions import SessionKind

Observe: TypeAlias = Callable[[float], None]

_KINDS: Final = {kind: {"perdure.session.kind": kind.value} for kind in SessionKind}


class Telemetry:
    """Counts for one process, on its event loop. It observes the store (`StoreObserver`) and the sessions.

    `operations` are the names of the endpoints; `scoreboard` is where the numbers are kept, by default for this process
    alone.
    """

    def __init__(self, operations: Iterable[str], scoreboard: Scoreboard | None = None) -> None:
        self.scoreboard: Final[Scoreboard] = scoreboard or Scoreboard.private()
        self.instruments: Final[Instruments] = Instruments(operations)
        cells, found = self.scoreboard.cells, self.instruments
        self._cells: Cells = cells
        self._answers: dict[tuple[str, int], Observe] = {}
        self._permit = _observation(cells, found.permits)
        self._ack = _observation(cells, found.acks)
        self._batch_records = _observation(cells, found.batch_records)
        self._batch_bytes = _observation(cells, found.batch_bytes)
        self._commit_seconds = _observation(cells, found.commit_seconds)
        self._commit_batches = _observation(cells, found.commit_batches)
        self._inflight = found.inflight.cell()
        self._inflight_bytes = 0
        self._measuring = Measuring()
        self._commits = found.commits.cell(APPENDING)
        self._other_commits = found.commits.cell(TIDYING)
        self._records = found.records.cell()
        self._bytes = found.bytes.cell()
        cells[found.workers.cell()] = 1

    # Requests -------------------------------------------------------------------------------------

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """A request was answered, so long after its head came."""
        observe = self._answers.get((operation, status))
        if observe is None:
            observe = self._answers[operation, status] = self._answer(operation, status)
        observe(seconds)

    def _answer(self, operation: str, status: int) -> Observe:
        requests = self.instruments.requests
        return _observation(
            self._cells, requests, operation or UNROUTED, str(status) if status in STATUSES else OTHER_STATUS
        )

    # Appends --------------------------------------------------------------------------------------

    def acked(self, records: int, metered_bytes: int, waited_secs: float, took_secs: float) -> None:
        """A batch is durable, so long after it was admitted, for which it had waited."""
        self._permit(waited_secs)
        self._ack(took_secs)
        self._batch_records(records)
        self._batch_bytes(metered_bytes)

    def inflight_changed(self, metered_bytes: int) -> None:
        """So much is admitted and not yet answered."""
        self._cells[self._inflight] = metered_bytes
        SERVER_IN_FLIGHT.add(metered_bytes - self._inflight_bytes)
        self._inflight_bytes = metered_bytes

    # Sessions -------------------------------------------------------------------------------------

    def session_opened(self, kind: SessionKind) -> None:
        self._cells[self.instruments.sessions.cell(kind.value)] += 1
        self._cells[self.instruments.sessions_opened.cell(kind.value)] += 1
        SERVER_SESSIONS.add(1, _KINDS[kind])

    def session_closed(self, kind: SessionKind) -> None:
        self._cells[self.instruments.sessions.cell(kind.value)] -= 1
        SERVER_SESSIONS.add(-1, _KINDS[kind])

    def session_refused(self, kind: SessionKind) -> None:
        self._cells[self.instruments.sessions_refused.cell(kind.value)] += 1

    # The store ------------------------------------------------------------------------------------

    def committed(self, commit: CommitFacts) -> None:
        cells = self._cells
        self._measuring.committed(commit)
        if not commit.batches:
            cells[self._other_commits] += 1
            return
        cells[self._commits] += 1
        cells[self._records] += commit.records
        cells[self._bytes] += commit.metered_bytes
        self._commit_seconds(commit.seconds)
        self._commit_batches(commit.batches)

    def commit_failed(self) -> None:
        self._cells[self.instruments.commit_failures.cell()] += 1
        self._measuring.commit_failed()

    def followers_changed(self, followers: int) -> None:
        self._cells[self.instruments.followers.cell()] = followers
        self._measuring.followers_changed(followers)


def _observation(cells: Cells, family: Family, *labels: str) -> Observe:
    """What puts a value into the histogram with these label values; a bucket holds what is at most its bound."""
    bounds, first = family.bounds, family.cell(*labels)
    total = first + len(bounds) + 1

    def observe(value: float) -> None:
        cells[first + bisect_left(bounds, value)] += 1
        cells[total] += value

    return observe
