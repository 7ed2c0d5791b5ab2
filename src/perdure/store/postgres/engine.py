"""The replicated engine put together: who owns which connection, and the contract of `store.engine` on top.

An acknowledgement means that PostgreSQL committed the batch; what that is worth, `PostgresEngine.durability` says.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from ...errors import Unavailable
from ...model.batches import AppendAck, AppendInput
from ..access_tokens import AccessTokenEntry
from ..catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry, StreamId
from ..clock import wall_clock_ms
from ..engine import BlockRange, Lane
from ..hub import Hub
from ..observer import NOBODY, CommitFacts, StoreObserver
from ..opening import shown
from ..sequencing import Block, StreamState
from ..usage import UsageBook
from . import access_token_rows as tokens
from . import catalogue_jobs as jobs
from . import catalogue_rows as rows
from . import queries
from .catching_up import Reader
from .changes import Changes
from .connection import Connection, ConnectionLost, TransactionUndone, connect, load_driver
from .doorbell import POLL_SECONDS, Ringer, Watcher
from .durability import Durability, check_pooling, check_version, look_at_durability
from .pool import Pool
from .replica import Replica, split_address
from .schema import prepare
from .session import OUTAGE_SECONDS, Pauses, Session, Transaction
from .sweeper import Sweeper, Swept
from .usage_book import PostgresUsageBook
from .writer import Committed, Writer

logger: Final = logging.getLogger("perdure.store.postgres")

T = TypeVar("T")

WRITERS: Final = 2
"""While one waits for its commit the other is at work; more only make smaller groups."""

FOR_READING: Final = "SET synchronous_commit = off"
"""For connections that write nothing but notifications."""


class PostgresEngine:
    """Streams in a PostgreSQL database, from `PostgresEngine.open`. Implements `perdure.store.engine.Engine`.

    All calls belong to the event loop that opened it. Any number of them, in any number of processes, share a database.
    """

    def __init__(
        self,
        url: str,
        replica_url: str | None,
        durability: Durability,
        *,
        now_ms: Callable[[], int],
        maintain: bool,
        observer: StoreObserver,
        outage_seconds: float,
        poll_seconds: float,
    ) -> None:
        self.durability: Final = durability
        """What an acknowledgement means, by the settings at the time of opening."""
        self._url = url
        self._now_ms = now_ms
        self._maintain = maintain
        self._observer = observer
        self._closing: asyncio.Task[None] | None = None
        self._never_stopped = asyncio.Event()  # whatever happens to its connections, this engine goes on
        server = secrets.token_hex(8)
        dial = partial(connect, url)
        self._pool = Pool(partial(connect, url, settings=FOR_READING), outage_seconds)
        self._ringer = Ringer(self._pool, server)
        self._watcher = Watcher(
            dial, server, now_ms=now_ms, on_followers=observer.followers_changed, poll_seconds=poll_seconds
        )
        self._writers = [
            Writer(Session(dial, outage_seconds, self._on_lost), now_ms=now_ms, on_commit=self._on_commit)
            for _ in range(WRITERS)
        ]
        self._changes = Changes(lambda: Session(dial, outage_seconds, self._on_lost))
        self._replica = None if replica_url is None else Replica(replica_url, self._changes)
        self._reader = Reader(self._pool, self._replica, now_ms)
        self._sweeper = Sweeper(self._changes.run_here, now_ms, self._on_swept)
        self._usage = PostgresUsageBook(self._query, self._change, now_ms)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        maintain: bool = True,
        create: bool = True,
        now_ms: Callable[[], int] = wall_clock_ms,
        observer: StoreObserver = NOBODY,
        outage_seconds: float = OUTAGE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> PostgresEngine:
        """Open the database at `url`, creating the tables if they are missing, unless `create` is False.

        `url` is as libpq has it: ``postgres://user:password@one,two,three/database?sslmode=verify-full``; of several
        hosts the one that takes writes is used, and looked for anew when it goes away; with ``replica=two,three`` among
        its options, long reads go on at a standby. `maintain=False` leaves the
        removal of expired records to other servers. `observer` is told of commits and followers. When PostgreSQL is
        away, calls wait `outage_seconds` for it. `poll_seconds` is how long an append of another server goes unnoticed
        if its notification was lost. `now_ms` is the clock in milliseconds, for tests. Raises `UsageError` for an
        address, a role, a server or a pooler that cannot be used, for missing tables that it is not to create, or
        without the package asyncpg; `Unavailable` if no primary can be reached.
        """
        url, replica_url = split_address(url)
        await asyncio.to_thread(load_driver)
        connection = await _first(url, outage_seconds)
        try:
            check_version(connection)
            await check_pooling(url, connection)
            await prepare(connection, create=create)
            durability = await look_at_durability(connection)
            await connection.execute(FOR_READING)
        except BaseException as exc:
            await connection.aclose()
            if isinstance(exc, (ConnectionLost, TransactionUndone)):
                raise Unavailable(f"PostgreSQL went away while it was opened: {exc}") from exc
            raise
        engine = cls(
            url,
            replica_url,
            durability,
            now_ms=now_ms,
            maintain=maintain,
            observer=observer,
            outage_seconds=outage_seconds,
            poll_seconds=poll_seconds,
        )
        logger.log(logging.INFO if durability.survives_power_cut else logging.WARNING, "%s", durability.describe())
        engine._pool.adopt(connection)
        engine._start()
        return engine

    def _start(self) -> None:
        for writer in self._writers:
            writer.start()
        if self._maintain:
            self._sweeper.start()

    @property
    def hub(self) -> Hub:
        return self._watcher.hub

    @property
    def usage(self) -> UsageBook:
        return self._usage

    @property
    def stopped(self) -> asyncio.Event:
        return self._never_stopped

    @property
    def address(self) -> str:
        """Where the database is, without the password."""
        return shown(self._url)

    async def aclose(self) -> None:
        """Answer what waits, then end the tasks and connections. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name="perdure-close")
        await asyncio.shield(self._closing)  # whoever goes away while it runs does not leave it half done

    async def _close(self) -> None:
        await self._sweeper.aclose()
        if self._replica is not None:
            await self._replica.forget()
        await asyncio.gather(*[writer.close() for writer in self._writers], self._changes.aclose())
        self.hub.nudge()
        await self._watcher.aclose()
        await self._ringer.aclose()
        await self._reader.aclose()
        if self._replica is not None:
            await self._replica.aclose()
        await self._pool.aclose()

    # After a commit -----------------------------------------------------------------------------------

    def _on_lost(self) -> None:
        """Another primary may lead by now."""
        self._pool.retire()
        self._watcher.listen_anew()

    def _on_commit(self, committed: Committed | None) -> None:
        """Wake followers before the writers hear of it."""
        if committed is None:
            self._observer.commit_failed()
            return
        blocks = committed.blocks
        if blocks:
            self._published(blocks)
        if committed.trimmed:
            self._sweeper.wake()
        records = metered_bytes = 0
        for _, block in blocks:
            records += block.end_seq - block.start_seq
            metered_bytes += block.metered_bytes
        self._observer.committed(CommitFacts(len(blocks), records, metered_bytes, committed.seconds))

    def _published(self, blocks: Sequence[tuple[StreamId, Block]]) -> None:
        self._watcher.publish(blocks)
        ends = {stream_id: block.end_seq for stream_id, block in blocks}
        self._usage.resized(ends)
        self._ringer.ring(ends.items())

    def _on_swept(self, swept: Swept) -> None:
        self._usage.resized(swept.resized)
        self._on_closed(swept.closed)

    def _on_closed(self, closed: dict[StreamId, int]) -> None:
        if closed:
            self._usage.resized(closed)
            self.hub.nudge(closed)
            self._ringer.ring(closed.items())

    # Streams of records ---------------------------------------------------------------------------

    def append(self, stream: StreamId, batch: AppendInput, lane: Lane | None = None) -> asyncio.Future[AppendAck]:
        self._check()
        return self._writers[stream % WRITERS].append(stream, batch, lane)

    async def append_first(
        self,
        basin: str,
        name: str,
        decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange],
        batch: AppendInput,
    ) -> tuple[StreamEntry, AppendAck]:
        changed = await self._change_in_turn(
            (basin, name),
            lambda transaction: jobs.append_first(basin, name, decide, batch, self._now_ms(), transaction),
        )
        entry = changed.change.entry
        if changed.refused is not None:
            raise changed.refused
        assert changed.ack is not None, "a batch that is not refused is acknowledged"
        self._published([(entry.stream_id, block) for block in changed.blocks])
        return entry, changed.ack

    async def state(self, stream: StreamId) -> StreamState:
        return await self._query(lambda connection: queries.live_state(connection, stream))

    async def read_blocks(self, stream: StreamId, start_seq: int, *, max_records: int, max_bytes: int) -> BlockRange:
        self._check()
        return await self._reader.read_blocks(stream, start_seq, max_records, max_bytes)

    async def find_timestamp(self, stream: StreamId, timestamp: int) -> Block | None:
        now = self._now_ms()
        return await self._query(lambda connection: queries.find_timestamp(connection, stream, timestamp, now))

    # The catalogue --------------------------------------------------------------------------------

    async def basin(self, name: str) -> BasinEntry | None:
        return await self._query(lambda connection: rows.get_basin(connection, name))

    async def stream(self, basin: str, name: str) -> StreamEntry | None:
        return await self._query(lambda connection: rows.get_stream(connection, basin, name))

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[BasinEntry, ...]:
        return await self._query(lambda connection: rows.list_basins(connection, prefix, start_after, limit))

    async def list_streams(self, basin: str, prefix: str, start_after: str, limit: int) -> tuple[StreamEntry, ...]:
        return await self._query(lambda connection: rows.list_streams(connection, basin, prefix, start_after, limit))

    async def change_basin(self, name: str, decide: Callable[[BasinEntry | None], BasinChange]) -> BasinChange:
        change = await self._change_in_turn(name, partial(jobs.change_basin, name, decide))
        if change.write and change.entry.deleted_at is not None:
            self._sweeper.wake()
        return change

    async def change_stream(
        self, basin: str, name: str, decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange]
    ) -> StreamChange:
        changed = await self._change_in_turn(
            (basin, name), lambda transaction: jobs.change_stream(basin, name, decide, self._now_ms(), transaction)
        )
        if changed.deleted:
            self._on_closed({changed.change.entry.stream_id: changed.known.state.tail + 1})
            self._sweeper.wake()
        return changed.change

    # Access tokens --------------------------------------------------------------------------------

    async def find_access_tokens(self, secret_hashes: Sequence[bytes]) -> tuple[AccessTokenEntry, ...]:
        return await self._query(lambda connection: tokens.find_access_tokens(connection, secret_hashes))

    async def list_access_tokens(self, prefix: str, start_after: str, limit: int) -> tuple[AccessTokenEntry, ...]:
        return await self._query(lambda connection: tokens.list_access_tokens(connection, prefix, start_after, limit))

    async def change_access_token(
        self, token_id: str, decide: Callable[[AccessTokenEntry | None], AccessTokenEntry | None]
    ) -> AccessTokenEntry | None:
        return await self._change(
            lambda transaction: tokens.change_access_token(token_id, decide, self._now_ms(), transaction)
        )

    async def _query(self, query: Callable[[Connection], Awaitable[T]]) -> T:
        self._check()
        return await self._pool.run(query)

    async def _change(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        self._check()
        return await self._changes.run(run)

    async def _change_in_turn(self, name: object, run: Callable[[Transaction], Awaitable[T]]) -> T:
        self._check()
        return await self._changes.run_in_turn(name, run)

    def _check(self) -> None:
        if self._closing is not None:
            raise Unavailable("the store is closed")


async def _first(url: str, outage_seconds: float) -> Connection:
    """A connection, as soon as there is a primary."""
    pauses = Pauses()
    reason = "it does not answer"
    try:
        async with asyncio.timeout(outage_seconds):
            while True:
                try:
                    return await connect(url)
                except ConnectionLost as exc:
                    reason = str(exc)
                    logger.info("%s is not there yet: %s", shown(url), reason)
                await asyncio.sleep(pauses.next())
    except TimeoutError:
        raise Unavailable(f"no PostgreSQL primary can be reached at {shown(url)}: {reason}") from None
