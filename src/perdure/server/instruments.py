"""What is measured for operators: the metric families, and which cells of a scoreboard's area hold their numbers.

The families that s2-lite has are those of the store API, section 2.1. No label has a value that clients choose: names
of basins and streams, paths and addresses would make as many series as there are clients with ideas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import product
from typing import Final

from msgspec import Struct

from ..errors import CODES
from .scoreboard import AREA_CELLS, FIRST_COUNTER, FIRST_GAUGE
from .sessions import SessionKind

UNROUTED: Final = "unrouted"
"""The operation of every request that no endpoint takes."""

CLIENT_GONE: Final = 499
"""The status of a request whose client went away before it was answered; nginx calls it so as well."""

OTHER_STATUS: Final = "other"
STATUSES: Final = tuple(
    sorted({200, 201, 202, 204, 404, 405, 415, CLIENT_GONE} | {facts.status for facts in CODES.values()})
)

REQUEST_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
APPEND_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_RECORDS: Final = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
BATCH_BYTES: Final = (512.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 524288.0, 1048576.0)
COMMIT_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
COMMIT_BATCHES: Final = tuple(float(2**power) for power in range(13))

APPENDING: Final = "append"
TIDYING: Final = "other"
"""Kinds of commit groups: those that appended batches, and those that only changed the catalogue or tidied up."""


class Kind(Enum):
    """What a number says: how often something happened, what is the case, or how values are spread."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Series(Struct, frozen=True):
    """One series of a family. Its number is in `cell`; a histogram has one for each bucket from there on, then the sum.

    The last bucket is that of what exceeds all bounds.
    """

    labels: tuple[str, ...]
    cell: int


class Family(Struct, frozen=True, kw_only=True):
    """Series with one name and one meaning, told apart by the values of their labels."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    bounds: tuple[float, ...] = ()

    def cell(self, *labels: str) -> int:
        """Where the series with these label values begins. Raises `KeyError`."""
        for series in self.series:
            if series.labels == labels:
                return series.cell
        raise KeyError(labels)


class Instruments:
    """All families of one server, whose endpoints have the names `operations`."""

    def __init__(self, operations: Iterable[str]) -> None:
        self._gauges = FIRST_GAUGE
        self._counters = FIRST_COUNTER
        self._families: list[Family] = []
        kinds = [(kind.value,) for kind in SessionKind]
        statuses = [OTHER_STATUS, *map(str, STATUSES)]
        self.requests: Final = self._add(
            Kind.HISTOGRAM,
            "perdure_request_duration_seconds",
            "Time from a request's head to its answer, by operation and status. What becomes a session is not in it.",
            labels=("operation", "status"),
            values=list(product(sorted({*operations, UNROUTED}), statuses)),
            bounds=REQUEST_SECONDS,
        )
        self.permits: Final = self._add(
            Kind.HISTOGRAM,
            "s2_append_permit_latency_seconds",
            "Time that an acknowledged batch waited until its bytes were admitted.",
            bounds=APPEND_SECONDS,
        )
        self.acks: Final = self._add(
            Kind.HISTOGRAM,
            "s2_append_ack_latency_seconds",
            "Time from the admission of a batch until it was durable.",
            bounds=APPEND_SECONDS,
        )
        self.batch_records: Final = self._add(
            Kind.HISTOGRAM, "s2_append_batch_records", "Records of an acknowledged batch.", bounds=BATCH_RECORDS
        )
        self.batch_bytes: Final = self._add(
            Kind.HISTOGRAM, "s2_append_batch_bytes", "Metered bytes of an acknowledged batch.", bounds=BATCH_BYTES
        )
        self.inflight: Final = self._add(
            Kind.GAUGE, "perdure_append_inflight_bytes", "Metered bytes of batches admitted and not yet answered."
        )
        self.sessions: Final = self._add(
            Kind.GAUGE, "perdure_sessions", "Sessions that are open, by kind.", labels=("kind",), values=kinds
        )
        self.sessions_opened: Final = self._add(
            Kind.COUNTER, "perdure_sessions_opened", "Sessions that were opened.", labels=("kind",), values=kinds
        )
        self.sessions_refused: Final = self._add(
            Kind.COUNTER,
            "perdure_sessions_refused",
            "Sessions that were refused because too many are open.",
            labels=("kind",),
            values=kinds,
        )
        self.followers: Final = self._add(
            Kind.GAUGE, "perdure_followers", "Reads that follow a stream live, unary ones that wait included."
        )
        self.commits: Final = self._add(
            Kind.COUNTER,
            "perdure_commits",
            "Commit groups that became durable: those with appends, and others.",
            labels=("kind",),
            values=[(APPENDING,), (TIDYING,)],
        )
        self.commit_failures: Final = self._add(
            Kind.COUNTER, "perdure_commit_failures", "Commit groups that were given up, and everything in them."
        )
        self.commit_seconds: Final = self._add(
            Kind.HISTOGRAM,
            "perdure_commit_duration_seconds",
            "Time of a commit group with appends: its turn among the processes, the writes, the sync.",
            bounds=COMMIT_SECONDS,
        )
        self.commit_batches: Final = self._add(
            Kind.HISTOGRAM,
            "perdure_commit_batches",
            "Batches that one commit group appended.",
            bounds=COMMIT_BATCHES,
        )
        self.records: Final = self._add(Kind.COUNTER, "perdure_appended_records", "Records that became durable.")
        self.bytes: Final = self._add(
            Kind.COUNTER, "perdure_appended_bytes", "Metered bytes of the records that became durable."
        )
        self.workers: Final = self._add(Kind.GAUGE, "perdure_workers", "Worker processes that serve or are ending.")
        self.families: Final[tuple[Family, ...]] = tuple(self._families)

    def _add(
        self,
        kind: Kind,
        name: str,
        text: str,
        *,
        labels: tuple[str, ...] = (),
        values: Sequence[tuple[str, ...]] = ((),),
        bounds: tuple[float, ...] = (),
    ) -> Family:
        size = len(bounds) + 2 if kind is Kind.HISTOGRAM else 1
        first = self._gauges if kind is Kind.GAUGE else self._counters
        series = tuple(Series(value, first + index * size) for index, value in enumerate(values))
        end = first + len(series) * size
        if end > (FIRST_COUNTER if kind is Kind.GAUGE else AREA_CELLS):
            raise ValueError(f"there is no room for {name} in an area of a scoreboard; make AREA_CELLS larger")
        if kind is Kind.GAUGE:
            self._gauges = end
        else:
            self._counters = end
        family = Family(kind=kind, name=name, help=text, labels=labels, series=series, bounds=bounds)
        self._families.append(family)
        return family
