"""The operations of the store on streams and records, over any engine; those on the account it inherits.

This is where the API's meaning lives: names and limits are checked, missing streams are created where
the basin says so, unary reads get their caps. What it leaves to others: how bytes look on the wire
(`wire`), who may do it (`server`), where it is kept (the engine).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from ..errors import StreamNotFound
from ..model.access_tokens import Operation
from ..model.batches import AppendAck, AppendInput, ReadBatch
from ..model.configs import (
    Cipher,
    StreamConfig,
    StreamReconfiguration,
)
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_PAGE_ITEMS, MAX_READ_BYTES, MAX_READ_RECORDS, MAX_WAIT_SECS
from ..model.names import (
    check_basin_name,
    check_request_token,
    check_stream_name,
    check_stream_prefix,
)
from ..model.positions import StreamPosition
from ..model.reads import ReadLimits, ReadRequest
from ..model.resources import Page, Provisioned, ProvisionResult, StreamInfo
from . import catalogue, ciphers
from .account import DEFAULT_LOCATION, Account, page_limit, page_of, utc_now
from .append_session import Appender
from .catalogue import BasinEntry, CreateOn, StreamChange, StreamEntry
from .engine import Engine
from .read_session import HEARTBEAT_SECS, ReadSession, heartbeat_gap
from .sealing import Seal
from .usage_recorder import UsageRecorder

T = TypeVar("T")

KNOWN_STREAMS: Final = 65_536
"""How many names are remembered with their incarnation; a stale one costs one more look-up."""


class _SealsItsRecords(Exception):
    """The stream has a cipher."""


class StreamStore(Account):
    """The store's operations. It owns nothing: whoever opened the engine closes it.

    With `usage`, what is done is counted there. Without, nothing is, and the metrics tell what others counted.
    `location` is the name of the one place where everything is kept. A silent read session sends a heartbeat after a
    random gap within `heartbeat_secs`.
    """

    def __init__(
        self,
        engine: Engine,
        usage: UsageRecorder | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
        known_streams: int = KNOWN_STREAMS,
        location: str = DEFAULT_LOCATION,
        heartbeat_secs: tuple[float, float] = HEARTBEAT_SECS,
    ) -> None:
        super().__init__(engine, usage, now=now, location=location)
        self._heartbeat_secs = heartbeat_secs
        self._known_bound = known_streams
        self._known: OrderedDict[tuple[str, str], StreamEntry] = OrderedDict()
        self._ciphers: set[Cipher] = set()

    # Streams --------------------------------------------------------------------------------------

    async def list_streams(
        self, basin: str, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[StreamInfo]:
        """One page of a basin's streams in order of their names; empty for an unknown basin."""
        check_basin_name(basin)
        check_stream_prefix(prefix)
        check_stream_prefix(start_after, "start_after")
        size = page_limit(limit)
        entries, more = page_of(await self._engine.list_streams(basin, prefix, start_after, size + 1), size)
        self.count(Operation.LIST_STREAMS, basin)
        return Page(tuple(entry.info() for entry in entries), more)

    async def create_stream(
        self, basin: str, name: str, config: StreamConfig | None = None, *, request_token: str | None = None
    ) -> Provisioned[StreamInfo]:
        """Create a stream. Raises `ResourceExists` unless it is a retry with the same request token."""
        self._check_names(basin, name)
        if request_token is not None:
            check_request_token(request_token)
        now = self._now()

        def decide(parent: BasinEntry | None, existing: StreamEntry | None) -> StreamChange:
            return catalogue.create_stream(parent, existing, basin, name, config, request_token, now)

        change = await self._engine.change_stream(basin, name, decide)
        self.count(Operation.CREATE_STREAM, basin)
        return Provisioned(change.entry.info(), change.result)

    async def ensure_stream(self, basin: str, name: str, config: StreamConfig | None = None) -> Provisioned[StreamInfo]:
        """Create the stream, or replace its configuration by `config` over the basin's defaults."""
        self._check_names(basin, name)
        now = self._now()
        change = await self._engine.change_stream(
            basin,
            name,
            lambda parent, existing: catalogue.ensure_stream(parent, existing, basin, name, config, now),
        )
        created = change.result is ProvisionResult.CREATED
        self.count(Operation.CREATE_STREAM if created else Operation.RECONFIGURE_STREAM, basin)
        return Provisioned(change.entry.info(), change.result)

    async def get_stream_config(self, basin: str, name: str) -> StreamConfig:
        """The configuration that the stream works by, with every field set."""
        self._check_names(basin, name)
        entry = catalogue.live_stream(basin, name, await self._engine.stream(basin, name))
        self.count(Operation.GET_STREAM_CONFIG, basin)
        return entry.config.as_layer()

    async def reconfigure_stream(self, basin: str, name: str, change: StreamReconfiguration) -> StreamConfig:
        """Merge `change` into the stream's configuration and give the whole of it."""
        self._check_names(basin, name)
        outcome = await self._engine.change_stream(
            basin,
            name,
            lambda parent, existing: catalogue.change_stream(parent, existing, basin, name, change),
        )
        self.count(Operation.RECONFIGURE_STREAM, basin)
        return outcome.entry.config.as_layer()

    async def delete_stream(self, basin: str, name: str) -> None:
        """Close the stream to all use; its records and then its name go in the background."""
        self._check_names(basin, name)
        now = self._now()
        await self._engine.change_stream(
            basin, name, lambda _, existing: catalogue.delete_stream(existing, basin, name, now)
        )
        self._known.pop((basin, name), None)
        self.count(Operation.DELETE_STREAM, basin)

    # Records --------------------------------------------------------------------------------------

    # Where `config` is a parameter, it is that of the stream if it is created here, over the basin's defaults.

    async def check_tail(self, basin: str, name: str, config: StreamConfig | None = None) -> StreamPosition:
        """The tail: the next sequence number, and the timestamp of the last record."""
        self._check_names(basin, name)
        entry = self._known.get((basin, name)) or await self._entry(basin, name, create_on="read", config=config)
        try:
            state = await self._engine.state(entry.stream_id)
        except StreamNotFound:
            entry = await self._entry(basin, name, create_on="read", config=config)
            state = await self._engine.state(entry.stream_id)
        self.count(Operation.CHECK_TAIL, basin)
        return state.position

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck:
        """Append a batch; returns when it is durable. Raises what `sequencing.sequence` and `Seal.of` raise."""
        entry = self._known.get((basin, name))
        if entry is None:
            ack = await self._append_first(basin, name, batch, key, config)
        else:
            try:
                ack = await self._engine.append(entry.stream_id, await self._sealed(entry, key, batch))
            except StreamNotFound:  # the name we knew was deleted, perhaps created anew
                ack = await self._append_first(basin, name, batch, key, config)
        if self._counters is not None:
            self._counters.appended(basin, batch.metered_bytes)
        return ack

    async def _append_first(
        self, basin: str, name: str, batch: AppendInput, key: EncryptionKey | None, config: StreamConfig | None
    ) -> AppendAck:
        """Append to a stream that is not known here, and may have to be created: one transaction, without a look."""
        self._check_names(basin, name)
        now = self._now()

        def decide(parent: BasinEntry | None, existing: StreamEntry | None) -> StreamChange:
            if existing is None:
                catalogue.check_auto_create(parent, basin, name, "append")
            change = catalogue.auto_create_stream(parent, existing, basin, name, config, now)
            if change.entry.cipher is not None:
                raise _SealsItsRecords  # to seal the batch takes the stream, and must not happen in a transaction
            return change

        try:
            entry, ack = await self._engine.append_first(basin, name, decide, batch)
        except _SealsItsRecords:
            entry = await self._entry(basin, name, create_on="append", config=config)
            return await self._engine.append(entry.stream_id, await self._sealed(entry, key, batch))
        self._remember(entry)
        return ack

    async def open_append_session(
        self, basin: str, name: str, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> Appender:
        """An append session on the stream, which is created here and now if it may be."""
        entry = await self._entry(basin, name, create_on="append", config=config)
        return Appender(self._engine, entry, await self._seal(entry, key), self._counters)

    async def open_read_session(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadSession:
        """A read session; raises `ReadUnwritten` if it starts beyond the tail. The caller closes it."""
        session = await self._open_read(basin, name, request, key, config)
        if self._counters is not None:
            self._counters.opened_read_session(basin)
        return session

    async def _open_read(
        self, basin: str, name: str, request: ReadRequest, key: EncryptionKey | None, config: StreamConfig | None
    ) -> ReadSession:
        entry = self._known.get((basin, name)) or await self._entry(basin, name, create_on="read", config=config)
        try:
            return await self._read_session(entry, request, key)
        except StreamNotFound:
            return await self._read_session(
                await self._entry(basin, name, create_on="read", config=config), request, key
            )

    async def _read_session(self, entry: StreamEntry, request: ReadRequest, key: EncryptionKey | None) -> ReadSession:
        meter = None if self._counters is None else partial(self._counters.handed_out, entry.basin)
        seal = await self._seal(entry, key)
        return await ReadSession.open(
            self._engine,
            entry.stream_id,
            request,
            seal=seal,
            meter=meter,
            heartbeat_gap=partial(heartbeat_gap, *self._heartbeat_secs),
        )

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch:
        """One read of at most 1000 records and 1 MiB; `wait` is capped at 60 s (section 6.6)."""
        limits = request.limits
        capped = ReadRequest(
            request.start,
            ReadLimits(
                count=MAX_READ_RECORDS if limits.count is None else min(limits.count, MAX_READ_RECORDS),
                bytes=MAX_READ_BYTES if limits.bytes is None else min(limits.bytes, MAX_READ_BYTES),
                until=limits.until,
            ),
            request.clamp,
            None if request.wait is None else min(request.wait, MAX_WAIT_SECS),
        )
        async with await self._open_read(basin, name, capped, key, config) as session:
            if self._counters is not None:
                self._counters.read(basin)
            caught_up: list[ReadBatch] = []
            async for delivery in session:
                if delivery.is_heartbeat:
                    if caught_up:
                        break  # there were records: they are returned without waiting
                    continue
                batch = delivery.decoded()
                if batch.tail is not None:
                    return ReadBatch(tuple(r for b in caught_up for r in b.records), None) if caught_up else batch
                caught_up.append(batch)
            return ReadBatch(tuple(record for batch in caught_up for record in batch.records))

    # Sealed streams -------------------------------------------------------------------------------

    async def _seal(self, entry: StreamEntry, key: EncryptionKey | None) -> Seal | None:
        """What seals and opens the stream's records with `key`; None if they are kept in plain text."""
        cipher = entry.cipher
        if cipher is not None and cipher not in self._ciphers:
            await asyncio.to_thread(ciphers.load, cipher)
            self._ciphers.add(cipher)
        return Seal.of(entry, key)

    async def _sealed(self, entry: StreamEntry, key: EncryptionKey | None, batch: AppendInput) -> AppendInput:
        seal = await self._seal(entry, key)
        return batch if seal is None else seal.seal(batch)

    # Finding streams ------------------------------------------------------------------------------

    def _check_names(self, basin: str, name: str) -> None:
        check_basin_name(basin)
        check_stream_name(name)

    async def _entry(self, basin: str, name: str, *, create_on: CreateOn, config: StreamConfig | None) -> StreamEntry:
        """The live stream of this name; created if it is missing and the basin says so."""
        self._check_names(basin, name)
        entry = await self._engine.stream(basin, name)
        if entry is None:
            entry = await self._auto_create(basin, name, create_on, config)
        catalogue.live_stream(basin, name, entry)
        self._remember(entry)
        return entry

    def _remember(self, entry: StreamEntry) -> None:
        place = entry.basin, entry.name
        self._known[place] = entry
        self._known.move_to_end(place)
        if len(self._known) > self._known_bound:
            self._known.popitem(last=False)

    async def _auto_create(
        self, basin: str, name: str, create_on: CreateOn, config: StreamConfig | None
    ) -> StreamEntry:
        catalogue.check_auto_create(await self._engine.basin(basin), basin, name, create_on)
        now = self._now()
        change = await self._engine.change_stream(
            basin,
            name,
            lambda live, existing: catalogue.auto_create_stream(live, existing, basin, name, config, now),
        )
        return change.entry
