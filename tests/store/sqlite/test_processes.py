"""Several processes on one directory: turns, what each knows of the others, following, sweeping."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from perdure.errors import FencingTokenMismatch, Invalid, StreamDeletionPending, StreamNotFound, Unavailable
from perdure.model.configs import StreamConfig, TimestampingConfig, TimestampingMode
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.engine import Lane
from perdure.store.read_session import ReadSession
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite import writer as writer_module
from perdure.store.sqlite.locks import FileLock
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, bodies_of, commands, configure, delete_stream, eventually, gone, make_stream
from tests.store.sqlite.processes import Worker, start, worker
from tests.store.sqlite.rows import block_starts
from tests.store.sqlite.workers import append_for, append_many, append_when_told, delete_when_told, hold_the_turn


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.aclose()


async def heard(process: Worker) -> object:
    return await asyncio.to_thread(process.receive)


class TestTurns:
    @pytest.mark.timeout(120)
    def test_four_writers_get_their_share(self, tmp_path: Path) -> None:
        """A quarter of the fair share is asserted, far below what is usual, so that a busy machine does not matter."""
        stream = asyncio.run(made(tmp_path))
        writers = [start(append_for, str(tmp_path), stream, 2.0, 100) for _ in range(4)]
        try:
            for each in writers:
                each.receive()
            for each in writers:
                each.send("go")
            latencies: list[list[float]] = [each.receive() for each in writers]
        finally:
            for each in writers:
                each.close()
        fair = sum(map(len, latencies)) / len(latencies)
        shares = [round(len(own) / fair, 2) for own in latencies]
        p99_ms = [round(sorted(own)[int(len(own) * 0.99)] * 1000, 1) for own in latencies]
        print(f"{fair:.0f} appends each on average, shares {shares}, p99 {p99_ms} ms")
        assert min(map(len, latencies)) >= fair / 4

    async def test_a_process_killed_in_its_turn_hands_it_on(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        with worker(hold_the_turn, engine.path) as holder:
            assert await heard(holder) == "inside"
            future = engine.append(stream, batch("x"))
            holder.kill()
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert (await future).start.seq_num == 0

    async def test_callers_are_told_when_a_stopped_process_keeps_the_turn(
        self, engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer_module, "TURN_SECONDS", 0.2)
        stream, lane = await make_stream(engine), Lane()
        # The watch that the lines above began has the usual length.
        other = await SqliteEngine.open(engine.path)
        try:
            with worker(hold_the_turn, engine.path) as holder:
                assert await heard(holder) == "inside"
                holder.signal(signal.SIGSTOP)
                futures = [other.append(stream, batch(str(n)), lane if n % 2 else None) for n in range(20)]
                async with asyncio.timeout(PATIENCE_SECONDS):
                    results = await asyncio.gather(*futures, return_exceptions=True)
                assert all(isinstance(result, Unavailable) for result in results)
                assert "may be stopped" in str(results[0])
                with pytest.raises(Unavailable):
                    await other.append(stream, batch("later"))
                assert await bodies_of(other, stream) == [], "reading needs no turn"
                holder.signal(signal.SIGCONT)
                holder.send("go on")
                assert holder.join() == 0
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert (await other.append(stream, batch("x"))).start.seq_num == 0, "what was refused is not written"
            with pytest.raises(Unavailable):
                await other.append(stream, batch("y"), lane)
        finally:
            await other.aclose()

    async def test_closing_does_not_wait_for_a_stopped_process_for_ever(
        self, engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer_module, "CLOSE_SECONDS", 0.2)
        stream = await make_stream(engine)
        other = await SqliteEngine.open(engine.path, maintain=False)
        with worker(hold_the_turn, engine.path) as holder:
            assert await heard(holder) == "inside"
            holder.signal(signal.SIGSTOP)
            future = other.append(stream, batch("x"))
            with pytest.raises(Unavailable, match="did not end"):
                await other.aclose()
            with pytest.raises(Unavailable, match="may be stopped"):
                await future
        ack = await engine.append(stream, batch("x"))
        assert ack.start.seq_num == 0


async def made(path: Path) -> StreamId:
    engine = await SqliteEngine.open(path)
    try:
        return await make_stream(engine)
    finally:
        await engine.aclose()


class TestWhatOthersDid:
    """The writer remembers the streams that it writes to, and must notice when that is out of date."""

    async def test_appends(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        with worker(append_when_told, engine.path) as other:
            await heard(other)
            for number in range(0, 40, 2):
                assert (await engine.append(stream, batch("mine"))).start.seq_num == number
                other.send((stream, ["theirs"]))
                assert await heard(other) == (number + 1, number + 2)
        assert await bodies_of(engine, stream) == ["mine", "theirs"] * 20

    async def test_fences_trims_configurations_and_deletions(self, engine: SqliteEngine) -> None:
        other = await SqliteEngine.open(engine.path)
        try:
            stream = await make_stream(engine)
            await engine.append(stream, batch("a", token=""))
            await other.append(stream, commands(AppendRecord.fence("theirs")))
            with pytest.raises(FencingTokenMismatch) as mismatch:
                await engine.append(stream, batch("b", token=""))
            assert mismatch.value.expected == "theirs"
            await other.append(stream, commands(AppendRecord.trim(2)))
            await engine.append(stream, commands(AppendRecord.trim(1)))
            assert (await engine.state(stream)).trim_point == 2
            required = StreamConfig(timestamping=TimestampingConfig(mode=TimestampingMode.CLIENT_REQUIRE))
            await configure(other, "s", required)
            with pytest.raises(Invalid, match="timestamp was required"):
                await engine.append(stream, batch("c"))
            await delete_stream(other)
            with pytest.raises((StreamDeletionPending, StreamNotFound)):
                await engine.append(stream, batch("d"))
            await gone(engine)
            again = await make_stream(other)
            assert (await engine.append(again, batch("e"))).start.seq_num == 0
        finally:
            await other.aclose()


class TestFollowing:
    COUNT = 600

    @pytest.mark.parametrize("bell", [True, False], ids=["bell", "poll"])
    async def test_everything_comes_once_and_in_order_under_load(self, engine: SqliteEngine, bell: bool) -> None:
        stream = await make_stream(engine)
        session = await ReadSession.open(engine, stream, ReadRequest.of(SeqNum(0)))
        others = [start(append_many, engine.path, stream, 10_000 * n, self.COUNT) for n in (1, 2)]
        try:
            for other in others:
                await heard(other)
            if not bell:
                await eventually(lambda: bells_are_gone(Path(engine.path)))
            for other in others:
                other.send("go")
            mine = [engine.append(stream, batch(str(n))) for n in range(self.COUNT)]
            bodies: list[int] = []
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(bodies) < 3 * self.COUNT:
                    delivery = await session.next()
                    assert delivery is not None
                    for record in delivery.decoded().records:
                        assert record.seq_num == len(bodies), "missing, doubled or out of order"
                        bodies.append(int(record.text))
            await asyncio.gather(*mine)
            for first in (0, 10_000, 20_000):
                assert [b for b in bodies if first <= b < first + 9_999] == list(range(first, first + self.COUNT))
        finally:
            session.close()
            for other in others:
                other.close()

    async def test_followers_that_come_and_go_miss_nothing(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        with worker(append_when_told, engine.path) as other:
            await heard(other)
            for number in range(60):
                session = await ReadSession.open(engine, stream, ReadRequest.of(SeqNum(number)))
                other.send((stream, [str(number)]))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while True:
                        delivery = await session.next()
                        assert delivery is not None
                        if not delivery.is_heartbeat:
                            break
                assert [r.text for r in delivery.decoded().records] == [str(number)]
                session.close()
                await heard(other)

    @pytest.mark.parametrize("bell", [True, False], ids=["bell", "poll"])
    async def test_a_deletion_ends_the_followers_of_other_processes(self, engine: SqliteEngine, bell: bool) -> None:
        """Also if the stream was purged before this process could look, as it is when it has to poll."""
        with worker(delete_when_told, engine.path) as other, engine.hub.follow(await make_stream(engine)):
            await heard(other)
            if not bell:
                await eventually(lambda: bells_are_gone(Path(engine.path)))
            for number in range(20):
                name = f"s{number}"
                stream = await make_stream(engine, name)
                await engine.append(stream, batch("x"))
                session = await ReadSession.open(engine, stream, ReadRequest.of(SeqNum(0)))
                other.send(name)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    with pytest.raises(Unavailable, match="deleted"):
                        await to_the_end(session)
                assert await heard(other) == "gone"

    async def test_the_bell_is_taken_in_when_nobody_follows(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)
        with engine.hub.follow(stream):
            await eventually(lambda: bell_is_out(Path(engine.path), True))
        with worker(append_for, engine.path, stream, 3.0, 10) as other:
            await heard(other)
            other.send("go")
            await eventually(lambda: bell_is_out(Path(engine.path), False))


async def to_the_end(session: ReadSession) -> None:
    while await session.next() is not None:
        pass


async def bells_are_gone(path: Path) -> bool:
    """Take away the bell that this process hung out, once it is there."""
    names = os.listdir(path / "bells")
    for name in names:
        os.unlink(path / "bells" / name)
    return bool(names)


async def bell_is_out(path: Path, out: bool) -> bool:
    return bool(os.listdir(path / "bells")) is out


class TestSweeping:
    async def test_one_process_sweeps_at_a_time(self, engine: SqliteEngine) -> None:
        path = Path(engine.path)
        badge = FileLock(path / "sweeper.lock")  # as another process that is just sweeping
        try:
            stream = await make_stream(engine)
            await eventually(lambda: acquired(badge))
            await engine.append(stream, batch("x"))
            await engine.append(stream, commands(AppendRecord.trim(1)))
            for _ in range(20):
                await engine.append(stream, batch("y"))
            assert block_starts(path, stream)[0] == 0, "swept without the badge"
            badge.release()
            await eventually(lambda: swept(path, stream, 1))
        finally:
            badge.close()

    async def test_the_process_that_trims_sweeps(self, engine: SqliteEngine) -> None:
        """No other one has to find out."""
        other = await SqliteEngine.open(engine.path)
        try:
            stream = await make_stream(engine)
            for number, trimming in enumerate((engine, other, engine, other)):
                await trimming.append(stream, commands(AppendRecord.trim(number)))
                await eventually(partial(swept, Path(engine.path), stream, number))
        finally:
            await other.aclose()

    async def test_a_process_that_only_looks_does_not_sweep(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path, maintain=False)
        try:
            stream = await make_stream(engine)
            for number in range(20):
                await engine.append(stream, commands(AppendRecord.trim(number)))
            assert block_starts(tmp_path, stream) == list(range(20))
        finally:
            await engine.aclose()


async def acquired(lock: FileLock) -> bool:
    return lock.try_acquire()


async def swept(path: Path, stream: StreamId, first: int) -> bool:
    return block_starts(path, stream)[0] == first
