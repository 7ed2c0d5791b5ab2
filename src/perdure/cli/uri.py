"""Addresses on the command line: `s2://basin` and `s2://basin/stream`.

What follows the basin and its slash is the stream's name as it is: nothing is decoded, and it may hold slashes, spaces
and percent signs. A basin may also be given by its bare name where nothing but a basin can stand.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ..errors import Invalid
from ..model.names import check_basin_name, check_stream_name, check_stream_prefix

SCHEME: Final = "s2://"


class StreamUri(Struct, frozen=True):
    """The address of a stream."""

    basin: str
    stream: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.basin}/{self.stream}"


class PrefixUri(Struct, frozen=True):
    """The address of those streams of a basin whose names start with `prefix`; of all of them if it is empty."""

    basin: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.basin}/{self.prefix}"


def parse_basin(text: str) -> str:
    """The basin's name, of `s2://basin` or of the bare name. Raises `ValueError`, which tells the right form."""
    expected = "expected s2://BASIN"
    if SCHEME not in text and "/" not in text and ":" not in text and text:
        return _basin(text, expected)
    basin, stream = _split(text, expected)
    if stream:
        raise ValueError(f"{text!r} names a stream, and a basin is wanted: {SCHEME}{basin}")
    return basin


def parse_stream(text: str) -> StreamUri:
    """The stream that `s2://basin/stream` names. Raises `ValueError`, which tells the right form."""
    expected = "expected s2://BASIN/STREAM"
    basin, stream = _split(text, expected)
    if not stream:
        raise ValueError(f"{text!r} names a basin, and a stream is wanted: {SCHEME}{basin}/STREAM")
    try:
        return StreamUri(basin, check_stream_name(stream))
    except Invalid as exc:
        raise ValueError(f"{exc.message}, in {text!r}") from None


def parse_prefix(text: str) -> PrefixUri:
    """What `s2://basin`, or `s2://basin/prefix`, selects. Raises `ValueError`, which tells the right form."""
    expected = "expected s2://BASIN or s2://BASIN/PREFIX"
    if SCHEME not in text and "/" not in text and ":" not in text and text:
        return PrefixUri(_basin(text, expected))
    basin, prefix = _split(text, expected)
    try:
        return PrefixUri(basin, check_stream_prefix(prefix))
    except Invalid as exc:
        raise ValueError(f"{exc.message}, in {text!r}") from None


def _split(text: str, expected: str) -> tuple[str, str]:
    """The basin, checked, and what follows its slash."""
    if not text:
        raise ValueError(f"{expected}, got nothing")
    if not text.startswith(SCHEME):
        raise ValueError(f"{expected}, got {text!r}{_meant(text)}")
    basin, _, rest = text.removeprefix(SCHEME).partition("/")
    if not basin:
        raise ValueError(f"{expected}, got {text!r}, which names no basin")
    return _basin(basin, expected), rest


def _basin(name: str, expected: str) -> str:
    try:
        return check_basin_name(name)
    except Invalid as exc:
        told = "" if name in exc.message else f", and {name!r} is not"
        raise ValueError(f"{expected}: {exc.message}{told}") from None


def _meant(text: str) -> str:
    """What somebody meant who left out a part of the scheme, or wrote it in another way."""
    scheme, separator, rest = text.partition(":")
    if not separator:
        rest = text
    elif scheme.lower() != "s2":
        return ""
    rest = rest.lstrip("/")
    try:
        check_basin_name(rest.partition("/")[0])
    except Invalid:
        return ""
    return f"; did you mean {SCHEME}{rest}?"
