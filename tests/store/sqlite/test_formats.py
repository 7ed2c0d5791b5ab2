"""Directories of older versions are brought up to date when they are opened, and lose nothing."""

import asyncio
from pathlib import Path

import apsw

from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.schema import FORMAT_VERSION
from tests.store.making import batch, bodies_of, commands, delete_stream, make_stream
from tests.store.sqlite.formats import V1, make_older
from tests.store.sqlite.rows import block_sizes, stored_bytes
from tests.store.sqlite.submitted import full_batch


def schema_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The columns of each table and of each index, and the text of each trigger."""
    connection = apsw.Connection(str(path / "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        found: dict[str, list[tuple[object, ...]]] = {}
        for name, kind, text in connection.execute("SELECT name, type, sql FROM sqlite_schema").fetchall():
            if kind == "trigger":
                found[str(name)] = [(text,)]
            else:
                pragma = {"table": "table_info", "index": "index_info"}[str(kind)]
                found[str(name)] = connection.execute(f"PRAGMA {pragma}({name})").fetchall()
        return found
    finally:
        connection.close()


async def fill(path: Path) -> list[StreamId]:
    """Streams with small and large blocks, trimmed ones, an empty one, and one that is being deleted."""
    engine = await SqliteEngine.open(path, maintain=False)
    streams = [await make_stream(engine, name) for name in ("small", "large", "trimmed", "empty", "deleted")]
    small, large, trimmed, _, deleted = streams
    for number in range(50):
        await engine.append(small, batch(str(number), "x" * number))
        await engine.append(trimmed, batch(str(number)))
        await engine.append(deleted, batch(str(number)))
    await asyncio.gather(*[engine.append(large, full_batch(0, number)) for number in range(3)])
    await engine.append(trimmed, commands(AppendRecord.trim(40)))
    await delete_stream(engine, "deleted")
    await engine.aclose()
    return streams


async def test_a_directory_of_format_1_is_migrated(tmp_path: Path) -> None:
    streams = await fill(tmp_path)
    make_older(tmp_path, V1, 1)
    engine = await SqliteEngine.open(tmp_path, maintain=False)
    try:
        assert (await bodies_of(engine, streams[0]))[::2] == [str(number) for number in range(50)]
        for stream in streams:
            assert stored_bytes(tmp_path, stream) == sum(block_sizes(tmp_path, stream))
        assert stored_bytes(tmp_path, streams[1]) > 3_000_000
        await engine.append(streams[0], batch("more"))
        assert stored_bytes(tmp_path, streams[0]) == sum(block_sizes(tmp_path, streams[0]))
    finally:
        await engine.aclose()


async def test_a_migrated_directory_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    for name in ("new", "old"):
        await fill(tmp_path / name)
    make_older(tmp_path / "old", V1, 1)
    await (await SqliteEngine.open(tmp_path / "old")).aclose()
    assert schema_of(tmp_path / "old") == schema_of(tmp_path / "new")
    connection = apsw.Connection(str(tmp_path / "old" / "streams.db"))
    assert connection.pragma("user_version") == FORMAT_VERSION
    connection.close()
