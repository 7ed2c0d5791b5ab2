"""The store as the holder of an issued token may use it: the one place that enforces tokens (store API, 8.3).

- Each operation names what it needs. A name outside the token's sets is refused like a missing operation, whether it
  exists or not, so a token never learns what is there.
- Creating a stream by the way (auto-create) needs nothing beyond the `append` or `read` that does it.
- A listing is narrowed to the token's set before it is made, so pages are full and `has_more` is true only of what the
  token may see.
- With auto-prefix, the token's prefix is put before stream names on the way in and taken off on the way out. The scope
  of a token that is issued holds full names all the same: it says what that token may do, whoever looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from msgspec.structs import replace

from ..errors import NotFound, PerdureError, PermissionDenied, ResourceExists
from ..model.access_tokens import AccessTokenInfo, ExactMatch, Operation, ResourceSet, with_prefix
from ..model.batches import AppendAck, AppendInput, ReadBatch
from ..model.configs import BasinConfig, BasinReconfiguration, StreamConfig, StreamReconfiguration
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_PAGE_ITEMS
from ..model.metrics import (
    AccountMetricSet,
    BasinMetricSet,
    LabelMetric,
    Metric,
    MetricsQuery,
    StreamMetricSet,
)
from ..model.names import check_stream_name
from ..model.positions import StreamPosition
from ..model.reads import ReadRequest
from ..model.records import CommandKind
from ..model.resources import BasinInfo, LocationInfo, Page, Provisioned, StreamInfo
from ..store.reading import Delivery
from .grants import Grant
from .served_store import ServedAppender, ServedReadSession, WholeStore

T = TypeVar("T")
Named = TypeVar("Named", BasinInfo, StreamInfo, AccessTokenInfo)

_COMMANDS: Final = {CommandKind.FENCE: Operation.FENCE, CommandKind.TRIM: Operation.TRIM}
_ALL_COMMANDS: Final = frozenset(_COMMANDS.values())
_NOTHING_SET: Final = BasinConfig()


class _Listing(Protocol[T]):
    def __call__(self, *, prefix: str, start_after: str, limit: int) -> Awaitable[Page[T]]: ...


class GuardedStore:
    """A `ServedStore` that does what `grant` permits."""

    __slots__ = ("_grant", "_store")

    def __init__(self, store: WholeStore, grant: Grant) -> None:
        self._store = store
        self._grant = grant

    # Basins ---------------------------------------------------------------------------------------

    async def list_basins(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[BasinInfo]:
        self._permit(Operation.LIST_BASINS)
        return await _listed(self._store.list_basins, self._grant.basins, prefix, start_after, limit)

    async def create_basin(
        self,
        name: str,
        config: BasinConfig = _NOTHING_SET,
        *,
        request_token: str | None = None,
        location: str | None = None,
    ) -> Provisioned[BasinInfo]:
        self._permit_basin(name, Operation.CREATE_BASIN)
        return await self._store.create_basin(name, config, request_token=request_token, location=location)

    async def ensure_basin(
        self, name: str, config: BasinConfig = _NOTHING_SET, *, location: str | None = None
    ) -> Provisioned[BasinInfo]:
        self._permit_basin(name, Operation.CREATE_BASIN, Operation.RECONFIGURE_BASIN)
        return await self._store.ensure_basin(name, config, location=location)

    async def get_basin_config(self, name: str) -> BasinConfig:
        self._permit_basin(name, Operation.GET_BASIN_CONFIG)
        return await self._store.get_basin_config(name)

    async def reconfigure_basin(self, name: str, change: BasinReconfiguration) -> BasinConfig:
        self._permit_basin(name, Operation.RECONFIGURE_BASIN)
        return await self._store.reconfigure_basin(name, change)

    async def delete_basin(self, name: str) -> None:
        self._permit_basin(name, Operation.DELETE_BASIN)
        await self._store.delete_basin(name)

    # Streams --------------------------------------------------------------------------------------

    async def list_streams(
        self, basin: str, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[StreamInfo]:
        self._permit_basin(basin, Operation.LIST_STREAMS)

        async def listing(*, prefix: str, start_after: str, limit: int) -> Page[StreamInfo]:
            return await self._store.list_streams(basin, prefix=prefix, start_after=start_after, limit=limit)

        own = self._grant.stream_prefix
        # An empty `start_after` becomes the prefix itself, whose stream would have an empty name.
        page = await _listed(listing, self._grant.streams, own + prefix, own + start_after, limit)
        return Page(tuple(self._short(info) for info in page.items), page.has_more) if own else page

    async def create_stream(
        self, basin: str, name: str, config: StreamConfig | None = None, *, request_token: str | None = None
    ) -> Provisioned[StreamInfo]:
        full = self._permit_stream(basin, name, Operation.CREATE_STREAM)
        made = await self._told(full, self._store.create_stream(basin, full, config, request_token=request_token))
        return Provisioned(self._short(made.info), made.result)

    async def ensure_stream(self, basin: str, name: str, config: StreamConfig | None = None) -> Provisioned[StreamInfo]:
        full = self._permit_stream(basin, name, Operation.CREATE_STREAM, Operation.RECONFIGURE_STREAM)
        made = await self._told(full, self._store.ensure_stream(basin, full, config))
        return Provisioned(self._short(made.info), made.result)

    async def get_stream_config(self, basin: str, name: str) -> StreamConfig:
        full = self._permit_stream(basin, name, Operation.GET_STREAM_CONFIG)
        return await self._told(full, self._store.get_stream_config(basin, full))

    async def reconfigure_stream(self, basin: str, name: str, change: StreamReconfiguration) -> StreamConfig:
        full = self._permit_stream(basin, name, Operation.RECONFIGURE_STREAM)
        return await self._told(full, self._store.reconfigure_stream(basin, full, change))

    async def delete_stream(self, basin: str, name: str) -> None:
        full = self._permit_stream(basin, name, Operation.DELETE_STREAM)
        await self._told(full, self._store.delete_stream(basin, full))

    # Records --------------------------------------------------------------------------------------

    async def check_tail(self, basin: str, name: str, config: StreamConfig | None = None) -> StreamPosition:
        full = self._permit_stream(basin, name, Operation.CHECK_TAIL)
        return await self._told(full, self._store.check_tail(basin, full, config))

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck:
        full = self._permit_stream(basin, name, Operation.APPEND)
        permit_commands(self._grant, batch)
        return await self._told(full, self._store.append(basin, full, batch, key, config))

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch:
        full = self._permit_stream(basin, name, Operation.READ)
        waiting = _Waiting(self._grant) if request.wait else None
        batch = await self._told(full, self._store.read(basin, full, request, key, config))
        if waiting is not None:
            waiting.check()
        return batch

    async def open_append_session(
        self, basin: str, name: str, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> GuardedAppender:
        full = self._permit_stream(basin, name, Operation.APPEND)
        appender = await self._told(full, self._store.open_append_session(basin, full, key, config))
        return GuardedAppender(appender, self._grant)

    async def open_read_session(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> GuardedReadSession:
        full = self._permit_stream(basin, name, Operation.READ)
        session = await self._told(full, self._store.open_read_session(basin, full, request, key, config))
        return GuardedReadSession(session, self._grant)

    # Metrics --------------------------------------------------------------------------------------

    async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        self._permit(Operation.ACCOUNT_METRICS)
        found = await self._store.account_metrics(metric_set, query)
        if metric_set is AccountMetricSet.ACTIVE_BASINS:
            return tuple(self._visible(metric) for metric in found)
        return found

    async def basin_metrics(self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        self._permit_basin(basin, Operation.BASIN_METRICS)
        return await self._store.basin_metrics(basin, metric_set, query)

    async def stream_metrics(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]:
        full = self._permit_stream(basin, name, Operation.STREAM_METRICS)
        return await self._told(full, self._store.stream_metrics(basin, full, metric_set, query))

    def _visible(self, metric: Metric) -> Metric:
        """A metric that names basins, with those that the token may see."""
        if not isinstance(metric, LabelMetric):
            return metric
        return replace(metric, values=tuple(name for name in metric.values if name in self._grant.basins))

    # Access tokens --------------------------------------------------------------------------------

    async def list_access_tokens(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[AccessTokenInfo]:
        self._permit(Operation.LIST_ACCESS_TOKENS)
        return await _listed(self._store.list_access_tokens, self._grant.tokens, prefix, start_after, limit)

    async def issue_access_token(self, wanted: AccessTokenInfo) -> str:
        self._permit_token(wanted.id, Operation.ISSUE_ACCESS_TOKEN)
        return await self._store.issue_access_token(wanted, self._grant.info)

    async def revoke_access_token(self, token_id: str) -> None:
        self._permit_token(token_id, Operation.REVOKE_ACCESS_TOKEN)
        await self._store.revoke_access_token(token_id)

    # Locations ------------------------------------------------------------------------------------

    async def list_locations(self) -> tuple[LocationInfo, ...]:
        self._permit(Operation.LIST_LOCATIONS)
        return await self._store.list_locations()

    async def get_default_location(self) -> LocationInfo:
        self._permit(Operation.GET_DEFAULT_LOCATION)
        return await self._store.get_default_location()

    async def set_default_location(self, name: str) -> LocationInfo:
        self._permit(Operation.SET_DEFAULT_LOCATION)
        return await self._store.set_default_location(name)

    # What the token permits -----------------------------------------------------------------------

    def _permit(self, *operations: Operation) -> None:
        self._grant.check()
        for operation in operations:
            if operation not in self._grant.operations:
                raise _lacks(operation)

    def _permit_basin(self, name: str, *operations: Operation) -> None:
        self._permit(*operations)
        if name not in self._grant.basins:
            raise PermissionDenied(f"the access token is not for basin `{name}`")

    def _permit_stream(self, basin: str, name: str, *operations: Operation) -> str:
        """The full name of the stream, if the token permits `operations` on it."""
        self._permit_basin(basin, *operations)
        if self._grant.stream_prefix:
            check_stream_name(name)  # what is asked for must be a name by itself
            return self._grant.stream_prefix + name
        if name not in self._grant.streams:
            raise PermissionDenied(f"the access token is not for stream `{name}`")
        return name

    def _permit_token(self, token_id: str, operation: Operation) -> None:
        self._permit(operation)
        if token_id not in self._grant.tokens:
            raise PermissionDenied(f"the access token is not for access token `{token_id}`")

    # Names on the way out -------------------------------------------------------------------------

    def _short(self, info: StreamInfo) -> StreamInfo:
        prefix = self._grant.stream_prefix
        return replace(info, name=info.name.removeprefix(prefix)) if prefix else info

    async def _told(self, full: str, call: Awaitable[T]) -> T:
        """The outcome of `call`; an error that names the stream names it as it was asked for."""
        try:
            return await call
        except (NotFound, ResourceExists) as exc:
            prefix = self._grant.stream_prefix
            if not prefix:
                raise
            raise type(exc)(exc.message.replace(f"`{full}`", f"`{full.removeprefix(prefix)}`")) from None


class GuardedAppender:
    """An append session that ends with its token, and at the first command that the token does not permit."""

    __slots__ = ("__weakref__", "_appender", "_grant", "_refusal")

    def __init__(self, appender: ServedAppender, grant: Grant) -> None:
        self._appender = appender
        self._grant = grant
        self._refusal: PerdureError | None = None
        grant.attach(self)

    def submit(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        """As a session goes: once a batch is refused, everything later is, and what came before is not touched."""
        if self._refusal is None:
            try:
                self._grant.check()
                permit_commands(self._grant, batch)
            except PerdureError as exc:
                self._refusal = exc
            else:
                return self._appender.submit(batch)
        refused: asyncio.Future[AppendAck] = asyncio.get_running_loop().create_future()
        refused.set_exception(self._refusal)
        return refused


class GuardedReadSession:
    """A read session that hands nothing out any more once its token has ended.

    A reader without news is told at its next heartbeat.
    """

    __slots__ = ("__weakref__", "_grant", "_session")

    def __init__(self, session: ServedReadSession, grant: Grant) -> None:
        self._session = session
        self._grant = grant
        grant.attach(self)

    async def next(self) -> Delivery | None:
        delivery = await self._session.next()
        if delivery is not None:
            try:
                self._grant.check()
            except PerdureError:
                self.close()
                raise
        return delivery

    def close(self) -> None:
        self._session.close()

    async def __aenter__(self) -> GuardedReadSession:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


class _Waiting:
    """A read that waits, maybe for longer than its token is in force."""

    __slots__ = ("__weakref__", "check")

    def __init__(self, grant: Grant) -> None:
        self.check: Callable[[], None] = grant.check
        grant.attach(self)


def permit_commands(grant: Grant, batch: AppendInput) -> None:
    """Raise `PermissionDenied` if the batch holds a command that the token does not permit."""
    if grant.operations >= _ALL_COMMANDS:
        return
    for record in batch.records:
        if record.headers and (command := record.command) is not None and _COMMANDS[command] not in grant.operations:
            raise _lacks(_COMMANDS[command])


def _lacks(operation: Operation) -> PermissionDenied:
    return PermissionDenied(f"the access token does not permit the operation `{operation}`")


def _name_of(item: BasinInfo | StreamInfo | AccessTokenInfo) -> str:
    return item.id if isinstance(item, AccessTokenInfo) else item.name


async def _listed(
    listing: _Listing[Named], names: ResourceSet, prefix: str, start_after: str, limit: int
) -> Page[Named]:
    """The page of what is in `names`, which is a listing with a longer prefix, or of a single name."""
    wanted = with_prefix(names, prefix)
    if wanted is None:
        return Page((), has_more=False)
    if not isinstance(wanted, ExactMatch):
        return await listing(prefix=wanted.value, start_after=start_after, limit=limit)
    # Of all names that start with this one, it comes first.
    page = await listing(prefix=wanted.value, start_after=start_after, limit=1)
    return Page(tuple(item for item in page.items if _name_of(item) == wanted.value), has_more=False)
