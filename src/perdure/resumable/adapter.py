"""What the chat machinery asks of a wire format: one implementation for each SDK that Perdure speaks to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from ..errors import PerdureError
from .chunks import SourceChunk
from .event_limit import EventTooLarge

View: TypeAlias = Callable[[int, bytes], bytes]
"""The bytes that one response sends for a record, from its sequence number and body; nothing if it is left out."""


@runtime_checkable
class StretchView(Protocol):
    """A `View` that also shows many records by one call, for a third of the price: a long answer has ten thousand."""

    def __call__(self, seq_num: int, body: bytes) -> bytes: ...

    def stretch(self, start_seq: int, bodies: Sequence[bytes]) -> bytes:
        """What the calls for these bodies, none of them empty, from sequence number `start_seq` on give together."""
        ...


Transform: TypeAlias = Callable[[SourceChunk], Sequence[SourceChunk]]
"""What to store for one chunk of a source, in order."""


class ClosingFold(Protocol):
    """The records that close a generation which was stopped, learnt from what it has written."""

    def feed(self, body: bytes) -> None:
        """Take the next data record of the generation."""
        ...

    def records(self) -> list[bytes]:
        """The bodies that close everything that is still open, in order, and then the answer itself."""
        ...

    def essential(self) -> list[bytes]:
        """Those of them that are right whatever was written since the last record fed."""
        ...


class Adapter(Protocol):
    """One wire format. Adapters have no state; what follows a response or a generation does."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of a response that streams."""
        ...

    def error_body(self, text: str) -> bytes | None:
        """The record that tells readers of a failure; None where the terminal fence alone does."""
        ...

    def closing_fold(self) -> ClosingFold:
        """A fold for the generation that is about to be stopped."""
        ...

    def view(self, *, seed: bool = False, include_user: bool = False) -> View:
        """How one response shows records.

        `seed` adds what a reader needs who has nothing of the message that the generation continues;
        `include_user` shows the user's own records too.
        """
        ...


class SourceReportedError(PerdureError):
    """A source told of a failure by a chunk instead of raising; the text is what it said."""


OnError: TypeAlias = Callable[[BaseException], str]
"""Gives the text that clients see for an exception."""

DEFAULT_ERROR_TEXT = "An error occurred."


def safe_error_text(on_error: OnError | None, failure: BaseException) -> str:
    """What clients are told about `failure`: never its own text, unless `on_error` says so.

    An event that is too large is told of by name: it is the application's to mend, and nothing of it is secret.
    """
    if on_error is None:
        return failure.shown_text if isinstance(failure, EventTooLarge) else DEFAULT_ERROR_TEXT
    try:
        text = on_error(failure)
    except Exception:
        return DEFAULT_ERROR_TEXT
    return text if isinstance(text, str) else DEFAULT_ERROR_TEXT
