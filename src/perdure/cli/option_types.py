"""What may stand after an option. A `ValueError` from here is told with the option's name, and ends with status 2."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from cyclopts import Token

from ..errors import Invalid
from ..model.limits import MAX_U64
from ..model.names import check_location_name
from ..store.opening import is_postgres, shown

T = TypeVar("T")

_HOST_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def parsed_by(parse: Callable[[str], T]) -> Callable[[object, Sequence[Token]], T]:
    """For `Parameter(converter=…)`: the text after the option, as `parse` understands it."""

    def convert(_: object, tokens: Sequence[Token]) -> T:
        return parse(tokens[0].value)

    return convert


def each_parsed_by(parse: Callable[[str], T]) -> Callable[[object, Sequence[Token]], tuple[T, ...]]:
    """The same for an option that can be given several times."""

    def convert(_: object, tokens: Sequence[Token]) -> tuple[T, ...]:
        return tuple(parse(token.value) for token in tokens)

    return convert


def port_number(text: str) -> int:
    """A port, 0 for any free one."""
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise ValueError(f"a port is a number from 0 to 65535, got {text!r}")
    return int(text)


def at_least_one(text: str) -> int:
    """A number of things of which there must be one."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ValueError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def number_from_0(text: str) -> int:
    """A sequence number or another count, 0 or more."""
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_U64:
        raise ValueError(f"expected a number from 0 on, got {text!r}")
    return int(text)


def directory(text: str) -> str:
    """A path. An empty one is a variable that was not set, and would mean the current directory."""
    if not text:
        raise ValueError("expected a directory, got nothing; a dot is the current one")
    return text


def engine(text: str) -> str:
    """The URL of a database."""
    if not is_postgres(text):
        raise ValueError(f"expected postgres://user@host/database, got {shown(text)!r}; a directory is given as --data")
    return text


def named_location(text: str) -> tuple[str, str]:
    """The name of a location, and the directory or URL that it is."""
    name, _, where = text.partition("=")
    if not where or "://" in name:
        raise ValueError(f"expected NAME=URL or NAME=DIRECTORY, got {shown(text)!r}")
    try:
        return check_location_name(name), where
    except Invalid as exc:
        raise ValueError(exc.message) from None


def domain(text: str) -> str:
    """The domain that basins are named in, in lower case; empty for none."""
    name = text.lower()
    if name and _HOST_NAME.fullmatch(name) is None:
        raise ValueError(
            f"expected a host name such as b.example.com, with no port and no dot at its end, got {text!r}"
        )
    return name
