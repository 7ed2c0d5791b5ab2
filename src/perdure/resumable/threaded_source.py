"""A blocking source on a thread of its own, read from the event loop.

Operations: `next_batch` and `aclose`, both on the loop, and the thread that iterates. Goals:

* the loop never blocks, and is woken once for many items rather than once for each;
* back-pressure: the thread stops once `MAX_WAITING_CHUNKS` or `MAX_WAITING_BYTES` wait to be taken;
* the source is opened, iterated and closed in one thread, since generators and database cursors ask for that;
* closing never waits long: a thread that is stuck in the source's own read finishes by itself once that returns.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Final, cast

from .chunks import ChunkReader, SourceChunk
from .json_body import SourceError, parse_object

MAX_WAITING_CHUNKS: Final = 64
MAX_WAITING_BYTES: Final = 1024 * 1024
CLOSE_GRACE_SECONDS: Final = 0.25
"""How long closing waits for the thread; a source that is between two items closes within this."""


class ThreadedSource:
    """The chunks of a blocking iterable, or of a context manager that gives one.

    The thread starts with the first `next_batch`, and is a daemon: an SDK that blocks for ever must not keep the
    interpreter from exiting.
    """

    def __init__(self, source: Iterable[object] | AbstractContextManager[object], reader: ChunkReader) -> None:
        self._source = source
        self._reader = reader
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # All below is guarded by `_changed`, on which the thread waits for room.
        self._changed = threading.Condition()
        self._waiting: list[SourceChunk] = []
        self._waiting_bytes = 0
        self._failure: BaseException | None = None
        self._finished = False
        self._closed = False
        self._wanted: asyncio.Future[None] | None = None

    async def next_batch(self) -> list[SourceChunk] | None:
        """The chunks that wait, at least one; None at the end. Raises what the source raises, after its chunks."""
        if self._thread is None:
            self._start()
        with self._changed:
            wanted = self._want()
        if wanted is not None:
            await wanted
        with self._changed:
            self._wanted = None
            if self._waiting:
                batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
                self._changed.notify()
                return batch
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            return None

    async def aclose(self) -> None:
        """End the thread, which closes the source. Raises what that raises, if it is done within the grace."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
            ended = None if self._thread is None or self._finished else self._new_wanted()
        if ended is not None:
            try:
                async with asyncio.timeout(CLOSE_GRACE_SECONDS):
                    await ended
            except TimeoutError:
                return  # stuck in the source's own read; the thread closes it when that returns
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _start(self) -> None:
        """Start the thread, in the context of the reader."""
        self._loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="perdure-source", daemon=True)
        self._thread.start()

    def _want(self) -> asyncio.Future[None] | None:
        """A future to wait for when there is nothing to take yet."""
        return None if self._waiting or self._finished else self._new_wanted()

    def _new_wanted(self) -> asyncio.Future[None]:
        """A future that the thread resolves when there is something to see."""
        assert self._loop is not None
        self._wanted = self._loop.create_future()
        return self._wanted

    # --- in the thread ---

    def _run(self) -> None:
        """Open, iterate, close, and tell the loop how it ended."""
        failure: BaseException | None = None
        try:
            self._iterate()
        except BaseException as exc:  # also KeyboardInterrupt: the loop's side must not wait for a dead thread
            failure = exc
        with self._changed:
            self._failure, self._finished = failure, True
            self._wake()

    def _iterate(self) -> None:
        """Open the source, queue what it gives until nobody wants more, and close it."""
        with ExitStack() as opened:
            source: object = self._source
            if isinstance(source, AbstractContextManager):
                source = opened.enter_context(source)
            if not isinstance(source, Iterable):
                raise SourceError(
                    f"{type(source).__qualname__}, which the source's context manager gave, is not iterable"
                )
            iterator = iter(cast("Iterable[object]", source))
            for target in (iterator,) if iterator is source else (source, iterator):
                if callable(close := getattr(target, "close", None)):
                    opened.push(_closing(close))
            if self._closed:
                return
            for item in iterator:
                if not self._put(map(_detached, self._reader.chunks(item))):
                    return
            self._put(self._reader.finish())

    def _put(self, chunks: Iterable[SourceChunk]) -> bool:
        """Queue `chunks`, waiting for room; false when nobody wants more."""
        for chunk in chunks:
            with self._changed:
                self._waiting.append(chunk)
                self._waiting_bytes += len(chunk.body)
                self._wake()
                while not self._closed and self._is_full():
                    self._changed.wait()
                if self._closed:
                    return False
        return True

    def _is_full(self) -> bool:
        """Whether the thread has run ahead far enough."""
        return len(self._waiting) >= MAX_WAITING_CHUNKS or self._waiting_bytes >= MAX_WAITING_BYTES

    def _wake(self) -> None:
        """Wake the loop's side if it waits; at `aclose` it waits for the end only."""
        wanted = self._wanted
        if wanted is None or (self._closed and not self._finished):
            return
        self._wanted = None
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, wanted)
        except RuntimeError:
            pass  # the loop is closed, and with it whoever waited


def _closing(
    close: Callable[[], object],
) -> Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]:
    """`close` for an exit stack; its failure does not take the place of the source's own error."""

    def leave(kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """Close; called by the stack with what is in flight."""
        try:
            close()
        except Exception as failure:
            if exc is None:
                raise
            exc.add_note(f"Closing the source failed too: {failure!r}")

    return leave


def _detached(chunk: SourceChunk) -> SourceChunk:
    """`chunk` without what the source may still change: it runs on while the loop looks at the value."""
    return SourceChunk(parse_object(chunk.body) or {}, chunk.body) if chunk.value else chunk


def _resolve(wanted: asyncio.Future[None]) -> None:
    """On the loop, where futures may be touched; the waiting task may be gone by now."""
    if not wanted.done():
        wanted.set_result(None)
