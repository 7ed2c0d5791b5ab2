"""Where a reader of a replay goes on: the id of the last frame that it has seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias, TypeGuard

from ..cursors import MAX_CURSOR, parse_cursor

ReplayUrl: TypeAlias = str | Callable[[int | None], str]
"""A URL of a replay: the cursor is added to text as the query parameter `from`; a function is given it."""

_URL: Final = re.compile(r"([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)


class Cursor:
    """One place in a log, shared by all that read for one client. It only ever moves forward."""

    def __init__(self, *, origin: Cursor | None = None) -> None:
        self.value: int | None = None if origin is None else origin.value
        """The next sequence number to read; None until there is one."""
        self._origin = origin

    def fork(self) -> Cursor:
        """A place of its own for one of several readers: it begins here, and moves this one on as it goes."""
        return Cursor(origin=self)

    def advance(self, place: str | int | None) -> None:
        """Move to `place`, an id of a frame or a number; what is neither, or is behind, changes nothing."""
        number = parse_cursor(place) if isinstance(place, str) else place
        if is_place(number) and (self.value is None or number > self.value):
            self.value = number
        if self._origin is not None:
            self._origin.advance(number)


def is_place(value: object) -> TypeGuard[int]:
    """Whether `value` is a number that a cursor can have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CURSOR


def url_at(url: ReplayUrl, cursor: int | None) -> str:
    """The URL of a replay from `cursor` on; what else a text URL holds is left as it is written."""
    if not isinstance(url, str):
        return url(cursor)
    if cursor is None:
        return url
    match = _URL.fullmatch(url)
    assert match is not None, "every text matches"
    path, query, fragment = match.groups(default="")
    others = [pair for pair in query.split("&") if pair not in ("", "from") and not pair.startswith("from=")]
    return f"{path}?{'&'.join([*others, f'from={cursor}'])}{fragment}"
