"""The wire format of events of which only the application knows more than that they are JSON objects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from ..errors import Invalid
from . import frames
from .adapter import ClosingFold, View
from .json_body import JsonObject, SourceError, encode_record, parse_object
from .responses import EVENT_STREAM_HEADERS

logger: Final = logging.getLogger("perdure.resumable")

EventKey: TypeAlias = Callable[[JsonObject], str | None]
"""The name under which an event is sent, None for none. It is asked for each replay too, so it must depend on nothing
but the event."""

ErrorRecord: TypeAlias = Callable[[str], Mapping[str, object]]
"""The event that tells readers of a failure, with this text."""

StopEvent: TypeAlias = Mapping[str, object] | Callable[[list[JsonObject]], Sequence[Mapping[str, object]]]
"""What closes a generation that was stopped: an event, or what gives events from those of the generation."""

IsTerminal: TypeAlias = Callable[[JsonObject], bool]
"""Whether an event is the last one of a turn."""


def error_event(text: str) -> JsonObject:
    """What readers of a failed generation get unless the application says otherwise."""
    return {"type": "error", "error": {"message": text}}


def checked_key(event_key: EventKey, event: JsonObject) -> JsonObject:
    """`event`, if its name can be sent; raises `SourceError` if not."""
    key = event_key(event)
    if key is not None and (not isinstance(key, str) or "\n" in key or "\r" in key):
        raise SourceError(f"the name of an event must be text without line breaks, got {key!r}")
    return event


class EventsAdapter:
    """Events as they are, each with its cursor in front."""

    headers = EVENT_STREAM_HEADERS

    def __init__(self, view: View, error_record: ErrorRecord, stop_event: StopEvent | None) -> None:
        self._view = view
        self._error_record = error_record
        if stop_event is not None and not callable(stop_event):
            try:
                stop_event = dict(stop_event)
                encode_record(stop_event)
            except (SourceError, TypeError, ValueError) as exc:
                raise Invalid(f"stop_event must be an event or a function that gives events: {exc}") from exc
        self._stop_event = stop_event

    def error_body(self, text: str) -> bytes:
        """The application's record; if it cannot make one, ours, since readers must learn of the failure."""
        try:
            return encode_record(self._error_record(text))
        except Exception:
            logger.exception("on_error_record failed; the default is stored in its place")
            return encode_record(error_event(text))

    def closing_fold(self) -> ClosingFold:
        return ClosingEvents(self._stop_event)

    def view(self, *, seed: bool = False, include_user: bool = False) -> View:
        return self._view


def view_of(event_key: EventKey | None) -> View:
    """How events with these names are shown."""
    return frames.IdFirst() if event_key is None else partial(_named_frame, event_key)


def _named_frame(event_key: EventKey, seq_num: int, body: bytes) -> bytes:
    event = parse_object(body)
    try:
        key = None if event is None else event_key(event)
    except Exception:
        # Of what a source gives, only that is stored which has a name. Others may have written this.
        logger.debug("event_key failed for a stored event", exc_info=True)
        key = None
    return frames.keyed(seq_num, key if isinstance(key, str) else None, body)


class ClosingEvents:
    """The events that close a generation which was stopped."""

    def __init__(self, stop_event: StopEvent | None) -> None:
        self._stop_event = stop_event
        self._events: list[JsonObject] = []

    def feed(self, body: bytes) -> None:
        """Take the next event, if the application looks at them."""
        if callable(self._stop_event) and (event := parse_object(body)) is not None:
            self._events.append(event)

    def records(self) -> list[bytes]:
        """What the application says. It failing must not keep a generation from being stopped."""
        if not callable(self._stop_event):
            return self.essential()
        try:
            return [encode_record(event) for event in self._stop_event(list(self._events))]
        except Exception:
            logger.exception("stop_event failed; the generation is stopped without its events")
            return []

    def essential(self) -> list[bytes]:
        """An event that depends on nothing."""
        if self._stop_event is None or callable(self._stop_event):
            return []
        return [encode_record(self._stop_event)]
