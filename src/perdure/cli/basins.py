"""Commands on basins."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter
from msgspec import UNSET

from ..model.configs import BasinConfig, StreamReconfiguration
from ..model.names import check_location_name
from .asking import confirmed
from .common_options import BasinArgument, IgnoreNotFound, Json, JsonLines, Window, Yes, first
from .config_options import BasinChangeOptions, NewBasinOptions, StreamConfigOptions, basin_settings
from .durations import time_text
from .option_types import parsed_by
from .output import Column, print_json, print_listing, tell
from .settings_table import outcome_text, print_settings
from .targets import Target, Use

if TYPE_CHECKING:
    from ..client import Basin
    from ..model.resources import BasinInfo

LocationOption: TypeAlias = Annotated[
    str | None,
    Parameter(
        converter=parsed_by(check_location_name), help="Where the basin is to be; the default place if not given."
    ),
]


async def list_basins(
    *,
    window: Window = Window(),
    include_deleted: Annotated[bool, Parameter(help="Also those whose deletion is pending.")] = False,
    json: JsonLines = False,
    target: Target = Target(),
) -> None:
    """List basins in the order of their names."""
    from ..wire.resources_json import encode_basin_info

    columns: list[Column[BasinInfo]] = [
        Column("Basin", lambda info: f"s2://{info.name}", style="cyan"),
        Column("State", lambda info: "deleting" if info.deleted_at else "active", whole=True),
        Column("Created", lambda info: time_text(info.created_at), whole=True),
        Column("Location", lambda info: info.location or ""),
    ]
    async with target.open(Use.LOOKS) as s2:
        found = s2.basins.list_all(
            prefix=window.prefix, start_after=window.start_after, limit=window.page, include_deleted=include_deleted
        )
        await print_listing(
            first(found, window.limit),
            columns,
            encode_basin_info if json else None,
            empty="No basins; make one with `perdure create-basin s2://BASIN`.",
        )


async def create_basin(
    basin: BasinArgument,
    /,
    *,
    location: LocationOption = None,
    options: NewBasinOptions = NewBasinOptions(),
    streams: StreamConfigOptions = StreamConfigOptions(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Create a basin; it must not be there."""
    async with target.open(Use.MAKES) as s2:
        made = await s2.basins.create(
            basin,
            default_stream_config=streams.as_config(),
            stream_cipher=options.cipher,
            create_stream_on_append=options.create_stream_on_append,
            create_stream_on_read=options.create_stream_on_read,
            location=location,
        )
    _tell_made(made, json=json)


async def ensure_basin(
    basin: BasinArgument,
    /,
    *,
    location: LocationOption = None,
    options: NewBasinOptions = NewBasinOptions(),
    streams: StreamConfigOptions = StreamConfigOptions(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Make sure of a basin that is configured like this."""
    async with target.open(Use.MAKES) as s2:
        made = await s2.basins.ensure(
            basin,
            default_stream_config=streams.as_config(),
            stream_cipher=options.cipher,
            create_stream_on_append=options.create_stream_on_append,
            create_stream_on_read=options.create_stream_on_read,
            location=location,
        )
    _tell_made(made, json=json)


async def get_basin_config(basin: BasinArgument, /, *, json: Json = False, target: Target = Target()) -> None:
    """Show how a basin is configured."""
    async with target.open(Use.LOOKS) as s2:
        _print_config(await s2.basins.get_config(basin), json=json)


async def reconfigure_basin(
    basin: BasinArgument,
    /,
    *,
    options: BasinChangeOptions = BasinChangeOptions(),
    streams: StreamConfigOptions = StreamConfigOptions(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Change the settings that are given, and show all of them."""
    change = streams.as_change()
    async with target.open(Use.CHANGES) as s2:
        config = await s2.basins.reconfigure(
            basin,
            default_stream_config=UNSET if change == StreamReconfiguration() else change,
            stream_cipher=options.stream_cipher,
            create_stream_on_append=options.create_stream_on_append,
            create_stream_on_read=options.create_stream_on_read,
        )
    tell(f"reconfigured s2://{basin}")
    _print_config(config, json=json)


def delete_basin(
    basin: BasinArgument,
    /,
    *,
    yes: Yes = False,
    ignore_not_found: IgnoreNotFound = False,
    target: Target = Target(),
) -> Coroutine[object, object, None]:
    """Delete a basin with all of its streams."""

    async def delete() -> None:
        async with target.open(Use.CHANGES) as s2:
            await s2.basins.delete(basin, ignore_not_found=ignore_not_found)
        tell(f"deleted s2://{basin}")

    return confirmed(f"Delete s2://{basin} and every stream in it?", delete, target, yes=yes)


def _tell_made(made: Basin, *, json: bool) -> None:
    from ..wire.resources_json import encode_basin_info

    tell(f"{outcome_text(made.provision_result)} s2://{made.name}")
    if json and made.info is not None:
        print_json(encode_basin_info(made.info))


def _print_config(config: BasinConfig, *, json: bool) -> None:
    from ..wire.configs_json import encode_basin_config

    if json:
        print_json(encode_basin_config(config))
    else:
        print_settings(basin_settings(config))
