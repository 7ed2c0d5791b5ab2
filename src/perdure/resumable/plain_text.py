"""What a generation and its readers need to know of text, which has no wire format, and how little that is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from ..client import Stream
from ..errors import AppendConditionFailed
from ..telemetry.log_fields import about
from .adapter import ClosingFold, View
from .stop import FixedClosing

logger: Final = logging.getLogger("perdure.resumable")


class PlainText:
    """The bodies of the records are the text, and the terminal fence alone tells of a failure."""

    headers: Final[dict[str, str]] = {}

    def error_body(self, text: str) -> None:
        """None: readers of the text would take it for text."""
        return

    def closing_fold(self) -> ClosingFold:
        """Nothing is open in a text."""
        return FixedClosing(None)

    def view(self, *, seed: bool = False, include_user: bool = False) -> View:
        """The bodies, as they are."""
        return AsItIs()


class AsItIs:
    """The view of text: the bodies of the records and nothing else."""

    def __call__(self, seq_num: int, body: bytes) -> bytes:
        """The body of one record."""
        return body

    def stretch(self, start_seq: int, bodies: Sequence[bytes]) -> bytes:
        """The bodies of many."""
        return b"".join(bodies)


async def no_record(stream: Stream, tail: int) -> None:
    """The fence tells that a stream was abandoned."""


def log_outcome(name: str, task: asyncio.Future[None], source_failure: Exception | None) -> None:
    """Tell what kept a stream from being stored whole.

    In detail only, if its reader was told because the source raised it, or if somebody else ended the stream.
    """
    failure = None if task.cancelled() else task.exception()
    if failure is None:
        return
    known = failure is source_failure or _is_condition_failure(failure)
    level = logging.DEBUG if known else logging.WARNING
    logger.log(level, "%r was not stored whole", name, exc_info=failure, extra=about(name, error=failure))


def _is_condition_failure(failure: BaseException) -> bool:
    """Whether somebody else has written to the stream."""
    if isinstance(failure, BaseExceptionGroup):
        return any(map(_is_condition_failure, failure.exceptions))
    return isinstance(failure, AppendConditionFailed)
