"""One store of each kind, which any number of engines may open."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Protocol

import pytest

from perdure.store.engine import Engine
from tests.store.clock import Clock
from tests.store.memory_engine import MemoryDisk, MemoryEngine

Kind = Literal["memory", "sqlite", "postgres"]
KINDS: tuple[Kind, ...] = ("memory", "sqlite", "postgres")


class Store(Protocol):
    """Where engines find the same streams again."""

    clock: Clock

    async def open(self, *, maintain: bool = True) -> Engine:
        """An engine on this store. Without `maintain`, nothing that was deleted is removed by it."""
        ...


class MemoryStore:
    def __init__(self) -> None:
        self.clock = Clock()
        self._disk = MemoryDisk()

    async def open(self, *, maintain: bool = True) -> Engine:
        return await MemoryEngine.open(self._disk, self.clock, maintain=maintain)


class SqliteStore:
    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self._path = path

    async def open(self, *, maintain: bool = True) -> Engine:
        from perdure.store.sqlite import SqliteEngine

        return await SqliteEngine.open(self._path, maintain=maintain, now_ms=self.clock.now_ms)


class PostgresStore:
    """A database that tests use one after the other: the first engine of each finds it empty."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.url = url
        self._emptied = False

    async def open(self, *, maintain: bool = True) -> Engine:
        from perdure.store.postgres import PostgresEngine

        if not self._emptied:
            self._emptied = True
            await self._empty()
        return await PostgresEngine.open(self.url, maintain=maintain, now_ms=self.clock.now_ms)

    async def _empty(self) -> None:
        """Empty the tables, which takes less than to make them anew."""
        from perdure.store.postgres.connection import SCHEMA, connect

        connection = await connect(self.url)
        try:
            tables = await connection.fetch(
                "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r' "
                "AND relname <> 'format' ORDER BY relname = 'basin'",
                SCHEMA,
            )
            await connection.execute(";".join(["SELECT 1", *[f"DELETE FROM {table}" for (table,) in tables]]))
        finally:
            await connection.aclose()


StoreMaker = Callable[[Kind, Path], Store]


def store_maker(request: pytest.FixtureRequest) -> StoreMaker:
    """Makes stores of any kind, and has PostgreSQL started if one of them is to be there."""

    def store_of(kind: Kind, path: Path) -> Store:
        if kind == "memory":
            return MemoryStore()
        return SqliteStore(path) if kind == "sqlite" else PostgresStore(request.getfixturevalue("shared_database"))

    return store_of


@asynccontextmanager
async def opened(store: Store, *, maintain: bool = True) -> AsyncIterator[Engine]:
    engine = await store.open(maintain=maintain)
    try:
        yield engine
    finally:
        await engine.aclose()
