"""What a run has measured so far, and what came of it."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from .chain import Fault
from .latencies import Latencies

MIB: Final = 1024 * 1024
PERCENTS: Final = (50.0, 90.0, 99.0, 99.9)
_NS: Final = 1_000_000_000


class Phase(Enum):
    """What a run is doing; the value is how the live view calls it."""

    WRITING = "append and tail"
    WAITING = "wait"
    CATCHING_UP = "catch up"


class Settings(Struct, frozen=True):
    """What is to be measured."""

    record_bytes: int
    """The metered size of a record."""

    target_mibps: float | None
    """How much to append in a second; None for as much as the stream takes."""

    duration_secs: float
    """For how long to append."""

    catchup_delay_secs: float
    """How long to wait before everything is read again."""


class Flow:
    """Records that go one way: how many, since when, and how long each took if that is measured."""

    def __init__(self) -> None:
        self.records: int = 0
        self.bytes: int = 0
        self.latencies: Final = Latencies()
        self._begun_ns = 0
        self._last_ns = 0

    def begin(self, now_ns: int) -> None:
        """From here on its time counts."""
        self._begun_ns = self._last_ns = now_ns

    def add(self, records: int, record_bytes: int, now_ns: int) -> None:
        """So many records of this size each have arrived."""
        self.records += records
        self.bytes += records * record_bytes
        self._last_ns = now_ns

    @property
    def seconds(self) -> float:
        """From its beginning to its last record."""
        return (self._last_ns - self._begun_ns) / _NS

    @property
    def mibps(self) -> float:
        return self.bytes / MIB / self.seconds if self.seconds > 0 else 0.0

    @property
    def records_per_sec(self) -> float:
        return self.records / self.seconds if self.seconds > 0 else 0.0


class Run:
    """One run of the bench: its settings, where it is, and what it has measured."""

    def __init__(self, settings: Settings, address: str) -> None:
        self.settings: Final = settings
        self.address: Final = address
        self.phase: Phase = Phase.WRITING
        self.phase_begun_ns: int = 0
        self.append: Final = Flow()
        self.tail: Final = Flow()
        self.catch_up: Final = Flow()
        self.fault: Fault | None = None
        self.fault_of: str = ""
        """Which of the two reads has found it."""
        self.complete: bool = False
        """Whether it has done all that it was to do."""

    def enter(self, phase: Phase, now_ns: int) -> None:
        """The next phase begins."""
        self.phase, self.phase_begun_ns = phase, now_ns

    @property
    def phase_secs(self) -> float | None:
        """How long the phase takes by plan; None if nobody knows."""
        match self.phase:
            case Phase.WRITING:
                return self.settings.duration_secs
            case Phase.WAITING:
                return self.settings.catchup_delay_secs
            case Phase.CATCHING_UP:
                return None

    def found(self, fault: Fault | None, reader: str) -> None:
        """Keep the first fault."""
        if self.fault is None and fault is not None:
            self.fault, self.fault_of = fault, reader


class Throughput(Struct, frozen=True):
    """What went one way, for `--json`."""

    records: int
    bytes: int
    seconds: float
    mib_per_second: float
    records_per_second: float

    @classmethod
    def of(cls, flow: Flow) -> Throughput:
        return cls(
            flow.records, flow.bytes, round(flow.seconds, 6), round(flow.mibps, 6), round(flow.records_per_sec, 3)
        )


class LatencyReport(Struct, frozen=True):
    """Percentiles in milliseconds, for `--json`."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float
    mean: float

    @classmethod
    def of(cls, latencies: Latencies) -> LatencyReport:
        p50, p90, p99, p99_9 = (round(latencies.percentile(percent) / 1e6, 6) for percent in PERCENTS)
        return cls(p50, p90, p99, p99_9, round(latencies.max_ns / 1e6, 6), round(latencies.mean_ns / 1e6, 6))


class Report(Struct, frozen=True):
    """The outcome, for `--json`. `fault` is what was not as it was written, and None if everything was."""

    stream: str
    complete: bool
    record_bytes: int
    target_mib_per_second: float | None
    append: Throughput
    tail: Throughput
    catch_up: Throughput
    ack_ms: LatencyReport
    end_to_end_ms: LatencyReport
    fault: str | None

    @classmethod
    def of(cls, run: Run) -> Report:
        return cls(
            stream=run.address,
            complete=run.complete,
            record_bytes=run.settings.record_bytes,
            target_mib_per_second=run.settings.target_mibps,
            append=Throughput.of(run.append),
            tail=Throughput.of(run.tail),
            catch_up=Throughput.of(run.catch_up),
            ack_ms=LatencyReport.of(run.append.latencies),
            end_to_end_ms=LatencyReport.of(run.tail.latencies),
            fault=None if run.fault is None else f"{run.fault_of}, {run.fault}",
        )
