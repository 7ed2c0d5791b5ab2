"""Processes that are killed while they append: what was acknowledged is there, and nothing else."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from perdure.model.configs import InfiniteRetention, StreamConfig
from perdure.model.records import SequencedRecord
from perdure.store.catalogue import StreamId
from perdure.store.sqlite import SqliteEngine
from perdure.wire.protobuf import decode_records
from tests.store.making import make_stream
from tests.store.sqlite.processes import Worker, start
from tests.store.sqlite.submitted import Origin, origin_of
from tests.store.sqlite.workers import IN_FLIGHT, append_until_killed

WRITERS = 3
LARGE_BATCHES = 32
SHARED = "shared"


class Ledger:
    """What the writers were told, and what was found, stream by stream."""

    def __init__(self) -> None:
        self.acks: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._found: dict[int, list[Origin]] = defaultdict(list)
        self._next: dict[tuple[int, int], int] = defaultdict(int)

    def note(self, writer: int, said: tuple[int, int, int, int]) -> None:
        stream, number, begin, end = said
        self.acks[stream, writer, number] = (begin, end)

    def tail_of(self, stream: int) -> int:
        return len(self._found[stream])

    def check(self, stream: int, records: list[SequencedRecord]) -> None:
        """The next records of a stream: whole batches in order, each what its writer submitted next."""
        found = self._found[stream]
        for record in records:
            assert record.seq_num == len(found), "a gap, or a number given twice"
            origin = origin_of(record.body)
            if origin.part == 0:
                assert not found or found[-1].part == found[-1].parts - 1, "a batch that was cut"
                expected = self._next[stream, origin.writer]
                assert origin.number == expected, "a batch was lost, doubled, or came out of turn"
                self._next[stream, origin.writer] += 1
            else:
                assert origin == found[-1]._replace(part=origin.part), "batches are mixed"
                assert origin.part == found[-1].part + 1
            found.append(origin)
        assert not found or found[-1].part == found[-1].parts - 1, "the last batch is not whole"

    def settle(self) -> None:
        """Every ack tells the truth; beyond the acks there is only what was in flight."""
        acked: dict[tuple[int, int], int] = defaultdict(int)
        for (stream, writer, number), (begin, end) in self.acks.items():
            origins = self._found[stream][begin:end]
            count = end - begin
            assert origins == [Origin(writer, number, index, count) for index in range(count)], "an ack was a lie"
            acked[stream, writer] = max(acked[stream, writer], number + 1)
        for (stream, writer), found in self._next.items():
            assert found <= acked[stream, writer] + IN_FLIGHT, "more than was submitted"


class Writers:
    """Some processes that append to the same directory; whoever is killed is replaced."""

    def __init__(self, path: Path, ledger: Ledger, shared: int, own: list[int]) -> None:
        self._path = path
        self._ledger = ledger
        self._shared = shared
        self._own = own
        self._ids: Iterator[int] = iter(range(10**6))
        self._running: list[tuple[int, Worker] | None] = [None] * len(own)

    def start(self, slot: int) -> None:
        writer = next(self._ids)
        streams = [self._shared, self._own[slot]]
        large = LARGE_BATCHES if writer % 8 == 0 else 0
        worker = start(append_until_killed, str(self._path), writer, streams, large, slot == 0)
        self._running[slot] = writer, worker

    def start_missing(self) -> None:
        for slot, running in enumerate(self._running):
            if running is None:
                self.start(slot)

    def wait_for_acks(self, slot: int, count: int) -> None:
        running = self._running[slot]
        assert running is not None
        writer, worker = running
        for _ in range(count):
            self._ledger.note(writer, worker.receive())

    def kill(self, slot: int) -> None:
        running = self._running[slot]
        assert running is not None
        writer, worker = running
        worker.kill()
        for said in worker.remaining():
            self._ledger.note(writer, said)
        worker.close()
        self._running[slot] = None

    def drain(self) -> None:
        """Take the acks that are there, so that no writer waits for us."""
        for running in self._running:
            if running is not None:
                writer, worker = running
                while worker.pipe.poll():
                    self._ledger.note(writer, worker.pipe.recv())

    def kill_all(self) -> None:
        for slot, running in enumerate(self._running):
            if running is not None:
                self.kill(slot)


async def check_streams(path: Path, ledger: Ledger, streams: list[StreamId]) -> None:
    engine = await SqliteEngine.open(path, maintain=False)
    try:
        for stream in streams:
            tail = (await engine.state(stream)).tail
            while (cursor := ledger.tail_of(stream)) < tail:
                found = await engine.read_blocks(stream, cursor, max_records=10_000, max_bytes=2**23)
                assert found.blocks, f"nothing at {cursor}, though the tail is {tail}"
                for block in found.blocks:
                    ledger.check(stream, list(decode_records(block.body)))
    finally:
        await engine.aclose()


def integrity_of(path: Path) -> object:
    connection = apsw.Connection(str(path / "streams.db"))
    try:
        return connection.execute("PRAGMA integrity_check").get
    finally:
        connection.close()


async def prepared(path: Path) -> list[StreamId]:
    engine = await SqliteEngine.open(path)
    config = StreamConfig(retention_policy=InfiniteRetention())
    try:
        return [
            await make_stream(engine, name, config) for name in (SHARED, *(f"own-{slot}" for slot in range(WRITERS)))
        ]
    finally:
        await engine.aclose()


def kill_again_and_again(path: Path, kills: int, seed: int) -> Ledger:
    """Kill one writer after the other, now and then all at once, and check everything after those."""
    chance = random.Random(seed)
    ledger = Ledger()
    streams = asyncio.run(prepared(path))
    writers = Writers(path, ledger, streams[0], list(streams[1:]))
    try:
        for kill in range(kills):
            writers.start_missing()
            victim = chance.randrange(WRITERS)
            writers.wait_for_acks(victim, chance.choice((1, 3, 10, 40, 120)))
            writers.drain()
            if kill % 10 == 9:
                writers.kill_all()
                asyncio.run(check_streams(path, ledger, streams))
                ledger.settle()
            else:
                writers.kill(victim)
    finally:
        writers.kill_all()
    asyncio.run(check_streams(path, ledger, streams))
    ledger.settle()
    assert integrity_of(path) == "ok"
    return ledger


@pytest.mark.timeout(300)
def test_a_hundred_kills_lose_nothing_and_add_nothing(tmp_path: Path) -> None:
    ledger = kill_again_and_again(tmp_path / "data", kills=100, seed=1)
    assert len(ledger.acks) > 1000


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [2, 3])
def test_a_thousand_kills_lose_nothing_and_add_nothing(tmp_path: Path, seed: int) -> None:
    kill_again_and_again(tmp_path / "data", kills=1000, seed=seed)
