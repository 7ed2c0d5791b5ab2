"""Commands on streams, but for their records."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import UsageError
from ..model.configs import StreamConfig
from .asking import confirmed
from .basins import list_basins
from .common_options import IgnoreNotFound, Json, JsonLines, StreamArgument, Window, Yes, first
from .completion import complete_stream
from .config_options import StreamConfigOptions, stream_settings
from .durations import time_text
from .option_types import parsed_by
from .output import Column, print_json, print_listing, tell
from .settings_table import outcome_text, print_settings
from .targets import Target, Use
from .uri import PrefixUri, StreamUri, parse_prefix

if TYPE_CHECKING:
    from ..client import Stream
    from ..model.resources import StreamInfo

_PREFIX = Parameter(converter=parsed_by(parse_prefix), n_tokens=1, accepts_keys=False, completer=complete_stream)


async def list_streams(
    where: Annotated[
        PrefixUri,
        _PREFIX,
        Parameter(name="BASIN", help="s2://BASIN, or s2://BASIN/PREFIX for streams that start with it."),
    ],
    /,
    *,
    window: Window = Window(),
    include_deleted: Annotated[bool, Parameter(help="Also those whose deletion is pending.")] = False,
    json: JsonLines = False,
    target: Target = Target(),
) -> None:
    """List the streams of a basin in the order of their names."""
    from ..wire.resources_json import encode_stream_info

    if where.prefix and window.prefix:
        raise UsageError(f"{where} and --prefix {window.prefix} are two prefixes; give one of them")
    columns: list[Column[StreamInfo]] = [
        Column("Stream", lambda info: str(StreamUri(where.basin, info.name)), style="cyan"),
        Column("State", lambda info: "deleting" if info.deleted_at else "active", whole=True),
        Column("Created", lambda info: time_text(info.created_at), whole=True),
        Column("Cipher", lambda info: info.cipher or ""),
    ]
    async with target.open(Use.LOOKS) as s2:
        found = s2.basin(where.basin).streams.list_all(
            prefix=where.prefix or window.prefix,
            start_after=window.start_after,
            limit=window.page,
            include_deleted=include_deleted,
        )
        await print_listing(
            first(found, window.limit),
            columns,
            encode_stream_info if json else None,
            empty=f"No streams; make one with `perdure create-stream s2://{where.basin}/STREAM`.",
        )


async def ls(
    where: Annotated[
        PrefixUri | None,
        _PREFIX,
        Parameter(name="BASIN", help="s2://BASIN or s2://BASIN/PREFIX for its streams; without it, basins are listed."),
    ] = None,
    /,
    *,
    window: Window = Window(),
    include_deleted: Annotated[bool, Parameter(help="Also what is about to be deleted.")] = False,
    json: JsonLines = False,
    target: Target = Target(),
) -> None:
    """List basins, or the streams of one."""
    if where is None:
        await list_basins(window=window, include_deleted=include_deleted, json=json, target=target)
    else:
        await list_streams(where, window=window, include_deleted=include_deleted, json=json, target=target)


async def create_stream(
    stream: StreamArgument,
    /,
    *,
    options: StreamConfigOptions = StreamConfigOptions(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Create a stream; it must not be there."""
    config = options.as_config()
    async with target.open(Use.CHANGES) as s2:
        made = await s2.basin(stream.basin).streams.create(
            stream.stream,
            storage_class=config.storage_class,
            retention_policy=config.retention_policy,
            timestamping=config.timestamping,
            delete_on_empty=config.delete_on_empty,
        )
    _tell_made(stream, made, json=json)


async def ensure_stream(
    stream: StreamArgument,
    /,
    *,
    options: StreamConfigOptions = StreamConfigOptions(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Make sure of a stream that is configured like this."""
    config = options.as_config()
    async with target.open(Use.CHANGES) as s2:
        made = await s2.basin(stream.basin).streams.ensure(
            stream.stream,
            storage_class=config.storage_class,
            retention_policy=config.retention_policy,
            timestamping=config.timestamping,
            delete_on_empty=config.delete_on_empty,
        )
    _tell_made(stream, made, json=json)


async def get_stream_config(stream: StreamArgument, /, *, json: Json = False, target: Target = Target()) -> None:
    """Show how a stream is configured."""
    async with target.open(Use.LOOKS) as s2:
        _print_config(await s2.basin(stream.basin).streams.get_config(stream.stream), json=json)


async def reconfigure_stream(
    stream: StreamArgument,
    /,
    *,
    options: StreamConfigOptions = StreamConfigOptions(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Change the settings that are given, and show all of them."""
    change = options.as_change()
    async with target.open(Use.CHANGES) as s2:
        config = await s2.basin(stream.basin).streams.reconfigure(
            stream.stream,
            storage_class=change.storage_class,
            retention_policy=change.retention_policy,
            timestamping=change.timestamping,
            delete_on_empty=change.delete_on_empty,
        )
    tell(f"reconfigured {stream}")
    _print_config(config, json=json)


def delete_stream(
    stream: StreamArgument,
    /,
    *,
    yes: Yes = False,
    ignore_not_found: IgnoreNotFound = False,
    target: Target = Target(),
) -> Coroutine[object, object, None]:
    """Delete a stream with all of its records."""

    async def delete() -> None:
        async with target.open(Use.CHANGES) as s2:
            await s2.basin(stream.basin).streams.delete(stream.stream, ignore_not_found=ignore_not_found)
        tell(f"deleted {stream}")

    return confirmed(f"Delete {stream} and every record in it?", delete, target, yes=yes)


def _tell_made(stream: StreamUri, made: Stream, *, json: bool) -> None:
    from ..wire.resources_json import encode_stream_info

    tell(f"{outcome_text(made.provision_result)} {stream}")
    if json and made.info is not None:
        print_json(encode_stream_info(made.info))


def _print_config(config: StreamConfig, *, json: bool) -> None:
    from ..wire.configs_json import encode_stream_config

    if json:
        print_json(encode_stream_config(config))
    else:
        print_settings(stream_settings(config))
