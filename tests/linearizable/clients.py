"""Clients that do all that can be done to a few streams, at random, and write down what they are told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from perdure import (
    AppendRecord,
    FencingTokenMismatch,
    PerdureError,
    ReadUnwritten,
    RetryPolicy,
    SeqNum,
    SeqNumMismatch,
    Stream,
)
from perdure.client.retries import AppendRetryPolicy
from perdure.model.records import CommandKind, SequencedRecord, trim_point_of
from tests.linearizable.history import (
    FENCE,
    TRIM,
    Acked,
    Appended,
    Call,
    Followed,
    InDoubt,
    Operation,
    ReadOnce,
    ReadRefused,
    Seen,
    SeqNumRefused,
    TailChecked,
    TokenRefused,
)

NEVER_TWICE: Final = RetryPolicy(appends=AppendRetryPolicy.NO_SIDE_EFFECTS)
"""How a client over HTTP must retry here: a batch that is there twice is what the check is to find."""

MOST_READ: Final = 40
TOKENS: Final = ("", "one", "two")


class Recorder:
    """The history of one client, in the order of the answers."""

    def __init__(self, client: str, moment: Callable[[], int] = time.monotonic_ns) -> None:
        self.calls: list[Call] = []
        self._client = client
        self._moment = moment

    def begin(self) -> int:
        """The moment of a call, to be taken before it is made."""
        return self._moment()

    def end(self, stream: str, invoked: int, operation: Operation, *, answered: bool = True) -> None:
        returned = self._moment() if answered else None
        self.calls.append(Call(stream, self._client, invoked, returned, operation))


def record_of(text: str) -> AppendRecord:
    """The record that a text of a history stands for."""
    if text.startswith(FENCE):
        return AppendRecord.fence(text.removeprefix(FENCE))
    if text.startswith(TRIM):
        return AppendRecord.trim(int(text.removeprefix(TRIM)))
    return AppendRecord(text)


def seen(record: SequencedRecord) -> Seen:
    """A record in the words of a history."""
    match record.command:
        case CommandKind.FENCE:
            text = FENCE + record.text
        case CommandKind.TRIM:
            text = f"{TRIM}{trim_point_of(record.body)}"
        case _:
            text = record.text
    return Seen(record.seq_num, record.timestamp, text)


class Client:
    """One that does a thing after the other, on any of the streams."""

    def __init__(self, name: str, streams: Sequence[Stream], seed: int) -> None:
        self._name = name
        self.streams = streams
        self._random = random.Random(f"{seed} {name}")
        self._tails = {stream.name: 0 for stream in streams}
        self._tokens = {stream.name: "" for stream in streams}
        self._written = 0
        self.recorder = Recorder(name)

    async def act(self, times: int) -> None:
        """Do so many things; failures that leave a doubt are part of the history."""
        for _ in range(times):
            await self.act_once()

    async def act_once(self) -> None:
        stream = self._random.choice(self.streams)
        kinds = (self._append, self._append_at, self._append_fenced, self._fence, self._trim, self._read, self._look)
        await self._random.choices(kinds, weights=(40, 12, 12, 3, 3, 20, 10))[0](stream)

    def _texts(self) -> tuple[str, ...]:
        count = self._random.choice((1, 1, 1, 2, 3))
        self._written += count
        return tuple(f"{self._name}.{number}" for number in range(self._written - count, self._written))

    async def _append(self, stream: Stream) -> None:
        await self.append(stream, self._texts())

    async def _append_at(self, stream: Stream) -> None:
        """Where the tail was when last heard of, which somebody may have moved since."""
        await self.append(stream, self._texts(), match_seq_num=self._tails[stream.name])

    async def _append_fenced(self, stream: Stream) -> None:
        await self.append(stream, self._texts(), fencing_token=self._tokens[stream.name])

    async def _fence(self, stream: Stream) -> None:
        match = self._tails[stream.name] if self._random.random() < 0.3 else None
        token = self._tokens[stream.name] if self._random.random() < 0.3 else None
        records = (FENCE + self._random.choice(TOKENS), *self._texts())
        await self.append(stream, records, match_seq_num=match, fencing_token=token)

    async def _trim(self, stream: Stream) -> None:
        point = max(0, self._tails[stream.name] - self._random.randrange(MOST_READ))
        await self.append(stream, (f"{TRIM}{point}",))

    async def append(
        self,
        stream: Stream,
        texts: tuple[str, ...],
        *,
        match_seq_num: int | None = None,
        fencing_token: str | None = None,
    ) -> None:
        name, answered = stream.name, True
        outcome: Acked | SeqNumRefused | TokenRefused | InDoubt
        invoked = self.recorder.begin()
        try:
            ack = await stream.append(
                [record_of(text) for text in texts], match_seq_num=match_seq_num, fencing_token=fencing_token
            )
            outcome = Acked(ack.start.seq_num, ack.end.seq_num, ack.tail.seq_num)
            self._tails[name] = ack.tail.seq_num
            tokens = [text.removeprefix(FENCE) for text in texts if text.startswith(FENCE)]
            self._tokens[name] = tokens[-1] if tokens else self._tokens[name]
        except SeqNumMismatch as refused:
            self._tails[name] = refused.expected
            answered, outcome = not refused.in_doubt, SeqNumRefused(refused.expected)
        except FencingTokenMismatch as refused:
            self._tokens[name] = refused.expected
            answered, outcome = not refused.in_doubt, TokenRefused(refused.expected)
        except PerdureError as error:
            if error.has_no_side_effects:
                return  # as if it had never been made
            answered, outcome = False, InDoubt(f"{type(error).__name__}: {error}")
        if not answered:
            outcome = InDoubt(repr(outcome))
        operation = Appended(texts, outcome, match_seq_num, fencing_token)
        self.recorder.end(name, invoked, operation, answered=answered)

    async def _look(self, stream: Stream) -> None:
        invoked = self.recorder.begin()
        try:
            tail = (await stream.check_tail()).seq_num
        except PerdureError:
            return
        self._tails[stream.name] = tail
        self.recorder.end(stream.name, invoked, TailChecked(tail))

    async def _read(self, stream: Stream) -> None:
        start = max(0, self._tails[stream.name] - self._random.randrange(MOST_READ))
        await self.read(stream, start, self._random.randrange(1, MOST_READ))

    async def read(self, stream: Stream, start: int, count: int) -> int:
        """Read once, and give where to go on; `start` if nothing came."""
        invoked = self.recorder.begin()
        try:
            batch = await stream.read(SeqNum(start), count=count)
        except ReadUnwritten as nothing:
            self._tails[stream.name] = nothing.tail.seq_num
            self.recorder.end(stream.name, invoked, ReadRefused(start, nothing.tail.seq_num))
            return start
        except PerdureError:
            return start
        records = tuple(map(seen, batch.records))
        self.recorder.end(stream.name, invoked, ReadOnce(start, count, records))
        return records[-1].seq_num + 1 if records else start

    async def read_all(self) -> None:
        """Read each stream from its beginning to its tail, which settles what became of every batch in doubt."""
        for stream in self.streams:
            at, before = 0, -1
            while at != before:
                before, at = at, await self.read(stream, at, 1000)

    async def follow(self, stream: Stream) -> None:
        """Follow a stream until cancelled, through whatever happens to the connection."""
        at = 0
        while True:
            invoked = self.recorder.begin()
            try:
                async with stream.read_session(SeqNum(at)) as session:
                    async for record in session:
                        self.recorder.end(stream.name, invoked, Followed(seen(record)))
                        at = record.seq_num + 1
            except PerdureError:
                await asyncio.sleep(0.05)


async def run_clients(clients: Sequence[Client], times: int) -> list[Call]:
    """All of them at once, `times` things each, and then one that reads everything; gives the history."""
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.act(times))
    await clients[0].read_all()
    return [call for client in clients for call in client.recorder.calls]
