"""Configurations as JSON, and back (store API, section 4).

Every decoder raises `BadRequest` (`bad_json`) for what has the wrong shape, and after that `Invalid` for what is well
formed and against a rule. Unknown fields are ignored. The server decodes requests and encodes answers with these, a
client the other way round.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ..errors import BadRequest
from ..model.configs import (
    BasinConfig,
    BasinReconfiguration,
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
from .headers import S2_STREAM_CONFIG
from .strict_json import decode_json, require_u64


class _InfiniteBody(Struct):
    """`{}`"""


class RetentionBody(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """`{"age": seconds}` or `{"infinite": {}}`: exactly one of the two, and nothing else."""

    age: int | UnsetType = UNSET
    infinite: _InfiniteBody | UnsetType = UNSET


class TimestampingBody(Struct):
    """Both fields may be null."""

    mode: TimestampingMode | None = None
    uncapped: bool | None = None


class DeleteOnEmptyBody(Struct):
    """`min_age_secs` may be absent, which means 0, but not null."""

    min_age_secs: int = 0


class StreamConfigBody(Struct):
    """A `StreamConfig`. Absent and null are the same; answers have every field."""

    storage_class: StorageClass | None = None
    retention_policy: RetentionBody | None = None
    timestamping: TimestampingBody | None = None
    delete_on_empty: DeleteOnEmptyBody | None = None


class BasinConfigBody(Struct):
    """A `BasinConfig`. The two flags may be absent, but not null."""

    default_stream_config: StreamConfigBody | None = None
    stream_cipher: Cipher | None = None
    create_stream_on_append: bool = False
    create_stream_on_read: bool = False


class _TimestampingChange(Struct):
    mode: TimestampingMode | UnsetType | None = UNSET
    uncapped: bool | UnsetType | None = UNSET


class _DeleteOnEmptyChange(Struct):
    min_age_secs: int | UnsetType | None = UNSET


class _StreamChange(Struct):
    """A `StreamReconfiguration`: what is absent is kept, what is null is cleared (section 4.4)."""

    storage_class: StorageClass | UnsetType | None = UNSET
    retention_policy: RetentionBody | UnsetType | None = UNSET
    timestamping: _TimestampingChange | UnsetType | None = UNSET
    delete_on_empty: _DeleteOnEmptyChange | UnsetType | None = UNSET


class _BasinChange(Struct):
    """A `BasinReconfiguration`; the two flags cannot be null."""

    default_stream_config: _StreamChange | UnsetType | None = UNSET
    stream_cipher: Cipher | UnsetType | None = UNSET
    create_stream_on_append: bool | UnsetType = UNSET
    create_stream_on_read: bool | UnsetType = UNSET


_stream_config: Final = msgspec.json.Decoder(StreamConfigBody)
_basin_config: Final = msgspec.json.Decoder(BasinConfigBody)
_stream_change: Final = msgspec.json.Decoder(_StreamChange)
_basin_change: Final = msgspec.json.Decoder(_BasinChange)


# Configurations -----------------------------------------------------------------------------------


def decode_stream_config(data: bytes) -> StreamConfig:
    return stream_config(decode_json(data, _stream_config))


def decode_stream_config_header(value: bytes) -> StreamConfig:
    """The value of `s2-stream-config`. What has the wrong shape is `bad_header` here."""
    try:
        return decode_stream_config(value)
    except BadRequest as exc:
        raise BadRequest(f"Invalid header `{S2_STREAM_CONFIG.decode()}`: {exc.message}", "bad_header") from None


def encode_stream_config(config: StreamConfig) -> bytes:
    return msgspec.json.encode(stream_config_body(config))


def decode_basin_config(data: bytes) -> BasinConfig:
    return basin_config(decode_json(data, _basin_config))


def encode_basin_config(config: BasinConfig) -> bytes:
    return msgspec.json.encode(basin_config_body(config))


def stream_config(body: StreamConfigBody, where: str = "") -> StreamConfig:
    """What `body` says; `where` is the path of the object that holds it, with a dot at its end."""
    delete_on_empty = body.delete_on_empty
    if delete_on_empty is not None:
        require_u64(delete_on_empty.min_age_secs, f"{where}delete_on_empty.min_age_secs")
    timestamping = body.timestamping
    return StreamConfig(
        storage_class=body.storage_class,
        retention_policy=None if body.retention_policy is None else _retention(body.retention_policy, where),
        timestamping=None if timestamping is None else TimestampingConfig(timestamping.mode, timestamping.uncapped),
        delete_on_empty=None if delete_on_empty is None else DeleteOnEmptyConfig(delete_on_empty.min_age_secs),
    )


def stream_config_body(config: StreamConfig) -> StreamConfigBody:
    timestamping, delete_on_empty = config.timestamping, config.delete_on_empty
    return StreamConfigBody(
        storage_class=config.storage_class,
        retention_policy=None if config.retention_policy is None else _retention_body(config.retention_policy),
        timestamping=None if timestamping is None else TimestampingBody(timestamping.mode, timestamping.uncapped),
        delete_on_empty=None if delete_on_empty is None else DeleteOnEmptyBody(delete_on_empty.min_age_secs),
    )


def basin_config(body: BasinConfigBody, where: str = "") -> BasinConfig:
    """What `body` says; `where` is the path of the object that holds it, with a dot at its end."""
    layer = body.default_stream_config
    return BasinConfig(
        default_stream_config=None if layer is None else stream_config(layer, f"{where}default_stream_config."),
        stream_cipher=body.stream_cipher,
        create_stream_on_append=body.create_stream_on_append,
        create_stream_on_read=body.create_stream_on_read,
    )


def basin_config_body(config: BasinConfig) -> BasinConfigBody:
    layer = config.default_stream_config
    return BasinConfigBody(
        default_stream_config=None if layer is None else stream_config_body(layer),
        stream_cipher=config.stream_cipher,
        create_stream_on_append=config.create_stream_on_append,
        create_stream_on_read=config.create_stream_on_read,
    )


# Changes ------------------------------------------------------------------------------------------


def decode_stream_reconfiguration(data: bytes) -> StreamReconfiguration:
    return _stream_reconfiguration(decode_json(data, _stream_change), "")


def encode_stream_reconfiguration(change: StreamReconfiguration) -> bytes:
    return msgspec.json.encode(_stream_change_body(change))


def decode_basin_reconfiguration(data: bytes) -> BasinReconfiguration:
    body = decode_json(data, _basin_change)
    layer = body.default_stream_config
    return BasinReconfiguration(
        default_stream_config=(
            _stream_reconfiguration(layer, "default_stream_config.") if isinstance(layer, _StreamChange) else layer
        ),
        stream_cipher=body.stream_cipher,
        create_stream_on_append=body.create_stream_on_append,
        create_stream_on_read=body.create_stream_on_read,
    )


def encode_basin_reconfiguration(change: BasinReconfiguration) -> bytes:
    layer = change.default_stream_config
    return msgspec.json.encode(
        _BasinChange(
            default_stream_config=_stream_change_body(layer) if isinstance(layer, StreamReconfiguration) else layer,
            stream_cipher=change.stream_cipher,
            create_stream_on_append=change.create_stream_on_append,
            create_stream_on_read=change.create_stream_on_read,
        )
    )


def _stream_reconfiguration(body: _StreamChange, where: str) -> StreamReconfiguration:
    timestamping, delete_on_empty = body.timestamping, body.delete_on_empty
    if isinstance(delete_on_empty, _DeleteOnEmptyChange) and delete_on_empty.min_age_secs is not UNSET:
        require_u64(delete_on_empty.min_age_secs, f"{where}delete_on_empty.min_age_secs")
    retention = body.retention_policy
    return StreamReconfiguration(
        storage_class=body.storage_class,
        retention_policy=_retention(retention, where) if isinstance(retention, RetentionBody) else retention,
        timestamping=(
            TimestampingReconfiguration(timestamping.mode, timestamping.uncapped)
            if isinstance(timestamping, _TimestampingChange)
            else timestamping
        ),
        delete_on_empty=(
            DeleteOnEmptyReconfiguration(delete_on_empty.min_age_secs)
            if isinstance(delete_on_empty, _DeleteOnEmptyChange)
            else delete_on_empty
        ),
    )


def _stream_change_body(change: StreamReconfiguration) -> _StreamChange:
    timestamping, delete_on_empty, retention = change.timestamping, change.delete_on_empty, change.retention_policy
    return _StreamChange(
        storage_class=change.storage_class,
        retention_policy=(
            _retention_body(retention) if isinstance(retention, RetentionAge | InfiniteRetention) else retention
        ),
        timestamping=(
            _TimestampingChange(timestamping.mode, timestamping.uncapped)
            if isinstance(timestamping, TimestampingReconfiguration)
            else timestamping
        ),
        delete_on_empty=(
            _DeleteOnEmptyChange(delete_on_empty.min_age_secs)
            if isinstance(delete_on_empty, DeleteOnEmptyReconfiguration)
            else delete_on_empty
        ),
    )


# Retention ----------------------------------------------------------------------------------------


def _retention(body: RetentionBody, where: str) -> Retention:
    if isinstance(body.age, UnsetType) == isinstance(body.infinite, UnsetType):
        raise BadRequest(
            f'Expected exactly one of {{"age": seconds}} and {{"infinite": {{}}}} - at `$.{where}retention_policy`'
        )
    if isinstance(body.age, UnsetType):
        return InfiniteRetention()
    require_u64(body.age, f"{where}retention_policy.age")
    return RetentionAge(body.age)


def _retention_body(retention: Retention) -> RetentionBody:
    if isinstance(retention, RetentionAge):
        return RetentionBody(age=retention.secs)
    return RetentionBody(infinite=_InfiniteBody())
