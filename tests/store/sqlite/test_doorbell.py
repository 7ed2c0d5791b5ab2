"""Bells: a ring reaches everybody who listens, and trouble with one concerns nobody else."""

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from perdure.store.sqlite.doorbell import Bell, BellDirectory, Ringer


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[BellDirectory]:
    directory = BellDirectory(tmp_path / "bells")
    yield directory
    directory.close()


@pytest.fixture
def ringer(directory: BellDirectory) -> Iterator[Ringer]:
    ringer = Ringer(directory)
    yield ringer
    ringer.close()


@pytest.fixture
def bell(directory: BellDirectory) -> Iterator[Bell]:
    bell = Bell(directory)
    yield bell
    bell.close()


def test_a_ring_is_heard_once(ringer: Ringer, bell: Bell) -> None:
    bell.hang_out()
    ringer.ring()
    assert bell.wait(5)
    assert not bell.wait(0)


def test_many_rings_are_one_and_never_block(ringer: Ringer, bell: Bell) -> None:
    bell.hang_out()
    for _ in range(10_000):
        ringer.ring()
    assert bell.wait(5)
    assert not bell.wait(0)


def test_a_process_does_not_ring_its_own(ringer: Ringer, bell: Bell) -> None:
    bell.hang_out()
    ringer.own = bell.name
    ringer.ring()
    assert not bell.wait(0)


def test_a_poke_wakes_whether_it_hangs_out_or_not(bell: Bell) -> None:
    for _ in range(100_000):
        bell.poke()
    assert bell.wait(5)
    bell.hang_out()
    bell.poke()
    assert bell.wait(5)


def test_a_bell_that_is_hung_out_in_the_same_tick_of_the_file_system_is_rung(
    tmp_path: Path, directory: BellDirectory, ringer: Ringer, bell: Bell
) -> None:
    """The directory's time does not tell that the bell came after the listing."""
    with ExitStack() as closing:
        first = Bell(directory)
        closing.callback(first.close)
        first.hang_out()
        ringer.ring()
        listed = os.stat(tmp_path / "bells").st_mtime_ns
        bell.hang_out()
        os.utime(tmp_path / "bells", ns=(listed, listed))
        ringer.ring()
        assert bell.wait(5)


def test_a_bell_that_was_taken_in_is_gone(tmp_path: Path, ringer: Ringer, bell: Bell) -> None:
    bell.hang_out()
    ringer.ring()
    bell.take_in()
    assert os.listdir(tmp_path / "bells") == []
    ringer.ring()
    bell.hang_out()
    ringer.ring()
    assert bell.wait(5)


def test_a_process_with_thousands_of_connections_hears_too(directory: BellDirectory, ringer: Ringer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2048
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("not enough descriptors allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with ExitStack() as closing:
        closing.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while (fd := os.open(os.devnull, os.O_RDONLY)) < 1100:
            closing.callback(os.close, fd)
        closing.callback(os.close, fd)
        bell = Bell(directory)
        closing.callback(bell.close)
        bell.hang_out()
        ringer.ring()
        assert bell.wait(5)


def test_where_no_bell_can_be_hung_out_waiting_still_ends(tmp_path: Path, ringer: Ringer, bell: Bell) -> None:
    os.rmdir(tmp_path / "bells")
    bell.hang_out()
    ringer.ring()
    assert not bell.wait(0.01)
    bell.poke()
    assert bell.wait(5)
