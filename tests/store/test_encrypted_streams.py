"""Streams whose records are sealed with a client's key, over every engine (store API, sections 7, 3.12 and 11.8)."""

import asyncio
from collections.abc import Awaitable

import pytest

from perdure.errors import (
    BadRequest,
    DecryptionFailed,
    FencingTokenMismatch,
    Invalid,
    SeqNumMismatch,
    StorageFailed,
)
from perdure.model.batches import AppendInput, ReadBatch
from perdure.model.configs import BasinConfig, BasinReconfiguration, Cipher
from perdure.model.encryption import EncryptionKey
from perdure.model.positions import ReadStart, SeqNum, StreamPosition, TailOffset, Timestamp
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord
from perdure.store.engine import Engine
from perdure.store.read_session import ReadSession
from perdure.store.service import StreamStore
from perdure.wire.protobuf import decode_read_batch
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, commands, eventually
from tests.store.stores import Store, opened

BASIN = "sealed-basin"
KEY = EncryptionKey.of(b"k" * 32)
OTHER_KEY = EncryptionKey.of(b"o" * 32)
BEGINNING = SeqNum(0)


def request(start: ReadStart = BEGINNING, *, count: int | None = None, wait: float | None = None) -> ReadRequest:
    return ReadRequest.of(start, count=count, wait=wait)


@pytest.fixture(params=Cipher)
def cipher(request: pytest.FixtureRequest) -> Cipher:
    cipher: Cipher = request.param
    return cipher


@pytest.fixture
async def service(engine: Engine, cipher: Cipher) -> StreamStore:
    service = StreamStore(engine)
    await service.create_basin(
        BASIN, BasinConfig(stream_cipher=cipher, create_stream_on_append=True, create_stream_on_read=True)
    )
    return service


async def texts(service: StreamStore, key: EncryptionKey = KEY, start: ReadStart = BEGINNING) -> list[str]:
    return [record.text for record in (await service.read(BASIN, "s", request(start), key)).records]


async def take(session: ReadSession) -> ReadBatch:
    async with asyncio.timeout(PATIENCE_SECONDS):
        delivery = await session.next()
    assert delivery is not None
    assert decode_read_batch(delivery.encoded()) == delivery.decoded()
    return delivery.decoded()


async def refusal(call: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(BadRequest) as caught:
        await call
    return caught.value.message, caught.value.code


class TestKeys:
    """Checklist 111 and 113: every call on records needs a well-formed key, none other does."""

    @pytest.mark.parametrize(
        ("key", "problem"),
        [
            (None, "missing encryption key for stream cipher '{}'"),
            (EncryptionKey.parse("!"), "invalid encryption key for stream cipher '{}': invalid base64"),
            (EncryptionKey.parse("AAAA"), "invalid encryption key length for stream cipher '{}': 3"),
        ],
    )
    async def test_calls_on_records_need_one_and_find_out_after_creating(
        self, service: StreamStore, cipher: Cipher, key: EncryptionKey | None, problem: str
    ) -> None:
        for name, call in {
            "append": service.append(BASIN, "append", batch("x"), key),
            "append of a command": service.append(BASIN, "append of a command", commands(AppendRecord.fence("")), key),
            "append session": service.open_append_session(BASIN, "append session", key),
            "read": service.read(BASIN, "read", request(), key),
            "read session": service.open_read_session(BASIN, "read session", request(), key),
            "read beyond the tail": service.read(BASIN, "read beyond the tail", request(SeqNum(9)), key),
        }.items():
            assert await refusal(call) == (problem.format(cipher.value), "bad_header")
            assert await service.check_tail(BASIN, name) == StreamPosition(0, 0)
            (info,) = (await service.list_streams(BASIN, prefix=name, limit=1)).items
            assert (info.name, info.cipher) == (name, cipher)

    async def test_nothing_else_needs_one(self, service: StreamStore) -> None:
        ack = await service.append(BASIN, "s", batch("x"), KEY)
        assert await service.check_tail(BASIN, "s") == ack.tail
        assert [info.name for info in (await service.list_streams(BASIN)).items] == ["s"]
        await service.get_stream_config(BASIN, "s")
        await service.delete_stream(BASIN, "s")

    async def test_an_invalid_request_creates_nothing(self, service: StreamStore) -> None:
        with pytest.raises(Invalid):
            await service.append(BASIN, "", batch("x"), None)
        assert (await service.list_streams(BASIN)).items == ()

    async def test_a_plain_stream_takes_any_and_ignores_it(self, engine: Engine) -> None:
        service = StreamStore(engine)
        await service.create_basin(BASIN, BasinConfig(create_stream_on_append=True))
        await service.append(BASIN, "s", batch("x"), EncryptionKey.parse("no key at all"))
        assert await texts(service, OTHER_KEY) == ["x"]
        assert [record.text for record in (await service.read(BASIN, "s", request())).records] == ["x"]


class TestRoundTrip:
    """Checklist 110 and 115."""

    async def test_unary_calls(self, service: StreamStore) -> None:
        records = [AppendRecord("a", headers={"lang": "en"}), AppendRecord(b"\xff", timestamp=5), AppendRecord()]
        ack = await service.append(BASIN, "s", AppendInput.of(records), KEY)
        read = await service.read(BASIN, "s", request(), KEY)
        assert [(record.body, record.headers) for record in read.records] == [(r.body, r.headers) for r in records]
        assert [record.seq_num for record in read.records] == [0, 1, 2]
        assert read.records[0].timestamp == ack.start.timestamp
        assert read.records[2].timestamp == ack.end.timestamp

    async def test_sessions(self, service: StreamStore) -> None:
        appender = await service.open_append_session(BASIN, "s", KEY)
        futures = [appender.submit(batch(f"{n}", f"{n}!")) for n in range(3)]
        assert [ack.start.seq_num for ack in await asyncio.gather(*futures)] == [0, 2, 4]
        async with await service.open_read_session(BASIN, "s", request(SeqNum(1)), KEY) as session:
            caught_up = list[str]()
            while len(caught_up) < 5:
                caught_up += [record.text for record in (await take(session)).records]
            assert caught_up == ["0!", "1", "1!", "2", "2!"]
            assert (await take(session)).tail is not None
            ack = await service.append(BASIN, "s", batch("live"), KEY)
            live = await take(session)
            assert ([record.text for record in live.records], live.tail) == (["live"], ack.tail)

    async def test_where_a_read_starts_needs_nothing_opened(self, service: StreamStore) -> None:
        for n in range(3):
            records = [AppendRecord(f"{n}{half}", timestamp=10 * n + half) for half in range(2)]
            await service.append(BASIN, "s", AppendInput.of(records), KEY)
        assert await texts(service, start=Timestamp(11)) == ["11", "20", "21"]
        assert await texts(service, start=TailOffset(1)) == ["21"]
        async with await service.open_read_session(BASIN, "s", request(Timestamp(11), wait=1), OTHER_KEY):
            pass

    async def test_fences_and_trims_work_and_read_back_with_any_key(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", commands(AppendRecord.fence("me"), AppendRecord("sealed")), KEY)
        with pytest.raises(FencingTokenMismatch):
            await service.append(BASIN, "s", batch("x", token="you"), KEY)
        with pytest.raises(SeqNumMismatch):
            await service.append(BASIN, "s", batch("x", token="me", match=0), KEY)
        await service.append(BASIN, "s", batch("x", "kept", token="me", match=2), KEY)
        await service.append(BASIN, "s", commands(AppendRecord.trim(3)), OTHER_KEY)
        read = await service.read(BASIN, "s", request(), KEY)
        assert [(r.seq_num, r.text) for r in read.records[:-1]] == [(3, "kept")]
        assert read.records[-1].headers == ((b"", b"trim"),)
        last = await service.read(BASIN, "s", request(SeqNum(4)), OTHER_KEY)
        assert last.records == read.records[-1:]

    async def test_sealed_records_outlive_a_restart(self, store: Store, cipher: Cipher) -> None:
        async with opened(store) as engine:
            service = StreamStore(engine)
            await service.create_basin(BASIN, BasinConfig(stream_cipher=cipher, create_stream_on_append=True))
            await service.append(BASIN, "s", batch("x"), KEY)
        async with opened(store) as engine:
            assert await texts(StreamStore(engine)) == ["x"]

    async def test_limits_count_plain_bytes(self, service: StreamStore) -> None:
        for body in ("one", "two", "three"):
            await service.append(BASIN, "s", batch(body), KEY)
        for size, expected in (
            (21, ["one"]),
            (22, ["one", "two"]),
            (34, ["one", "two"]),
            (35, ["one", "two", "three"]),
        ):
            read = await service.read(BASIN, "s", ReadRequest.of(BEGINNING, bytes=size), KEY)
            assert [record.text for record in read.records] == expected


class TestOtherKeys:
    """Checklist 112."""

    async def test_a_read_with_another_key_fails(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch("x"), KEY)
        with pytest.raises(DecryptionFailed, match=r"^record decryption failed$"):
            await texts(service, OTHER_KEY)

    async def test_a_session_ends_where_a_key_does_not_fit(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch("ours"), KEY)
        async with await service.open_read_session(BASIN, "s", request(), KEY) as session:
            assert [record.text for record in (await take(session)).records] == ["ours"]
            assert (await take(session)).tail is not None
            await service.append(BASIN, "s", batch("theirs"), OTHER_KEY)
            with pytest.raises(DecryptionFailed):
                await take(session)
            assert await session.next() is None

    async def test_a_stream_of_two_keys_is_read_range_by_range(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch("ours"), KEY)
        await service.append(BASIN, "s", batch("theirs"), OTHER_KEY)
        with pytest.raises(DecryptionFailed):
            await texts(service)
        assert [r.text for r in (await service.read(BASIN, "s", request(count=1), KEY)).records] == ["ours"]
        assert await texts(service, OTHER_KEY, SeqNum(1)) == ["theirs"]

    async def test_waiting_needs_no_right_key(self, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch("x"), KEY)
        async with await service.open_read_session(BASIN, "s", request(TailOffset(0)), OTHER_KEY) as session:
            assert (await take(session)).tail is not None
            await service.append(BASIN, "s", commands(AppendRecord.fence("me")), KEY)
            assert [record.text for record in (await take(session)).records] == ["me"]

    async def test_damage_is_no_wrong_key(self, engine: Engine, service: StreamStore) -> None:
        await service.append(BASIN, "s", batch("x"), KEY)
        entry = await engine.stream(BASIN, "s")
        assert entry is not None
        await engine.append(entry.stream_id, batch("plain, where everything must be sealed"))
        with pytest.raises(StorageFailed):
            await texts(service, start=SeqNum(1))


class TestCipherOfAStream:
    """Checklist 114: fixed when the stream is created."""

    async def test_a_change_of_the_basin_is_for_later_streams(self, service: StreamStore, cipher: Cipher) -> None:
        await service.append(BASIN, "s", batch("before"), KEY)
        await service.reconfigure_basin(BASIN, BasinReconfiguration(stream_cipher=None))
        await service.append(BASIN, "plain", batch("x"))
        assert (await refusal(service.append(BASIN, "s", batch("after"))))[1] == "bad_header"
        await service.append(BASIN, "s", batch("after"), KEY)
        assert await texts(service) == ["before", "after"]
        assert {i.name: i.cipher for i in (await service.list_streams(BASIN)).items} == {"s": cipher, "plain": None}

    async def test_a_name_that_came_back_with_a_cipher_needs_a_key(self, store: Store, cipher: Cipher) -> None:
        async with opened(store, maintain=False) as here, opened(store) as there:
            ours, theirs = StreamStore(here), StreamStore(there)
            await theirs.create_basin(BASIN)
            await theirs.create_stream(BASIN, "s")
            await ours.append(BASIN, "s", batch("plain"))
            await theirs.delete_stream(BASIN, "s")

            async def purged() -> bool:
                return not (await theirs.list_streams(BASIN)).items

            await eventually(purged)
            await theirs.ensure_basin(BASIN, BasinConfig(stream_cipher=cipher))
            await theirs.create_stream(BASIN, "s")
            with pytest.raises(BadRequest):
                await ours.append(BASIN, "s", batch("would be plain"))
            assert await theirs.check_tail(BASIN, "s") == StreamPosition(0, 0)
            await ours.append(BASIN, "s", batch("sealed"), KEY)
            assert await texts(theirs) == ["sealed"]
