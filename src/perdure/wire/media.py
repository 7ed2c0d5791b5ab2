"""Content negotiation of the S2 v1 API, without any I/O (store API, sections 2.6 to 2.8 and 6.9).

Everything takes a header's value and gives a decision. None is no such header; several headers of one name are one
value, joined by commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from ..errors import BadRequest
from . import headers
from .compression import Compression


class Media(Enum):
    """What a media type means to this API."""

    ABSENT = "absent"
    """No header, or one whose first entry is no media type."""
    JSON = "json"
    PROTOBUF = "protobuf"
    EVENT_STREAM = "event-stream"
    S2S = "s2s"
    OTHER = "other"
    """A media type that means nothing here."""


class Format(Enum):
    """How the bytes of headers and bodies stand in JSON (section 2.7)."""

    RAW = "raw"
    BASE64 = "base64"


_MEDIA: Final = {
    headers.JSON: Media.JSON,
    headers.PROTOBUF: Media.PROTOBUF,
    headers.X_PROTOBUF: Media.PROTOBUF,
    headers.EVENT_STREAM: Media.EVENT_STREAM,
    headers.S2S: Media.S2S,
}
_FORMATS: Final = {b"raw": Format.RAW, b"json": Format.RAW, b"base64": Format.BASE64, b"json-binsafe": Format.BASE64}

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9a-z-]+"
_MEDIA_TYPE: Final = re.compile(_TOKEN + rb"/" + _TOKEN)
_OTHER_JSON: Final = re.compile(rb"application/[^+].*\+json")

_CODINGS: Final = {b"gzip": Compression.GZIP, b"x-gzip": Compression.GZIP, b"zstd": Compression.ZSTD}
_PREFERENCE: Final = (Compression.ZSTD, Compression.GZIP, Compression.NONE)
_Q: Final = re.compile(rb"q=([01](?:\.[0-9]{0,3})?)", re.IGNORECASE)


def media_of(value: bytes | None) -> Media:
    """What the first media type of a `Content-Type` or `Accept` header means; its parameters are ignored."""
    if value is None:
        return Media.ABSENT
    known = _MEDIA.get(value)  # most clients send nothing but the name
    if known is not None:
        return known
    name = value.split(b",", 1)[0].split(b";", 1)[0].strip(b" \t").lower()
    if not _MEDIA_TYPE.fullmatch(name):
        return Media.ABSENT
    if _OTHER_JSON.fullmatch(name):
        return Media.JSON
    return _MEDIA.get(name, Media.OTHER)


def append_kind(content_type: bytes | None) -> Media:
    """How `POST …/records` brings its batches: `S2S` (a session), `PROTOBUF` or `JSON`.

    `JSON` is also everything that is nothing else; the body's turn comes with `require_json`.
    """
    media = media_of(content_type)
    return media if media in (Media.S2S, Media.PROTOBUF) else Media.JSON


def ack_kind(accept: bytes | None) -> Media:
    """How a unary append is answered: `PROTOBUF` or `JSON`."""
    return Media.PROTOBUF if media_of(accept) is Media.PROTOBUF else Media.JSON


def read_kind(content_type: bytes | None, accept: bytes | None) -> Media:
    """How `GET …/records` is answered: `S2S` or `EVENT_STREAM` (sessions), `PROTOBUF` or `JSON`."""
    if media_of(content_type) is Media.S2S:
        return Media.S2S
    media = media_of(accept)
    return media if media in (Media.EVENT_STREAM, Media.PROTOBUF) else Media.JSON


def require_json(content_type: bytes | None) -> None:
    """Raises `BadRequest` (`bad_json`) unless the body is said to be JSON; bodies that must be there need that."""
    if media_of(content_type) is not Media.JSON:
        raise BadRequest("Expected request with `Content-Type: application/json`", "bad_json")


def parse_format(value: bytes | None) -> Format:
    """The format that an `s2-format` header asks for, raw without one. Raises `BadRequest` (`bad_header`)."""
    if value is None:
        return Format.RAW
    form = _FORMATS.get(value.strip(b" \t"))
    if form is None:
        raise BadRequest("Invalid header `s2-format`: must be `raw`, `json`, `base64` or `json-binsafe`", "bad_header")
    return form


def session_coding(accept_encoding: bytes | None) -> Compression:
    """With what a session's frames are packed: zstd before gzip, whatever their q values say."""
    names = {name for name, _ in _codings(accept_encoding)}
    if b"zstd" in names:
        return Compression.ZSTD
    return Compression.GZIP if b"gzip" in names else Compression.NONE


def response_coding(accept_encoding: bytes | None) -> Compression:
    """With what a unary answer may be packed.

    The highest q wins, zstd on ties. A coding counts only when it is named, so `*` chooses none; no packing is always
    allowed, and is preferred where `identity` has a higher q by name.
    """
    best, best_q = Compression.NONE, 0.0
    for name, q in _codings(accept_encoding):
        coding = Compression.NONE if name == b"identity" else _CODINGS.get(name)
        if coding is None or q <= 0:
            continue
        if q > best_q or (q == best_q and _PREFERENCE.index(coding) < _PREFERENCE.index(best)):
            best, best_q = coding, q
    return best


def _codings(accept_encoding: bytes | None) -> Iterator[tuple[bytes, float]]:
    """Each coding that is named, with its q value: 1 without one, 0 for one that cannot be read."""
    for entry in (accept_encoding or b"").split(b","):
        name, *parameters = entry.split(b";")
        q = 1.0
        for parameter in parameters:
            match = _Q.fullmatch(parameter.strip(b" \t"))
            q = min(float(match[1]), 1.0) if match else 0.0
        yield name.strip(b" \t").lower(), q
