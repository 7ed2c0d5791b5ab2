"""Bytes of a peer to typed values, where everything that is not right is one `bad_json` (store API, section 2.4)."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ..errors import BadRequest
from ..model.limits import MAX_U64

T = TypeVar("T")


def decode_json(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The value in `data`. Raises `BadRequest` (`bad_json`): no JSON, wrong types, missing fields, nested too deep."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise BadRequest("the JSON is nested too deeply", "bad_json") from None
    except UnicodeDecodeError:
        raise BadRequest("the JSON is not UTF-8", "bad_json") from None
    except (msgspec.MsgspecError, ValueError) as exc:
        raise BadRequest(str(exc), "bad_json") from None


def require_u64(value: int | None, where: str) -> None:
    """Raises `BadRequest` (`bad_json`) for a number beyond 0 … 2^64 - 1, which msgspec cannot check; None is fine."""
    if value is not None and not 0 <= value <= MAX_U64:
        raise BadRequest(f"Expected a whole number from 0 to {MAX_U64} - at `$.{where}`", "bad_json")
