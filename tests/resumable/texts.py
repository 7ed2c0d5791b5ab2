"""Sources of text that wait for the test, and readers with a time limit."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from perdure.resumable import TextStream
from tests.patience import PATIENCE_SECONDS


class Words:
    """A source that gives `words`, then waits for more until `end` or `fail` is called."""

    def __init__(self, *words: str) -> None:
        self.calls = 0
        self.closed = asyncio.Event()
        self.given = asyncio.Event()
        self._queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        self.give(*words)

    def give(self, *words: str) -> None:
        for word in words:
            self._queue.put_nowait(word)

    def end(self) -> None:
        self._queue.put_nowait(None)

    def fail(self, failure: BaseException) -> None:
        self._queue.put_nowait(failure)

    def __call__(self) -> AsyncIterator[str]:
        self.calls += 1
        return self._words()

    async def _words(self) -> AsyncIterator[str]:
        try:
            while True:
                if self._queue.empty():
                    self.given.set()
                word = await self._queue.get()
                if word is None:
                    return
                if isinstance(word, BaseException):
                    raise word
                yield word
        finally:
            self.closed.set()


def ended(*words: str) -> Words:
    """A source that gives `words` and ends."""
    source = Words(*words)
    source.end()
    return source


async def text_of(stream: TextStream | object) -> str:
    """The rest of a stream."""
    assert isinstance(stream, TextStream), stream
    async with asyncio.timeout(PATIENCE_SECONDS):
        return "".join([piece async for piece in stream])


async def until_text(stream: TextStream | object, wanted: str) -> str:
    """Read until `wanted` has come; gives all up to there."""
    assert isinstance(stream, TextStream), stream
    text = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while wanted not in text:
            text += await anext(stream)
    return text


async def texts_of(streams: Sequence[TextStream | object]) -> set[str]:
    return set(await asyncio.gather(*map(text_of, streams)))
