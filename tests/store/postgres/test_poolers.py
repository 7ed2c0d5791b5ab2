"""PgBouncer in front of PostgreSQL: it serves in session mode, and is refused in the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from perdure.errors import UsageError
from perdure.store.postgres import PostgresEngine
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, bodies_of, make_stream
from tools.cluster.pgbouncer import PoolMode, pgbouncer
from tools.cluster.postgres import PostgresServer


@pytest.fixture
def url(request: pytest.FixtureRequest, postgres: PostgresServer, postgres_url: str) -> Iterator[str]:
    mode: PoolMode = request.param
    with pgbouncer(postgres, mode) as pooler:
        yield pooler.url(postgres_url.rpartition("/")[2])


@pytest.mark.parametrize("url", ["session"], indirect=True)
async def test_in_session_mode_two_servers_append_read_and_hear_of_each_other(url: str) -> None:
    one, two = await PostgresEngine.open(url), await PostgresEngine.open(url, poll_seconds=3600.0)
    try:
        stream = await make_stream(one)
        with two.hub.follow(stream) as mailbox:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await mailbox.wait(None)  # it listens
                mailbox.clear()
                await one.append(stream, batch("a"))
                assert await mailbox.wait(None)
        await two.append(stream, batch("b", match=1))
        assert await bodies_of(one, stream) == ["a", "b"]
    finally:
        await asyncio.gather(one.aclose(), two.aclose())


@pytest.mark.parametrize("url", ["transaction", "statement"], indirect=True)
async def test_in_other_modes_it_is_refused_and_told_what_to_do(url: str) -> None:
    for _ in range(3):  # whether the pooler has connections already or not
        with pytest.raises(UsageError, match="use session mode") as refused:
            await PostgresEngine.open(url)
        assert "PgBouncer: pool_mode = session" in str(refused.value)
