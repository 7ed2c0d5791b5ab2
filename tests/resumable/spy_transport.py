"""A store in this process that counts what is opened, remembers what is asked, and fails when it is told to."""

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakSet

from perdure.client.transports.local import LocalAppendChannel, LocalReadChannel, LocalTransport
from perdure.errors import TransportError
from perdure.model.batches import AppendAck, AppendInput, Part, ReadBatch
from perdure.model.configs import StreamConfig
from perdure.model.encryption import EncryptionKey
from perdure.model.reads import ReadRequest

AppendHook = Callable[[str, AppendInput], None]
"""Is given the stream and the batch before it is appended; what it raises is the append's outcome."""


def lost(batch: AppendInput) -> TransportError:
    return TransportError(f"the answer to {len(batch.records)} records was lost", may_have_applied=True)


class SpyTransport(LocalTransport):
    """`before_append` may refuse a batch; `lose_acks` counts the appends whose answer is to be lost."""

    before_append: AppendHook | None = None
    meanwhile: Callable[[AppendInput], Awaitable[None]] | None = None
    """What others do before a batch that is appended by itself arrives."""
    before_read: Callable[[str, ReadRequest], None] | None = None
    lose_acks = 0
    retry_lost = False
    """Whether a lost append is sent once more, as a transport over a network does."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # whatever the real one takes
        self.appends: list[tuple[str, AppendInput]] = []
        self.reads: list[tuple[str, ReadRequest]] = []
        self.open_appends = 0
        self.open_reads = 0
        self.opened_reads = 0
        self._read_channels = WeakSet[SpyReadChannel]()

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck:
        self.appends.append((name, batch))
        if self.before_append is not None:
            self.before_append(name, batch)
        if self.meanwhile is not None:
            await self.meanwhile(batch)
        ack = await super().append(basin, name, batch, key=key, config=config)
        if self.lose_acks:
            self.lose_acks -= 1
            if not self.retry_lost:
                raise lost(batch)
            return await super().append(basin, name, batch, key=key, config=config)
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
        self.reads.append((name, request))
        if self.before_read is not None:
            self.before_read(name, request)
        return await super().read(basin, name, request, key=key, config=config)

    async def open_append(  # type: ignore[override]  # wraps it
        self, basin: str, name: str, *, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> "SpyAppendChannel":
        channel = await super().open_append(basin, name, key=key, config=config)
        self.open_appends += 1
        return SpyAppendChannel(self, name, channel)

    async def open_read(  # type: ignore[override]  # wraps it
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
        on_interruption: Callable[[], None],
    ) -> "SpyReadChannel":
        if self.before_read is not None:
            self.before_read(name, request)
        channel = await super().open_read(basin, name, request, key=key, config=config, on_interruption=on_interruption)
        self.open_reads += 1
        self.opened_reads += 1
        spied = SpyReadChannel(self, channel)
        self._read_channels.add(spied)
        return spied

    def hold_back_readers(self) -> None:
        """Who reads on what is open now hears of nothing, until `let_readers_go_on`."""
        for channel in self._read_channels:
            channel.may_hear.clear()

    def let_readers_go_on(self) -> None:
        for channel in self._read_channels:
            channel.may_hear.set()


class SpyAppendChannel:
    def __init__(self, spy: SpyTransport, name: str, channel: LocalAppendChannel) -> None:
        self._spy = spy
        self._name = name
        self._channel = channel
        self._failure: BaseException | None = None

    def send(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        self._spy.appends.append((self._name, batch))
        if self._failure is None and self._spy.before_append is not None:
            try:
                self._spy.before_append(self._name, batch)
            except Exception as exc:
                self._failure = exc
        if self._failure is not None:
            future: asyncio.Future[AppendAck] = asyncio.get_running_loop().create_future()
            future.set_exception(self._failure)
            return future
        return self._channel.send(batch)

    async def aclose(self) -> None:
        self._spy.open_appends -= 1
        await self._channel.aclose()


class SpyReadChannel:
    def __init__(self, spy: SpyTransport, channel: LocalReadChannel) -> None:
        self._spy = spy
        self._channel = channel
        self.may_hear = asyncio.Event()
        self.may_hear.set()

    async def next(self) -> ReadBatch | None:
        batch = await self._channel.next()
        await self.may_hear.wait()
        return batch

    async def next_parts(self) -> tuple[Part, ...] | None:
        parts = await self._channel.next_parts()
        await self.may_hear.wait()
        return parts

    async def aclose(self) -> None:
        self._spy.open_reads -= 1
        await self._channel.aclose()
