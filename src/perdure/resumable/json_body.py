"""JSON as it stands in a record: one line of compact UTF-8 that every browser parses to the same value.

Every token of an answer passes through `encode_body`, so the usual chunk goes straight through msgspec; what
msgspec refuses (lone surrogates above all) takes a slower way to the same rules:

* no spaces, keys in their order, non-ASCII text as UTF-8, never a CR or LF;
* NaN and infinities become `null`, since JSON has no word for them and browsers refuse Python's;
* text with a lone surrogate, which UTF-8 cannot carry, is written with ASCII escapes throughout;
* integers of any size as they are; dates as ISO 8601; bytes as base64; `Decimal` and `UUID` as text; an `Enum` as
  its value; sets as lists; keys that are numbers as text;
* models (pydantic and what dumps like it) as the objects they dump to;
* anything else is a `SourceError`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, NoReturn, TypeAlias

import msgspec

from ..errors import PerdureError

JsonValue: TypeAlias = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None
"""What JSON text parses to."""

JsonObject: TypeAlias = dict[str, JsonValue]
"""A JSON object."""

MAX_DEPTH: Final = 256
"""How deep the objects and lists of a record may be nested. How deep Python gets depends on who calls, so without a
limit of our own a value that was stored could later fail to be read, or to be put into a larger one."""


class SourceError(PerdureError):
    """A source gave something that cannot be stored; the message says what.

    The generation it belongs to ends as one whose source raised.
    """


def encode_body(value: object) -> bytes:
    """`value` as the body of a record; raises `SourceError` if it has no form in JSON."""
    try:
        body = _encode(value)
    except UnicodeEncodeError:
        body = _encode_escaped(value)
    except RecursionError:
        raise SourceError(_TOO_DEEP) from None
    except (TypeError, ValueError) as exc:
        raise SourceError(f"cannot be stored as JSON: {exc}") from exc
    if b"\n" in body or b"\r" in body:
        # Encoders escape both inside text, so this is a `msgspec.Raw` with a layout of its own.
        return encode_body(parse_body(body))
    return body


def encode_record(value: object) -> bytes:
    """`encode_body` for what is to be read back: raises `SourceError` also beyond `MAX_DEPTH`."""
    body = encode_body(value)
    if len(body) > 2 * MAX_DEPTH and _is_too_deep(body):
        raise SourceError(_TOO_DEEP)
    return body


def parse_body(text: bytes | str) -> JsonValue:
    """The value of JSON text; raises `ValueError` where a browser's `JSON.parse` would, and beyond `MAX_DEPTH`.

    Two things are read more exactly than in a browser: integers beyond 2^53 keep their digits, and an unpaired
    surrogate escape stays what it is.
    """
    if len(text) > 2 * MAX_DEPTH and _is_too_deep(
        text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    ):
        raise ValueError(_TOO_DEEP)
    try:
        value: JsonValue = _decode(text)
        return value
    except (msgspec.DecodeError, ValueError):
        pass  # refused here, but perhaps only for a lone surrogate or a float out of range
    if isinstance(text, bytes):
        text = text.decode()
    exact: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    return exact


def parse_object(text: bytes | str) -> JsonObject | None:
    """The object that JSON text holds, or None when it is no JSON or no object."""
    try:
        value = parse_body(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def dump_model(model: object) -> object | None:
    """What a model that knows how to dump itself dumps to; None for other objects.

    `exclude_none` because providers leave out what they do not set, and strict readers want it left out.
    """
    dump = getattr(model, "model_dump", None)
    if dump is not None and hasattr(type(model), "__pydantic_serializer__"):
        return _as_object(dump(mode="json", by_alias=True, exclude_none=True))
    v1_json = getattr(model, "json", None)
    if v1_json is not None and hasattr(type(model), "__fields__"):
        return _as_object(json.loads(v1_json(by_alias=True, exclude_none=True)))
    dump = dump or getattr(model, "to_dict", None)
    return None if dump is None else _as_object(dump())


def _as_object(value: object) -> object:
    """`value`; a function because what a model dumps to has no static type."""
    return value


def _plain(value: object) -> object:
    """msgspec's hook: an equal of `value` that it can encode, called for what it does not know."""
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or isinstance(value, bool):  # only as a key: as values msgspec knows them
        raise TypeError(f"{value} cannot be a key; keys are text")
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, msgspec.Raw):  # the fast way writes it as it is, and does not ask
        return parse_body(bytes(value))
    if not isinstance(value, type) and (dumped := dump_model(value)) is not None:
        return dumped
    raise TypeError(f"objects of type {type(value).__module__}.{type(value).__qualname__} have no JSON form")


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode
_decode: Final = msgspec.json.Decoder().decode

_TOO_DEEP: Final = f"JSON is nested too deeply: more than {MAX_DEPTH} levels, or within itself"
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\2\2\0\0")
"""What a bracket does to the depth, plus one, since bytes cannot be negative."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{]}"))


def _encode_escaped(value: object) -> bytes:
    """The slow way: for a value that holds a lone surrogate."""
    try:
        plain = _without_nan(msgspec.to_builtins(value, str_keys=True, enc_hook=_plain))
        return json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        raise SourceError(_TOO_DEEP) from None
    except (TypeError, ValueError) as exc:
        raise SourceError(f"cannot be stored as JSON: {exc}") from exc


def _is_too_deep(text: bytes) -> bool:
    """Whether JSON text is nested deeper than `MAX_DEPTH`; most text has not even as many brackets."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", text).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(step - 1 for step in brackets), default=0) > MAX_DEPTH


def _without_nan(value: object) -> object:
    """A copy of plain data with `null` in the place of NaN and infinities, as the fast way writes them."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _refuse_constant(name: str) -> NoReturn:
    """Python's parser knows NaN and Infinity; JSON does not."""
    raise ValueError(f"{name} is no JSON")
