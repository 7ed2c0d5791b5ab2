"""Basins, streams and locations as JSON: what the control plane is asked, and answers (store API, sections 3 and 8.5).

As in `perdure.wire.configs_json`, decoders raise `BadRequest` (`bad_json`) and `Invalid`, and each body is here in both
directions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from ..errors import BadRequest, Invalid
from ..model.configs import BasinConfig, Cipher, StreamConfig
from ..model.names import check_basin_name, check_location_name, check_stream_name
from ..model.resources import BasinInfo, LocationInfo, Page, StreamInfo
from .configs_json import (
    BasinConfigBody,
    StreamConfigBody,
    basin_config,
    basin_config_body,
    stream_config,
    stream_config_body,
)
from .strict_json import decode_json


class CreateBasin(Struct, frozen=True):
    """What `POST /basins` asks for."""

    name: str
    config: BasinConfig = BasinConfig()
    location: str | None = None


class EnsureBasin(Struct, frozen=True):
    """What `PUT /basins/{basin}` asks for; all of it without a body."""

    config: BasinConfig = BasinConfig()
    location: str | None = None


class CreateStream(Struct, frozen=True):
    """What `POST /streams` asks for."""

    name: str
    config: StreamConfig | None = None


class _CreateBasinBody(Struct):
    basin: str
    config: BasinConfigBody | None = None
    location: str | None = None


class _EnsureBasinBody(Struct):
    config: BasinConfigBody | None = None
    location: str | None = None


class _CreateStreamBody(Struct):
    stream: str
    config: StreamConfigBody | None = None


class _BasinInfoBody(Struct):
    """`state` is derived from `deleted_at` and no longer read by anyone current, but still told."""

    name: str
    created_at: datetime
    deleted_at: datetime | None = None
    location: str | None = None
    state: str = ""


class _StreamInfoBody(Struct):
    name: str
    created_at: datetime
    deleted_at: datetime | None = None
    cipher: Cipher | None = None


class _BasinsBody(Struct):
    basins: list[_BasinInfoBody]
    has_more: bool


class _StreamsBody(Struct):
    streams: list[_StreamInfoBody]
    has_more: bool


class _LocationBody(Struct):
    name: str
    is_private: bool


_create_basin: Final = msgspec.json.Decoder(_CreateBasinBody)
_ensure_basin: Final = msgspec.json.Decoder(_EnsureBasinBody)
_create_stream: Final = msgspec.json.Decoder(_CreateStreamBody)
_basin_info: Final = msgspec.json.Decoder(_BasinInfoBody)
_stream_info: Final = msgspec.json.Decoder(_StreamInfoBody)
_basins: Final = msgspec.json.Decoder(_BasinsBody)
_streams: Final = msgspec.json.Decoder(_StreamsBody)
_location: Final = msgspec.json.Decoder(_LocationBody)
_locations: Final = msgspec.json.Decoder(list[_LocationBody])
_text: Final = msgspec.json.Decoder(str)


# Requests -----------------------------------------------------------------------------------------


def decode_create_basin(data: bytes) -> CreateBasin:
    body = decode_json(data, _create_basin)
    _named(check_basin_name, body.basin, "basin")
    _located(body.location)
    return CreateBasin(body.basin, _basin_config_of(body.config), body.location)


def encode_create_basin(request: CreateBasin) -> bytes:
    return msgspec.json.encode(_CreateBasinBody(request.name, basin_config_body(request.config), request.location))


def decode_ensure_basin(data: bytes) -> EnsureBasin:
    body = decode_json(data, _ensure_basin)
    _located(body.location)
    return EnsureBasin(_basin_config_of(body.config), body.location)


def encode_ensure_basin(request: EnsureBasin) -> bytes:
    return msgspec.json.encode(_EnsureBasinBody(basin_config_body(request.config), request.location))


def decode_create_stream(data: bytes) -> CreateStream:
    body = decode_json(data, _create_stream)
    _named(check_stream_name, body.stream, "stream")
    return CreateStream(body.stream, None if body.config is None else stream_config(body.config, "config."))


def encode_create_stream(request: CreateStream) -> bytes:
    config = None if request.config is None else stream_config_body(request.config)
    return msgspec.json.encode(_CreateStreamBody(request.name, config))


def decode_location_name(data: bytes) -> str:
    """The bare string that `PUT /locations/default` takes."""
    name = decode_json(data, _text)
    _named(check_location_name, name)
    return name


def encode_location_name(name: str) -> bytes:
    return msgspec.json.encode(name)


# Answers ------------------------------------------------------------------------------------------


def encode_basin_info(info: BasinInfo) -> bytes:
    return msgspec.json.encode(_basin_info_body(info))


def decode_basin_info(data: bytes) -> BasinInfo:
    return _basin_info_of(decode_json(data, _basin_info))


def encode_stream_info(info: StreamInfo) -> bytes:
    return msgspec.json.encode(_stream_info_body(info))


def decode_stream_info(data: bytes) -> StreamInfo:
    return _stream_info_of(decode_json(data, _stream_info))


def encode_basins(page: Page[BasinInfo]) -> bytes:
    return msgspec.json.encode(_BasinsBody([_basin_info_body(info) for info in page.items], page.has_more))


def decode_basins(data: bytes) -> Page[BasinInfo]:
    body = decode_json(data, _basins)
    return Page(tuple(map(_basin_info_of, body.basins)), body.has_more)


def encode_streams(page: Page[StreamInfo]) -> bytes:
    return msgspec.json.encode(_StreamsBody([_stream_info_body(info) for info in page.items], page.has_more))


def decode_streams(data: bytes) -> Page[StreamInfo]:
    body = decode_json(data, _streams)
    return Page(tuple(map(_stream_info_of, body.streams)), body.has_more)


def encode_location(location: LocationInfo) -> bytes:
    return msgspec.json.encode(_LocationBody(location.name, location.is_private))


def decode_location(data: bytes) -> LocationInfo:
    body = decode_json(data, _location)
    return LocationInfo(body.name, body.is_private)


def encode_locations(locations: tuple[LocationInfo, ...]) -> bytes:
    """A bare array."""
    return msgspec.json.encode([_LocationBody(location.name, location.is_private) for location in locations])


def decode_locations(data: bytes) -> tuple[LocationInfo, ...]:
    return tuple(LocationInfo(body.name, body.is_private) for body in decode_json(data, _locations))


def _basin_info_body(info: BasinInfo) -> _BasinInfoBody:
    state = "active" if info.deleted_at is None else "deleting"
    return _BasinInfoBody(info.name, info.created_at, info.deleted_at, info.location, state)


def _basin_info_of(body: _BasinInfoBody) -> BasinInfo:
    return BasinInfo(body.name, body.created_at, body.deleted_at, body.location)


def _stream_info_body(info: StreamInfo) -> _StreamInfoBody:
    return _StreamInfoBody(info.name, info.created_at, info.deleted_at, info.cipher)


def _stream_info_of(body: _StreamInfoBody) -> StreamInfo:
    return StreamInfo(body.name, body.created_at, body.deleted_at, body.cipher)


def _basin_config_of(body: BasinConfigBody | None) -> BasinConfig:
    return BasinConfig() if body is None else basin_config(body, "config.")


def _located(name: str | None) -> None:
    if name is not None:
        _named(check_location_name, name, "location")


def _named(check: Callable[[str], str], name: str, field: str = "") -> None:
    """An invalid name in a body is a mistake of its form, not of its meaning (section 2.4)."""
    try:
        check(name)
    except Invalid as exc:
        raise BadRequest(f"{exc.message} - at `$.{field}`" if field else exc.message, "bad_json") from None
