"""Basins and streams as entries, and the decisions that create, change and delete them.

Every decision is a pure function of the entries that exist and the request; an engine runs it inside
the transaction that writes the outcome, so two requests that race are decided one after the other.
The rules are those of the store API, sections 3.2 to 3.10.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NewType, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ..errors import (
    BasinDeletionPending,
    BasinNotFound,
    ResourceExists,
    StreamDeletionPending,
    StreamNotFound,
)
from ..model.configs import (
    BasinConfig,
    BasinReconfiguration,
    Cipher,
    ResolvedStreamConfig,
    StreamConfig,
    StreamReconfiguration,
    normalised_basin,
    normalised_layer,
    reconfigure_basin,
    reconfigure_stream,
    resolve,
)
from ..model.resources import BasinInfo, ProvisionResult, StreamInfo

StreamId = NewType("StreamId", int)
"""The incarnation of a stream: a name that is deleted and created again gets another one."""

NO_STREAM: Final = StreamId(0)
"""The id of a stream that no engine has stored yet."""

CreateOn: TypeAlias = Literal["append", "read"]
"""What a stream is used for that does not exist."""

BasinId = NewType("BasinId", int)


class Creation(Struct, frozen=True):
    """The request token of a create and the configuration that it asked for, for safe retries."""

    request_token: str
    config: BasinConfig | StreamConfig | None


class BasinEntry(Struct, frozen=True):
    """A basin as the catalogue keeps it; an engine fills in the id when it stores a new one.

    With a `location` it is none, only the note that the basin of this name is at that location, which is another
    engine's. No stream can be in it.
    """

    name: str
    created_at: datetime
    config: BasinConfig
    deleted_at: datetime | None = None
    creation: Creation | None = None
    basin_id: BasinId = BasinId(0)
    location: str | None = None

    def info(self, here: str) -> BasinInfo:
        """What clients are told; `here` is what the location of the engine is called."""
        return BasinInfo(self.name, self.created_at, self.deleted_at, self.location or here)


class StreamEntry(Struct, frozen=True):
    """A stream as the catalogue keeps it; an engine fills in the id when it stores a new one."""

    basin: str
    name: str
    created_at: datetime
    config: ResolvedStreamConfig
    cipher: Cipher | None = None
    deleted_at: datetime | None = None
    creation: Creation | None = None
    stream_id: StreamId = NO_STREAM

    def info(self) -> StreamInfo:
        return StreamInfo(self.name, self.created_at, self.deleted_at, self.cipher)


class BasinChange(Struct, frozen=True):
    """`entry` is the basin as it is after the decision; `write` tells whether that differs from before."""

    entry: BasinEntry
    result: ProvisionResult

    @property
    def write(self) -> bool:
        return self.result is not ProvisionResult.NOOP


class StreamChange(Struct, frozen=True):
    """`entry` is the stream as it is after the decision; `write` tells whether that differs from before."""

    entry: StreamEntry
    result: ProvisionResult

    @property
    def write(self) -> bool:
        return self.result is not ProvisionResult.NOOP


def live_basin(name: str, basin: BasinEntry | None) -> BasinEntry:
    """`basin`, if things may be created and changed in it."""
    if basin is None or basin.location is not None:
        raise BasinNotFound(f"basin `{name}` not found")
    if basin.deleted_at is not None:
        raise BasinDeletionPending(f"basin `{name}` is being deleted")
    return basin


def stream_not_found(basin: str, name: str) -> StreamNotFound:
    return StreamNotFound(f"stream `{name}` in basin `{basin}` not found")


def _check_is_here(existing: BasinEntry) -> None:
    if existing.location is not None:
        raise ResourceExists(f"basin `{existing.name}` belongs to location `{existing.location}`")


def live_stream(basin: str, name: str, stream: StreamEntry | None) -> StreamEntry:
    """`stream`, if it may be used."""
    if stream is None:
        raise stream_not_found(basin, name)
    if stream.deleted_at is not None:
        raise StreamDeletionPending("stream deletion pending")
    return stream


def create_basin(
    existing: BasinEntry | None, name: str, config: BasinConfig, request_token: str | None, now: datetime
) -> BasinChange:
    """Create a basin; an equal create with the same request token is a no-op."""
    wanted = normalised_basin(config)
    creation = None if request_token is None else Creation(request_token, wanted)
    if existing is None:
        return BasinChange(BasinEntry(name, now, wanted, creation=creation), ProvisionResult.CREATED)
    _check_is_here(existing)
    if existing.deleted_at is not None:
        raise BasinDeletionPending(f"basin `{name}` is being deleted")
    if creation is not None and existing.creation == creation:
        return BasinChange(existing, ProvisionResult.NOOP)
    raise ResourceExists(f"basin `{name}` already exists")


def ensure_basin(existing: BasinEntry | None, name: str, config: BasinConfig, now: datetime) -> BasinChange:
    """Create the basin or replace its whole configuration; absent fields become defaults."""
    wanted = normalised_basin(config)
    if existing is None:
        return BasinChange(BasinEntry(name, now, wanted), ProvisionResult.CREATED)
    _check_is_here(existing)
    entry = live_basin(name, existing)
    if entry.config == wanted:
        return BasinChange(entry, ProvisionResult.NOOP)
    return BasinChange(replace(entry, config=wanted), ProvisionResult.UPDATED)


def change_basin(existing: BasinEntry | None, name: str, change: BasinReconfiguration) -> BasinChange:
    """Merge `change` into the basin's configuration."""
    entry = live_basin(name, existing)
    config = reconfigure_basin(entry.config, change)
    if config == entry.config:
        return BasinChange(entry, ProvisionResult.NOOP)
    return BasinChange(replace(entry, config=config), ProvisionResult.UPDATED)


def delete_basin(existing: BasinEntry | None, name: str, now: datetime) -> BasinChange:
    """Mark the basin as being deleted; its streams follow in the background."""
    if existing is None or existing.location is not None:
        raise BasinNotFound(f"basin `{name}` not found")
    if existing.deleted_at is not None:
        return BasinChange(existing, ProvisionResult.NOOP)
    return BasinChange(replace(existing, deleted_at=now), ProvisionResult.UPDATED)


def create_stream(
    basin: BasinEntry | None,
    existing: StreamEntry | None,
    basin_name: str,
    name: str,
    config: StreamConfig | None,
    request_token: str | None,
    now: datetime,
) -> StreamChange:
    """Create a stream with its configuration resolved once and for all from its basin's defaults."""
    parent = live_basin(basin_name, basin)
    wanted = normalised_layer(config)
    creation = None if request_token is None else Creation(request_token, wanted)
    if existing is not None:
        live_stream(basin_name, name, existing)
        if creation is not None and existing.creation == creation:
            return StreamChange(existing, ProvisionResult.NOOP)
        raise ResourceExists(f"stream `{name}` in basin `{basin_name}` already exists")
    return StreamChange(_new_stream(parent, name, config, creation, now), ProvisionResult.CREATED)


def ensure_stream(
    basin: BasinEntry | None,
    existing: StreamEntry | None,
    basin_name: str,
    name: str,
    config: StreamConfig | None,
    now: datetime,
) -> StreamChange:
    """Create the stream or replace its configuration by `config` over the basin's current defaults."""
    parent = live_basin(basin_name, basin)
    if existing is None:
        return StreamChange(_new_stream(parent, name, config, None, now), ProvisionResult.CREATED)
    entry = live_stream(basin_name, name, existing)
    wanted = resolve(config, parent.config.default_stream_config)
    if entry.config == wanted:
        return StreamChange(entry, ProvisionResult.NOOP)
    return StreamChange(replace(entry, config=wanted), ProvisionResult.UPDATED)


def check_auto_create(basin: BasinEntry | None, basin_name: str, name: str, create_on: CreateOn) -> None:
    """Raise unless the basin lets streams that do not exist be created by such use."""
    if basin is None:
        raise BasinNotFound(f"basin `{basin_name}` not found")
    config = basin.config
    if not (config.create_stream_on_append if create_on == "append" else config.create_stream_on_read):
        raise stream_not_found(basin_name, name)


def auto_create_stream(
    basin: BasinEntry | None,
    existing: StreamEntry | None,
    basin_name: str,
    name: str,
    config: StreamConfig | None,
    now: datetime,
) -> StreamChange:
    """Create the stream, `config` over the defaults, unless somebody was faster; the caller checked the flag."""
    if existing is not None:
        return StreamChange(live_stream(basin_name, name, existing), ProvisionResult.NOOP)
    return StreamChange(_new_stream(live_basin(basin_name, basin), name, config, None, now), ProvisionResult.CREATED)


def _new_stream(
    basin: BasinEntry, name: str, config: StreamConfig | None, creation: Creation | None, now: datetime
) -> StreamEntry:
    return StreamEntry(
        basin=basin.name,
        name=name,
        created_at=now,
        config=resolve(config, basin.config.default_stream_config),
        cipher=basin.config.stream_cipher,
        creation=creation,
    )


def change_stream(
    basin: BasinEntry | None,
    existing: StreamEntry | None,
    basin_name: str,
    name: str,
    change: StreamReconfiguration,
) -> StreamChange:
    """Merge `change` into the stream's configuration; what it clears falls back to the basin's default."""
    parent = live_basin(basin_name, basin)
    entry = live_stream(basin_name, name, existing)
    config = reconfigure_stream(entry.config, change, parent.config.default_stream_config)
    if config == entry.config:
        return StreamChange(entry, ProvisionResult.NOOP)
    return StreamChange(replace(entry, config=config), ProvisionResult.UPDATED)


def delete_stream(existing: StreamEntry | None, basin_name: str, name: str, now: datetime) -> StreamChange:
    """Mark the stream as being deleted; the engine appends the terminal trim with it."""
    if existing is None:
        raise stream_not_found(basin_name, name)
    if existing.deleted_at is not None:
        return StreamChange(existing, ProvisionResult.NOOP)
    return StreamChange(replace(existing, deleted_at=now), ProvisionResult.UPDATED)
