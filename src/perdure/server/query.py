"""The query string, read strictly (store API, section 2.3)."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from ..errors import BadRequest
from ..model.limits import MAX_U64

S = TypeVar("S", bound=StrEnum)


class Query:
    """The parameters of a form-encoded query string; every getter raises `BadRequest` (`bad_query`).

    Unknown parameters are ignored, even repeated ones; a known one that is given twice is refused when it is asked for.
    """

    __slots__ = ("_values",)

    def __init__(self, raw: bytes) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        if raw:
            for pair in raw.split(b"&"):
                name, _, value = pair.partition(b"=")
                if name:
                    self._values.setdefault(_decoded(name), []).append(value)

    def text(self, name: str) -> str | None:
        """The parameter as text; None if it is absent."""
        values = self._values.get(name.encode())
        if values is None:
            return None
        if len(values) > 1:
            raise BadRequest(f"query parameter `{name}` is given {len(values)} times, expected once", "bad_query")
        try:
            return _decoded(values[0]).decode()
        except UnicodeDecodeError:
            raise BadRequest(f"query parameter `{name}` is not UTF-8", "bad_query") from None

    def number(self, name: str, maximum: int = MAX_U64) -> int | None:
        """The parameter as a whole number from 0 to `maximum`; None if it is absent."""
        text = self.text(name)
        if text is None:
            return None
        # More digits than the largest number has are refused before they are converted.
        if not (text.isascii() and text.isdigit()) or len(text) > 40 or int(text) > maximum:
            raise BadRequest(
                f"query parameter `{name}` must be a whole number from 0 to {maximum}, got {text[:40]!r}", "bad_query"
            )
        return int(text)

    def boolean(self, name: str) -> bool | None:
        """The parameter, exactly `true` or `false`; None if it is absent."""
        text = self.text(name)
        if text is None:
            return None
        if text not in ("true", "false"):
            raise BadRequest(f"query parameter `{name}` must be true or false, got {text[:40]!r}", "bad_query")
        return text == "true"

    def choice(self, name: str, choices: type[S]) -> S | None:
        """The parameter as one of the values of `choices`; None if it is absent."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return choices(text)
        except ValueError:
            known = ", ".join(choices)
            raise BadRequest(
                f"query parameter `{name}` must be one of {known}, got {text[:40]!r}", "bad_query"
            ) from None


def _decoded(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" ")) if b"%" in raw or b"+" in raw else raw
