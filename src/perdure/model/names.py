"""Names and what may stand in them (store API, section 1.2).

Names compare and sort by their UTF-8 bytes; nothing is normalised or folded. Every check returns
the name and raises `Invalid` with the rule that it breaks.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import Invalid
from .limits import (
    MAX_ACCESS_TOKEN_ID_BYTES,
    MAX_BASIN_NAME_BYTES,
    MAX_FENCING_TOKEN_BYTES,
    MAX_LOCATION_NAME_CHARS,
    MAX_REQUEST_TOKEN_BYTES,
    MAX_STREAM_NAME_BYTES,
    MIN_BASIN_NAME_BYTES,
)

_BASIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")
_BASIN_PREFIX: Final = re.compile(r"(?:[a-z0-9][a-z0-9-]*)?\Z")
_LOCATION: Final = re.compile(r"[A-Za-z0-9:.-]+\Z")
_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]*\Z")


def _utf8_length(text: str, what: str) -> int:
    if not isinstance(text, str):
        raise Invalid(f"{what} must be a string, got {type(text).__name__}")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{what} must be encodable as UTF-8; it holds a lone surrogate") from None


def _check_length(text: str, what: str, low: int, high: int) -> None:
    length = _utf8_length(text, what)
    if not low <= length <= high:
        raise Invalid(f"{what} must be {low} to {high} bytes long, got {length}")


def check_basin_name(name: str) -> str:
    _check_length(name, "basin name", MIN_BASIN_NAME_BYTES, MAX_BASIN_NAME_BYTES)
    if _BASIN.match(name) is None:
        raise Invalid(
            f"basin name {name!r} must consist of a-z, 0-9 and hyphens, and begin and end with a letter or digit"
        )
    return name


def check_basin_prefix(prefix: str, what: str = "prefix") -> str:
    _check_length(prefix, what, 0, MAX_BASIN_NAME_BYTES)
    if _BASIN_PREFIX.match(prefix) is None:
        raise Invalid(f"{what} {prefix!r} must consist of a-z, 0-9 and hyphens, and begin with a letter or digit")
    return prefix


def check_stream_name(name: str) -> str:
    _check_length(name, "stream name", 1, MAX_STREAM_NAME_BYTES)
    if name in (".", ".."):
        raise Invalid(f"stream name must not be {name!r}")
    return name


def check_stream_prefix(prefix: str, what: str = "prefix") -> str:
    _check_length(prefix, what, 0, MAX_STREAM_NAME_BYTES)
    return prefix


def check_access_token_id(name: str) -> str:
    _check_length(name, "access token id", 1, MAX_ACCESS_TOKEN_ID_BYTES)
    if name in (".", ".."):
        raise Invalid(f"access token id must not be {name!r}")
    return name


def check_access_token_prefix(prefix: str, what: str = "prefix") -> str:
    _check_length(prefix, what, 0, MAX_ACCESS_TOKEN_ID_BYTES)
    return prefix


def check_location_name(name: str) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_LOCATION_NAME_CHARS or _LOCATION.match(name) is None:
        raise Invalid(
            f"location {name!r} must be 1 to {MAX_LOCATION_NAME_CHARS} characters "
            "of ASCII letters, digits, ':', '-', '.'"
        )
    return name


def check_request_token(token: str) -> str:
    _check_length(token, "request token", 0, MAX_REQUEST_TOKEN_BYTES)
    if _VISIBLE_ASCII.match(token) is None:
        raise Invalid("request token must consist of visible ASCII characters")
    return token


def check_fencing_token(token: str) -> str:
    length = _utf8_length(token, "fencing token")
    if length > MAX_FENCING_TOKEN_BYTES:
        raise Invalid(f"fencing token must not exceed {MAX_FENCING_TOKEN_BYTES} bytes in length, got {length}")
    return token
