"""What a writer remembers of streams is as good as what the tables say, whoever wrote last."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.errors import FencingTokenMismatch, Invalid
from perdure.model.configs import StreamConfig, TimestampingConfig, TimestampingMode
from perdure.model.records import AppendRecord
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.group import MAX_ROWS
from tests.store.making import batch, commands, configure, make_stream
from tests.store.sqlite.rows import block_sizes, stored_bytes


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
