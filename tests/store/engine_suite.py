"""What every storage engine promises in `perdure.store.engine`, as tests.

An engine takes part by an entry in `tests.store.stores`.
"""

import asyncio
import gc
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from perdure.errors import (
    BasinDeletionPending,
    FencingTokenMismatch,
    Invalid,
    PerdureError,
    ResourceExists,
    SeqNumMismatch,
    StreamDeletionPending,
    StreamNotFound,
    Unavailable,
)
from perdure.model.access_tokens import AccessTokenInfo, AccessTokenScope, ExactMatch, Operation, PrefixMatch
from perdure.model.batches import AppendAck, AppendInput
from perdure.model.configs import (
    BasinConfig,
    InfiniteRetention,
    RetentionAge,
    StreamConfig,
    TimestampingConfig,
    TimestampingMode,
)
from perdure.model.limits import MAX_BATCH_BYTES, MAX_U64
from perdure.model.positions import StreamPosition
from perdure.model.records import AppendRecord
from perdure.model.resources import ProvisionResult
from perdure.store import access_tokens, catalogue
from perdure.store.access_tokens import AccessTokenEntry, hash_secret
from perdure.store.catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry, StreamId
from perdure.store.engine import Engine, Lane
from perdure.store.hub import MAILBOX_BLOCKS
from perdure.store.sequencing import StreamState
from perdure.wire.protobuf import decode_records
from tests.patience import PATIENCE_SECONDS
from tests.store.making import (
    BASIN,
    NOW,
    batch,
    bodies_of,
    commands,
    configure,
    delete_basin,
    delete_stream,
    eventually,
    gone,
    make_basin,
    make_stream,
    records_of,
)
from tests.store.stores import Store, opened
from tests.store.usage_suite import UsageContract


def range_of(ack: AppendAck) -> tuple[int, int]:
    return ack.start.seq_num, ack.end.seq_num


async def outcomes(*futures: asyncio.Future[AppendAck]) -> list[AppendAck | PerdureError]:
    results = await asyncio.gather(*futures, return_exceptions=True)
    for result in results:
        assert isinstance(result, (AppendAck, PerdureError)), result
    return [result for result in results if isinstance(result, (AppendAck, PerdureError))]


class AppendingContract:
    async def test_a_batch_is_numbered_from_the_tail(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        assert range_of(await engine.append(stream, batch("a", "b"))) == (0, 2)
        ack = await engine.append(stream, batch("c"))
        assert range_of(ack) == (2, 3)
        assert ack.tail == (await engine.state(stream)).position
        assert await bodies_of(engine, stream) == ["a", "b", "c"]

    async def test_appends_are_sequenced_in_the_order_of_the_calls(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        acks = await asyncio.gather(*[engine.append(stream, batch(str(n))) for n in range(300)])
        assert [range_of(ack) for ack in acks] == [(n, n + 1) for n in range(300)]
        assert await bodies_of(engine, stream) == [str(n) for n in range(300)]

    async def test_acks_tell_the_tail_of_the_moment_in_which_their_batches_became_durable(self, engine: Engine) -> None:
        one, two = await make_stream(engine, "one"), await make_stream(engine, "two")
        seen: list[tuple[AppendAck, StreamPosition]] = []

        async def append(stream: StreamId, text: str) -> None:
            ack = await engine.append(stream, batch(text))
            seen.append((ack, (await engine.state(stream)).position))

        await asyncio.gather(*[append(stream, str(n)) for n in range(100) for stream in (one, two)])
        assert all(ack.end.seq_num <= ack.tail.seq_num <= now.seq_num for ack, now in seen)
        # All were submitted in one step, so far fewer commits than batches made them durable.
        assert any(ack.tail.seq_num > ack.end.seq_num for ack, _ in seen)
        assert max(ack.tail.seq_num for ack, _ in seen) == 100

    async def test_streams_are_numbered_each_for_itself(self, engine: Engine) -> None:
        one, two = await make_stream(engine, "one"), await make_stream(engine, "two")
        acks = await asyncio.gather(*[engine.append(stream, batch("x")) for stream in (one, two) * 20])
        assert [range_of(ack) for ack in acks] == [(n, n + 1) for n in range(20) for _ in (one, two)]

    async def test_an_ack_is_given_when_another_engine_can_read_the_batch(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one)
            for number in range(20):
                ack = await one.append(stream, batch(str(number)))
                assert (await two.state(stream)).tail == ack.end.seq_num
                assert await bodies_of(two, stream, number) == [str(number)]

    async def test_what_was_acknowledged_is_there_when_opened_anew(self, store: Store) -> None:
        async with opened(store) as engine:
            stream = await make_stream(engine)
            await engine.append(stream, commands(AppendRecord.fence("me"), AppendRecord("a", headers={"k": "v"})))
            state, records = await engine.state(stream), await records_of(engine, stream)
        async with opened(store) as again:
            entry = await again.stream(BASIN, "s")
            assert entry is not None
            assert entry.stream_id == stream
            assert await again.state(stream) == state
            assert await records_of(again, stream) == records

    async def test_batches_of_two_engines_interleave_whole(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one)
            acks = await asyncio.gather(
                *[engine.append(stream, batch(f"{n}.0", f"{n}.1")) for n, engine in enumerate([one, two] * 50)]
            )
            assert sorted(map(range_of, acks)) == [(n, n + 2) for n in range(0, 200, 2)]
            bodies = await bodies_of(one, stream)
            for number, ack in enumerate(acks):
                start, end = range_of(ack)
                assert bodies[start:end] == [f"{number}.0", f"{number}.1"]
            for engine in (one, two):
                assert await bodies_of(engine, stream) == bodies

    async def test_a_race_for_one_number_has_one_winner(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one)
            for number in range(10):
                results = await outcomes(*[e.append(stream, batch("x", match=number)) for e in (one, two, one, two)])
                acks = [result for result in results if isinstance(result, AppendAck)]
                assert [range_of(ack) for ack in acks] == [(number, number + 1)]
                for result in results:
                    assert isinstance(result, AppendAck) or (
                        isinstance(result, SeqNumMismatch) and result.expected == number + 1
                    )

    async def test_a_claim_is_won_by_one(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one)
            results = await outcomes(
                *[
                    engine.append(stream, commands(AppendRecord.fence(name), token=""))
                    for engine, name in ((one, "one"), (two, "two"))
                ]
            )
            token = (await one.state(stream)).fencing_token
            for name, result in zip(("one", "two"), results, strict=True):
                if name == token:
                    assert isinstance(result, AppendAck)
                else:
                    assert isinstance(result, FencingTokenMismatch)
                    assert result.expected == token

    async def test_a_rejected_batch_changes_nothing(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        await engine.append(stream, commands(AppendRecord.fence("me"), AppendRecord("a")))
        before, records = await engine.state(stream), await records_of(engine, stream)
        results = await outcomes(
            engine.append(stream, batch("x", token="other")),
            engine.append(stream, batch("x", match=7)),
            engine.append(stream, batch("x", match=7, token="")),
        )
        assert [type(result) for result in results] == [FencingTokenMismatch, SeqNumMismatch, FencingTokenMismatch]
        assert await engine.state(stream) == before
        assert await records_of(engine, stream) == records
        assert range_of(await engine.append(stream, batch("b", match=2, token="me"))) == (2, 3)

    async def test_a_rejection_tells_what_is_durable(self, store: Store) -> None:
        """The number in a rejection is that of records which everybody can read already."""
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one)
            _, rejected = one.append(stream, batch("a", "b")), one.append(stream, batch("x", match=0))
            with pytest.raises(SeqNumMismatch) as caught:
                await rejected
            assert caught.value.expected == 2
            assert (await two.state(stream)).tail == 2

    async def test_a_batch_in_a_crowd_does_not_suffer_from_a_rejected_one(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        results = await outcomes(
            engine.append(stream, batch("a")),
            engine.append(stream, batch("x", match=9)),
            engine.append(stream, batch("b", match=1)),
        )
        assert [type(result) for result in results] == [AppendAck, SeqNumMismatch, AppendAck]
        assert await bodies_of(engine, stream) == ["a", "b"]

    async def test_the_configuration_of_the_moment_counts(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        await engine.append(stream, batch("a"))
        await configure(
            engine, "s", StreamConfig(timestamping=TimestampingConfig(mode=TimestampingMode.CLIENT_REQUIRE))
        )
        with pytest.raises(Invalid, match="timestamp was required"):
            await engine.append(stream, batch("b"))
        await configure(engine, "s", StreamConfig())
        assert range_of(await engine.append(stream, batch("c"))) == (1, 2)

    async def test_another_engine_sees_a_changed_configuration(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one)
            await two.append(stream, batch("a"))
            required = StreamConfig(timestamping=TimestampingConfig(mode=TimestampingMode.CLIENT_REQUIRE))
            await configure(one, "s", required)
            with pytest.raises(Invalid, match="timestamp was required"):
                await two.append(stream, batch("b"))

    async def test_a_batch_gets_the_time_of_the_store_and_never_an_earlier_one(
        self, store: Store, engine: Engine
    ) -> None:
        stream = await make_stream(engine)
        first = await engine.append(stream, batch("a"))
        assert first.end.timestamp == store.clock.now_ms()
        store.clock.advance(-1000)
        assert (await engine.append(stream, batch("b"))).start.timestamp == first.end.timestamp
        store.clock.advance(5000)
        assert (await engine.append(stream, batch("c"))).start.timestamp == store.clock.now_ms()

    async def test_numbers_at_the_upper_end_survive(self, engine: Engine) -> None:
        uncapped = StreamConfig(timestamping=TimestampingConfig(uncapped=True))
        stream = await make_stream(engine, config=uncapped)
        ack = await engine.append(stream, commands(AppendRecord("a", timestamp=MAX_U64)))
        assert ack.tail == StreamPosition(1, MAX_U64)
        assert (await engine.state(stream)).last_timestamp == MAX_U64
        assert [record.timestamp for record in await records_of(engine, stream)] == [MAX_U64]
        assert (await engine.append(stream, batch("b"))).start.timestamp == MAX_U64

    async def test_a_batch_comes_back_byte_by_byte(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        headers = ((b"k", b"\xff\0"), (b"k", b""), (b"\xc3\xa4", b"v"))
        given = [AppendRecord(b"\0\xff" * 100, headers=headers, timestamp=5), AppendRecord(), AppendRecord("ü\u2028")]
        await engine.append(stream, commands(*given))
        records = await records_of(engine, stream)
        assert [(r.body, r.headers) for r in records] == [(r.body, r.headers) for r in given]

    async def test_batches_at_the_limits_are_kept(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        await engine.append(stream, commands(AppendRecord(b"x" * (MAX_BATCH_BYTES - 8))))
        await engine.append(stream, batch(*["y"] * 1000))
        records = await records_of(engine, stream)
        assert len(records) == 1001
        assert records[0].metered_bytes == MAX_BATCH_BYTES

    async def test_an_unknown_stream_is_not_found(self, engine: Engine) -> None:
        nowhere = StreamId(987_654)
        for call in (
            engine.append(nowhere, batch("x")),
            engine.state(nowhere),
            engine.read_blocks(nowhere, 0, max_records=1, max_bytes=1),
        ):
            with pytest.raises(StreamNotFound):
                await call


class LaneContract:
    async def test_nothing_after_the_first_rejection_is_applied(self, engine: Engine) -> None:
        stream, lane = await make_stream(engine), Lane()
        results = await outcomes(
            engine.append(stream, batch("a"), lane),
            engine.append(stream, batch("x", match=9), lane),
            engine.append(stream, batch("b"), lane),
            engine.append(stream, batch("c", match=1), lane),
        )
        assert isinstance(results[0], AppendAck)
        assert isinstance(results[1], SeqNumMismatch)
        assert results[2] is results[1]
        assert results[3] is results[1]
        assert lane.failure is results[1]
        with pytest.raises(SeqNumMismatch):
            await engine.append(stream, batch("d"), lane)
        assert await bodies_of(engine, stream) == ["a"]

    async def test_other_lanes_go_on(self, engine: Engine) -> None:
        stream, broken, sound = await make_stream(engine), Lane(), Lane()
        results = await outcomes(
            engine.append(stream, batch("x", match=9), broken),
            engine.append(stream, batch("a"), sound),
            engine.append(stream, batch("y"), broken),
            engine.append(stream, batch("b")),
        )
        assert [isinstance(result, AppendAck) for result in results] == [False, True, False, True]
        assert await bodies_of(engine, stream) == ["a", "b"]

    async def test_a_lane_keeps_its_order_beside_another_engine(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream, lane = await make_stream(one), Lane()
            mine = [one.append(stream, batch(f"m{n}"), lane) for n in range(50)]
            others = [two.append(stream, batch(f"o{n}")) for n in range(50)]
            await asyncio.gather(*mine, *others)
            bodies = await bodies_of(one, stream)
            for letter in "mo":
                assert [b for b in bodies if b[0] == letter] == [f"{letter}{n}" for n in range(50)]

    async def test_cancelling_leaves_no_hole(self, engine: Engine) -> None:
        stream, lane = await make_stream(engine), Lane()
        futures = [engine.append(stream, batch(str(n)), lane) for n in range(20)]
        futures[5].cancel()
        futures[6].cancel()
        await futures[-1]
        assert await bodies_of(engine, stream) == [str(n) for n in range(20)]


class CancellationContract:
    async def test_a_batch_is_withdrawn_whole_or_applied_whole(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        futures = [engine.append(stream, batch(f"{n}", f"{n}")) for n in range(50)]
        for future in futures[1::2]:
            future.cancel()
        await asyncio.gather(*futures[::2])
        bodies = await bodies_of(engine, stream)
        assert bodies[::2] == bodies[1::2]
        numbers = [int(body) for body in bodies[::2]]
        assert numbers == sorted(numbers)
        assert set(range(0, 50, 2)) <= set(numbers)

    async def test_an_answer_that_nobody_waits_for_disturbs_nobody(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        task = asyncio.ensure_future(engine.append(stream, batch("x", match=9)))
        after = engine.append(stream, batch("a"))
        task.cancel()
        await after
        assert await bodies_of(engine, stream) == ["a"]


class ReadingContract:
    @pytest.fixture
    async def stream(self, engine: Engine) -> StreamId:
        """Blocks of 1, 2, 3, 4 and 5 records of 9 metered bytes each: 0 | 1 2 | 3 4 5 | 6 … 9 | 10 … 14."""
        stream = await make_stream(engine)
        for size in range(1, 6):
            await engine.append(stream, batch(*["x"] * size))
        return stream

    @pytest.mark.parametrize(
        ("start", "max_records", "max_bytes", "ranges", "more"),
        [
            (0, 1000, 2**20, [(0, 1), (1, 3), (3, 6), (6, 10), (10, 15)], False),
            (0, 3, 2**20, [(0, 1), (1, 3)], True),
            (0, 5, 2**20, [(0, 1), (1, 3)], True),
            (0, 1000, 6 * 9, [(0, 1), (1, 3), (3, 6)], True),
            (0, 1000, 6 * 9 - 1, [(0, 1), (1, 3)], True),
            (4, 1000, 2**20, [(3, 6), (6, 10), (10, 15)], False),
            (6, 1, 1, [(6, 10)], True),
            (14, 1, 1, [(10, 15)], None),
            (15, 1000, 2**20, [], False),
            (99, 1000, 2**20, [], False),
            (MAX_U64, 1000, 2**20, [], False),
        ],
    )
    async def test_whole_blocks_within_the_bounds_but_at_least_one(
        self,
        engine: Engine,
        stream: StreamId,
        start: int,
        max_records: int,
        max_bytes: int,
        ranges: list[tuple[int, int]],
        more: bool | None,
    ) -> None:
        found = await engine.read_blocks(stream, start, max_records=max_records, max_bytes=max_bytes)
        assert [(block.start_seq, block.end_seq) for block in found.blocks] == ranges
        assert found.state == await engine.state(stream)
        assert not found.deleted
        if more is not None:
            assert found.more is more
        for block in found.blocks:
            records = decode_records(block.body)
            assert [r.seq_num for r in records] == list(range(block.start_seq, block.end_seq))
            assert sum(r.metered_bytes for r in records) == block.metered_bytes
            assert records[-1].timestamp == block.last_timestamp

    async def test_a_trim_hides_what_is_below(self, engine: Engine, stream: StreamId) -> None:
        await engine.append(stream, commands(AppendRecord.trim(5)))
        assert (await engine.state(stream)) == StreamState(16, (await engine.state(stream)).last_timestamp, "", 5)
        assert [r.seq_num for r in await records_of(engine, stream)] == list(range(5, 16))
        found = await engine.read_blocks(stream, 0, max_records=1000, max_bytes=2**20)
        assert found.state.trim_point == 5
        assert all(block.end_seq > 5 for block in found.blocks)

    async def test_a_huge_trim_takes_itself_and_nothing_after_it(self, engine: Engine, stream: StreamId) -> None:
        await engine.append(stream, commands(AppendRecord.trim(999_999)))
        assert await records_of(engine, stream) == []
        assert (await engine.state(stream)).tail == 16
        ack = await engine.append(stream, batch("after"))
        assert range_of(ack) == (16, 17)
        assert await bodies_of(engine, stream) == ["after"]

    async def test_trims_only_go_forward(self, engine: Engine, stream: StreamId) -> None:
        for point in (5, 3, 0):
            await engine.append(stream, commands(AppendRecord.trim(point)))
        assert (await records_of(engine, stream))[0].seq_num == 5

    async def test_trimming_in_steps_loses_nothing_that_stays(self, engine: Engine) -> None:
        """Removing blocks in the background goes on while others are appended."""
        stream = await make_stream(engine)
        for number in range(200):
            await engine.append(stream, batch(*[f"{number}.{i}" for i in range(5)]))
            if number % 10 == 9:
                point = (await engine.state(stream)).tail - 7
                await engine.append(stream, commands(AppendRecord.trim(point)))
                visible = await records_of(engine, stream)
                assert [r.seq_num for r in visible] == list(range(point, (await engine.state(stream)).tail))


class ExpiryContract:
    async def test_expired_records_are_hidden_at_once(self, store: Store) -> None:
        async with opened(store, maintain=False) as engine:
            stream = await make_stream(engine, config=StreamConfig(retention_policy=RetentionAge(10)))
            await engine.append(stream, batch("old"))
            store.clock.advance(6_000)
            await engine.append(stream, batch("new"))
            store.clock.advance(3_999)
            assert await bodies_of(engine, stream) == ["old", "new"]
            store.clock.advance(1)
            assert await bodies_of(engine, stream) == ["new"]
            store.clock.advance(6_000)
            assert await bodies_of(engine, stream) == []
            state = await engine.state(stream)
            assert state.tail == 2
            assert state.trim_point == 0
            assert range_of(await engine.append(stream, batch("next"))) == (2, 3)
            assert await bodies_of(engine, stream) == ["next"]

    async def test_the_time_of_storing_counts_not_the_timestamp(self, store: Store, engine: Engine) -> None:
        uncapped = StreamConfig(retention_policy=RetentionAge(10), timestamping=TimestampingConfig(uncapped=True))
        stream = await make_stream(engine, config=uncapped)
        await engine.append(
            stream, commands(AppendRecord("past", timestamp=1), AppendRecord("future", timestamp=2**62))
        )
        store.clock.advance(9_999)
        assert await bodies_of(engine, stream) == ["past", "future"]
        store.clock.advance(1)
        assert await bodies_of(engine, stream) == []

    async def test_a_record_keeps_the_retention_of_its_append(self, store: Store, engine: Engine) -> None:
        stream = await make_stream(engine, config=StreamConfig(retention_policy=RetentionAge(10)))
        await engine.append(stream, batch("short"))
        await configure(engine, "s", StreamConfig(retention_policy=InfiniteRetention()))
        await engine.append(stream, batch("for ever"))
        await configure(engine, "s", StreamConfig(retention_policy=RetentionAge(5)))
        await engine.append(stream, batch("shorter"))
        store.clock.advance(5_000)
        assert await bodies_of(engine, stream) == ["short", "for ever"]
        store.clock.advance(10**12)
        assert await bodies_of(engine, stream) == ["for ever"]

    async def test_the_longest_retention_is_for_ever(self, store: Store, engine: Engine) -> None:
        stream = await make_stream(engine, config=StreamConfig(retention_policy=RetentionAge(MAX_U64)))
        await engine.append(stream, batch("a"))
        store.clock.advance(10**15)
        assert await bodies_of(engine, stream) == ["a"]

    async def test_the_fence_outlives_its_record(self, store: Store, engine: Engine) -> None:
        stream = await make_stream(engine, config=StreamConfig(retention_policy=RetentionAge(10)))
        await engine.append(stream, commands(AppendRecord.fence("me")))
        await engine.append(stream, commands(AppendRecord.trim(99)))
        store.clock.advance(11_000)
        with pytest.raises(FencingTokenMismatch):
            await engine.append(stream, batch("x", token=""))
        await engine.append(stream, batch("x", token="me"))

    async def test_a_search_by_time_skips_what_is_expired_or_trimmed(self, store: Store, engine: Engine) -> None:
        stream = await make_stream(engine, config=StreamConfig(retention_policy=RetentionAge(10)))
        starts = []
        for _ in range(4):
            starts.append((await engine.append(stream, batch("x", "y"))).start.timestamp)
            store.clock.advance(4_000)
        # The first two blocks are expired by now: 16 s and 12 s old.
        block = await engine.find_timestamp(stream, 0)
        assert block is not None
        assert block.start_seq == 4
        await engine.append(stream, commands(AppendRecord.trim(6)))
        block = await engine.find_timestamp(stream, starts[0])
        assert block is not None
        assert block.start_seq == 6


class TimestampSearchContract:
    async def test_the_first_block_that_ends_at_or_after_the_time(self, store: Store, engine: Engine) -> None:
        stream = await make_stream(engine)
        assert await engine.find_timestamp(stream, 0) is None
        base = store.clock.now_ms()
        for offset in (0, 10, 10, 20):  # two blocks share a time
            await engine.append(
                stream, commands(AppendRecord(timestamp=base + offset - 5), AppendRecord(timestamp=base + offset))
            )
            store.clock.advance(10)
        expected = {-10: 0, 0: 0, 1: 2, 9: 2, 10: 2, 11: 6, 15: 6, 20: 6}
        for offset, start_seq in expected.items():
            block = await engine.find_timestamp(stream, base + offset)
            assert block is not None, offset
            assert block.start_seq == start_seq, offset
        assert await engine.find_timestamp(stream, base + 21) is None
        assert await engine.find_timestamp(stream, MAX_U64) is None

    async def test_many_blocks_of_all_sizes(self, store: Store, engine: Engine) -> None:
        stream = await make_stream(engine)
        ends: list[tuple[int, int]] = []
        for number in range(120):
            ack = await engine.append(stream, batch(*["x"] * (1 + number * 7 % 13)))
            ends.append((ack.start.seq_num, ack.end.timestamp))
            store.clock.advance(number % 3)
        for timestamp in range(ends[0][1] - 2, ends[-1][1] + 3):
            block = await engine.find_timestamp(stream, timestamp)
            expected = next((start for start, last in ends if last >= timestamp), None)
            assert (None if block is None else block.start_seq) == expected


class DeletionContract:
    async def test_a_deleted_stream_is_closed_at_once(self, store: Store) -> None:
        async with opened(store, maintain=False) as engine:
            stream = await make_stream(engine)
            await engine.append(stream, batch("a", "b"))
            await delete_stream(engine)
            with pytest.raises(StreamDeletionPending):
                await engine.append(stream, batch("x"))
            with pytest.raises(StreamDeletionPending):
                await engine.state(stream)
            entry = await engine.stream(BASIN, "s")
            assert entry is not None
            assert entry.deleted_at == NOW
            assert [e.name for e in await engine.list_streams(BASIN, "", "", 10)] == ["s"]
            with pytest.raises(StreamDeletionPending):
                await make_stream(engine)

    async def test_its_last_record_is_the_terminal_trim(self, store: Store) -> None:
        async with opened(store, maintain=False) as engine:
            stream = await make_stream(engine)
            await engine.append(stream, batch("a", "b"))
            await delete_stream(engine)
            found = await engine.read_blocks(stream, 0, max_records=1000, max_bytes=2**20)
            assert found.deleted
            assert (found.state.tail, found.state.trim_point) == (3, 3)
            assert await records_of(engine, stream) == []

    async def test_deleting_twice_is_deleting_once(self, store: Store) -> None:
        async with opened(store, maintain=False) as engine:
            await make_stream(engine)
            await delete_stream(engine)
            change = await engine.change_stream(
                BASIN, "s", lambda _, existing: catalogue.delete_stream(existing, BASIN, "s", NOW)
            )
            assert change.result is ProvisionResult.NOOP

    async def test_everybody_hears_of_it(self, store: Store) -> None:
        async with opened(store, maintain=False) as one, opened(store, maintain=False) as two:
            stream = await make_stream(one)
            await two.append(stream, batch("a"))
            await delete_stream(one)
            with pytest.raises(StreamDeletionPending):
                await two.append(stream, batch("b"))

    async def test_the_name_becomes_free_and_begins_anew(self, engine: Engine) -> None:
        old = await make_stream(engine)
        await engine.append(old, commands(AppendRecord.fence("me"), AppendRecord("old")))
        await delete_stream(engine)
        await gone(engine)
        for call in (
            engine.append(old, batch("x")),
            engine.state(old),
            engine.read_blocks(old, 0, max_records=9, max_bytes=99),
        ):
            with pytest.raises(StreamNotFound):
                await call
        new = await make_stream(engine)
        assert new != old
        assert await engine.state(new) == StreamState()
        assert range_of(await engine.append(new, batch("new", token=""))) == (0, 1)
        assert await bodies_of(engine, new) == ["new"]
        with pytest.raises(StreamNotFound):
            await engine.append(old, batch("x"))

    async def test_an_engine_that_knew_the_old_stream_does_not_mistake_it(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            old = await make_stream(one)
            await two.append(old, batch("old"))
            await delete_stream(one)
            await gone(one)
            new = await make_stream(one)
            with pytest.raises(StreamNotFound):
                await two.append(old, batch("x"))
            assert range_of(await two.append(new, batch("new"))) == (0, 1)

    async def test_a_large_stream_goes_completely(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        await asyncio.gather(*[engine.append(stream, batch("x" * 1000)) for _ in range(500)])
        await delete_stream(engine)
        await gone(engine)
        again = await make_stream(engine)
        assert await records_of(engine, again) == []

    async def test_a_deleted_basin_takes_its_streams_with_it(self, engine: Engine) -> None:
        for number in range(40):
            await make_stream(engine, f"s{number}")
        await delete_basin(engine)

        async def basin_is_gone() -> bool:
            return await engine.basin(BASIN) is None

        await eventually(basin_is_gone)
        assert await engine.list_streams(BASIN, "", "", 100) == ()
        stream = await make_stream(engine, "s1")
        assert await engine.state(stream) == StreamState()

    async def test_nothing_is_created_in_a_basin_that_is_being_deleted(self, store: Store) -> None:
        async with opened(store, maintain=False) as engine:
            await make_stream(engine)
            await delete_basin(engine)
            with pytest.raises(BasinDeletionPending):
                await make_stream(engine, "other")
            entry = await engine.basin(BASIN)
            assert entry is not None
            assert entry.deleted_at == NOW


class CatalogueContract:
    async def test_entries_come_back_as_they_were_written(self, store: Store, engine: Engine) -> None:
        config = BasinConfig(
            StreamConfig(retention_policy=RetentionAge(5)), create_stream_on_append=True, create_stream_on_read=True
        )
        change = await engine.change_basin(
            BASIN, lambda existing: catalogue.create_basin(existing, BASIN, config, "token", NOW)
        )
        assert change.result is ProvisionResult.CREATED
        assert change.entry.basin_id
        assert await engine.basin(BASIN) == change.entry
        wanted = StreamConfig(timestamping=TimestampingConfig(TimestampingMode.ARRIVAL))

        def create(parent: BasinEntry | None, existing: StreamEntry | None) -> StreamChange:
            return catalogue.create_stream(parent, existing, BASIN, "s", wanted, "token", NOW)

        made = await engine.change_stream(BASIN, "s", create)
        assert made.entry.stream_id
        assert made.entry.config.retention_secs == 5
        assert await engine.stream(BASIN, "s") == made.entry
        async with opened(store) as another:
            assert await another.basin(BASIN) == change.entry
            assert await another.stream(BASIN, "s") == made.entry
            retried = await another.change_stream(BASIN, "s", create)
        assert retried == StreamChange(made.entry, ProvisionResult.NOOP)

    async def test_where_a_basin_is_can_be_kept_and_changed(self, engine: Engine) -> None:
        def written(entry: BasinEntry) -> BasinChange:
            return BasinChange(entry, ProvisionResult.CREATED)

        note = BasinEntry(BASIN, NOW, BasinConfig(), location="eu:one")
        await engine.change_basin(BASIN, lambda _: written(note))
        found = await engine.basin(BASIN)
        assert found is not None
        assert found.location == "eu:one"
        assert await engine.list_basins("", "", 10) == (found,)
        await engine.change_basin(BASIN, lambda _: written(replace(found, location="eu:two")))
        assert await engine.basin(BASIN) == replace(found, location="eu:two")

    async def test_a_stream_is_created_together_with_its_first_batch(self, store: Store) -> None:
        def create(parent: BasinEntry | None, existing: StreamEntry | None) -> StreamChange:
            return catalogue.auto_create_stream(parent, existing, BASIN, "s", None, NOW)

        async with opened(store) as engine:
            await make_basin(engine)
            results = await asyncio.gather(
                *[engine.append_first(BASIN, "s", create, batch(str(number))) for number in range(5)]
            )
            (entry,) = {entry.stream_id: entry for entry, _ in results}.values()
            assert [range_of(ack) for _, ack in results] == [(number, number + 1) for number in range(5)]
            assert all(ack.end.seq_num <= ack.tail.seq_num for _, ack in results)
            assert range_of(await engine.append(entry.stream_id, batch("last"))) == (5, 6)
        async with opened(store) as engine:
            assert await engine.stream(BASIN, "s") == entry
            assert await bodies_of(engine, entry.stream_id) == ["0", "1", "2", "3", "4", "last"]

    async def test_a_stream_whose_first_batch_is_refused_stays(self, engine: Engine) -> None:
        await make_basin(engine)
        refused = AppendInput.of([AppendRecord("a")], match_seq_num=1)
        with pytest.raises(SeqNumMismatch):
            await engine.append_first(
                BASIN,
                "s",
                lambda parent, existing: catalogue.auto_create_stream(parent, existing, BASIN, "s", None, NOW),
                refused,
            )
        entry = await engine.stream(BASIN, "s")
        assert entry is not None
        assert await bodies_of(engine, entry.stream_id) == []

    async def test_a_stream_that_may_not_be_created_gets_no_batch(self, engine: Engine) -> None:
        await make_basin(engine)

        def refuse(parent: BasinEntry | None, existing: StreamEntry | None) -> StreamChange:
            raise StreamNotFound("not here")

        with pytest.raises(StreamNotFound):
            await engine.append_first(BASIN, "s", refuse, batch("a"))
        assert await engine.stream(BASIN, "s") is None

    async def test_what_does_not_exist_is_none(self, engine: Engine) -> None:
        assert await engine.basin(BASIN) is None
        assert await engine.stream(BASIN, "s") is None
        await make_basin(engine)
        assert await engine.stream(BASIN, "s") is None
        assert await engine.list_streams("other-basin", "", "", 10) == ()

    async def test_a_refused_change_changes_nothing(self, engine: Engine) -> None:
        await make_stream(engine)
        before = await engine.stream(BASIN, "s"), await engine.basin(BASIN)
        with pytest.raises(ResourceExists):
            await make_stream(engine)
        with pytest.raises(ResourceExists):
            await engine.change_basin(
                BASIN, lambda existing: catalogue.create_basin(existing, BASIN, BasinConfig(), None, NOW)
            )
        assert (await engine.stream(BASIN, "s"), await engine.basin(BASIN)) == before

    async def test_one_of_many_creates_wins(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            await make_basin(one)
            results = await asyncio.gather(*[make_stream(engine) for engine in (one, two) * 5], return_exceptions=True)
            made = [result for result in results if not isinstance(result, BaseException)]
            assert len(made) == 1
            assert sum(isinstance(result, ResourceExists) for result in results) == 9

    async def test_changing_a_stream_keeps_its_records_and_state(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        await engine.append(stream, commands(AppendRecord.fence("me"), AppendRecord("a")))
        state = await engine.state(stream)
        entry = await configure(engine, "s", StreamConfig(retention_policy=InfiniteRetention()))
        assert entry.stream_id == stream
        assert entry.config.retention_secs is None
        assert await engine.state(stream) == state
        assert range_of(await engine.append(stream, batch("b", token="me"))) == (2, 3)

    async def test_a_change_queued_behind_appends_comes_after_them(self, engine: Engine) -> None:
        """A deletion does not overtake appends that were called before it by the same engine."""
        stream = await make_stream(engine)
        appended = [engine.append(stream, batch(str(n))) for n in range(10)]
        await asyncio.gather(*appended)
        await delete_stream(engine)
        assert [range_of(future.result()) for future in appended] == [(n, n + 1) for n in range(10)]

    @pytest.mark.parametrize(
        ("prefix", "start_after", "limit", "names"),
        [
            ("", "", 100, ["", "A", "a", "a/", "a/b", "a/c", "ab", "b", "é", "\uffff", "\U0001f600"]),
            ("a", "", 100, ["a", "a/", "a/b", "a/c", "ab"]),
            ("a/", "", 100, ["a/", "a/b", "a/c"]),
            ("a/", "a/b", 100, ["a/c"]),
            ("a/", "A", 100, ["a/", "a/b", "a/c"]),
            ("a/", "b", 100, []),
            ("", "a/", 3, ["a/b", "a/c", "ab"]),
            ("", "\U0001f600", 100, []),
            ("\U0001f600", "", 100, ["\U0001f600"]),
            ("%", "", 100, []),
            ("a_", "", 100, []),
        ],
    )
    async def test_streams_are_listed_by_the_bytes_of_their_names(
        self, engine: Engine, prefix: str, start_after: str, limit: int, names: list[str]
    ) -> None:
        for name in ["b", "a/c", "é", "a", "\U0001f600", "a/b", "A", "\uffff", "ab", "a/"]:
            await make_stream(engine, name)
        await make_basin(engine, "other-basin")
        found = await engine.list_streams(BASIN, prefix, start_after, limit)
        assert [entry.name for entry in found] == [name for name in names if name]

    async def test_basins_are_listed_by_the_bytes_of_their_names(self, engine: Engine) -> None:
        for name in ("basin-2222", "basin-1111", "zz-basin-1", "basin-11110"):
            await make_basin(engine, name)

        async def names(prefix: str, start_after: str, limit: int) -> list[str]:
            return [entry.name for entry in await engine.list_basins(prefix, start_after, limit)]

        assert await names("", "", 10) == ["basin-1111", "basin-11110", "basin-2222", "zz-basin-1"]
        assert await names("basin-1", "", 10) == ["basin-1111", "basin-11110"]
        assert await names("", "basin-1111", 2) == ["basin-11110", "basin-2222"]


def token_entry(token_id: str, *, secret: str = "", expires_at: datetime | None = None) -> AccessTokenEntry:
    info = AccessTokenInfo(token_id, AccessTokenScope(ops=(Operation.READ,)), expires_at)
    return AccessTokenEntry(info, hash_secret((secret or f"secret of {token_id}").encode()))


async def put_token(engine: Engine, entry: AccessTokenEntry) -> AccessTokenEntry | None:
    """Issue as it is, if there is none of this id."""
    return await engine.change_access_token(
        entry.info.id, lambda existing: access_tokens.issue(existing, entry.info, None, entry.secret_hash, NOW)
    )


class AccessTokenContract:
    async def test_a_token_is_found_by_its_hash(self, store: Store, engine: Engine) -> None:
        scope = AccessTokenScope(
            PrefixMatch(""), ExactMatch("a/ü"), None, ops=(Operation.APPEND, Operation.READ, Operation.LIST_BASINS)
        )
        info = AccessTokenInfo("t", scope, NOW.replace(microsecond=1), auto_prefix_streams=True)
        entry = AccessTokenEntry(info, hash_secret(b"a"))
        assert await engine.change_access_token("t", lambda existing: entry) == entry
        other = token_entry("other")
        await put_token(engine, other)
        assert await engine.find_access_tokens([entry.secret_hash]) == (entry,)
        assert await engine.find_access_tokens([hash_secret(b"unknown")]) == ()
        assert await engine.find_access_tokens([]) == ()
        wanted = [hash_secret(b"unknown"), entry.secret_hash, other.secret_hash]
        async with opened(store) as another:
            found = await another.find_access_tokens(wanted)
        assert sorted(e.info.id for e in found) == ["other", "t"]

    async def test_a_removed_token_is_gone(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            entry = token_entry("t")
            await put_token(one, entry)
            assert await two.change_access_token("t", lambda _: None) is None
            assert await one.find_access_tokens([entry.secret_hash]) == ()
            assert await one.list_access_tokens("", "", 10) == ()
            assert await one.change_access_token("t", lambda existing: existing) is None
            assert await put_token(one, entry) == entry

    async def test_a_replaced_token_has_its_new_hash_alone(self, engine: Engine) -> None:
        old, new = token_entry("t", secret="old"), token_entry("t", secret="new")
        await put_token(engine, old)
        await engine.change_access_token("t", lambda _: new)
        assert await engine.find_access_tokens([old.secret_hash, new.secret_hash]) == (new,)

    async def test_a_refused_change_leaves_the_token(self, engine: Engine) -> None:
        entry = token_entry("t")
        await put_token(engine, entry)
        with pytest.raises(ResourceExists):
            await put_token(engine, token_entry("t", secret="another"))
        assert await engine.list_access_tokens("", "", 10) == (entry,)

    async def test_one_of_many_issues_wins(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            entries = [token_entry("t", secret=str(n)) for n in range(10)]
            results = await asyncio.gather(
                *[put_token((one, two)[n % 2], entry) for n, entry in enumerate(entries)], return_exceptions=True
            )
            (winner,) = [result for result in results if isinstance(result, AccessTokenEntry)]
            assert sum(isinstance(result, ResourceExists) for result in results) == 9
            assert await one.find_access_tokens([entry.secret_hash for entry in entries]) == (winner,)

    async def test_tokens_are_listed_by_the_bytes_of_their_ids(self, engine: Engine) -> None:
        for token_id in ("b", "é", "a/c", "\U0001f600", "\uffff", "a", "ab", "a/b", "A"):
            await put_token(engine, token_entry(token_id))

        async def ids(prefix: str, start_after: str, limit: int) -> list[str]:
            return [entry.info.id for entry in await engine.list_access_tokens(prefix, start_after, limit)]

        assert await ids("", "", 100) == ["A", "a", "a/b", "a/c", "ab", "b", "é", "\uffff", "\U0001f600"]
        assert await ids("a/", "", 100) == ["a/b", "a/c"]
        assert await ids("a", "a/b", 1) == ["a/c"]
        assert await ids("a", "b", 100) == []
        assert await ids("%", "", 100) == []

    async def test_what_is_in_force_or_expired_lately_is_never_forgotten(self, store: Store, engine: Engine) -> None:
        now = datetime.fromtimestamp(store.clock.now_ms() / 1000, UTC)
        kept = [token_entry("kept-0"), token_entry("kept-1", expires_at=now - timedelta(hours=23))]
        for entry in kept:
            await engine.change_access_token(entry.info.id, lambda _, entry=entry: entry)  # type: ignore[misc]  # bound
        for number in range(50):
            await put_token(engine, token_entry(f"x{number}"))
        assert await engine.list_access_tokens("kept", "", 10) == tuple(kept)


class FollowingContract:
    async def test_a_follower_is_handed_every_block(self, engine: Engine) -> None:
        stream, other = await make_stream(engine), await make_stream(engine, "other")
        with engine.hub.follow(stream) as mailbox:
            await engine.append(other, batch("x"))
            for number in range(5):
                ack = await engine.append(stream, batch(str(number)))
                assert await mailbox.wait(PATIENCE_SECONDS)
                block = mailbox.take()
                while block is None:  # told to look; the block itself comes as well, or was read already
                    mailbox.clear()
                    found = await engine.read_blocks(stream, number, max_records=1, max_bytes=1)
                    block = found.blocks[0]
                assert (block.start_seq, block.tail) == (number, ack.tail)

    async def test_what_is_handed_over_is_durable(self, store: Store) -> None:
        async with opened(store) as engine, opened(store) as another:
            stream = await make_stream(engine)
            with engine.hub.follow(stream) as mailbox:
                for number in range(5):
                    future = engine.append(stream, batch("x"))
                    handed = None
                    while handed is None and not future.done():  # the first follower may be told to look as well
                        await mailbox.wait(PATIENCE_SECONDS)
                        handed = mailbox.take()
                        mailbox.clear()
                    assert (await another.state(stream)).tail == number + 1
                    await future

    async def test_a_rejected_batch_wakes_nobody(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        with engine.hub.follow(stream) as mailbox:
            await engine.append(stream, batch("a"))
            # The first follower may be told once to look, whenever the engine begins to listen.
            while await mailbox.wait(0.2):
                mailbox.clear()
            with pytest.raises(SeqNumMismatch):
                await engine.append(stream, batch("x", match=9))
            assert mailbox.take() is None

    async def test_another_engine_wakes_the_follower(self, store: Store) -> None:
        async with opened(store) as here, opened(store) as there:
            stream = await make_stream(here)
            with here.hub.follow(stream) as mailbox:
                for number in range(5):
                    await there.append(stream, batch(str(number)))
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        while (await here.state(stream)).tail <= number or not await mailbox.wait(None):
                            pass
                    mailbox.clear()

    async def test_a_follower_too_far_behind_is_told_to_look(self, engine: Engine) -> None:
        stream = await make_stream(engine)
        with engine.hub.follow(stream) as mailbox:
            await asyncio.gather(*[engine.append(stream, batch("x")) for _ in range(4 * MAILBOX_BLOCKS)])
            held = 0
            while mailbox.take() is not None:
                held += 1
            assert held <= MAILBOX_BLOCKS
            assert await mailbox.wait(PATIENCE_SECONDS)

    async def test_a_deletion_tells_the_follower_to_look(self, store: Store) -> None:
        async with opened(store, maintain=False) as here, opened(store, maintain=False) as there:
            for deleting, name in ((here, "one"), (there, "two")):
                stream = await make_stream(here, name)
                with here.hub.follow(stream) as mailbox:
                    await delete_stream(deleting, name)
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        while True:
                            await mailbox.wait(None)
                            mailbox.clear()
                            found = await here.read_blocks(stream, 0, max_records=1, max_bytes=1)
                            if found.deleted:
                                break

    async def test_closing_wakes_the_followers(self, store: Store) -> None:
        engine = await store.open()
        stream = await make_stream(engine)
        with engine.hub.follow(stream) as mailbox:
            waiting = asyncio.create_task(mailbox.wait(None))
            await asyncio.sleep(0)
            await engine.aclose()
            assert await waiting


class ClosingContract:
    async def test_what_waits_is_answered(self, store: Store) -> None:
        engine = await store.open()
        stream = await make_stream(engine)
        futures = [engine.append(stream, batch(str(n))) for n in range(100)]
        await engine.aclose()
        assert [range_of(await future) for future in futures] == [(n, n + 1) for n in range(100)]
        async with opened(store) as again:
            assert await bodies_of(again, stream) == [str(n) for n in range(100)]

    async def test_afterwards_everything_is_refused(self, store: Store) -> None:
        engine = await store.open()
        stream = await make_stream(engine)
        await engine.aclose()

        async def append() -> AppendAck:
            return await engine.append(stream, batch("x"))

        for call in (
            append(),
            engine.state(stream),
            engine.read_blocks(stream, 0, max_records=1, max_bytes=1),
            engine.find_timestamp(stream, 0),
            engine.basin(BASIN),
            engine.stream(BASIN, "s"),
            engine.list_basins("", "", 1),
            engine.list_streams(BASIN, "", "", 1),
            engine.find_access_tokens([b""]),
            engine.list_access_tokens("", "", 1),
            put_token(engine, token_entry("t")),
            make_basin(engine, "other-basin"),
            delete_stream(engine),
            engine.usage.add([]),
            engine.usage.sample(),
            engine.usage.counts(BASIN, "append-ops", 0, 3600, by_minute=True),
            engine.usage.stream_storage(stream),
            engine.usage.basin_storage(BASIN, 0, 3600),
            engine.usage.active_basins(0, 3600),
        ):
            with pytest.raises(Unavailable):
                await call

    async def test_closing_twice_is_closing_once(self, store: Store) -> None:
        engine = await store.open()
        await engine.aclose()
        await engine.aclose()

    async def test_nothing_is_left_running(self, store: Store) -> None:
        before = asyncio.all_tasks()
        async with opened(store) as engine:
            stream = await make_stream(engine)
            await engine.append(stream, batch("x"))
            with engine.hub.follow(stream):
                pass
        assert asyncio.all_tasks() == before
        gc.collect()


class EngineContract(
    AppendingContract,
    LaneContract,
    CancellationContract,
    ReadingContract,
    ExpiryContract,
    TimestampSearchContract,
    DeletionContract,
    CatalogueContract,
    AccessTokenContract,
    FollowingContract,
    UsageContract,
    ClosingContract,
):
    """All of it."""
