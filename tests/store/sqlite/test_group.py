"""What one group writes where, group by group: without the writer, which takes as much into one as happens to wait."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from perdure.model.batches import AppendInput
from perdure.store.catalogue import StreamId
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.files import OpenFiles
from perdure.store.sqlite.group import Group, StateCache
from tests.store.making import make_stream
from tests.store.sqlite.submitted import full_batch, medium_batch, row_batch, small_batch


class Groups:
    """One store, of which a test makes the groups itself."""

    def __init__(self, path: Path) -> None:
        self.streams = asyncio.run(self._made(path))
        self.files = OpenFiles(path, vfs=None)

    @staticmethod
    async def _made(path: Path) -> list[StreamId]:
        engine = await SqliteEngine.open(path)
        try:
            return [await make_stream(engine, name) for name in ("s", "other")]
        finally:
            await engine.aclose()

    def begin(self) -> Group:
        self.files.connection.execute("BEGIN IMMEDIATE")
        return Group(self.files.connection, StateCache(), self.files.segment_writer)

    def append(self, group: Group, *batches: AppendInput) -> None:
        """To the streams in turn."""
        for number, batch in enumerate(batches):
            group.append(self.streams[number % len(self.streams)], batch, NOW_MS)

    def commit(self, group: Group) -> None:
        group.flush()
        group.sync()
        self.files.connection.execute("COMMIT")
        self.files.segment_writer.keep()
        assert group.logged_bytes == self._in_rows(group)

    def _in_rows(self, group: Group) -> int:
        """The bytes of bodies that the group left in rows."""
        query = "SELECT ifnull(sum(length(body)), 0) FROM block WHERE commit_id >= ?"
        return int(str(self.files.connection.execute(query, (group.first_commit_id,)).get))

    def where(self) -> str:
        """A letter for each block in the order of commits: whether it is in a `r`ow or a `s`egment."""
        query = "SELECT CASE WHEN body IS NULL THEN 's' ELSE 'r' END FROM block ORDER BY commit_id"
        return "".join(str(letter) for (letter,) in self.files.connection.execute(query))

    def check_bodies(self, group: Group) -> None:
        """Every block of the group is what was appended, wherever it is."""
        query = "SELECT CASE WHEN segment IS NULL THEN body ELSE segment_body(segment, place, length) END FROM block "
        for stream_id, block in group.blocks:
            where = "WHERE stream_id = ? AND start_seq = ?"
            body = cast(bytes, self.files.connection.execute(query + where, (stream_id, block.start_seq)).get)
            assert body == block.body


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Groups]:
    groups = Groups(tmp_path)
    yield groups
    groups.files.close()


NOW_MS = 1_700_000_000_000
SMALL, ROW, MEDIUM, FULL = small_batch(0, 0), row_batch(0, 0), medium_batch(0, 0), full_batch(0, 0)


@pytest.mark.parametrize(
    ("batches", "where"),
    [
        ([SMALL, MEDIUM, ROW, SMALL], "rrrr"),
        ([SMALL, MEDIUM, ROW, MEDIUM, SMALL, MEDIUM], "rsrsrs"),
        ([ROW] * 8, "rrrrrrrr"),
        ([MEDIUM, FULL, SMALL], "ssr"),
        ([FULL, SMALL, MEDIUM], "srs"),
    ],
    ids=["too few", "enough", "never by themselves", "before a large one", "behind a large one"],
)
def test_medium_blocks_go_to_a_segment_if_there_are_enough_in_the_group(
    groups: Groups, batches: list[AppendInput], where: str
) -> None:
    for _ in range(2):  # what one group did is nothing to the next
        group = groups.begin()
        groups.append(group, *batches)
        groups.commit(group)
        groups.check_bodies(group)
    assert groups.where() == 2 * where


def test_blocks_that_were_written_before_a_job_are_left_where_they_are(groups: Groups) -> None:
    group = groups.begin()
    groups.append(group, MEDIUM)
    group.mark()
    groups.append(group, SMALL, MEDIUM)
    groups.commit(group)
    groups.check_bodies(group)
    assert groups.where() == "rrr"


def test_blocks_of_a_job_that_was_undone_do_not_count(groups: Groups) -> None:
    group = groups.begin()
    mark = group.mark()
    groups.append(group, MEDIUM)
    group.undo_to(mark)
    groups.append(group, SMALL, MEDIUM)
    groups.commit(group)
    groups.check_bodies(group)
    assert groups.where() == "rr"


def test_one_insert_alone_puts_them_there_too(groups: Groups) -> None:
    """The usual case: all that is in the group is one statement, and that is its transaction."""
    first = groups.begin()
    groups.append(first, SMALL, SMALL)  # the first of a stream tell the sweeper, which takes another statement
    groups.commit(first)
    group = Group(groups.files.connection, StateCache(), groups.files.segment_writer)
    groups.append(group, MEDIUM, SMALL, MEDIUM)
    assert group.is_one_insert
    group.sync()
    group.insert_alone()
    groups.files.segment_writer.keep()
    groups.check_bodies(group)
    assert groups.where() == "rr" + "srs"
    assert group.logged_bytes == len(group.blocks[1][1].body)
