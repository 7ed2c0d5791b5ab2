"""The largest event that a chat can keep, and the failure of a source that yields a larger one.

One event is one record, so that every reader of the stream can show it: what other implementations write and read knows
no event in pieces. So one that no record can hold ends the answer, with an error that names it.
"""

from __future__ import annotations

from typing import Final

from ..model.limits import MAX_BATCH_BYTES
from ..model.metering import RECORD_OVERHEAD_BYTES
from .json_body import SourceError, parse_object

MAX_EVENT_BYTES: Final = MAX_BATCH_BYTES - RECORD_OVERHEAD_BYTES
"""The JSON of one event at most, in UTF-8."""


class EventTooLarge(SourceError):
    """A source yielded an event that no record can hold. What came before it is kept, and the answer ends with it.

    `event_type` is the event's `type`, if it has one, `size_bytes` the length of its JSON. Unless there is an
    `on_error`, clients are told `shown_text`.
    """

    def __init__(self, event_type: str | None, size_bytes: int) -> None:
        super().__init__(
            f"an event of type {event_type!r} has {size_bytes} bytes of JSON, and a record holds {MAX_EVENT_BYTES}: "
            "keep such data elsewhere, such as in a file store, and yield where it is"
        )
        self.event_type: str | None = event_type
        self.size_bytes: int = size_bytes

    @property
    def shown_text(self) -> str:
        """What readers of the answer may know."""
        return (
            f"The answer ended early: one part of it ({self.event_type or 'without a type'}) is larger than 1 MiB, "
            "which is the most that can be kept of one."
        )


def too_large(body: bytes) -> EventTooLarge:
    """The failure of the source that yielded `body`."""
    event = parse_object(body)
    kind = None if event is None else event.get("type")
    return EventTooLarge(kind if isinstance(kind, str) else None, len(body))
