"""Stores to back up, and what is found in them afterwards. All of it blocks."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from perdure.model.configs import InfiniteRetention, StreamConfig
from perdure.store.catalogue import StreamId
from perdure.store.sqlite import SqliteEngine
from perdure.store.sqlite.manifest import MANIFEST, Contents, encode_manifest, read_manifest
from tests.store.making import BASIN, bodies_of, make_stream, records_of
from tests.store.sqlite.submitted import full_batch, origin_of, row_batch

T = TypeVar("T")

KEPT = StreamConfig(retention_policy=InfiniteRetention())
LARGE, SMALL = 3, 5
FILLED = Contents(basins=1, streams=1, blocks=LARGE + SMALL)
NUMBERS = list(range(LARGE + SMALL))


def fill(path: Path) -> None:
    """A store with one stream `s`: some batches of 1 MiB, which are in a segment, and some that are rows."""

    async def life() -> None:
        engine = await SqliteEngine.open(path)
        try:
            stream = await make_stream(engine, config=KEPT)
            for number in range(LARGE):
                await engine.append(stream, full_batch(0, number))
            for number in range(LARGE, LARGE + SMALL):
                await engine.append(stream, row_batch(0, number))
        finally:
            await engine.aclose()

    asyncio.run(life())


def append_one(path: Path) -> None:
    """The next batch of what `fill` made."""

    async def life() -> None:
        engine = await SqliteEngine.open(path)
        try:
            await engine.append(await stream_in(engine), full_batch(0, LARGE + SMALL))
        finally:
            await engine.aclose()

    asyncio.run(life())


async def numbers_in(engine: SqliteEngine, stream: StreamId) -> list[int]:
    """The numbers of the batches in a stream, each record checked to its last byte."""
    return [origin_of(record.body).number for record in await records_of(engine, stream)]


def numbers_of(path: Path) -> list[int]:
    """What the stream `s` of a store holds."""
    return _look(path, numbers_in)


def texts_of(path: Path) -> list[str]:
    return _look(path, lambda engine, stream: bodies_of(engine, stream))


def _look(path: Path, look: Callable[[SqliteEngine, StreamId], Awaitable[list[T]]]) -> list[T]:
    async def life() -> list[T]:
        engine = await SqliteEngine.open(path, maintain=False)
        try:
            return await look(engine, await stream_in(engine))
        finally:
            await engine.aclose()

    return asyncio.run(life())


async def stream_in(engine: SqliteEngine, name: str = "s") -> StreamId:
    entry = await engine.stream(BASIN, name)
    assert entry is not None
    return entry.stream_id


def segments_in(path: Path) -> list[str]:
    return sorted(os.listdir(path / "segments"))


async def are_gone(path: Path, segments: list[str]) -> bool:
    return not set(segments) & set(segments_in(path))


def content_of(directory: Path) -> dict[str, bytes]:
    """Every file, by its path."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def change_manifest(backup: Path, **fields: object) -> None:
    """Write other values into it."""
    manifest = msgspec.structs.replace(read_manifest(backup), **fields)
    (backup / MANIFEST).write_bytes(encode_manifest(manifest))
