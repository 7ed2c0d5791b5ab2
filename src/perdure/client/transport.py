"""What the client needs from whatever carries its requests: a store in this process, or HTTP.

A transport speaks in values of `perdure.model` and raises the errors of `perdure.errors`. Requests that
reach it were checked already. Sending again after a lost connection is a transport's own business:
what comes out of it is final, so nothing above it has a second opinion about retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ..model.access_tokens import AccessTokenInfo
from ..model.batches import AppendAck, AppendInput, Part, ReadBatch
from ..model.configs import BasinConfig, BasinReconfiguration, StreamConfig, StreamReconfiguration
from ..model.encryption import EncryptionKey
from ..model.metrics import AccountMetricSet, BasinMetricSet, Metric, MetricsQuery, StreamMetricSet
from ..model.positions import StreamPosition
from ..model.reads import ReadRequest
from ..model.resources import BasinInfo, LocationInfo, Page, Provisioned, StreamInfo


class AppendChannel(Protocol):
    """The batches of one append session on their way to a stream.

    Batches are applied in the order of the calls to `send`, and their futures resolve in that order. The
    first batch that is not applied ends the channel: its future and all later ones fail with the same
    error. An acknowledgement is what the store said about this very batch: a transport that reads it
    from a wire has checked that its range has the length of the batch and lies behind the one before.
    """

    def send(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        """Hand over a batch, without waiting; the future resolves when it is durable.

        Raises what keeps the batch from being sent, which ends the channel. Cancelling the future says
        that nobody wants the answer; whether the batch is applied is open then.
        """
        ...

    async def aclose(self) -> None:
        """Release everything. Comes after the last answer, or when the remaining ones are not wanted."""
        ...


class ReadChannel(Protocol):
    """The batches of one read session, in order, each record once."""

    async def next(self) -> ReadBatch | None:
        """The next batch; one without records but with a tail is a heartbeat. None at the clean end.

        Cancelling the call loses nothing: the next call goes on where it left off.
        """
        ...

    async def next_parts(self) -> tuple[Part, ...] | None:
        """`next`, where records without headers may come as bodies alone, and more of them than in a batch."""
        ...

    async def aclose(self) -> None:
        """Stop reading and release everything."""
        ...


class Transport(Protocol):
    """All operations of the store, for one account. Calls belong to the event loop that opened it."""

    async def open(self) -> None:
        """Make it ready for calls; called once, before all others."""
        ...

    async def aclose(self) -> None:
        """Let go of everything that was opened. Idempotent."""
        ...

    async def list_basins(self, *, prefix: str, start_after: str, limit: int) -> Page[BasinInfo]: ...

    async def create_basin(
        self, name: str, config: BasinConfig, *, location: str | None, request_token: str
    ) -> Provisioned[BasinInfo]: ...

    async def ensure_basin(self, name: str, config: BasinConfig, *, location: str | None) -> Provisioned[BasinInfo]: ...

    async def get_basin_config(self, name: str) -> BasinConfig: ...

    async def reconfigure_basin(self, name: str, change: BasinReconfiguration) -> BasinConfig: ...

    async def delete_basin(self, name: str) -> None: ...

    async def list_access_tokens(self, *, prefix: str, start_after: str, limit: int) -> Page[AccessTokenInfo]: ...

    async def issue_access_token(self, wanted: AccessTokenInfo) -> str:
        """The secret of a new token. Nothing is sent again once it may have been issued: the secret would be lost."""
        ...

    async def revoke_access_token(self, token_id: str) -> None: ...

    async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]: ...

    async def basin_metrics(
        self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]: ...

    async def stream_metrics(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]: ...

    async def list_locations(self) -> tuple[LocationInfo, ...]: ...

    async def get_default_location(self) -> LocationInfo: ...

    async def set_default_location(self, name: str) -> LocationInfo: ...

    async def list_streams(self, basin: str, *, prefix: str, start_after: str, limit: int) -> Page[StreamInfo]: ...

    async def create_stream(
        self, basin: str, name: str, config: StreamConfig, *, request_token: str
    ) -> Provisioned[StreamInfo]: ...

    async def ensure_stream(self, basin: str, name: str, config: StreamConfig) -> Provisioned[StreamInfo]: ...

    async def get_stream_config(self, basin: str, name: str) -> StreamConfig: ...

    async def reconfigure_stream(self, basin: str, name: str, change: StreamReconfiguration) -> StreamConfig: ...

    async def delete_stream(self, basin: str, name: str) -> None: ...

    # `config` is for the stream that a call on records creates, where its basin lets it; if there is one, it has no
    # meaning. `key` is for streams with a cipher; others ignore it.

    async def check_tail(self, basin: str, name: str, *, config: StreamConfig | None = None) -> StreamPosition: ...

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck: ...

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch: ...

    async def open_append(
        self, basin: str, name: str, *, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> AppendChannel:
        """A channel for an append session. Raises what keeps the session from starting."""
        ...

    async def open_read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
        on_interruption: Callable[[], None],
    ) -> ReadChannel:
        """A channel for a read session. Raises `ReadUnwritten`, `StreamNotFound` and so on.

        `on_interruption` is called when the channel loses its connection and starts to look for another:
        until it has seen the tail again, nobody knows whether the reader is caught up.
        """
        ...
