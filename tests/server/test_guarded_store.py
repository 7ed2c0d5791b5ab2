"""A token never sees or touches what its scope excludes, whatever is asked with it (store API, section 8.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from perdure.errors import AuthenticationFailed, NotFound, PerdureError, PermissionDenied
from perdure.model.access_tokens import (
    EVERYTHING,
    AccessTokenInfo,
    AccessTokenScope,
    Operation,
    PrefixMatch,
    ResourceSet,
)
from perdure.model.batches import AppendAck
from perdure.model.configs import BasinConfig, BasinReconfiguration, StreamConfig, StreamReconfiguration
from perdure.model.metrics import AccountMetricSet, BasinMetricSet, LabelMetric, MetricsQuery, StreamMetricSet
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord
from perdure.model.resources import BasinInfo, Page, Provisioned, StreamInfo
from perdure.server.grants import Grant
from perdure.server.guarded_store import GuardedStore
from perdure.store import access_tokens
from perdure.store.engine import Engine
from perdure.store.service import StreamStore
from tests.model.strategies import resource_sets
from tests.store.making import NOW, batch, commands
from tests.store.stores import MemoryStore, opened

BASINS = ("basin-aa", "basin-ab", "basin-bb", "other-aa")
STREAMS = ("a", "a/", "a/a", "a/b", "ab", "b", "é")
TOKENS = ("t", "t1", "t2", "u")
ALL = AccessTokenScope(EVERYTHING, EVERYTHING, EVERYTHING, ops=tuple(Operation))
METRICS = MetricsQuery(0, 3600)

Check: TypeAlias = Callable[[Engine, StreamStore], Awaitable[None]]

examples = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sets(*names: str) -> st.SearchStrategy[ResourceSet | None]:
    """Often everything, so that what else is drawn decides."""
    return st.just(EVERYTHING) | resource_sets(st.sampled_from(("", *names)))


permissions = st.one_of(
    st.just(frozenset(Operation)),
    st.sets(st.sampled_from(Operation), min_size=1, max_size=2).map(lambda few: frozenset(Operation) - few),
    st.frozensets(st.sampled_from(Operation), min_size=1, max_size=5),
)


@st.composite
def tokens(draw: st.DrawFn) -> AccessTokenInfo:
    """A token as it is issued: with all operations, all but a few, or a few."""
    scope = AccessTokenScope(
        basins=draw(sets("b", "basin-a", "other-aa", "basin-ab", "basin-zz")),
        streams=draw(sets("a", "a/", "ab", "é", "zz") | st.sampled_from((PrefixMatch("a"), PrefixMatch("a/")))),
        access_tokens=draw(sets("t", "t1", "u", "zz")),
        ops=tuple(sorted(draw(permissions))),
    )
    auto_prefix = isinstance(scope.streams, PrefixMatch) and draw(st.booleans())
    wanted = AccessTokenInfo("me", scope, None, auto_prefix)
    return access_tokens.issue(None, wanted, None, b"", NOW).info


def on_a_filled_store(check: Check) -> None:
    """Run `check` on a store with all of `BASINS`, `STREAMS` and `TOKENS`, where nothing goes in the background."""

    async def run() -> None:
        async with opened(MemoryStore(), maintain=False) as engine:
            store = StreamStore(engine)
            for basin in BASINS:
                await store.create_basin(basin, BasinConfig(create_stream_on_append=True, create_stream_on_read=True))
                for stream in STREAMS:
                    await store.create_stream(basin, stream)
                    await store.append(basin, stream, batch("x"))
            for token in TOKENS:
                await store.issue_access_token(AccessTokenInfo(token, ALL))
            await check(engine, store)

    asyncio.run(run())


# What a token can see -------------------------------------------------------------------------------


def in_set(name: str, names: ResourceSet | None) -> bool:
    return names is not None and name in names


def page_of(names: list[str], prefix: str, start_after: str, limit: int) -> tuple[list[str], bool]:
    matching = [name for name in sorted(names, key=str.encode) if name.startswith(prefix)]
    matching = [name for name in matching if name.encode() > start_after.encode()]
    return matching[:limit], len(matching) > limit


def told(page: Page[BasinInfo] | Page[StreamInfo] | Page[AccessTokenInfo]) -> tuple[list[str], bool]:
    return [item.id if isinstance(item, AccessTokenInfo) else item.name for item in page.items], page.has_more


limits = st.integers(1, 5)


@examples
@given(
    token=tokens(),
    prefix=st.sampled_from(("", "b", "basin-a", "basin-ab", "basin-abc", "z")),
    start_after=st.sampled_from(("", "basin-a", "basin-aa", "basin-ab", "c", "z")),
    limit=limits,
)
def test_the_basins_that_a_token_may_see(token: AccessTokenInfo, prefix: str, start_after: str, limit: int) -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        listing = GuardedStore(store, Grant(token)).list_basins(prefix=prefix, start_after=start_after, limit=limit)
        if Operation.LIST_BASINS not in token.scope.operations:
            with pytest.raises(PermissionDenied, match="list-basins"):
                await listing
            return
        visible = [name for name in BASINS if in_set(name, token.scope.basins)]
        assert told(await listing) == page_of(visible, prefix, start_after, limit)

    on_a_filled_store(check)


@examples
@given(
    token=tokens(),
    prefix=st.sampled_from(("", "t", "t1", "t11", "u")),
    start_after=st.sampled_from(("", "t", "t1", "z")),
    limit=limits,
)
def test_the_tokens_that_a_token_may_see(token: AccessTokenInfo, prefix: str, start_after: str, limit: int) -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        guard = GuardedStore(store, Grant(token))
        listing = guard.list_access_tokens(prefix=prefix, start_after=start_after, limit=limit)
        if Operation.LIST_ACCESS_TOKENS not in token.scope.operations:
            with pytest.raises(PermissionDenied, match="list-access-tokens"):
                await listing
            return
        visible = [name for name in TOKENS if in_set(name, token.scope.access_tokens)]
        assert told(await listing) == page_of(visible, prefix, start_after, limit)

    on_a_filled_store(check)


@examples
@given(
    token=tokens(),
    basin=st.sampled_from((*BASINS, "basin-zz")),
    prefix=st.just("") | st.sampled_from(("a", "a/", "a/b", "/", "b", "é", "z")),
    start_after=st.just("") | st.sampled_from(("a", "a/", "a/a", "/", "/a", "b", "z")),
    limit=limits,
)
def test_the_streams_that_a_token_may_see(
    token: AccessTokenInfo, basin: str, prefix: str, start_after: str, limit: int
) -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        guard = GuardedStore(store, Grant(token))
        listing = guard.list_streams(basin, prefix=prefix, start_after=start_after, limit=limit)
        if Operation.LIST_STREAMS not in token.scope.operations or not in_set(basin, token.scope.basins):
            with pytest.raises(PermissionDenied):
                await listing
            return
        own = token.stream_prefix
        in_basin = STREAMS if basin in BASINS else ()
        visible = [name.removeprefix(own) for name in in_basin if in_set(name, token.scope.streams)]
        # What has no name left after the prefix cannot be asked for, so it is not shown either.
        assert told(await listing) == page_of([name for name in visible if name], prefix, start_after, limit)

    on_a_filled_store(check)


# What a token can touch -----------------------------------------------------------------------------


class Attempt(Struct):
    """Something that may be tried: the operations that it takes, and what it is about."""

    needs: tuple[Operation, ...]
    call: Callable[[GuardedStore], Awaitable[object]]
    basin: str | None = None
    stream: str | None = None
    token_id: str | None = None
    session: bool = False
    """It opens an append session first, which takes `append` alone, finds the stream or not, and may create it."""

    def permitted(self, token: AccessTokenInfo) -> bool:
        return self._permitted(token, self.needs)

    def begins(self, token: AccessTokenInfo) -> bool:
        """Whether something may come of it before it is refused."""
        return self._permitted(token, (Operation.APPEND,) if self.session else self.needs)

    def _permitted(self, token: AccessTokenInfo, needs: tuple[Operation, ...]) -> bool:
        scope = token.scope
        return (
            scope.operations.issuperset(needs)
            and (self.basin is None or in_set(self.basin, scope.basins))
            and (self.stream is None or in_set(token.stream_prefix + self.stream, scope.streams))
            and (self.token_id is None or in_set(self.token_id, scope.access_tokens))
        )

    def touches(self, token: AccessTokenInfo) -> tuple[str | None, ...]:
        if self.token_id is not None:
            return ("token", self.token_id)
        if self.stream is not None:
            return ("stream", self.basin, token.stream_prefix + self.stream)
        return ("basin", self.basin)


async def submitted(guard: GuardedStore, basin: str, stream: str, *records: AppendRecord) -> AppendAck:
    return await (await guard.open_append_session(basin, stream)).submit(commands(*records))


async def followed(guard: GuardedStore, basin: str, stream: str) -> object:
    async with await guard.open_read_session(basin, stream, ReadRequest.of(SeqNum(0))) as session:
        return await session.next()


def on_a_basin(b: str) -> list[Attempt]:
    def attempt(call: Callable[[GuardedStore], Awaitable[object]], *needs: Operation) -> Attempt:
        return Attempt(needs, call, basin=b)

    return [
        attempt(lambda g: g.create_basin(b), Operation.CREATE_BASIN),
        attempt(lambda g: g.ensure_basin(b), Operation.CREATE_BASIN, Operation.RECONFIGURE_BASIN),
        attempt(lambda g: g.get_basin_config(b), Operation.GET_BASIN_CONFIG),
        attempt(
            lambda g: g.reconfigure_basin(b, BasinReconfiguration(create_stream_on_read=False)),
            Operation.RECONFIGURE_BASIN,
        ),
        attempt(lambda g: g.delete_basin(b), Operation.DELETE_BASIN),
        attempt(lambda g: g.basin_metrics(b, BasinMetricSet.BASIN_OPS, METRICS), Operation.BASIN_METRICS),
    ]


def on_a_stream(b: str, s: str) -> list[Attempt]:
    def attempt(call: Callable[[GuardedStore], Awaitable[object]], *needs: Operation) -> Attempt:
        return Attempt(needs, call, basin=b, stream=s)

    def session(*records: AppendRecord, needs: tuple[Operation, ...]) -> Attempt:
        return Attempt(needs, lambda g: submitted(g, b, s, *records), basin=b, stream=s, session=True)

    fence, trim = AppendRecord.fence("f"), AppendRecord.trim(1)
    plain = AppendRecord("x", headers={"fence": "trim"})
    return [
        attempt(lambda g: g.create_stream(b, s), Operation.CREATE_STREAM),
        attempt(lambda g: g.ensure_stream(b, s, StreamConfig()), Operation.CREATE_STREAM, Operation.RECONFIGURE_STREAM),
        attempt(lambda g: g.get_stream_config(b, s), Operation.GET_STREAM_CONFIG),
        attempt(lambda g: g.reconfigure_stream(b, s, StreamReconfiguration()), Operation.RECONFIGURE_STREAM),
        attempt(lambda g: g.delete_stream(b, s), Operation.DELETE_STREAM),
        attempt(lambda g: g.check_tail(b, s), Operation.CHECK_TAIL),
        attempt(lambda g: g.append(b, s, commands(plain)), Operation.APPEND),
        attempt(lambda g: g.append(b, s, commands(plain, trim)), Operation.APPEND, Operation.TRIM),
        attempt(lambda g: g.append(b, s, commands(fence)), Operation.APPEND, Operation.FENCE),
        attempt(lambda g: g.append(b, s, commands(fence, trim)), Operation.APPEND, Operation.FENCE, Operation.TRIM),
        session(plain, needs=(Operation.APPEND,)),
        session(trim, plain, needs=(Operation.APPEND, Operation.TRIM)),
        session(plain, fence, needs=(Operation.APPEND, Operation.FENCE)),
        attempt(lambda g: g.read(b, s, ReadRequest.of(SeqNum(0))), Operation.READ),
        attempt(lambda g: followed(g, b, s), Operation.READ),
        attempt(lambda g: g.stream_metrics(b, s, StreamMetricSet.STORAGE, METRICS), Operation.STREAM_METRICS),
    ]


def on_a_token(t: str) -> list[Attempt]:
    def issue(guard: GuardedStore) -> Awaitable[object]:
        return guard.issue_access_token(AccessTokenInfo(t, AccessTokenScope(ops=(Operation.ISSUE_ACCESS_TOKEN,))))

    return [
        Attempt((Operation.ISSUE_ACCESS_TOKEN,), issue, token_id=t),
        Attempt((Operation.REVOKE_ACCESS_TOKEN,), lambda g: g.revoke_access_token(t), token_id=t),
    ]


def on_the_account() -> list[Attempt]:
    return [
        Attempt((Operation.ACCOUNT_METRICS,), lambda g: g.account_metrics(AccountMetricSet.ACCOUNT_OPS, METRICS)),
        Attempt((Operation.LIST_LOCATIONS,), lambda g: g.list_locations()),
        Attempt((Operation.GET_DEFAULT_LOCATION,), lambda g: g.get_default_location()),
        Attempt((Operation.SET_DEFAULT_LOCATION,), lambda g: g.set_default_location("local")),
    ]


stream_attempts = st.tuples(
    st.sampled_from((*BASINS, "basin-abc")), st.sampled_from((*STREAMS, "a/new", "/", "zz"))
).flatmap(lambda names: st.sampled_from(on_a_stream(*names)))
attempts = st.one_of(
    stream_attempts,
    stream_attempts,
    st.sampled_from((*BASINS, "basin-abc")).flatmap(lambda b: st.sampled_from(on_a_basin(b))),
    st.sampled_from((*TOKENS, "t11")).flatmap(lambda t: st.sampled_from(on_a_token(t))),
    st.sampled_from(on_the_account()),
)


async def result_of(call: Awaitable[object]) -> tuple[PerdureError | None, object]:
    try:
        return None, await call
    except PerdureError as exc:
        return exc, None


each_attempt = [*on_a_basin("basin-aa"), *on_a_stream("basin-aa", "a"), *on_a_token("t"), *on_the_account()]


def test_each_operation_is_needed_and_no_other() -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        for attempt in each_attempt:
            for operations in ({*Operation} - {missing} for missing in attempt.needs):
                scope = AccessTokenScope(EVERYTHING, EVERYTHING, EVERYTHING, ops=tuple(operations))
                with pytest.raises(PermissionDenied):
                    await attempt.call(GuardedStore(store, Grant(AccessTokenInfo("me", scope))))
        for attempt in each_attempt:  # some of them delete what the next ones are about, which is another answer
            scope = AccessTokenScope(EVERYTHING, EVERYTHING, EVERYTHING, ops=attempt.needs)
            failure, _ = await result_of(attempt.call(GuardedStore(store, Grant(AccessTokenInfo("me", scope)))))
            assert not isinstance(failure, PermissionDenied), attempt.needs

    on_a_filled_store(check)
    # Listings have tests of their own.
    listings = {Operation.LIST_BASINS, Operation.LIST_STREAMS, Operation.LIST_ACCESS_TOKENS}
    assert {need for attempt in each_attempt for need in attempt.needs} == {*Operation} - listings


async def picture(engine: Engine) -> dict[tuple[str | None, ...], object]:
    """Everything that is there."""
    found: dict[tuple[str | None, ...], object] = {}
    for basin in await engine.list_basins("", "", 1000):
        found["basin", basin.name] = basin
        for stream in await engine.list_streams(basin.name, "", "", 1000):
            tail = None if stream.deleted_at else (await engine.state(stream.stream_id)).tail
            found["stream", basin.name, stream.name] = (stream, tail)
    found.update({("token", entry.info.id): entry for entry in await engine.list_access_tokens("", "", 1000)})
    return found


@examples
@given(token=tokens(), tried=st.lists(attempts, min_size=4, max_size=16))
def test_what_a_token_does_is_what_it_may(token: AccessTokenInfo, tried: list[Attempt]) -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        guard, own = GuardedStore(store, Grant(token)), token.stream_prefix
        before = await picture(engine)
        for attempt in tried:
            failure, outcome = await result_of(attempt.call(guard))
            assert isinstance(failure, PermissionDenied) is not attempt.permitted(token) or (
                isinstance(failure, NotFound) and attempt.begins(token)
            )
            if failure is not None and own:
                assert f"`{own}{attempt.stream}`" not in failure.message
            if attempt.stream is not None and isinstance(outcome, Provisioned):
                assert outcome.info.name == attempt.stream
            after = await picture(engine)
            changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
            assert changed <= ({attempt.touches(token)} if attempt.begins(token) else set())
            before = after

    on_a_filled_store(check)


# Sessions -------------------------------------------------------------------------------------------


APPENDING = AccessTokenInfo("t", AccessTokenScope(EVERYTHING, EVERYTHING, ops=(Operation.APPEND, Operation.READ)))


def test_an_append_session_ends_at_a_command_that_is_not_permitted() -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        session = await GuardedStore(store, Grant(APPENDING)).open_append_session("basin-aa", "a")
        before = session.submit(batch("before"))
        refused = session.submit(commands(AppendRecord("x"), AppendRecord.trim(1)))
        after = session.submit(batch("after"))
        assert (await before).end.seq_num == 2
        for future in (refused, after):
            with pytest.raises(PermissionDenied, match="`trim`"):
                await future
        assert (await store.check_tail("basin-aa", "a")).seq_num == 2

    on_a_filled_store(check)


def test_sessions_end_with_their_token() -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        grant = Grant(APPENDING)
        guard = GuardedStore(store, grant)
        appending = await guard.open_append_session("basin-aa", "a")
        await appending.submit(batch("y"))
        async with await guard.open_read_session("basin-aa", "a", ReadRequest.of(SeqNum(0))) as reading:
            assert (await reading.next()) is not None
            grant.revoked = True
            for attempt in (appending.submit(batch("z")), reading.next()):
                with pytest.raises(AuthenticationFailed, match="revoked"):
                    await attempt
            assert await reading.next() is None
        assert (await store.check_tail("basin-aa", "a")).seq_num == 2

    on_a_filled_store(check)


def test_a_read_that_waited_longer_than_its_token_lasts_tells_nothing() -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        attached = asyncio.Event()
        grant = Grant(APPENDING, on_attach=lambda _: attached.set())
        waiting = asyncio.create_task(
            GuardedStore(store, grant).read("basin-aa", "a", ReadRequest.of(SeqNum(1), wait=60))
        )
        await attached.wait()
        grant.revoked = True
        await store.append("basin-aa", "a", batch("secret"))
        while not waiting.done():  # the read may look before the append is there; then one more wakes it
            await store.append("basin-aa", "a", batch("secret"))
        with pytest.raises(AuthenticationFailed):
            await waiting

    on_a_filled_store(check)


# Odds and ends --------------------------------------------------------------------------------------


def test_the_names_of_active_basins_are_those_that_the_token_may_see() -> None:
    class Store(StreamStore):
        async def account_metrics(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[LabelMetric, ...]:
            return (LabelMetric("active-basins", BASINS),)

    async def check(engine: Engine, store: StreamStore) -> None:
        scope = AccessTokenScope(PrefixMatch("basin-a"), ops=(Operation.ACCOUNT_METRICS,))
        guard = GuardedStore(Store(engine), Grant(AccessTokenInfo("t", scope)))
        assert await guard.account_metrics(AccountMetricSet.ACTIVE_BASINS, METRICS) == (
            LabelMetric("active-basins", ("basin-aa", "basin-ab")),
        )

    on_a_filled_store(check)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_prefix_makes_no_name_of_what_is_none(name: str) -> None:
    async def check(engine: Engine, store: StreamStore) -> None:
        scope = AccessTokenScope(EVERYTHING, PrefixMatch("a/"), ops=tuple(Operation))
        guard = GuardedStore(store, Grant(AccessTokenInfo("t", scope, None, auto_prefix_streams=True)))
        for call in (guard.create_stream("basin-aa", name), guard.append("basin-aa", name, batch("x"))):
            with pytest.raises(PerdureError, match="stream name"):
                await call

    on_a_filled_store(check)
