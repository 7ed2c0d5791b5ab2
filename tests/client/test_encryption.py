"""Streams with a cipher through the SDK (store API, sections 7 and 11.8, checklist 110 to 115)."""

import asyncio
import base64

import pytest

from perdure import (
    S2,
    AppendRecord,
    Basin,
    Cipher,
    CommandKind,
    DecryptionFailed,
    EncryptionKey,
    FencingTokenMismatch,
    Invalid,
    SeqNum,
    Stream,
)
from perdure.errors import BadRequest
from tests.client.conftest import Carrier
from tests.patience import PATIENCE_SECONDS

RAW = bytes(range(32))
TEXT = base64.b64encode(RAW).decode()
OTHER = b"o" * 32
BEGINNING = SeqNum(0)


@pytest.fixture(params=Cipher)
def cipher(request: pytest.FixtureRequest) -> Cipher:
    cipher: Cipher = request.param
    return cipher


@pytest.fixture
async def sealed(s2: S2, cipher: Cipher) -> Basin:
    return await s2.basins.create("sealed-basin", stream_cipher=cipher, create_stream_on_append=True)


async def texts(stream: Stream) -> list[str]:
    return [record.text for record in (await stream.read(BEGINNING)).records]


@pytest.mark.parametrize("key", [RAW, TEXT, f" {TEXT}\n", EncryptionKey.of(RAW)], ids=["bytes", "text", "space", "key"])
async def test_a_key_as_bytes_or_text_serves_every_way_to_write_and_read(
    sealed: Basin, key: bytes | str | EncryptionKey
) -> None:
    stream = sealed.stream("s", encryption_key=key)
    await stream.append([AppendRecord("unary", headers={"lang": "en"})])
    async with stream.append_session() as session:
        await (await session.submit([AppendRecord("session")]))
    async with stream.producer() as producer:
        await (await producer.submit(AppendRecord("producer")))
    read = await stream.read(BEGINNING)
    assert [record.text for record in read.records] == ["unary", "session", "producer"]
    assert read.records[0].header("lang") == b"en"
    async with asyncio.timeout(PATIENCE_SECONDS), stream.read_session(BEGINNING, count=3) as records:
        assert [record async for record in records] == list(read.records)
    assert await texts(sealed.stream("s", encryption_key=RAW)) == ["unary", "session", "producer"]


async def test_a_handle_without_a_key_is_refused_by_name_of_the_cipher(
    sealed: Basin, cipher: Cipher, carrier: Carrier
) -> None:
    await sealed.stream("s", encryption_key=RAW).append([AppendRecord("x")])
    bare = sealed.stream("s")
    problem = f"missing encryption key for stream cipher '{cipher.value}'"
    for call in (bare.append([AppendRecord("x")]), bare.read(BEGINNING), bare.fence("me")):
        with pytest.raises(BadRequest, match=problem):
            await call
    session = bare.append_session()
    with pytest.raises(BadRequest, match=problem):
        await (await session.submit([AppendRecord("x")]))
    if carrier != "http1":  # there, nothing is asked before there is a batch
        with pytest.raises(BadRequest, match=problem):
            async with bare.append_session():
                pass
    with pytest.raises(BadRequest, match=problem):
        async with bare.read_session(BEGINNING):
            pass
    assert (await bare.check_tail()).seq_num == 1


async def test_another_key_reads_nothing(sealed: Basin) -> None:
    await sealed.stream("s", encryption_key=RAW).append([AppendRecord("x")])
    other = sealed.stream("s", encryption_key=OTHER)
    with pytest.raises(DecryptionFailed, match="record decryption failed"):
        await other.read(BEGINNING)
    async with asyncio.timeout(PATIENCE_SECONDS), other.read_session(BEGINNING) as records:
        with pytest.raises(DecryptionFailed, match="record decryption failed"):
            await anext(records)


async def test_a_plain_stream_ignores_the_key(stream: Stream, basin: Basin) -> None:
    await basin.stream("s", encryption_key=RAW).append([AppendRecord("x")])
    assert await texts(stream) == await texts(basin.stream("s", encryption_key=OTHER)) == ["x"]


@pytest.mark.parametrize("key", [b"", b"short", RAW + b"x", "", "no base64!", TEXT[:-1], TEXT + "="])
def test_what_is_no_key_is_refused_before_anything_is_sent(basin: Basin, key: bytes | str) -> None:
    with pytest.raises(Invalid, match="encryption key"):
        basin.stream("s", encryption_key=key)


def test_a_handle_does_not_show_its_key(basin: Basin) -> None:
    stream = basin.stream("s", encryption_key=TEXT)
    assert TEXT not in repr(stream) + repr(vars(stream))


async def test_streams_keep_the_cipher_that_they_were_created_with(s2: S2, sealed: Basin, cipher: Cipher) -> None:
    stream = sealed.stream("s", encryption_key=RAW)
    await stream.append([AppendRecord("before")])
    await s2.basins.reconfigure("sealed-basin", stream_cipher=None)
    await sealed.stream("plain").append([AppendRecord("x")])
    await stream.append([AppendRecord("after")])
    assert await texts(stream) == ["before", "after"]
    assert {info.name: info.cipher async for info in sealed.streams.list_all()} == {"plain": None, "s": cipher}


async def test_fence_and_trim_work_and_read_back(sealed: Basin) -> None:
    stream = sealed.stream("s", encryption_key=RAW)
    await stream.append([AppendRecord("gone")])
    await stream.fence("me")
    with pytest.raises(FencingTokenMismatch):
        await stream.append([AppendRecord("x")], fencing_token="you")
    await stream.trim(1, fencing_token="me")
    read = await sealed.stream("s", encryption_key=OTHER).read(SeqNum(1))
    assert [record.command for record in read.records] == [CommandKind.FENCE, CommandKind.TRIM]
    assert read.records[0].text == "me"
