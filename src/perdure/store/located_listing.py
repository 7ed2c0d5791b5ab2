"""One listing of basins over several locations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter

from ..errors import StoreFailure
from ..model.resources import BasinInfo, Page
from .place import Place


async def list_basins(places: Sequence[Place], prefix: str, start_after: str, limit: int) -> Page[BasinInfo]:
    """The first `limit` basins that start with `prefix` and sort after `start_after`, in order of their names.

    For those of a location that cannot be reached stand the notes of the home, the first place. Raises the failure of
    the home if none can be reached.
    """
    answers = await asyncio.gather(
        *[_of_place(place, prefix, start_after, limit + 1, frozenset()) for place in places], return_exceptions=True
    )
    lost: set[str] = set()
    listings: list[list[BasinInfo]] = []
    for place, answer in zip(places, answers, strict=True):
        if isinstance(answer, StoreFailure):
            lost.add(place.name)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            listings.append(answer)
    if not listings:
        assert isinstance(answers[0], StoreFailure)
        raise answers[0]
    home = places[0]
    if lost and home.name not in lost:
        listings[0] = await _of_place(home, prefix, start_after, limit + 1, frozenset(lost))
    found = list(islice(merge(*listings, key=attrgetter("name")), limit + 1))
    return Page(tuple(found[:limit]), len(found) > limit)


async def _of_place(place: Place, prefix: str, start_after: str, limit: int, noted: frozenset[str]) -> list[BasinInfo]:
    """Up to `limit` basins of one location, and of its notes those about the locations `noted`."""
    found: list[BasinInfo] = []
    while True:
        entries = await place.engine.list_basins(prefix, start_after, limit)
        found += [entry.info(place.name) for entry in entries if entry.location is None or entry.location in noted]
        if len(found) >= limit or len(entries) < limit:
            return found[:limit]
        start_after = entries[-1].name
