"""How engines keep what is not searched for: configurations and the like, as JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from ..model.configs import BasinConfig, ResolvedStreamConfig, StreamConfig
from .catalogue import Creation


class _StreamCreation(msgspec.Struct):
    request_token: str
    config: StreamConfig | None = None


class _BasinCreation(msgspec.Struct):
    request_token: str
    config: BasinConfig | None = None


_encode: Final = msgspec.json.Encoder().encode
_basin_config: Final = msgspec.json.Decoder(BasinConfig)
_stream_config: Final = msgspec.json.Decoder(ResolvedStreamConfig)
_basin_creation: Final = msgspec.json.Decoder(_BasinCreation)
_stream_creation: Final = msgspec.json.Decoder(_StreamCreation)


def encode_config(config: BasinConfig | ResolvedStreamConfig) -> bytes:
    return _encode(config)


def decode_basin_config(raw: bytes) -> BasinConfig:
    return _basin_config.decode(raw)


@lru_cache(maxsize=1024)
def decode_stream_config(raw: bytes) -> ResolvedStreamConfig:
    """A stream's configuration; most streams of a basin share one."""
    return _stream_config.decode(raw)


def encode_creation(creation: Creation | None) -> bytes | None:
    return None if creation is None else _encode(creation)


def decode_basin_creation(raw: bytes | None) -> Creation | None:
    if raw is None:
        return None
    made = _basin_creation.decode(raw)
    return Creation(made.request_token, made.config)


def decode_stream_creation(raw: bytes | None) -> Creation | None:
    if raw is None:
        return None
    made = _stream_creation.decode(raw)
    return Creation(made.request_token, made.config)
