"""Connections that break under sessions and calls: nothing lost, doubled or reordered beyond what was agreed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure import (
    S2,
    AppendRecord,
    AppendSession,
    PerdureError,
    SeqNum,
    SeqNumMismatch,
    SessionClosed,
    Stream,
    TransportError,
)
from perdure.client.retries import AppendRetryPolicy, RetryPolicy
from perdure.client.settings import ForcedTransport
from perdure.store.engine import Engine
from tests.client.cutting_proxy import CuttingProxy, Fate, cutting
from tests.client.http_server import HOST, serving_engine
from tests.patience import PROCESS_SECONDS
from tests.store.stores import Kind, Store, opened

BASIN = "broken-basin"
PATIENT = RetryPolicy(max_attempts=50, min_delay_ms=1, max_delay_ms=20)
WARY = RetryPolicy(max_attempts=50, min_delay_ms=1, max_delay_ms=20, appends=AppendRetryPolicy.NO_SIDE_EFFECTS)
SEEDS = [*range(4), *[pytest.param(seed, marks=pytest.mark.soak) for seed in range(4, 60)]]
"""A test that fails names its seed: run it with `-m ''`, since most are left to `make soak`."""
EACH = 3


@pytest.fixture
def batches(forced: ForcedTransport) -> int:
    """How many there are to send; fewer where each has to wait for the one before."""
    return 1000 if forced == "s2s" else 250


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
async def direct(port: int) -> AsyncIterator[Stream]:
    """The stream without anything in between, asked so patiently that nothing is sent twice."""
    async with S2(endpoints=f"http://{HOST}:{port}", request_timeout=PROCESS_SECONDS) as s2:
        basin = await s2.basins.create(BASIN)
        yield await basin.streams.create("s")


@pytest.fixture(params=SEEDS)
async def proxy(request: pytest.FixtureRequest, port: int, batches: int) -> AsyncIterator[CuttingProxy]:
    async with cutting(port, request.param, most_bytes=300 * batches) as proxy:
        yield proxy


@pytest.fixture(params=SEEDS)
async def stalling(request: pytest.FixtureRequest, port: int, batches: int) -> AsyncIterator[CuttingProxy]:
    """`proxy` with connections that fall silent, for what is done within the request timeout."""
    async with cutting(port, request.param, [*Fate], most_bytes=300 * batches) as proxy:
        yield proxy


def through(proxy: CuttingProxy, retries: RetryPolicy, forced: ForcedTransport) -> S2:
    return S2(
        endpoints=f"http://{HOST}:{proxy.port}",
        retries=retries,
        request_timeout=0.5,
        connection_timeout=1,
        force_transport=forced,
    )


def batch(number: int) -> list[AppendRecord]:
    return [AppendRecord(b"%d" % (number * EACH + index) + b"." * 300) for index in range(EACH)]


async def stored(stream: Stream) -> list[int]:
    if not (await stream.check_tail()).seq_num:
        return []
    async with stream.read_session(SeqNum(0), wait=0) as records:
        return [int(record.body.partition(b".")[0]) async for record in records]


def _applied(mismatch: SeqNumMismatch, least: int) -> int:
    """How many batches are there: whole ones, and no fewer than were known of."""
    batches, rest = divmod(mismatch.expected, EACH)
    assert not rest
    assert batches >= least
    return batches


async def test_with_a_condition_every_record_is_there_once(
    direct: Stream, stalling: CuttingProxy, forced: ForcedTransport, batches: int
) -> None:
    """A batch whose acknowledgement was lost meets its own records; the writer goes on after them."""
    done = 0
    async with through(stalling, PATIENT, forced) as s2:
        stream = s2.basin(BASIN).stream("s")
        while done < batches:
            session = stream.append_session()
            try:
                async with session:
                    for number in range(done, batches):
                        _ = await session.submit(batch(number), match_seq_num=number * EACH)
                done = batches
            except SeqNumMismatch as exc:
                done = _applied(exc, done)
    assert await stored(direct) == list(range(batches * EACH))
    assert stalling.fates, "nothing was tested"


async def test_without_a_condition_there_are_only_duplicates(
    direct: Stream, stalling: CuttingProxy, forced: ForcedTransport, batches: int
) -> None:
    async with through(stalling, PATIENT, forced) as s2, s2.basin(BASIN).stream("s").append_session() as session:
        tickets = [await session.submit(batch(number)) for number in range(batches)]
        acks = [await ticket for ticket in tickets]
    found = await stored(direct)
    for number, ack in enumerate(acks):
        assert found[ack.start.seq_num : ack.end.seq_num] == [number * EACH + index for index in range(EACH)]
    assert [ack.start.seq_num for ack in acks] == sorted(ack.start.seq_num for ack in acks)
    assert stalling.fates


async def test_without_side_effects_an_ambiguous_failure_is_raised(
    direct: Stream, stalling: CuttingProxy, forced: ForcedTransport, batches: int
) -> None:
    acked: list[int] = []

    async def write(session: AppendSession) -> None:
        for number in range(batches // 4):
            await (await session.submit(batch(number)))
            acked.append(number)

    async def failure_of(session: AppendSession) -> PerdureError | None:
        try:
            async with session:
                await write(session)
        except PerdureError as exc:
            return exc
        return None

    async with through(stalling, WARY, forced) as s2:
        failure = await failure_of(s2.basin(BASIN).stream("s").append_session())
    found = await stored(direct)
    assert found == list(range(len(found))), "nothing twice"
    if failure is None:
        assert len(found) == len(acked) * EACH
    else:
        assert isinstance(failure, TransportError)
        assert not failure.has_no_side_effects
        assert len(found) // EACH - len(acked) in (0, 1), "but the last may be there"


async def test_a_reader_sees_every_record_once(
    direct: Stream, proxy: CuttingProxy, forced: ForcedTransport, batches: int
) -> None:
    """It follows while records come, over all connections that it loses."""
    total = batches * EACH

    async def write() -> None:
        async with direct.append_session() as session:
            for number in range(batches):
                _ = await session.submit(batch(number))
                if number % 50 == 0:
                    await asyncio.sleep(0)

    async with (
        through(proxy, PATIENT, forced) as s2,
        s2.basin(BASIN).stream("s").read_session(SeqNum(0), count=total, wait=30) as records,
    ):
        writing = asyncio.create_task(write())
        seen = [(record.seq_num, int(record.body.partition(b".")[0])) async for record in records]
        await writing
    assert seen == [(number, number) for number in range(total)]
    assert proxy.fates


async def test_bounded_reads_end_where_they_should(
    direct: Stream, proxy: CuttingProxy, forced: ForcedTransport
) -> None:
    async with direct.append_session() as session:
        for number in range(300):
            _ = await session.submit(batch(number))
    async with through(proxy, PATIENT, forced) as s2:
        stream = s2.basin(BASIN).stream("s")
        for count in (1, 100, 900, 5000):
            for _ in range(3):
                async with stream.read_session(SeqNum(0), count=count) as records:
                    assert [record.seq_num async for record in records] == list(range(min(count, 900)))


async def test_calls_are_made_again(direct: Stream, stalling: CuttingProxy, forced: ForcedTransport) -> None:
    async with through(stalling, PATIENT, forced) as s2:
        stream = s2.basin(BASIN).stream("s")
        at = 0
        while at < 300:
            try:
                at = (await stream.append(batch(at // EACH), match_seq_num=at)).end.seq_num
            except SeqNumMismatch as exc:
                at = EACH * _applied(exc, at // EACH + 1)  # the answer was lost, not the append
            assert (await stream.check_tail()).seq_num == at
            assert (await stream.read(SeqNum(at - 1))).records[0].seq_num == at - 1
    assert await stored(direct) == list(range(300))


async def test_a_server_that_is_replaced(engine: Engine, forced: ForcedTransport) -> None:
    """It stops in an orderly way under sessions, and another one takes its address."""
    acked: list[int] = []
    seen: list[int] = []
    enough, arrived = asyncio.Event(), asyncio.Event()
    patient = RetryPolicy(max_attempts=400, min_delay_ms=5, max_delay_ms=50)

    async def write(stream: Stream, stop: asyncio.Event) -> None:
        async with stream.append_session() as session:
            while not stop.is_set():
                ack = await (await session.submit([AppendRecord(b"%d" % len(acked))]))
                acked.append(ack.start.seq_num)
                if len(acked) % 50 == 0:
                    enough.set()

    async def follow(stream: Stream) -> None:
        async for record in stream.read_session(SeqNum(0)):
            seen.append(record.seq_num)
            arrived.set()

    stop = asyncio.Event()
    async with serving_engine(engine) as port:
        s2 = await S2(endpoints=f"http://{HOST}:{port}", retries=patient, force_transport=forced)
        basin = await s2.basins.create(BASIN)
        stream = await basin.streams.create("s")
        writing, following = asyncio.create_task(write(stream, stop)), asyncio.create_task(follow(stream))
        await enough.wait()
    for _ in range(2):
        async with serving_engine(engine, port=port):
            enough.clear()
            await enough.wait()
    async with serving_engine(engine, port=port):
        stop.set()
        await writing
        tail = (await stream.check_tail()).seq_num
        while len(seen) < tail:
            arrived.clear()
            await arrived.wait()
        following.cancel()
        await asyncio.wait([following])
        await s2.aclose()
    assert seen == list(range(tail))
    assert acked == sorted(set(acked))


async def test_abandoning_while_it_tries_again(direct: Stream, port: int, forced: ForcedTransport) -> None:
    async with cutting(port, 0) as proxy:
        s2 = await through(proxy, RetryPolicy(max_attempts=1000, min_delay_ms=1, max_delay_ms=1), forced)
        session = s2.basin(BASIN).stream("s").append_session()
        await (await session.submit(batch(0)))
    ticket = await session.submit(batch(1))  # nobody is there any more
    for _ in range(20):
        await asyncio.sleep(0)
    await session.abandon()
    with pytest.raises(SessionClosed):
        await ticket
    with pytest.raises(PerdureError):
        _ = await session.submit(batch(2))
    await s2.aclose()
