"""What is counted and timed for OpenTelemetry: each instrument, defined once.

`http.*` are those of the semantic conventions for HTTP; ours begin with `perdure.`. No attribute has a value that
clients choose, such as the name of a stream: each would make a series of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from .providers import meter, on_change

if TYPE_CHECKING:
    from opentelemetry import metrics

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

InstrumentT = TypeVar("InstrumentT")

HTTP_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The buckets that the conventions recommend for the duration of requests."""

COMMIT_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ADDED_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
GENERATION_SECONDS: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class _Measure(Generic[InstrumentT]):
    """An instrument that is made when somebody has imported OpenTelemetry; until then nothing is told to anybody."""

    __slots__ = ("_make", "_real")

    def __init__(self, make: Callable[[metrics.Meter], InstrumentT]) -> None:
        self._make = make
        self._real: InstrumentT | None = None
        on_change(self._forget)

    def _forget(self) -> None:
        self._real = None

    def _found(self) -> InstrumentT | None:
        source = meter()
        if source is not None:
            self._real = self._make(source)
        return self._real


class Counter(_Measure["metrics.Counter"]):
    """How often something happened, or how much of it."""

    def __init__(self, name: str, unit: str, text: str) -> None:
        super().__init__(lambda source: source.create_counter(name, unit, text))

    def add(self, amount: float, attributes: Attributes | None = None) -> None:
        real = self._real or self._found()
        if real is not None:
            real.add(amount, attributes)


class UpDown(_Measure["metrics.UpDownCounter"]):
    """How many there are now."""

    def __init__(self, name: str, unit: str, text: str) -> None:
        super().__init__(lambda source: source.create_up_down_counter(name, unit, text))

    def add(self, amount: float, attributes: Attributes | None = None) -> None:
        real = self._real or self._found()
        if real is not None:
            real.add(amount, attributes)


class Histogram(_Measure["metrics.Histogram"]):
    """How values are spread."""

    def __init__(self, name: str, unit: str, text: str, bounds: Sequence[float]) -> None:
        super().__init__(
            lambda source: source.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=bounds)
        )

    def record(self, value: float, attributes: Attributes | None = None) -> None:
        real = self._real or self._found()
        if real is not None:
            real.record(value, attributes)


SERVER_REQUESTS: Final = Histogram(
    "http.server.request.duration", "s", "Duration of HTTP server requests; what becomes a session is not in it.",
    HTTP_SECONDS,
)  # fmt: skip
SERVER_SESSIONS: Final = UpDown("perdure.server.sessions", "{session}", "Sessions that are open, by kind.")
SERVER_IN_FLIGHT: Final = UpDown(
    "perdure.server.append.in_flight", "By", "Metered bytes of batches admitted and not yet answered."
)
COMMITS: Final = Histogram(
    "perdure.store.commit.duration", "s", "Duration of commit groups that appended batches.", COMMIT_SECONDS
)
COMMIT_FAILURES: Final = Counter("perdure.store.commit.failures", "{commit}", "Commit groups that were given up.")
APPENDS: Final = Counter("perdure.store.appends", "{batch}", "Batches that became durable.")
RECORDS: Final = Counter("perdure.store.records", "{record}", "Records that became durable.")
BYTES: Final = Counter("perdure.store.bytes", "By", "Metered bytes of records that became durable.")
FOLLOWERS: Final = UpDown("perdure.store.followers", "{reader}", "Reads that follow a stream live.")
CLIENT_REQUESTS: Final = Histogram(
    "http.client.request.duration", "s", "Duration of HTTP client requests, with all their attempts.", HTTP_SECONDS
)
CLIENT_RETRIES: Final = Counter(
    "perdure.client.retries", "{retry}", "Attempts after the first, of requests and of connections for sessions."
)
GENERATIONS: Final = Histogram(
    "perdure.generation.duration", "s", "From the claim of a generation to its end, by outcome.", GENERATION_SECONDS
)
CLAIMS: Final = Histogram("perdure.generation.claim.duration", "s", "Time to claim a generation.", ADDED_SECONDS)
FIRST_TOKEN: Final = Histogram(
    "perdure.generation.first_token.added", "s",
    "Time from a source's first chunk until it was durable, and so could be shown.", ADDED_SECONDS,
)  # fmt: skip
LEASES_LOST: Final = Counter(
    "perdure.generation.leases_lost", "{generation}", "Generations that were ended here because their writer was gone."
)
