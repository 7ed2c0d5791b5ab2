"""Many clients at work while a cluster is mistreated, and what must hold in the end whatever was done.

- Clients that do everything at random to two shared streams, whose history must be linearizable.
- Three writers with sessions, each with a reader that follows: with conditions, so each record is there once, where its
  number says; with messages that are told apart; and a producer, whose tickets say where each record is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from perdure import S2, RetryPolicy, Stream
from tests.client.enduring import (
    Progress,
    check_produced,
    follow,
    produce,
    read_messages,
    write_conditionally,
    write_messages,
)
from tests.linearizable.checker import check
from tests.linearizable.clients import Client
from tests.linearizable.history import Call, save

BASIN: Final = "load-basin"
SHARED: Final = ("busy", "calm")
SHARING_CLIENTS: Final = 6
PACE_SECONDS: Final = 0.03
"""Between two things that a client does: the history must stay short enough to be checked."""

PROGRESS_RECORDS: Final = 60
"""So many records of each writer are acknowledged between what is done to the cluster."""

PROGRESS_SECONDS: Final = 150.0
"""Far longer than a failover and the reconnection of all: machines that run tests are busy."""


class Load:
    """The clients at work; they begin with `begin` and end with `finish`, which checks everything."""

    def __init__(self, patient: Sequence[S2], exact: Sequence[S2], seed: int) -> None:
        """Clients of each server, among which the load is spread: for sessions, and for what must not come twice."""
        self._patient = patient
        self._exact = exact
        self._seed = seed
        self._progress = Progress()
        self._sharing: list[Client] = []
        self._tasks: asyncio.TaskGroup | None = None

    def _streams(self, clients: Sequence[S2], number: int, names: Iterable[str]) -> list[Stream]:
        """Handles by the client of one of the servers."""
        return [clients[number % len(clients)].basin(BASIN).stream(name) for name in names]

    async def begin(self, tasks: asyncio.TaskGroup) -> None:
        basin = await self._patient[0].basins.create(BASIN)
        for name in (*SHARED, *self._progress.counts):
            await basin.streams.create(name)
        # Writers are on one server each, readers on the next.
        written, followed = [
            [
                self._streams(self._patient, number + shift, [name])[0]
                for number, name in enumerate(self._progress.counts)
            ]
            for shift in (0, 1)
        ]
        self._conditions, self._messages, self._produced = followed
        self._writing = tasks.create_task(write_conditionally(written[0], self._progress))
        self._following = tasks.create_task(follow(followed[0]))
        self._writing_messages = tasks.create_task(write_messages(written[1], self._progress))
        self._reading_messages = tasks.create_task(read_messages(followed[1]))
        self._producing = tasks.create_task(produce(written[2], self._progress))
        for number in range(SHARING_CLIENTS):
            client = Client(f"c{number}", self._streams(self._exact, number, SHARED), self._seed)
            self._sharing.append(client)
            tasks.create_task(self._act(client))

    async def _act(self, client: Client) -> None:
        while not self._progress.over:
            await client.act_once()
            await asyncio.sleep(PACE_SECONDS)

    async def wait_for_progress(self) -> None:
        """Until every session writer has more records acknowledged, all of them appended from now on."""
        async with asyncio.timeout(PROGRESS_SECONDS):
            await self._progress.of_each(PROGRESS_RECORDS)

    def end(self) -> None:
        """Let the clients finish what they are at; the task group waits for them."""
        self._progress.over = True

    async def check(self, kept: Path) -> str:
        """That nothing is lost, there twice or out of order; gives a line about what there was.

        The history of the shared streams is written to `kept`, for whoever must find out.
        """
        conditions, messages = self._following.result(), self._reading_messages.result()
        assert (await self._conditions.check_tail()).seq_num == conditions + 1
        assert messages == self._writing_messages.result()
        await check_produced(self._produced, self._producing.result())
        await self._sharing[0].read_all()
        await asyncio.to_thread(save, self.history(), kept)
        calls = await asyncio.to_thread(check, self.history())
        doubts = sum(call.returned is None for call in self.history())
        return (
            f"{conditions} conditional, {messages} messages, {len(self._producing.result())} produced; "
            f"{calls} calls on shared streams, {doubts} in doubt"
        )

    def history(self) -> list[Call]:
        return [call for client in self._sharing for call in client.recorder.calls]


@asynccontextmanager
async def clients_of(urls: Sequence[str], retries: RetryPolicy) -> AsyncIterator[list[S2]]:
    """A client for each address."""
    async with AsyncExitStack() as opened:
        yield [await opened.enter_async_context(S2(endpoints=url, retries=retries)) for url in urls]
