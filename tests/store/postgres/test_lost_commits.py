"""Commits whose answers are lost: no batch is there twice or lost, and what cannot be known is said to be unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from perdure.errors import SeqNumMismatch, StorageFailed, Unavailable
from perdure.model.resources import ProvisionResult
from perdure.store import catalogue
from perdure.store.catalogue import StreamId
from perdure.store.engine import Lane
from perdure.store.postgres import PostgresEngine
from perdure.store.postgres.engine import WRITERS
from tests.patience import PATIENCE_SECONDS
from tests.store.making import BASIN, NOW, batch, bodies_of, eventually, make_basin, make_stream
from tests.store.postgres.cutting_proxy import HOST, CuttingProxy, Loss, cutting_proxy


@pytest.fixture
async def proxy_and_url(postgres_url: str) -> AsyncIterator[tuple[CuttingProxy, str]]:
    parts = urlsplit(postgres_url)
    assert parts.port is not None
    async with cutting_proxy(parts.port) as (proxy, port):
        yield proxy, parts._replace(netloc=f"{parts.username}@{HOST}:{port}").geturl()


@pytest.fixture
def proxy(proxy_and_url: tuple[CuttingProxy, str]) -> CuttingProxy:
    return proxy_and_url[0]


@pytest.fixture
async def engine(proxy_and_url: tuple[CuttingProxy, str]) -> AsyncIterator[PostgresEngine]:
    """An engine behind the proxy."""
    engine = await PostgresEngine.open(proxy_and_url[1], maintain=False, outage_seconds=PATIENCE_SECONDS)
    try:
        yield engine
    finally:
        await engine.aclose()


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[PostgresEngine]:
    """An engine without the proxy."""
    engine = await PostgresEngine.open(postgres_url, maintain=False)
    try:
        yield engine
    finally:
        await engine.aclose()


async def two_of_one_writer(engine: PostgresEngine) -> tuple[StreamId, StreamId]:
    streams = [await make_stream(engine, f"s{number}") for number in range(WRITERS + 1)]
    return streams[0], streams[WRITERS]


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
async def test_a_batch_is_appended_once(proxy: CuttingProxy, engine: PostgresEngine, loss: Loss) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("first"))
    proxy.lose(b"marked", loss)
    acks = await asyncio.gather(*[engine.append(stream, batch(text)) for text in ("before", "marked", "after")])
    assert proxy.lost.is_set()
    assert [(ack.start.seq_num, ack.end.seq_num) for ack in acks] == [(1, 2), (2, 3), (3, 4)]
    assert await bodies_of(engine, stream) == ["first", "before", "marked", "after"]
    assert (await engine.append(stream, batch("last", match=4))).end.seq_num == 5


async def test_a_request_that_arrives_when_it_is_given_up_does_nothing(
    proxy: CuttingProxy, engine: PostgresEngine
) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("first"))
    proxy.lose(b"marked", Loss.DELAY)
    ack = await engine.append(stream, batch("marked"))
    assert (ack.start.seq_num, ack.end.seq_num) == (1, 2)
    await proxy.deliver_late()
    assert await bodies_of(engine, stream) == ["first", "marked"]
    assert (await engine.append(stream, batch("last", match=2))).end.seq_num == 3


async def test_a_delayed_request_does_nothing_where_its_retry_was_refused(
    proxy: CuttingProxy, engine: PostgresEngine, other: PostgresEngine
) -> None:
    stream = await make_stream(engine)
    proxy.lose(b"marked", Loss.DELAY, then_refuse=True)
    appending = engine.append(stream, batch("marked", match=0))
    await proxy.lost.wait()
    await other.append(stream, batch("faster"))
    proxy.refuses = False
    with pytest.raises(SeqNumMismatch) as caught:
        await appending
    assert caught.value.expected == 1
    await proxy.deliver_late()
    assert await bodies_of(other, stream) == ["faster"]


async def test_a_delayed_request_does_nothing_where_it_was_withdrawn_before_its_retry(
    proxy: CuttingProxy, engine: PostgresEngine
) -> None:
    """The stream has not changed, so only the writer's row tells that the request is too late."""
    one, two = await two_of_one_writer(engine)
    proxy.lose(b"marked", Loss.DELAY, then_refuse=True)
    appending = engine.append(one, batch("marked"))
    await proxy.lost.wait()
    appending.cancel()
    proxy.refuses = False
    await engine.append(two, batch("later"))
    await proxy.deliver_late()
    assert await bodies_of(engine, one) == []


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
async def test_what_conflicted_in_a_lost_commit_is_decided_again(
    proxy: CuttingProxy, engine: PostgresEngine, other: PostgresEngine, loss: Loss
) -> None:
    """Of the streams of one group some were written and some were not, and the answer that tells which is lost."""
    mine, shared = await two_of_one_writer(engine)
    for stream in (mine, shared):
        await engine.append(stream, batch("known"))
    await other.append(shared, batch("unknown here"))
    proxy.lose(b"marked", loss)
    lane = Lane()
    acks = await asyncio.gather(
        engine.append(mine, batch("marked")),
        engine.append(shared, batch("shared 1"), lane),
        engine.append(shared, batch("shared 2", match=3), lane),
    )
    assert [ack.start.seq_num for ack in acks] == [1, 2, 3]
    assert await bodies_of(engine, mine) == ["known", "marked"]
    assert await bodies_of(engine, shared) == ["known", "unknown here", "shared 1", "shared 2"]


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER, Loss.DELAY])
async def test_a_stream_is_created_once(proxy: CuttingProxy, engine: PostgresEngine, loss: Loss) -> None:
    await make_basin(engine)
    proxy.lose(b"COMMIT", loss)
    change = await engine.change_stream(
        BASIN, "s", lambda parent, existing: catalogue.create_stream(parent, existing, BASIN, "s", None, None, NOW)
    )
    assert proxy.lost.is_set()
    if loss is Loss.DELAY:
        await proxy.deliver_late()
    assert change.result is ProvisionResult.CREATED
    assert await engine.stream(BASIN, "s") == change.entry


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
async def test_a_stream_gets_its_first_batch_once(proxy: CuttingProxy, engine: PostgresEngine, loss: Loss) -> None:
    await make_basin(engine)
    proxy.lose(b"COMMIT", loss)
    entry, ack = await engine.append_first(
        BASIN,
        "s",
        lambda parent, existing: catalogue.auto_create_stream(parent, existing, BASIN, "s", None, NOW),
        batch("first"),
    )
    assert ack.end.seq_num == 1
    assert await bodies_of(engine, entry.stream_id) == ["first"]


async def test_listening_begins_anew_where_another_connection_was_lost(
    proxy: CuttingProxy, engine: PostgresEngine
) -> None:
    """The one that listens may lead to a former primary, which nobody rings any more, and is not closed by itself."""
    stream = await make_stream(engine)
    with engine.hub.follow(stream) as mailbox:
        await mailbox.wait(PATIENCE_SECONDS)  # told to look, once it listens
        before = engine._watcher._connection
        assert before is not None
        proxy.lose(b"marked", Loss.ANSWER)
        await engine.append(stream, batch("marked"))

        async def listens_anew() -> bool:
            return engine._watcher._connection not in (None, before)

        await eventually(listens_anew)


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
async def test_what_cannot_be_found_out_is_unknown(
    proxy: CuttingProxy, proxy_and_url: tuple[CuttingProxy, str], other: PostgresEngine, loss: Loss
) -> None:
    engine = await PostgresEngine.open(proxy_and_url[1], maintain=False, outage_seconds=0.5)
    try:
        stream, lane = await make_stream(engine), Lane()
        await engine.append(stream, batch("first"))
        proxy.lose(b"marked", loss, then_refuse=True)
        unknown = engine.append(stream, batch("marked"), lane)
        await proxy.lost.wait()
        proxy.cut_all()
        with pytest.raises(StorageFailed, match="unknown"):
            await unknown
        with pytest.raises(StorageFailed):
            await engine.append(stream, batch("behind"), lane)
        with pytest.raises(Unavailable):
            await engine.append(stream, batch("later"))
        with pytest.raises(Unavailable):
            await engine.state(stream)
        proxy.refuses = False
        ack = await engine.append(stream, batch("again"))
        expected = ["first", "marked", "again"] if loss is Loss.ANSWER else ["first", "again"]
        assert await bodies_of(other, stream) == expected
        assert ack.end.seq_num == len(expected)
    finally:
        proxy.refuses = False
        await engine.aclose()


async def has_grown(engine: PostgresEngine, stream: StreamId, before: int) -> bool:
    return (await engine.state(stream)).tail >= before + 4


async def test_connections_that_end_all_the_time_lose_and_double_nothing(
    proxy: CuttingProxy, engine: PostgresEngine, other: PostgresEngine
) -> None:
    streams = [await make_stream(engine, name) for name in ("one", "two", "three")]
    stop = asyncio.Event()

    async def append(engine: PostgresEngine, who: str) -> list[tuple[int, str]]:
        """Each batch is sent when the one before it is answered; gives what was acknowledged, and where."""
        acked = []
        number = 0
        while not stop.is_set():
            number += 1
            text = f"{who} {number}"
            ack = await engine.append(streams[number % 3], batch(text))
            acked.append((ack.start.seq_num, text))
        return acked

    async with asyncio.TaskGroup() as tasks:
        appending = [tasks.create_task(append(engine if n % 2 else other, f"c{n}")) for n in range(4)]
        for _ in range(12):
            before = (await other.state(streams[0])).tail
            proxy.cut_all()
            await eventually(lambda: has_grown(other, streams[0], before))  # noqa: B023  # awaited here
        stop.set()
    acked = [entry for task in appending for entry in task.result()]
    bodies = {stream: await bodies_of(other, stream) for stream in streams}
    assert sorted(text for found in bodies.values() for text in found) == sorted(text for _, text in acked)
    for seq_num, text in acked:
        stream = streams[int(text.split(" ")[1]) % 3]
        assert bodies[stream][seq_num] == text
