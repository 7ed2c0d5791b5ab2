"""What every blocking object has in common: the asynchronous one that it stands for, and the way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from .. import client
from ..errors import SessionClosed
from .background import BackgroundLoop

T = TypeVar("T")
AsyncT = TypeVar("AsyncT")


class Face(Generic[AsyncT]):
    """A blocking object. Every method runs in the loop of its client."""

    def __init__(self, loop: BackgroundLoop, asynchronous: AsyncT) -> None:
        self._loop = loop
        self._async = asynchronous
        self._left = False

    def _run(self, make: Callable[[], Awaitable[T]]) -> T:
        return self._loop.call(make)

    def _ask(self, ask: Callable[[], T]) -> T:
        """Run what does not wait, but may be run in the loop only."""

        async def asked() -> T:
            return ask()

        return self._loop.call(asked)

    def _look(self, look: Callable[[], T]) -> T:
        """`_ask` for what changes nothing; it works after the client's close as well."""
        return look() if self._loop.is_over else self._ask(look)

    def _next(self, make: Callable[[], Awaitable[T]]) -> T:
        try:
            return self._loop.call(make)
        except StopAsyncIteration:
            raise StopIteration from None

    def _result(self, done: Callable[[], bool], make: Callable[[], Awaitable[T]]) -> T:
        """`_run` for an answer, which may have come before the client's close."""
        if not self._loop.is_over:
            return self._loop.call(make)
        if not done():
            raise SessionClosed(
                "the client was closed before this was acknowledged; it may be applied", may_have_applied=True
            )
        answered = make().__await__()
        try:
            next(answered)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        raise AssertionError("awaiting what is done does not wait")

    def _enter(self, enter: Callable[[], Awaitable[object]], give_up: Callable[[], Awaitable[object]]) -> None:
        try:
            self._loop.call(enter)
        except BaseException:
            self._leave(give_up, quietly=True)
            raise

    def _leave(self, leave: Callable[[], Awaitable[object]], *, quietly: bool) -> None:
        """Close. `quietly`: nothing can be lost, so that a client that is closed already is as good.

        What is left quietly ignores the deadline of `timeout`: that it passed is often the reason.
        """
        try:
            self._loop.call(leave, bounded=not quietly)
        except SessionClosed:
            if not (quietly or self._left):
                raise
        finally:
            self._left = True


class BlockingIterator(Iterator[T]):
    """An asynchronous iterator, step by step in the loop of its client."""

    def __init__(self, loop: BackgroundLoop, source: AsyncIterator[T]) -> None:
        self._loop = loop
        self._source = source

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._loop.call(self._source.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None


def give_each(source: Iterable[T], take: Callable[[T], object]) -> None:
    """Give `take` one item after the other, in the caller's thread; a generator is closed at the end."""
    items = iter(source)
    try:
        for item in items:
            take(item)
    finally:
        if isinstance(items, Generator):
            items.close()


class Account(Face[client.S2]):
    """The client itself, which owns the loop of all objects that come from it."""

    def _start(self, make: Callable[[], client.S2]) -> None:
        loop = BackgroundLoop()
        try:
            Face.__init__(self, loop, loop.open(make, client.S2.__aenter__))
        except BaseException:
            loop.close()
            raise

    @classmethod
    def _started(cls, make: Callable[[], client.S2]) -> Self:
        account = cls.__new__(cls)
        account._start(make)
        return account

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Answer what waits, let go of the store, and end the thread. Idempotent, and any thread may call it.

        Calls that still wait in other threads, and sessions that are open, fail with `SessionClosed`, or
        with what the store says.
        """
        self._loop.close()
