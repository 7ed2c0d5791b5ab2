"""Processes on one store, each with a link to it that can hang, break and heal; and the ledger of what was written."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import cast

from perdure.client.transports.local import LocalAppendChannel, LocalReadChannel, LocalTransport
from perdure.errors import TransportError
from perdure.model.batches import AppendAck, AppendInput, Part, ReadBatch
from perdure.model.configs import StreamConfig
from perdure.model.encryption import EncryptionKey
from perdure.model.positions import StreamPosition
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord, CommandKind
from perdure.store.engine import Engine
from tests.jumping_loop import the_loop


@dataclass(frozen=True)
class Written:
    """A record of the ledger: who wrote it, and under which token."""

    seq_num: int
    record: AppendRecord
    process: str
    token: str | None

    @property
    def text(self) -> str:
        return self.record.body.decode(errors="replace")  # the body of a trim is binary

    @property
    def command(self) -> CommandKind | None:
        return self.record.command

    @property
    def is_data(self) -> bool:
        return self.command is None


class Ledger:
    """Everything that was ever appended, also what was trimmed since."""

    def __init__(self) -> None:
        self._written: defaultdict[str, dict[int, Written]] = defaultdict(dict)

    def add(self, name: str, process: str, batch: AppendInput, ack: AppendAck) -> None:
        for seq_num, record in enumerate(batch.records, ack.start.seq_num):
            assert seq_num not in self._written[name], f"two records got number {seq_num} of {name!r}"
            self._written[name][seq_num] = Written(seq_num, record, process, batch.fencing_token)

    def log(self, name: str) -> list[Written]:
        written = self._written[name]
        assert sorted(written) == list(range(len(written))), f"{name!r} has gaps"
        return [written[seq_num] for seq_num in range(len(written))]

    @property
    def names(self) -> list[str]:
        return sorted(self._written)


class LinkState(Enum):
    WORKS = "works"
    HANGS = "hangs"
    """What was sent may arrive, no answer does, until the link works again."""
    BROKEN = "broken"
    """Everything fails at once; of what was under way nobody knows whether it arrived."""


class Link:
    """What is between a process and the store."""

    def __init__(self) -> None:
        self.state = LinkState.WORKS
        self.was_disturbed = False
        self._changed = asyncio.Event()

    def become(self, state: LinkState) -> None:
        self.state = state
        self.was_disturbed = self.was_disturbed or state is not LinkState.WORKS
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def passed(self) -> None:
        """Wait until the link works; raises while it is broken."""
        while self.state is LinkState.HANGS:
            await self._changed.wait()
        if self.state is LinkState.BROKEN:
            raise broken()


def broken() -> TransportError:
    return TransportError("the link to the store is broken", may_have_applied=True)


class LinkedTransport(LocalTransport):
    """The store as one process sees it."""

    def __init__(self, open_engine: Callable[[], Awaitable[Engine]], process: str, ledger: Ledger) -> None:
        super().__init__(open_engine)
        self.link = Link()
        self.process = process
        self.ledger = ledger
        self.open_channels = 0

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck:
        await self.link.passed()
        # In a task: who gives up waiting for the answer does not undo the append.
        arriving = asyncio.get_running_loop().create_task(self._append(basin, name, batch))
        try:
            ack = await asyncio.shield(arriving)
        except asyncio.CancelledError:
            arriving.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise
        await self.link.passed()
        return ack

    async def _append(self, basin: str, name: str, batch: AppendInput) -> AppendAck:
        with the_loop().elsewhere():
            ack = await super().append(basin, name, batch)
        self.ledger.add(name, self.process, batch, ack)
        return ack

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch:
        await self.link.passed()
        with the_loop().elsewhere():
            batch = await super().read(basin, name, request, key=key, config=config)
        await self.link.passed()
        return batch

    async def check_tail(self, basin: str, name: str, *, config: StreamConfig | None = None) -> StreamPosition:
        await self.link.passed()
        with the_loop().elsewhere():
            return await super().check_tail(basin, name, config=config)

    async def open_append(  # type: ignore[override]  # wraps it
        self, basin: str, name: str, *, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> "LinkedAppendChannel":
        await self.link.passed()
        with the_loop().elsewhere():
            channel = await super().open_append(basin, name, key=key, config=config)
        return LinkedAppendChannel(self, name, channel)

    async def open_read(  # type: ignore[override]  # wraps it
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
        on_interruption: Callable[[], None],
    ) -> "LinkedReadChannel":
        await self.link.passed()
        with the_loop().elsewhere():
            channel = await super().open_read(
                basin, name, request, key=key, config=config, on_interruption=on_interruption
            )
        return LinkedReadChannel(self, channel)


class LinkedAppendChannel:
    """Batches in order; what is sent while the link hangs arrives when it works again."""

    def __init__(self, transport: LinkedTransport, name: str, channel: LocalAppendChannel) -> None:
        self._transport = transport
        self._name = name
        self._channel = channel
        self._waiting: asyncio.Queue[tuple[AppendInput, asyncio.Future[AppendAck]]] = asyncio.Queue()
        self._pending: list[asyncio.Future[AppendAck]] = []
        transport.open_channels += 1
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._carry())]
        self._failure: Exception | None = None
        self._answers: asyncio.Queue[tuple[asyncio.Future[AppendAck], asyncio.Future[AppendAck]]] = asyncio.Queue()
        self._tasks.append(loop.create_task(self._answer()))

    def send(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        answer: asyncio.Future[AppendAck] = asyncio.get_running_loop().create_future()
        if self._failure is not None:
            answer.set_exception(self._failure)
        else:
            self._pending.append(answer)
            self._waiting.put_nowait((batch, answer))
        return answer

    async def _carry(self) -> None:
        try:
            while True:
                batch, answer = await self._waiting.get()
                await self._transport.link.passed()
                with the_loop().elsewhere():
                    future = self._channel.send(batch)
                    future.add_done_callback(partial(self._arrived, batch))
                    await asyncio.wait((future,))
                self._answers.put_nowait((future, answer))
        except Exception as exc:
            self._fail(exc)

    def _arrived(self, batch: AppendInput, done: asyncio.Future[AppendAck]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._transport.ledger.add(self._name, self._transport.process, batch, done.result())

    async def _answer(self) -> None:
        try:
            while True:
                future, answer = await self._answers.get()
                await self._transport.link.passed()
                ack = await future
                self._pending.remove(answer)
                if not answer.cancelled():
                    answer.set_result(ack)
        except Exception as exc:
            self._fail(exc)

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        for answer in self._pending:
            if not answer.done():
                answer.set_exception(self._failure)
        self._pending.clear()

    async def aclose(self) -> None:
        self._transport.open_channels -= 1
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._channel.aclose()


class LinkedReadChannel:
    def __init__(self, transport: LinkedTransport, channel: LocalReadChannel) -> None:
        self._transport = transport
        self._channel = channel
        self._next: asyncio.Task[ReadBatch | None] | None = None
        transport.open_channels += 1

    async def next(self) -> ReadBatch | None:
        await self._transport.link.passed()
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._channel.next())
        await asyncio.wait((self._next,))
        await self._transport.link.passed()
        done, self._next = self._next, None
        return done.result()

    async def next_parts(self) -> tuple[Part, ...] | None:
        batch = await self.next()
        return None if batch is None else (batch,)

    async def aclose(self) -> None:
        self._transport.open_channels -= 1
        reading, self._next = self._next, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait((reading,))
            reading.cancelled() or reading.exception()
        await self._channel.aclose()


class _Unclosed:
    """An engine that outlives the client that uses it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def aclose(self) -> None:
        """Whoever opened it closes it."""


def shared(engine: Engine) -> Callable[[], Awaitable[Engine]]:
    """For several clients of one engine."""

    async def open_engine() -> Engine:
        return cast("Engine", _Unclosed(engine))

    return open_engine
