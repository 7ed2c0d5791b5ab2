"""The operations of the store on the account: basins, access tokens, usage and locations, over any engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from ..errors import BasinNotFound, Invalid
from ..model.access_tokens import AccessTokenInfo, Operation
from ..model.configs import (
    BasinConfig,
    BasinReconfiguration,
)
from ..model.limits import MAX_PAGE_ITEMS
from ..model.metrics import AccountMetricSet, BasinMetricSet, Metric, MetricsQuery, StreamMetricSet
from ..model.names import (
    check_access_token_id,
    check_access_token_prefix,
    check_basin_name,
    check_basin_prefix,
    check_location_name,
    check_request_token,
    check_stream_name,
)
from ..model.resources import BasinInfo, LocationInfo, Page, Provisioned, ProvisionResult
from . import access_tokens, catalogue
from .engine import Engine
from .usage import ACCOUNT
from .usage_metrics import UsageMetrics
from .usage_recorder import UsageRecorder

T = TypeVar("T")

DEFAULT_LOCATION: Final = "local"
"""What a store calls the one place where it keeps everything."""

_NOTHING_SET: Final = BasinConfig()


def utc_now() -> datetime:
    return datetime.now(UTC)


def page_of(entries: tuple[T, ...], limit: int) -> tuple[tuple[T, ...], bool]:
    return entries[:limit], len(entries) > limit


def page_limit(limit: int) -> int:
    """The items of a page for a requested limit: 0 and anything above the maximum mean the maximum."""
    return limit if 0 < limit <= MAX_PAGE_ITEMS else MAX_PAGE_ITEMS


class Account:
    """What of the store's operations is about no stream in particular; the rest is in `StreamStore`."""

    def __init__(
        self,
        engine: Engine,
        usage: UsageRecorder | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
        location: str = DEFAULT_LOCATION,
    ) -> None:
        self._engine = engine
        self._location = LocationInfo(check_location_name(location), is_private=True)
        self._metrics = UsageMetrics(engine, usage, lambda: now().timestamp())
        self._counters = None if usage is None else usage.counters
        self._now = now

    # Basins ---------------------------------------------------------------------------------------

    async def list_basins(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[BasinInfo]:
        """One page of basins in order of their names, those being deleted included."""
        check_basin_prefix(prefix)
        check_basin_prefix(start_after, "start_after")
        size = page_limit(limit)
        entries, more = page_of(await self._engine.list_basins(prefix, start_after, size + 1), size)
        self.count(Operation.LIST_BASINS)
        return Page(tuple(entry.info(self._location.name) for entry in entries), more)

    async def create_basin(
        self,
        name: str,
        config: BasinConfig = _NOTHING_SET,
        *,
        request_token: str | None = None,
        location: str | None = None,
    ) -> Provisioned[BasinInfo]:
        """Create a basin. Raises `ResourceExists` unless it is a retry with the same request token.

        Whatever `location` is asked for, there is but one.
        """
        check_basin_name(name)
        if request_token is not None:
            check_request_token(request_token)
        now = self._now()
        change = await self._engine.change_basin(
            name, lambda existing: catalogue.create_basin(existing, name, config, request_token, now)
        )
        self.count(Operation.CREATE_BASIN)
        return Provisioned(change.entry.info(self._location.name), change.result)

    async def ensure_basin(
        self, name: str, config: BasinConfig = _NOTHING_SET, *, location: str | None = None
    ) -> Provisioned[BasinInfo]:
        """Create the basin, or replace its configuration: what `config` does not set becomes default.

        Whatever `location` is asked for, there is but one.
        """
        check_basin_name(name)
        now = self._now()
        change = await self._engine.change_basin(
            name, lambda existing: catalogue.ensure_basin(existing, name, config, now)
        )
        created = change.result is ProvisionResult.CREATED
        self.count(Operation.CREATE_BASIN if created else Operation.RECONFIGURE_BASIN)
        return Provisioned(change.entry.info(self._location.name), change.result)

    async def get_basin_config(self, name: str) -> BasinConfig:
        check_basin_name(name)
        entry = await self._engine.basin(name)
        if entry is None or entry.location is not None:
            raise BasinNotFound(f"basin `{name}` not found")
        self.count(Operation.GET_BASIN_CONFIG)
        return entry.config

    async def reconfigure_basin(self, name: str, change: BasinReconfiguration) -> BasinConfig:
        """Merge `change` into the basin's configuration and give the whole of it."""
        check_basin_name(name)
        outcome = await self._engine.change_basin(name, lambda existing: catalogue.change_basin(existing, name, change))
        self.count(Operation.RECONFIGURE_BASIN)
        return outcome.entry.config

    async def delete_basin(self, name: str) -> None:
        """Start the deletion of the basin and, in the background, of its streams."""
        check_basin_name(name)
        now = self._now()
        await self._engine.change_basin(name, lambda existing: catalogue.delete_basin(existing, name, now))
        self.count(Operation.DELETE_BASIN)

    # Access tokens --------------------------------------------------------------------------------

    async def list_access_tokens(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[AccessTokenInfo]:
        """One page of tokens in order of their ids; those that expired a while ago may be missing."""
        check_access_token_prefix(prefix)
        check_access_token_prefix(start_after, "start_after")
        size = page_limit(limit)
        entries, more = page_of(await self._engine.list_access_tokens(prefix, start_after, size + 1), size)
        self.count(Operation.LIST_ACCESS_TOKENS)
        return Page(tuple(entry.info for entry in entries), more)

    async def issue_access_token(self, wanted: AccessTokenInfo, issuer: AccessTokenInfo | None = None) -> str:
        """Issue a token and give its secret, which is kept nowhere. Raises what `access_tokens.issue` raises."""
        check_access_token_id(wanted.id)
        now = self._now()
        secret = access_tokens.new_secret()
        secret_hash = access_tokens.hash_secret(secret.encode())
        await self._engine.change_access_token(
            wanted.id, lambda existing: access_tokens.issue(existing, wanted, issuer, secret_hash, now)
        )
        self.count(Operation.ISSUE_ACCESS_TOKEN)
        return secret

    async def revoke_access_token(self, token_id: str) -> None:
        """Make the token's secret worthless. Raises `AccessTokenNotFound`."""
        check_access_token_id(token_id)
        await self._engine.change_access_token(token_id, lambda existing: access_tokens.revoke(existing, token_id))
        self.count(Operation.REVOKE_ACCESS_TOKEN)

    async def find_access_tokens(self, secret_hashes: Sequence[bytes]) -> dict[bytes, AccessTokenInfo]:
        """The tokens that have these hashes (`access_tokens.hash_secret`), expired ones included, by hash."""
        entries = await self._engine.find_access_tokens(secret_hashes)
        return {entry.secret_hash: entry.info for entry in entries}

    async def probe(self) -> None:
        """Raise what keeps the store from answering; nothing is counted."""
        await self._engine.list_basins("", "", 1)

    # Usage ----------------------------------------------------------------------------------------

    def count(self, operation: Operation, basin: str = ACCOUNT) -> None:
        """Count an operation that succeeded; every method does so by itself."""
        if self._counters is not None:
            self._counters.operated(operation, basin)

    async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        """Metrics of the whole store. Raises `Invalid` for a range or an interval that the set does not have."""
        found = await self._metrics.account(metric_set, query)
        self.count(Operation.ACCOUNT_METRICS)
        return found

    async def basin_metrics(self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        """Metrics of a basin, all its streams together; raises as `account_metrics` does."""
        check_basin_name(basin)
        found = await self._metrics.basin(basin, metric_set, query)
        self.count(Operation.BASIN_METRICS, basin)
        return found

    async def stream_metrics(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]:
        """Metrics of a stream; raises as `account_metrics` does."""
        check_basin_name(basin)
        check_stream_name(name)
        found = await self._metrics.stream(basin, name, metric_set, query)
        self.count(Operation.STREAM_METRICS, basin)
        return found

    # Locations ------------------------------------------------------------------------------------

    async def list_locations(self) -> tuple[LocationInfo, ...]:
        """Where basins can be: there is one location, which is also the default."""
        self.count(Operation.LIST_LOCATIONS)
        return (self._location,)

    async def get_default_location(self) -> LocationInfo:
        """Where a basin is made unless it says otherwise."""
        self.count(Operation.GET_DEFAULT_LOCATION)
        return self._location

    async def set_default_location(self, name: str) -> LocationInfo:
        """Changes nothing: any other location than the one that there is is refused (`Invalid`)."""
        if check_location_name(name) != self._location.name:
            raise Invalid(f"location {name!r} is not known; there is one, {self._location.name!r}")
        self.count(Operation.SET_DEFAULT_LOCATION)
        return self._location
