"""Commands on the places where basins can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..model.names import check_location_name
from .common_options import Json, JsonLines
from .option_types import parsed_by
from .output import Column, print_json, print_table, tell
from .targets import Target, Use

if TYPE_CHECKING:
    from ..model.resources import LocationInfo


def _columns() -> list[Column[LocationInfo]]:
    return [
        Column("Location", lambda location: location.name, style="cyan"),
        Column("Access", lambda location: "private" if location.is_private else "public"),
    ]


async def list_locations(*, json: JsonLines = False, target: Target = Target()) -> None:
    """List the places where basins can be."""
    from ..wire.resources_json import encode_location

    async with target.open(Use.LOOKS) as s2:
        found = await s2.locations.list()
    if json:
        for location in found:
            print(encode_location(location).decode())
    else:
        print_table(found, _columns(), empty="No locations.")


async def get_default_location(*, json: Json = False, target: Target = Target()) -> None:
    """Show where a basin is made unless it says otherwise."""
    async with target.open(Use.LOOKS) as s2:
        _print(await s2.locations.get_default(), json=json)


async def set_default_location(
    name: Annotated[str, Parameter(name="LOCATION", converter=parsed_by(check_location_name), help="Its name.")],
    /,
    *,
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Make basins there from now on, unless they say otherwise."""
    async with target.open(Use.CHANGES) as s2:
        location = await s2.locations.set_default(name)
    tell(f"basins are made in {location.name} from now on, unless they say otherwise")
    _print(location, json=json)


def _print(location: LocationInfo, *, json: bool) -> None:
    from ..wire.resources_json import encode_location

    if json:
        print_json(encode_location(location))
    else:
        print_table([location], _columns(), empty="")
