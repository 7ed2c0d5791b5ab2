"""Short ways to the things that tests of the store begin with."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from perdure.model.batches import AppendInput
from perdure.model.configs import BasinConfig, ResolvedStreamConfig, StreamConfig
from perdure.model.records import AppendRecord, SequencedRecord
from perdure.store import catalogue
from perdure.store.catalogue import StreamEntry, StreamId
from perdure.store.engine import Engine
from perdure.wire.protobuf import decode_records
from tests.patience import PATIENCE_SECONDS

NOW = datetime(2025, 5, 1, 10, 0, tzinfo=UTC)
BASIN = "test-basin"


def batch(*bodies: str, match: int | None = None, token: str | None = None) -> AppendInput:
    return AppendInput.of([AppendRecord(body) for body in bodies], match_seq_num=match, fencing_token=token)


def commands(*records: AppendRecord, match: int | None = None, token: str | None = None) -> AppendInput:
    return AppendInput.of(records, match_seq_num=match, fencing_token=token)


async def make_basin(engine: Engine, name: str = BASIN, config: BasinConfig | None = None) -> None:
    wanted = config or BasinConfig()
    await engine.change_basin(name, lambda existing: catalogue.ensure_basin(existing, name, wanted, NOW))


async def make_stream(engine: Engine, name: str = "s", config: StreamConfig | None = None) -> StreamId:
    """A stream in `BASIN`, which is made as well if it is missing."""
    if await engine.basin(BASIN) is None:
        await make_basin(engine)
    change = await engine.change_stream(
        BASIN, name, lambda parent, existing: catalogue.create_stream(parent, existing, BASIN, name, config, None, NOW)
    )
    return change.entry.stream_id


async def configure(engine: Engine, name: str, config: StreamConfig) -> StreamEntry:
    change = await engine.change_stream(
        BASIN, name, lambda parent, existing: catalogue.ensure_stream(parent, existing, BASIN, name, config, NOW)
    )
    return change.entry


async def delete_stream(engine: Engine, name: str = "s") -> None:
    await engine.change_stream(BASIN, name, lambda _, existing: catalogue.delete_stream(existing, BASIN, name, NOW))


async def delete_basin(engine: Engine, name: str = BASIN) -> None:
    await engine.change_basin(name, lambda existing: catalogue.delete_basin(existing, name, NOW))


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for work in the background, of which nothing but its outcome can be seen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110  # nothing tells when the background is done
            await asyncio.sleep(0.002)


async def gone(engine: Engine, name: str = "s") -> None:
    """Wait until the stream was purged."""

    async def is_gone() -> bool:
        return await engine.stream(BASIN, name) is None

    await eventually(is_gone)


async def records_of(engine: Engine, stream: StreamId, start: int = 0) -> list[SequencedRecord]:
    """All visible records from `start` on, whatever the bounds of one read."""
    records: list[SequencedRecord] = []
    while True:
        found = await engine.read_blocks(stream, start, max_records=1000, max_bytes=2**20)
        first = max(start, found.state.trim_point)
        records += [r for block in found.blocks for r in decode_records(block.body) if r.seq_num >= first]
        if not found.blocks or not found.more:
            return records
        start = found.blocks[-1].end_seq


async def bodies_of(engine: Engine, stream: StreamId, start: int = 0) -> list[str]:
    return [record.text for record in await records_of(engine, stream, start)]


def resolved(**settings: object) -> ResolvedStreamConfig:
    return ResolvedStreamConfig(**settings)  # type: ignore[arg-type]  # a short way in tests; msgspec does not check
