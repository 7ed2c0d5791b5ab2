"""Which CPU a worker stays on; where threads are moved, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.server.home_cpu import MOVE_MARGIN, CpuTimes, next_home
from tests.patience import PROCESS_SECONDS
from tests.serve_command import ServeCommand

TICKS = 100
BEFORE = CpuTimes({}, {}, 0)

several_cpus = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs to choose from"
)

_THREADS = """
import os, threading
from perdure.server.home_cpu import HomeCpu

def started():
    thread = threading.Thread(target=stop.wait)
    thread.start()
    return thread.native_id

stop = threading.Event()
everywhere = os.sched_getaffinity(0)
early = started()
home = HomeCpu.settle({preferred})
late = started()
where = [os.sched_getaffinity(thread) for thread in (0, early, late)]
assert where == [{{home.home}}, everywhere, {{home.home}}], where
print(sorted(everywhere).index(home.home))
home.look()
home.look()
other = next(cpu for cpu in everywhere if cpu != home.home)
home.move(other)
where = [os.sched_getaffinity(thread) for thread in (0, early, late)]
assert where == [{{other}}, everywhere, {{other}}], where
stop.set()
"""


def look(busy: list[int], ours: int) -> CpuTimes:
    return CpuTimes(dict.fromkeys(range(len(busy)), TICKS), dict(enumerate(busy)), ours)


def home_after(busy: list[int], *, home: int = 0, ours: int = 0, allowed: frozenset[int] | None = None) -> int:
    return next_home(home, frozenset(range(len(busy))) if allowed is None else allowed, BEFORE, look(busy, ours))


def test_who_has_a_cpu_to_himself_stays_however_busy_he_is() -> None:
    assert home_after([100, 0], ours=100) == 0


def test_who_shares_a_cpu_moves_to_the_one_that_is_least_busy() -> None:
    assert home_after([100, 60, 10, 40], ours=50) == 2


def test_a_small_difference_is_not_worth_a_move() -> None:
    assert home_after([100, 30], ours=50) == 0


def test_nobody_moves_to_a_cpu_that_the_process_may_not_use() -> None:
    assert home_after([100, 60, 0], allowed=frozenset({0, 1})) == 1
    assert home_after([100, 0], allowed=frozenset({0})) == 0


def test_a_cpu_that_is_gone_is_no_reason_to_move() -> None:
    assert next_home(5, frozenset({5, 6}), BEFORE, look([0, 0], 0)) == 5


@given(st.lists(st.integers(0, TICKS), min_size=1, max_size=8), st.data())
def test_a_move_is_for_the_better_and_is_the_last(busy: list[int], data: st.DataObject) -> None:
    home, ours = data.draw(st.integers(0, len(busy) - 1)), data.draw(st.integers(0, TICKS))
    moved = home_after(busy, home=home, ours=ours)
    if moved == home:
        return
    assert busy[home] - ours - busy[moved] >= MOVE_MARGIN * TICKS - 1e-9
    busy[home] -= ours
    busy[moved] += ours
    assert home_after(busy, home=moved, ours=ours) == moved


@several_cpus
@pytest.mark.parametrize("preferred", [0, 1, len(os.sched_getaffinity(0)) + 1])
def test_threads_that_start_later_stay_together_and_earlier_ones_are_free(preferred: int) -> None:
    code = _THREADS.format(preferred=preferred)
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PROCESS_SECONDS
    ).stdout
    assert int(found) == preferred % len(os.sched_getaffinity(0))


@several_cpus
def test_a_single_cpu_leaves_no_choice() -> None:
    code = (
        "import os; from perdure.server.home_cpu import HomeCpu; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(HomeCpu.settle(1))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PROCESS_SECONDS
    ).stdout
    assert found == "None\n"


def affinities(pid: int) -> list[set[int]]:
    return [os.sched_getaffinity(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")]


@several_cpus
async def test_pinned_workers_serve_on_one_cpu(tmp_path: Path) -> None:
    everywhere = os.sched_getaffinity(0)
    async with ServeCommand(tmp_path / "data", "--pin-workers", "--workers", "2") as server, server.client() as client:
        assert (await client.get("/health")).status_code == 200
        first, second = server.worker_pids()
        for worker in (first, second):
            assert len(os.sched_getaffinity(worker)) == 1
            found = affinities(worker)
            assert everywhere in found, "the threads of the store are free"
            assert [len(cpus) for cpus in found].count(1) > 1, "the threads of the HTTP server are not"
        assert affinities(server.process.pid) == [everywhere] * len(affinities(server.process.pid))


@several_cpus
async def test_workers_may_be_anywhere_unless_told(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server:
        (worker,) = server.worker_pids()
        assert all(cpus == os.sched_getaffinity(0) for cpus in affinities(worker))
