"""What is told of a generation: a span from its claim to its end, metrics, and the fields of log lines.

The span belongs to the trace of the request that began the generation, and outlives it. Nothing of it is stored: what
readers in other processes do has traces of its own.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from ..telemetry.measures import CLAIMS, FIRST_TOKEN, GENERATIONS
from ..telemetry.spans import BASIN, ERROR_TYPE, STREAM, Span, begin, error_type
from .claim import StreamInUse

if TYPE_CHECKING:
    from ..client import Stream

ADAPTER: Final = "perdure.adapter"
MODE: Final = "perdure.mode"
OUTCOME: Final = "perdure.outcome"

IN_USE: Final = "in use"
FAILED: Final = "failed"
"""Outcomes of claims that were no beginning; those of generations are `Generation.outcome`."""


class Observed:
    """One generation, as operators see it. Its parts are told in the order of the methods."""

    __slots__ = ("_begun", "_first_at", "_first_seq", "_kind", "span")

    def __init__(self, stream: Stream, adapter: str, mode: str) -> None:
        self._begun = perf_counter()
        self._kind = {ADAPTER: adapter, MODE: mode}
        self._first_at = 0.0
        self._first_seq = -1
        self.span: Span = begin(
            "perdure.generation", attributes={**self._kind, BASIN: stream.basin_name, STREAM: stream.name}
        )

    def refused(self, error: BaseException) -> None:
        """There is no generation: somebody else's is active, or the store failed."""
        outcome = IN_USE if isinstance(error, StreamInUse) else FAILED
        self.span.set(OUTCOME, outcome)
        if outcome is FAILED:
            self.span.failed(error)
        self.span.end()
        CLAIMS.record(perf_counter() - self._begun, {**self._kind, OUTCOME: outcome})

    def claimed(self, start_seq: int) -> None:
        """The generation has begun, and its records come from `start_seq` on."""
        self.span.event("claimed")
        self.span.set("perdure.generation.start_seq_num", start_seq)
        CLAIMS.record(perf_counter() - self._begun, {**self._kind, OUTCOME: "claimed"})

    def first_chunk(self, seq_num: int) -> None:
        """The source has given its first chunk, whose first record gets this sequence number."""
        self._first_at, self._first_seq = perf_counter(), seq_num

    def durable(self, end_seq: int) -> None:
        """What is below `end_seq` is stored."""
        if 0 <= self._first_seq < end_seq:
            self._first_seq = -1
            FIRST_TOKEN.record(perf_counter() - self._first_at, self._kind)
            self.span.event("first chunk is durable")

    def ended(self, outcome: str, records: int, failure: BaseException | None) -> None:
        """The generation is over, and so many records of it are stored."""
        told: dict[str, str] = {**self._kind, OUTCOME: outcome}
        self.span.set(OUTCOME, outcome)
        self.span.set("perdure.records", records)
        if failure is not None:
            told[ERROR_TYPE] = error_type(failure)
            self.span.failed(failure)
        self.span.end()
        GENERATIONS.record(perf_counter() - self._begun, told)
