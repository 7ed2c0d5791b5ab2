"""Requests to a store in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ...errors import UsageError
from ...model.access_tokens import AccessTokenInfo
from ...model.batches import AppendAck, AppendInput, Part, ReadBatch
from ...model.configs import BasinConfig, BasinReconfiguration, StreamConfig, StreamReconfiguration
from ...model.encryption import EncryptionKey
from ...model.limits import MAX_READ_RECORDS
from ...model.metrics import AccountMetricSet, BasinMetricSet, Metric, MetricsQuery, StreamMetricSet
from ...model.positions import StreamPosition
from ...model.reads import ReadRequest
from ...model.records import SequencedRecord
from ...model.resources import BasinInfo, LocationInfo, Page, Provisioned, StreamInfo
from ...store.append_session import Appender
from ...store.engine import Engine
from ...store.observer import Measuring
from ...store.opening import check_where, open_engine, shown
from ...store.read_session import ReadSession
from ...store.reading import Delivery
from ...store.service import StreamStore
from ...store.usage_recorder import UsageRecorder
from ..home_loop import HomeLoop

MAX_SHARED_BYTES: Final = 64 * 1024
"""A decoded block of this size at most is kept for the next who is handed it; what follows live is mostly smaller."""


MAX_PARTED_RECORDS: Final = 4 * MAX_READ_RECORDS
"""How many records come at once as bodies, where the API's batches end at 1,000: each step costs two hand-overs between
threads. The first step is no larger than a batch, and each of the next is twice the one before, so that the first bytes
come soon, and a reader that takes nothing any more holds little: after a restart, thousands may come at once."""


class LocalTransport:
    """A `Transport` over a store whose engine it opens, owns and closes. What is done with it counts as usage."""

    def __init__(self, open_engine: Callable[[], Awaitable[Engine]], location: str = "embedded") -> None:
        """`location` is what it is called."""
        self._location = location
        self._open_engine = open_engine
        self._owned = AsyncExitStack()
        self._home = HomeLoop()
        self._opened: StreamStore | None = None
        self._decoding = SharedDecoding()

    @classmethod
    def at(cls, location: str | os.PathLike[str]) -> LocalTransport:
        """The store at `location`: a directory, or ":memory:". Raises `UsageError` for anything else."""
        where = os.fspath(location)
        check_where(where)
        return cls(partial(open_engine, where, Measuring()), shown(where))

    def __repr__(self) -> str:
        return self._location

    async def open(self) -> None:
        self._home.check()
        async with AsyncExitStack() as opening:
            engine = await self._open_engine()
            opening.push_async_callback(engine.aclose)
            usage = await opening.enter_async_context(UsageRecorder(engine.usage))
            self._opened = StreamStore(engine, usage)
            self._owned = opening.pop_all()

    async def aclose(self) -> None:
        if self._opened is not None:
            self._home.check()
        owned, self._owned, self._opened = self._owned, AsyncExitStack(), None
        await owned.aclose()

    @property
    def _store(self) -> StreamStore:
        if self._opened is None:
            raise UsageError("the store is not open: use the client inside `async with`")
        self._home.check()
        return self._opened

    async def list_basins(self, *, prefix: str, start_after: str, limit: int) -> Page[BasinInfo]:
        return await self._store.list_basins(prefix=prefix, start_after=start_after, limit=limit)

    async def create_basin(
        self, name: str, config: BasinConfig, *, location: str | None, request_token: str
    ) -> Provisioned[BasinInfo]:
        return await self._store.create_basin(name, config, request_token=request_token, location=location)

    async def ensure_basin(self, name: str, config: BasinConfig, *, location: str | None) -> Provisioned[BasinInfo]:
        return await self._store.ensure_basin(name, config, location=location)

    async def get_basin_config(self, name: str) -> BasinConfig:
        return await self._store.get_basin_config(name)

    async def reconfigure_basin(self, name: str, change: BasinReconfiguration) -> BasinConfig:
        return await self._store.reconfigure_basin(name, change)

    async def delete_basin(self, name: str) -> None:
        await self._store.delete_basin(name)

    async def list_access_tokens(self, *, prefix: str, start_after: str, limit: int) -> Page[AccessTokenInfo]:
        return await self._store.list_access_tokens(prefix=prefix, start_after=start_after, limit=limit)

    async def issue_access_token(self, wanted: AccessTokenInfo) -> str:
        # Without an issuer, so as the root does: whoever can open the directory may do everything.
        return await self._store.issue_access_token(wanted)

    async def revoke_access_token(self, token_id: str) -> None:
        await self._store.revoke_access_token(token_id)

    async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        return await self._store.account_metrics(metric_set, query)

    async def basin_metrics(self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        return await self._store.basin_metrics(basin, metric_set, query)

    async def stream_metrics(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]:
        return await self._store.stream_metrics(basin, name, metric_set, query)

    async def list_locations(self) -> tuple[LocationInfo, ...]:
        return await self._store.list_locations()

    async def get_default_location(self) -> LocationInfo:
        return await self._store.get_default_location()

    async def set_default_location(self, name: str) -> LocationInfo:
        return await self._store.set_default_location(name)

    async def list_streams(self, basin: str, *, prefix: str, start_after: str, limit: int) -> Page[StreamInfo]:
        return await self._store.list_streams(basin, prefix=prefix, start_after=start_after, limit=limit)

    async def create_stream(
        self, basin: str, name: str, config: StreamConfig, *, request_token: str
    ) -> Provisioned[StreamInfo]:
        return await self._store.create_stream(basin, name, config, request_token=request_token)

    async def ensure_stream(self, basin: str, name: str, config: StreamConfig) -> Provisioned[StreamInfo]:
        return await self._store.ensure_stream(basin, name, config)

    async def get_stream_config(self, basin: str, name: str) -> StreamConfig:
        return await self._store.get_stream_config(basin, name)

    async def reconfigure_stream(self, basin: str, name: str, change: StreamReconfiguration) -> StreamConfig:
        return await self._store.reconfigure_stream(basin, name, change)

    async def delete_stream(self, basin: str, name: str) -> None:
        await self._store.delete_stream(basin, name)

    async def check_tail(self, basin: str, name: str, *, config: StreamConfig | None = None) -> StreamPosition:
        return await self._store.check_tail(basin, name, config)

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck:
        return await self._store.append(basin, name, batch, key, config)

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch:
        return await self._store.read(basin, name, request, key, config)

    async def open_append(
        self, basin: str, name: str, *, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> LocalAppendChannel:
        return LocalAppendChannel(await self._store.open_append_session(basin, name, key, config))

    async def open_read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
        on_interruption: Callable[[], None],
    ) -> LocalReadChannel:
        # `on_interruption` is never called: nothing stands between this reader and the store.
        return LocalReadChannel(await self._store.open_read_session(basin, name, request, key, config), self._decoding)


class LocalAppendChannel:
    """Batches straight to the engine's queue: its future is the session's."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    def send(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        return self._appender.submit(batch)

    async def aclose(self) -> None:
        """Nothing to release: the lane ends with its last batch."""


class SharedDecoding:
    """Decodes what is handed out, the same block only once in a row.

    All who follow a stream are handed the same block, one right after the other; with a thousand tabs on one chat,
    decoding it for each of them would be a third of the work.
    """

    def __init__(self) -> None:
        self._block = b""
        self._records: tuple[SequencedRecord, ...] = ()
        self._parted = b""
        self._parts: tuple[Part, ...] = ()

    def parts(self, delivery: Delivery) -> tuple[Part, ...]:
        """The delivery as bodies, but for what has headers."""
        if len(delivery.blocks) != 1 or len(delivery.blocks[0]) > MAX_SHARED_BYTES:
            return delivery.parts()
        if delivery.blocks[0] is not self._parted:
            self._parts, self._parted = delivery.parts(), delivery.blocks[0]
        return self._parts

    def batch(self, delivery: Delivery) -> ReadBatch:
        """The delivery as values."""
        if len(delivery.blocks) != 1 or len(delivery.blocks[0]) > MAX_SHARED_BYTES:
            return delivery.decoded()
        if delivery.blocks[0] is not self._block:
            self._records = delivery.decoded().records
            self._block = delivery.blocks[0]
        return ReadBatch(self._records, delivery.tail)


class LocalReadChannel:
    """The store's own read session, in values."""

    def __init__(self, session: ReadSession, decoding: SharedDecoding) -> None:
        self._session = session
        self._decoding = decoding
        self._parted_records = MAX_READ_RECORDS

    async def next(self) -> ReadBatch | None:
        delivery = await self._session.next()
        return None if delivery is None else self._decoding.batch(delivery)

    async def next_parts(self) -> tuple[Part, ...] | None:
        delivery = await self._session.next(self._parted_records)
        self._parted_records = min(2 * self._parted_records, MAX_PARTED_RECORDS)
        return None if delivery is None else self._decoding.parts(delivery)

    async def aclose(self) -> None:
        self._session.close()
