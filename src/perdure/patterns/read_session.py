"""Reading messages of any size: pass over what came twice, put together, deserialise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, TypeVar

from ..client.read_session import ReadSession
from ..model.records import SequencedRecord
from .framing import DEFAULT_MAX_FRAME_BYTES, FrameSizeError
from .headers import MalformedHeader
from .reassembly import Assembled, MessageRange, ReadCheckpoint, Reassembly

Message = TypeVar("Message")


class DeserializingReadSession(Generic[Message]):
    """The messages of a stream in order, over a read session that belongs to this one from now on.

    ::

        events = JsonSerializer(Event)
        async with DeserializingReadSession(stream.read_session(SeqNum(0)), events.deserialize) as session:
            async for event in session:
                ...

    It ends when the read session does. Records that belong to no message are passed over, so it may start anywhere
    in a stream: the first message is the first that begins there. It ends with the error of a message that cannot be
    read; a note on the error says which records hold it, and how to go on behind them.

    To go on in another process where this one stopped, keep `checkpoint`, and give it to the next session::

        DeserializingReadSession(stream.read_session(SeqNum(kept.seq_num)), events.deserialize, checkpoint=kept)
    """

    def __init__(
        self,
        session: ReadSession,
        deserialize: Callable[[bytes], Message],
        *,
        enable_dedupe: bool = True,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        checkpoint: ReadCheckpoint | None = None,
    ) -> None:
        """Nothing is read before the session is entered, or the first message asked for.

        Args:
            session: where the records come from; closed with this one.
            deserialize: makes a message of what the writer's serialiser made, without waiting.
            enable_dedupe: whether records that came before are passed over.
            max_frame_bytes: the largest serialised message to take; 100 MiB, and not below the writer's. It bounds the
                memory as well: besides a batch of the read session, the part of one message that has arrived is held,
                and for the moment in which it becomes whole, a copy of it.
            checkpoint: of an earlier session; `session` must start at its `seq_num`.

        Raises `Invalid`.
        """
        self._session = session
        self._deserialize = deserialize
        self._reassembly = Reassembly(
            enable_dedupe=enable_dedupe, max_frame_bytes=max_frame_bytes, checkpoint=checkpoint
        )
        self._checkpoint = checkpoint
        self._range: MessageRange | None = None
        self._failure: Exception | None = None

    @property
    def checkpoint(self) -> ReadCheckpoint | None:
        """Where to go on behind the message that was given last; None before the first record.

        After an error it is before the message that could not be read.
        """
        return self._checkpoint

    @property
    def message_range(self) -> MessageRange | None:
        """Where the message that was given last is in the stream; None before the first one."""
        return self._range

    @property
    def dropped_frames(self) -> int:
        """How many messages began and were not finished, say by a writer that crashed, or did not add up."""
        return self._reassembly.dropped_frames

    @property
    def duplicate_records(self) -> int:
        """How many records were passed over because they came before."""
        return self._reassembly.duplicate_records

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        """The next message. Raises what the read session raises, `FrameSizeError`, `MalformedHeader`, and what the
        deserialiser raises; and then the same again.

        Cancelling the call loses nothing: the next one goes on where it left off.
        """
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        while True:
            # From here to the return nothing waits, so that tasks may share the session.
            record = await anext(self._session)
            try:
                assembled = self._assembled(record)
                if assembled is None:
                    continue
                message = self._deserialized(assembled)
            except Exception as exc:
                self._failure = exc
                await self._session.aclose()
                raise
            self._range = assembled.range
            self._checkpoint = self._reassembly.checkpoint
            return message

    def _assembled(self, record: SequencedRecord) -> Assembled | None:
        try:
            assembled = self._reassembly.push(record)
        except (FrameSizeError, MalformedHeader) as exc:
            _say_how_to_go_on(exc, MessageRange(record.seq_num, record.seq_num + 1))
            raise
        if assembled is None:
            self._checkpoint = self._reassembly.checkpoint
        return assembled

    def _deserialized(self, assembled: Assembled) -> Message:
        try:
            return self._deserialize(assembled.payload)
        except Exception as exc:
            _say_how_to_go_on(exc, assembled.range)
            raise

    async def __aenter__(self) -> DeserializingReadSession[Message]:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the read. Whoever waits for a message sees the end. Idempotent."""
        await self._session.aclose()


def _say_how_to_go_on(error: Exception, where: MessageRange) -> None:
    last = where.end - 1
    records = f"record {last}" if where.start == last else f"records {where.start} to {last}"
    error.add_note(f"in {records} of the stream; to go on behind it, read from sequence number {where.end}")
