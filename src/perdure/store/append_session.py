"""Appending batch after batch to one stream."""

from __future__ import annotations

import asyncio
from functools import partial

from ..model.batches import AppendAck, AppendInput
from .catalogue import StreamEntry
from .engine import Engine, Lane
from .sealing import Seal
from .usage import Counters


class Appender:
    """One append session on a stream: batches in order, nothing after the first that fails."""

    def __init__(
        self, engine: Engine, entry: StreamEntry, seal: Seal | None = None, counters: Counters | None = None
    ) -> None:
        self._engine = engine
        self._stream = entry.stream_id
        self._seal = seal
        self._basin = entry.basin
        self._counters = counters
        self._lane = Lane()

    def submit(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        """Queue a batch behind those submitted before; the future resolves when it is durable."""
        sealed = batch if self._seal is None else self._seal.seal(batch)
        future = self._engine.append(self._stream, sealed, self._lane)
        if self._counters is not None:
            future.add_done_callback(partial(self._count, self._counters, batch.metered_bytes))
        return future

    def _count(self, counters: Counters, metered_bytes: int, done: asyncio.Future[AppendAck]) -> None:
        if not done.cancelled() and done.exception() is None:
            counters.appended_in_session(self._basin, metered_bytes)
