"""The store as handlers see it: one interface, whoever asks.

An open server, and the root of one with access control, hand out the `WholeStore` itself, a `StreamStore` or a
`LocatedStore`; for an issued token it is a `GuardedStore` around it, which allows what the token permits. Handlers take
it from `Request.store`, so none of them decides who may do what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from ..model.access_tokens import AccessTokenInfo
from ..model.batches import AppendAck, AppendInput, ReadBatch
from ..model.configs import BasinConfig, BasinReconfiguration, StreamConfig, StreamReconfiguration
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_PAGE_ITEMS
from ..model.metrics import AccountMetricSet, BasinMetricSet, Metric, MetricsQuery, StreamMetricSet
from ..model.positions import StreamPosition
from ..model.reads import ReadRequest
from ..model.resources import BasinInfo, LocationInfo, Page, Provisioned, StreamInfo
from ..store.reading import Delivery


class ServedAppender(Protocol):
    """See `store.service.Appender`."""

    def submit(self, batch: AppendInput) -> asyncio.Future[AppendAck]: ...


class ServedReadSession(Protocol):
    """See `store.read_session.ReadSession`."""

    def next(self) -> Awaitable[Delivery | None]: ...

    def close(self) -> None: ...

    async def __aenter__(self) -> ServedReadSession: ...

    async def __aexit__(self, *exc: object) -> None: ...


class ServedStore(Protocol):
    """See `store.service.StreamStore`, which says what each operation does.

    Besides the errors that it names, every operation raises `PermissionDenied`, and `AuthenticationFailed` when the
    token expires or is revoked while it is at work.
    """

    # Basins ---------------------------------------------------------------------------------------

    async def list_basins(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[BasinInfo]: ...

    async def create_basin(
        self,
        name: str,
        config: BasinConfig = ...,
        *,
        request_token: str | None = None,
        location: str | None = None,
    ) -> Provisioned[BasinInfo]: ...

    async def ensure_basin(
        self, name: str, config: BasinConfig = ..., *, location: str | None = None
    ) -> Provisioned[BasinInfo]: ...

    async def get_basin_config(self, name: str) -> BasinConfig: ...

    async def reconfigure_basin(self, name: str, change: BasinReconfiguration) -> BasinConfig: ...

    async def delete_basin(self, name: str) -> None: ...

    # Streams --------------------------------------------------------------------------------------

    async def list_streams(
        self, basin: str, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[StreamInfo]: ...

    async def create_stream(
        self, basin: str, name: str, config: StreamConfig | None = None, *, request_token: str | None = None
    ) -> Provisioned[StreamInfo]: ...

    async def ensure_stream(
        self, basin: str, name: str, config: StreamConfig | None = None
    ) -> Provisioned[StreamInfo]: ...

    async def get_stream_config(self, basin: str, name: str) -> StreamConfig: ...

    async def reconfigure_stream(self, basin: str, name: str, change: StreamReconfiguration) -> StreamConfig: ...

    async def delete_stream(self, basin: str, name: str) -> None: ...

    # Records --------------------------------------------------------------------------------------

    async def check_tail(self, basin: str, name: str, config: StreamConfig | None = None) -> StreamPosition: ...

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck: ...

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch: ...

    async def open_append_session(
        self, basin: str, name: str, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> ServedAppender: ...

    async def open_read_session(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ServedReadSession: ...

    # Metrics --------------------------------------------------------------------------------------

    async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]: ...

    async def basin_metrics(
        self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]: ...

    async def stream_metrics(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]: ...

    # Access tokens --------------------------------------------------------------------------------

    async def list_access_tokens(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[AccessTokenInfo]: ...

    async def issue_access_token(self, wanted: AccessTokenInfo) -> str: ...

    async def revoke_access_token(self, token_id: str) -> None: ...

    # Locations ------------------------------------------------------------------------------------

    async def list_locations(self) -> tuple[LocationInfo, ...]: ...

    async def get_default_location(self) -> LocationInfo: ...

    async def set_default_location(self, name: str) -> LocationInfo: ...


class WholeStore(ServedStore, Protocol):
    """What a server serves: the store without anybody's limits."""

    async def issue_access_token(self, wanted: AccessTokenInfo, issuer: AccessTokenInfo | None = None) -> str: ...

    async def find_access_tokens(self, secret_hashes: Sequence[bytes]) -> dict[bytes, AccessTokenInfo]: ...

    async def probe(self) -> None: ...
