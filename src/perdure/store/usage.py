"""What the use of the store is counted in, and how counts become the points of a metric (store API, section 8.4).

Counts are kept by basin, metric set, series and minute. What counts where:

- An append counts when it is acknowledged, a read when it has begun, any other operation when it has succeeded. What
  was refused counts nowhere.
- `append-ops` and `read-ops` have the series `unary` and `session`. Each batch of an append session is an operation;
  a read session is one, however long it lasts.
- The throughputs are metered bytes: of acknowledged batches, and of the records that were handed to readers.
- `account-ops` and `basin-ops` have one series for each operation, called as in the scope of an access token.

How much a stream holds is the metered bytes of its blocks that are still kept: a trimmed or expired record counts until
its block is removed.

Everything here is pure, apart from `UsageBook`, which is what a storage engine must provide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from ..model.access_tokens import ACCOUNT_GROUP, Operation
from ..model.metrics import AccountMetricSet, BasinMetricSet, MetricsRange, Points, TimeseriesInterval
from .catalogue import StreamId

ACCOUNT: Final = ""
"""Instead of a basin's name: what concerns no basin in particular."""

UNARY: Final = "unary"
SESSION: Final = "session"
APPEND_THROUGHPUT: Final = "append-throughput"
READ_THROUGHPUT: Final = "read-throughput"

MINUTES_KEPT_HOURS: Final = 48
"""How long minutes are kept apart. What is older is known by the hour: a question for minutes gets whole hours."""

HOURS_KEPT: Final = 32 * 24
"""How long anything is kept: the longest range that may be asked for, and room for the days at both ends of it."""

_ACCOUNT_OPERATIONS: Final = ACCOUNT_GROUP.read | ACCOUNT_GROUP.write


class UsageKey(NamedTuple):
    """One series of one basin, or of the account."""

    basin: str
    metric_set: str
    series: str


class UsageCount(NamedTuple):
    """What a series got in a minute, which is counted from the Unix epoch."""

    minute: int
    key: UsageKey
    value: int


class UsagePoint(NamedTuple):
    """What a series got in the minute, or the hour, that begins at `start_secs`."""

    series: str
    start_secs: int
    value: int


class StorageSample(NamedTuple):
    """How much was held at an instant."""

    at_secs: int
    stored_bytes: int


class StorageHistory(Struct, frozen=True):
    """How much a stream or basin holds now, and what is known of earlier.

    `samples` are in order of time. Those of a stream are taken when it has changed, so each holds until the next one;
    without any, nothing has changed since `written_secs`, the time of the last append.
    """

    stored_bytes: int
    samples: tuple[StorageSample, ...]
    written_secs: int = 0


class UsageBook(Protocol):
    """What an engine keeps about the use of its basins and streams. It survives the engine."""

    async def add(self, counts: Sequence[UsageCount]) -> None:
        """Add the values to what is there, all or none. Those of a basin that is gone are dropped.

        Several engines on one store add up.
        """
        ...

    async def counts(
        self, basin: str, metric_set: str, start_secs: int, end_secs: int, *, by_minute: bool
    ) -> tuple[UsagePoint, ...]:
        """What the series of a set got from `start_secs` to before `end_secs`, both full hours; in no special order.

        By the hour, or by the minute where minutes are still kept.
        """
        ...

    async def sample(self) -> None:
        """Note how much is held now by each stream that this engine has changed since the last call.

        The first call begins to take notice of changes. The first of all engines in an hour also notes how much each
        basin holds, and forgets what is older than `MINUTES_KEPT_HOURS` and `HOURS_KEPT`.
        """
        ...

    async def stream_storage(self, stream: StreamId) -> StorageHistory:
        """How much a stream holds and held. Raises `StreamNotFound` when this incarnation is gone."""
        ...

    async def basin_storage(self, basin: str, start_secs: int, end_secs: int) -> StorageHistory:
        """How much the streams of a basin hold together, and held from `start_secs` to `end_secs`, by the hour."""
        ...

    async def active_basins(self, start_secs: int, end_secs: int) -> tuple[str, ...]:
        """The names of the basins that had a stream at some time from `start_secs` to `end_secs`, in order.

        Streams and basins that are gone are remembered to the minute, for `HOURS_KEPT`.
        """
        ...


class _Tally:
    """The counts of appending and reading, of one basin, as plain numbers: there is an addition for every batch."""

    __slots__ = ("append_sessions", "appended_bytes", "appends", "read_bytes", "read_sessions", "reads")

    def __init__(self) -> None:
        self.appends = self.append_sessions = self.appended_bytes = 0
        self.reads = self.read_sessions = self.read_bytes = 0

    def series(self, basin: str) -> Iterator[tuple[UsageKey, int]]:
        yield UsageKey(basin, BasinMetricSet.APPEND_OPS.value, UNARY), self.appends
        yield UsageKey(basin, BasinMetricSet.APPEND_OPS.value, SESSION), self.append_sessions
        yield UsageKey(basin, BasinMetricSet.APPEND_THROUGHPUT.value, APPEND_THROUGHPUT), self.appended_bytes
        yield UsageKey(basin, BasinMetricSet.READ_OPS.value, UNARY), self.reads
        yield UsageKey(basin, BasinMetricSet.READ_OPS.value, SESSION), self.read_sessions
        yield UsageKey(basin, BasinMetricSet.READ_THROUGHPUT.value, READ_THROUGHPUT), self.read_bytes


class Counters:
    """Counts what one process does, until they are taken away. Used on one event loop."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._operations: dict[UsageKey, int] = {}

    def _tally(self, basin: str) -> _Tally:
        tally = self._tallies[basin] = _Tally()
        return tally

    def appended(self, basin: str, metered_bytes: int) -> None:
        """A unary append was acknowledged."""
        tally = self._tallies.get(basin) or self._tally(basin)
        tally.appends += 1
        tally.appended_bytes += metered_bytes

    def appended_in_session(self, basin: str, metered_bytes: int) -> None:
        """A batch of an append session was acknowledged."""
        tally = self._tallies.get(basin) or self._tally(basin)
        tally.append_sessions += 1
        tally.appended_bytes += metered_bytes

    def read(self, basin: str) -> None:
        """A unary read has begun."""
        (self._tallies.get(basin) or self._tally(basin)).reads += 1

    def opened_read_session(self, basin: str) -> None:
        """A read session has begun."""
        (self._tallies.get(basin) or self._tally(basin)).read_sessions += 1

    def handed_out(self, basin: str, metered_bytes: int) -> None:
        """A reader got this much."""
        (self._tallies.get(basin) or self._tally(basin)).read_bytes += metered_bytes

    def operated(self, operation: Operation, basin: str = ACCOUNT) -> None:
        """Another operation succeeded; `basin` is that of its stream, if it is about one."""
        if operation in _ACCOUNT_OPERATIONS:
            key = UsageKey(ACCOUNT, AccountMetricSet.ACCOUNT_OPS.value, operation.value)
        else:
            key = UsageKey(basin, BasinMetricSet.BASIN_OPS.value, operation.value)
        self._operations[key] = self._operations.get(key, 0) + 1

    def take(self) -> dict[UsageKey, int]:
        """Everything counted since the last call, without zeros."""
        tallies, self._tallies = self._tallies, {}
        taken, self._operations = self._operations, {}
        for basin, tally in tallies.items():
            taken.update((key, value) for key, value in tally.series(basin) if value)
        return taken


def whole_hours(wanted: MetricsRange, interval: TimeseriesInterval) -> tuple[int, int]:
    """From where to where counts are needed, so that every interval that touches the range is complete.

    Intervals are whole minutes, hours and days of UTC; what is asked of an engine begins and ends with an hour.
    """
    step = max(interval.seconds, TimeseriesInterval.HOUR.seconds)
    return wanted.start // step * step, (wanted.end // step + 1) * step


def fold(points: Iterable[UsagePoint], interval: TimeseriesInterval, wanted: MetricsRange) -> dict[str, Points]:
    """The sums of each series over the intervals that touch the range, in order of names and time, without zeros."""
    step = interval.seconds
    first, last = wanted.start // step * step, wanted.end // step * step
    if last == wanted.end > first:
        last -= step  # the range ends where this interval begins
    sums: dict[str, dict[int, int]] = {}
    for series, start_secs, value in points:
        begin = start_secs // step * step
        if first <= begin <= last:
            found = sums.setdefault(series, {})
            found[begin] = found.get(begin, 0) + value
    return {series: tuple(sorted(found.items())) for series, found in sorted(sums.items())}


def levels(history: StorageHistory, interval: TimeseriesInterval, wanted: MetricsRange, now_secs: int) -> Points:
    """How much a stream held at the beginning of each interval in the range, and holds now if the range has come there.

    What was before anything is known is left out.
    """
    step, samples = interval.seconds, history.samples
    points: list[tuple[int, float]] = []
    known: int | None = None if samples else history.stored_bytes
    since = wanted.start if samples else max(wanted.start, history.written_secs)
    position = 0
    for at_secs in range(-(-since // step) * step, min(wanted.end, now_secs) + 1, step):
        while position < len(samples) and samples[position].at_secs <= at_secs:
            known = samples[position].stored_bytes
            position += 1
        if known is not None:
            points.append((at_secs, known))
    return _with_now(points, history, wanted, now_secs)


def observed(history: StorageHistory, wanted: MetricsRange, now_secs: int) -> Points:
    """How much a basin held whenever that was noted in the range, and holds now if the range has come there."""
    points: list[tuple[int, float]] = [s for s in history.samples if wanted.start <= s.at_secs <= wanted.end]
    return _with_now(points, history, wanted, now_secs)


def _with_now(points: list[tuple[int, float]], history: StorageHistory, wanted: MetricsRange, now_secs: int) -> Points:
    if wanted.start <= now_secs <= wanted.end:
        if points and points[-1][0] >= now_secs:
            points.pop()
        points.append((now_secs, history.stored_bytes))
    return tuple((at_secs, value) for at_secs, value in points)
