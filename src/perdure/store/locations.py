"""One store over several locations: each basin is in one of them, and every request of it goes there.

A location is an engine by a name, which is all that it shares with the others: a lost one harms its own basins only.
The first one is the home. Besides basins it keeps what is the account's: access tokens, where basins are made that ask
for no location, and which location has which name (`located_names`). So while the home is lost, nothing of that can be
changed; whatever else exists goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from ..errors import NotFound, ResourceExists, StoreFailure
from ..model.access_tokens import AccessTokenInfo, Operation
from ..model.batches import AppendAck, AppendInput, ReadBatch
from ..model.configs import BasinConfig, BasinReconfiguration, StreamConfig, StreamReconfiguration
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_PAGE_ITEMS
from ..model.metrics import AccountMetricSet, BasinMetricSet, Metric, MetricsQuery, StreamMetricSet
from ..model.names import check_basin_name, check_basin_prefix, check_location_name
from ..model.positions import StreamPosition
from ..model.reads import ReadRequest
from ..model.resources import BasinInfo, LocationInfo, Page, Provisioned, StreamInfo
from .account import page_limit, utc_now
from .append_session import Appender
from .located_listing import list_basins
from .located_names import LocatedNames
from .metric_sums import sum_metrics
from .place import Place
from .read_session import ReadSession
from .service import StreamStore

T = TypeVar("T")

_NOTHING_SET: Final = BasinConfig()


class LocatedStore:
    """The operations of `StreamStore`, which says what each does, over the basins of all `places`.

    The first place is the home. `open` it before use; `aclose` closes the places as well. Any operation raises
    `Unavailable` when the location that it needs cannot be reached.
    """

    def __init__(self, places: Sequence[Place], *, now: Callable[[], datetime] = utc_now) -> None:
        self._places = tuple(places)
        self._home = self._places[0]
        self._names = LocatedNames(self._places, now)

    async def open(self) -> None:
        """Open every location that can be opened now; the others are tried until they can."""
        await asyncio.gather(*[place.open() for place in self._places])
        for place in self._places[1:]:
            self._names.adopt(place)

    async def aclose(self) -> None:
        """Close all locations. Idempotent."""
        await self._names.aclose()
        await asyncio.gather(*[place.aclose() for place in self._places])

    async def _routed(self, basin: str, work: Callable[[StreamStore], Awaitable[T]]) -> T:
        """`work` on the store that has the basin; once more if the basin turns out to have been made elsewhere."""
        check_basin_name(basin)
        known = self._names.known(basin)
        place = known or await self._names.find(basin)
        try:
            return await work(place.store)
        except NotFound:
            if known is None:
                raise
            self._names.forget(basin)
            moved = await self._names.find(basin)
            if moved is place:
                raise
        return await work(moved.store)

    # Basins ---------------------------------------------------------------------------------------

    async def list_basins(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[BasinInfo]:
        """Of a lost location, those that the home knows by name."""
        check_basin_prefix(prefix)
        check_basin_prefix(start_after, "start_after")
        page = await list_basins(self._places, prefix, start_after, page_limit(limit))
        self._count(Operation.LIST_BASINS)
        return page

    async def create_basin(
        self,
        name: str,
        config: BasinConfig = _NOTHING_SET,
        *,
        request_token: str | None = None,
        location: str | None = None,
    ) -> Provisioned[BasinInfo]:
        """Raises `Invalid` for an unknown `location`, `ResourceExists` for a name that another one has."""
        place = await self._placed(name, location)
        return await place.store.create_basin(name, config, request_token=request_token)

    async def ensure_basin(
        self, name: str, config: BasinConfig = _NOTHING_SET, *, location: str | None = None
    ) -> Provisioned[BasinInfo]:
        """Raises `Invalid` for an unknown `location`, `ResourceExists` for a name that another one has."""
        place = await self._placed(name, location)
        return await place.store.ensure_basin(name, config)

    async def _placed(self, name: str, location: str | None) -> Place:
        check_basin_name(name)
        place = await self._names.find_or_claim(name, location)
        if location not in (None, place.name):
            raise ResourceExists(
                f"basin name `{name}` belongs to location `{place.name}`, which does not change; choose another name"
            )
        return place

    async def get_basin_config(self, name: str) -> BasinConfig:
        return await self._routed(name, lambda store: store.get_basin_config(name))

    async def reconfigure_basin(self, name: str, change: BasinReconfiguration) -> BasinConfig:
        return await self._routed(name, lambda store: store.reconfigure_basin(name, change))

    async def delete_basin(self, name: str) -> None:
        await self._routed(name, lambda store: store.delete_basin(name))

    # Streams --------------------------------------------------------------------------------------

    async def list_streams(
        self, basin: str, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[StreamInfo]:
        return await self._routed(
            basin, lambda store: store.list_streams(basin, prefix=prefix, start_after=start_after, limit=limit)
        )

    async def create_stream(
        self, basin: str, name: str, config: StreamConfig | None = None, *, request_token: str | None = None
    ) -> Provisioned[StreamInfo]:
        return await self._routed(
            basin, lambda store: store.create_stream(basin, name, config, request_token=request_token)
        )

    async def ensure_stream(self, basin: str, name: str, config: StreamConfig | None = None) -> Provisioned[StreamInfo]:
        return await self._routed(basin, lambda store: store.ensure_stream(basin, name, config))

    async def get_stream_config(self, basin: str, name: str) -> StreamConfig:
        return await self._routed(basin, lambda store: store.get_stream_config(basin, name))

    async def reconfigure_stream(self, basin: str, name: str, change: StreamReconfiguration) -> StreamConfig:
        return await self._routed(basin, lambda store: store.reconfigure_stream(basin, name, change))

    async def delete_stream(self, basin: str, name: str) -> None:
        await self._routed(basin, lambda store: store.delete_stream(basin, name))

    # Records --------------------------------------------------------------------------------------

    async def check_tail(self, basin: str, name: str, config: StreamConfig | None = None) -> StreamPosition:
        return await self._routed(basin, lambda store: store.check_tail(basin, name, config))

    async def append(
        self,
        basin: str,
        name: str,
        batch: AppendInput,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> AppendAck:
        return await self._routed(basin, lambda store: store.append(basin, name, batch, key, config))

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch:
        return await self._routed(basin, lambda store: store.read(basin, name, request, key, config))

    async def open_append_session(
        self, basin: str, name: str, key: EncryptionKey | None = None, config: StreamConfig | None = None
    ) -> Appender:
        return await self._routed(basin, lambda store: store.open_append_session(basin, name, key, config))

    async def open_read_session(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadSession:
        return await self._routed(basin, lambda store: store.open_read_session(basin, name, request, key, config))

    # Metrics --------------------------------------------------------------------------------------

    async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        """Of all locations that can be reached, together."""
        return sum_metrics(await self._of_all(lambda store: store.account_metrics(metric_set, query)))

    async def basin_metrics(self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        return await self._routed(basin, lambda store: store.basin_metrics(basin, metric_set, query))

    async def stream_metrics(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]:
        return await self._routed(basin, lambda store: store.stream_metrics(basin, name, metric_set, query))

    # Access tokens --------------------------------------------------------------------------------

    async def list_access_tokens(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[AccessTokenInfo]:
        return await self._home.store.list_access_tokens(prefix=prefix, start_after=start_after, limit=limit)

    async def issue_access_token(self, wanted: AccessTokenInfo, issuer: AccessTokenInfo | None = None) -> str:
        return await self._home.store.issue_access_token(wanted, issuer)

    async def revoke_access_token(self, token_id: str) -> None:
        await self._home.store.revoke_access_token(token_id)

    async def find_access_tokens(self, secret_hashes: Sequence[bytes]) -> dict[bytes, AccessTokenInfo]:
        return await self._home.store.find_access_tokens(secret_hashes)

    async def probe(self) -> None:
        """Raise what keeps every one of the locations from answering."""
        await self._of_all(lambda store: store.probe())

    # Locations ------------------------------------------------------------------------------------

    async def list_locations(self) -> tuple[LocationInfo, ...]:
        """All of them, the lost ones included, in the order in which they were given."""
        self._count(Operation.LIST_LOCATIONS)
        return tuple(_info(place) for place in self._places)

    async def get_default_location(self) -> LocationInfo:
        """Where a basin is made unless it says otherwise."""
        place = await self._names.default()
        self._count(Operation.GET_DEFAULT_LOCATION)
        return _info(place)

    async def set_default_location(self, name: str) -> LocationInfo:
        """Change where basins are made that ask for no location. Raises `Invalid` for one that is not known."""
        place = await self._names.set_default(check_location_name(name))
        self._count(Operation.SET_DEFAULT_LOCATION)
        return _info(place)

    # ----------------------------------------------------------------------------------------------

    def _count(self, operation: Operation) -> None:
        """At home if it is there: operations of the account are of no other location."""
        if self._home.opened.is_set():
            self._home.store.count(operation)

    async def _of_all(self, work: Callable[[StreamStore], Awaitable[T]]) -> list[T]:
        """What those locations say that can be reached. Raises the first failure if that is none."""

        async def asked(place: Place) -> T:
            return await work(place.store)

        answers = await asyncio.gather(*[asked(place) for place in self._places], return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, StoreFailure):
                raise failure
        found = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not found:
            raise failures[0]
        return found


def _info(place: Place) -> LocationInfo:
    return LocationInfo(place.name, is_private=True)
