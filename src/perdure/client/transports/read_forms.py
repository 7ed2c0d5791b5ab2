"""The two forms of a read session over HTTP: s2s frames, and server-sent events (store API, sections 6.8 and 6.9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

from ...errors import BadRequest, PerdureError, ProtocolViolation, TransportError, TruncatedFrame
from ...model.batches import ReadBatch
from ...wire.media import Format
from ...wire.s2s import Frame, FrameDecoder
from ...wire.s2s_messages import read_batch_of
from ...wire.sse import SseEvent, SseParser
from ...wire.sse_reads import decode_event, is_done

S2S_LIVENESS_SECS: Final = 20.0
SSE_LIVENESS_SECS: Final = 25.0
"""A server that is alive says something at least so often (store API, sections 6.7, 10.6)."""

T = TypeVar("T")


class ReadForm(Protocol[T]):
    """Takes one session apart: bytes in, in any slices; items out, each of which becomes a batch in its turn."""

    @property
    def liveness_secs(self) -> float: ...

    @property
    def is_complete(self) -> bool:
        """Whether the server has said that nothing more comes, although its answer may not have ended yet."""
        ...

    def feed(self, data: bytes) -> Iterable[T]:
        """Raises `ProtocolViolation`, after the items before it."""
        ...

    def finish(self) -> None:
        """The answer has ended. Raises `TransportError` and `ProtocolViolation` where it should not have."""
        ...

    def is_advised(self, item: T) -> bool:
        """Whether the server advises to leave it, as it is about to stop."""
        ...

    def batch_of(self, item: T) -> ReadBatch | None:
        """A batch, or a heartbeat; None for what means nothing. Raises the error that a server tells."""
        ...


class S2sReads:
    """A `ReadForm`: protobuf in frames. It ends with the answer, at the end of a frame."""

    liveness_secs: Final = S2S_LIVENESS_SECS
    is_complete: Final = False

    def __init__(self) -> None:
        self._decoder = FrameDecoder()

    def feed(self, data: bytes) -> Iterable[Frame]:
        return self._decoder.feed(data)

    def finish(self) -> None:
        try:
            self._decoder.finish()
        except TruncatedFrame as exc:
            raise TransportError(exc.message, may_have_applied=False) from None

    def is_advised(self, item: Frame) -> bool:
        return item.reconnect_advised

    def batch_of(self, item: Frame) -> ReadBatch:
        return read_batch_of(item)


class SseReads:
    """A `ReadForm`: JSON in server-sent events, all bytes in base64. It ends with an event that says so."""

    liveness_secs: Final = SSE_LIVENESS_SECS

    def __init__(self) -> None:
        self._parser = SseParser()
        self.is_complete: bool = False

    def feed(self, data: bytes) -> Iterable[SseEvent]:
        events = self._parser.feed(data)
        for index, event in enumerate(events):
            if is_done(event):
                self.is_complete = True
                return events[:index]
        return events

    def finish(self) -> None:
        if not self.is_complete:
            raise TransportError("the session broke off", may_have_applied=False)

    def is_advised(self, item: SseEvent) -> bool:
        return False  # an event has no place for that; a server that stops ends the session with an error

    def batch_of(self, item: SseEvent) -> ReadBatch | None:
        try:
            told = decode_event(item, Format.BASE64)
        except BadRequest as exc:
            raise ProtocolViolation(f"an event that cannot be decoded: {exc.message}") from exc
        if isinstance(told, PerdureError):
            raise told
        return told if isinstance(told, ReadBatch) else None
