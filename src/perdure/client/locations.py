"""Where basins can be (store API, section 8.5)."""

from __future__ import annotations

from ..model.names import check_location_name
from ..model.resources import LocationInfo
from .transport import Transport


class Locations:
    """The places where a basin can be, from `S2.locations`; a server of one's own, and a directory, are one place."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self) -> tuple[LocationInfo, ...]:
        """All of them: there are few, and no pages."""
        return await self._transport.list_locations()

    async def get_default(self) -> LocationInfo:
        """Where a basin is made unless it says otherwise."""
        return await self._transport.get_default_location()

    async def set_default(self, name: str) -> LocationInfo:
        """Make basins there from now on, unless they say otherwise. Raises `Invalid` for a place that there is not."""
        check_location_name(name)
        return await self._transport.set_default_location(name)
