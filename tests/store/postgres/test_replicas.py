"""Long reads go on at a standby, and say what the primary would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from perdure.errors import StreamNotFound, UsageError
from perdure.model.limits import MAX_READ_BYTES, MAX_READ_RECORDS
from perdure.model.records import AppendRecord, SequencedRecord
from perdure.store.catalogue import StreamId
from perdure.store.postgres import PostgresEngine
from perdure.store.postgres.replica import split_address
from perdure.wire.protobuf import decode_records
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, commands, delete_stream, eventually, make_stream
from tests.store.postgres.cutting_proxy import HOST, CuttingProxy, cutting_proxy
from tools.cluster.postgres import PostgresServer, postgres_server

PIECES = 6
SIZE = MAX_READ_BYTES - 100
"""So that a read gives one batch."""


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def shared_standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    with postgres_server(standby_of=primary) as server:
        yield server


@dataclass
class Pair:
    """A primary and its standby, with an engine that knows both, and a proxy before the standby."""

    primary: PostgresServer
    standby: PostgresServer
    engine: PostgresEngine
    proxy: CuttingProxy

    async def execute(self, server: PostgresServer, sql: str) -> str:
        return await asyncio.to_thread(server.execute, sql)

    async def catch_up(self) -> None:
        """Wait until the standby has all that the primary has now."""
        position = await self.execute(self.primary, "SELECT pg_current_wal_lsn()")

        async def is_there() -> bool:
            answer = await self.execute(self.standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn")
            return answer == "t"

        await eventually(is_there)

    async def read(self, stream: StreamId, start: int = 0, *, pause_at: int | None = None) -> list[SequencedRecord]:
        """All visible records, piece by piece, as a read session does; each piece fetched when it is asked for."""
        records: list[SequencedRecord] = []
        while start != pause_at:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self.engine.read_blocks(
                    stream, start, max_records=MAX_READ_RECORDS, max_bytes=MAX_READ_BYTES
                )
            if found.deleted:
                raise StreamNotFound("the stream is deleted")
            first = max(start, found.state.trim_point)
            records += [r for block in found.blocks for r in decode_records(block.body) if r.seq_num >= first]
            if not found.blocks or not found.more:
                break
            start = found.blocks[-1].end_seq
            await self.fetched()
        return records

    async def fetched(self) -> None:
        """Wait until what is fetched ahead is there."""

        async def all_there() -> bool:
            return not any(task.get_name() == "perdure-read-ahead" for task in asyncio.all_tasks())

        await eventually(all_there)

    async def filled(self, name: str) -> StreamId:
        """A stream whose pieces the standby has, and believed as a source of them."""
        stream = await make_stream(self.engine, name)
        for number in range(PIECES):
            await self.engine.append(stream, batch(str(number) * SIZE))
        await self.catch_up()
        assert numbers(await self.read(stream)) == list(range(PIECES))  # it has written the anchor
        await self.catch_up()
        return stream


def numbers(records: list[SequencedRecord]) -> list[int]:
    return [record.seq_num for record in records]


@asynccontextmanager
async def engine_over(primary: PostgresServer, standby: PostgresServer) -> AsyncIterator[Pair]:
    database = primary.create_database()
    try:
        async with cutting_proxy(standby.port) as (proxy, port):
            engine = await PostgresEngine.open(f"{primary.url(database)}?replica={HOST}:{port}")
            try:
                yield Pair(primary, standby, engine, proxy)
            finally:
                await engine.aclose()
        assert primary.execute("SELECT count(*) FROM perdure.writer", database) == "0"
    finally:
        primary.drop_database(database)


@pytest.fixture(autouse=True)
def what_is_fetched_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine more than a second passes between two lines of a test."""
    monkeypatch.setattr("perdure.store.postgres.catching_up.AHEAD_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
async def pair(
    primary: PostgresServer, shared_standby: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pair]:
    """The standby is given all the time that it needs."""
    monkeypatch.setattr("perdure.store.postgres.replica.REPLICA_SECONDS", PATIENCE_SECONDS)
    async with engine_over(primary, shared_standby) as pair:
        yield pair


async def test_the_third_piece_and_those_behind_come_from_the_standby(pair: Pair) -> None:
    stream = await pair.filled("s")
    before = pair.proxy.answered_bytes
    assert [record.body[:1] for record in await pair.read(stream)] == [b"%d" % number for number in range(PIECES)]
    came = (pair.proxy.answered_bytes - before) // SIZE
    assert came == PIECES - 2


async def test_what_it_has_not_got_yet_comes_from_the_primary(pair: Pair) -> None:
    stream = await pair.filled("s")
    await pair.execute(pair.standby, "SELECT pg_wal_replay_pause()")
    try:
        for number in range(2):
            await pair.engine.append(stream, batch(str(PIECES + number) * SIZE))
        before = pair.proxy.answered_bytes
        assert numbers(await pair.read(stream)) == list(range(PIECES + 2))
        assert (pair.proxy.answered_bytes - before) // SIZE == PIECES - 2
        other = await make_stream(pair.engine, "unknown there")
        for number in range(PIECES):
            await pair.engine.append(other, batch(str(number) * SIZE))
        assert numbers(await pair.read(other)) == list(range(PIECES))
    finally:
        await pair.execute(pair.standby, "SELECT pg_wal_replay_resume()")


async def test_what_is_trimmed_or_deleted_does_not_come_back_from_it(pair: Pair) -> None:
    trimmed, deleted = await pair.filled("trimmed"), await pair.filled("deleted")
    await pair.execute(pair.standby, "SELECT pg_wal_replay_pause()")
    try:
        assert numbers(await pair.read(trimmed, pause_at=3)) == [0, 1, 2]
        await pair.engine.append(trimmed, commands(AppendRecord.trim(5)))
        assert numbers(await pair.read(trimmed, 3)) == [5, 6]
        assert numbers(await pair.read(trimmed)) == [5, 6]
        assert numbers(await pair.read(deleted, pause_at=3)) == [0, 1, 2]
        await delete_stream(pair.engine, "deleted")
        for start in (3, 0):
            with pytest.raises(StreamNotFound):
                await pair.read(deleted, start)
    finally:
        await pair.execute(pair.standby, "SELECT pg_wal_replay_resume()")


async def test_one_that_is_lost_is_not_missed(
    primary: PostgresServer, shared_standby: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine_over(primary, shared_standby) as pair:
        stream = await pair.filled("s")
        assert numbers(await pair.read(stream, pause_at=3)) == [0, 1, 2]
        pair.proxy.refuses = True
        pair.proxy.cut_all()
        assert numbers(await pair.read(stream, 3)) == [3, 4, 5]
        assert numbers(await pair.read(stream)) == list(range(PIECES))
    assert "is not asked for a while" in caplog.text


async def test_one_that_is_promoted_is_believed_no_more(primary: PostgresServer) -> None:
    with postgres_server(standby_of=primary) as standby:
        async with engine_over(primary, standby) as pair:
            stream = await pair.filled("s")
            await pair.execute(standby, "SELECT pg_promote()")
            database = await pair.execute(standby, "SELECT max(datname) FROM pg_database WHERE datname ~ '^test'")
            # It has another history now, of which nothing must be seen.
            await asyncio.to_thread(standby.execute, "UPDATE perdure.block SET body = 'other'", database)
            before = pair.proxy.answered_bytes
            assert [r.body[:1] for r in await pair.read(stream)] == [b"%d" % number for number in range(PIECES)]
            assert (pair.proxy.answered_bytes - before) // SIZE == 0


async def test_what_a_standby_of_a_former_primary_has_is_not_believed() -> None:
    """Both have an anchor, but the new primary is on a timeline of its own."""
    with (
        postgres_server() as former,
        postgres_server(standby_of=former) as new,
        postgres_server(standby_of=former) as standby,
    ):
        async with cutting_proxy(former.port) as (link, port), cutting_proxy(standby.port) as (proxy, at):
            hosts = f"{HOST}:{port},{HOST}:{new.port}"
            engine = await PostgresEngine.open(
                f"postgresql://postgres@{hosts}/postgres?replica={HOST}:{at}", outage_seconds=PATIENCE_SECONDS
            )
            try:
                pair = Pair(former, standby, engine, proxy)
                stream = await pair.filled("s")
                pair.standby = new
                await pair.catch_up()
                assert numbers(await pair.read(stream, pause_at=3)) == [0, 1, 2]
                await pair.execute(new, "SELECT pg_promote()")
                link.refuses = True
                link.cut_all()
                # The former one goes on for nobody but its standby, with what the new one never gets.
                await pair.execute(former, f"DELETE FROM perdure.block WHERE stream_id = {stream} AND start_seq = 4")
                pair.standby = standby
                await pair.catch_up()
                assert numbers(await pair.read(stream, 3)) == [3, 4, 5]
                assert numbers(await pair.read(stream)) == list(range(PIECES))
                assert (await engine.append(stream, batch("on it goes"))).end.seq_num == PIECES + 1
            finally:
                await engine.aclose()


@pytest.mark.parametrize(
    ("url", "first", "second"),
    [
        ("postgres://db/x", "postgres://db/x", None),
        ("postgres://u:p@a,b:1/x?replica=b:1,c", "postgres://u:p@a,b:1/x", "postgres://u:p@b:1,c/x"),
        ("postgres://a/x?sslmode=require&replica=b%3A5433", "postgres://a/x?sslmode=require",
         "postgres://b:5433/x?sslmode=require"),
        ("postgres://a/x?replica=b&sslmode=require", "postgres://a/x?sslmode=require",
         "postgres://b/x?sslmode=require"),
        ("postgres://a?replica=b", "postgres://a", "postgres://b"),
    ],
)  # fmt: skip
def test_an_address_names_standbys(url: str, first: str, second: str | None) -> None:
    assert split_address(url) == (first, second)


@pytest.mark.parametrize("hosts", ["", "b/x", "me@b"])
def test_an_option_that_names_no_hosts_is_refused(hosts: str) -> None:
    with pytest.raises(UsageError, match="replica=") as refused:
        split_address(f"postgres://u:secret@a/x?replica={hosts}")
    assert "secret" not in str(refused.value)
