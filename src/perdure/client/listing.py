"""What all listings have in common: what may be asked for, and going from page to page (store API, section 3.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from ..errors import Invalid
from ..model.resources import Page

T = TypeVar("T")


def check_page(check_prefix: Callable[[str, str], str], prefix: str, start_after: str, limit: int) -> None:
    """Raise `Invalid` for a page that no listing has. `check_prefix` has the rules of what is listed."""
    check_prefix(prefix, "prefix")
    check_prefix(start_after, "start_after")
    if not isinstance(limit, int) or limit < 0:
        raise Invalid(f"limit must be 0 or more items for each page, got {limit!r}")


async def every(
    get_page: Callable[[str], Awaitable[Page[T]]], start_after: str, name_of: Callable[[T], str]
) -> AsyncIterator[T]:
    """The items of all pages. `get_page` is given the name that its page begins after, when the page is needed."""
    while True:
        page = await get_page(start_after)
        for item in page.items:
            yield item
        if not page.has_more or not page.items:  # nobody could tell where a page after an empty one begins
            return
        start_after = name_of(page.items[-1])
