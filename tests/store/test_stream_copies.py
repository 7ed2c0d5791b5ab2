"""A copy of a stream on another engine is the same stream to whoever reads it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path
from typing import cast

import pytest

from perdure.errors import FencingTokenMismatch, ResourceExists, StorageFailed
from perdure.model.configs import BasinConfig, Cipher, RetentionAge, StreamConfig
from perdure.model.encryption import EncryptionKey
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord
from perdure.model.resources import ProvisionResult
from perdure.store.catalogue import BasinChange, BasinEntry, StreamEntry, StreamId
from perdure.store.copying import Selection, Verify, copy_pass
from perdure.store.engine import BlockRange, Engine
from perdure.store.sequencing import Block, CopiedBatch, StreamState
from perdure.store.service import StreamStore
from perdure.store.stream_copies import CopiedStream, basins, copy_basin, copy_stream, streams, verify_stream
from tests.store.making import (
    BASIN,
    NOW,
    batch,
    bodies_of,
    commands,
    configure,
    delete_basin,
    delete_stream,
    make_basin,
    make_stream,
    records_of,
)
from tests.store.stores import KINDS, Kind, Store, opened, store_maker


@pytest.fixture(params=permutations(KINDS, 2), ids=lambda pair: "-to-".join(pair))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    kinds: tuple[Kind, Kind] = request.param
    one, two = (store_maker(request)(kind, tmp_path / kind) for kind in kinds)
    return one, two


@pytest.fixture
async def source(pair: tuple[Store, Store]) -> AsyncIterator[Engine]:
    async with opened(pair[0]) as engine:
        yield engine


@pytest.fixture
async def target(pair: tuple[Store, Store]) -> AsyncIterator[Engine]:
    async with opened(pair[1]) as engine:
        yield engine


async def copied(source: Engine, target: Engine, name: str = "s") -> CopiedStream:
    """Copy one stream with its basin, and verify it."""
    basin, original = await source.basin(BASIN), await source.stream(BASIN, name)
    assert basin is not None
    assert original is not None
    await copy_basin(target, basin)
    done = await copy_stream(source, target, original)
    await verify_stream(source, target, original, done.tail, now_ms=lambda: 0)
    return done


async def copy_of(target: Engine, name: str = "s") -> StreamEntry:
    entry = await target.stream(BASIN, name)
    assert entry is not None
    return entry


async def test_a_copy_has_the_same_positions_records_and_claims(source: Engine, target: Engine) -> None:
    stream = await make_stream(source)
    await source.append(stream, batch("a", "b", "c"))
    await source.append(stream, commands(AppendRecord.fence("writer")))
    await source.append(stream, batch("d", "e", token="writer"))
    await source.append(stream, commands(AppendRecord.trim(2), AppendRecord("f", headers=[("name", "value")])))
    done = await copied(source, target)
    copy = (await copy_of(target)).stream_id
    state = await target.state(copy)
    assert state == await source.state(stream)
    assert (state.tail, state.fencing_token, state.trim_point) == (8, "writer", 2)
    assert await records_of(target, copy) == await records_of(source, stream)
    assert (done.tail, done.blocks) == (8, 4)
    with pytest.raises(FencingTokenMismatch):
        await target.append(copy, batch("x", token="other"))
    assert (await target.append(copy, batch("g"))).start.seq_num == 8


async def test_configurations_come_along(source: Engine, target: Engine) -> None:
    await make_basin(source, BASIN, BasinConfig(create_stream_on_append=True))
    await make_stream(source)
    entry = await configure(source, "s", StreamConfig(retention_policy=RetentionAge(3600)))
    await copied(source, target)
    copy = await copy_of(target)
    assert (copy.config, copy.created_at, copy.cipher) == (entry.config, entry.created_at, entry.cipher)
    basin = await target.basin(BASIN)
    assert basin is not None
    assert basin.config.create_stream_on_append
    await copied(source, target)  # what is there already is no hindrance


async def test_a_copy_that_was_broken_off_is_gone_on_with(source: Engine, target: Engine) -> None:
    stream = await make_stream(source)
    await source.append(stream, batch("a", "b"))
    assert (await copied(source, target)).blocks == 1
    await source.append(stream, batch("c"))
    added = (await blocks_of(source, stream))[1]
    assert await copied(source, target) == CopiedStream(BASIN, "s", 2, 3, 1, len(added.body))
    assert (await copied(source, target)).blocks == 0
    assert await bodies_of(target, (await copy_of(target)).stream_id) == ["a", "b", "c"]


@pytest.mark.parametrize(("verify", "verified"), [(Verify.ALL, 3), (Verify.COPIED, 1), (Verify.NOTHING, 0)])
async def test_what_is_verified(source: Engine, target: Engine, verify: Verify, verified: int) -> None:
    stream = await make_stream(source)
    for text in ("a", "b"):
        await source.append(stream, batch(text))
    assert (await copy_pass(source, target)).verified_blocks == 2
    await source.append(stream, batch("c"))
    assert (await copy_pass(source, target, verify=verify)).verified_blocks == verified


async def test_what_is_written_meanwhile_comes_along(source: Engine, target: Engine) -> None:
    stream = await make_stream(source)
    wanted = 300

    async def write() -> None:
        for number in range(wanted):
            await source.append(stream, batch(str(number)))

    writing = asyncio.create_task(write())
    while not writing.done():
        await copied(source, target)
    await writing
    done = await copied(source, target)
    assert done.tail == wanted
    assert await bodies_of(target, (await copy_of(target)).stream_id) == [str(number) for number in range(wanted)]


async def test_a_follower_of_the_copy_is_handed_what_comes(source: Engine, target: Engine) -> None:
    stream = await make_stream(source)
    await source.append(stream, batch("a"))
    await copied(source, target)
    session = await StreamStore(target).open_read_session(BASIN, "s", ReadRequest.of(SeqNum(0)))
    async with session:
        texts: list[str] = []
        while "a" not in texts:
            delivery = await session.next()
            assert delivery is not None
            texts += [record.text for record in delivery.decoded().records]
        await source.append(stream, batch("b"))
        await copied(source, target)
        while "b" not in texts:
            delivery = await session.next()
            assert delivery is not None
            texts += [record.text for record in delivery.decoded().records]
    assert texts == ["a", "b"]


async def test_what_the_original_has_lost_leaves_its_positions_behind(
    source: Engine, target: Engine, pair: tuple[Store, Store]
) -> None:
    stream = await make_stream(source)
    await source.append(stream, batch("a", "b", "c"))
    await source.append(stream, commands(AppendRecord.trim(10)))
    await copied(source, target)
    copy = (await copy_of(target)).stream_id
    assert await target.state(copy) == await source.state(stream)
    assert await records_of(target, copy) == []
    assert (await target.append(copy, batch("d"))).start.seq_num == 4
    assert await bodies_of(target, copy) == ["d"]


async def test_a_stream_that_lost_all_to_retention_goes_on_at_its_tail(
    source: Engine, target: Engine, pair: tuple[Store, Store]
) -> None:
    stream = await make_stream(source, config=StreamConfig(retention_policy=RetentionAge(10)))
    await source.append(stream, batch("a", "b"))
    for store in pair:
        store.clock.advance(11_000)
    assert await records_of(source, stream) == []
    await copied(source, target)
    copy = (await copy_of(target)).stream_id
    assert await target.state(copy) == await source.state(stream)
    assert await records_of(target, copy) == []
    assert (await target.append(copy, batch("c"))).start.seq_num == 2


async def test_a_sealed_stream_is_opened_by_the_same_key(source: Engine, target: Engine) -> None:
    await make_basin(source, BASIN, BasinConfig(stream_cipher=Cipher.AEGIS_256))
    await make_stream(source)
    key = EncryptionKey(base64.b64encode(bytes(32)).decode())
    await StreamStore(source).append(BASIN, "s", batch("secret"), key)
    await copied(source, target)
    read = await StreamStore(target).read(BASIN, "s", ReadRequest.of(SeqNum(0)), key)
    assert [record.text for record in read.records] == ["secret"]


async def test_a_stream_that_is_deleted_meanwhile_is_passed_over(source: Engine, target: Engine) -> None:
    """Its deletion is no part of what is copied: a copy that was emptied would be in the way of the next stream."""
    stream = await make_stream(source)
    await source.append(stream, batch("a"))
    await copied(source, target)
    await source.append(stream, batch("b"))
    entry = await source.stream(BASIN, "s")
    assert entry is not None

    class Deleting:
        """The source, whose stream is deleted in the middle of the pass."""

        def __getattr__(self, name: str) -> object:
            return getattr(source, name)

        async def read_blocks(self, *args: int, **bounds: int) -> BlockRange:
            await delete_stream(source)
            return await source.read_blocks(*args, **bounds)  # type: ignore[arg-type]

    for _ in range(2):
        totals = await copy_pass(cast(Engine, Deleting()), target, [Selection(BASIN)])
        assert (totals.streams, totals.blocks) == (0, 0)
    assert await bodies_of(target, (await copy_of(target)).stream_id) == ["a"]


async def test_a_basin_that_is_being_deleted_is_not_copied_to(source: Engine, pair: tuple[Store, Store]) -> None:
    await source.append(await make_stream(source), batch("a"))
    async with opened(pair[1], maintain=False) as target:  # so it stays for a while
        await make_stream(target, "another")
        await delete_basin(target)
        with pytest.raises(ResourceExists, match="is being deleted"):
            await copy_pass(source, target)
        assert await target.stream(BASIN, "s") is None


async def test_a_basin_that_is_noted_elsewhere_is_not_copied_to(source: Engine, target: Engine) -> None:
    await source.append(await make_stream(source), batch("a"))
    await target.change_basin(BASIN, lambda _: noted(BASIN))
    with pytest.raises(ResourceExists, match="is at location"):
        await copy_pass(source, target)
    assert await target.stream(BASIN, "s") is None


async def test_another_stream_of_the_name_is_not_written_to(source: Engine, target: Engine) -> None:
    stream = await make_stream(source)
    await source.append(stream, batch("a"))
    await StreamStore(target).create_basin(BASIN)
    await StreamStore(target).create_stream(BASIN, "s")
    with pytest.raises(ResourceExists, match="another stream `s`"):
        await copied(source, target)
    assert (await target.state((await copy_of(target)).stream_id)).tail == 0


async def test_a_copy_that_somebody_appended_to_is_no_copy_any_more(source: Engine, target: Engine) -> None:
    stream = await make_stream(source)
    await source.append(stream, batch("a"))
    await copied(source, target)
    copy = (await copy_of(target)).stream_id
    await target.append(copy, batch("not of the original"))
    with pytest.raises(ResourceExists, match="no copy any more"):
        await copied(source, target)
    await source.append(stream, batch("b"))
    await source.append(stream, batch("c"))
    with pytest.raises(ResourceExists, match="no copy any more"):
        await copied(source, target)
    assert await bodies_of(target, copy) == ["a", "not of the original"]


async def test_verifying_finds_what_is_missing_or_different(
    source: Engine, target: Engine, pair: tuple[Store, Store]
) -> None:
    now_ms = pair[0].clock.now_ms
    stream = await make_stream(source)
    for text in ("a", "b"):
        await source.append(stream, batch(text))
    original = await source.stream(BASIN, "s")
    assert original is not None
    with pytest.raises(StorageFailed, match="is not there"):
        await verify_stream(source, target, original, 2, now_ms=now_ms)
    await make_basin(target)
    copy = await make_stream(target)
    blocks = await blocks_of(source, stream)
    await target.append(copy, CopiedBatch.of_block(blocks[0], after=0, state=StreamState(1, 1)))
    with pytest.raises(StorageFailed, match="lacks the records from 1 on"):
        await verify_stream(source, target, original, 2, now_ms=now_ms)
    await target.append(copy, batch("c"))
    with pytest.raises(StorageFailed, match="lacks the records from 1 on"):
        await verify_stream(source, target, original, 2, now_ms=now_ms)
    assert await verify_stream(source, target, original, 1, now_ms=now_ms) == 1


@pytest.mark.parametrize("positions", [(1, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 1)])
def test_a_block_follows_what_it_comes_after(positions: tuple[int, int, int, int]) -> None:
    after, start, end, tail = positions
    block = Block(start, end, 1, 8, 1, None, b"")
    with pytest.raises(ValueError, match="does not lead from"):
        CopiedBatch.of_block(block, after=after, state=StreamState(tail, 1))


async def test_everything_that_is_there_is_found(source: Engine) -> None:
    for name in ("one-basin", "two-basin", "one-other"):
        await make_basin(source, name)
    await source.change_basin("gone-basin", lambda _: noted("gone-basin"))
    assert [entry.name async for entry in basins(source)] == ["one-basin", "one-other", "two-basin"]
    assert [entry.name async for entry in basins(source, "one-")] == ["one-basin", "one-other"]
    for name in ("a/1", "a/2", "b"):
        await make_stream(source, name)
    await delete_stream(source, "a/2")
    assert [entry.name async for entry in streams(source, BASIN)] == ["a/1", "b"]
    assert [entry.name async for entry in streams(source, BASIN, "a/")] == ["a/1"]


def noted(name: str) -> BasinChange:
    return BasinChange(BasinEntry(name, NOW, BasinConfig(), location="elsewhere"), ProvisionResult.CREATED)


async def blocks_of(engine: Engine, stream: StreamId) -> tuple[Block, ...]:
    return (await engine.read_blocks(stream, 0, max_records=1000, max_bytes=2**20)).blocks
