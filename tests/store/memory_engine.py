"""An engine without a disk, with optimistic commits: decide on what is there, then compare and set.

It keeps the contract of `perdure.store.engine` in another way than the real engines do, so that the
contract does not take their shape. Engines on one `MemoryDisk` are like processes on one directory:
between a decision and its commit the others get their turn, and a decision that comes too late is made
again.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from perdure.errors import PerdureError, StreamDeletionPending, StreamNotFound, Unavailable
from perdure.model.batches import AppendAck, AppendInput
from perdure.store.access_tokens import AccessTokenEntry
from perdure.store.catalogue import BasinChange, BasinEntry, BasinId, StreamChange, StreamEntry, StreamId, delete_stream
from perdure.store.engine import BlockRange, Lane
from perdure.store.hub import Hub
from perdure.store.sequencing import Block, StreamState, sequence, terminal_trim
from tests.store.clock import Clock
from tests.store.memory_usage import Catalogue, Level, MemoryUsage, MemoryUsageBook

T = TypeVar("T")


class Row:
    """A stream as it is kept; whoever writes it must have seen its current version."""

    def __init__(self, entry: StreamEntry) -> None:
        self.entry = entry
        self.state = StreamState()
        self.blocks: list[Block] = []
        self.version = 0
        self.written_ms = 0

    def write(self, entry: StreamEntry, state: StreamState, blocks: list[Block]) -> None:
        self.entry, self.state = entry, state
        self.blocks += blocks
        self.version += 1


class MemoryDisk:
    """What outlives an engine."""

    def __init__(self) -> None:
        self.basins: dict[str, BasinEntry] = {}
        self.rows: dict[StreamId, Row] = {}
        self.names: dict[tuple[str, str], StreamId] = {}
        self.access_tokens: dict[str, AccessTokenEntry] = {}
        self.engines: list[MemoryEngine] = []
        self.usage = MemoryUsage()
        self.last_id = 0

    def row(self, stream: StreamId) -> Row:
        row = self.rows.get(stream)
        if row is None:
            raise StreamNotFound("the stream does not exist any more")
        return row

    def named(self, basin: str, name: str) -> Row | None:
        stream = self.names.get((basin, name))
        return None if stream is None else self.rows[stream]

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id


class CatalogueOfDisk(Catalogue):
    """Streams and basins as the usage book sees them."""

    def __init__(self, disk: MemoryDisk, clock: Clock) -> None:
        self._disk = disk
        self._clock = clock

    def basin_ids(self) -> dict[str, int]:
        return {name: entry.basin_id for name, entry in self._disk.basins.items()}

    def streams(self) -> list[tuple[str, StreamId, datetime, datetime | None]]:
        entries = ((basin, stream, self._disk.rows[stream].entry) for (basin, _), stream in self._disk.names.items())
        return [(basin, stream, entry.created_at, entry.deleted_at) for basin, stream, entry in entries]

    def level(self, stream: StreamId) -> Level | None:
        """As if everything that is trimmed or expired were removed at once."""
        row, now = self._disk.rows.get(stream), self._clock.now_ms()
        if row is None:
            return None
        kept = [
            block.metered_bytes
            for block in row.blocks
            if block.end_seq > row.state.trim_point and (block.expires_ms is None or block.expires_ms > now)
        ]
        return Level(sum(kept), row.written_ms // 1000)


class Queued:
    def __init__(self, batch: AppendInput, lane: Lane | None, future: asyncio.Future[AppendAck]) -> None:
        self.batch = batch
        self.lane = lane
        self.future = future


class MemoryEngine:
    """Keeps streams in lists. An acknowledgement means that the batch is in the `MemoryDisk`."""

    def __init__(self, disk: MemoryDisk, clock: Clock, *, maintain: bool) -> None:
        self._disk = disk
        self._clock = clock
        self._maintain = maintain
        self._hub = Hub()
        self._stopped = asyncio.Event()
        self._usage = MemoryUsageBook(disk.usage, CatalogueOfDisk(disk, clock), clock.now_ms, self._check)
        self._queues: dict[StreamId, list[Queued]] = {}
        self._work = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, disk: MemoryDisk, clock: Clock, *, maintain: bool = True) -> "MemoryEngine":
        engine = cls(disk, clock, maintain=maintain)
        disk.engines.append(engine)
        engine._task = asyncio.create_task(engine._run(), name="memory engine")
        return engine

    @property
    def hub(self) -> Hub:
        return self._hub

    @property
    def stopped(self) -> asyncio.Event:
        return self._stopped

    @property
    def usage(self) -> MemoryUsageBook:
        return self._usage

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._work.set()
        assert self._task is not None
        await self._task
        self._disk.engines.remove(self)
        self._hub.nudge()

    def _check(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    # Appending

    def append(self, stream: StreamId, batch: AppendInput, lane: Lane | None = None) -> asyncio.Future[AppendAck]:
        self._check()
        future: asyncio.Future[AppendAck] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(stream, []).append(Queued(batch, lane, future))
        self._work.set()
        return future

    async def _run(self) -> None:
        while self._queues or not self._closed:
            await self._work.wait()
            self._work.clear()
            queues, self._queues = self._queues, {}
            for stream, items in queues.items():
                await self._commit(stream, [i for i in items if i.lane is not None or not i.future.cancelled()])
            if self._maintain:
                self._purge()

    async def _commit(self, stream: StreamId, items: list[Queued]) -> None:
        """Decide all of `items` on a snapshot, and again if somebody else wrote in the meantime."""
        while True:
            row = self._disk.rows.get(stream)
            version = None if row is None else row.version
            state, blocks, answers = self._decide(row, items)
            await asyncio.sleep(0)
            now = self._disk.rows.get(stream)
            if version == (None if now is None else now.version):
                break
        if row is not None and blocks:
            row.write(row.entry, state, blocks)
            row.written_ms = blocks[-1].stored_ms
            self._usage.resized(stream)
            self._published(stream, blocks)
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, AppendAck):
                if not item.future.done():
                    item.future.set_result(AppendAck(answer.start, answer.end, state.position))
                continue
            if item.lane is not None and item.lane.failure is None:
                item.lane.failure = answer
            if not item.future.done():
                item.future.set_exception(answer)

    def _decide(
        self, row: Row | None, items: list[Queued]
    ) -> tuple[StreamState, list[Block], list[AppendAck | PerdureError]]:
        state = StreamState() if row is None else row.state
        blocks: list[Block] = []
        answers: list[AppendAck | PerdureError] = []
        ended = {item.lane: item.lane.failure for item in items if item.lane is not None and item.lane.failure}
        for item in items:
            try:
                if item.lane in ended:
                    raise ended[item.lane]
                if row is None:
                    raise StreamNotFound("the stream does not exist any more")
                if row.entry.deleted_at is not None:
                    raise StreamDeletionPending("stream deletion pending")
                now = self._clock.now_ms()
                state, block, ack = sequence(state, row.entry.config, row.entry.cipher, item.batch, now_ms=now)
            except PerdureError as exc:
                answers.append(exc)
                if item.lane is not None:
                    ended[item.lane] = exc
            else:
                blocks.append(block)
                answers.append(ack)
        return state, blocks, answers

    def _published(self, stream: StreamId, blocks: list[Block]) -> None:
        self._hub.publish((stream, block) for block in blocks)
        for engine in self._disk.engines:
            if engine is not self:
                engine.hub.nudge([stream])

    # Reading

    async def state(self, stream: StreamId) -> StreamState:
        self._check()
        row = self._disk.row(stream)
        if row.entry.deleted_at is not None:
            raise StreamDeletionPending("stream deletion pending")
        return row.state

    def _retained(self, row: Row, first: int) -> list[Block]:
        now = self._clock.now_ms()
        begin = max(0, bisect_right(row.blocks, first, key=lambda block: block.start_seq) - 1)
        return [
            block
            for block in row.blocks[begin:]
            if block.end_seq > first and (block.expires_ms is None or block.expires_ms > now)
        ]

    async def read_blocks(self, stream: StreamId, start_seq: int, *, max_records: int, max_bytes: int) -> BlockRange:
        self._check()
        row = self._disk.row(stream)
        found = self._retained(row, max(start_seq, row.state.trim_point))
        blocks: list[Block] = []
        for block in found:
            max_records -= block.end_seq - block.start_seq
            max_bytes -= block.metered_bytes
            if blocks and (max_records < 0 or max_bytes < 0):
                break
            blocks.append(block)
        return BlockRange(row.state, row.entry.deleted_at is not None, tuple(blocks), len(blocks) < len(found))

    async def find_timestamp(self, stream: StreamId, timestamp: int) -> Block | None:
        self._check()
        row = self._disk.row(stream)
        retained = self._retained(row, row.state.trim_point)
        return next((block for block in retained if block.last_timestamp >= timestamp), None)

    # The catalogue

    async def basin(self, name: str) -> BasinEntry | None:
        self._check()
        return self._disk.basins.get(name)

    async def stream(self, basin: str, name: str) -> StreamEntry | None:
        self._check()
        row = self._disk.named(basin, name)
        return None if row is None else row.entry

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[BasinEntry, ...]:
        self._check()
        return _page(self._disk.basins, prefix, start_after, limit)

    async def list_streams(self, basin: str, prefix: str, start_after: str, limit: int) -> tuple[StreamEntry, ...]:
        self._check()
        entries = {
            name: self._disk.rows[stream].entry for (of, name), stream in self._disk.names.items() if of == basin
        }
        return _page(entries, prefix, start_after, limit)

    async def change_basin(self, name: str, decide: Callable[[BasinEntry | None], BasinChange]) -> BasinChange:
        self._check()
        disk = self._disk
        while True:
            seen = disk.basins.get(name)
            change = decide(seen)
            await asyncio.sleep(0)
            if disk.basins.get(name) is seen:
                break
        if not change.write:
            return change
        entry = change.entry
        if seen is None:
            entry = replace(entry, basin_id=BasinId(disk.next_id()))
        disk.basins[name] = entry
        self._work.set()
        return BasinChange(entry, change.result)

    async def change_stream(
        self, basin: str, name: str, decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange]
    ) -> StreamChange:
        self._check()
        disk = self._disk
        while True:
            parent, row = disk.basins.get(basin), disk.named(basin, name)
            version = None if row is None else row.version
            change = decide(parent, None if row is None else row.entry)
            await asyncio.sleep(0)
            now = disk.named(basin, name)
            if disk.basins.get(basin) is parent and now is row and version == (None if now is None else now.version):
                break
        if not change.write:
            return change
        entry = change.entry
        if row is None:
            entry = replace(entry, stream_id=StreamId(disk.next_id()))
            disk.rows[entry.stream_id] = Row(entry)
            disk.rows[entry.stream_id].written_ms = self._clock.now_ms()
            disk.names[basin, name] = entry.stream_id
        elif entry.deleted_at is not None:
            self._close_stream(row, entry)
        else:
            row.write(entry, row.state, [])
        return StreamChange(entry, change.result)

    async def append_first(
        self,
        basin: str,
        name: str,
        decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange],
        batch: AppendInput,
    ) -> tuple[StreamEntry, AppendAck]:
        change = await self.change_stream(basin, name, decide)
        return change.entry, await self.append(change.entry.stream_id, batch)

    def _close_stream(self, row: Row, entry: StreamEntry) -> None:
        state, block = terminal_trim(row.state, now_ms=self._clock.now_ms())
        row.write(entry, state, [block])
        for engine in self._disk.engines:
            engine.hub.nudge([entry.stream_id])
            engine._work.set()

    # Access tokens

    async def find_access_tokens(self, secret_hashes: Sequence[bytes]) -> tuple[AccessTokenEntry, ...]:
        self._check()
        return tuple(entry for entry in self._disk.access_tokens.values() if entry.secret_hash in secret_hashes)

    async def list_access_tokens(self, prefix: str, start_after: str, limit: int) -> tuple[AccessTokenEntry, ...]:
        self._check()
        return _page(self._disk.access_tokens, prefix, start_after, limit)

    async def change_access_token(
        self, token_id: str, decide: Callable[[AccessTokenEntry | None], AccessTokenEntry | None]
    ) -> AccessTokenEntry | None:
        self._check()
        tokens = self._disk.access_tokens
        while True:
            seen = tokens.get(token_id)
            left = decide(seen)
            await asyncio.sleep(0)
            if tokens.get(token_id) is seen:
                break
        if left is not None:
            tokens[token_id] = left
        else:
            tokens.pop(token_id, None)
        return left

    def _purge(self) -> None:
        """What was deleted goes for good, and its name becomes free."""
        disk = self._disk
        for (basin, name), stream in list(disk.names.items()):
            row = disk.rows[stream]
            deleted_at = disk.basins[basin].deleted_at
            if row.entry.deleted_at is not None:
                disk.usage.gone.append((basin, row.entry.created_at, row.entry.deleted_at))
                del disk.names[basin, name], disk.rows[stream]
            elif deleted_at is not None:
                self._close_stream(row, delete_stream(row.entry, basin, name, deleted_at).entry)
        for name, entry in list(disk.basins.items()):
            if entry.deleted_at is not None and not any(basin == name for basin, _ in disk.names):
                del disk.basins[name]


def _page(entries: dict[str, T], prefix: str, start_after: str, limit: int) -> tuple[T, ...]:
    names = sorted((name for name in entries if name.startswith(prefix)), key=str.encode)
    return tuple(entries[name] for name in names if name.encode() > start_after.encode())[:limit]
