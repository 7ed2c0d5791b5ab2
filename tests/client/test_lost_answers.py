"""Appends that were applied, and whose answer was lost: no error claims that nothing happened."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator

import pytest

from perdure import S2, AppendRecord, FencingTokenMismatch, SeqNum, SeqNumMismatch, Stream, TransportError
from perdure.client.retries import AppendRetryPolicy, RetryPolicy, applied_tail, leaves_doubt
from perdure.client.settings import ForcedTransport
from perdure.errors import PerdureError
from perdure.store.engine import Engine
from tests.client.http_server import HOST, serving_engine
from tests.client.losing_proxy import LosingProxy, losing
from tests.store.stores import Kind, Store, opened

BASIN = "losing-basin"
QUICK = RetryPolicy(max_attempts=5, min_delay_ms=1, max_delay_ms=5)
WARY = RetryPolicy(max_attempts=5, min_delay_ms=1, max_delay_ms=5, appends=AppendRetryPolicy.NO_SIDE_EFFECTS)
RECORDS = [AppendRecord("a"), AppendRecord("b")]
APPEND = b"POST"
"""What is in the head of an append and of an append session, and in nothing else that these tests send."""


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
    """The stream without anything in between."""
    async with S2(endpoints=f"http://{HOST}:{port}") as s2:
        basin = await s2.basins.create(BASIN)
        yield await basin.streams.create("s")


@pytest.fixture
async def proxy(port: int) -> AsyncIterator[LosingProxy]:
    async with losing(port) as proxy:
        yield proxy


def client(proxy: LosingProxy, retries: RetryPolicy = QUICK, forced: ForcedTransport = "s2s") -> S2:
    return S2(endpoints=f"http://{HOST}:{proxy.port}", retries=retries, force_transport=forced)


async def reached(stream: Stream, tail: int) -> None:
    """Until the stream holds so many records."""
    async with stream.read_session(SeqNum(0), count=tail, wait=30) as records:
        assert len([record async for record in records]) == tail


async def bodies(stream: Stream) -> list[str]:
    async with stream.read_session(SeqNum(0), wait=0) as records:
        return [record.text async for record in records]


class TestUnary:
    async def test_a_condition_that_the_append_itself_has_changed(
        self, direct: Stream, proxy: LosingProxy, forced: ForcedTransport
    ) -> None:
        async with client(proxy, forced=forced) as s2:
            proxy.lose_answer_to(APPEND)
            append = asyncio.create_task(s2.basin(BASIN).stream("s").append(RECORDS, match_seq_num=0))
            await reached(direct, 2)
            proxy.cut()
            with pytest.raises(SeqNumMismatch) as caught:
                await append
        assert caught.value.expected == 2
        assert caught.value.in_doubt
        assert not caught.value.has_no_side_effects
        assert "may have been applied" in caught.value.__notes__[0]
        assert await bodies(direct) == ["a", "b"]

    async def test_a_token_that_the_append_itself_has_changed(
        self, direct: Stream, proxy: LosingProxy, forced: ForcedTransport
    ) -> None:
        async with client(proxy, forced=forced) as s2:
            proxy.lose_answer_to(APPEND)
            fencing = asyncio.create_task(s2.basin(BASIN).stream("s").fence("mine", fencing_token=""))
            await reached(direct, 1)
            proxy.cut()
            with pytest.raises(FencingTokenMismatch) as caught:
                await fencing
        assert caught.value.expected == "mine"
        assert caught.value.in_doubt

    async def test_a_tail_below_the_records_tells_that_they_are_not_there(
        self, direct: Stream, proxy: LosingProxy, forced: ForcedTransport
    ) -> None:
        async with client(proxy, forced=forced) as s2:
            proxy.lose_answer_to(APPEND, forwards=False)
            append = asyncio.create_task(s2.basin(BASIN).stream("s").append(RECORDS, match_seq_num=0))
            await proxy.caught.wait()
            await direct.append([AppendRecord("somebody else's")])
            proxy.cut()
            with pytest.raises(SeqNumMismatch) as caught:
                await append
        assert caught.value.expected == 1
        assert not caught.value.in_doubt
        assert caught.value.has_no_side_effects

    async def test_a_server_that_cannot_be_reached_afterwards(
        self, direct: Stream, proxy: LosingProxy, forced: ForcedTransport
    ) -> None:
        """That the last attempt did nothing says nothing about the first."""
        async with client(proxy, forced=forced) as s2:
            proxy.lose_answer_to(APPEND)
            append = asyncio.create_task(s2.basin(BASIN).stream("s").append(RECORDS))
            await reached(direct, 2)
            proxy.refuse()
            with pytest.raises(TransportError, match="cannot connect") as caught:
                await append
        assert caught.value.in_doubt
        assert caught.value.may_have_applied
        assert not caught.value.has_no_side_effects

    async def test_without_side_effects_the_lost_answer_is_raised(
        self, direct: Stream, proxy: LosingProxy, forced: ForcedTransport
    ) -> None:
        async with client(proxy, WARY, forced) as s2:
            proxy.lose_answer_to(APPEND)
            append = asyncio.create_task(s2.basin(BASIN).stream("s").append(RECORDS, match_seq_num=0))
            await reached(direct, 2)
            proxy.cut()
            with pytest.raises(TransportError) as caught:
                await append
        assert not caught.value.has_no_side_effects

    async def test_without_a_condition_it_is_there_twice(
        self, direct: Stream, proxy: LosingProxy, forced: ForcedTransport
    ) -> None:
        async with client(proxy, forced=forced) as s2:
            proxy.lose_answer_to(APPEND)
            append = asyncio.create_task(s2.basin(BASIN).stream("s").append(RECORDS))
            await reached(direct, 2)
            proxy.cut()
            assert (await append).start.seq_num == 2
        assert await bodies(direct) == ["a", "b"] * 2


class TestSession:
    async def test_batches_that_meet_themselves(self, direct: Stream, proxy: LosingProxy) -> None:
        async with client(proxy) as s2, s2.basin(BASIN).stream("s").append_session() as first:
            await (await first.submit(RECORDS, match_seq_num=0))
            proxy.lose_answer_to(b"")
            tickets = [await first.submit(RECORDS, match_seq_num=2 * number) for number in (1, 2, 3)]
            await reached(direct, 8)
            proxy.cut()
            for ticket in tickets:
                with pytest.raises(SeqNumMismatch) as caught:
                    await ticket
                assert caught.value.expected == 8
                assert caught.value.in_doubt
            await first.abandon()
        assert await bodies(direct) == ["a", "b"] * 4

    async def test_batches_that_were_never_sent_leave_no_doubt(self, direct: Stream, proxy: LosingProxy) -> None:
        async with client(proxy) as s2:
            session = await s2.basin(BASIN).stream("s").append_session().__aenter__()
            proxy.cut()
            ticket = await session.submit(RECORDS, match_seq_num=5)
            with pytest.raises(SeqNumMismatch) as caught:
                await ticket
            assert not caught.value.in_doubt
            await session.abandon()

    async def test_a_server_that_cannot_be_reached_afterwards(self, direct: Stream, proxy: LosingProxy) -> None:
        async with client(proxy) as s2:
            session = await s2.basin(BASIN).stream("s").append_session().__aenter__()
            proxy.lose_answer_to(b"")
            ticket = await session.submit(RECORDS)
            await reached(direct, 2)
            proxy.refuse()
            with pytest.raises(TransportError) as caught:
                await ticket
            assert not caught.value.has_no_side_effects
            assert session.failure is caught.value
            await session.abandon()


class TestSessionOfCalls:
    """Over HTTP/1.1: one batch is on its way, the others wait for its answer."""

    async def test_a_batch_that_meets_itself(self, direct: Stream, proxy: LosingProxy) -> None:
        async with client(proxy, forced="fetch") as s2:
            session = s2.basin(BASIN).stream("s").append_session()
            await (await session.submit(RECORDS, match_seq_num=0))
            proxy.lose_answer_to(APPEND)
            tickets = [await session.submit(RECORDS, match_seq_num=2 * number) for number in (1, 2, 3)]
            await reached(direct, 4)
            proxy.cut()
            for ticket in tickets:
                with pytest.raises(SeqNumMismatch) as caught:
                    await ticket
                assert caught.value.expected == 4
                assert caught.value.in_doubt
            await session.abandon()
        assert await bodies(direct) == ["a", "b"] * 2, "nothing after the batch that failed"

    async def test_without_side_effects_the_lost_answer_is_raised(self, direct: Stream, proxy: LosingProxy) -> None:
        async with client(proxy, WARY, "fetch") as s2:
            session = s2.basin(BASIN).stream("s").append_session()
            proxy.lose_answer_to(APPEND)
            ticket, later = await session.submit(RECORDS), await session.submit(RECORDS)
            await reached(direct, 2)
            proxy.cut()
            for answer in (ticket, later):
                with pytest.raises(TransportError) as caught:
                    await answer
                assert not caught.value.has_no_side_effects
            await session.abandon()
        assert await bodies(direct) == ["a", "b"]


class TestDeadConnection:
    """A connection that carries nothing any more, though nobody closed it, is not used for the next attempt."""

    async def test_of_a_call(self, direct: Stream, proxy: LosingProxy, forced: ForcedTransport) -> None:
        url = f"http://{HOST}:{proxy.port}"
        async with S2(endpoints=url, retries=QUICK, request_timeout=0.3, force_transport=forced) as s2:
            stream = s2.basin(BASIN).stream("s")
            assert (await stream.check_tail()).seq_num == 0
            before = proxy.connections
            proxy.stall()
            assert (await stream.check_tail()).seq_num == 0
            assert proxy.connections > before

    async def test_of_sessions(self, direct: Stream, proxy: LosingProxy) -> None:
        async with S2(endpoints=f"http://{HOST}:{proxy.port}", retries=QUICK, request_timeout=0.3) as s2:
            async with s2.basin(BASIN).stream("s").append_session() as session:
                await (await session.submit(RECORDS, match_seq_num=0))
                connections = [proxy.connections]
                proxy.stall()
                await (await session.submit(RECORDS, match_seq_num=2))
            connections.append(proxy.connections)
            proxy.stall()
            async with s2.basin(BASIN).stream("s").read_session(SeqNum(0), wait=0) as records:
                assert len([record async for record in records]) == 4
            connections.append(proxy.connections)
            assert connections == sorted({*connections}), "a new one each time"


class TestCaughtUp:
    async def test_a_lost_connection_ends_it_until_the_tail_is_seen_again(
        self, direct: Stream, proxy: LosingProxy
    ) -> None:
        await direct.append(RECORDS)
        async with client(proxy) as s2, s2.basin(BASIN).stream("s").read_session(SeqNum(0)) as records:
            assert not records.is_caught_up
            assert [(await anext(records)).text for _ in range(2)] == ["a", "b"]
            assert (await records.caught_up()).seq_num == 2
            proxy.cut()
            await direct.append(RECORDS)
            assert (await anext(records)).seq_num == 2
            assert not records.is_caught_up, "one more is there, and who knows what else"
            assert (await anext(records)).seq_num == 3
            assert await records.caught_up() == await direct.check_tail()
            assert records.is_caught_up
            await direct.append(RECORDS)
            assert (await anext(records)).seq_num == 4
            assert not records.is_caught_up, "behind again, by the rest of what was just read"
            assert (await anext(records)).seq_num == 5
            assert records.is_caught_up
            assert records.last_observed_tail == await direct.check_tail()


class TestDecision:
    @pytest.mark.parametrize(("tail", "doubt"), [(4, False), (5, False), (6, False), (7, True), (8, True)])
    def test_the_tail_decides(self, tail: int, doubt: bool) -> None:
        assert leaves_doubt(SeqNumMismatch(tail), applied_tail(5, 2)) is doubt

    def test_other_errors_tell_nothing_about_earlier_attempts(self) -> None:
        assert leaves_doubt(FencingTokenMismatch("x"), applied_tail(5, 2))
        assert leaves_doubt(TransportError("x", may_have_applied=False), None)

    def test_doubt_travels_with_the_error(self) -> None:
        for error in (SeqNumMismatch(3), TransportError("x", may_have_applied=False)):
            error.put_in_doubt()
            error.put_in_doubt()
            copy: PerdureError = pickle.loads(pickle.dumps(error))
            assert (copy.in_doubt, copy.has_no_side_effects, len(copy.__notes__)) == (True, False, 1)
