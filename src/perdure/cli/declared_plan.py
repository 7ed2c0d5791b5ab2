"""What it takes to make basins and streams as a file declares them: a plan, from what is declared and what there is.

The plan is that of the server's init file: what is declared is created, or gets the **whole** configuration that the
file gives it, so a field that the file does not name has its default. What is not declared stays as it is; nothing is
deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from ..model.configs import (
    BasinConfig,
    InfiniteRetention,
    Retention,
    StreamConfig,
    normalised_basin,
    resolve,
)
from ..server.declared import INFINITE, DeclaredBasin, DeclaredStream
from .durations import duration_text

Value: TypeAlias = str | bool | None
"""A setting as the file may give it; None is one that is not set."""


class Action(StrEnum):
    """What a step does."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"


class FieldChange(Struct, frozen=True):
    """A setting, and what it is before and after; `old` is None too where there was nothing before."""

    field: str
    old: Value
    new: Value


class BasinStep(Struct, frozen=True):
    """What happens to a basin."""

    basin: str
    action: Action
    fields: tuple[FieldChange, ...]
    config: BasinConfig

    @property
    def address(self) -> str:
        return f"s2://{self.basin}"


class StreamStep(Struct, frozen=True):
    """What happens to a stream."""

    basin: str
    stream: str
    action: Action
    fields: tuple[FieldChange, ...]
    config: StreamConfig | None

    @property
    def address(self) -> str:
        return f"s2://{self.basin}/{self.stream}"


Step: TypeAlias = BasinStep | StreamStep


class Actual(Struct, frozen=True):
    """What there is of what is declared: basins as they are configured, streams by what they work by."""

    basins: Mapping[str, BasinConfig]
    streams: Mapping[tuple[str, str], StreamConfig]


def plan(declared: Iterable[DeclaredBasin], actual: Actual) -> tuple[Step, ...]:
    """The steps in the order in which they are to be taken: each basin before its streams."""
    steps: list[Step] = []
    for basin in declared:
        steps.append(_basin_step(basin, actual.basins.get(basin.name)))
        steps += [
            _stream_step(basin, stream, actual.streams.get((basin.name, stream.name))) for stream in basin.streams
        ]
    return tuple(steps)


def _basin_step(declared: DeclaredBasin, actual: BasinConfig | None) -> BasinStep:
    config = normalised_basin(declared.config)
    if actual is None:
        return BasinStep(declared.name, Action.CREATE, _given(_basin_settings(config)), config)
    changes = _changes(_basin_settings(_in_effect(actual)), _basin_settings(_in_effect(config)))
    return BasinStep(declared.name, Action.CHANGE if changes else Action.KEEP, changes, config)


def _stream_step(basin: DeclaredBasin, declared: DeclaredStream, actual: StreamConfig | None) -> StreamStep:
    config = declared.config
    if actual is None:
        given = _given(_stream_settings(config or StreamConfig()))
        return StreamStep(basin.name, declared.name, Action.CREATE, given, config)
    in_effect = resolve(config, basin.config.default_stream_config).as_layer()
    changes = _changes(_stream_settings(actual), _stream_settings(in_effect))
    return StreamStep(basin.name, declared.name, Action.CHANGE if changes else Action.KEEP, changes, config)


def _in_effect(config: BasinConfig) -> BasinConfig:
    """The configuration with every default of the system in its place: to set one is no difference."""
    defaults = resolve(None, config.default_stream_config).as_layer()
    return BasinConfig(defaults, config.stream_cipher, config.create_stream_on_append, config.create_stream_on_read)


def _given(settings: Mapping[str, Value]) -> tuple[FieldChange, ...]:
    return tuple(FieldChange(field, None, value) for field, value in settings.items() if value not in (None, False))


def _changes(old: Mapping[str, Value], new: Mapping[str, Value]) -> tuple[FieldChange, ...]:
    return tuple(FieldChange(field, old[field], value) for field, value in new.items() if old[field] != value)


def _basin_settings(config: BasinConfig) -> dict[str, Value]:
    defaults = _stream_settings(config.default_stream_config or StreamConfig())
    return {
        "create_stream_on_append": config.create_stream_on_append,
        "create_stream_on_read": config.create_stream_on_read,
        "stream_cipher": None if config.stream_cipher is None else config.stream_cipher.value,
        **{f"default_stream_config.{field}": value for field, value in defaults.items()},
    }


def _stream_settings(config: StreamConfig) -> dict[str, Value]:
    timestamping, delete_on_empty = config.timestamping, config.delete_on_empty
    mode = None if timestamping is None else timestamping.mode
    return {
        "storage_class": None if config.storage_class is None else config.storage_class.value,
        "retention_policy": None if config.retention_policy is None else _retention_text(config.retention_policy),
        "timestamping.mode": None if mode is None else mode.value,
        "timestamping.uncapped": None if timestamping is None else timestamping.uncapped,
        "delete_on_empty.min_age": None if delete_on_empty is None else duration_text(delete_on_empty.min_age_secs),
    }


def _retention_text(retention: Retention) -> str:
    return INFINITE if isinstance(retention, InfiniteRetention) else duration_text(retention.secs)
