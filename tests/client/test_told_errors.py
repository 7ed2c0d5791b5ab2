"""What a server refuses comes as the same typed error, with what it said, whichever way one asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from perdure import (
    S2,
    AppendRecord,
    BasinNotFound,
    FencingTokenMismatch,
    ReadUnwritten,
    SeqNum,
    SeqNumMismatch,
    Stream,
    StreamNotFound,
    TransportError,
)
from perdure.client.retries import RetryPolicy
from perdure.errors import AuthenticationFailed, RateLimited
from perdure.patterns import DeserializingReadSession, SerializingAppendSession
from perdure.server.context import ServerSettings
from perdure.server.limits import ServerLimits
from perdure.store.sqlite import SqliteEngine
from tests.client.http_server import HOST, serving_app, serving_engine
from tests.client.losing_proxy import losing

BASIN = "telling-basin"
TOKEN = "the-root-token-of-these-tests"
ONE_ATTEMPT = RetryPolicy(max_attempts=1)
RECORD = AppendRecord("x")

Ask = Callable[..., Awaitable[object]]


async def appends(stream: Stream, **conditions: object) -> None:
    await stream.append([RECORD], **conditions)  # type: ignore[arg-type]  # the test's own


async def submits(stream: Stream, **conditions: object) -> None:
    async with stream.append_session() as session:
        await (await session.submit([RECORD], **conditions))  # type: ignore[arg-type]


async def produces(stream: Stream, **conditions: object) -> None:
    async with stream.producer(**conditions) as producer:  # type: ignore[arg-type]
        await (await producer.submit(RECORD))


async def writes_messages(stream: Stream, **conditions: object) -> None:
    session = stream.append_session()
    async with SerializingAppendSession(session, str.encode, **conditions) as messages:  # type: ignore[arg-type]
        await messages.write("x")


async def reads(stream: Stream) -> None:
    await stream.read(SeqNum(99))


async def follows(stream: Stream) -> None:
    async for _ in stream.read_session(SeqNum(99)):
        pass


async def reads_messages(stream: Stream) -> None:
    async with DeserializingReadSession(stream.read_session(SeqNum(99)), bytes.decode) as messages:
        async for _ in messages:
            pass


WRITING: list[Ask] = [appends, submits, produces, writes_messages]
READING: list[Ask] = [reads, follows, reads_messages]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    engine = await SqliteEngine.open(":memory:")
    try:
        async with serving_engine(engine, root_token=TOKEN) as port:
            yield port
    finally:
        await engine.aclose()


@pytest.fixture
async def s2(port: int) -> AsyncIterator[S2]:
    async with S2(access_token=TOKEN, endpoints=f"http://{HOST}:{port}", retries=ONE_ATTEMPT) as s2:
        yield s2


@pytest.fixture
async def stream(s2: S2) -> Stream:
    basin = await s2.basins.create(BASIN)
    return await basin.streams.create("s")


def named(ask: Ask) -> str:
    return ask.__name__


@pytest.mark.parametrize("ask", WRITING, ids=named)
async def test_a_condition_that_does_not_hold(stream: Stream, ask: Ask) -> None:
    await stream.append([AppendRecord.fence("theirs")])
    with pytest.raises(SeqNumMismatch, match="would get 1") as mismatch:
        await ask(stream, match_seq_num=7)
    assert (mismatch.value.expected, mismatch.value.status, mismatch.value.in_doubt) == (1, 412, False)
    with pytest.raises(FencingTokenMismatch, match="'theirs'") as fenced:
        await ask(stream, fencing_token="mine")
    assert (fenced.value.expected, fenced.value.has_no_side_effects) == ("theirs", True)
    assert (await stream.check_tail()).seq_num == 1


@pytest.mark.parametrize("ask", READING, ids=named)
async def test_a_read_beyond_the_tail(stream: Stream, ask: Ask) -> None:
    ack = await stream.append([RECORD])
    with pytest.raises(ReadUnwritten) as caught:
        await ask(stream)
    assert (caught.value.tail, caught.value.status) == (ack.tail, 416)


@pytest.mark.parametrize("ask", [*WRITING, *READING], ids=named)
async def test_what_does_not_exist(s2: S2, stream: Stream, ask: Ask) -> None:
    with pytest.raises(StreamNotFound, match="no-such-stream") as no_stream:
        await ask(s2.basin(BASIN).stream("no-such-stream"))
    with pytest.raises(BasinNotFound, match="no-such-basin") as no_basin:
        await ask(s2.basin("no-such-basin").stream("s"))
    assert [error.value.code for error in (no_stream, no_basin)] == ["stream_not_found", "basin_not_found"]


@pytest.mark.parametrize("ask", [*WRITING, *READING], ids=named)
async def test_a_wrong_token(port: int, stream: Stream, ask: Ask) -> None:
    async with S2(access_token="not-the-token", endpoints=f"http://{HOST}:{port}") as s2:
        with pytest.raises(AuthenticationFailed) as caught:
            await ask(s2.basin(BASIN).stream("s"))
    assert caught.value.status == 401
    assert caught.value.message
    assert "not-the-token" not in repr(caught.value)


async def test_a_server_that_holds_no_more_sessions() -> None:
    engine = await SqliteEngine.open(":memory:")
    settings = ServerSettings(limits=ServerLimits(max_sessions=1))
    try:
        async with (
            serving_app(engine, settings=settings) as (port, _),
            S2(endpoints=f"http://{HOST}:{port}", retries=ONE_ATTEMPT) as s2,
        ):
            stream = await (await s2.basins.create(BASIN)).streams.create("s")
            async with stream.append_session() as session:
                await (await session.submit([RECORD]))
                for opened in (stream.read_session(SeqNum(0)), stream.append_session(), stream.producer()):
                    with pytest.raises(RateLimited, match="1 sessions open") as caught:
                        await opened.__aenter__()
                    assert caught.value.status == 429
                    assert caught.value.retry_after_ms
                    assert caught.value.has_no_side_effects
    finally:
        await engine.aclose()


async def test_a_window_that_stays_full(port: int, stream: Stream) -> None:
    """The server takes nothing any more, so neither does the session: whoever waits for room hears of it."""
    async with (
        losing(port) as proxy,
        S2(access_token=TOKEN, endpoints=f"http://{HOST}:{proxy.port}", retries=ONE_ATTEMPT, request_timeout=2) as s2,
    ):
        session = s2.basin(BASIN).stream("s").append_session(max_in_flight_bytes=1024 * 1024)
        await (await session.submit([RECORD]))
        proxy.stall()
        large = [AppendRecord(bytes(600_000))]
        ticket = await session.submit(large)
        with pytest.raises(TransportError, match="within 2 s") as caught:
            _ = await session.submit(large)
        assert caught.value.may_have_applied
        with pytest.raises(TransportError):
            await ticket
        await session.abandon()
    assert (await stream.check_tail()).seq_num == 1
