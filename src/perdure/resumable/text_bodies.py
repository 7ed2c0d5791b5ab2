"""Text on its way into records and out of them.

One chunk of text is one record, whose body is the text in UTF-8. Two things keep that from being one line: a chunk may
be larger than a record can be, and text that began as JavaScript strings may be cut between the two halves of a
character beyond U+FFFF. Where chunks are cut means nothing to readers; they care for the text as a whole.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NoReturn, TypeAlias

from ..errors import Invalid
from ..model.limits import MAX_BATCH_BYTES
from ..model.metering import metered_bytes
from .chunks import SourceChunk
from .json_body import JsonObject, SourceError

MAX_TEXT_BYTES: Final = MAX_BATCH_BYTES - metered_bytes((), b"")
"""The text of one record at most."""

_NO_VALUE: Final[JsonObject] = {}
"""Text is no JSON object; one for all, as there is one such chunk for each token."""

TextUnit: TypeAlias = Literal["utf16", "codepoint"]
"""What counts as one character: a unit of a JavaScript string's length, or of a Python string's."""


class TextItems:
    """What a source of text yields, as chunks to store; it belongs to one source."""

    def __init__(self) -> None:
        self._half = ""

    def chunk(self, item: JsonObject) -> NoReturn:
        """A dict is no text."""
        raise _no_text(item)

    def chunks(self, item: object) -> Iterable[SourceChunk]:
        """The records for one item; raises `SourceError` if it is no text."""
        if not isinstance(item, str):
            raise _no_text(item)
        try:
            body = item.encode() if not self._half else self._joined(item)
        except UnicodeEncodeError:
            body = self._joined(item)
        if len(body) <= MAX_TEXT_BYTES:
            return (SourceChunk(_NO_VALUE, body),)
        return [SourceChunk(_NO_VALUE, piece) for piece in _pieces(body)]

    def finish(self) -> Iterable[SourceChunk]:
        """A half of a character that no other half came for."""
        if not self._half:
            return ()
        self._half = ""
        return (SourceChunk(_NO_VALUE, "\N{REPLACEMENT CHARACTER}".encode()),)

    def _joined(self, item: str) -> bytes:
        """`item` with its halves of characters joined; one at its end waits for the next item."""
        text, self._half = self._half + item, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


class SkippingDecoder:
    """Bodies of records in, text out, without the first `count` characters.

    A character that only half of what is to be skipped would cover is not skipped: of a reader who has half of one
    nobody can say which half it has shown.
    """

    def __init__(self, count: int | None, unit: TextUnit) -> None:
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
            raise Invalid(f"skip_characters must be a whole number, 0 or more, got {count!r}")
        if unit not in ("utf16", "codepoint"):
            raise Invalid(f"unit must be 'utf16' or 'codepoint', got {unit!r}")
        self._left = count or 0
        self._counts_halves = unit == "utf16"
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, body: bytes) -> str:
        """The text of the next bodies that is to be shown; it may be empty."""
        return self._shown(self._decode(body))

    def finish(self) -> str:
        """What the end of the text shows: a character that was never completed."""
        return self._shown(self._decode(b"", True))

    def _shown(self, text: str) -> str:
        if not self._left:
            return text
        if not self._counts_halves or text.isascii():
            skipped = min(self._left, len(text))
            self._left -= skipped
            return text[skipped:]
        for index, character in enumerate(text):
            width = 2 if character > "\uffff" else 1
            if self._left < width:
                self._left = 0
                return text[index:]
            self._left -= width
        return ""


def _no_text(item: object) -> SourceError:
    kind = type(item)
    return SourceError(f"a source of text yields str, got {kind.__module__}.{kind.__qualname__}")


def _pieces(body: bytes) -> Iterator[bytes]:
    """`body` in pieces that records can hold, each of whole characters."""
    start = 0
    while start < len(body):
        end = min(start + MAX_TEXT_BYTES, len(body))
        while end < len(body) and body[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        yield body[start:end]
        start = end
