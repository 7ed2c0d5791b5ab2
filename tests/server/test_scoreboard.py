"""Counts of several processes in one memory: they add up, and survive whoever counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.server.scoreboard import AREA_CELLS, FIRST_COUNTER, FIRST_GAUGE, Place, Scoreboard, Scorekeeper

GAUGE, COUNTER, LAST = FIRST_GAUGE, FIRST_COUNTER, AREA_CELLS - 1


@contextmanager
def keeper(areas: int) -> Iterator[Scorekeeper]:
    made = Scorekeeper(areas)
    try:
        yield made
    finally:
        made.close()


def board(found: Place | None) -> Scoreboard:
    assert found is not None
    return Scoreboard.attach(found)


def test_the_counts_of_all_add_up_whoever_is_asked() -> None:
    with keeper(3) as keeping:
        boards = [board(keeping.reserve(number, 1000 + number)) for number in (1, 2, 3)]
        for number, each in enumerate(boards, 1):
            each.cells[GAUGE] = number
            each.cells[COUNTER] += 10 * number
            each.cells[LAST] += 0.5
        for each in boards:
            found = each.snapshot()
            assert (found.cells[GAUGE], found.cells[COUNTER], found.cells[LAST]) == (6, 60, 1.5)
            assert found.pids == {1: 1001, 2: 1002, 3: 1003}


def test_of_who_has_ended_the_counters_stay() -> None:
    with keeper(2) as keeping:
        one, other = (board(keeping.reserve(number, 1000 + number)) for number in (1, 2))
        for each in (one, other):
            each.cells[GAUGE] = 5
            each.cells[COUNTER] = 7
        keeping.release(1001)
        keeping.release(1001)
        found = other.snapshot()
        assert (found.cells[GAUGE], found.cells[COUNTER]) == (5, 14)
        assert found.pids == {2: 1002}


def test_an_area_is_given_out_again_and_is_empty() -> None:
    with keeper(1) as keeping:
        for pid in range(1000, 1010):
            here = board(keeping.reserve(1, pid))
            assert keeping.reserve(2, 2000) is None
            assert (here.cells[GAUGE], here.cells[COUNTER]) == (0, 0)
            here.cells[GAUGE] = here.cells[COUNTER] = 1
            assert here.snapshot().cells[COUNTER] == pid - 999
            keeping.release(pid)


def test_a_process_id_that_comes_back_is_another_process() -> None:
    with keeper(1) as keeping:
        board(keeping.reserve(1, 1000)).cells[COUNTER] = 3
        again = board(keeping.reserve(1, 1000))
        assert again.cells[COUNTER] == 0
        assert again.snapshot().cells[COUNTER] == 3


def test_of_two_with_one_number_the_later_is_told() -> None:
    with keeper(3) as keeping:
        here = board(keeping.reserve(1, 2000))
        keeping.reserve(2, 1999)
        keeping.reserve(1, 1000)
        assert here.snapshot().pids == {1: 1000, 2: 1999}
        keeping.release(1000)
        assert here.snapshot().pids == {1: 2000, 2: 1999}


def test_the_file_has_no_name_and_outlives_its_maker() -> None:
    keeping = Scorekeeper(1)
    here = board(keeping.reserve(1, 1000))
    assert os.fstat(keeping.descriptor).st_nlink == 0
    keeping.close()
    keeping.close()
    here.cells[COUNTER] = 1
    assert here.snapshot().cells[COUNTER] == 1


def test_where_the_system_has_no_memory_files_another_one_without_a_name_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    test_the_file_has_no_name_and_outlives_its_maker()


def test_a_private_one_is_of_this_process() -> None:
    here = Scoreboard.private()
    here.cells[COUNTER] = 2
    assert here.snapshot().cells[COUNTER] == 2
    assert here.snapshot().pids == {1: os.getpid()}


def test_nothing_is_counted_twice_or_missed_while_it_is_moved() -> None:
    with keeper(2) as keeping:
        watching = board(keeping.reserve(1, 1))
        counting = board(keeping.reserve(2, 2))
        counting.cells[LAST] = counting.cells[COUNTER] = 100
        over = threading.Event()

        def move() -> None:
            for _ in range(300):
                keeping.release(2)
                keeping.reserve(2, 2)
            over.set()

        moving = threading.Thread(target=move)
        moving.start()
        try:
            while not over.is_set():
                found = watching.snapshot()
                assert (found.cells[COUNTER], found.cells[LAST]) == (100, 100)
        finally:
            moving.join()


@settings(deadline=None)  # each example makes and fills shared memory
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from(("count", "gauge", "end")), st.integers(1, 9)), max_size=40
    )
)
def test_a_counter_never_goes_back(steps: list[tuple[int, str, int]]) -> None:
    with keeper(3) as keeping:
        boards = {number: board(keeping.reserve(number, number)) for number in (1, 2, 3)}
        gauges = dict.fromkeys(boards, 0)
        counted = 0
        for number, what, value in steps:
            if what == "count":
                boards[number].cells[COUNTER] += value
                counted += value
            elif what == "gauge":
                boards[number].cells[GAUGE] = gauges[number] = value
            else:
                keeping.release(number)
                boards[number] = board(keeping.reserve(number, number))
                gauges[number] = 0
            found = boards[1].snapshot()
            assert (found.cells[COUNTER], found.cells[GAUGE]) == (counted, sum(gauges.values()))
