"""Messages out of events, for applications that have a stream and want what it amounts to."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from ..errors import UsageError
from .anthropic_message import MessageFold
from .chunks import ItemReader
from .json_body import JsonObject


class IncompleteMessage(UsageError):
    """A message was asked for before all of its events were there."""


class Accumulator:
    """Events in, one by one, and the message out. Events are mappings, or the models of Anthropic's SDK.

    A `message_start` begins the next message. Do not change a message that you get, nor an event that you gave.
    """

    def __init__(self) -> None:
        self._fold = MessageFold()
        self._reader = ItemReader()

    def push(self, event: object) -> None:
        """Take the next event; those that belong to no message, such as `ping`, change nothing.

        Raises `SourceError` for what is no event at all.
        """
        for value in self._reader.objects(event):
            self._fold.feed(value)

    def is_done(self) -> bool:
        """Whether the message is whole: its `message_stop` was the last event that counted."""
        return self._fold.is_done

    def final_message(self) -> JsonObject:
        """The message, as the API gives it without streaming; raises `IncompleteMessage` before it is whole."""
        if not self._fold.has_begun:
            raise IncompleteMessage("final_message called before message_start")
        if not self._fold.is_done:
            raise IncompleteMessage("final_message called before message_stop")
        return self._fold.message()

    def reset(self) -> None:
        """Forget everything."""
        self._fold.reset()


def create_accumulator() -> Accumulator:
    """An accumulator that has seen nothing."""
    return Accumulator()


def accumulate_message(events: Iterable[object]) -> JsonObject:
    """The message that `events` amount to, the last one if they are several.

    Raises `IncompleteMessage` if it is not whole.
    """
    accumulator = Accumulator()
    for event in events:
        accumulator.push(event)
    return accumulator.final_message()


async def messages_from_events(events: AsyncIterable[object]) -> AsyncIterator[JsonObject]:
    """One message for each `message_stop` in `events`, as soon as it comes; a message that is cut off is left out."""
    accumulator = Accumulator()
    async for event in events:
        accumulator.push(event)
        if accumulator.is_done():
            yield accumulator.final_message()
            accumulator.reset()
