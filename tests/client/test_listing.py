"""Pages, and loops over all of them (store API, sections 3.1 and 10.3)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, Basin, Invalid, Page
from perdure.client.listing import every


class Shelf:
    """Names in order, handed out in pages of at most `size`."""

    def __init__(self, names: list[str], size: int) -> None:
        self._names = names
        self._size = size
        self.asked: list[str] = []

    async def page(self, start_after: str) -> Page[str]:
        self.asked.append(start_after)
        found = [name for name in self._names if name > start_after]
        return Page(tuple(found[: self._size]), len(found) > self._size)


@given(st.lists(st.text(min_size=1), unique=True).map(sorted), st.integers(1, 5), st.text())
def test_every_item_comes_once_and_in_order(names: list[str], size: int, start_after: str) -> None:
    async def collect() -> list[str]:
        return [name async for name in every(Shelf(names, size).page, start_after, str)]

    assert asyncio.run(collect()) == [name for name in names if name > start_after]


async def test_a_page_is_fetched_when_the_loop_gets_there() -> None:
    shelf = Shelf(["a", "b", "c", "d", "e"], 2)
    items = every(shelf.page, "", str)
    assert shelf.asked == []
    assert [await anext(items), await anext(items)] == ["a", "b"]
    assert shelf.asked == [""]
    assert await anext(items) == "c"
    assert shelf.asked == ["", "b"]


async def test_a_server_that_promises_more_of_nothing_is_not_asked_for_ever() -> None:
    async def page(start_after: str) -> Page[str]:
        return Page((), has_more=True)

    assert [name async for name in every(page, "", str)] == []


async def test_basins_and_streams_are_listed_alike(s2: S2, basin: Basin) -> None:
    names = [f"s{number}" for number in range(5)]
    for name in names:
        await basin.streams.create(name)
        await s2.basins.create(f"listed-{name}")
    for listing, prefix in ((basin.streams, ""), (s2.basins, "listed-")):
        page = await listing.list(prefix=prefix, limit=2)
        assert ([info.name for info in page.items], page.has_more) == ([prefix + name for name in names[:2]], True)
        after = page.items[-1].name
        assert len((await listing.list(prefix=prefix, start_after=after, limit=3)).items) == 3
        # The size of the pages does not show, and every way to say "the largest" means the same.
        for limit in (1, 2, 1000, 0, 5000):
            found = [info.name async for info in listing.list_all(prefix=prefix, limit=limit)]
            assert found == [prefix + name for name in names]
        assert [info.name async for info in listing.list_all(prefix=prefix + "s4")] == [prefix + "s4"]
        assert [info async for info in listing.list_all(prefix=prefix + "x")] == []


async def test_what_no_listing_has_is_refused_before_anything_is_sent() -> None:
    s2 = S2.open(":memory:")  # not open: sending would be a UsageError
    with pytest.raises(Invalid, match="limit"):
        await s2.basins.list(limit=-1)
    with pytest.raises(Invalid, match="prefix"):
        await s2.basins.list(prefix="Upper")
    with pytest.raises(Invalid, match="start_after"):
        await anext(s2.basin("some-basin").streams.list_all(start_after="x" * 513))
