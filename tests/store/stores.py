"""One store of each kind, which any number of engines may open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Protocol

from perdure.store.engine import Engine
from tests.store.clock import Clock
from tests.store.memory_engine import MemoryDisk, MemoryEngine

Kind = Literal["memory", "sqlite"]
KINDS: tuple[Kind, ...] = ("memory", "sqlite")


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


def store_of(kind: Kind, path: Path) -> Store:
    return MemoryStore() if kind == "memory" else SqliteStore(path)


@asynccontextmanager
async def opened(store: Store, *, maintain: bool = True) -> AsyncIterator[Engine]:
    engine = await store.open(maintain=maintain)
    try:
        yield engine
    finally:
        await engine.aclose()
