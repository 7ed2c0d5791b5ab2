"""Transactions that know their own fate.

A connection may end while a commit is on its way: the server or the network went away, another primary took over. Then
nobody has told us whether it was committed, and both a retry and an answer would be a guess. So each session has a row
in the table `writer`, and each of its transactions, which come one after another, writes its number there. To connect
anew *raises the epoch* of the row, which waits for a predecessor that is still in the middle of committing, and shuts
out one that has not begun, since every transaction looks for its epoch first. The number that is there then is the
truth: our transaction is in it, or it will never be. And since raising the epoch is itself a commit behind the other
one, whoever has to agree to commits, such as a synchronous standby, has agreed to both.

A row that is missing says the same as an old number: it was written before the transaction.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from ...errors import StorageFailed, Unavailable
from ..catalogue import StreamId
from .connection import Connection, ConnectionLost, TransactionUndone

T = TypeVar("T")

logger: Final = logging.getLogger("perdure.store.postgres")

OUTAGE_SECONDS: Final = 30.0
"""How long callers wait for PostgreSQL to come back, at most: longer than a failover takes."""

AFTER_OUTAGE_SECONDS: Final = 3.0
"""How long they wait while it has been away for longer than that already."""

FAREWELL_SECONDS: Final = 2.0
"""What closing spends on leaving nothing behind."""

FIRST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 0.5

_REGISTER: Final = (
    "INSERT INTO writer (writer_id, epoch, number) VALUES ($1, 1, 0) "
    "ON CONFLICT (writer_id) DO UPDATE SET epoch = writer.epoch + 1, touched_at = now() "
    "RETURNING epoch, number, conflicted"
)

_STILL_WAITS: Final = (
    "SELECT set_config('application_name', $1, false), EXISTS (SELECT FROM pg_stat_activity "
    "WHERE application_name = $1 AND pid <> pg_backend_pid() AND wait_event = 'SyncRep' AND usename = current_user)"
)
"""Whether an earlier connection of this session commits and waits for a standby. They are told by their name."""


class Pauses:
    """How long to wait before the next try: longer each time, and not as long as others."""

    def __init__(self) -> None:
        self._longest = FIRST_PAUSE_SECONDS

    def next(self) -> float:
        pause = self._longest * random.uniform(0.5, 1.0)
        self._longest = min(self._longest * 2, LONGEST_PAUSE_SECONDS)
        return pause


class Transaction:
    """What runs between the begin and the commit uses its connection, and says whether it has changed anything."""

    __slots__ = ("changed", "connection", "epoch", "number", "writer_id")

    def __init__(self, connection: Connection, writer_id: uuid.UUID, epoch: int, number: int) -> None:
        self.connection: Connection = connection
        self.writer_id: uuid.UUID = writer_id
        self.epoch: int = epoch
        self.number: int = number
        self.changed: bool = False


class Session:
    """One connection at a time, and the row of its marks. Used by one task at a time.

    `dial` makes a connection, `on_lost` is called when one was lost.
    """

    def __init__(
        self, dial: Callable[[], Awaitable[Connection]], outage_seconds: float, on_lost: Callable[[], None]
    ) -> None:
        self._dial = dial
        self._on_lost = on_lost
        self._outage_seconds = outage_seconds
        self._writer_id = uuid.uuid4()
        self._connection: Connection | None = None
        self._epoch = 0
        self._number = 0
        self._marked = 0
        self._conflicted: list[StreamId] = []
        self._has_been_away = False

    async def aclose(self) -> None:
        """Take the row away and end the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if not connection.is_closed:
                await connection.fetch(
                    "DELETE FROM writer WHERE writer_id = $1", self._writer_id, seconds=FAREWELL_SECONDS
                )
        except Exception as exc:  # the sweeper takes it away some day
            logger.debug("the row of a writer stays: %s", exc)
        await connection.aclose()

    async def connect(self) -> None:
        """Connect now, so that what is wrong with the address is told at once."""
        await self._connected(self._deadline())

    async def mark_in_statement(self, run: Callable[[Transaction], Awaitable[list[StreamId]]]) -> list[StreamId]:
        """Run one statement that is a transaction by itself, writes its mark, and gives what it writes there as well.

        What it gives is known even if the answer to it was lost. Raises `StorageFailed` if it cannot be found out
        whether it was committed, `Unavailable` if PostgreSQL could not be reached; then it was not.
        """

        async def attempt(transaction: Transaction) -> list[StreamId]:
            found = await run(transaction)
            self._check_replicated(transaction.connection)
            return found

        return await self._until_known(attempt, lambda: self._conflicted)

    async def transact(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `body` inside a transaction, and commit if it says that it has changed anything.

        It may run more than once. What it raises undoes the transaction. Raises also what `mark_in_statement` raises.
        """
        results: list[T] = []

        async def attempt(transaction: Transaction) -> T:
            results.clear()
            result = await self._run(body, transaction)
            results.append(result)
            if not transaction.changed:
                await _give_up(transaction.connection)
                return result
            await transaction.connection.execute("COMMIT")
            self._check_replicated(transaction.connection)
            return result

        return await self._until_known(attempt, lambda: results[0])

    async def _run(self, body: Callable[[Transaction], Awaitable[T]], transaction: Transaction) -> T:
        """Up to the commit."""
        connection = transaction.connection
        try:
            done = await connection.execute(
                f"BEGIN; UPDATE writer SET number = {transaction.number}, conflicted = '{{}}', touched_at = now() "
                f"WHERE writer_id = '{transaction.writer_id}' AND epoch = {transaction.epoch}"
            )
            if done != "UPDATE 1":
                raise ConnectionLost("the row of this writer is gone", may_have_committed=False)
            return await body(transaction)
        except ConnectionLost as exc:
            raise ConnectionLost(str(exc), may_have_committed=False) from exc
        except BaseException:
            await _give_up(connection)
            raise

    async def _until_known(self, attempt: Callable[[Transaction], Awaitable[T]], recover: Callable[[], T]) -> T:
        deadline = self._deadline()
        pauses = Pauses()
        while True:
            connection = await self._connected(deadline)
            self._number += 1
            transaction = Transaction(connection, self._writer_id, self._epoch, self._number)
            try:
                return await attempt(transaction)
            except TransactionUndone as exc:
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable(f"PostgreSQL is too busy: {exc}; nothing was written") from exc
                await asyncio.sleep(pauses.next())
            except ConnectionLost as exc:
                logger.warning("a transaction was cut off: %s", exc)
                self._drop()
                self._on_lost()
                try:
                    await self._connected(deadline)
                except Unavailable as unreachable:
                    if exc.may_have_committed:
                        failure = StorageFailed(
                            f"PostgreSQL went away during a commit and did not come back in time ({unreachable}); "
                            "whether it was committed is unknown"
                        )
                        failure.put_in_doubt()
                        raise failure from exc
                    raise
                if exc.may_have_committed and self._marked == transaction.number:
                    logger.info("the transaction that was cut off had been committed")
                    return recover()
                await asyncio.sleep(pauses.next())

    def _check_replicated(self, connection: Connection) -> None:
        """A commit that succeeded without its standbys counts as cut off: the next commit shows that it is safe."""
        if connection.unreplicated:
            raise ConnectionLost("PostgreSQL committed without waiting for its synchronous standbys")

    def _deadline(self) -> float:
        patience = min(self._outage_seconds, AFTER_OUTAGE_SECONDS) if self._has_been_away else self._outage_seconds
        return asyncio.get_running_loop().time() + patience

    async def _connected(self, deadline: float) -> Connection:
        if self._connection is not None and not self._connection.is_closed:
            return self._connection
        self._drop()
        pauses = Pauses()
        while True:
            connection: Connection | None = None
            try:
                connection = await self._dial()
                await self._check_left(connection)
                await self._register(connection)
            except (ConnectionLost, TransactionUndone) as exc:
                if connection is not None:
                    connection.terminate()
                pause = pauses.next()
                if asyncio.get_running_loop().time() + pause > deadline:
                    self._has_been_away = True
                    raise Unavailable(f"PostgreSQL cannot be reached: {exc}") from exc
                await asyncio.sleep(pause)
            except BaseException:
                if connection is not None:
                    connection.terminate()
                raise
            else:
                self._connection, self._has_been_away = connection, False
                return connection

    async def _check_left(self, connection: Connection) -> None:
        """Register only when no commit of ours waits for a standby: another would wait behind it, and one more after
        each try, until the server had no connections left. Nobody may end such a wait: that would be no commit.
        """
        (row,) = await connection.fetch(_STILL_WAITS, f"perdure {self._writer_id}")
        if row[1]:
            raise ConnectionLost("a commit of this server still waits for a synchronous standby")

    async def _register(self, connection: Connection) -> None:
        (row,) = await connection.fetch(_REGISTER, self._writer_id)
        if connection.unreplicated:
            raise ConnectionLost("PostgreSQL does not wait for its synchronous standbys")
        self._epoch, self._marked, conflicted = cast("tuple[int, int, list[StreamId]]", tuple(row))
        self._conflicted = list(conflicted)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def _give_up(connection: Connection) -> None:
    """Roll back, without raising: whoever comes next finds a sound connection, or none."""
    try:
        if not connection.is_closed:
            await connection.execute("ROLLBACK")
    except Exception as exc:
        logger.debug("rolling back failed, so the connection is given up: %s", exc)
        connection.terminate()
