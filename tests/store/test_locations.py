"""Several locations are one store: each basin is in one of them, and a lost one harms its own basins only."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdure.errors import BasinNotFound, Invalid, PerdureError, ResourceExists, StreamNotFound, Unavailable
from perdure.model.access_tokens import EVERYTHING, AccessTokenInfo, AccessTokenScope, Operation
from perdure.model.configs import BasinConfig, BasinReconfiguration
from perdure.model.metrics import (
    AccountMetricSet,
    AccumulationMetric,
    GaugeMetric,
    LabelMetric,
    MetricsQuery,
    MetricUnit,
    ScalarMetric,
    TimeseriesInterval,
)
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.model.resources import ProvisionResult
from perdure.store.access_tokens import hash_secret
from perdure.store.engine import Engine
from perdure.store.locations import LocatedStore
from perdure.store.metric_sums import sum_metrics
from perdure.store.place import Place
from perdure.store.service import StreamStore
from perdure.store.sqlite import SqliteEngine
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, eventually

AUTO = BasinConfig(create_stream_on_append=True)


class Site:
    """A data directory that can be lost and found again, whoever has it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reachable = True
        self.engines: list[Engine] = []

    async def open(self) -> Engine:
        if not self.reachable:
            raise ConnectionRefusedError("connection refused")
        engine = await SqliteEngine.open(self._path)
        self.engines.append(engine)
        return engine

    async def lose(self) -> None:
        self.reachable = False
        for engine in self.engines:
            await engine.aclose()

    def find(self) -> None:
        """Reachable again; those who lost it open it anew."""
        self.reachable = True
        for engine in self.engines:
            engine.stopped.set()


class Sites:
    def __init__(self, path: Path) -> None:
        self.one = Site(path / "one")
        self.two = Site(path / "two")

    async def server(self) -> LocatedStore:
        """Another server over both; "one" is the home."""
        store = LocatedStore([Place("one", self.one.open), Place("two", self.two.open)])
        await store.open()
        return store


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return Sites(tmp_path)


@pytest.fixture
async def store(sites: Sites) -> AsyncIterator[LocatedStore]:
    store = await sites.server()
    yield store
    await store.aclose()


@pytest.fixture
async def other(sites: Sites) -> AsyncIterator[LocatedStore]:
    other = await sites.server()
    yield other
    await other.aclose()


async def locations_of(store: LocatedStore) -> dict[str, str | None]:
    return {info.name: info.location for info in (await store.list_basins()).items}


async def say(store: LocatedStore, basin: str, text: str) -> int:
    return (await store.append(basin, "s", batch(text))).end.seq_num


async def said(store: LocatedStore, basin: str) -> list[str]:
    found = await store.read(basin, "s", ReadRequest.of(SeqNum(0)))
    return [record.text for record in found.records]


async def test_each_basin_is_in_one_location_and_its_requests_go_there(store: LocatedStore, sites: Sites) -> None:
    assert (await store.create_basin("basin-in-one", AUTO)).info.location == "one"
    assert (await store.create_basin("basin-in-two", AUTO, location="two")).info.location == "two"
    assert await locations_of(store) == {"basin-in-one": "one", "basin-in-two": "two"}
    for basin in ("basin-in-one", "basin-in-two"):
        await say(store, basin, f"of {basin}")
        assert await said(store, basin) == [f"of {basin}"]
    for site, basin in ((sites.one, "basin-in-one"), (sites.two, "basin-in-two")):
        (engine,) = site.engines
        with_streams = [name for name in ("basin-in-one", "basin-in-two") if await engine.list_streams(name, "", "", 9)]
        assert with_streams == [basin]


async def test_a_location_that_is_not_known_is_refused(store: LocatedStore) -> None:
    for refused in (
        lambda: store.create_basin("a-new-basin", location="three"),
        lambda: store.ensure_basin("a-new-basin", location="three"),
        lambda: store.set_default_location("three"),
    ):
        with pytest.raises(Invalid, match="`three` is not known; there are `one`, `two`"):
            await refused()
    assert await locations_of(store) == {}


async def test_the_default_is_the_home_until_it_is_set_for_all_servers(
    store: LocatedStore, other: LocatedStore
) -> None:
    assert [info.name for info in await store.list_locations()] == ["one", "two"]
    assert (await store.get_default_location()).name == "one"
    assert (await store.set_default_location("two")).name == "two"
    assert (await other.get_default_location()).name == "two"
    assert (await other.create_basin("basin-by-default")).info.location == "two"
    await other.set_default_location("one")
    assert (await store.ensure_basin("basin-of-store")).info.location == "one"
    assert await locations_of(store) == {"basin-by-default": "two", "basin-of-store": "one"}


async def test_a_name_is_in_one_location_however_many_create_it_at_once(
    store: LocatedStore, other: LocatedStore, sites: Sites
) -> None:
    for number in range(20):
        name = f"contested-{number}"
        outcomes = await asyncio.gather(
            store.create_basin(name, location="one"),
            other.create_basin(name, location="two"),
            store.ensure_basin(name, location="two"),
            return_exceptions=True,
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(failure, ResourceExists) for failure in failures)
        assert len(failures) < len(outcomes)
        at = [await site.engines[0].basin(name) for site in (sites.one, sites.two)]
        assert sum(entry is not None and entry.location is None for entry in at) == 1


async def test_a_retried_create_is_no_second_one(store: LocatedStore, other: LocatedStore) -> None:
    first = await store.create_basin("retried-basin", request_token="t", location="two")
    for again in (
        await other.create_basin("retried-basin", request_token="t", location="two"),
        await other.create_basin("retried-basin", request_token="t"),
    ):
        assert (again.info, again.result) == (first.info, ProvisionResult.NOOP)
    with pytest.raises(ResourceExists, match="already exists"):
        await store.create_basin("retried-basin", request_token="u", location="two")
    with pytest.raises(ResourceExists, match="belongs to location `two`"):
        await store.create_basin("retried-basin", request_token="t", location="one")
    with pytest.raises(ResourceExists, match="belongs to location `two`"):
        await store.ensure_basin("retried-basin", location="one")
    assert (await store.ensure_basin("retried-basin")).info.location == "two"


async def test_a_basin_that_another_server_made_is_found(store: LocatedStore, other: LocatedStore) -> None:
    with pytest.raises(BasinNotFound):
        await store.get_basin_config("late-basin")
    await other.create_basin("late-basin", AUTO, location="two")
    await say(store, "late-basin", "found")
    assert (await store.reconfigure_basin("late-basin", BasinReconfiguration())).create_stream_on_append


async def test_what_is_missing_is_missing_as_in_one_store(store: LocatedStore) -> None:
    await store.create_basin("empty-basin", location="two")
    with pytest.raises(StreamNotFound):
        await store.check_tail("empty-basin", "s")
    with pytest.raises(StreamNotFound):
        await store.append("empty-basin", "s", batch("x"))
    with pytest.raises(Invalid):
        await store.check_tail("NO", "s")
    assert (await store.list_streams("unknown-basin")).items == ()


async def test_listings_are_merged_page_by_page(store: LocatedStore) -> None:
    names = [f"basin-{number:02}" for number in range(25)]
    for number, name in enumerate(names):
        await store.create_basin(name, location="one" if number % 3 == 0 else "two")
    found: list[str] = []
    after = ""
    while True:
        page = await store.list_basins(prefix="basin-", start_after=after, limit=4)
        found += [info.name for info in page.items]
        if not page.has_more:
            break
        assert len(page.items) == 4
        after = found[-1]
    assert found == names


async def test_a_deleted_basin_is_deleted_where_it_is(store: LocatedStore) -> None:
    await store.create_basin("doomed-basin", location="two")
    await store.delete_basin("doomed-basin")

    async def is_gone() -> bool:
        return "doomed-basin" not in await locations_of(store)

    await eventually(is_gone)
    assert (await store.create_basin("doomed-basin")).info.location == "two"  # the name stays with its location


class TestLosses:
    async def test_a_lost_location_harms_its_own_basins_only(self, store: LocatedStore, sites: Sites) -> None:
        await store.create_basin("basin-in-one", AUTO)
        await store.create_basin("basin-in-two", AUTO, location="two")
        await say(store, "basin-in-two", "before")
        await sites.two.lose()
        await say(store, "basin-in-one", "meanwhile")
        await store.create_basin("another-in-one")
        with pytest.raises(Unavailable):
            await say(store, "basin-in-two", "meanwhile")
        assert await locations_of(store) == {"another-in-one": "one", "basin-in-one": "one", "basin-in-two": "two"}
        await store.probe()
        sites.two.find()
        await self._served_again(lambda: say(store, "basin-in-two", "after"))
        assert await said(store, "basin-in-two") == ["before", "after"]

    async def test_without_the_home_what_exists_goes_on(
        self, store: LocatedStore, other: LocatedStore, sites: Sites
    ) -> None:
        await store.create_basin("basin-in-one", AUTO)
        await store.create_basin("basin-in-two", AUTO, location="two")
        await sites.one.lose()
        for server in (store, other):  # the other one has never been asked for it
            await say(server, "basin-in-two", "x")
        assert (await store.ensure_basin("basin-in-two", AUTO)).result is ProvisionResult.NOOP
        assert await locations_of(other) == {"basin-in-two": "two"}
        for refused in (
            lambda: say(store, "basin-in-one", "x"),
            lambda: store.create_basin("another-basin", location="two"),
            lambda: other.get_basin_config("unknown-basin"),
            lambda: store.list_access_tokens(),
        ):
            with pytest.raises(Unavailable):
                await refused()
        sites.one.find()
        await self._served_again(lambda: say(store, "basin-in-one", "after"))

    async def test_a_location_that_is_lost_at_the_start_is_served_when_it_comes(self, sites: Sites) -> None:
        sites.two.reachable = False
        store = await sites.server()
        try:
            await store.create_basin("basin-in-one", AUTO)
            await say(store, "basin-in-one", "x")
            with pytest.raises(Unavailable, match="`two` cannot be reached: connection refused"):
                await store.create_basin("basin-in-two", AUTO, location="two")
            sites.two.find()
            await self._served_again(lambda: store.create_basin("basin-in-two", AUTO, location="two"))
            await say(store, "basin-in-two", "x")
        finally:
            await store.aclose()

    async def test_a_location_that_fails_in_an_unknown_way_is_tried_again(self, sites: Sites) -> None:
        failures: list[Exception] = [RuntimeError("a defect"), ValueError()]

        async def fail_at_first() -> Engine:
            if failures:
                raise failures.pop()
            return await sites.one.open()

        place = Place("one", fail_at_first)
        await place.open()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await place.opened.wait()
        finally:
            await place.aclose()

    async def test_a_store_without_any_location_does_not_answer(self, store: LocatedStore, sites: Sites) -> None:
        await sites.one.lose()
        await sites.two.lose()
        for refused in (store.probe, store.list_basins, store.get_default_location):
            with pytest.raises(Unavailable):
                await refused()

    async def test_closing_ends_what_is_being_tried(self, sites: Sites) -> None:
        sites.one.reachable = sites.two.reachable = False
        store = await sites.server()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await store.aclose()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("perdure-")]

    async def _served_again(self, work: Callable[[], Awaitable[object]]) -> None:
        async def works() -> bool:
            try:
                await work()
            except Unavailable:
                return False
            return True

        await eventually(works)


async def test_basins_that_were_there_before_are_claimed(sites: Sites, caplog: pytest.LogCaptureFixture) -> None:
    for site in (sites.one, sites.two):
        engine = await site.open()
        await StreamStore(engine).create_basin("in-both-places")
        if site is sites.two:
            await StreamStore(engine).create_basin("basin-in-two", AUTO)
        await engine.aclose()
    store = await sites.server()
    try:
        await say(store, "basin-in-two", "x")

        async def is_claimed() -> bool:
            note = await sites.one.engines[-1].basin("basin-in-two")
            return note is not None and note.location == "two"

        await eventually(is_claimed)
        with pytest.raises(ResourceExists):
            await store.create_basin("basin-in-two", location="one")

        async def is_told() -> bool:
            return "basin in-both-places is at location one and at two as well" in caplog.text

        await eventually(is_told)
    finally:
        await store.aclose()


async def test_tokens_are_the_homes(store: LocatedStore, other: LocatedStore) -> None:
    scope = AccessTokenScope(EVERYTHING, EVERYTHING, EVERYTHING, ops=tuple(Operation))
    secret_hash = hash_secret((await store.issue_access_token(AccessTokenInfo("t", scope))).encode())
    assert set(await other.find_access_tokens([secret_hash])) == {secret_hash}
    assert [info.id for info in (await other.list_access_tokens()).items] == ["t"]
    await other.revoke_access_token("t")
    assert await store.find_access_tokens([secret_hash]) == {}


async def test_the_account_is_all_locations_together(store: LocatedStore) -> None:
    now = datetime.now(UTC)
    for name, location in (("basin-in-one", "one"), ("basin-in-two", "two")):
        await store.create_basin(name, AUTO, location=location)
        await say(store, name, "x")
    start, end = now - timedelta(hours=1), now + timedelta(minutes=1)
    query = MetricsQuery(int(start.timestamp()), int(end.timestamp()), TimeseriesInterval.HOUR)
    (active,) = await store.account_metrics(AccountMetricSet.ACTIVE_BASINS, query)
    assert isinstance(active, LabelMetric)
    assert active.values == ("basin-in-one", "basin-in-two")
    operations = await store.account_metrics(AccountMetricSet.ACCOUNT_OPS, query)
    (created,) = (metric for metric in operations if metric.name == Operation.CREATE_BASIN.value)
    assert isinstance(created, AccumulationMetric)
    assert sum(value for _, value in created.values) == 2


def test_sums_are_of_the_same_metrics_at_the_same_times() -> None:
    hour = TimeseriesInterval.HOUR
    here = (
        ScalarMetric("a", MetricUnit.BYTES, 1),
        AccumulationMetric("b", MetricUnit.OPERATIONS, hour, ((0, 1.0), (3600, 2.0))),
        GaugeMetric("c", MetricUnit.BYTES, ((5, 1.0),)),
        LabelMetric("d", ("y", "z")),
    )
    there = (
        LabelMetric("d", ("x", "z")),
        GaugeMetric("c", MetricUnit.BYTES, ((4, 2.0), (5, 2.0))),
        AccumulationMetric("b", MetricUnit.OPERATIONS, hour, ((3600, 3.0),)),
        AccumulationMetric("e", MetricUnit.OPERATIONS, hour, ()),
        ScalarMetric("a", MetricUnit.BYTES, 2),
    )
    assert sum_metrics([here, there]) == (
        ScalarMetric("a", MetricUnit.BYTES, 3),
        AccumulationMetric("b", MetricUnit.OPERATIONS, hour, ((0, 1.0), (3600, 5.0))),
        GaugeMetric("c", MetricUnit.BYTES, ((4, 2.0), (5, 3.0))),
        LabelMetric("d", ("x", "y", "z")),
        AccumulationMetric("e", MetricUnit.OPERATIONS, hour, ()),
    )
    assert sum_metrics([here]) == here


@pytest.mark.parametrize("name", ["", "with space", "a/b", "x" * 65])
def test_a_location_needs_a_name_that_is_one(name: str) -> None:
    async def never() -> Engine:
        raise AssertionError

    with pytest.raises(PerdureError, match="location"):
        Place(name, never)
