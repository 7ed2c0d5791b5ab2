"""Where HTTP/2 does not get through: what the client does by itself, and what it says."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure import S2, AppendRecord, SeqNum, TransportError
from perdure.client.pool import MAX_HTTP1_CALLS
from perdure.client.retries import RetryPolicy
from perdure.client.settings import ForcedTransport
from perdure.server.self_signed import make_certificate
from perdure.store.engine import Engine
from tests.client.http_server import HOST, serving_engine
from tests.client.middlemen import http1_front
from tests.store.stores import Kind, Store, opened

BASIN = "fallback-basin"
TOKEN = "very-secret"
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


def client(url: str, force: ForcedTransport | None = None, tls: ssl.SSLContext | None = None) -> S2:
    return S2(access_token=TOKEN, endpoints=url, retries=ONE_ATTEMPT, force_transport=force, ssl_context=tls)


async def use(s2: S2) -> None:
    """Every kind of request."""
    stream = await (await s2.basins.create(BASIN)).streams.create("s")
    await stream.append([AppendRecord("a")])
    async with stream.append_session() as session:
        tickets = [await session.submit([AppendRecord(text)]) for text in "bcd"]
        assert [(await ticket).start.seq_num for ticket in tickets] == [1, 2, 3]
    async with stream.read_session(SeqNum(0)) as records:
        assert [(await anext(records)).text for _ in range(4)] == ["a", "b", "c", "d"]
        await records.caught_up()
        await stream.append([AppendRecord("e")])
        assert (await anext(records)).text == "e"


class TestClearText:
    async def test_a_server_that_answers_in_http1_is_spoken_to_in_http1(
        self, port: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One connection is lost to the question, and the client says what it found, once."""
        with caplog.at_level(logging.WARNING, "perdure.client"):
            async with http1_front(port) as front, client(front.url) as s2:
                await use(s2)
                assert front.refused == 1
                assert TOKEN.encode() not in front.begun[0]
        assert [record.getMessage() for record in caplog.records] == [
            f"{front.url} speaks HTTP/1.1 only: appends of a session go one at a time"
        ]

    async def test_http2_or_an_error(self, port: int) -> None:
        async with http1_front(port) as front, client(front.url, "s2s") as s2:
            with pytest.raises(TransportError, match=r'HTTP/1\.x; .* force_transport="fetch"') as caught:
                await s2.basins.get_config(BASIN)
        assert caught.value.has_no_side_effects

    async def test_one_that_hangs_up_proves_nothing(self, port: int) -> None:
        """It may be about to restart: the error names the way out, which works."""
        async with http1_front(port, refusal=b"") as front:
            async with client(front.url) as s2:
                with pytest.raises(TransportError, match='force_transport="fetch"'):
                    await s2.basins.get_config(BASIN)
            assert TOKEN.encode() not in b"".join(front.begun)
            async with client(front.url, "fetch") as s2:
                await use(s2)

    async def test_calls_one_after_the_other_share_a_connection(self, port: int) -> None:
        async with http1_front(port) as front, client(front.url, "fetch") as s2:
            stream = await (await s2.basins.create(BASIN)).streams.create("s")
            async with stream.append_session() as session:
                for _ in range(10):
                    _ = await session.submit([AppendRecord("x")])
            assert len(front.begun) == 1

    async def test_many_calls_at_once_have_so_many_connections_and_no_more(self, port: int) -> None:
        async with http1_front(port) as front, client(front.url, "fetch") as s2:
            stream = await (await s2.basins.create(BASIN)).streams.create("s")
            calls = [stream.append([AppendRecord("x")]) for _ in range(3 * MAX_HTTP1_CALLS)]
            assert sorted([ack.start.seq_num for ack in await asyncio.gather(*calls)]) == list(range(len(calls)))
            assert 1 < len(front.begun) <= MAX_HTTP1_CALLS


class TestTls:
    @pytest.fixture
    def contexts(self, tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """A server's and a client's that trusts it."""
        certificate, key = make_certificate((HOST,))
        both = tmp_path / "both.pem"
        both.write_bytes(certificate + key)
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(both)
        return server, ssl.create_default_context(cadata=certificate.decode())

    async def test_the_handshake_settles_it(self, port: int, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        server, trusting = contexts
        async with http1_front(port, tls=server) as front, client(front.url, tls=trusting) as s2:
            await use(s2)
            assert front.refused == 0

    async def test_http2_or_an_error(self, port: int, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        server, trusting = contexts
        async with http1_front(port, tls=server) as front, client(front.url, "s2s", trusting) as s2:
            with pytest.raises(TransportError, match='force_transport="fetch"'):
                await s2.basins.get_config(BASIN)
