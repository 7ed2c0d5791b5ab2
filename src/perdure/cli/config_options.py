"""The options that configure basins and streams, for making them as for changing them; and configurations as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, TypeAlias, TypeVar

from cyclopts import Group, Parameter
from msgspec import UNSET, UnsetType

from ..model.configs import (
    SYSTEM_DEFAULTS,
    BasinConfig,
    Cipher,
    DeleteOnEmptyConfig,
    DeleteOnEmptyReconfiguration,
    InfiniteRetention,
    Retention,
    RetentionAge,
    StorageClass,
    StreamConfig,
    StreamReconfiguration,
    TimestampingConfig,
    TimestampingMode,
    TimestampingReconfiguration,
)
from .durations import duration_text, parse_duration
from .option_types import parsed_by

T = TypeVar("T")
EnumT = TypeVar("EnumT", bound=StrEnum)

DEFAULT: Final = "default"
"""In place of a value: whatever the layer below says, which for a stream is its basin."""

INFINITE: Final = "infinite"


def _or_default(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    return lambda text: None if text == DEFAULT else parse(text)


def _one_of(kind: type[EnumT]) -> Parameter:
    return Parameter(converter=parsed_by(_or_default(kind)), choices=(*kind, DEFAULT), n_tokens=1, metavar="CHOICE")


def _retention(text: str) -> Retention:
    if text == INFINITE:
        return InfiniteRetention()
    secs = parse_duration(text)
    if not secs:
        raise ValueError(f"records cannot be kept for no time at all; give a longer one, or {INFINITE}")
    return RetentionAge(secs)


def _truth(text: str) -> bool:
    return text == "true"


@Parameter(name="*", group=Group("Configuration of streams", sort_key=2))
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfigOptions:
    """What a stream is configured by. What is not given is not set, and in a change stays as it is."""

    storage_class: Annotated[
        StorageClass | UnsetType | None,
        _one_of(StorageClass),
        Parameter(help="Stored and told; a store of one's own has one class of storage."),
    ] = UNSET
    retention_policy: Annotated[
        Retention | UnsetType | None,
        Parameter(
            converter=parsed_by(_or_default(_retention)),
            n_tokens=1,
            accepts_keys=False,
            metavar="AGE",
            help=f"How long records are kept: a duration such as 7d or 12h, {INFINITE}, or {DEFAULT}.",
        ),
    ] = UNSET
    timestamping_mode: Annotated[
        TimestampingMode | UnsetType | None,
        _one_of(TimestampingMode),
        Parameter(help="Whose clock gives a record its timestamp."),
    ] = UNSET
    timestamping_uncapped: Annotated[
        bool | UnsetType | None,
        Parameter(
            converter=parsed_by(_or_default(_truth)),
            choices=("true", "false", DEFAULT),
            n_tokens=1,
            metavar="CHOICE",
            help="Whether clients' timestamps may lie in the future.",
        ),
    ] = UNSET
    delete_on_empty_min_age: Annotated[
        int | UnsetType | None,
        Parameter(
            converter=parsed_by(_or_default(parse_duration)),
            n_tokens=1,
            metavar="AGE",
            help=f"Delete a stream that has been empty and idle for so long: a duration, 0s for never, or {DEFAULT}.",
        ),
    ] = UNSET

    def as_config(self) -> StreamConfig:
        """As the configuration of something new."""
        timestamping = TimestampingConfig(_or_none(self.timestamping_mode), _or_none(self.timestamping_uncapped))
        min_age_secs = _or_none(self.delete_on_empty_min_age)
        return StreamConfig(
            storage_class=_or_none(self.storage_class),
            retention_policy=None if isinstance(self.retention_policy, UnsetType) else self.retention_policy,
            timestamping=None if timestamping == TimestampingConfig() else timestamping,
            delete_on_empty=None if min_age_secs is None else DeleteOnEmptyConfig(min_age_secs),
        )

    def as_change(self) -> StreamReconfiguration:
        """As a change to what is there."""
        timestamping = TimestampingReconfiguration(self.timestamping_mode, self.timestamping_uncapped)
        delete_on_empty = DeleteOnEmptyReconfiguration(self.delete_on_empty_min_age)
        return StreamReconfiguration(
            storage_class=self.storage_class,
            retention_policy=self.retention_policy,
            timestamping=UNSET if timestamping == TimestampingReconfiguration() else timestamping,
            delete_on_empty=UNSET if delete_on_empty == DeleteOnEmptyReconfiguration() else delete_on_empty,
        )


_BASIN: Final = Group("Configuration of the basin", sort_key=1)

CipherOption: TypeAlias = Annotated[
    Cipher | UnsetType | None,
    _one_of(Cipher),
    Parameter(group=_BASIN, help="How streams that are made from now on are sealed with their clients' keys."),
]


@Parameter(name="*", group=_BASIN)
@dataclass(frozen=True, slots=True, kw_only=True)
class NewBasinOptions:
    """What a new basin is configured by, beyond what it says of its streams."""

    stream_cipher: CipherOption = UNSET
    create_stream_on_append: Annotated[bool, Parameter(help="Make a stream by the first append to it.")] = False
    create_stream_on_read: Annotated[bool, Parameter(help="Make a stream by the first read of it.")] = False

    @property
    def cipher(self) -> Cipher | None:
        return _or_none(self.stream_cipher)


_TRUTH: Final = Parameter(
    converter=parsed_by(_truth), choices=("true", "false"), n_tokens=1, metavar="CHOICE", negative=()
)


@Parameter(name="*", group=_BASIN)
@dataclass(frozen=True, slots=True, kw_only=True)
class BasinChangeOptions:
    """What is changed about a basin, beyond what it says of its streams."""

    stream_cipher: CipherOption = UNSET
    create_stream_on_append: Annotated[
        bool | UnsetType, _TRUTH, Parameter(help="Whether the first append to a stream makes it.")
    ] = UNSET
    create_stream_on_read: Annotated[
        bool | UnsetType, _TRUTH, Parameter(help="Whether the first read of a stream makes it.")
    ] = UNSET


def _or_none(value: T | UnsetType | None) -> T | None:
    return None if isinstance(value, UnsetType) else value


class Setting(NamedTuple):
    """One setting, by the name of its option."""

    name: str
    value: str
    """As one would write it after the option."""

    is_set: bool
    """Whether it is set at this place, and not what the layer below says."""


def stream_settings(config: StreamConfig) -> list[Setting]:
    """Every setting of streams, with the system's default where `config` sets nothing."""
    timestamping = config.timestamping or TimestampingConfig()
    min_age_secs = None if config.delete_on_empty is None else config.delete_on_empty.min_age_secs
    defaults = SYSTEM_DEFAULTS.as_layer()
    rows = [
        ("storage-class", config.storage_class, SYSTEM_DEFAULTS.storage_class),
        ("retention-policy", retention_text(config.retention_policy), retention_text(defaults.retention_policy)),
        ("timestamping-mode", timestamping.mode, SYSTEM_DEFAULTS.timestamping_mode),
        (
            "timestamping-uncapped",
            _truth_text(timestamping.uncapped),
            _truth_text(SYSTEM_DEFAULTS.timestamping_uncapped),
        ),
        (
            "delete-on-empty-min-age",
            None if min_age_secs is None else duration_text(min_age_secs),
            duration_text(SYSTEM_DEFAULTS.delete_on_empty_secs),
        ),
    ]
    return [Setting(name, str(default if value is None else value), value is not None) for name, value, default in rows]


def retention_text(retention: Retention | None) -> str | None:
    """As its option takes it."""
    match retention:
        case None:
            return None
        case RetentionAge(secs=secs):
            return duration_text(secs)
        case InfiniteRetention():
            return INFINITE


def basin_settings(config: BasinConfig) -> list[Setting]:
    """Every setting of a basin, and of the streams in it that say nothing else."""
    return [
        Setting("stream-cipher", config.stream_cipher or "none", config.stream_cipher is not None),
        Setting("create-stream-on-append", str(_truth_text(config.create_stream_on_append)), True),
        Setting("create-stream-on-read", str(_truth_text(config.create_stream_on_read)), True),
        *stream_settings(config.default_stream_config or StreamConfig()),
    ]


def _truth_text(value: bool | None) -> str | None:
    return None if value is None else "true" if value else "false"
