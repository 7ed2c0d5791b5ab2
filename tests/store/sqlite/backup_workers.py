"""What other processes do in tests of backups. Each function is the whole life of a process."""

import asyncio
import itertools
from multiprocessing.connection import Connection

from perdure.model.batches import AppendInput
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.backup import create_backup
from perdure.store.sqlite.restore import restore_backup
from tests.store.sqlite.submitted import full_batch

KEPT_BATCHES = 48
TRIM_EVERY = 16


def append_and_trim_until_killed(pipe: Connection, path: str, writer: int, stream: int) -> None:
    """Append batches of 1 MiB, telling of each ack: stream, number, range; trim all but the newest again and again.

    This process sweeps, so segments are deleted all the time.
    """

    async def life() -> None:
        engine = await SqliteEngine.open(path)
        for number in itertools.count():
            ack = await engine.append(StreamId(stream), full_batch(writer, number))
            pipe.send((stream, number, ack.start.seq_num, ack.end.seq_num))
            if number % TRIM_EVERY == TRIM_EVERY - 1:
                point = max(0, ack.end.seq_num - KEPT_BATCHES)
                await engine.append(StreamId(stream), AppendInput.of([AppendRecord.trim(point)]))

    asyncio.run(life())


def back_up(pipe: Connection, path: str, target: str) -> None:
    """Make a backup; tell of each step, and go on when told."""
    create_backup(path, target, progress=lambda done, total: _step(pipe, done, total))
    pipe.send("complete")


def restore(pipe: Connection, backup: str, path: str) -> None:
    """Restore a backup; tell of each step, and go on when told."""
    restore_backup(backup, path, progress=lambda done, total: _step(pipe, done, total))
    pipe.send("complete")


def _step(pipe: Connection, done: int, total: int) -> None:
    pipe.send((done, total))
    pipe.recv()
