"""Server-sent events: frames to bytes, and bytes in any slices to events.

The parser follows the WHATWG rules with one addition for resuming: it tells the last id that a
*complete* frame carried, because a frame that is cut off must be delivered again. Lines end at LF,
CRLF or CR only; U+2028 and its like are ordinary text inside JSON.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ..errors import ProtocolViolation

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""Default bound on one event, well above the largest batch as base64 JSON; it stops a runaway peer."""

KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment that bridges a silence; every conforming parser skips it."""

_BOM: Final = b"\xef\xbb\xbf"


class SseEvent(Struct, frozen=True, gc=False):
    """One dispatched event. `event` is empty and `id` None when the frame carried none."""

    data: str
    event: str = ""
    id: str | None = None


class SseParser:
    """Bytes in, in any slices; whole events out, in order.

    Work is linear in the input: a line is searched for its end once, however it is sliced.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._pending = bytearray()
        self._searched = 0
        self._size = 0
        self._at_start = True
        self._skip_lf = False
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None
        self._violation: ProtocolViolation | None = None
        self.last_id: str | None = None
        """The id of the last complete frame that had one; also of frames without data."""
        self.retry_ms: int | None = None
        """The reconnection time that the peer asked for, in milliseconds."""

    def feed(self, data: bytes) -> list[SseEvent]:
        """Take `data` and give the events that it completes.

        Raises `ProtocolViolation` when the lines of one event, or one comment, grow beyond the bound; if
        events came before it in the same slice, they are given first, and the next call raises.
        """
        if self._violation is not None:
            raise self._violation
        self._pending += data
        if self._at_start:
            if len(self._pending) < len(_BOM) and _BOM.startswith(bytes(self._pending)):
                return []
            if self._pending.startswith(_BOM):
                del self._pending[: len(_BOM)]
            self._at_start = False
        events: list[SseEvent] = []
        begin = 0
        while (line_end := self._find_line_end()) is not None:
            line = bytes(self._pending[begin:line_end])
            begin = self._searched = line_end + 1
            if self._skip_lf:
                self._skip_lf = False
                if not line and self._pending[line_end] == 0x0A:
                    continue  # the LF of a CRLF whose CR ended the line before
            self._skip_lf = self._pending[line_end] == 0x0D
            if self._size_with(line) > self._max:
                return self._give_up(events)
            event = self._take_line(line)
            if event is not None:
                events.append(event)
        del self._pending[:begin]
        self._searched -= begin
        if self._size_with(self._pending) > self._max:
            return self._give_up(events)
        return events

    def _size_with(self, line: bytes | bytearray) -> int:
        """The size of the event with this line in it; a comment belongs to none, and counts alone."""
        return len(line) if line[:1] == b":" else self._size + len(line)

    def _give_up(self, events: list[SseEvent]) -> list[SseEvent]:
        self._pending.clear()
        self._violation = ProtocolViolation(f"a server-sent event exceeds the limit of {self._max} bytes")
        if not events:
            raise self._violation
        return events

    def _find_line_end(self) -> int | None:
        lf = self._pending.find(b"\n", self._searched)
        cr = self._pending.find(b"\r", self._searched, lf if lf >= 0 else len(self._pending))
        end = cr if cr >= 0 else lf
        if end < 0:
            self._searched = len(self._pending)
            return None
        return end

    def _take_line(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        if line[0] == 0x3A:  # a comment
            return None
        self._size += len(line)
        name, _, raw = line.partition(b":")
        if raw[:1] == b" ":
            raw = raw[1:]
        value = raw.decode(errors="replace")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if "\0" not in value:
                self._id = value
        elif name == b"retry" and raw.isdigit():
            self.retry_ms = int(raw)
        return None

    def _dispatch(self) -> SseEvent | None:
        if self._id is not None:
            self.last_id = self._id
        event = SseEvent("\n".join(self._data), self._event, self._id) if self._data else None
        self._data, self._event, self._id, self._size = [], "", None, 0
        return event
