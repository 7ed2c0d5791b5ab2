"""Where a read starts and what its limits let through (store API, sections 6.2 and 6.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ReadUnwritten
from perdure.model.batches import AppendInput, Part, PlainRecords, ReadBatch
from perdure.model.configs import ResolvedStreamConfig
from perdure.model.positions import ReadStart, SeqNum, StreamPosition, TailOffset, Timestamp
from perdure.model.reads import ReadLimits, ReadRequest
from perdure.model.records import AppendRecord
from perdure.store.reading import Budget, Delivery, deliver, start_of
from perdure.store.sequencing import Block, StreamState, sequence
from perdure.wire.protobuf import decode_read_batch
from tests.model.strategies import headers

EMPTY = StreamPosition(0, 0)
FIVE = StreamPosition(5, 1000)


@pytest.mark.parametrize(
    ("tail", "start", "options", "expected"),
    [
        (EMPTY, SeqNum(0), {"count": 9}, None),
        (EMPTY, SeqNum(0), {"count": 9, "wait": 1}, 0),
        (EMPTY, SeqNum(0), {}, 0),
        (EMPTY, Timestamp(0), {"count": 9}, Timestamp(0)),
        (EMPTY, Timestamp(1), {"count": 9}, None),
        (EMPTY, TailOffset(9), {"count": 9}, None),
        (FIVE, SeqNum(5), {"count": 9}, None),
        (FIVE, None, {"count": 9}, None),
        (FIVE, None, {}, 5),
        (FIVE, None, {"wait": 0}, 5),
        (FIVE, None, {"wait": 0, "count": 9}, None),
        (FIVE, SeqNum(4), {"count": 9}, 4),
        (FIVE, SeqNum(9), {"count": 9}, None),
        (FIVE, SeqNum(9), {}, None),
        (FIVE, SeqNum(9), {"clamp": True, "count": 9}, None),
        (FIVE, SeqNum(9), {"clamp": True, "count": 9, "wait": 1}, 5),
        (FIVE, SeqNum(9), {"clamp": True}, 5),
        (FIVE, SeqNum(9), {"wait": 1, "count": 9}, None),
        (FIVE, TailOffset(2), {"count": 9}, 3),
        (FIVE, TailOffset(99), {"count": 9}, 0),
        (FIVE, TailOffset(2**64 - 1), {"count": 9}, 0),
        (FIVE, Timestamp(1000), {"count": 9}, Timestamp(1000)),
        (FIVE, Timestamp(1001), {"count": 9}, None),
        (FIVE, Timestamp(1001), {}, None),
        (FIVE, Timestamp(1001), {"clamp": True, "count": 9}, None),
        (FIVE, Timestamp(1001), {"clamp": True}, 5),
        (FIVE, SeqNum(5), {"until": 2000}, None),
        (FIVE, SeqNum(5), {"bytes": 9}, None),
    ],
)
def test_where_a_read_starts(
    tail: StreamPosition, start: ReadStart | None, options: dict[str, int], expected: int | Timestamp | None
) -> None:
    request = ReadRequest.of(start, **options)  # type: ignore[arg-type]  # `clamp` is a bool among numbers
    if expected is None:
        with pytest.raises(ReadUnwritten) as caught:
            start_of(request, tail)
        assert caught.value.tail == tail
    else:
        assert start_of(request, tail) == expected


@pytest.mark.parametrize(
    ("options", "may_follow"),
    [
        ({}, True),
        ({"wait": 0}, True),
        ({"wait": 1}, True),
        ({"count": 1}, False),
        ({"bytes": 1}, False),
        ({"until": 1}, False),
        ({"count": 1, "wait": 0}, False),
        ({"count": 1, "wait": 1}, True),
    ],
)
def test_a_read_may_follow_without_limits_or_with_a_wait(options: dict[str, int], may_follow: bool) -> None:
    assert ReadRequest.of(**options).may_follow is may_follow  # type: ignore[arg-type]  # no flags among them


def blocks_of(sizes: list[list[tuple[int, int]]]) -> list[Block]:
    """Blocks of records given as (body length, step of the timestamp)."""
    state, blocks, now = StreamState(), [], 0
    for block in sizes:
        records = []
        for length, step in block:
            now += step
            records.append(AppendRecord(b"x" * length, timestamp=now))
        state, made, _ = sequence(state, ResolvedStreamConfig(), None, AppendInput.of(records), now_ms=10**9)
        blocks.append(made)
    return blocks


def read_all(blocks: list[Block], cursor: int, trim_point: int, limits: ReadLimits, group: int) -> list[Delivery]:
    """Every step of a read that is given `group` blocks at a time."""
    budget, deliveries = Budget(limits), []
    while not budget.spent:
        found = [block for block in blocks if block.end_seq > max(cursor, trim_point)][:group]
        if not found:
            break
        delivery = deliver(found, cursor, trim_point, budget, None)
        assert delivery.cursor > cursor or budget.spent
        cursor = delivery.cursor
        if not delivery.is_heartbeat:
            deliveries.append(delivery)
    return deliveries


small = st.integers(0, 40)


@given(
    sizes=st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=5), max_size=8),
    cursor=small,
    trim_point=small,
    count=st.none() | small,
    size=st.none() | st.integers(0, 400),
    until=st.none() | small,
    group=st.integers(1, 4),
)
def test_a_read_hands_out_exactly_what_its_limits_allow(
    sizes: list[list[tuple[int, int]]],
    cursor: int,
    trim_point: int,
    count: int | None,
    size: int | None,
    until: int | None,
    group: int,
) -> None:
    blocks = blocks_of(sizes)
    deliveries = read_all(blocks, cursor, trim_point, ReadLimits(count, size, until), group)

    expected = []
    left_count, left_bytes = count, size
    for record in (r for block in blocks for r in Delivery(0, blocks=(block.body,)).decoded().records):
        if record.seq_num < max(cursor, trim_point):
            continue
        if left_count == 0 or left_bytes == 0 or (left_bytes is not None and record.metered_bytes > left_bytes):
            break
        if until is not None and record.timestamp >= until:
            break
        expected.append(record)
        left_count = None if left_count is None else left_count - 1
        left_bytes = None if left_bytes is None else left_bytes - record.metered_bytes

    assert [r for delivery in deliveries for r in delivery.decoded().records] == expected
    for delivery in deliveries:
        assert decode_read_batch(delivery.encoded()) == delivery.decoded()
        assert delivery.cursor == delivery.decoded().records[-1].seq_num + 1
        assert_parts_are(delivery)


def assert_parts_are(delivery: Delivery) -> None:
    """The parts say the same as the records, without a value for each."""
    whole = delivery.decoded()
    said = [said_of(part) for part in delivery.parts()]
    assert [entry for part in said for entry in part] == said_of(whole)
    assert [part.tail for part in delivery.parts()] == [None] * (len(said) - 1) + [whole.tail]


def said_of(part: Part) -> list[tuple[int, bytes, object]]:
    if isinstance(part, PlainRecords):
        return [(number, body, ()) for number, body in enumerate(part.bodies, part.start_seq)]
    return [(record.seq_num, record.body, record.headers) for record in part.records]


body_lengths = st.integers(0, 3) | st.integers(120, 132) | st.integers(16_370, 16_390)
appended = st.builds(
    AppendRecord,
    body_lengths.map(bytes),
    headers=st.just(()) | st.just(()) | st.just(()) | headers,
    timestamp=st.sampled_from([0, 1, 127, 128, 2**35 - 1, 2**35, 2**42]),
) | st.sampled_from([AppendRecord.fence(""), AppendRecord.fence("x"), AppendRecord.trim(0)])


@given(
    st.lists(st.lists(appended, min_size=1, max_size=4), min_size=1, max_size=8),
    st.sampled_from([0, 1, 120, 126, 2**14 - 3, 2**21 - 2]),
    st.sets(st.integers(0, 7)),
)
def test_the_parts_of_a_delivery_say_what_its_records_say(
    batches: list[list[AppendRecord]], start_seq: int, hidden: set[int]
) -> None:
    state, blocks = StreamState(start_seq), []
    for batch in batches:
        state, made, _ = sequence(state, ResolvedStreamConfig(), None, AppendInput.of(batch), now_ms=2**42)
        blocks.append(made)
    shown = [block for index, block in enumerate(blocks) if index not in hidden]  # those expired
    assert_parts_are(deliver(shown, 0, 0, Budget(ReadLimits()), FIVE))


def test_records_of_one_kind_are_parts_of_many() -> None:
    blocks = blocks_of([[(9, 1)] * 1000] * 5)
    parts = deliver(blocks, 0, 0, Budget(ReadLimits()), None).parts()
    assert sum(len(part.bodies) for part in parts if isinstance(part, PlainRecords)) == 4000  # not those below 128
    assert len(parts) <= 8


def test_whole_blocks_go_out_as_they_were_stored() -> None:
    blocks = blocks_of([[(1, 1)], [(2, 1), (3, 1)]])
    delivery = deliver(blocks, 0, 0, Budget(ReadLimits()), None)
    assert delivery.blocks == (blocks[0].body, blocks[1].body)
    assert delivery.encoded() == blocks[0].body + blocks[1].body


def test_a_tail_is_appended_to_what_is_encoded() -> None:
    tail = StreamPosition(3, 1000)
    assert Delivery(3, tail=tail).encoded() == bytes.fromhex("12 05 08 03 10 e8 07")
    assert Delivery(3, tail=tail).decoded() == ReadBatch((), tail)
    assert Delivery(0, tail=EMPTY).encoded() == bytes.fromhex("12 00")
    (block,) = blocks_of([[(1, 1)]])
    live = deliver([block], 0, 0, Budget(ReadLimits()), block.tail)
    assert decode_read_batch(live.encoded()).tail == block.tail
