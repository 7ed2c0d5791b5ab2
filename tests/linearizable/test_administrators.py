"""Somebody cancels statements and ends connections of servers at work: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random

from perdure import S2, AppendRecord
from perdure.store.postgres.connection import connect
from tests.linearizable.clients import Client, run_clients
from tests.linearizable.history import Appended, InDoubt
from tests.linearizable.test_histories import CLIENTS, STREAMS, TIMES, assert_linearizable, make_streams
from tests.linearizable.worker import BASIN

MOST_PAUSE_SECONDS = 0.05
FEWEST_HITS = 20

HIT = """
WITH target AS (
    SELECT pid, random() < 0.5 AS gently FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'perdure%'
        AND (state <> 'idle' OR random() < 0.1)
    ORDER BY random() LIMIT 1
)
SELECT CASE WHEN gently THEN pg_cancel_backend(pid) ELSE pg_terminate_backend(pid) END FROM target
"""
"""Rather who is at work than who is not: of a statement that is cancelled nobody knows yet how it ends."""


async def mistreat(url: str, dice: random.Random, is_over: asyncio.Event) -> int:
    """Hit connections at random until it is over, and at least a few times; gives how often."""
    hits = 0
    administrator = await connect(url)
    try:
        while not is_over.is_set() or hits < FEWEST_HITS:
            hits += len(await administrator.fetch(HIT))
            await asyncio.sleep(dice.uniform(0, MOST_PAUSE_SECONDS))  # the load goes on meanwhile
    finally:
        await administrator.aclose()
    return hits


async def test_statements_are_cancelled_and_connections_ended(postgres_url: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    async with S2.open(postgres_url) as one, S2.open(postgres_url) as two:
        streams = await make_streams(one)
        others = [two.basin(BASIN).stream(name) for name in STREAMS]
        clients = [Client(f"c{number}", (streams, others)[number % 2], seed) for number in range(CLIENTS)]
        followers = [asyncio.create_task(client.follow(client.streams[0])) for client in clients[:2]]
        is_over = asyncio.Event()
        mistreating = asyncio.create_task(mistreat(postgres_url, random.Random(seed), is_over))
        try:
            history = await run_clients(clients, TIMES)
            is_over.set()
            print(f"{await mistreating} hits")
        finally:
            for task in (mistreating, *followers):
                task.cancel()
            await asyncio.wait([mistreating, *followers])
        assert (await one.basin(BASIN).stream(STREAMS[0]).append([AppendRecord("on it goes")])).end.seq_num > 0
    # What was cut off is looked up, so that every answer is one.
    assert not [
        call for call in history if isinstance(call.operation, Appended) and isinstance(call.operation.outcome, InDoubt)
    ]
    assert_linearizable(history, CLIENTS * TIMES)
