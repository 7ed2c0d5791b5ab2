"""A writer learns from the turnstile whether somebody else may have changed what it remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.errors import FencingTokenMismatch, Invalid
from perdure.model.configs import StreamConfig, TimestampingConfig, TimestampingMode
from perdure.model.records import AppendRecord
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.group import MAX_ROWS
from perdure.store.sqlite.locks import FileLock, Turnstile
from tests.store.making import batch, commands, configure, make_stream
from tests.store.sqlite.rows import block_sizes, stored_bytes


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def turnstile(path: Path, stack: ExitStack) -> Turnstile:
    """As one process has it."""
    gate, turn = FileLock(path / "gate.lock"), FileLock(path / "turn.lock")
    made = Turnstile(gate, turn)
    for closing in (gate.close, turn.close, made.close):
        stack.callback(closing)
    return made


def change(turnstile: Turnstile) -> bool:
    turnstile.enter()
    try:
        return turnstile.announce()
    finally:
        turnstile.leave()


@settings(max_examples=30)
@given(turns=st.lists(st.integers(0, 2), max_size=12))
def test_a_change_was_the_last_only_of_who_made_it(turns: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path, last = tmp_path_factory.mktemp("turns"), None
    with ExitStack() as stack:
        turnstiles = [turnstile(path, stack) for _ in range(3)]
        for number in turns:
            assert change(turnstiles[number]) is (last == number)
            last = number


def test_who_comes_newly_knows_of_nothing(tmp_path: Path, stack: ExitStack) -> None:
    assert not change(turnstile(tmp_path, stack))
    assert not change(turnstile(tmp_path, stack))


def test_who_dies_in_the_middle_of_a_change_is_not_overlooked(tmp_path: Path, stack: ExitStack) -> None:
    first, second = turnstile(tmp_path, stack), turnstile(tmp_path, stack)
    change(first)
    second.enter()
    second.announce()
    second.leave()  # as the kernel does it for who dies
    assert not change(first)
    assert change(first)


def test_the_memory_of_the_count_does_not_hold_the_lock(tmp_path: Path, stack: ExitStack) -> None:
    turn = FileLock(tmp_path / "turn.lock")
    shared = turn.map(8)
    assert turn.try_acquire()
    turn.close()
    other = FileLock(tmp_path / "turn.lock")
    stack.callback(other.close)
    assert other.try_acquire()
    shared.close()


async def test_what_another_process_changes_counts_at_once(tmp_path: Path) -> None:
    """Two engines on one directory know as little of each other as two processes do."""
    first, second = await SqliteEngine.open(tmp_path), await SqliteEngine.open(tmp_path)
    try:
        stream = await make_stream(first)
        for body in ("a", "b"):  # the second time it relies on what it remembers
            await first.append(stream, batch(body))
        await second.append(stream, batch("c"))
        assert (await first.append(stream, batch("d"))).start.seq_num == 3
        await second.append(stream, commands(AppendRecord.fence("mine")))
        with pytest.raises(FencingTokenMismatch):
            await first.append(stream, batch("e", token="theirs"))
        await configure(second, "s", StreamConfig(timestamping=TimestampingConfig(TimestampingMode.CLIENT_REQUIRE)))
        with pytest.raises(Invalid, match="timestamp was required"):
            await first.append(stream, batch("f"))
    finally:
        await first.aclose()
        await second.aclose()


async def test_blocks_and_commands_of_one_group_leave_the_state_right(tmp_path: Path) -> None:
    engine = await SqliteEngine.open(tmp_path)
    plain, fenced, trimmed = [await make_stream(engine, name) for name in ("plain", "fenced", "trimmed")]
    many = [await make_stream(engine, f"one-of-many-{number}") for number in range(MAX_ROWS + 3)]
    await asyncio.gather(
        engine.append(plain, batch("a")),
        engine.append(plain, batch("b", "c")),
        engine.append(fenced, commands(AppendRecord.fence("token"))),
        engine.append(trimmed, batch("a", "b")),
        engine.append(trimmed, commands(AppendRecord.trim(1))),
        *(engine.append(stream, batch("x")) for stream in many),
    )
    expected = [await engine.state(stream) for stream in (plain, fenced, trimmed, *many)]
    assert [state.tail for state in expected] == [3, 1, 3] + [1] * len(many)
    await engine.aclose()
    again = await SqliteEngine.open(tmp_path)
    try:
        assert [await again.state(stream) for stream in (plain, fenced, trimmed, *many)] == expected
        for stream in (plain, *many):
            assert stored_bytes(tmp_path, stream) == sum(block_sizes(tmp_path, stream))
        with pytest.raises(FencingTokenMismatch):
            await again.append(fenced, batch("y", token="other"))
    finally:
        await again.aclose()
