"""Aborting a source by a handle that it knows too, as TanStack AI's `abortController` does in JavaScript."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from .chunks import SourceChunk
from .generation import ChunkSource


class AbortSignal:
    """Tells a source that nobody wants more: it was aborted, stopped from anywhere, or the process shuts down.

    A source in Python is cancelled then as well; the signal is for those that a cancellation cannot reach, such as
    generators that a thread runs, and for work that a source has handed on.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def aborted(self) -> bool:
        """Whether it has happened; may be asked from any thread."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until it happens."""
        await self._event.wait()

    def _set(self) -> None:
        self._event.set()


class AbortController:
    """The handle of one generation. `abort` is for the thread of the event loop."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.signal: AbortSignal = AbortSignal()
        """What the source looks at."""
        self._stop = stop
        self._runs = False
        self._over = False

    def abort(self) -> bool:
        """End the generation as stopped; what was generated stays. False if it was ending already."""
        if self._over:
            return False
        self.signal._set()
        return self._stop() if self._runs else True

    def _begin(self) -> bool:
        """The source is asked for its first chunk. False if it must not be, since nobody wants any."""
        self._runs = True
        return not self.signal.aborted or not self._stop()

    def _end(self, *, aborted: bool) -> None:
        self._over = True
        if aborted:
            self.signal._set()


class AbortableSource:
    """A source that ends when its handle is aborted, and whose signal tells it when it is closed early."""

    def __init__(self, source: ChunkSource, handle: AbortController, on_close: Callable[[], None]) -> None:
        self._source = source
        self._handle = handle
        self._on_close = on_close
        self._exhausted = False
        self._chunks = self._until_aborted()

    def __aiter__(self) -> AsyncIterator[SourceChunk]:
        return self._chunks

    async def aclose(self) -> None:
        """Tell the source, and close it. Idempotent; called by the task that iterates."""
        self._handle._end(aborted=not self._exhausted)
        self._on_close()
        await self._chunks.aclose()
        await self._source.aclose()

    async def _until_aborted(self) -> AsyncGenerator[SourceChunk, None]:
        if self._handle._begin():
            async for chunk in self._source:
                yield chunk
        self._exhausted = not self._handle.signal.aborted
