"""The doorbell: what one server committed, the followers at the others hear at once.

`Ringer` tells, after the commit and not within it: transactions that notify commit one after another, each waiting for
the disk and the standbys of the one before, so a notification in every group would put all servers in one queue. A ring
may be lost with its server; `Watcher` therefore also asks now and then. What is told is where streams end, and that a
follower may look; nobody relies on it for more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from ...errors import PerdureError
from ..catalogue import StreamId
from ..hub import MAILBOX_BLOCKS, Hub
from ..sequencing import Block
from .connection import Connection, ConnectionLost, TransactionUndone
from .pool import Pool
from .queries import read_after, tails
from .session import Pauses

logger: Final = logging.getLogger("perdure.store.postgres")

CHANNEL: Final = "perdure"
MAX_PAYLOAD_BYTES: Final = 7_900
"""PostgreSQL allows less than 8000."""

POLL_SECONDS: Final = 2.0
"""How long a commit of another server can go unnoticed when its ring was lost."""

HANDED_STREAMS: Final = 16
"""Streams whose new blocks are read in one statement."""

ASKED_STREAMS: Final = 10_000
"""Streams whose tails are asked for in one statement."""

_RING: Final = f"SELECT pg_notify('{CHANNEL}', payload) FROM unnest($1::text[]) AS payload"


def encode_rings(server: str, tails: Mapping[StreamId, int]) -> list[str]:
    """As few payloads as say where these streams end: the server, then ``stream:tail`` for each, in base 16."""
    payloads: list[str] = []
    parts, size = [server], len(server)
    for stream_id, tail in tails.items():
        part = f"{stream_id:x}:{tail:x}"
        if size + 1 + len(part) > MAX_PAYLOAD_BYTES:
            payloads.append(" ".join(parts))
            parts, size = [server], len(server)
        parts.append(part)
        size += 1 + len(part)
    if len(parts) > 1:
        payloads.append(" ".join(parts))
    return payloads


def decode_ring(payload: str) -> tuple[str, dict[StreamId, int]]:
    """The server that rang, and where its streams end. Raises `ValueError` for what is not a ring of ours."""
    server, *parts = payload.split(" ")
    found: dict[StreamId, int] = {}
    for part in parts:
        stream, _, tail = part.partition(":")
        found[StreamId(int(stream, 16))] = int(tail, 16)
    return server, found


class Ringer:
    """Rings for what was committed here: at most one ring is on its way, and takes along all that came meanwhile."""

    def __init__(self, pool: Pool, server: str) -> None:
        self._pool = pool
        self._server = server
        self._waiting: dict[StreamId, int] = {}
        self._task: asyncio.Task[None] | None = None

    def ring(self, ends: Iterable[tuple[StreamId, int]]) -> None:
        """Tell the other servers that these streams have got so far."""
        self._waiting.update(ends)
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="perdure-ringer")

    async def _run(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                payloads = encode_rings(self._server, waiting)
                await self._pool.run(lambda connection: connection.fetch(_RING, payloads))  # noqa: B023  # awaited here
        except PerdureError as exc:
            logger.warning("other servers were not told of appends, and find them by asking: %s", exc)
        except Exception:
            logger.exception("other servers were not told of appends, and find them by asking")
        finally:
            self._task = None

    async def aclose(self) -> None:
        """Ring for what waits."""
        if self._task is not None:
            await asyncio.wait([self._task])


class Watcher:
    """Owns the hub, and from the first follower on a task with a connection of its own, which listens and asks."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Connection]],
        server: str,
        *,
        now_ms: Callable[[], int],
        on_followers: Callable[[int], None],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._dial = dial
        self._server = server
        self._now_ms = now_ms
        self._poll_seconds = poll_seconds
        self.hub: Final = Hub(self._first_follower, self._last_follower, on_followers)
        self._seen: dict[StreamId, int] = {}
        """How far the followers of a stream were handed blocks, or told to look."""
        self._rung: dict[StreamId, int] = {}
        self._ask_at = 0.0
        """When it is time to ask, by the clock of the loop, however often somebody rings until then."""
        self._wake = asyncio.Event()
        self._followed = asyncio.Event()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def _first_follower(self) -> None:
        self._followed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="perdure-watcher")

    def _last_follower(self) -> None:
        self._followed.clear()
        self._seen.clear()

    def publish(self, blocks: Sequence[tuple[StreamId, Block]]) -> None:
        """Hand over what this server committed."""
        self.hub.publish(blocks)
        if self._followed.is_set():
            for stream_id, block in blocks:
                if self.hub.is_followed(stream_id):
                    self._seen[stream_id] = max(self._seen.get(stream_id, 0), block.end_seq)

    def listen_anew(self) -> None:
        """Elsewhere a connection was lost: this one may lead to a former primary, where nobody rings any more."""
        if self._connection is not None:
            self._connection.terminate()

    async def aclose(self) -> None:
        """End the task. The followers are woken by whoever closes the engine."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            await self._followed.wait()
            connection: Connection | None = None
            try:
                connection = self._connection = await self._dial()
                await connection.listen(CHANNEL, self._heard, self._wake.set)
                pauses = Pauses()
                self._seen.clear()
                self._ask_at = asyncio.get_running_loop().time() + self._poll_seconds
                self.hub.nudge()  # what was committed before we listened
                while not connection.is_closed:
                    await self._watch(connection)
            except (ConnectionLost, TransactionUndone, PerdureError) as exc:
                logger.warning("listening to other servers broke off and begins anew: %s", exc)
            except Exception:  # a defect, which must not end the following
                logger.exception("listening to other servers broke off and begins anew")
            finally:
                self._connection = None
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(pauses.next())

    def _heard(self, payload: str) -> None:
        try:
            server, tails_told = decode_ring(payload)
        except ValueError:
            logger.warning("somebody else notifies on the channel %s: %r", CHANNEL, payload[:80])
            return
        if server == self._server:
            return
        for stream_id, tail in tails_told.items():
            if self.hub.is_followed(stream_id):
                self._rung[stream_id] = max(tail, self._rung.get(stream_id, 0))
                self._wake.set()

    async def _watch(self, connection: Connection) -> None:
        """Wait for a ring, or for the time to ask, and hand over what there is."""
        try:
            async with asyncio.timeout_at(self._ask_at):
                await self._wake.wait()
        except TimeoutError:
            pass  # time to ask
        loop = asyncio.get_running_loop()
        if loop.time() >= self._ask_at:
            await self._ask(connection)
            self._ask_at = loop.time() + self._poll_seconds
        self._wake.clear()
        rung, self._rung = self._rung, {}
        behind: dict[StreamId, int] = {}
        for stream_id, tail in rung.items():
            seen = self._seen.get(stream_id)
            if seen is None:
                self._seen[stream_id] = tail
                self.hub.nudge([stream_id])
            elif tail > seen:
                behind[stream_id] = seen
        streams = list(behind)
        for first in range(0, len(streams), HANDED_STREAMS):
            await self._hand_over(
                connection, {stream: behind[stream] for stream in streams[first : first + HANDED_STREAMS]}
            )

    async def _ask(self, connection: Connection) -> None:
        """Where do the followed streams end? As if all of them had rung; to ask shows as well if we are still heard."""
        followed = tuple(self.hub.followed())
        for stream_id in self._seen.keys() - followed:
            del self._seen[stream_id]  # there may be many in the end, and some follower is always there
        for first in range(0, max(1, len(followed)), ASKED_STREAMS):
            chunk = followed[first : first + ASKED_STREAMS]
            found = await tails(connection, chunk)
            self.hub.nudge(stream_id for stream_id in chunk if stream_id not in found)
            for stream_id, tail in found.items():
                self._rung[stream_id] = max(tail, self._rung.get(stream_id, 0))

    async def _hand_over(self, connection: Connection, behind: Mapping[StreamId, int]) -> None:
        for stream_id, news in (await read_after(connection, behind, self._now_ms(), MAILBOX_BLOCKS)).items():
            blocks = news.blocks
            if (
                not news.closed
                and blocks
                and blocks[0].start_seq == behind[stream_id]
                and blocks[-1].end_seq == news.tail
            ):
                self.hub.publish([(stream_id, block) for block in blocks])
            else:
                self.hub.nudge([stream_id])
            self._seen[stream_id] = max(self._seen.get(stream_id, 0), news.tail)
