"""Several servers, each a process of its own: nothing connects them but the database, and clients see one service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from perdure import S2, AppendRecord, SeqNum
from perdure.client.settings import ForcedTransport
from perdure.resumable.aisdk import AiSdkChat
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import ANSWER, START, TEXT_START, Reading, Source, chat_on, frames, text
from tools.cluster.postgres import PostgresServer
from tools.cluster.servers import PROXIED_SERVERS, PerdureServer, Proxy, running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(8 * PATIENCE_SECONDS)]

NAMES = "ABCD"
BATCHES = 50


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[PerdureServer]]:
    logs, database = tmp_path_factory.mktemp("servers"), postgres.create_database()
    servers = [PerdureServer(name, postgres.url(database), logs / f"{name}.log") for name in NAMES]
    async with running(servers):
        yield servers
    postgres.drop_database(database)


async def test_a_generation_on_one_server_is_read_on_others_and_stopped_on_yet_another(
    servers: list[PerdureServer],
) -> None:
    async with AsyncExitStack() as opened:
        chats: list[AiSdkChat] = []
        for server in servers:
            s2 = await opened.enter_async_context(S2(endpoints=server.url))
            chats.append(await chat_on(s2))
            opened.push_async_callback(chats[-1].aclose, timeout=0)
        generating, *reading, stopping = chats

        source = Source(START, TEXT_START, text("Hel"))
        first = Reading(await generating.make_resumable("c", source, wait_until=generating.background))
        await first.until("Hel")
        readers = [Reading(await chat.replay("c", active_only=True)) for chat in reading]
        for reader in readers:
            await reader.until("Hel")
        source.give(text("lo"))
        for reader in [first, *readers]:
            await reader.until("lo")
        assert await stopping.stop("c")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await source.closed.wait()
        bodies = [[data for _, data in frames(await reader.rest())] for reader in [first, *readers]]
        assert bodies[0][-1] == '{"type":"abort"}'
        assert bodies[1] == bodies[2] == bodies[0]
        assert not await stopping.stop("c")
        # The next turn may be had anywhere.
        again = Source(*ANSWER)
        again.end()
        body = await Reading(await stopping.make_resumable("c", again, wait_until=stopping.background)).rest()
        assert [data for _, data in frames(body)][-1] == '{"type":"finish"}'


@pytest.mark.parametrize("transport", ["s2s", "fetch"])
async def test_sessions_go_through_the_proxy(
    servers: list[PerdureServer], tmp_path_factory: pytest.TempPathFactory, transport: ForcedTransport
) -> None:
    log = tmp_path_factory.mktemp("proxy") / "log"
    async with (
        Proxy(servers[:PROXIED_SERVERS], log) as proxy,
        S2(endpoints=proxy.url, force_transport=transport) as s2,
        S2(endpoints=servers[-1].url) as other,
    ):
        basin = await s2.basins.create(f"proxied-{transport}")
        stream = await basin.streams.create("s")
        follower = other.basin(basin.name).stream("s")
        # One after the other: each is acknowledged, and has come to a follower here and on another server, while the
        # request that carries them is not over.
        async with (
            asyncio.timeout(4 * PATIENCE_SECONDS),
            stream.append_session() as session,
            follower.read_session(SeqNum(0)) as following,
            stream.read_session(SeqNum(0)) as proxied,
        ):
            for number in range(BATCHES):
                ticket = await session.submit([AppendRecord(str(number))])
                assert (await ticket).start.seq_num == number
                assert (await anext(following)).text == (await anext(proxied)).text == str(number)
        assert (await follower.check_tail()).seq_num == BATCHES
