"""What an observer of the store is told: every commit before its answers, every failure, every follower."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure.errors import SeqNumMismatch, StorageFailed
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.store.observer import CommitFacts
from perdure.store.read_session import ReadSession
from perdure.store.sqlite import SqliteEngine
from tests.store.making import batch, make_stream
from tests.store.sqlite.faulty_disk import faulty_disk


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.commits: list[CommitFacts] = []
        self.failures = 0
        self.followers: list[int] = []

    def committed(self, commit: CommitFacts) -> None:
        self.commits.append(commit)

    def commit_failed(self) -> None:
        self.failures += 1

    def followers_changed(self, followers: int) -> None:
        self.followers.append(followers)


@asynccontextmanager
async def observed(path: Path, notes: Notes, *, vfs: str | None = None) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(path, maintain=False, observer=notes, vfs=vfs)
    try:
        yield engine
    finally:
        await engine.aclose()


async def test_a_commit_is_told_before_its_answer(tmp_path: Path) -> None:
    notes = Notes()
    async with observed(tmp_path, notes) as engine:
        stream = await make_stream(engine)
        notes.commits.clear()
        one, other = batch("a", "b"), batch("c")
        await engine.append(stream, one)
        assert [(c.batches, c.records, c.metered_bytes) for c in notes.commits] == [(1, 2, one.metered_bytes)]
        await engine.append(stream, other)
        assert [(c.batches, c.records, c.metered_bytes) for c in notes.commits[1:]] == [(1, 1, other.metered_bytes)]
        assert all(commit.seconds > 0 for commit in notes.commits)


async def test_groups_are_told_whole(tmp_path: Path) -> None:
    notes = Notes()
    async with observed(tmp_path, notes) as engine:
        stream = await make_stream(engine)
        await asyncio.gather(*(engine.append(stream, batch("x")) for _ in range(200)))
        assert sum(commit.batches for commit in notes.commits) == 200
        assert sum(commit.records for commit in notes.commits) == 200
        assert notes.failures == 0


async def test_a_commit_without_appends_has_none(tmp_path: Path) -> None:
    notes = Notes()
    async with observed(tmp_path, notes) as engine:
        stream = await make_stream(engine)
        with pytest.raises(SeqNumMismatch):
            await engine.append(stream, batch("x", match=7))
        assert [commit.batches for commit in notes.commits] == [0] * len(notes.commits)
        assert len(notes.commits) >= 2


async def test_a_group_that_fails_is_told(tmp_path: Path) -> None:
    notes = Notes()
    with faulty_disk() as disk:
        async with observed(tmp_path, notes, vfs=disk.name) as engine:
            stream = await make_stream(engine)
            before = len(notes.commits)
            disk.fail_syncs = "-wal"
            with pytest.raises(StorageFailed):
                await engine.append(stream, batch("x"))
            assert (len(notes.commits), notes.failures) == (before, 1)


async def test_followers_are_told_as_they_come_and_go(tmp_path: Path) -> None:
    notes = Notes()
    async with observed(tmp_path, notes) as engine:
        stream = await make_stream(engine)
        follows = ReadRequest.of(SeqNum(0))
        sessions = [await ReadSession.open(engine, stream, follows) for _ in range(2)]
        for session in [*sessions, *sessions]:  # closing twice is closing once
            session.close()
        assert notes.followers == [1, 2, 1, 0]
