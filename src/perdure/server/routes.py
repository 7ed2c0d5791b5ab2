"""Which path is what: a table of the API's routes, matched on the raw path.

Names stand in the path as one percent-encoded segment, so a stream name may hold any character. That is why matching
is done before decoding (store API, section 2.3): a decoded path would be split at the slashes of a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from ..errors import BadRequest

E = TypeVar("E")

PARAMETER: Final = b"*"
"""Stands for a name in a pattern."""


class Match(Struct, Generic[E], frozen=True, gc=False):
    """What was found: the endpoint, and the raw segments of the path where its pattern has names."""

    endpoint: E
    names: tuple[bytes, ...]


class NoRoute(Struct, frozen=True):
    """No pattern fits the path."""


class WrongMethod(Struct, frozen=True):
    """The path is known, the method is not among `allowed`."""

    allowed: tuple[str, ...]


Found: TypeAlias = Match[E] | NoRoute | WrongMethod


class _Node(Generic[E]):
    __slots__ = ("children", "methods")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[E]] = {}
        self.methods: dict[str, E] = {}


class Routes(Generic[E]):
    """Endpoints by method and pattern, such as `GET /v1/streams/*/records`; `*` is one non-empty segment."""

    def __init__(self, endpoints: Iterable[tuple[str, str, E]]) -> None:
        self._root: _Node[E] = _Node()
        for method, pattern, endpoint in endpoints:
            node = self._root
            for segment in pattern.encode().split(b"/")[1:]:
                node = node.children.setdefault(segment, _Node())
            if method in node.methods:
                raise ValueError(f"{method} {pattern} is in the table twice")
            node.methods[method] = endpoint

    def find(self, method: str, raw_path: bytes) -> Found[E]:
        """The endpoint for a request line; literal segments go before names."""
        node, names = self._root, []
        segments = raw_path.split(b"/")
        if segments[0] or len(segments) < 2:
            return NoRoute()
        for segment in segments[1:]:
            child = node.children.get(segment) if segment != PARAMETER else None
            if child is None:
                child = node.children.get(PARAMETER)
                if child is None or not segment:
                    return NoRoute()
                names.append(segment)
            node = child
        endpoint = node.methods.get(method)
        if endpoint is not None:
            return Match(endpoint, tuple(names))
        return WrongMethod(tuple(sorted(node.methods))) if node.methods else NoRoute()


def decode_segment(segment: bytes, what: str) -> str:
    """A name from its percent-encoded segment; `+` is a plus. Raises `BadRequest` (`bad_path`)."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{what} in the path is not UTF-8 after percent-decoding", "bad_path") from None
