"""A store behind HTTP: typed errors, compression, and nothing left behind (store API, sections 9 and 10)."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure import (
    S2,
    AppendAck,
    AppendRecord,
    AppendSession,
    BasinNotFound,
    DecryptionFailed,
    EncryptionKey,
    FencingTokenMismatch,
    PerdureError,
    ReadUnwritten,
    SeqNum,
    SeqNumMismatch,
    Stream,
    StreamNotFound,
    StreamPosition,
    TransportError,
    UsageError,
)
from perdure.client.endpoints import Endpoints
from perdure.client.retries import RetryPolicy
from perdure.client.settings import ForcedTransport
from perdure.errors import AuthenticationFailed, ProtocolViolation
from perdure.model.configs import Cipher
from perdure.server.self_signed import make_certificate
from perdure.server.serving import TlsFiles
from perdure.store.engine import Engine
from perdure.wire.compression import Compression
from tests.client.http_server import HOST, serving_engine
from tests.patience import PATIENCE_SECONDS
from tests.store.making import eventually
from tests.store.stores import Kind, Store, opened

TOKEN = "root-" + "0" * 40
BASIN = "http-basin"
ONE_ATTEMPT = RetryPolicy(max_attempts=1)


@pytest.fixture
def kind() -> Kind:
    return "memory"


@pytest.fixture
async def engine(store: Store) -> AsyncIterator[Engine]:
    async with opened(store) as engine:
        yield engine


@pytest.fixture
async def port(engine: Engine) -> AsyncIterator[int]:
    async with serving_engine(engine) as port:
        yield port


@pytest.fixture
async def s2(port: int, forced: ForcedTransport) -> AsyncIterator[S2]:
    async with S2(endpoints=f"http://{HOST}:{port}", retries=ONE_ATTEMPT, force_transport=forced) as s2:
        yield s2


@pytest.fixture
async def stream(s2: S2) -> Stream:
    basin = await s2.basins.create(BASIN, create_stream_on_append=True)
    return await basin.streams.create("s/ä b?")


def tasks_of_the_client() -> list[object]:
    """The server's run in the same loop, and end in their own time."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks() if not task.done()]
    return [found for found in coroutines if "/perdure/client/" in found.cr_code.co_filename]  # type: ignore[union-attr]


def timers_of_connections_to(port: int) -> list[str]:
    """By the number of their kind: "00" is none, "02" that of a keepalive."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[5].partition(":")[0] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]


async def post(session: AppendSession) -> AppendAck:
    return await (await session.submit([AppendRecord("x")]))


class NoStore(asyncio.Protocol):
    """Knows nothing of HTTP/2, and says so."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        transport.close()


def always(answer: bytes) -> Callable[[], asyncio.Protocol]:
    """Somebody who says the same to whatever comes, and hangs up."""

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.write(answer)
                self._transport.close()

    return Answering


@asynccontextmanager
async def strangers(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[str]:
    """Something that listens and is no store."""
    server = await asyncio.get_running_loop().create_server(protocol, HOST, 0)
    async with server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"


class TestErrors:
    async def test_a_wrong_token(self, engine: Engine, forced: ForcedTransport) -> None:
        async with serving_engine(engine, root_token=TOKEN) as port:
            url = f"http://{HOST}:{port}"
            async with S2(access_token=TOKEN, endpoints=url, force_transport=forced) as s2:
                basin = await s2.basins.create(BASIN, create_stream_on_append=True)
                await basin.stream("s").append([AppendRecord("x")])
            for token in ("wrong", None):
                async with S2(access_token=token, endpoints=url, force_transport=forced) as s2:
                    stream = s2.basin(BASIN).stream("s")
                    calls: list[Callable[[], Awaitable[object]]] = [
                        lambda s2=s2: s2.basins.get_config(BASIN),  # type: ignore[misc]
                        lambda stream=stream: stream.append([AppendRecord("x")]),  # type: ignore[misc]
                        lambda stream=stream: stream.read_session(SeqNum(0)).__aenter__(),  # type: ignore[misc]
                        lambda stream=stream: post(stream.append_session()),  # type: ignore[misc]
                    ]
                    for call in calls:
                        with pytest.raises(AuthenticationFailed) as caught:
                            await call()
                        assert "wrong" not in str(caught.value)

    async def test_what_is_missing(self, s2: S2, stream: Stream) -> None:
        missing = s2.basin("no-such-basin").stream("s")
        with pytest.raises(BasinNotFound, match="no-such-basin"):
            await missing.append([AppendRecord("x")])
        with pytest.raises(BasinNotFound):
            await missing.read_session(SeqNum(0)).__aenter__()
        with pytest.raises(StreamNotFound):
            await s2.basin(BASIN).stream("none").check_tail()

    async def test_conditions_and_the_tail(self, stream: Stream) -> None:
        ack = await stream.append([AppendRecord("a", timestamp=5)])
        with pytest.raises(SeqNumMismatch) as seq_num:
            await stream.append([AppendRecord("b")], match_seq_num=7)
        assert seq_num.value.expected == 1
        with pytest.raises(FencingTokenMismatch) as token:
            await stream.append([AppendRecord("b")], fencing_token="mine")
        assert token.value.expected == ""
        with pytest.raises(ReadUnwritten) as unwritten:
            await stream.read(SeqNum(1))
        assert unwritten.value.tail == ack.tail
        with pytest.raises(ReadUnwritten) as unwritten:
            await stream.read_session(SeqNum(9)).__aenter__()
        assert unwritten.value.tail.seq_num == 1

    async def test_a_condition_in_the_middle_of_a_session(self, stream: Stream) -> None:
        session = stream.append_session()
        good = await session.submit([AppendRecord("a")], match_seq_num=0)
        bad = await session.submit([AppendRecord("b")], match_seq_num=7)
        later = await session.submit([AppendRecord("c")])
        assert (await good).end.seq_num == 1
        for ticket in (bad, later):
            with pytest.raises(SeqNumMismatch) as caught:
                await ticket
            assert caught.value.expected == 1
        with pytest.raises(SeqNumMismatch):
            await session.aclose()
        assert (await stream.check_tail()).seq_num == 1

    async def test_nobody_listens(self, forced: ForcedTransport) -> None:
        twice = RetryPolicy(max_attempts=2, min_delay_ms=1)
        async with S2(endpoints=f"http://{HOST}:1", retries=twice, force_transport=forced) as s2:
            with pytest.raises(TransportError, match="cannot connect") as caught:
                await s2.basins.get_config(BASIN)
            assert caught.value.has_no_side_effects

    async def test_somebody_else_listens(self, forced: ForcedTransport) -> None:
        async with strangers(NoStore) as url, S2(endpoints=url, retries=ONE_ATTEMPT, force_transport=forced) as s2:
            with pytest.raises(
                PerdureError, match="HTTP/1.x; if .* force_transport" if forced == "s2s" else "status 400"
            ):
                await s2.basins.get_config(BASIN)

    async def test_a_redirection_is_told_and_not_followed(self) -> None:
        """As of a proxy that has everybody come by https."""
        fields = b"location: https://store.example/v1\r\nconnection: close\r\ncontent-length: 4\r\n"
        moved = always(b"HTTP/1.1 301 Moved\r\n" + fields + b"\r\n<h1>")
        async with strangers(moved) as url, S2(endpoints=url, retries=ONE_ATTEMPT) as s2:
            for call in (s2.basins.list(), s2.basin(BASIN).stream("s").read_session().__aenter__()):
                with pytest.raises(PerdureError, match=r"leads to https://store\.example/v1") as caught:
                    await call
                assert caught.value.status == 301

    @pytest.mark.parametrize("answer", [b"204 Empty\r\n\r\n", b"200 OK\r\ncontent-length: 5\r\n\r\n<html"])
    async def test_an_answer_that_acknowledges_nothing_is_no_success_and_no_promise(self, answer: bytes) -> None:
        """Whoever gave it, the append may have been passed on."""

        agreeing = always(b"HTTP/1.1 " + answer)
        async with strangers(agreeing) as url, S2(endpoints=url, retries=ONE_ATTEMPT, force_transport="fetch") as s2:
            with pytest.raises(ProtocolViolation) as caught:
                await s2.basin(BASIN).stream("s").append([AppendRecord("x")])
        assert not caught.value.has_no_side_effects

    @pytest.mark.parametrize(
        ("fields", "expected_ms"),
        [
            (b"retry-after-ms: 1700\r\n", 1700),
            (b"Retry-After: 3\r\n", 3000),
            (b"Retry-After: 3\r\nretry-after-ms: 50\r\n", 50),
            (b"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", None),
            (b"", None),
        ],
    )
    async def test_when_to_come_back_is_told_with_any_error(self, fields: bytes, expected_ms: int | None) -> None:
        """A proxy that has no server to pass a request on to does not know the codes of the API."""

        busy = always(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n" + fields + b"\r\n")
        async with strangers(busy) as url, S2(endpoints=url, retries=ONE_ATTEMPT, force_transport="fetch") as s2:
            with pytest.raises(PerdureError) as caught:
                await s2.basins.get_config(BASIN)
        assert (caught.value.status, caught.value.retry_after_ms) == (503, expected_ms)

    async def test_silence(self) -> None:
        async with (
            strangers(asyncio.Protocol) as url,
            S2(endpoints=url, retries=ONE_ATTEMPT, connection_timeout=0.05) as s2,
        ):
            with pytest.raises(TransportError, match=r"within 0\.05 s; .* force_transport"):
                await s2.basins.get_config(BASIN)

    async def test_silence_after_a_request(self) -> None:
        async with (
            strangers(asyncio.Protocol) as url,
            S2(endpoints=url, retries=ONE_ATTEMPT, force_transport="fetch", request_timeout=0.05) as s2,
        ):
            stream = s2.basin(BASIN).stream("s")
            for call in (stream.check_tail(), post(stream.append_session()), stream.read_session().__aenter__()):
                with pytest.raises(TransportError, match=r"within 0\.05 s"):
                    await call

    async def test_after_closing(self, s2: S2, stream: Stream) -> None:
        await s2.aclose()
        await s2.aclose()
        for call in (stream.check_tail, lambda: stream.append([AppendRecord("x")])):
            with pytest.raises(UsageError, match="closed"):
                await call()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells which timers its sockets have")
async def test_silent_connections_are_kept_alive(port: int, stream: Stream) -> None:
    """A router on the way forgets those that are silent, and an append session may be."""

    async def have_their_timers() -> bool:
        return set(timers_of_connections_to(port)) == {"02"}  # any other is there while something is on its way

    await eventually(have_their_timers)


class TestTls:
    async def test_a_certificate_that_is_trusted_and_one_that_is_not(
        self, engine: Engine, tmp_path: Path, forced: ForcedTransport
    ) -> None:
        files = TlsFiles(certificate=tmp_path / "certificate.pem", key=tmp_path / "key.pem")
        certificate, key = make_certificate(("localhost", HOST))
        files.certificate.write_bytes(certificate)
        files.key.write_bytes(key)
        trusting = ssl.create_default_context(cadata=certificate.decode())
        async with serving_engine(engine, tls=files) as port:
            url = f"https://{HOST}:{port}"
            async with S2(endpoints=url, ssl_context=trusting, retries=ONE_ATTEMPT, force_transport=forced) as s2:
                basin = await s2.basins.create(BASIN, create_stream_on_append=True)
                async with basin.stream("s").append_session() as session:
                    _ = await session.submit([AppendRecord(bytes(10**6))])
                assert (await basin.stream("s").read(SeqNum(0))).records[0].body == bytes(10**6)
            async with S2(endpoints=url, retries=ONE_ATTEMPT, force_transport=forced) as s2:
                with pytest.raises(TransportError, match=r"cannot be trusted.* SSL_CERT_FILE"):
                    await s2.basins.get_config(BASIN)
            async with S2(endpoints=f"http://{HOST}:{port}", retries=ONE_ATTEMPT, force_transport="s2s") as s2:
                with pytest.raises(TransportError, match="address begins with https://"):
                    await s2.basins.get_config(BASIN)

    async def test_a_server_without_it(self, engine: Engine, forced: ForcedTransport) -> None:
        """The scheme was forgotten, as in `localhost:3458`: it is https then."""
        async with (
            serving_engine(engine) as port,
            S2(endpoints=f"{HOST}:{port}", retries=ONE_ATTEMPT, force_transport=forced) as s2,
        ):
            with pytest.raises(TransportError, match="without TLS begins with http://"):
                await s2.basins.get_config(BASIN)


class TestAddresses:
    async def test_the_basin_in_the_host_name(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch, forced: ForcedTransport
    ) -> None:
        """The server knows basins by their hosts, and the client sends no other sign of them."""
        resolve = asyncio.get_running_loop().getaddrinfo

        async def local(host: str, port: int, **asked: int) -> object:
            assert host in (HOST, f"{BASIN}.b.localhost")
            return await resolve(HOST, port, **asked)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", local)
        async with serving_engine(engine) as port:
            endpoints = Endpoints(f"http://{HOST}:{port}", f"http://{{basin}}.b.localhost:{port}")
            async with S2(endpoints=endpoints, retries=ONE_ATTEMPT, force_transport=forced) as s2:
                await s2.basins.create(BASIN, create_stream_on_append=True)
                assert (await s2.basin(BASIN).stream("s").append([AppendRecord("x")])).end.seq_num == 1

    async def test_from_the_environment(self, port: int, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("S2_ACCESS_TOKEN", "any")
        monkeypatch.setenv("S2_ACCOUNT_ENDPOINT", f"http://{HOST}:{port}")
        monkeypatch.setenv("S2_BASIN_ENDPOINT", f"http://{HOST}:{port}")
        async with S2.from_env() as s2:
            assert [info.name async for info in s2.basins.list_all()] == [BASIN]


class TestCompression:
    @pytest.mark.parametrize("compression", list(Compression))
    async def test_records_both_ways(
        self, port: int, stream: Stream, compression: Compression, forced: ForcedTransport
    ) -> None:
        body = b"the same words again and again " * 100
        async with S2(endpoints=f"http://{HOST}:{port}", compression=compression, force_transport=forced) as s2:
            packed = s2.basin(BASIN).stream(stream.name)
            await packed.append([AppendRecord(body)])
            async with packed.append_session() as session:
                for _ in range(3):
                    _ = await session.submit([AppendRecord(body, headers={"a": "b"})])
            assert [record.body for record in (await packed.read(SeqNum(0))).records] == [body] * 4
            async with packed.read_session(SeqNum(0), wait=0) as records:
                assert [record.body async for record in records] == [body] * 4
            assert [info.name async for info in s2.basins.list_all()] == [BASIN]


class TestEncryption:
    async def test_the_key_goes_with_records_only(self, s2: S2) -> None:
        basin = await s2.basins.create(BASIN, stream_cipher=Cipher.AES_256_GCM)
        await basin.streams.create("sealed")
        stream = basin.stream("sealed", encryption_key=b"k" * 32)
        await stream.append([AppendRecord("a")])
        async with stream.append_session() as session:
            _ = await session.submit([AppendRecord("b")])
        async with stream.read_session(SeqNum(0), count=2) as records:
            assert [record.text async for record in records] == ["a", "b"]
        other = basin.stream("sealed", encryption_key=EncryptionKey.of(b"o" * 32))
        with pytest.raises(DecryptionFailed):
            await other.read(SeqNum(0))


class TestBulk:
    async def test_more_than_every_window(self, stream: Stream) -> None:
        """24 MiB each way, with reader and writer on one connection."""
        body = bytes(1024 * 1024 - 8)
        async with stream.append_session() as session:
            for _ in range(24):
                _ = await session.submit([AppendRecord(body)])
        async with stream.read_session(SeqNum(0), wait=0) as records:
            assert [record.seq_num async for record in records] == list(range(24))

    async def test_a_reader_that_stops_does_not_stop_others(self, s2: S2, stream: Stream) -> None:
        body = bytes(1024 * 1024 - 8)
        async with stream.append_session() as session:
            for _ in range(16):
                _ = await session.submit([AppendRecord(body)])
        async with stream.read_session(SeqNum(0), wait=0) as slow, stream.read_session(SeqNum(0), wait=0) as quick:
            await anext(slow)
            assert len([record async for record in quick]) == 16
            assert (await stream.check_tail()).seq_num == 16
            assert len([record async for record in slow]) == 15


class TestCancelling:
    @pytest.mark.parametrize("steps", [*range(25), 40, 80])
    async def test_at_any_step_nothing_is_left(
        self, port: int, stream: Stream, steps: int, forced: ForcedTransport
    ) -> None:
        """No task, no socket, no warning; and the streams of a shared connection are given back."""
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        async with S2(endpoints=f"http://{HOST}:{port}", retries=ONE_ATTEMPT, force_transport=forced) as other:
            await stream.append([AppendRecord("a")])
            mine = other.basin(BASIN).stream(stream.name)

            async def append() -> None:
                await mine.append([AppendRecord("x")])

            async def read() -> None:
                async with mine.read_session(SeqNum(0)) as records:
                    async for _ in records:
                        pass

            async def session() -> None:
                async with mine.append_session() as pipeline:
                    while True:
                        await (await pipeline.submit([AppendRecord("x")]))

            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for operation in (append, read, session):
                    task = asyncio.create_task(operation())
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                    del task
                gc.collect()
            assert tasks_of_the_client() == []
            assert (await mine.check_tail()).seq_num >= 1, "it goes on working"
        assert tasks_of_the_client() == []

    async def test_closing_the_client_ends_a_session_that_tries_again(
        self, engine: Engine, forced: ForcedTransport
    ) -> None:
        patient = RetryPolicy(max_attempts=10, min_delay_ms=60_000, max_delay_ms=60_000)
        async with serving_engine(engine) as port:
            s2 = await S2(endpoints=f"http://{HOST}:{port}", retries=patient, force_transport=forced)
            basin = await s2.basins.create(BASIN)
            session = (await basin.streams.create("s")).append_session()
            await (await session.submit([AppendRecord("x")]))
        ticket = await session.submit([AppendRecord("y")])
        assert len(tasks_of_the_client()) == 1
        await s2.aclose()
        with pytest.raises(TransportError, match="closed"):
            await ticket
        assert tasks_of_the_client() == []
        await session.abandon()

    async def test_closing_the_client_ends_what_is_open(self, s2: S2, stream: Stream) -> None:
        async def follow() -> None:
            async for _ in stream.read_session(SeqNum(0), wait=60):
                pass

        following = asyncio.create_task(follow())
        session = stream.append_session()
        await (await session.submit([AppendRecord("x")]))
        await s2.aclose()
        with pytest.raises(PerdureError):
            await following
        with pytest.raises(PerdureError):
            await (await session.submit([AppendRecord("y")]))
        with pytest.raises(PerdureError):
            await session.aclose()


async def test_listing_page_after_page(s2: S2, stream: Stream) -> None:
    streams = s2.basin(BASIN).streams
    names = sorted(f"ä{number:03}" for number in range(7))
    for name in names:
        await streams.create(name)
    page = await streams.list(prefix="ä", limit=3)
    assert ([info.name for info in page.items], page.has_more) == (names[:3], True)
    page = await streams.list(prefix="ä", start_after="ä004", limit=1000)
    assert ([info.name for info in page.items], page.has_more) == (names[5:], False)
    assert [info.name async for info in streams.list_all(prefix="ä")] == names


async def test_an_empty_stream_over_http(stream: Stream) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await stream.check_tail() == StreamPosition(0, 0)
