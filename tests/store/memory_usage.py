"""The usage book of the engine without a disk: plain lists, summed and searched when they are asked."""

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from perdure.errors import StreamNotFound
from perdure.store.catalogue import StreamId
from perdure.store.usage import (
    ACCOUNT,
    HOURS_KEPT,
    MINUTES_KEPT_HOURS,
    StorageHistory,
    StorageSample,
    UsageCount,
    UsagePoint,
)

HOUR = 3600
ACCOUNT_ID = 0


class Level(Struct):
    """How much a stream holds, and when it was last appended to."""

    stored_bytes: int
    written_secs: int


class MemoryUsage:
    """What outlives an engine."""

    def __init__(self) -> None:
        self.counts: list[tuple[int, UsageCount]] = []
        self.samples: dict[StreamId, list[StorageSample]] = {}
        self.basin_samples: dict[int, list[StorageSample]] = {}
        self.gone: list[tuple[str, datetime, datetime]] = []


class Catalogue:
    """What the book needs to know of basins and streams."""

    def basin_ids(self) -> dict[str, int]:
        raise NotImplementedError

    def streams(self) -> list[tuple[str, StreamId, datetime, datetime | None]]:
        raise NotImplementedError

    def level(self, stream: StreamId) -> Level | None:
        raise NotImplementedError


class MemoryUsageBook:
    def __init__(
        self, usage: MemoryUsage, catalogue: Catalogue, now_ms: Callable[[], int], check: Callable[[], None]
    ) -> None:
        self._usage = usage
        self._catalogue = catalogue
        self._now_ms = now_ms
        self._check = check
        self._resized: set[StreamId] | None = None
        self._kept_hour: int | None = None

    def resized(self, stream: StreamId) -> None:
        if self._resized is not None:
            self._resized.add(stream)

    def _basin_id(self, basin: str) -> int | None:
        return ACCOUNT_ID if basin == ACCOUNT else self._catalogue.basin_ids().get(basin)

    async def add(self, counts: Sequence[UsageCount]) -> None:
        self._check()
        for count in counts:
            basin_id = self._basin_id(count.key.basin)
            if basin_id is not None:
                self._usage.counts.append((basin_id, count))

    async def counts(
        self, basin: str, metric_set: str, start_secs: int, end_secs: int, *, by_minute: bool
    ) -> tuple[UsagePoint, ...]:
        self._check()
        apart = self._now_ms() // 1000 // HOUR - MINUTES_KEPT_HOURS
        points = []
        for basin_id, count in self._usage.counts:
            begin = count.minute * 60
            if not by_minute or begin // HOUR < apart:
                begin = begin // HOUR * HOUR
            if (basin_id, count.key.metric_set) == (self._basin_id(basin), metric_set) and (
                start_secs <= begin < end_secs
            ):
                points.append(UsagePoint(count.key.series, begin, count.value))
        return tuple(points)

    async def sample(self) -> None:
        self._check()
        now = self._now_ms() // 1000
        for stream in self._resized or ():
            level = self._catalogue.level(stream)
            if level is not None:
                sample = StorageSample(now // 60 * 60, level.stored_bytes)
                self._usage.samples.setdefault(stream, []).append(sample)
        self._resized = set()
        if self._kept_hour != now // HOUR:
            self._kept_hour = now // HOUR
            self._keep_hour(now)

    def _keep_hour(self, now: int) -> None:
        usage = self._usage
        for basin, basin_id in self._catalogue.basin_ids().items():
            samples = usage.basin_samples.setdefault(basin_id, [])
            if not samples or samples[-1].at_secs // HOUR != now // HOUR:
                samples.append(StorageSample(now, self._total(basin)))
        oldest = (now // HOUR - HOURS_KEPT) * HOUR
        usage.counts = [(basin_id, count) for basin_id, count in usage.counts if count.minute * 60 >= oldest]
        for lists in (usage.samples.values(), usage.basin_samples.values()):
            for samples in lists:
                samples[:] = [sample for sample in samples if sample.at_secs >= oldest]
        usage.gone = [(basin, made, gone) for basin, made, gone in usage.gone if gone.timestamp() >= oldest]

    def _total(self, basin: str) -> int:
        levels = [self._catalogue.level(stream) for of, stream, _, _ in self._catalogue.streams() if of == basin]
        return sum(level.stored_bytes for level in levels if level is not None)

    async def stream_storage(self, stream: StreamId) -> StorageHistory:
        self._check()
        level = self._catalogue.level(stream)
        if level is None:
            raise StreamNotFound("the stream does not exist any more")
        samples = {sample.at_secs: sample for sample in self._usage.samples.get(stream, [])}
        return StorageHistory(level.stored_bytes, tuple(samples.values()), level.written_secs)

    async def basin_storage(self, basin: str, start_secs: int, end_secs: int) -> StorageHistory:
        self._check()
        samples = self._usage.basin_samples.get(self._basin_id(basin) or -1, [])
        return StorageHistory(self._total(basin), tuple(samples))

    async def active_basins(self, start_secs: int, end_secs: int) -> tuple[str, ...]:
        self._check()
        lives = [(basin, made, gone) for basin, _, made, gone in self._catalogue.streams()] + self._usage.gone
        active = {
            basin
            for basin, made, gone in lives
            if made.timestamp() < end_secs + 1 and (gone is None or gone.timestamp() >= start_secs)
        }
        return tuple(sorted(active))
