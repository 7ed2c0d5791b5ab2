"""A writer is told of all that others change, of nothing else, and never of less because one was killed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.store.catalogue import StreamId
from perdure.store.sqlite import change_notes
from perdure.store.sqlite.change_notes import MAX_NOTES, ChangeNotes
from perdure.store.sqlite.locks import FileLock

if TYPE_CHECKING:
    from _typeshed import TraceFunction

WRITERS = 3


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def notes_in(path: Path, stack: ExitStack) -> ChangeNotes:
    """As one process has them."""
    file = FileLock(path / "turn.lock")
    stack.callback(file.close)
    notes = ChangeNotes(file)
    stack.callback(notes.close)
    return notes


def streams(first: int, count: int) -> set[StreamId]:
    return {StreamId(number) for number in range(first, first + count)}


def changed(notes: ChangeNotes, of: set[StreamId]) -> set[StreamId] | None:
    """Make a change; what the writer was told when it began."""
    told = notes.read()
    notes.note(of)
    return None if told is None else set(told)


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Change:
    """A change of these streams. The writer may be killed at a line of those that tell of it."""

    writer: int
    streams: set[StreamId]
    killed_at: int | None = None


def carry_out(change: Change, notes: ChangeNotes) -> tuple[bool, set[StreamId] | None]:
    """Make a change: whether it could be committed, and what the writer was told."""
    steps, told = 0, None

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        nonlocal steps
        if frame.f_code.co_filename != change_notes.__file__:
            return None
        if event == "line":
            if steps == change.killed_at:
                raise Killed
            steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = notes.read()
        told = None if found is None else set(found)
        notes.note(change.streams)
    except Killed:
        return False, told
    finally:
        sys.settrace(before)
    return True, told


@dataclass
class Since:
    """What others noted since a writer's last change, and what they may have noted before they were killed."""

    changed: list[set[StreamId]] = field(default_factory=list)
    perhaps: list[set[StreamId]] = field(default_factory=list)
    is_new: bool = False

    def check(self, told: set[StreamId] | None) -> None:
        possible = [*self.changed, *self.perhaps]
        if told is None:
            assert self.is_new or sum(map(len, possible)) > MAX_NOTES, "forgotten without a reason"
        else:
            assert not self.is_new, "a new process knows of nothing"
            assert not set[StreamId]().union(*self.changed) - told, "a change was overlooked"
            assert not told - set[StreamId]().union(*possible), "told of too much"


changes = st.builds(
    Change,
    st.integers(0, WRITERS - 1),
    st.builds(
        streams, st.integers(0, 2 * MAX_NOTES), st.one_of(st.integers(0, 30), st.sampled_from([2000, 4095, 4096, 4097]))
    ),
    st.one_of(st.none(), st.none(), st.integers(0, 60)),
)


@settings(max_examples=100, deadline=None)
@given(history=st.lists(changes, max_size=12))
def test_a_writer_is_told_what_the_others_changed(
    history: list[Change], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("notes")
    with ExitStack() as stack:
        writers = [notes_in(path, stack) for _ in range(WRITERS)]
        since = [Since(is_new=True) for _ in range(WRITERS)]
        for change in history:
            committed, told = carry_out(change, writers[change.writer])
            if committed:
                since[change.writer].check(told)
            for each in since:
                (each.changed if committed else each.perhaps).append(change.streams)
            since[change.writer] = Since(is_new=not committed)
            if not committed:
                writers[change.writer] = notes_in(path, stack)  # another process


def test_who_comes_newly_knows_of_nothing(tmp_path: Path, stack: ExitStack) -> None:
    assert changed(notes_in(tmp_path, stack), streams(1, 1)) is None
    assert changed(notes_in(tmp_path, stack), streams(1, 1)) is None


def test_who_is_far_behind_is_told_all_though_one_is_killed_while_it_overwrites_old_notes(
    tmp_path: Path, stack: ExitStack
) -> None:
    one, other = notes_in(tmp_path, stack), notes_in(tmp_path, stack)
    for line in itertools.count():
        changed(one, set())
        changed(other, streams(1, MAX_NOTES))
        committed, _ = carry_out(Change(2, streams(MAX_NOTES + 1, 30), line), notes_in(tmp_path, stack))
        if committed:
            break
        assert one.read() in (streams(1, MAX_NOTES), None)
    assert line > 5, "it was killed before it did anything"
    assert one.read() is None


def test_a_change_that_concerns_nothing_is_no_change(tmp_path: Path, stack: ExitStack) -> None:
    one, other = notes_in(tmp_path, stack), notes_in(tmp_path, stack)
    changed(one, streams(1, 1))
    changed(other, set())
    assert changed(one, set()) == set()


def test_the_memory_does_not_hold_the_lock(tmp_path: Path, stack: ExitStack) -> None:
    turn = FileLock(tmp_path / "turn.lock")
    notes = ChangeNotes(turn)
    stack.callback(notes.close)
    assert turn.try_acquire()
    turn.close()
    other = FileLock(tmp_path / "turn.lock")
    stack.callback(other.close)
    assert other.try_acquire()
