"""Several engines on one database: who makes the tables, who sweeps, and how followers hear of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from traceback import format_exception

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import SeqNumMismatch, Unavailable, UsageError
from perdure.model.configs import RetentionAge, StreamConfig
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.hub import Mailbox
from perdure.store.postgres import Durability, PostgresEngine
from perdure.store.postgres.connection import Connection, connect
from perdure.store.postgres.doorbell import MAX_PAYLOAD_BYTES, decode_ring, encode_rings
from perdure.store.postgres.durability import check_pooling, look_at_durability
from perdure.store.postgres.pool import Pool
from perdure.store.postgres.schema import FORMAT_VERSION, LOCK_CLASS, SWEEPER_LOCK
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, bodies_of, commands, eventually, make_stream
from tools.cluster.postgres import PostgresServer
from tools.cluster.programs import free_port

NEVER = 3600.0


@asynccontextmanager
async def opened(url: str, **options: float) -> AsyncIterator[PostgresEngine]:
    engine = await PostgresEngine.open(url, **options)  # type: ignore[arg-type]  # only numbers are given
    try:
        yield engine
    finally:
        await engine.aclose()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.aclose()


class TestTables:
    async def test_they_are_made_once_by_many_at_the_same_time(self, postgres_url: str) -> None:
        engines = await asyncio.gather(*[PostgresEngine.open(postgres_url) for _ in range(5)])
        try:
            stream = await make_stream(engines[0])
            for number, engine in enumerate(engines):
                assert (await engine.append(stream, batch("x"))).start.seq_num == number
        finally:
            await asyncio.gather(*[engine.aclose() for engine in engines])
        async with connected(postgres_url) as connection:
            assert [tuple(row) for row in await connection.fetch("SELECT version FROM format")] == [(FORMAT_VERSION,)]

    async def test_a_newer_version_is_refused(self, postgres_url: str) -> None:
        async with opened(postgres_url):
            pass
        async with connected(postgres_url) as connection:
            await connection.execute(f"UPDATE format SET version = {FORMAT_VERSION + 1}")
        with pytest.raises(UsageError, match="newer Perdure"):
            await PostgresEngine.open(postgres_url)

    async def test_a_role_without_privileges_needs_but_its_schema(
        self, postgres: PostgresServer, postgres_url: str
    ) -> None:
        database = postgres_url.rpartition("/")[2]
        role = f"plain_{database}"
        postgres.execute(f"CREATE ROLE {role} LOGIN")
        url = postgres_url.replace("//postgres@", f"//{role}@")
        try:
            with pytest.raises(UsageError, match="permission denied"):
                await PostgresEngine.open(url)
            postgres.execute(f"CREATE SCHEMA perdure AUTHORIZATION {role}", database)
            async with opened(url) as engine:
                await engine.append(await make_stream(engine), batch("x"))
        finally:
            postgres.execute(f"DROP OWNED BY {role}", database)
            postgres.execute(f"DROP ROLE {role}")

    async def test_connections_leave_no_marks_behind(self, postgres_url: str) -> None:
        async with opened(postgres_url) as engine:
            await engine.append(await make_stream(engine), batch("x"))
        async with connected(postgres_url) as connection:
            assert await connection.fetch("SELECT * FROM writer") == []


class TestAddress:
    async def test_nobody_there_is_unavailable(self) -> None:
        with pytest.raises(Unavailable, match="no PostgreSQL primary"):
            await PostgresEngine.open(f"postgres://postgres@127.0.0.1:{free_port()}/postgres", outage_seconds=0.2)

    @pytest.mark.parametrize("url", ["postgres://127.0.0.1:port/x", "postgres://a,b:1:2/x?sslmode=never"])
    async def test_nonsense_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError, match="address"):
            await PostgresEngine.open(url)

    @pytest.mark.parametrize("character", "/#?[%")
    async def test_a_password_that_must_be_encoded_and_is_not_is_not_repeated(self, character: str) -> None:
        password = f"secret{character}secret"
        with pytest.raises((UsageError, Unavailable)) as caught:
            await PostgresEngine.open(f"postgres://me:{password}@127.0.0.1:{free_port()}/x", outage_seconds=0.1)
        assert "secret" not in "".join(format_exception(caught.value))

    async def test_a_database_that_is_missing_is_refused(self, postgres: PostgresServer) -> None:
        with pytest.raises(UsageError, match="does not exist"):
            await PostgresEngine.open(postgres.url("missing"))

    async def test_of_several_hosts_the_one_that_is_there_is_used(self, postgres_url: str) -> None:
        host = postgres_url.partition("@")[2].partition("/")[0]
        async with opened(postgres_url.replace(host, f"127.0.0.1:{free_port()},{host}")) as engine:
            await engine.append(await make_stream(engine), batch("x"))


class TestDurability:
    async def test_the_settings_are_looked_at(self, postgres: PostgresServer, postgres_url: str) -> None:
        async with connected(postgres_url) as connection:
            found = await look_at_durability(connection)
            assert not found.fsync
            assert not found.survives_power_cut
            assert found.synchronous_commit == "on"
            assert f"PostgreSQL {found.server_version}: " in found.describe()
            assert postgres.execute("SHOW server_version").startswith(found.server_version)

    @pytest.mark.parametrize(
        ("fsync", "commit", "standbys", "safe", "safer", "said"),
        [
            (True, "on", "", True, False, "a failover may lose"),
            (True, "on", "ANY 1 (a, b)", True, True, "ANY 1 (a, b)"),
            (True, "remote_apply", "a", True, True, "visible there"),
            (True, "remote_write", "a", True, True, "not yet synced"),
            (True, "local", "a", True, False, "the standbys may lack it"),
            (True, "off", "a", False, False, "a crash of PostgreSQL loses"),
            (False, "on", "a", False, True, "fsync is off"),
        ],
    )
    def test_what_an_ack_means(
        self, fsync: bool, commit: str, standbys: str, safe: bool, safer: bool, said: str
    ) -> None:
        durability = Durability("16.1", fsync, True, commit, standbys)
        assert (durability.survives_power_cut, durability.survives_primary) == (safe, safer)
        assert said in durability.describe()
        assert "\n" not in durability.describe()

    async def test_without_a_pooler_there_is_nothing_to_refuse(self, postgres_url: str) -> None:
        async with connected(postgres_url) as connection:
            await check_pooling(postgres_url, connection)


class TestContention:
    async def test_a_rejection_is_committed_as_well(self, postgres_url: str) -> None:
        """Only a commit shows that whoever says what the tail is has not been replaced by another primary."""
        async with opened(postgres_url) as one, opened(postgres_url) as two, connected(postgres_url) as asked:

            async def committed() -> int:
                (row,) = await asked.fetch("SELECT sum(number) FROM writer")
                return int(str(row[0]))

            stream = await make_stream(one)
            for engine in (one, two, one):  # the last one finds that somebody else has appended
                await engine.append(stream, batch("x"))
            before = await committed()
            with pytest.raises(SeqNumMismatch):
                await one.append(stream, batch("x", match=0))
            assert await committed() > before


class TestReading:
    async def test_one_that_is_not_done_in_time_does_not_keep_others_waiting(self, postgres_url: str) -> None:
        pool = Pool(lambda: connect(postgres_url), 0.1, max_connections=1)
        begun, over = asyncio.Event(), asyncio.Event()

        async def slow(_: Connection) -> None:
            begun.set()
            await over.wait()

        reading = asyncio.ensure_future(pool.run(slow))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await begun.wait()
                with pytest.raises(Unavailable, match="too slowly"):
                    await pool.run(slow)
        finally:
            over.set()
            await reading
            await pool.aclose()

    async def test_while_postgresql_is_away_only_the_first_waits_long(self) -> None:
        url = f"postgres://postgres@127.0.0.1:{free_port()}/postgres"
        pool = Pool(lambda: connect(url), 0.1)
        for patience in (0.1, NEVER):
            pool._outage_seconds = patience
            async with asyncio.timeout(PATIENCE_SECONDS):
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await pool.run(look_at_durability)
        await pool.aclose()


class TestSweeping:
    async def test_one_engine_sweeps_at_a_time(self, postgres_url: str) -> None:
        async def held(connection: Connection) -> int:
            (row,) = await connection.fetch("SELECT count(*) FROM block")
            return int(str(row[0]))

        async with opened(postgres_url) as one, opened(postgres_url), connected(postgres_url) as sweeper:
            await sweeper.fetch(f"SELECT pg_advisory_lock({LOCK_CLASS}, {SWEEPER_LOCK})")
            stream = await make_stream(one)
            await one.append(stream, batch("x"))
            await one.append(stream, commands(AppendRecord.trim(1)))
            for _ in range(3):  # it is woken by each trim, and finds another at work
                await one.append(stream, commands(AppendRecord.trim(1)))
            assert await held(sweeper) == 5
            await sweeper.fetch(f"SELECT pg_advisory_unlock({LOCK_CLASS}, {SWEEPER_LOCK})")

            async def swept() -> bool:
                return await held(sweeper) == 4

            await eventually(swept)

    async def test_an_append_does_not_wait_for_what_is_swept_nor_the_other_way_round(self, postgres_url: str) -> None:
        async with opened(postgres_url) as engine, connected(postgres_url) as user:
            busy = await make_stream(engine, "busy", StreamConfig(retention_policy=RetentionAge(1)))
            free = await make_stream(engine, "free")
            await engine.append(busy, batch("x"))
            await user.execute(
                "SET idle_in_transaction_session_timeout = 0; "
                f"BEGIN; UPDATE stream_state SET sweep_due_ms = 0 WHERE stream_id = {busy}; "
                f"SELECT 1 FROM stream_state WHERE stream_id = {busy} FOR UPDATE"
            )
            await engine.append(free, batch("x"))
            await engine.append(free, commands(AppendRecord.trim(1)))

            async def swept() -> bool:
                return (await engine.usage.stream_storage(free)).stored_bytes == AppendRecord.trim(1).metered_bytes

            await eventually(swept)
            await user.execute("ROLLBACK")

    async def test_a_stream_that_is_never_free_is_swept_in_its_turn(self, postgres_url: str) -> None:
        async def use(connection: Connection, stream: StreamId) -> None:
            while not over.is_set():
                await connection.execute(
                    f"BEGIN; SELECT 1 FROM stream_state WHERE stream_id = {stream} FOR NO KEY UPDATE; "
                    "SELECT pg_sleep(0.05); COMMIT"
                )

        over = asyncio.Event()
        async with opened(postgres_url) as engine, connected(postgres_url) as one, connected(postgres_url) as two:
            stream = await make_stream(engine)
            await engine.append(stream, batch("x"))
            async with asyncio.TaskGroup() as users:
                for connection in (one, two):
                    users.create_task(use(connection, stream))
                try:
                    await engine.append(stream, commands(AppendRecord.trim(1)))

                    async def swept() -> bool:
                        return (await engine.usage.stream_storage(stream)).stored_bytes == (
                            AppendRecord.trim(1).metered_bytes
                        )

                    await eventually(swept)
                finally:
                    over.set()


class TestDoorbell:
    @given(
        st.dictionaries(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1), max_size=600),
    )
    def test_rings_are_told_whole(self, told: dict[int, int]) -> None:
        tails = {StreamId(stream): tail for stream, tail in told.items()}
        payloads = encode_rings("server", tails)
        assert all(len(payload) <= MAX_PAYLOAD_BYTES for payload in payloads)
        found: dict[StreamId, int] = {}
        for payload in payloads:
            server, part = decode_ring(payload)
            assert server == "server"
            found |= part
        assert found == tails

    async def followed(self, engine: PostgresEngine, stream: StreamId, mailbox: Mailbox, count: int) -> None:
        """Wait until a follower that does what it is told has seen `count` records."""
        seen = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while seen < count:
                block = mailbox.take()
                if block is None or block.start_seq != seen:
                    mailbox.clear()
                    seen = len(await bodies_of(engine, stream))
                    if seen < count:
                        await mailbox.wait(None)
                else:
                    seen = block.end_seq

    async def test_an_append_elsewhere_is_handed_over_without_asking(self, postgres_url: str) -> None:
        async with opened(postgres_url, poll_seconds=NEVER) as here, opened(postgres_url) as there:
            stream = await make_stream(here)
            with here.hub.follow(stream) as mailbox:
                await mailbox.wait(PATIENCE_SECONDS)  # told to look, once it listens
                for number in range(1, 20):
                    await there.append(stream, batch(str(number)))
                    await self.followed(here, stream, mailbox, number)

    async def test_what_nobody_rang_for_is_found_by_asking(self, postgres_url: str) -> None:
        async with opened(postgres_url, poll_seconds=0.02) as here, opened(postgres_url) as there:
            stream = await make_stream(here)
            with here.hub.follow(stream) as mailbox:
                await mailbox.wait(PATIENCE_SECONDS)
                async with connected(postgres_url) as connection:
                    # As a server that died after its commit, before it rang.
                    await connection.execute(
                        "INSERT INTO block SELECT stream_id, tail, tail + 1, 0, 0, NULL, 8, NULL, '\\x0a00' "
                        f"FROM stream_state WHERE stream_id = {stream}; "
                        f"UPDATE stream_state SET tail = tail + 1, version = version + 1 WHERE stream_id = {stream}"
                    )
                async with asyncio.timeout(PATIENCE_SECONDS):
                    block = mailbox.take()
                    while block is None and (await here.state(stream)).tail == 0:
                        await mailbox.wait(None)
                        block = mailbox.take()
                ack = await there.append(stream, batch("x"))
                assert ack.start.seq_num == 1

    async def test_it_is_asked_for_however_often_others_ring(self, postgres_url: str) -> None:
        async with opened(postgres_url, poll_seconds=0.5) as here, connected(postgres_url) as other:
            quiet, loud = await make_stream(here, "quiet"), await make_stream(here, "loud")
            with here.hub.follow(quiet) as mailbox, here.hub.follow(loud):
                await mailbox.wait(PATIENCE_SECONDS)
                mailbox.clear()
                await other.fetch("UPDATE stream_state SET tail = 1, version = 1 WHERE stream_id = $1", quiet)
                told = asyncio.ensure_future(mailbox.wait(PATIENCE_SECONDS))
                number = 0
                while not told.done():
                    number += 1
                    await other.fetch("SELECT pg_notify('perdure', $1)", f"other {loud:x}:{number:x}")
                assert await told

    async def test_listening_begins_anew_where_it_broke_off(self, postgres_url: str) -> None:
        async with opened(postgres_url, poll_seconds=NEVER) as here, opened(postgres_url) as there:
            stream = await make_stream(here)
            with here.hub.follow(stream) as mailbox:
                await mailbox.wait(PATIENCE_SECONDS)
                for number in range(1, 4):
                    async with connected(postgres_url) as connection:
                        await connection.fetch(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )
                    await there.append(stream, batch(str(number)))
                    await self.followed(here, stream, mailbox, number)

    async def test_what_is_not_a_ring_is_ignored(self, postgres_url: str) -> None:
        async with opened(postgres_url, poll_seconds=NEVER) as here, opened(postgres_url) as there:
            stream = await make_stream(here)
            with here.hub.follow(stream) as mailbox:
                await mailbox.wait(PATIENCE_SECONDS)
                async with connected(postgres_url) as connection:
                    for payload in ("", "x", "server zz", "server 1:", f"server {stream:x}:-5"):
                        await connection.fetch("SELECT pg_notify('perdure', $1)", payload)
                await there.append(stream, batch("x"))
                await self.followed(here, stream, mailbox, 1)
