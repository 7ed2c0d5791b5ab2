"""Appending messages of any size: serialise, cut, frame, count, append."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from ..client.append_session import AppendSession, AppendTicket
from ..client.batching import Batcher
from ..client.sources import give_each
from ..model.positions import check_u64
from ..model.records import AppendRecord
from .deduplication import new_writer_id, numbered
from .framing import DEFAULT_MAX_FRAME_BYTES, check_chunk_bytes, check_max_frame_bytes, check_message_bytes, frame
from .headers import MAX_CHUNK_BODY_BYTES
from .reassembly import MessageRange

Message = TypeVar("Message")


class SerializingAppendSession(Generic[Message]):
    """Messages to one stream, over an append session that belongs to this one from now on.

    ::

        events = JsonSerializer(Event)
        async with SerializingAppendSession(stream.append_session(), events.serialize, dedupe_seq=0) as session:
            await session.submit(Event("created"))  # returns when it is durable
            await session.write(Event("renamed"))   # returns when there is room for more

    One writer at a time: messages of two writers that append at once drop each other. A `match_seq_num` makes the
    second writer fail instead. With `dedupe_seq`, a session whose connection sends batches again after a failure has
    each message read once. After a crash, open a new session: its writer id is new, so it may count from 0 again, and
    readers drop what was left of a message.

    Messages go in the order of the calls, each whole. The first append that fails ends the session, as with
    `AppendSession`. Use it with `async with`: a clean exit is `aclose`; an exit by an error gives up what is not
    acknowledged yet, without waiting.
    """

    def __init__(
        self,
        session: AppendSession,
        serialize: Callable[[Message], bytes],
        *,
        chunk_bytes: int = MAX_CHUNK_BODY_BYTES,
        match_seq_num: int | None = None,
        dedupe_seq: int | None = None,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        fencing_token: str | None = None,
    ) -> None:
        """Nothing happens before the session is entered, or the first message.

        Args:
            session: where the records go; closed with this one.
            serialize: makes at least one byte of a message, without waiting.
            chunk_bytes: the largest body of a record; 1 to `MAX_CHUNK_BODY_BYTES`, which is the default.
            match_seq_num: the sequence number that the first record must get, and so on from there.
            dedupe_seq: the first record's count, for readers to tell what was sent twice; 0 is a good one. Without
                it, records do not say who wrote them.
            max_frame_bytes: the largest serialised message; 100 MiB. Readers refuse above a bound of their own.
            fencing_token: the token for every append.

        Raises `Invalid`.
        """
        self._session = session
        self._serialize = serialize
        self._chunk_bytes = check_chunk_bytes(chunk_bytes)
        self._match_seq_num = None if match_seq_num is None else check_u64(match_seq_num, "match_seq_num")
        self._dedupe_seq = None if dedupe_seq is None else check_u64(dedupe_seq, "dedupe_seq")
        self._max_frame_bytes = check_max_frame_bytes(max_frame_bytes)
        self._fencing_token = fencing_token
        self._writer_id = new_writer_id()
        self._turn = asyncio.Lock()  # for the records of a message to stay together; asyncio's lock is fair
        self._sink_failure: Exception | None = None

    @property
    def writer_id(self) -> str:
        """By which readers know the records of this session, if it counts them."""
        return self._writer_id

    async def submit(self, message: Message) -> MessageRange:
        """Append a message, a record at a time; returns where it is, once it is durable.

        Calls from several tasks are under way together.

        Raises:
            Invalid: the message serialises to nothing; FrameSizeError: to more than `max_frame_bytes`. Nothing was
                appended, and the session goes on. So it does after what the serialiser raises.
            SessionClosed, PerdureError: as for `AppendSession.submit`.

        A call that is cancelled leaves it open whether the message is appended; if only a part of it is, readers drop
        that part.
        """
        payload = self._checked(message)
        tickets: list[AppendTicket] = []
        async with self._turn:
            for record in self._records(payload):
                ticket = await self._append([record])
                if len(tickets) < 2:
                    tickets.append(ticket)
                else:
                    tickets[1] = ticket  # the first and the last are enough: answers come in order
        first = await tickets[0]
        last = await tickets[-1]
        return MessageRange(first.start.seq_num, last.end.seq_num)

    async def write(self, message: Message) -> None:
        """Hand a message over, in as few batches as it fits into; returns when there is room for more.

        It is durable when `aclose` has returned. The first message that fails, for whatever reason, is the last one
        that is written: every later call fails with the same error, so that what a loop writes has no hole. Raises as
        `submit` does.
        """
        if self._sink_failure is not None:
            raise self._sink_failure.with_traceback(None)
        try:
            payload = self._checked(message)
            async with self._turn:
                for batch in _batches(self._records(payload)):
                    _ = await self._append(batch)
        except Exception as exc:
            self._sink_failure = exc
            raise

    async def write_all(self, messages: AsyncIterable[Message] | Iterable[Message]) -> None:
        """`write` each message; the source is asked for the next one only when there is room. Raises as it does.

        A generator is closed at the end, however it comes to that.
        """
        await give_each(messages, self.write)

    def _checked(self, message: Message) -> bytes:
        payload = self._serialize(message)
        check_message_bytes(len(payload), self._max_frame_bytes)
        return payload

    def _records(self, payload: bytes) -> Iterator[AppendRecord]:
        records = frame(payload, chunk_bytes=self._chunk_bytes)
        if self._dedupe_seq is None:
            return records
        seq, writer_id = self._dedupe_seq, self._writer_id
        return (numbered(record, writer_id, seq + index) for index, record in enumerate(records))

    async def _append(self, records: list[AppendRecord]) -> AppendTicket:
        ticket = await self._session.submit(
            records, match_seq_num=self._match_seq_num, fencing_token=self._fencing_token
        )
        # Only now: a record that was not taken, say because the call was cancelled, must not count.
        if self._match_seq_num is not None:
            self._match_seq_num += len(records)
        if self._dedupe_seq is not None:
            self._dedupe_seq += len(records)
        return ticket

    async def __aenter__(self) -> SerializingAppendSession[Message]:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            await self.aclose()
        else:
            await self.abandon()

    async def aclose(self) -> None:
        """Take no more messages, wait until all are durable, and close the append session. Idempotent.

        Raises what ended the session, if something did. Cancelling it abandons what is still in flight.
        """
        await self._session.aclose()

    async def abandon(self) -> None:
        """Close without waiting: what is not acknowledged yet may be appended or not. Never raises what ended it."""
        await self._session.abandon()


def _batches(records: Iterator[AppendRecord]) -> Iterator[list[AppendRecord]]:
    batcher = Batcher()
    for record in records:
        yield from batcher.add(record, now=0.0)  # nothing waits for company here: the rest is flushed at once
    if len(batcher):
        yield batcher.flush()
