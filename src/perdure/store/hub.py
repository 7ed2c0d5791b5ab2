"""Waking followers: what became durable, handed to whoever follows a stream in this process.

The hub lives on one event loop and is only touched there. It promises wake-ups, not delivery: a
mailbox that overflows, or a stream that another process wrote to, just says "look at the store".
A follower therefore takes a handed block only if it starts exactly at its cursor, and otherwise
reads the gap; so nothing is lost or doubled whatever the hub does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from .catalogue import StreamId
from .sequencing import Block

MAILBOX_BLOCKS: Final = 25
"""A follower this many batches behind reads from the store instead (store API, section 6.7)."""

CLOCK_SECS: Final = 0.001
"""The clock of an event loop may be so coarse, and a timer come so much too early."""


class Mailbox:
    """One follower's view of a stream, from `Hub.follow`; use it as a context manager."""

    __slots__ = ("_alarm", "_alarm_at", "_blocks", "_due", "_hub", "_look", "_waiter", "stream_id")

    def __init__(self, hub: Hub, stream_id: StreamId) -> None:
        self._hub = hub
        self.stream_id: StreamId = stream_id
        self._blocks: list[Block] = []  # never many, and a thousand followers hold one each
        self._look = False  # stays until `clear`: a block that came later does not answer it
        self._waiter: asyncio.Future[None] | None = None
        self._due = 0.0
        """When `wait` is over, by the clock of the loop."""
        self._alarm: asyncio.TimerHandle | None = None
        """Rings at `_alarm_at`, when `wait` may be over. A block that comes before leaves it: to set it each time costs
        more than to find, once in a while, that it is too early.
        """
        self._alarm_at = 0.0

    def __enter__(self) -> Mailbox:
        self._hub.add(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._hub.remove(self)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._wake()  # whoever still waits here would wait for ever

    def put(self, block: Block) -> None:
        """Hand over a block that became durable; beyond the bound only the fact is kept."""
        if len(self._blocks) < MAILBOX_BLOCKS:
            self._blocks.append(block)
        else:
            self.nudge()
            return
        self._wake()

    def nudge(self) -> None:
        """Say that the store should be looked at; blocks held here would be read there anyway."""
        self._blocks.clear()
        self._look = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Forget what came so far, because the store is looked at now."""
        self._blocks.clear()
        self._look = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come since the last `clear`."""
        return not self._blocks and not self._look

    def take(self) -> Block | None:
        """The next block without waiting, or None."""
        return self._blocks.pop(0) if self._blocks else None

    async def wait(self, timeout: float | None) -> bool:
        """Wait until there is a block to take or, without one, the store should be looked at.

        False after `timeout` seconds of silence. None waits until the caller is cancelled, which is
        how sessions that follow for ever end.
        """
        if self._blocks or self._look:
            return True
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        if timeout is None:
            self._due = inf
        else:
            self._due = loop.time() + max(timeout, 0)
            if self._alarm is None or self._alarm_at > self._due:
                self._set_alarm(loop)
        try:
            await waiter
        finally:
            self._waiter = None
        return bool(self._blocks) or self._look

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(self._due, self._ring, loop)
        self._alarm_at = self._due

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        if self._due - loop.time() < CLOCK_SECS:
            self._wake()
        elif self._waiter is not None and self._due < inf:
            self._set_alarm(loop)


class Hub:
    """The mailboxes of this process, by stream.

    `on_first` and `on_last` are called when the first follower arrives and the last one goes, so that
    an engine listens to other processes only while somebody here wants to know; `on_change` is told how
    many there are whenever that changes.
    """

    def __init__(
        self,
        on_first: Callable[[], None] = lambda: None,
        on_last: Callable[[], None] = lambda: None,
        on_change: Callable[[int], None] = lambda followers: None,
    ) -> None:
        self._mailboxes: dict[StreamId, set[Mailbox]] = {}
        self._on_first = on_first
        self._on_last = on_last
        self._on_change = on_change
        self._followers = 0

    def follow(self, stream_id: StreamId) -> Mailbox:
        """A mailbox for the stream; enter it before reading the tail, so that nothing falls between."""
        return Mailbox(self, stream_id)

    def add(self, mailbox: Mailbox) -> None:
        if not self._mailboxes:
            self._on_first()
        self._mailboxes.setdefault(mailbox.stream_id, set()).add(mailbox)
        self._followers += 1
        self._on_change(self._followers)

    def remove(self, mailbox: Mailbox) -> None:
        boxes = self._mailboxes.get(mailbox.stream_id)
        if boxes is None or mailbox not in boxes:
            return
        boxes.discard(mailbox)
        self._followers -= 1
        self._on_change(self._followers)
        if not boxes:
            del self._mailboxes[mailbox.stream_id]
            if not self._mailboxes:
                self._on_last()

    def followed(self) -> frozenset[StreamId]:
        return frozenset(self._mailboxes)

    def is_followed(self, stream_id: StreamId) -> bool:
        return stream_id in self._mailboxes

    def publish(self, blocks: Iterable[tuple[StreamId, Block]]) -> None:
        """Hand durable blocks to the followers of their streams, in order."""
        mailboxes = self._mailboxes
        if not mailboxes:
            return
        for stream_id, block in blocks:
            for mailbox in mailboxes.get(stream_id, ()):
                mailbox.put(block)

    def nudge(self, streams: Iterable[StreamId] | None = None) -> None:
        """Make the followers of `streams`, or of all, look at the store."""
        for stream_id in tuple(self._mailboxes) if streams is None else streams:
            for mailbox in self._mailboxes.get(stream_id, ()):
                mailbox.nudge()
