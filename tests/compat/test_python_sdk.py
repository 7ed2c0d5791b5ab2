"""What the PyPI package `s2-sdk` promises, asked of our server: over HTTP/2, with nothing of it replaced."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator

import pytest
import s2_sdk
from s2_sdk import (
    S2,
    AccessTokenScope,
    AccountMetricSet,
    AppendInput,
    BasinConfig,
    BasinMetricSet,
    Batching,
    CommandRecord,
    Compression,
    Encryption,
    EnsureStatus,
    ExactMatch,
    FencingTokenMismatchError,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    ReadLimit,
    ReadUnwrittenError,
    Record,
    S2Basin,
    S2ServerError,
    S2Stream,
    SeqNum,
    SeqNumMismatchError,
    StreamConfig,
    StreamMetricSet,
    TailOffset,
    TimeseriesInterval,
    Timestamp,
    Timestamping,
    TimestampingMode,
)

from tests.compat.serving import ROOT_TOKEN, ServedStore


def unique(what: str) -> str:
    return f"{what}-{secrets.token_hex(6)}"


@pytest.fixture(params=list(Compression), ids=lambda compression: f"compression-{compression.value}")
def compression(request: pytest.FixtureRequest) -> Compression:
    value = request.param
    assert isinstance(value, Compression)
    return value


@pytest.fixture
async def s2(served: ServedStore, compression: Compression) -> AsyncIterator[S2]:
    async with S2(ROOT_TOKEN, endpoints=endpoints(served), compression=compression) as client:
        yield client


@pytest.fixture
async def basin(s2: S2) -> S2Basin:
    name = unique("compat")
    await s2.create_basin(name)
    made: S2Basin = s2.basin(name)
    return made


@pytest.fixture
async def stream(basin: S2Basin) -> S2Stream:
    name = unique("stream")
    await basin.create_stream(name)
    made: S2Stream = basin.stream(name)
    return made


def endpoints(served: ServedStore) -> s2_sdk.Endpoints:
    return s2_sdk.Endpoints(account=served.url, basin=served.url)


def records(*bodies: bytes) -> AppendInput:
    return AppendInput([Record(body) for body in bodies])


async def refused(call: object, code: str, status: int) -> S2ServerError:
    with pytest.raises(S2ServerError) as caught:
        await call  # type: ignore[misc]  # any awaitable
    assert (caught.value.code, caught.value.status_code) == (code, status)
    return caught.value


class TestAccount:
    async def test_a_basin_is_created_listed_configured_and_deleted(self, s2: S2) -> None:
        name = unique("basin")
        config = BasinConfig(
            default_stream_config=StreamConfig(
                storage_class="standard",
                retention_policy="infinite",
                timestamping=Timestamping(TimestampingMode.CLIENT_REQUIRE, uncapped=True),
                delete_on_empty_min_age=3600,
            ),
            create_stream_on_append=True,
            create_stream_on_read=False,
        )
        info = await s2.create_basin(name, config=config)
        assert info.name == name
        assert info.deleted_at is None
        assert await s2.get_basin_config(name) == config
        page = await s2.list_basins(prefix=name)
        assert [item.name for item in page.items] == [name]
        assert not page.has_more
        changed = await s2.reconfigure_basin(name, config=BasinConfig(create_stream_on_read=True))
        assert changed.create_stream_on_read
        assert changed.create_stream_on_append
        await s2.delete_basin(name)
        assert name not in [item.name async for item in s2.list_all_basins(prefix=name)]

    async def test_ensure_tells_what_it_did(self, s2: S2) -> None:
        name = unique("basin")
        on = BasinConfig(create_stream_on_append=True)
        assert (await s2.ensure_basin(name)).status is EnsureStatus.CREATED
        assert (await s2.ensure_basin(name, config=on)).status is EnsureStatus.CONFIG_UPDATED
        assert (await s2.ensure_basin(name, config=on)).status is EnsureStatus.CONFIG_UNCHANGED

    async def test_pages_follow_each_other(self, s2: S2) -> None:
        prefix = unique("many")
        names = [f"{prefix}-{number}" for number in range(5)]
        for name in names:
            await s2.create_basin(name)
        first = await s2.list_basins(prefix=prefix, limit=2)
        second = await s2.list_basins(prefix=prefix, limit=2, start_after=first.items[-1].name)
        assert [b.name for b in first.items + second.items] == names[:4]
        assert first.has_more
        assert second.has_more
        assert [b.name async for b in s2.list_all_basins(prefix=prefix)] == names

    async def test_errors_have_their_code(self, s2: S2, basin: S2Basin) -> None:
        await refused(s2.create_basin(basin.name), "resource_already_exists", 409)
        await refused(s2.get_basin_config(unique("nothing")), "basin_not_found", 404)
        await s2.delete_basin(unique("nothing"), ignore_not_found=True)

    async def test_locations(self, s2: S2) -> None:
        locations = await s2.list_locations()
        default = await s2.get_default_location()
        assert default in locations
        assert await s2.set_default_location(default.name) == default

    async def test_basins_tell_where_they_are(self, s2: S2, basin: S2Basin) -> None:
        default = await s2.get_default_location()
        page = await s2.list_basins(prefix=basin.name)
        assert [info.location for info in page.items] == [default.name]


class TestStreams:
    async def test_a_stream_is_created_listed_configured_and_deleted(self, basin: S2Basin) -> None:
        name = "a/b c?#%é😀"
        info = await basin.create_stream(name, config=StreamConfig(retention_policy=3600))
        assert info.name == name
        assert info.cipher is None
        config = await basin.get_stream_config(name)
        assert (config.storage_class, config.retention_policy) == ("express", 3600)
        changed = await basin.reconfigure_stream(name, config=StreamConfig(retention_policy="infinite"))
        assert changed.retention_policy == "infinite"
        assert [s.name async for s in basin.list_all_streams(prefix="a/")] == [name]
        await basin.delete_stream(name)
        assert [s.name async for s in basin.list_all_streams()] == []

    async def test_ensure_tells_what_it_did(self, basin: S2Basin) -> None:
        assert (await basin.ensure_stream("s")).status is EnsureStatus.CREATED
        other = StreamConfig(retention_policy=60)
        assert (await basin.ensure_stream("s", config=other)).status is EnsureStatus.CONFIG_UPDATED
        assert (await basin.ensure_stream("s", config=other)).status is EnsureStatus.CONFIG_UNCHANGED

    async def test_errors_have_their_code(self, basin: S2Basin, stream: S2Stream) -> None:
        await refused(basin.create_stream(stream.name), "resource_already_exists", 409)
        await refused(basin.get_stream_config("nothing"), "stream_not_found", 404)
        await refused(basin.stream("nothing").check_tail(), "stream_not_found", 404)
        await basin.delete_stream("nothing", ignore_not_found=True)


class TestAppendAndRead:
    async def test_what_was_appended_is_read(self, stream: S2Stream) -> None:
        batch = [Record(b"one", headers=[(b"k", b"v"), (b"k", b"")]), Record(b""), Record(os.urandom(5000))]
        ack = await stream.append(AppendInput(batch))
        assert (ack.start.seq_num, ack.end.seq_num, ack.tail.seq_num) == (0, 3, 3)
        assert (await stream.check_tail()).seq_num == 3
        read = await stream.read(start=SeqNum(0))
        assert [(r.seq_num, r.body, r.headers) for r in read.records] == [
            (number, record.body, record.headers) for number, record in enumerate(batch)
        ]

    async def test_a_mebibyte_and_a_thousand_records_fit(self, stream: S2Stream) -> None:
        assert (await stream.append(records(bytes(1024 * 1024 - 8)))).end.seq_num == 1
        assert (await stream.append(AppendInput([Record(b"x")] * 1000))).end.seq_num == 1001

    async def test_conditions(self, stream: S2Stream) -> None:
        await stream.append(AppendInput([Record(b"a")], match_seq_num=0))
        with pytest.raises(SeqNumMismatchError) as seq:
            await stream.append(AppendInput([Record(b"b")], match_seq_num=0))
        assert seq.value.expected_seq_num == 1
        await stream.append(AppendInput([CommandRecord.fence("mine")]))
        await stream.append(AppendInput([Record(b"c")], fencing_token="mine"))
        with pytest.raises(FencingTokenMismatchError) as fence:
            await stream.append(AppendInput([Record(b"d")], fencing_token="yours"))
        assert fence.value.expected_fencing_token == "mine"

    async def test_starts_limits_and_until(self, stream: S2Stream) -> None:
        batch = [Record(str(number).encode(), timestamp=1000 + number) for number in range(10)]
        await stream.append(AppendInput(batch))
        bodies = [
            [r.body for r in (await stream.read(start=start)).records] for start in (Timestamp(1007), TailOffset(2))
        ]
        assert bodies == [[b"7", b"8", b"9"], [b"8", b"9"]]
        limited = await stream.read(start=SeqNum(2), limit=ReadLimit(count=3, bytes=20), until_timestamp=1009)
        assert [r.body for r in limited.records] == [b"2", b"3"]

    async def test_reading_at_the_tail(self, stream: S2Stream) -> None:
        with pytest.raises(ReadUnwrittenError) as caught:
            await stream.read(start=SeqNum(0))
        assert caught.value.tail.seq_num == 0
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(stream.read(start=SeqNum(0), wait=4))
            await stream.append(records(b"later"))
        assert [r.body for r in waiting.result().records] == [b"later"]

    async def test_trim(self, stream: S2Stream) -> None:
        await stream.append(records(b"0", b"1", b"2"))
        await stream.append(AppendInput([CommandRecord.trim(2)]))
        read = await stream.read(start=SeqNum(0))
        assert [r.seq_num for r in read.records] == [2, 3]
        assert [r.seq_num for r in (await stream.read(start=SeqNum(0), ignore_command_records=True)).records] == [2]

    async def test_invalid_batches_are_refused(self, stream: S2Stream) -> None:
        with pytest.raises(S2ServerError) as caught:
            await stream.append(AppendInput([Record(b"x", headers=[(b"", b"nonsense")])]))
        assert (caught.value.code, caught.value.status_code) == ("invalid", 422)

    async def test_client_timestamps_may_be_required(self, basin: S2Basin) -> None:
        required = StreamConfig(timestamping=Timestamping(TimestampingMode.CLIENT_REQUIRE))
        await basin.create_stream("stamped", config=required)
        await refused(basin.stream("stamped").append(records(b"x")), "invalid", 422)


class TestSessions:
    async def test_an_append_session_acknowledges_in_order(self, stream: S2Stream) -> None:
        async with stream.append_session() as session:
            tickets = [await session.submit(records(os.urandom(2000), b"x")) for _ in range(50)]
            acks = [await ticket for ticket in tickets]
        assert [ack.start.seq_num for ack in acks] == list(range(0, 100, 2))

    async def test_a_condition_that_fails_ends_the_session(self, stream: S2Stream) -> None:
        session = stream.append_session()
        first = await session.submit(AppendInput([Record(b"a")], match_seq_num=0))
        wrong = await session.submit(AppendInput([Record(b"b")], match_seq_num=7))
        assert (await first).end.seq_num == 1
        with pytest.raises(SeqNumMismatchError) as caught:
            await wrong
        assert caught.value.expected_seq_num == 1
        with pytest.raises(SeqNumMismatchError):
            await session.close()
        assert (await stream.check_tail()).seq_num == 1

    async def test_a_session_on_a_stream_that_is_missing(self, basin: S2Basin) -> None:
        session = basin.stream("missing").append_session()
        with pytest.raises(S2ServerError) as caught:
            await (await session.submit(records(b"x")))
        assert (caught.value.code, caught.value.status_code) == ("stream_not_found", 404)

    async def test_a_read_session_ends_at_its_limit(self, stream: S2Stream) -> None:
        await stream.append(records(*(str(number).encode() for number in range(10))))
        found = [
            r.seq_num async for b in stream.read_session(start=SeqNum(3), limit=ReadLimit(count=4)) for r in b.records
        ]
        assert found == [3, 4, 5, 6]

    async def test_a_read_session_beyond_the_tail_is_refused(self, stream: S2Stream) -> None:
        with pytest.raises(ReadUnwrittenError) as caught:
            async for _ in stream.read_session(start=SeqNum(5)):
                pass
        assert caught.value.tail.seq_num == 0

    async def test_a_reader_follows_a_producer(self, stream: S2Stream) -> None:
        """Thousands of records, every sequence number exactly once and in order."""
        wanted = 3000

        async def produce() -> None:
            async with stream.producer(batching=Batching(max_records=37)) as producer:
                tickets = [await producer.submit(Record(str(number).encode())) for number in range(wanted)]
                for number, ticket in enumerate(tickets):
                    assert (await ticket).seq_num == number

        seen: list[int] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(produce())
            async with stream.read_session(start=SeqNum(0)) as session:
                async for batch in session:
                    for record in batch.records:
                        assert record.body == str(record.seq_num).encode()
                        seen.append(record.seq_num)
                    if len(seen) == wanted:
                        break
        assert seen == list(range(wanted))

    async def test_a_reader_of_large_batches(self, stream: S2Stream) -> None:
        bodies = [os.urandom(300_000) for _ in range(12)]
        async with stream.append_session() as session:
            for body in bodies:
                await session.submit(records(body))
        limit = ReadLimit(count=len(bodies))
        found = [r.body async for b in stream.read_session(start=SeqNum(0), limit=limit) for r in b.records]
        assert found == bodies

    async def test_streams_are_created_on_append(self, s2: S2) -> None:
        name = unique("auto")
        await s2.create_basin(name, config=BasinConfig(create_stream_on_append=True))
        async with s2.basin(name).stream("new").append_session() as session:
            assert (await (await session.submit(records(b"x")))).end.seq_num == 1

    async def test_streams_are_created_with_the_configuration_that_comes_along(self, s2: S2) -> None:
        name = unique("auto")
        layer = StreamConfig(storage_class="standard", retention_policy=60)
        await s2.create_basin(
            name,
            config=BasinConfig(default_stream_config=layer, create_stream_on_append=True, create_stream_on_read=True),
        )
        basin, config = s2.basin(name), StreamConfig(retention_policy=3600)
        batch = AppendInput([Record(b"x")], stream_config=config)
        await basin.stream("appended").append(batch)
        async with basin.stream("in-session").append_session(stream_config=config) as session:
            await (await session.submit(records(b"x")))
        async with basin.stream("produced").producer(stream_config=config) as producer:
            await (await producer.submit(Record(b"x")))
        with pytest.raises(ReadUnwrittenError):
            await basin.stream("read").read(start=SeqNum(0), stream_config=config)
        async with basin.stream("followed").read_session(start=SeqNum(0), stream_config=config) as reading:
            await reading.caught_up()
        for made in ("appended", "in-session", "produced", "read", "followed"):
            found = await basin.get_stream_config(made)
            assert (found.retention_policy, found.storage_class) == (3600, "standard"), made
        await basin.stream("appended").append(AppendInput([Record(b"x")], stream_config=layer))
        assert (await basin.get_stream_config("appended")).retention_policy == 3600


@pytest.mark.parametrize("cipher", list(Encryption), ids=lambda cipher: cipher.value)
class TestEncryption:
    async def test_a_round_trip_with_the_key(self, s2: S2, cipher: Encryption) -> None:
        name, key = unique("sealed"), os.urandom(32)
        await s2.create_basin(name, config=BasinConfig(stream_cipher=cipher))
        info = await s2.basin(name).create_stream("secret")
        assert info.cipher is cipher
        stream = s2.basin(name).stream("secret", encryption_key=key)
        await stream.append(AppendInput([Record(b"hidden", headers=[(b"a", b"b")]), CommandRecord.fence("f")]))
        async with stream.append_session() as session:
            await (await session.submit(AppendInput([Record(b"more")], fencing_token="f")))
        read = [(r.body, r.headers) for r in (await stream.read(start=SeqNum(0))).records]
        assert read == [(b"hidden", [(b"a", b"b")]), (b"f", [(b"", b"fence")]), (b"more", [])]
        limit = ReadLimit(count=3)
        assert [r.body async for b in stream.read_session(start=SeqNum(0), limit=limit) for r in b.records] == [
            b"hidden", b"f", b"more",
        ]  # fmt: skip

    async def test_without_the_key_and_with_a_wrong_one(self, s2: S2, cipher: Encryption) -> None:
        name = unique("sealed")
        await s2.create_basin(name, config=BasinConfig(stream_cipher=cipher))
        await s2.basin(name).create_stream("secret")
        bare = s2.basin(name).stream("secret")
        error = await refused(bare.append(records(b"x")), "bad_header", 400)
        assert cipher.value in error.message
        await s2.basin(name).stream("secret", encryption_key=os.urandom(32)).append(records(b"x"))
        wrong = s2.basin(name).stream("secret", encryption_key=os.urandom(32))
        await refused(wrong.read(start=SeqNum(0)), "decryption_failed", 400)
        with pytest.raises(S2ServerError) as caught:
            async for _ in wrong.read_session(start=SeqNum(0)):
                pass
        assert caught.value.code == "decryption_failed"
        assert (await bare.check_tail()).seq_num == 1


class TestAccessTokens:
    async def test_tokens_are_issued_listed_and_revoked(self, s2: S2) -> None:
        token_id = unique("token")
        scope = AccessTokenScope(
            basins=PrefixMatch(""), streams=ExactMatch("s"), ops=[Operation.READ, Operation.CHECK_TAIL]
        )
        assert await s2.issue_access_token(token_id, scope=scope)
        await refused(s2.issue_access_token(token_id, scope=scope), "resource_already_exists", 409)
        (info,) = (await s2.list_access_tokens(prefix=token_id)).items
        assert (info.id, info.scope.basins, info.scope.streams) == (token_id, PrefixMatch(""), ExactMatch("s"))
        assert set(info.scope.ops) == {Operation.READ, Operation.CHECK_TAIL}
        await s2.revoke_access_token(token_id)
        await refused(s2.revoke_access_token(token_id), "access_token_not_found", 404)

    async def test_a_token_may_do_what_its_scope_says(self, s2: S2, served: ServedStore, basin: S2Basin) -> None:
        scope = AccessTokenScope(
            basins=ExactMatch(basin.name),
            streams=PrefixMatch("mine/"),
            op_groups=OperationGroupPermissions(stream=Permission.READ_WRITE, basin=Permission.READ_WRITE),
        )
        secret = await s2.issue_access_token(unique("token"), scope=scope, auto_prefix_streams=True)
        async with S2(secret, endpoints=endpoints(served)) as limited:
            own = limited.basin(basin.name)
            await own.create_stream("notes")
            assert (await own.stream("notes").append(records(b"x"))).end.seq_num == 1
            assert [info.name for info in (await own.list_streams()).items] == ["notes"]
            await refused(limited.list_basins(), "permission_denied", 403)
            await refused(limited.basin(unique("other")).list_streams(), "permission_denied", 403)
        assert [info.name for info in (await basin.list_streams()).items] == ["mine/notes"]

    async def test_garbage_is_no_token(self, served: ServedStore) -> None:
        async with S2("garbage", endpoints=endpoints(served)) as stranger:
            await refused(stranger.list_basins(), "authn", 401)


class TestMetrics:
    async def test_every_set_answers(self, s2: S2, basin: S2Basin, stream: S2Stream) -> None:
        await stream.append(records(b"x"))
        end = int(time.time())
        start = end - 3600
        for account in (AccountMetricSet.ACTIVE_BASINS, AccountMetricSet.ACCOUNT_OPS):
            assert isinstance(await s2.account_metrics(set=account, start=start, end=end), list)
        for basin_set in BasinMetricSet:
            interval = TimeseriesInterval.HOUR if basin_set is BasinMetricSet.STORAGE else TimeseriesInterval.MINUTE
            found = await s2.basin_metrics(basin.name, set=basin_set, start=start, end=end, interval=interval)
            assert isinstance(found, list)
        storage = await s2.stream_metrics(
            basin.name,
            stream.name,
            set=StreamMetricSet.STORAGE,
            start=start,
            end=end,
            interval=TimeseriesInterval.MINUTE,
        )
        assert isinstance(storage, list)
        await refused(s2.account_metrics(set=AccountMetricSet.ACCOUNT_OPS), "invalid", 422)
        # Nobody is billed for what they run themselves, so there is nothing to tell in dollars.
        bill = AccountMetricSet.ESTIMATED_BILLABLE_USAGE
        await refused(s2.account_metrics(set=bill, start=start, end=end), "bad_query", 400)
