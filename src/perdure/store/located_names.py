"""Which location has which basin: the names that are taken, in the catalogue of the first location, the home.

A basin is claimed at home before it is made elsewhere, so no name is in two locations, whoever creates it through
whichever server. A name stays with its location, also after its basin was deleted. Basins that were made where there
was no home, as by a server of that location alone, are claimed when the location opens.

While the home is lost, no basin can be created; what exists is found by asking every location.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from ..errors import Invalid, PerdureError, StoreFailure, Unavailable
from ..model.configs import BasinConfig
from ..model.limits import MAX_PAGE_ITEMS
from ..model.resources import ProvisionResult
from .catalogue import BasinChange, BasinEntry
from .place import FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS, Place

logger: Final = logging.getLogger("perdure.store.locations")

KNOWN_BASINS: Final = 65_536
"""How many basins are remembered with their location; a stale one costs one more look-up."""

DEFAULT_NOTE: Final = ""
"""The name, which no basin can have, under which the home notes where basins are made that ask for no location."""


class LocatedNames:
    """Finds and claims. It owns the tasks that `adopt` starts: `aclose` it before the places."""

    def __init__(self, places: Sequence[Place], now: Callable[[], datetime]) -> None:
        self._places = {place.name: place for place in places}
        self._home = places[0]
        self._now = now
        self._known: OrderedDict[str, Place] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []

    # The default ----------------------------------------------------------------------------------

    def named(self, name: str) -> Place:
        """The location of this name. Raises `Invalid` for one that is not known."""
        try:
            return self._places[name]
        except KeyError:
            known = ", ".join(f"`{known}`" for known in self._places)
            raise Invalid(f"location `{name}` is not known; there are {known}") from None

    async def default(self) -> Place:
        """Where basins are made that ask for no location: at home, unless it notes another one that is known."""
        note = await self._home.engine.basin(DEFAULT_NOTE)
        wanted = None if note is None or note.location is None else self._places.get(note.location)
        return wanted or self._home

    async def set_default(self, name: str) -> Place:
        """Change it, for every server. Raises `Invalid` for a location that is not known."""
        place = self.named(name)
        await self._note(DEFAULT_NOTE, place.name, replace=True)
        return place

    # Finding --------------------------------------------------------------------------------------

    def known(self, basin: str) -> Place | None:
        """Where the basin was a while ago, if that is remembered."""
        place = self._known.get(basin)
        if place is not None:
            self._known.move_to_end(basin)
        return place

    async def find(self, basin: str) -> Place:
        """Where the basin is; the home if it is nowhere, which then says so.

        Raises `Unavailable` if it was not found where could be asked, and could be elsewhere.
        """
        return await self._find(basin) or self._home

    async def find_or_claim(self, basin: str, location: str | None) -> Place:
        """Where the basin is, or may be made: at `location`, or where the default says, unless the name is taken.

        Raises `Invalid` for a location that is not known, and `Unavailable` while the home is lost and the name was
        not found elsewhere.
        """
        wanted = None if location is None else self.named(location)
        place = await self._find(basin)
        if place is None:
            place = wanted or await self.default()
            if place is not self._home:  # at home, making the basin is the claim
                note = await self._note(basin, place.name, replace=False)
                place = self._home if note.location is None else self.named(note.location)
        self._remember(basin, place)
        return place

    async def _find(self, basin: str) -> Place | None:
        try:
            entry = await self._home.engine.basin(basin)
        except StoreFailure:
            entry = None
            others_suffice = False
        else:
            others_suffice = True
        if entry is not None:
            place = self._home if entry.location is None else self._places.get(entry.location)
            if place is None:
                raise Unavailable(f"basin `{basin}` is at location `{entry.location}`, which this server does not have")
            self._remember(basin, place)
            return place
        others = [place for place in self._places.values() if place is not self._home]
        found = await asyncio.gather(*[_has(place, basin) for place in others], return_exceptions=True)
        for place, answer in zip(others, found, strict=True):
            if answer is True:
                self._remember(basin, place)
                return place
            if isinstance(answer, BaseException) and not isinstance(answer, StoreFailure):
                raise answer
        if others_suffice:
            return None  # every basin of a location that opened once is claimed at home
        lost = [self._home.name] + [
            place.name for place, answer in zip(others, found, strict=True) if isinstance(answer, StoreFailure)
        ]
        raise Unavailable(f"basin `{basin}` cannot be looked for while location {_list_of(lost)} cannot be reached")

    def forget(self, basin: str) -> None:
        """Look it up anew next time."""
        self._known.pop(basin, None)

    def _remember(self, basin: str, place: Place) -> None:
        self._known[basin] = place
        self._known.move_to_end(basin)
        if len(self._known) > KNOWN_BASINS:
            self._known.popitem(last=False)

    # Claiming -------------------------------------------------------------------------------------

    async def _note(self, basin: str, location: str, *, replace: bool) -> BasinEntry:
        """Write where the basin is, unless something is there and is not to be replaced; gives what is there then."""
        note = BasinEntry(basin, self._now(), BasinConfig(), location=location)

        def decide(existing: BasinEntry | None) -> BasinChange:
            if existing is not None and (not replace or existing.location == location):
                return BasinChange(existing, ProvisionResult.NOOP)
            return BasinChange(note, ProvisionResult.CREATED if existing is None else ProvisionResult.UPDATED)

        return (await self._home.engine.change_basin(basin, decide)).entry

    def adopt(self, place: Place) -> None:
        """Begin to claim the basins of a location for it, as soon as it and the home can be asked."""
        self._tasks.append(asyncio.create_task(self._adopt(place), name=f"perdure-claims-{place.name}"))

    async def _adopt(self, place: Place) -> None:
        await place.opened.wait()  # without a time-out: a location may stay lost for as long as it likes
        pause = FIRST_PAUSE_SECS
        after = ""
        while True:
            try:
                entries = await place.engine.list_basins("", after, MAX_PAGE_ITEMS)
                for entry in entries:
                    await self._claim_existing(entry, place)
            except PerdureError as exc:
                logger.debug("the basins of location %s could not be claimed yet: %s", place.name, exc)
                await asyncio.sleep(pause)  # between attempts, since nothing tells when one would succeed
                pause = min(2 * pause, LONGEST_PAUSE_SECS)
                continue
            if len(entries) < MAX_PAGE_ITEMS:
                return
            after = entries[-1].name

    async def _claim_existing(self, entry: BasinEntry, place: Place) -> None:
        if entry.location is not None:
            return  # a note, of when this location was the home
        note = await self._home.engine.basin(entry.name)
        if note is None:
            note = await self._note(entry.name, place.name, replace=False)
        if note.location != place.name:
            logger.error(
                "basin %s is at location %s and at %s as well: only the former's is served; delete or rename one",
                entry.name,
                note.location or self._home.name,
                place.name,
            )

    async def aclose(self) -> None:
        """End what `adopt` began. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)  # each ends at once, or after one call to an engine that is still open


async def _has(place: Place, basin: str) -> bool:
    entry = await place.engine.basin(basin)
    return entry is not None and entry.location is None


def _list_of(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
