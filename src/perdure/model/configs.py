"""Configuration of streams and basins: what may be set, how layers resolve, how a change merges.

Three layers decide every leaf field by itself (store API, section 4.3)::

    effective = stream layer, else basin layer, else system default

`StreamConfig` is one layer: a field that is `None` is not set there. `ResolvedStreamConfig` is the
outcome, with every field set. `StreamReconfiguration` and `BasinReconfiguration` are changes: a
field that is `UNSET` is kept, `None` clears it, a value sets it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from msgspec import UNSET, Struct, UnsetType

from ..errors import Invalid
from .checked import Checked
from .limits import MAX_U64
from .positions import check_u64

T = TypeVar("T")

SECONDS_A_DAY: Final = 86_400


class StorageClass(StrEnum):
    """Stored and reported; a single machine has one class of storage."""

    STANDARD = "standard"
    EXPRESS = "express"


class TimestampingMode(StrEnum):
    """Whose clock gives a record its timestamp."""

    CLIENT_PREFER = "client-prefer"
    CLIENT_REQUIRE = "client-require"
    ARRIVAL = "arrival"


class Cipher(StrEnum):
    """How the records of a stream are sealed with the client's key."""

    AEGIS_256 = "aegis-256"
    AES_256_GCM = "aes-256-gcm"


class RetentionAge(Struct, frozen=True, tag="age"):
    """Records may go this many seconds after they were stored; at least 1."""

    secs: int

    def __post_init__(self) -> None:
        if not isinstance(self.secs, int) or isinstance(self.secs, bool):
            raise Invalid(f"age must be a whole number of seconds, got {self.secs!r}")
        if not 0 < self.secs <= MAX_U64:
            raise Invalid("age must be greater than 0 seconds")


class InfiniteRetention(Struct, frozen=True, tag="infinite"):
    """Records stay until they are trimmed."""


Retention: TypeAlias = RetentionAge | InfiniteRetention


class TimestampingConfig(Checked, frozen=True):
    """`uncapped`: keep client timestamps that lie in the future instead of capping them at arrival."""

    mode: TimestampingMode | None = None
    uncapped: bool | None = None


class DeleteOnEmptyConfig(Checked, frozen=True):
    """Delete a stream that has held no records and seen no write for this long; 0 means never."""

    min_age_secs: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_u64(self.min_age_secs, "min_age_secs")


class StreamConfig(Checked, frozen=True):
    """One layer of stream configuration; `None` means not set here."""

    storage_class: StorageClass | None = None
    retention_policy: Retention | None = None
    timestamping: TimestampingConfig | None = None
    delete_on_empty: DeleteOnEmptyConfig | None = None


class ResolvedStreamConfig(Struct, frozen=True):
    """The configuration that a stream works by, every field set.

    `retention_secs` is None for infinite retention; `delete_on_empty_secs` is 0 when disabled.
    """

    storage_class: StorageClass = StorageClass.EXPRESS
    retention_secs: int | None = 7 * SECONDS_A_DAY
    timestamping_mode: TimestampingMode = TimestampingMode.CLIENT_PREFER
    timestamping_uncapped: bool = False
    delete_on_empty_secs: int = 0

    def as_layer(self) -> StreamConfig:
        """The same settings as a layer in which everything is set."""
        return StreamConfig(
            storage_class=self.storage_class,
            retention_policy=InfiniteRetention() if self.retention_secs is None else RetentionAge(self.retention_secs),
            timestamping=TimestampingConfig(self.timestamping_mode, self.timestamping_uncapped),
            delete_on_empty=DeleteOnEmptyConfig(self.delete_on_empty_secs),
        )


SYSTEM_DEFAULTS: Final = ResolvedStreamConfig()


class BasinConfig(Checked, frozen=True):
    """`default_stream_config` is the basin layer for streams created in it."""

    default_stream_config: StreamConfig | None = None
    stream_cipher: Cipher | None = None
    create_stream_on_append: bool = False
    create_stream_on_read: bool = False


class TimestampingReconfiguration(Checked, frozen=True):
    mode: TimestampingMode | UnsetType | None = UNSET
    uncapped: bool | UnsetType | None = UNSET


class DeleteOnEmptyReconfiguration(Checked, frozen=True):
    min_age_secs: int | UnsetType | None = UNSET


class StreamReconfiguration(Checked, frozen=True):
    """A change to one layer: `UNSET` keeps a field, `None` clears it, a value sets or merges it."""

    storage_class: StorageClass | UnsetType | None = UNSET
    retention_policy: Retention | UnsetType | None = UNSET
    timestamping: TimestampingReconfiguration | UnsetType | None = UNSET
    delete_on_empty: DeleteOnEmptyReconfiguration | UnsetType | None = UNSET


class BasinReconfiguration(Checked, frozen=True):
    """A change to a basin; the two flags cannot be cleared, only set."""

    default_stream_config: StreamReconfiguration | UnsetType | None = UNSET
    stream_cipher: Cipher | UnsetType | None = UNSET
    create_stream_on_append: bool | UnsetType = UNSET
    create_stream_on_read: bool | UnsetType = UNSET


def _first(*layers: T | None) -> T | None:
    return next((value for value in layers if value is not None), None)


def resolve(stream: StreamConfig | None, basin: StreamConfig | None) -> ResolvedStreamConfig:
    """What a stream works by, from its own layer, the basin's and the system defaults."""
    layers = [layer for layer in (stream, basin) if layer is not None]
    timestamping = [layer.timestamping for layer in layers if layer.timestamping is not None]
    retentions: list[Retention] = [layer.retention_policy for layer in layers if layer.retention_policy is not None]
    delete_on_empty = _first(*(layer.delete_on_empty for layer in layers))
    mode = _first(*(layer.mode for layer in timestamping))
    uncapped = _first(*(layer.uncapped for layer in timestamping))
    return ResolvedStreamConfig(
        storage_class=_first(*(layer.storage_class for layer in layers)) or SYSTEM_DEFAULTS.storage_class,
        retention_secs=_retention_secs(retentions[0] if retentions else None),
        timestamping_mode=mode or SYSTEM_DEFAULTS.timestamping_mode,
        timestamping_uncapped=SYSTEM_DEFAULTS.timestamping_uncapped if uncapped is None else uncapped,
        delete_on_empty_secs=(
            SYSTEM_DEFAULTS.delete_on_empty_secs if delete_on_empty is None else delete_on_empty.min_age_secs
        ),
    )


def _retention_secs(retention: Retention | None) -> int | None:
    if retention is None:
        return SYSTEM_DEFAULTS.retention_secs
    return retention.secs if isinstance(retention, RetentionAge) else None


def _merged(change: T | UnsetType | None, current: T | None) -> T | None:
    return current if isinstance(change, UnsetType) else change


def reconfigure_layer(current: StreamConfig, change: StreamReconfiguration) -> StreamConfig:
    """`current` with `change` merged into it."""
    timestamping = current.timestamping
    if change.timestamping is None:
        timestamping = None
    elif not isinstance(change.timestamping, UnsetType):
        old = timestamping or TimestampingConfig()
        new = TimestampingConfig(
            _merged(change.timestamping.mode, old.mode), _merged(change.timestamping.uncapped, old.uncapped)
        )
        timestamping = None if new == TimestampingConfig() else new
    delete_on_empty = current.delete_on_empty
    if change.delete_on_empty is None:
        delete_on_empty = None
    elif not isinstance(change.delete_on_empty, UnsetType):
        secs = change.delete_on_empty.min_age_secs
        if secs is None:
            delete_on_empty = None
        elif not isinstance(secs, UnsetType):
            delete_on_empty = DeleteOnEmptyConfig(secs)
    retention: Retention | None = current.retention_policy
    if not isinstance(change.retention_policy, UnsetType):
        retention = change.retention_policy
    return StreamConfig(
        storage_class=_merged(change.storage_class, current.storage_class),
        retention_policy=retention,
        timestamping=timestamping,
        delete_on_empty=delete_on_empty,
    )


def reconfigure_stream(
    current: ResolvedStreamConfig, change: StreamReconfiguration, basin: StreamConfig | None
) -> ResolvedStreamConfig:
    """A stream's resolved configuration after `change`; what it clears falls back to the basin's layer."""
    return resolve(reconfigure_layer(current.as_layer(), change), basin)


def normalised_basin(config: BasinConfig) -> BasinConfig:
    """`config` with empty inner layers as absent, so that equal requests compare equal."""
    layer = normalised_layer(config.default_stream_config)
    return BasinConfig(layer, config.stream_cipher, config.create_stream_on_append, config.create_stream_on_read)


def normalised_layer(layer: StreamConfig | None) -> StreamConfig | None:
    """`layer` without empty inner objects; None if nothing at all is set in it."""
    if layer is None:
        return None
    timestamping = None if layer.timestamping == TimestampingConfig() else layer.timestamping
    bare = StreamConfig(layer.storage_class, layer.retention_policy, timestamping, layer.delete_on_empty)
    return None if bare == StreamConfig() else bare


def reconfigure_basin(current: BasinConfig, change: BasinReconfiguration) -> BasinConfig:
    """`current` with `change` merged into it."""
    layer = current.default_stream_config
    if change.default_stream_config is None:
        layer = None
    elif not isinstance(change.default_stream_config, UnsetType):
        layer = reconfigure_layer(layer or StreamConfig(), change.default_stream_config)
    append, read = change.create_stream_on_append, change.create_stream_on_read
    return normalised_basin(
        BasinConfig(
            default_stream_config=layer,
            stream_cipher=_merged(change.stream_cipher, current.stream_cipher),
            create_stream_on_append=current.create_stream_on_append if isinstance(append, UnsetType) else append,
            create_stream_on_read=current.create_stream_on_read if isinstance(read, UnsetType) else read,
        )
    )
