"""The names that stand in paths, each a percent-encoded segment: what they are, and so which rules they must keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from ..errors import BadRequest, Invalid
from ..model.names import check_access_token_id, check_basin_name, check_stream_name
from .routes import decode_segment

REMEMBERED_NAMES: Final = 4096
"""How many segments of each kind are remembered with the names that they stand for, since most are used again."""


class PathName:
    """One kind of name. `what` is what errors call it, `check` gives a name that keeps the rules, or raises `Invalid`.
    `field` stands for it in routes.

    `parse` makes the name of a raw segment. It raises `BadRequest` (`bad_path`).
    """

    __slots__ = ("_check", "_what", "field", "parse")

    def __init__(self, what: str, field: str, check: Callable[[str], str]) -> None:
        self.field: str = field
        self._what = what
        self._check = check
        self.parse: Callable[[bytes], str] = lru_cache(REMEMBERED_NAMES)(self._parse)

    def _parse(self, segment: bytes) -> str:
        try:
            return self._check(decode_segment(segment, self._what))
        except Invalid as exc:
            raise BadRequest(exc.message, "bad_path") from None


BASIN: Final = PathName("basin name", "basin", check_basin_name)
STREAM: Final = PathName("stream name", "stream", check_stream_name)
ACCESS_TOKEN: Final = PathName("access token id", "id", check_access_token_id)
