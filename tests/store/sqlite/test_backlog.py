"""What waits for the writer goes into groups in order and within bounds; what waits for a turn shares it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.model.batches import AppendInput
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.observer import CommitFacts
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.backlog import MAX_GROUP_BYTES, MAX_GROUP_ITEMS, Backlog
from perdure.store.sqlite.locks import FileLock
from perdure.store.sqlite.write_items import Append
from tests.store.making import batch, bodies_of, eventually, make_stream


@pytest.fixture
async def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class Putting:
    """A backlog, and everything that was put into it in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.backlog = Backlog()
        self.items: list[Append] = []

    def put(self, count: int, size: int = 1) -> None:
        what = AppendInput.of([AppendRecord(b"x" * size)])
        for _ in range(count):
            item = Append(StreamId(1), what, None, self._loop.create_future())
            self.items.append(item)
            self.backlog.put(item)


async def test_a_group_is_what_is_there(loop: asyncio.AbstractEventLoop) -> None:
    putting = Putting(loop)
    putting.put(3)
    assert putting.backlog.take() == putting.items
    assert putting.backlog.is_empty


async def test_who_comes_later_joins_the_group(loop: asyncio.AbstractEventLoop) -> None:
    putting = Putting(loop)
    putting.put(2)
    items = putting.backlog.take()
    putting.put(2)
    putting.backlog.add_to(items)
    assert items == putting.items
    putting.backlog.add_to(items)
    assert items == putting.items, "nobody came, so nothing is waited for"


async def test_the_bounds_are_those_of_the_whole_group(loop: asyncio.AbstractEventLoop) -> None:
    putting = Putting(loop)
    putting.put(MAX_GROUP_ITEMS - 1)
    items = putting.backlog.take()
    putting.put(3)
    putting.backlog.add_to(items)
    assert len(items) == MAX_GROUP_ITEMS
    putting.backlog.add_to(items)
    assert len(items) == MAX_GROUP_ITEMS
    assert [*items, *putting.backlog.take()] == putting.items


async def test_the_bytes_of_both_parts_of_a_group_count(loop: asyncio.AbstractEventLoop) -> None:
    putting = Putting(loop)
    part = MAX_GROUP_BYTES // 16
    putting.put(8, part)
    items = putting.backlog.take()
    putting.put(16, part)
    putting.backlog.add_to(items)
    assert sum(item.batch.metered_bytes for item in items if isinstance(item, Append)) - part < MAX_GROUP_BYTES
    assert [*items, *putting.backlog.take()] == putting.items


async def test_the_stop_comes_behind_everything(loop: asyncio.AbstractEventLoop) -> None:
    putting = Putting(loop)
    putting.put(1)
    items = putting.backlog.take()
    putting.put(1)
    putting.backlog.stop()
    assert not putting.backlog.stopped
    putting.backlog.add_to(items)
    assert putting.backlog.stopped
    putting.backlog.add_to(items)
    assert items == putting.items


async def test_draining_leaves_the_stop(loop: asyncio.AbstractEventLoop) -> None:
    putting = Putting(loop)
    putting.put(MAX_GROUP_ITEMS + 1)
    putting.backlog.stop()
    assert putting.backlog.drain() == putting.items
    assert not putting.backlog.stopped
    assert putting.backlog.take() == []
    assert putting.backlog.stopped


class Commits:
    """How many batches each commit had."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def committed(self, commit: CommitFacts) -> None:
        self.batches.append(commit.batches)

    def commit_failed(self) -> None:
        raise AssertionError("a commit failed")

    def followers_changed(self, followers: int) -> None: ...


@pytest.fixture
async def commits() -> Commits:
    return Commits()


@pytest.fixture
async def engine(tmp_path: Path, commits: Commits) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path, maintain=False, observer=commits)
    yield engine
    await engine.aclose()


async def test_what_comes_while_another_process_has_its_turn_is_one_commit(
    tmp_path: Path, engine: SqliteEngine, commits: Commits
) -> None:
    stream = await make_stream(engine)
    commits.batches.clear()
    gate, turn = FileLock(tmp_path / "gate.lock"), FileLock(tmp_path / "turn.lock")
    try:
        turn.acquire()
        first = engine.append(stream, batch("a"))
        await eventually(lambda: held(gate))
        others = [engine.append(stream, batch(body)) for body in ("b", "c")]
        await asyncio.sleep(0)  # the engine hands over to its thread once a step of the loop
        turn.release()
        await asyncio.gather(first, *others)
    finally:
        gate.close()
        turn.close()
    assert commits.batches == [3]
    assert await bodies_of(engine, stream) == ["a", "b", "c"]


async def held(lock: FileLock) -> bool:
    """Whether another has the lock."""
    if lock.try_acquire():
        lock.release()
        return False
    return True
