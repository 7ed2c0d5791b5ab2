"""Backups while processes append, trim and sweep: everything acknowledged before is there, whole and in order."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from perdure.model.records import is_command
from perdure.store.catalogue import StreamId
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.backup import create_backup
from perdure.store.sqlite.manifest import Manifest
from perdure.store.sqlite.restore import restore_backup
from tests.store.making import make_stream, records_of
from tests.store.sqlite.backup_workers import KEPT_BATCHES, TRIM_EVERY, append_and_trim_until_killed
from tests.store.sqlite.backups import KEPT, segments_in
from tests.store.sqlite.processes import PATIENCE_SECONDS, Worker, start
from tests.store.sqlite.submitted import origin_of
from tests.store.sqlite.workers import append_until_killed

LARGE_BATCHES = 64


class Batch(NamedTuple):
    """One of a writer's batches in a stream."""

    stream: int
    writer: int
    number: int


class Load:
    """Three processes: one appends batches of 1 MiB, trims and sweeps; one appends large batches; one small ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trimmed, self.shared, self.own = asyncio.run(self._streams())
        self.acks: dict[Batch, int] = {}
        """Where each acknowledged batch begins."""
        self._workers: dict[int, Worker] = {
            0: start(append_and_trim_until_killed, str(path), 0, self.trimmed),
            1: start(append_until_killed, str(path), 1, [self.shared], LARGE_BATCHES, False),
            2: start(append_until_killed, str(path), 2, [self.shared, self.own], 0, False),
        }

    async def _streams(self) -> tuple[StreamId, StreamId, StreamId]:
        engine = await SqliteEngine.open(self.path)
        try:
            trimmed, shared, own = [await make_stream(engine, name, KEPT) for name in ("trimmed", "shared", "own")]
            return trimmed, shared, own
        finally:
            await engine.aclose()

    def pid(self, writer: int) -> int:
        return self._workers[writer].pid

    def acknowledged(self, writer: int) -> int:
        return sum(batch.writer == writer for batch in self.acks)

    def drain(self) -> None:
        """Take the acks that come within a moment, so that no writer waits for us."""
        pipes = {worker.pipe: writer for writer, worker in self._workers.items()}
        ready = connection.wait(list(pipes), PATIENCE_SECONDS)
        assert ready, f"nobody was told anything for {PATIENCE_SECONDS:.0f} s"
        for pipe, writer in pipes.items():
            while pipe.poll():
                stream, number, begin, _ = pipe.recv()
                self.acks[Batch(stream, writer, number)] = begin

    def drain_until_acknowledged(self, writer: int, count: int) -> None:
        while self.acknowledged(writer) < count:
            self.drain()

    def kill(self, writer: int) -> None:
        worker = self._workers.pop(writer)
        worker.kill()
        worker.close()

    def close(self) -> None:
        for writer in tuple(self._workers):
            self.kill(writer)


@contextmanager
def load(path: Path) -> Iterator[Load]:
    running = Load(path)
    try:
        yield running
    finally:
        running.close()


def back_up_under(running: Load, target: Path, *, victim: int | None = None) -> dict[Batch, int]:
    """Make a backup while the load goes on; gives what had been acknowledged when it began."""
    running.drain()
    before = dict(running.acks)
    with ThreadPoolExecutor(1) as pool:
        backup: Future[Manifest] = pool.submit(create_backup, running.path, target)
        if victim is not None:
            running.kill(victim)
        while not backup.done():
            running.drain()
        manifest = backup.result()
    print(
        f"backup of {manifest.total_bytes >> 20} MiB while {len(running.acks) - len(before)} batches were acknowledged"
    )
    return before


async def check(path: Path, acknowledged: dict[Batch, int], streams: list[StreamId]) -> None:
    """Each stream is whole from its trim point to its tail, and holds what was acknowledged where it was said."""
    engine = await SqliteEngine.open(path, maintain=False)
    try:
        for stream in streams:
            state = await engine.state(stream)
            records = await records_of(engine, stream)
            assert [record.seq_num for record in records] == list(range(state.trim_point, state.tail)), "a gap"
            found: dict[Batch, int] = {}
            for record in records:
                if not is_command(record.headers):
                    origin = origin_of(record.body)
                    found.setdefault(Batch(stream, origin.writer, origin.number), record.seq_num - origin.part)
            for batch, begin in acknowledged.items():
                assert batch.stream != stream or begin < state.trim_point or found.get(batch) == begin, batch
            numbers: dict[int, int] = {}
            for batch in found:
                assert batch.number == numbers.get(batch.writer, batch.number - 1) + 1, "a batch is lost or out of turn"
                numbers[batch.writer] = batch.number
    finally:
        await engine.aclose()


def check_database(path: Path) -> None:
    connection = apsw.Connection(str(path / "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        named = {str(name) for (name,) in connection.execute("SELECT DISTINCT segment FROM block") if name is not None}
    finally:
        connection.close()
    assert named == set(segments_in(path))


def restore_and_check(running: Load, backup: Path, acknowledged: dict[Batch, int]) -> None:
    restored = backup.with_name(f"{backup.name}-restored")
    restore_backup(backup, restored)
    check_database(restored)
    asyncio.run(check(restored, acknowledged, [running.trimmed, running.shared, running.own]))
    shutil.rmtree(backup)
    shutil.rmtree(restored)


@pytest.mark.timeout(180)
def test_what_was_acknowledged_before_is_in_the_backup(tmp_path: Path) -> None:
    with load(tmp_path / "data") as running:
        running.drain_until_acknowledged(0, 1)
        first = next(name for name in segments_in(tmp_path / "data") if name.startswith(f"{running.pid(0)}-"))
        running.drain_until_acknowledged(0, KEPT_BATCHES + 2 * TRIM_EVERY)
        backups = [tmp_path / f"backup-{number}" for number in range(3)]
        acknowledged = [back_up_under(running, backup) for backup in backups]
        while first in segments_in(tmp_path / "data"):
            running.drain()  # the sweeper is at work
        running.close()
        for backup, before in zip(backups, acknowledged, strict=True):
            restore_and_check(running, backup, before)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_backups(tmp_path: Path) -> None:
    """Each after a random time of load, some with a writer that is killed meanwhile."""
    chance = random.Random(1)
    for round_number in range(200):
        path = tmp_path / str(round_number)
        with load(path / "data") as running:
            running.drain_until_acknowledged(0, chance.randrange(1, 3 * KEPT_BATCHES))
            before = back_up_under(running, path / "backup", victim=chance.choice([None, 0, 1, 2]))
            running.close()
            restore_and_check(running, path / "backup", before)
        shutil.rmtree(path)
