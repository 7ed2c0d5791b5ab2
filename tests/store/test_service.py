"""The operations of the store, over every engine (store API, sections 3, 5, 6 and 11)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from perdure.errors import (
    AccessTokenNotFound,
    BasinDeletionPending,
    BasinNotFound,
    FencingTokenMismatch,
    Invalid,
    PermissionDenied,
    ReadUnwritten,
    ResourceExists,
    SeqNumMismatch,
    StreamDeletionPending,
    StreamNotFound,
)
from perdure.model.access_tokens import AccessTokenInfo, AccessTokenScope, Operation, PrefixMatch
from perdure.model.batches import AppendInput, ReadBatch
from perdure.model.configs import (
    BasinConfig,
    BasinReconfiguration,
    Cipher,
    DeleteOnEmptyConfig,
    DeleteOnEmptyReconfiguration,
    InfiniteRetention,
    RetentionAge,
    StorageClass,
    StreamConfig,
    StreamReconfiguration,
    TimestampingConfig,
    TimestampingMode,
    TimestampingReconfiguration,
)
from perdure.model.positions import ReadStart, SeqNum, StreamPosition, TailOffset, Timestamp
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord
from perdure.model.resources import ProvisionResult
from perdure.store.access_tokens import hash_secret
from perdure.store.account import DEFAULT_LOCATION, page_limit
from perdure.store.engine import Engine
from perdure.store.service import StreamStore
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, commands, eventually
from tests.store.stores import Store, opened

BASIN = "service-basin"
DEFAULTS = StreamConfig(
    StorageClass.EXPRESS,
    RetentionAge(7 * 86_400),
    TimestampingConfig(TimestampingMode.CLIENT_PREFER, False),
    DeleteOnEmptyConfig(0),
)
FULL = StreamConfig(
    StorageClass.STANDARD,
    InfiniteRetention(),
    TimestampingConfig(TimestampingMode.ARRIVAL, True),
    DeleteOnEmptyConfig(30),
)
Reads = Callable[[], Awaitable[object]]


def request(
    start: ReadStart | None = None,
    *,
    count: int | None = None,
    size: int | None = None,
    until: int | None = None,
    clamp: bool = False,
    wait: float | None = None,
) -> ReadRequest:
    return ReadRequest.of(start, count=count, bytes=size, until=until, clamp=clamp, wait=wait)


@pytest.fixture
def service(engine: Engine) -> StreamStore:
    return StreamStore(engine)


@pytest.fixture
async def basin(service: StreamStore) -> str:
    await service.create_basin(BASIN)
    return BASIN


@pytest.fixture
async def idle(store: Store) -> AsyncIterator[StreamStore]:
    """A store in which nothing that was deleted is removed."""
    async with opened(store, maintain=False) as engine:
        service = StreamStore(engine)
        await service.create_basin(BASIN)
        yield service


class TestBasins:
    async def test_a_new_basin_sets_nothing(self, service: StreamStore) -> None:
        before = datetime.now(UTC)
        made = await service.create_basin(BASIN)
        assert made.result is ProvisionResult.CREATED
        assert (made.info.name, made.info.deleted_at, made.info.location) == (BASIN, None, DEFAULT_LOCATION)
        assert before <= made.info.created_at <= datetime.now(UTC)
        assert await service.get_basin_config(BASIN) == BasinConfig()

    async def test_a_full_configuration_comes_back(self, service: StreamStore) -> None:
        config = BasinConfig(FULL, Cipher.AEGIS_256, True, True)
        await service.create_basin(BASIN, config)
        assert await service.get_basin_config(BASIN) == config

    @pytest.mark.parametrize(
        "name", ["short", "x" * 49, "Upper-case", "under_score", "-hyphen-", "hyphens-", "", "b a s i n"]
    )
    async def test_a_bad_name_is_refused(self, service: StreamStore, name: str) -> None:
        for call in (service.create_basin(name), service.ensure_basin(name), service.delete_basin(name)):
            with pytest.raises(Invalid, match="basin name"):
                await call
        assert (await service.list_basins()).items == ()

    async def test_a_name_is_taken_once(self, service: StreamStore, basin: str) -> None:
        with pytest.raises(ResourceExists, match=f"basin `{basin}` already exists"):
            await service.create_basin(basin)

    async def test_a_retried_create_is_recognised(self, service: StreamStore) -> None:
        config = BasinConfig(StreamConfig(retention_policy=RetentionAge(5)))
        made = await service.create_basin(BASIN, config, request_token="token")
        again = await service.create_basin(BASIN, config, request_token="token")
        assert (again.result, again.info) == (ProvisionResult.NOOP, made.info)
        for other_config, token in ((BasinConfig(), "token"), (config, "other"), (config, None)):
            with pytest.raises(ResourceExists):
                await service.create_basin(BASIN, other_config, request_token=token)

    async def test_a_retried_create_is_recognised_after_changes(self, service: StreamStore) -> None:
        empty = StreamConfig(timestamping=TimestampingConfig())
        await service.create_basin(BASIN, BasinConfig(empty), request_token="token")
        await service.ensure_basin(BASIN, BasinConfig(create_stream_on_read=True))
        again = await service.create_basin(BASIN, BasinConfig(), request_token="token")
        assert again.result is ProvisionResult.NOOP

    async def test_a_basin_that_was_ensured_has_no_create_to_retry(self, service: StreamStore) -> None:
        await service.ensure_basin(BASIN)
        with pytest.raises(ResourceExists):
            await service.create_basin(BASIN, request_token="token")

    @pytest.mark.parametrize("token", ["x" * 37, "spa ce", "é", "new\nline"])
    async def test_a_bad_request_token_is_refused(self, service: StreamStore, token: str) -> None:
        with pytest.raises(Invalid, match="request token"):
            await service.create_basin(BASIN, request_token=token)

    async def test_ensure_creates_replaces_or_does_nothing(self, service: StreamStore) -> None:
        made = await service.ensure_basin(BASIN, BasinConfig(FULL, create_stream_on_append=True))
        assert made.result is ProvisionResult.CREATED
        changed = await service.ensure_basin(BASIN, BasinConfig(create_stream_on_read=True))
        assert changed.result is ProvisionResult.UPDATED
        assert await service.get_basin_config(BASIN) == BasinConfig(create_stream_on_read=True)
        same = await service.ensure_basin(BASIN, BasinConfig(StreamConfig(), create_stream_on_read=True))
        assert same.result is ProvisionResult.NOOP
        reset = await service.ensure_basin(BASIN)
        assert reset.result is ProvisionResult.UPDATED
        assert made.info == changed.info == same.info == reset.info

    async def test_a_change_touches_only_what_it_names(self, service: StreamStore, basin: str) -> None:
        config = BasinConfig()
        for change, expected in [
            (BasinReconfiguration(), BasinConfig()),
            (BasinReconfiguration(create_stream_on_append=True), BasinConfig(create_stream_on_append=True)),
            (
                BasinReconfiguration(StreamReconfiguration(timestamping=TimestampingReconfiguration(uncapped=True))),
                BasinConfig(StreamConfig(timestamping=TimestampingConfig(uncapped=True)), None, True),
            ),
            (
                BasinReconfiguration(
                    StreamReconfiguration(
                        retention_policy=RetentionAge(9),
                        delete_on_empty=DeleteOnEmptyReconfiguration(0),
                        timestamping=TimestampingReconfiguration(TimestampingMode.ARRIVAL, None),
                    )
                ),
                BasinConfig(
                    StreamConfig(
                        None, RetentionAge(9), TimestampingConfig(TimestampingMode.ARRIVAL), DeleteOnEmptyConfig(0)
                    ),
                    None,
                    True,
                ),
            ),
            (
                BasinReconfiguration(
                    StreamReconfiguration(timestamping=None, delete_on_empty=DeleteOnEmptyReconfiguration(None))
                ),
                BasinConfig(StreamConfig(retention_policy=RetentionAge(9)), None, True),
            ),
            (BasinReconfiguration(None, Cipher.AES_256_GCM), BasinConfig(None, Cipher.AES_256_GCM, True)),
            (BasinReconfiguration(UNSET, None, False), BasinConfig()),
        ]:
            config = await service.reconfigure_basin(basin, change)
            assert config == expected
            assert await service.get_basin_config(basin) == expected

    async def test_an_unknown_basin_is_not_found(self, service: StreamStore) -> None:
        for call in (
            service.get_basin_config(BASIN),
            service.reconfigure_basin(BASIN, BasinReconfiguration()),
            service.delete_basin(BASIN),
        ):
            with pytest.raises(BasinNotFound, match=f"basin `{BASIN}` not found"):
                await call

    async def test_while_its_deletion_is_pending(self, idle: StreamStore) -> None:
        await idle.create_stream(BASIN, "s")
        await idle.append(BASIN, "s", batch("a"))
        await idle.delete_basin(BASIN)
        await idle.delete_basin(BASIN)
        (info,) = (await idle.list_basins()).items
        assert info.deleted_at is not None
        assert await idle.get_basin_config(BASIN) == BasinConfig()
        for call in (
            idle.create_basin(BASIN),
            idle.ensure_basin(BASIN),
            idle.reconfigure_basin(BASIN, BasinReconfiguration()),
            idle.create_stream(BASIN, "new"),
            idle.ensure_stream(BASIN, "new"),
            idle.ensure_stream(BASIN, "s"),
            idle.reconfigure_stream(BASIN, "s", StreamReconfiguration()),
        ):
            with pytest.raises(BasinDeletionPending):
                await call
        # What exists goes on until the deletion reaches it.
        assert (await idle.append(BASIN, "s", batch("b"))).end.seq_num == 2
        assert [info.name for info in (await idle.list_streams(BASIN)).items] == ["s"]
        await idle.delete_stream(BASIN, "s")

    async def test_deleting_a_basin_deletes_its_streams(self, service: StreamStore, basin: str) -> None:
        for number in range(5):
            await service.create_stream(basin, f"s{number}")
        await service.delete_basin(basin)

        async def gone() -> bool:
            return not (await service.list_basins()).items

        await eventually(gone)
        with pytest.raises(BasinNotFound):
            await service.check_tail(basin, "s0")
        assert (await service.create_basin(basin)).result is ProvisionResult.CREATED
        assert (await service.list_streams(basin)).items == ()


class TestListing:
    @pytest.mark.parametrize(
        ("limit", "size"), [(0, 1000), (1, 1), (1000, 1000), (1001, 1000), (1500, 1000), (-1, 1000)]
    )
    def test_a_page_has_up_to_1000_items(self, limit: int, size: int) -> None:
        assert page_limit(limit) == size

    async def test_pages_follow_each_other(self, service: StreamStore, basin: str) -> None:
        names = sorted(f"n/{number}" for number in range(5))
        for name in [*names, "m", "o"]:
            await service.create_stream(basin, name)
        seen: list[str] = []
        while True:
            page = await service.list_streams(basin, prefix="n/", start_after=seen[-1] if seen else "", limit=2)
            seen += [info.name for info in page.items]
            assert page.has_more is (seen != names)
            if not page.has_more:
                break
        assert seen == names
        exact = await service.list_streams(basin, prefix="n/", limit=5)
        assert (len(exact.items), exact.has_more) == (5, False)
        beyond = await service.list_streams(basin, prefix="n/", start_after=names[-1])
        assert (beyond.items, beyond.has_more) == ((), False)

    async def test_a_whole_page_and_one_more(self, service: StreamStore, basin: str) -> None:
        await asyncio.gather(*[service.create_stream(basin, f"{number:04}") for number in range(1001)])
        page = await service.list_streams(basin, limit=0)
        assert (len(page.items), page.has_more) == (1000, True)
        rest = await service.list_streams(basin, start_after=page.items[-1].name)
        assert ([info.name for info in rest.items], rest.has_more) == (["1000"], False)

    async def test_basins(self, service: StreamStore) -> None:
        for number in range(3):
            await service.create_basin(f"basin-number-{number}")
        page = await service.list_basins(prefix="basin-", start_after="basin-number-0", limit=1)
        assert ([info.name for info in page.items], page.has_more) == (["basin-number-1"], True)
        assert (await service.list_basins(prefix="nothing-like-it")).items == ()
        assert len((await service.list_basins(start_after="basin-")).items) == 3

    async def test_an_unknown_basin_has_no_streams(self, service: StreamStore) -> None:
        page = await service.list_streams("unknown-basin")
        assert (page.items, page.has_more) == ((), False)

    async def test_what_is_being_deleted_is_listed_as_such(self, idle: StreamStore) -> None:
        await idle.create_stream(BASIN, "s")
        await idle.delete_stream(BASIN, "s")
        (info,) = (await idle.list_streams(BASIN)).items
        assert info.deleted_at is not None

    @pytest.mark.parametrize("prefix", ["-a", "A", "a_b", "x" * 49])
    async def test_a_bad_prefix_of_basins_is_refused(self, service: StreamStore, prefix: str) -> None:
        with pytest.raises(Invalid, match="prefix"):
            await service.list_basins(prefix=prefix)
        with pytest.raises(Invalid, match="start_after"):
            await service.list_basins(start_after=prefix)

    async def test_a_prefix_of_streams_may_be_almost_anything(self, service: StreamStore, basin: str) -> None:
        for prefix in (".", "..", "\0", "é" * 256):
            assert (await service.list_streams(basin, prefix=prefix)).items == ()
        with pytest.raises(Invalid, match="0 to 512 bytes"):
            await service.list_streams(basin, prefix="é" * 257)


class TestStreams:
    async def test_a_new_stream_has_the_defaults(self, service: StreamStore, basin: str) -> None:
        made = await service.create_stream(basin, "s")
        assert (made.result, made.info.deleted_at, made.info.cipher) == (ProvisionResult.CREATED, None, None)
        assert await service.get_stream_config(basin, "s") == DEFAULTS

    async def test_it_inherits_field_by_field(self, service: StreamStore) -> None:
        await service.create_basin(BASIN, BasinConfig(FULL, Cipher.AEGIS_256))
        own = StreamConfig(
            retention_policy=RetentionAge(9),
            timestamping=TimestampingConfig(uncapped=False),
            delete_on_empty=DeleteOnEmptyConfig(0),
        )
        made = await service.create_stream(BASIN, "s", own)
        assert made.info.cipher is Cipher.AEGIS_256
        assert await service.get_stream_config(BASIN, "s") == StreamConfig(
            StorageClass.STANDARD,
            RetentionAge(9),
            TimestampingConfig(TimestampingMode.ARRIVAL, False),
            DeleteOnEmptyConfig(0),
        )

    async def test_later_defaults_of_the_basin_are_for_later_streams(self, service: StreamStore, basin: str) -> None:
        await service.create_stream(basin, "old")
        await service.ensure_basin(basin, BasinConfig(FULL, Cipher.AES_256_GCM))
        assert await service.get_stream_config(basin, "old") == DEFAULTS
        assert (await service.create_stream(basin, "new")).info.cipher is Cipher.AES_256_GCM
        assert await service.get_stream_config(basin, "new") == FULL
        (new, old) = (await service.list_streams(basin)).items
        assert (new.cipher, old.cipher) == (Cipher.AES_256_GCM, None)

    @pytest.mark.parametrize(
        "name",
        ["a/b", " ", "😀", "%", "?", "#", "%2F", "x" * 512, "é" * 256, "\0", "\n", "...", "a.", "\u2028", "A", "a"],
    )
    async def test_a_name_may_be_almost_anything(self, service: StreamStore, basin: str, name: str) -> None:
        await service.create_stream(basin, name)
        await service.append(basin, name, batch("x"))
        assert (await service.check_tail(basin, name)).seq_num == 1
        assert [info.name for info in (await service.list_streams(basin)).items] == [name]

    @pytest.mark.parametrize("name", ["", ".", "..", "x" * 513, "日" * 171, "\ud800"])
    async def test_a_bad_name_is_refused(self, service: StreamStore, basin: str, name: str) -> None:
        for call in (
            service.create_stream(basin, name),
            service.append(basin, name, batch("x")),
            service.check_tail(basin, name),
            service.read(basin, name, request()),
        ):
            with pytest.raises(Invalid, match="stream name"):
                await call

    async def test_a_name_is_taken_once(self, service: StreamStore, basin: str) -> None:
        await service.create_stream(basin, "s")
        with pytest.raises(ResourceExists, match=f"stream `s` in basin `{basin}` already exists"):
            await service.create_stream(basin, "s")
        with pytest.raises(BasinNotFound):
            await service.create_stream("unknown-basin", "s")

    async def test_a_retried_create_is_recognised_after_changes(self, service: StreamStore, basin: str) -> None:
        config = StreamConfig(storage_class=StorageClass.STANDARD)
        made = await service.create_stream(basin, "s", config, request_token="token")
        await service.ensure_basin(basin, BasinConfig(FULL))
        await service.reconfigure_stream(basin, "s", StreamReconfiguration(retention_policy=RetentionAge(5)))
        again = await service.create_stream(basin, "s", config, request_token="token")
        assert (again.result, again.info) == (ProvisionResult.NOOP, made.info)
        with pytest.raises(ResourceExists):
            await service.create_stream(basin, "s", None, request_token="token")

    async def test_ensure_creates_replaces_or_does_nothing(self, service: StreamStore, basin: str) -> None:
        assert (await service.ensure_stream(basin, "s")).result is ProvisionResult.CREATED
        assert (await service.ensure_stream(basin, "s")).result is ProvisionResult.NOOP
        assert (await service.ensure_stream(basin, "s", FULL)).result is ProvisionResult.UPDATED
        config = await service.get_stream_config(basin, "s")
        assert config == FULL
        assert (await service.ensure_stream(basin, "s", config)).result is ProvisionResult.NOOP
        assert (await service.ensure_stream(basin, "s")).result is ProvisionResult.UPDATED
        await service.ensure_basin(basin, BasinConfig(FULL))
        assert (await service.ensure_stream(basin, "s")).result is ProvisionResult.UPDATED
        assert await service.get_stream_config(basin, "s") == FULL
        with pytest.raises(BasinNotFound):
            await service.ensure_stream("unknown-basin", "s")

    async def test_a_change_touches_only_what_it_names(self, service: StreamStore) -> None:
        await service.create_basin(BASIN, BasinConfig(StreamConfig(retention_policy=RetentionAge(77))))
        await service.create_stream(BASIN, "s")
        state = await service.get_stream_config(BASIN, "s")
        changes: list[StreamReconfiguration] = [
            StreamReconfiguration(storage_class=StorageClass.STANDARD),
            StreamReconfiguration(retention_policy=InfiniteRetention()),
            StreamReconfiguration(timestamping=TimestampingReconfiguration(mode=TimestampingMode.CLIENT_REQUIRE)),
            StreamReconfiguration(timestamping=TimestampingReconfiguration(uncapped=True)),
            StreamReconfiguration(delete_on_empty=DeleteOnEmptyReconfiguration(5)),
            StreamReconfiguration(),
            StreamReconfiguration(timestamping=TimestampingReconfiguration()),
        ]
        for change in changes:
            state = await service.reconfigure_stream(BASIN, "s", change)
        assert state == StreamConfig(
            StorageClass.STANDARD,
            InfiniteRetention(),
            TimestampingConfig(TimestampingMode.CLIENT_REQUIRE, True),
            DeleteOnEmptyConfig(5),
        )
        cleared = await service.reconfigure_stream(BASIN, "s", StreamReconfiguration(None, None, None, None))
        assert cleared == StreamConfig(
            DEFAULTS.storage_class, RetentionAge(77), DEFAULTS.timestamping, DEFAULTS.delete_on_empty
        )
        assert await service.get_stream_config(BASIN, "s") == cleared

    async def test_what_is_missing_is_named_in_order(self, service: StreamStore, basin: str) -> None:
        change = StreamReconfiguration()
        with pytest.raises(BasinNotFound):
            await service.reconfigure_stream("unknown-basin", "s", change)
        for call in (
            service.reconfigure_stream(basin, "s", change),
            service.get_stream_config(basin, "s"),
            service.get_stream_config("unknown-basin", "s"),
            service.delete_stream(basin, "s"),
            service.delete_stream("unknown-basin", "s"),
            service.check_tail(basin, "s"),
            service.append(basin, "s", batch("x")),
            service.read(basin, "s", request(SeqNum(0))),
            service.open_append_session(basin, "s"),
            service.open_read_session(basin, "s", request()),
        ):
            with pytest.raises(StreamNotFound, match="stream `s` in basin"):
                await call
        for of_basin in (
            service.check_tail("unknown-basin", "s"),
            service.append("unknown-basin", "s", batch("x")),
            service.read("unknown-basin", "s", request()),
        ):
            with pytest.raises(BasinNotFound):
                await of_basin

    async def test_while_its_deletion_is_pending(self, idle: StreamStore) -> None:
        await idle.create_stream(BASIN, "s")
        await idle.append(BASIN, "s", batch("a"))
        session = await idle.open_append_session(BASIN, "s")
        await idle.delete_stream(BASIN, "s")
        await idle.delete_stream(BASIN, "s")
        calls: list[Awaitable[object]] = [
            idle.create_stream(BASIN, "s"),
            idle.ensure_stream(BASIN, "s"),
            idle.get_stream_config(BASIN, "s"),
            idle.reconfigure_stream(BASIN, "s", StreamReconfiguration()),
            idle.check_tail(BASIN, "s"),
            idle.append(BASIN, "s", batch("x")),
            idle.read(BASIN, "s", request(SeqNum(0))),
            idle.open_append_session(BASIN, "s"),
            idle.open_read_session(BASIN, "s", request()),
            session.submit(batch("x")),
        ]
        for call in calls:
            with pytest.raises(StreamDeletionPending, match="stream deletion pending"):
                await call

    async def test_a_name_that_was_purged_begins_anew(self, service: StreamStore, basin: str) -> None:
        old = await service.create_stream(basin, "s")
        await service.append(basin, "s", commands(AppendRecord.fence("me"), AppendRecord("old")))
        await service.delete_stream(basin, "s")

        async def purged() -> bool:
            return not (await service.list_streams(basin)).items

        await eventually(purged)
        with pytest.raises(StreamNotFound):
            await service.delete_stream(basin, "s")
        new = await service.create_stream(basin, "s")
        assert new.info.created_at > old.info.created_at
        assert await service.check_tail(basin, "s") == StreamPosition(0, 0)
        assert (await service.append(basin, "s", batch("new", token=""))).start.seq_num == 0

    async def test_another_process_deleted_and_created_it(self, store: Store) -> None:
        """What this process remembers of the name leads to the old stream, and it looks again."""
        async with opened(store, maintain=False) as here, opened(store) as there:
            ours, theirs = StreamStore(here), StreamStore(there)
            await ours.create_basin(BASIN)

            async def anew() -> None:
                async def purged() -> bool:
                    return not (await theirs.list_streams(BASIN)).items

                await theirs.delete_stream(BASIN, "s")
                await eventually(purged)
                await theirs.create_stream(BASIN, "s")

            await theirs.create_stream(BASIN, "s")
            calls: list[Reads] = [
                lambda: ours.append(BASIN, "s", batch("x")),
                lambda: ours.check_tail(BASIN, "s"),
                lambda: ours.read(BASIN, "s", request(SeqNum(0), wait=0.01)),
            ]
            for call in calls:
                await ours.append(BASIN, "s", batch("x"))
                await anew()
                await call()
            assert await ours.check_tail(BASIN, "s") == StreamPosition(0, 0)


class TestAutoCreation:
    async def test_an_append_creates_with_the_defaults_of_the_basin(self, service: StreamStore) -> None:
        await service.create_basin(BASIN, BasinConfig(FULL, create_stream_on_append=True))
        assert (await service.append(BASIN, "s", batch("a"))).start.seq_num == 0
        assert await service.get_stream_config(BASIN, "s") == FULL
        await service.open_append_session(BASIN, "session")
        assert await service.get_stream_config(BASIN, "session") == FULL
        for call in (service.check_tail(BASIN, "t"), service.read(BASIN, "t", request(SeqNum(0)))):
            with pytest.raises(StreamNotFound):
                await call

    async def test_a_read_creates_and_finds_nothing(self, service: StreamStore) -> None:
        await service.create_basin(BASIN, BasinConfig(create_stream_on_read=True))
        assert await service.check_tail(BASIN, "tail") == StreamPosition(0, 0)
        with pytest.raises(ReadUnwritten) as caught:
            await service.read(BASIN, "read", request(SeqNum(0)))
        assert caught.value.tail == StreamPosition(0, 0)
        async with await service.open_read_session(BASIN, "session", request()) as session:
            delivery = await session.next()
            assert delivery is not None
            assert delivery.tail == StreamPosition(0, 0)
        assert [info.name for info in (await service.list_streams(BASIN)).items] == ["read", "session", "tail"]
        with pytest.raises(StreamNotFound):
            await service.append(BASIN, "s", batch("x"))

    async def test_everybody_who_comes_at_once_is_served(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            services = [StreamStore(one), StreamStore(two)] * 10
            await services[0].create_basin(BASIN, BasinConfig(create_stream_on_append=True))
            acks = await asyncio.gather(*[service.append(BASIN, "s", batch("x")) for service in services])
            assert sorted(ack.start.seq_num for ack in acks) == list(range(20))

    async def test_a_rejected_append_still_creates(self, service: StreamStore) -> None:
        await service.create_basin(BASIN, BasinConfig(create_stream_on_append=True))
        with pytest.raises(SeqNumMismatch):
            await service.append(BASIN, "s", batch("x", match=5))
        assert await service.get_stream_config(BASIN, "s") == DEFAULTS

    async def test_nothing_is_created_in_a_basin_that_is_being_deleted(self, idle: StreamStore) -> None:
        await idle.ensure_basin(BASIN, BasinConfig(create_stream_on_append=True, create_stream_on_read=True))
        await idle.delete_basin(BASIN)
        for call in (
            idle.append(BASIN, "s", batch("x")),
            idle.check_tail(BASIN, "s"),
            idle.read(BASIN, "s", request()),
        ):
            with pytest.raises(BasinDeletionPending):
                await call


class TestAppending:
    @pytest.fixture(autouse=True)
    async def stream(self, service: StreamStore, basin: str) -> None:
        await service.create_stream(basin, "s")

    async def test_positions_go_on(self, service: StreamStore) -> None:
        first = await service.append(BASIN, "s", batch("a", "b"))
        assert (first.start.seq_num, first.end.seq_num, first.tail) == (0, 2, first.end)
        second = await service.append(BASIN, "s", batch("c"))
        assert (second.start.seq_num, second.end.seq_num, second.tail) == (2, 3, second.end)
        assert await service.check_tail(BASIN, "s") == second.tail

    async def test_conditions(self, service: StreamStore) -> None:
        assert (await service.append(BASIN, "s", batch("a", match=0, token=""))).end.seq_num == 1
        with pytest.raises(SeqNumMismatch) as mismatch:
            await service.append(BASIN, "s", batch("b", match=0))
        assert mismatch.value.expected == 1
        await service.append(BASIN, "s", commands(AppendRecord.fence("one"), token=""))
        for token in ("", "two"):
            with pytest.raises(FencingTokenMismatch) as fenced:
                await service.append(BASIN, "s", batch("b", token=token, match=77))
            assert fenced.value.expected == "one"
        await service.append(BASIN, "s", batch("no token is never checked"))
        await service.append(BASIN, "s", commands(AppendRecord.fence(""), token="one"))
        await service.append(BASIN, "s", batch("b", token=""))

    async def test_a_session_stops_at_the_first_rejection(self, service: StreamStore) -> None:
        session = await service.open_append_session(BASIN, "s")
        good = [session.submit(batch(str(n))) for n in range(4)]
        bad = session.submit(batch("x", match=0))
        late = [session.submit(batch("y")) for _ in range(3)]
        assert [(await ack).start.seq_num for ack in good] == [0, 1, 2, 3]
        for future in (bad, *late):
            with pytest.raises(SeqNumMismatch) as caught:
                await future
            assert caught.value.expected == 4
        assert (await service.check_tail(BASIN, "s")).seq_num == 4


class TestReading:
    """Checklist 11.6, and the table of section 6.2."""

    @pytest.fixture(autouse=True)
    async def stream(self, service: StreamStore, basin: str) -> None:
        await service.create_stream(basin, "s")

    @staticmethod
    async def numbers(service: StreamStore, asked: ReadRequest) -> list[int] | StreamPosition:
        """The records read, or the tail of the refusal."""
        try:
            return [record.seq_num for record in (await service.read(BASIN, "s", asked)).records]
        except ReadUnwritten as exc:
            return exc.tail

    async def test_an_empty_stream(self, service: StreamStore) -> None:
        nowhere = StreamPosition(0, 0)
        assert await self.numbers(service, request(SeqNum(0))) == nowhere
        assert await self.numbers(service, request(Timestamp(0))) == []
        assert await self.numbers(service, request(Timestamp(1))) == nowhere
        assert await self.numbers(service, request(TailOffset(9))) == nowhere
        assert await self.numbers(service, request(SeqNum(0), wait=0.01)) == []

    async def test_where_it_starts(self, service: StreamStore) -> None:
        tail = (await service.append(BASIN, "s", batch("a", "b", "c", "d", "e"))).tail
        assert await self.numbers(service, request(SeqNum(5))) == tail
        assert await self.numbers(service, request()) == tail
        assert await self.numbers(service, request(SeqNum(9))) == tail
        assert await self.numbers(service, request(SeqNum(9), clamp=True)) == tail
        assert await self.numbers(service, request(SeqNum(9), clamp=True, wait=0.01)) == []
        assert await self.numbers(service, request(SeqNum(9), wait=1)) == tail
        assert await self.numbers(service, request(TailOffset(2))) == [3, 4]
        assert await self.numbers(service, request(TailOffset(99))) == [0, 1, 2, 3, 4]
        assert await self.numbers(service, request(Timestamp(tail.timestamp + 1))) == tail
        assert await self.numbers(service, request(Timestamp(0))) == [0, 1, 2, 3, 4]
        await service.append(BASIN, "s", commands(AppendRecord.trim(99)))
        assert await self.numbers(service, request(SeqNum(0))) == []
        assert await self.numbers(service, request(Timestamp(0))) == []
        assert await self.numbers(service, request(TailOffset(3))) == []

    async def test_limits(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch(*["hello"] * 3))  # 13 metered bytes each
        for size, expected in {0: [], 12: [], 13: [0], 20: [0], 26: [0, 1], 39: [0, 1, 2], 9999: [0, 1, 2]}.items():
            assert await self.numbers(service, request(SeqNum(0), size=size)) == expected
        for count, expected in {0: [], 1: [0], 3: [0, 1, 2], 2000: [0, 1, 2]}.items():
            assert await self.numbers(service, request(SeqNum(0), count=count)) == expected
        assert await self.numbers(service, request(SeqNum(0), count=3, size=26)) == [0, 1]
        tail = await service.check_tail(BASIN, "s")
        assert await self.numbers(service, request(SeqNum(3), count=0)) == tail

    async def test_caps(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch(*["x"] * 700))
        await service.append(BASIN, "s", batch(*["x"] * 800))
        assert len((await service.read(BASIN, "s", request(SeqNum(0), count=2000))).records) == 1000
        for _ in range(3):
            await service.append(BASIN, "s", commands(AppendRecord(b"x" * 600_000)))
        found = await service.read(BASIN, "s", request(SeqNum(1500), size=2**22))
        assert [record.seq_num for record in found.records] == [1500]

    async def test_until(self, service: StreamStore, store: Store) -> None:
        base = store.clock.now_ms() - 10
        await service.append(BASIN, "s", commands(*[AppendRecord(timestamp=base + n) for n in range(4)]))
        assert await self.numbers(service, request(SeqNum(0), until=base + 2)) == [0, 1]
        assert await self.numbers(service, request(Timestamp(base + 1), until=base + 2)) == [1]
        assert await self.numbers(service, request(SeqNum(0), until=base)) == []
        with pytest.raises(Invalid, match="exceeds or equal to `until`"):
            request(Timestamp(5), until=5)

    async def test_equal_timestamps_begin_with_the_first(self, service: StreamStore, store: Store) -> None:
        now = store.clock.now_ms()
        await service.append(BASIN, "s", commands(*[AppendRecord(timestamp=now - 5)] * 3))
        await service.append(BASIN, "s", commands(*[AppendRecord(timestamp=now - 5)] * 2))
        assert await self.numbers(service, request(Timestamp(now - 5))) == [0, 1, 2, 3, 4]
        assert await self.numbers(service, request(Timestamp(now - 6))) == [0, 1, 2, 3, 4]

    async def test_a_catch_up_has_no_tail_and_does_not_wait(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch("a", "b"))
        begin = asyncio.get_running_loop().time()
        found = await service.read(BASIN, "s", request(SeqNum(0), wait=60))
        assert ([record.text for record in found.records], found.tail) == (["a", "b"], None)
        assert asyncio.get_running_loop().time() - begin < PATIENCE_SECONDS

    async def test_waiting_gives_the_next_batch_with_the_tail(self, service: StreamStore, engine: Engine) -> None:
        await service.append(BASIN, "s", batch("a"))
        reading = asyncio.create_task(service.read(BASIN, "s", request(SeqNum(1), wait=PATIENCE_SECONDS)))

        async def follows() -> bool:
            return bool(engine.hub.followed())

        await eventually(follows)
        ack = await service.append(BASIN, "s", batch("b", "c"))
        found = await reading
        assert [record.text for record in found.records] == ["b", "c"]
        assert found.tail in (ack.tail, None)  # None when it was appended before the read looked

    async def test_waiting_in_vain(self, service: StreamStore) -> None:
        assert await service.read(BASIN, "s", request(SeqNum(0), wait=0.05)) == ReadBatch(())

    async def test_waiting_for_a_record_that_is_not_allowed(self, service: StreamStore, engine: Engine) -> None:
        reading = asyncio.create_task(service.read(BASIN, "s", request(SeqNum(0), size=9, wait=PATIENCE_SECONDS)))

        async def follows() -> bool:
            return bool(engine.hub.followed())

        await eventually(follows)
        await service.append(BASIN, "s", batch("far too long"))
        assert (await reading).records == ()

    async def test_bytes_come_back_as_they_are(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", AppendInput.of([AppendRecord(b"\xff\0", headers=[(b"\xfe", b"")])]))
        (record,) = (await service.read(BASIN, "s", request(SeqNum(0)))).records
        assert (record.body, record.headers) == (b"\xff\0", ((b"\xfe", b""),))
        assert record.text == "\ufffd\0"


async def test_a_name_that_was_forgotten_is_looked_up(engine: Engine) -> None:
    service = StreamStore(engine, known_streams=3)
    await service.create_basin(BASIN, BasinConfig(create_stream_on_append=True))
    for _ in range(2):
        for number in range(5):
            await service.append(BASIN, f"s{number}", batch("x"))
    for number in range(5):
        assert (await service.check_tail(BASIN, f"s{number}")).seq_num == 2


READING = AccessTokenScope(PrefixMatch(""), PrefixMatch("a/"), ops=(Operation.READ,))


class TestAccessTokens:
    async def test_a_token_is_found_by_its_secret_which_is_kept_nowhere(self, service: StreamStore) -> None:
        wanted = AccessTokenInfo("t", READING, auto_prefix_streams=True)
        secret = await service.issue_access_token(wanted)
        hashed = hash_secret(secret.encode())
        assert await service.find_access_tokens([hashed, hash_secret(b"other")]) == {hashed: wanted}
        assert secret not in repr(await service.list_access_tokens())

    async def test_an_id_is_taken_until_it_is_revoked(self, service: StreamStore) -> None:
        wanted = AccessTokenInfo("t", READING)
        secret = await service.issue_access_token(wanted)
        with pytest.raises(ResourceExists):
            await service.issue_access_token(wanted)
        await service.revoke_access_token("t")
        assert await service.find_access_tokens([hash_secret(secret.encode())]) == {}
        with pytest.raises(AccessTokenNotFound):
            await service.revoke_access_token("t")
        assert await service.issue_access_token(wanted) != secret

    async def test_an_issuer_sets_the_bounds(self, service: StreamStore) -> None:
        issuer = AccessTokenInfo("issuer", READING)
        await service.issue_access_token(AccessTokenInfo("t", READING), issuer)
        with pytest.raises(PermissionDenied):
            await service.issue_access_token(AccessTokenInfo("u", replace(READING, ops=(Operation.APPEND,))), issuer)
        assert [token.id for token in (await service.list_access_tokens()).items] == ["t"]

    async def test_pages_follow_each_other(self, service: StreamStore) -> None:
        for number in range(5):
            await service.issue_access_token(AccessTokenInfo(f"t{number}", READING))
        await service.issue_access_token(AccessTokenInfo("other", READING))
        first = await service.list_access_tokens(prefix="t", limit=3)
        assert ([token.id for token in first.items], first.has_more) == (["t0", "t1", "t2"], True)
        last = await service.list_access_tokens(prefix="t", start_after="t2", limit=2)
        assert ([token.id for token in last.items], last.has_more) == (["t3", "t4"], False)
        assert not (await service.list_access_tokens(prefix="t", start_after="t4")).items

    @pytest.mark.parametrize("token_id", ["", "x" * 97, ".", ".."])
    async def test_a_bad_id_is_refused(self, service: StreamStore, token_id: str) -> None:
        for call in (
            service.issue_access_token(AccessTokenInfo(token_id, READING)),
            service.revoke_access_token(token_id),
        ):
            with pytest.raises(Invalid, match="access token id"):
                await call
