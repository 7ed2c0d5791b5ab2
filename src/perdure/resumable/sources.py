"""Any source of chunks as one async iterator that is opened late and closed for certain.

A source is an async iterable, an iterable, an async or plain context manager that gives one, an awaitable of any of
these, or a callable without arguments that returns any of these. `open_source` touches nothing; the first step of
the iteration calls, awaits and enters, so a turn that is refused costs no model call. Whichever way the iteration
ends (exhausted, raised, abandoned, cancelled), what was opened is closed again.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from types import TracebackType
from typing import Final

from .chunks import DEFAULT_SDK_VERSION, Accept, ChunkReader, ItemReader, KeyStyle, SourceChunk
from .json_body import SourceError
from .threaded_source import ThreadedSource

MAX_LAYERS: Final = 16
"""How deep callables, awaitables and context managers may be nested; more is one that returns itself."""

_READY_MADE: Final = (list, tuple, set, frozenset)


class Source:
    """The chunks of one source, in order: iterate it once, in one task, and close it from that task.

    Use it as an async context manager, or call `aclose`. Raises from the iteration what the source raises, and
    `SourceError` for what is no source or no chunk.
    """

    def __init__(self, source: object, reader: ChunkReader) -> None:
        self._source = source
        self._chunks = _chunks(source, reader)

    def __aiter__(self) -> AsyncIterator[SourceChunk]:
        return self._chunks

    async def __aenter__(self) -> Source:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what the iteration opened; a source that was never asked for anything is discarded.

        Raises what closing the source raises. Nobody may be waiting in the iteration: cancel that first.
        """
        await self._chunks.aclose()
        discard_source(self._source)


def open_source(
    source: object,
    *,
    accept: Accept | None = None,
    unwanted_types: AbstractSet[str] = frozenset(),
    require_type: bool = True,
    key_style: KeyStyle = "snake",
    sdk_version: int = DEFAULT_SDK_VERSION,
) -> Source:
    """The chunks of `source`, which is not touched before the iteration starts.

    `accept` is the adapter's filter; objects of `unwanted_types` are dropped before it. `require_type=False` is for
    logs of any JSON objects. `key_style="camel"` writes the field names of dataclasses in camelCase. `sdk_version`
    is the AI SDK version that pydantic-ai chunks are encoded for.
    """
    reader = ItemReader(
        accept=accept,
        unwanted_types=unwanted_types,
        require_type=require_type,
        key_style=key_style,
        sdk_version=sdk_version,
    )
    return Source(source, reader)


def discard_source(source: object) -> None:
    """Let go of a source whose turn was refused.

    A coroutine object would complain that it was never awaited, so it is closed; nothing else is touched.
    """
    if inspect.iscoroutine(source) and inspect.getcoroutinestate(source) == inspect.CORO_CREATED:
        source.close()


async def _chunks(source: object, reader: ChunkReader) -> AsyncGenerator[SourceChunk, None]:
    """Open `source`, read it to its end, and close it on every way out."""
    async with AsyncExitStack() as opened:
        items = await _open(source, opened)
        if isinstance(items, AsyncIterable):
            iterator = items.__aiter__()
            opened.push_async_exit(_Closing(iterator, items))
            async for item in iterator:
                if type(item) is dict:  # the usual item, and the reason for not going through `chunks`
                    chunk = reader.chunk(item)
                    if chunk is not None:
                        yield chunk
                else:
                    for chunk in reader.chunks(item):
                        yield chunk
        elif isinstance(items, _READY_MADE):
            for item in items:
                for chunk in reader.chunks(item):
                    yield chunk
        else:
            threaded = ThreadedSource(items, reader)
            opened.push_async_callback(threaded.aclose)
            while (batch := await threaded.next_batch()) is not None:
                for chunk in batch:
                    yield chunk
        for chunk in reader.finish():
            yield chunk


async def _open(
    source: object, opened: AsyncExitStack
) -> AsyncIterable[object] | Iterable[object] | AbstractContextManager[object]:
    """Call, await and enter until there is something to iterate; what was entered is put on `opened`.

    Plain iterables and plain context managers come back untouched: they may block, so a thread opens them.
    """
    for _ in range(MAX_LAYERS):
        if isinstance(source, AbstractAsyncContextManager):
            # Also when it is iterable itself: entering is how its library wants it used, and leaving closes it.
            source = await opened.enter_async_context(source)
            if isinstance(source, AsyncIterable):
                return source
        elif isinstance(source, AsyncIterable):
            return source
        elif inspect.isawaitable(source):
            source = await source
        elif isinstance(source, str | bytes | bytearray | memoryview):
            return (source,)
        elif isinstance(source, dict):
            raise SourceError("a source yields chunks; a single dict is a chunk: yield it, or put it in a list")
        elif isinstance(source, AbstractContextManager | Iterable):
            return source
        elif callable(source):
            source = source()
        else:
            break
    raise SourceError(
        f"{type(source).__module__}.{type(source).__qualname__} is no source: it is neither iterable, nor a context "
        "manager or awaitable of an iterable, nor a function that returns one"
    )


class _Closing:
    """Closes an async iterator, and the iterable it came from, on the way out of the iteration.

    Both, because an SDK's stream may iterate by a generator of its own while `close` of the stream ends the request.
    """

    def __init__(self, iterator: object, iterable: object) -> None:
        self._targets = (iterator,) if iterator is iterable else (iterator, iterable)

    async def __call__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for target in self._targets:
            try:
                await _close(target)
            except Exception as failure:
                # The source's own error is what people need to see; a failed close must not take its place.
                if exc is None or isinstance(exc, GeneratorExit):
                    raise
                exc.add_note(f"Closing the source failed too: {failure!r}")


async def _close(target: object) -> None:
    """`aclose()`, or else `close()`, whichever `target` has."""
    close = getattr(target, "aclose", None) or getattr(target, "close", None)
    if callable(close):
        result = close()
        if inspect.isawaitable(result):
            await result
