"""The front door, basins and streams (store API, sections 3 and 10.3)."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

import perdure
from perdure import (
    S2,
    AppendRecord,
    Basin,
    BasinConfig,
    BasinDeletionPending,
    BasinNotFound,
    DeleteOnEmptyConfig,
    FencingTokenMismatch,
    InfiniteRetention,
    Invalid,
    ProvisionResult,
    ReadUnwritten,
    ResourceExists,
    RetentionAge,
    SeqNum,
    SeqNumMismatch,
    StorageClass,
    Stream,
    StreamConfig,
    StreamDeletionPending,
    StreamNotFound,
    StreamPosition,
    StreamReconfiguration,
    TailOffset,
    Timestamp,
    TimestampingConfig,
    TimestampingMode,
    TimestampingReconfiguration,
    UsageError,
)
from perdure.client.transports.local import LocalTransport
from perdure.store.engine import Engine
from tests.client.scripted import settle
from tests.patience import PATIENCE_SECONDS
from tests.store.making import eventually
from tests.store.stores import Store

NAME = "client-basin"


class TestOpening:
    async def test_a_directory_keeps_what_was_appended(self, tmp_path: Path) -> None:
        for number in range(2):
            async with S2.open(tmp_path / "data") as s2:
                basin = await s2.basins.ensure(NAME, create_stream_on_append=True)
                ack = await basin.stream("s").append([AppendRecord("x")])
                assert ack.start.seq_num == number

    async def test_memory_is_gone_when_it_is_closed(self) -> None:
        for _ in range(2):
            async with S2.open(":memory:") as s2:
                assert [info async for info in s2.basins.list_all()] == []
                await s2.basins.create(NAME)

    async def test_two_clients_share_a_directory(self, tmp_path: Path) -> None:
        async with S2.open(tmp_path / "data") as one, S2.open(str(tmp_path / "data")) as two:
            await one.basins.ensure(NAME, create_stream_on_append=True)
            stream, same = one.basin(NAME).stream("s"), two.basin(NAME).stream("s")
            await stream.append([AppendRecord("a")])
            async with asyncio.timeout(PATIENCE_SECONDS), same.read_session(SeqNum(0)) as records:
                assert (await anext(records)).text == "a"
                await stream.append([AppendRecord("b")])
                assert (await anext(records)).text == "b"

    async def test_without_a_block(self) -> None:
        s2 = await S2.open(":memory:")
        await s2.basins.create(NAME)
        async with s2:
            assert await s2.basins.get_config(NAME) == BasinConfig()
        await s2.aclose()

    async def test_before_and_after_it_refuses(self) -> None:
        s2 = S2.open(":memory:")
        with pytest.raises(UsageError, match="async with"):
            await s2.basins.create(NAME)
        async with s2:
            pass
        with pytest.raises(UsageError):
            await s2.basins.create(NAME)
        with pytest.raises(UsageError, match="opened before"):
            async with s2:
                pytest.fail("not reached")

    def test_nothing_is_no_directory(self) -> None:
        with pytest.raises(UsageError, match="directory"):
            _ = S2.open("")

    def test_a_database_is_named_without_its_password(self) -> None:
        assert repr(S2.open("postgres://me:secret@host/perdure")) == "<S2 postgres://me:***@host/perdure>"

    async def test_it_may_be_a_database(self, postgres_url: str) -> None:
        for _ in range(2):
            async with S2.open(postgres_url) as s2:
                basin = await s2.basins.ensure("kept-basin")
                stream = await basin.streams.ensure("s")
                await stream.append([AppendRecord("a")])
        async with S2.open(postgres_url) as s2:
            batch = await s2.basin("kept-basin").stream("s").read(SeqNum(0))
            assert [record.text for record in batch.records] == ["a", "a"]

    @pytest.mark.parametrize("location", ["http://127.0.0.1:3458", "https://a.s2.dev", "sqlite://data"])
    def test_a_service_is_no_directory(self, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would be made, and found empty."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="endpoints="):
            _ = S2.open(location)
        assert list(tmp_path.iterdir()) == []

    async def test_it_says_which_store_it_is(self, tmp_path: Path) -> None:
        assert repr(S2.open(tmp_path)) == f"<S2 {tmp_path}>"
        assert repr(S2(endpoints="http://127.0.0.1:1", access_token="secret")) == "<S2 http://127.0.0.1:1>"

    async def test_leaving_closes_the_engine_and_every_task(self, store: Store) -> None:
        before = asyncio.all_tasks()
        async with S2(transport=LocalTransport(store.open)) as s2:
            basin = await s2.basins.ensure(NAME, create_stream_on_append=True)
            async with basin.stream("s").producer() as producer:
                await (await producer.submit(AppendRecord("x")))
        await settle()
        assert asyncio.all_tasks() == before

    @pytest.mark.parametrize("steps", range(6))
    async def test_a_close_that_is_cancelled_closes_all_the_same(self, store: Store, steps: int) -> None:
        before = asyncio.all_tasks()
        s2 = await S2(transport=LocalTransport(store.open))
        basin = await s2.basins.ensure(NAME, create_stream_on_append=True)
        await basin.stream("s").append([AppendRecord("x")])
        closing = asyncio.create_task(s2.aclose())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        del closing

        async def all_ended() -> bool:
            return asyncio.all_tasks() == before

        if steps:  # otherwise it had not begun
            await eventually(all_ended)
        await s2.aclose()
        await eventually(all_ended)

    def test_its_names_are_at_the_front_door(self) -> None:
        assert perdure.S2 is S2
        assert issubclass(perdure.errors.SeqNumMismatch, perdure.PerdureError)


class TestBasins:
    async def test_create_gives_a_handle_that_knows_what_happened(self, s2: S2) -> None:
        before = datetime.now(UTC)
        basin = await s2.basins.create(NAME, create_stream_on_read=True)
        assert isinstance(basin, Basin)
        assert (basin.name, basin.provision_result) == (NAME, ProvisionResult.CREATED)
        assert basin.info is not None
        assert before <= basin.info.created_at <= datetime.now(UTC)
        assert await s2.basins.get_config(NAME) == BasinConfig(create_stream_on_read=True)
        with pytest.raises(ResourceExists):
            await s2.basins.create(NAME, create_stream_on_read=True)
        plain = s2.basin(NAME)
        assert (plain.info, plain.provision_result) == (None, None)
        assert repr(plain) == f"<Basin '{NAME}'>"

    async def test_every_view_tells_where_a_basin_is(self, s2: S2) -> None:
        infos = [
            (await s2.basins.create(NAME)).info,
            (await s2.basins.ensure(NAME)).info,
            *(await s2.basins.list()).items,
        ]
        assert [info and info.location for info in infos] == ["local"] * 3

    async def test_ensure_replaces_the_whole_configuration(self, s2: S2) -> None:
        results = [
            (await s2.basins.ensure(NAME, create_stream_on_append=flag)).provision_result
            for flag in (True, True, False)
        ]
        assert results == [ProvisionResult.CREATED, ProvisionResult.NOOP, ProvisionResult.UPDATED]
        assert await s2.basins.get_config(NAME) == BasinConfig()

    async def test_reconfigure_changes_what_is_given(self, s2: S2, basin: Basin) -> None:
        await s2.basins.reconfigure(basin.name, create_stream_on_append=True)
        defaults = StreamReconfiguration(retention_policy=RetentionAge(60))
        config = await s2.basins.reconfigure(basin.name, default_stream_config=defaults)
        assert config == BasinConfig(StreamConfig(retention_policy=RetentionAge(60)), None, True)
        assert await s2.basins.reconfigure(basin.name) == config
        config = await s2.basins.reconfigure(basin.name, default_stream_config=None)
        assert config == BasinConfig(create_stream_on_append=True)

    async def test_delete(self, s2: S2, basin: Basin) -> None:
        await s2.basins.delete(basin.name)

        async def gone() -> bool:
            return not (await s2.basins.list()).items

        await eventually(gone)
        with pytest.raises(BasinNotFound):
            await s2.basins.delete(basin.name)
        await s2.basins.delete(basin.name, ignore_not_found=True)

    async def test_a_listing_pages_by_itself(self, s2: S2) -> None:
        names = [f"basin-{number:04}" for number in range(1003)]
        await asyncio.gather(*[s2.basins.create(name) for name in names])
        assert [info.name async for info in s2.basins.list_all()] == names
        assert [info.name async for info in s2.basins.list_all(prefix="basin-1")] == names[1000:]
        assert [info.name async for info in s2.basins.list_all(start_after="basin-1001")] == names[1002:]
        page = await s2.basins.list(prefix="basin-", start_after="basin-0001", limit=2)
        assert ([info.name for info in page.items], page.has_more) == (names[2:4], True)

    @pytest.mark.parametrize("name", ["short", "Upper-case", "", "x" * 49])
    async def test_a_bad_name_is_refused_before_anything_is_sent(self, name: str) -> None:
        s2 = S2.open(":memory:")  # not open: sending would be a UsageError
        with pytest.raises(Invalid, match="basin name"):
            s2.basin(name)
        for call in (
            s2.basins.create(name),
            s2.basins.ensure(name),
            s2.basins.get_config(name),
            s2.basins.reconfigure(name),
            s2.basins.delete(name),
        ):
            with pytest.raises(Invalid, match="basin name"):
                await call


class TestStreams:
    async def test_create_gives_a_handle_that_knows_what_happened(self, basin: Basin) -> None:
        stream = await basin.streams.create("s", retention_policy=InfiniteRetention())
        assert (stream.name, stream.basin_name, stream.provision_result) == ("s", basin.name, ProvisionResult.CREATED)
        assert stream.info is not None
        assert stream.info.deleted_at is None
        config = await basin.streams.get_config("s")
        assert config.retention_policy == InfiniteRetention()
        assert config.timestamping == TimestampingConfig(TimestampingMode.CLIENT_PREFER, False)
        with pytest.raises(ResourceExists):
            await basin.streams.create("s", retention_policy=InfiniteRetention())
        assert basin.stream("s").info is None
        assert repr(stream) == f"<Stream 's' in basin '{basin.name}'>"

    async def test_ensure_and_reconfigure(self, basin: Basin) -> None:
        made = await basin.streams.ensure("s", storage_class=StorageClass.STANDARD)
        assert made.provision_result is ProvisionResult.CREATED
        same = await basin.streams.ensure("s", storage_class=StorageClass.STANDARD)
        assert same.provision_result is ProvisionResult.NOOP
        config = await basin.streams.reconfigure("s", timestamping=TimestampingReconfiguration(uncapped=True))
        assert config.timestamping == TimestampingConfig(TimestampingMode.CLIENT_PREFER, True)
        assert config.storage_class is StorageClass.STANDARD
        again = await basin.streams.ensure("s", delete_on_empty=DeleteOnEmptyConfig(60))
        assert again.provision_result is ProvisionResult.UPDATED
        config = await basin.streams.get_config("s")
        assert (config.storage_class, config.delete_on_empty) == (StorageClass.EXPRESS, DeleteOnEmptyConfig(60))

    async def test_a_listing_leaves_out_what_is_being_deleted(self, store: Store) -> None:
        async def open_idle() -> Engine:
            return await store.open(maintain=False)

        async with S2(transport=LocalTransport(open_idle)) as s2:
            basin = await s2.basins.create(NAME)
            for name in "abc":
                await basin.streams.create(name)
            await basin.streams.delete("b")
            await basin.streams.delete("b")
            assert [info.name async for info in basin.streams.list_all()] == ["a", "c"]
            every = [info async for info in basin.streams.list_all(include_deleted=True)]
            assert [info.name for info in every] == ["a", "b", "c"]
            assert every[1].deleted_at is not None
            assert [info.name for info in (await basin.streams.list(limit=2)).items] == ["a", "b"]
            with pytest.raises(StreamDeletionPending):
                await basin.stream("b").append([AppendRecord("x")])
            with pytest.raises(StreamDeletionPending):
                await basin.streams.get_config("b")
            await s2.basins.delete(NAME)
            with pytest.raises(BasinDeletionPending):
                await basin.streams.create("d")
            assert [info.name async for info in s2.basins.list_all()] == []
            assert [info.name async for info in s2.basins.list_all(include_deleted=True)] == [NAME]

    async def test_delete_and_create_anew(self, basin: Basin, stream: Stream) -> None:
        await stream.append([AppendRecord("old")])
        await basin.streams.delete("s")

        async def gone() -> bool:
            return not (await basin.streams.list()).items

        await eventually(gone)
        with pytest.raises(StreamNotFound):
            await basin.streams.delete("s")
        await basin.streams.delete("s", ignore_not_found=True)
        await basin.streams.create("s")
        assert await stream.check_tail() == StreamPosition(0, 0)

    @pytest.mark.parametrize("name", ["", ".", "..", "x" * 513])
    async def test_a_bad_name_is_refused_before_anything_is_sent(self, name: str) -> None:
        basin = S2.open(":memory:").basin(NAME)  # not open: sending would be a UsageError
        with pytest.raises(Invalid, match="stream name"):
            basin.stream(name)
        for call in (
            basin.streams.create(name),
            basin.streams.ensure(name),
            basin.streams.get_config(name),
            basin.streams.reconfigure(name),
            basin.streams.delete(name),
        ):
            with pytest.raises(Invalid, match="stream name"):
                await call


class TestStream:
    async def test_appending_and_reading(self, stream: Stream) -> None:
        ack = await stream.append([AppendRecord("Hello", headers={"lang": "en"}), AppendRecord(b"\xff", timestamp=5)])
        assert (ack.start.seq_num, ack.end.seq_num, ack.tail) == (0, 2, ack.end)
        assert await stream.check_tail() == ack.tail
        batch = await stream.read(SeqNum(0))
        assert [(r.seq_num, r.body, r.text, r.header("lang")) for r in batch.records] == [
            (0, b"Hello", "Hello", b"en"),
            (1, b"\xff", "\ufffd", None),
        ]
        assert batch.tail is None
        assert [r.seq_num for r in (await stream.read(TailOffset(1))).records] == [1]
        assert [r.seq_num for r in (await stream.read(Timestamp(0), count=1)).records] == [0]
        with pytest.raises(ReadUnwritten):
            await stream.read()

    async def test_conditions(self, stream: Stream) -> None:
        await stream.append([AppendRecord("a")], match_seq_num=0, fencing_token="")
        with pytest.raises(SeqNumMismatch) as mismatch:
            await stream.append([AppendRecord("b")], match_seq_num=0)
        assert (mismatch.value.expected, mismatch.value.status) == (1, 412)
        await stream.fence("one", fencing_token="", match_seq_num=1)
        with pytest.raises(FencingTokenMismatch) as fenced:
            await stream.fence("two", fencing_token="")
        assert fenced.value.expected == "one"
        await stream.fence("two", fencing_token="one")
        await stream.fence("", fencing_token="two")
        await stream.append([AppendRecord("b")], fencing_token="")

    async def test_trimming(self, stream: Stream) -> None:
        await stream.append([AppendRecord(str(n)) for n in range(5)])
        ack = await stream.trim(2, match_seq_num=5)
        assert ack.tail.seq_num == 6
        assert [r.seq_num for r in (await stream.read(SeqNum(0))).records] == [2, 3, 4, 5]
        with pytest.raises(SeqNumMismatch):
            await stream.trim(4, match_seq_num=0)

    async def test_bad_arguments_are_refused_before_anything_is_sent(self) -> None:
        stream = S2.open(":memory:").basin(NAME).stream("s")  # not open: sending would be a UsageError
        for call, message in (
            (stream.append([]), "must not be empty"),
            (stream.append([AppendRecord()] * 1001), "1000 records"),
            (stream.append([AppendRecord()], match_seq_num=-1), "match_seq_num"),
            (stream.append([AppendRecord()], fencing_token="x" * 37), "36 bytes"),
            (stream.fence("x" * 37), "36 bytes"),
            (stream.trim(-1), "trim point"),
        ):
            with pytest.raises(Invalid, match=message):
                await call
        with pytest.raises(Invalid, match="count"):
            await stream.read(SeqNum(0), count=-1)
        with pytest.raises(Invalid, match="until"):
            stream.read_session(Timestamp(5), until=5)
        with pytest.raises(Invalid, match="max_in_flight_bytes"):
            stream.append_session(max_in_flight_bytes=1)
        with pytest.raises(Invalid, match="linger_ms"):
            stream.producer(linger_ms=-1)

    async def test_waiting_for_a_record(self, stream: Stream) -> None:
        reading = asyncio.create_task(stream.read(SeqNum(0), wait=PATIENCE_SECONDS))
        await settle()
        await stream.append([AppendRecord("a")])
        assert [record.text for record in (await reading).records] == ["a"]

    async def test_cancelling_a_read_that_waits(self, stream: Stream) -> None:
        reading = asyncio.create_task(stream.read(SeqNum(0), wait=PATIENCE_SECONDS))
        await settle()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    async def test_auto_creation(self, s2: S2) -> None:
        basin = await s2.basins.create(NAME, create_stream_on_append=True)
        with pytest.raises(StreamNotFound):
            await basin.stream("s").check_tail()
        await basin.stream("s").append([AppendRecord("a")])
        assert (await basin.stream("s").check_tail()).seq_num == 1


async def test_the_first_example(tmp_path: Path) -> None:
    """As the documentation shows it."""
    async with S2.open(tmp_path / "data") as s2:
        basin = await s2.basins.ensure("my-first-basin", create_stream_on_append=True)
        stream = basin.stream("greetings")
        ack = await stream.append([AppendRecord("Hello", headers={"lang": "en"})])
        assert ack.tail.seq_num == 1
        async with stream.read_session(TailOffset(10), clamp=True) as records:
            async for record in records:
                assert (record.seq_num, record.body) == (0, b"Hello")
                break
