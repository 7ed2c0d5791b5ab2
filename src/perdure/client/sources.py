"""Taking items from a source, of either kind, and letting go of it however that ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")


async def give_each(source: AsyncIterable[T] | Iterable[T], take: Callable[[T], Awaitable[object]]) -> None:
    """Give `take` one item after the other; the source is asked for the next one when `take` has returned.

    A generator is closed at the end, also when `take` raises or the call is cancelled: what it holds open is not
    left to the garbage collector.
    """
    if isinstance(source, AsyncIterable):
        items = aiter(source)
        try:
            async for item in items:
                await take(item)
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
    else:
        plain = iter(source)
        try:
            for item in plain:
                await take(item)
        finally:
            if isinstance(plain, Generator):
                plain.close()
