"""Records become batches by arithmetic and a deadline (store API, section 10.7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.client.batching import Batcher
from perdure.client.in_flight import InFlight
from perdure.errors import Invalid
from perdure.model.limits import MAX_BATCH_BYTES
from perdure.model.records import AppendRecord


def record(size: int) -> AppendRecord:
    """A record of `size` metered bytes."""
    return AppendRecord(b"x" * (size - 8))


sizes = st.integers(8, 60)


@given(
    records=st.lists(st.tuples(sizes, st.floats(0, 0.01)), max_size=60),
    linger_ms=st.sampled_from([0, 1, 5, 1000]),
    max_batch_records=st.integers(1, 7),
    max_batch_bytes=st.integers(60, 200),
    join_first=st.booleans(),
)
def test_batches_are_the_records_in_order_within_all_limits(
    records: list[tuple[int, float]], linger_ms: int, max_batch_records: int, max_batch_bytes: int, join_first: bool
) -> None:
    batcher = Batcher(linger_ms=linger_ms, max_batch_records=max_batch_records, max_batch_bytes=max_batch_bytes)
    given_records = [record(size) for size, _ in records]
    batches: list[list[AppendRecord]] = []
    now, first = 100.0, None
    for item, (_, pause) in zip(given_records, records, strict=True):
        now += pause
        if batcher.due(now):
            assert first is not None
            batches.append(batcher.flush())
        first = now if len(batcher) == 0 or not batcher.fits(item) else first
        held = len(batcher)
        if join_first and (place := batcher.join(item)):
            assert place == held == len(batcher) - 1
            ready = list[list[AppendRecord]]()
        else:
            assert len(batcher) == held
            ready = batcher.add(item, now)
        assert len(ready) <= 2
        batches += ready
        if len(batcher):
            assert first is not None
            assert batcher.deadline == pytest.approx(first + linger_ms / 1000)
            assert linger_ms > 0
        else:
            assert batcher.deadline is None
    rest = batcher.flush()
    if rest:
        batches.append(rest)
    assert [item for batch in batches for item in batch] == given_records
    for batch in batches:
        assert 1 <= len(batch) <= max_batch_records
        assert sum(item.metered_bytes for item in batch) <= max_batch_bytes


def test_a_record_joins_others_only_where_nothing_follows_from_it() -> None:
    batcher = Batcher(max_batch_bytes=100, max_batch_records=3)
    assert batcher.join(record(10)) == 0, "the first one sets the deadline"
    batcher.add(record(10), 0.0)
    assert batcher.join(record(90)) == 0, "it fills the batch"
    assert batcher.join(record(91)) == 0, "it does not fit"
    assert batcher.join(record(10)) == 1
    assert batcher.join(record(10)) == 0, "it is the last that the batch may have"
    assert [item.metered_bytes for item in batcher.flush()] == [10, 10]


def test_linger_zero_sends_each_record_at_once() -> None:
    batcher = Batcher(linger_ms=0)
    one, two = record(10), record(20)
    assert batcher.add(one, 0.0) == [[one]]
    assert batcher.add(two, 0.0) == [[two]]
    assert batcher.deadline is None


def test_a_record_that_does_not_fit_sends_the_others_first() -> None:
    batcher = Batcher(max_batch_bytes=100)
    small, large = record(60), record(41)
    assert batcher.add(small, 0.0) == []
    assert not batcher.fits(large)
    assert batcher.add(large, 1.0) == [[small]]
    assert batcher.deadline == pytest.approx(1.005)
    full = record(100)
    assert batcher.add(full, 2.0) == [[large], [full]]


def test_a_batch_that_is_exactly_full_goes() -> None:
    batcher = Batcher(max_batch_bytes=100, max_batch_records=3)
    assert batcher.add(record(50), 0.0) == []
    assert len(batcher.add(record(50), 0.0)) == 1
    for _ in range(2):
        assert batcher.add(record(10), 0.0) == []
    assert len(batcher.add(record(10), 0.0)) == 1


def test_the_deadline_counts_from_the_first_record() -> None:
    batcher = Batcher(linger_ms=5)
    batcher.add(record(8), 1.0)
    batcher.add(record(8), 1.004)
    assert batcher.deadline == pytest.approx(1.005)
    assert not batcher.due(1.0049)
    assert batcher.due(1.0051)
    batcher.flush()
    assert not batcher.due(9.0)


def test_a_record_above_the_limit_is_refused_and_changes_nothing() -> None:
    batcher = Batcher(max_batch_bytes=100)
    kept = record(50)
    batcher.add(kept, 0.0)
    with pytest.raises(Invalid, match="exceeds maximum batch size"):
        batcher.add(record(101), 0.0)
    assert batcher.flush() == [kept]


@pytest.mark.parametrize("linger_ms", [-1, float("inf"), float("nan")])
def test_a_bad_linger_is_refused(linger_ms: float) -> None:
    with pytest.raises(Invalid, match="linger_ms"):
        Batcher(linger_ms=linger_ms)


@pytest.mark.parametrize("records", [0, 1001])
def test_a_bad_limit_of_records_is_refused(records: int) -> None:
    with pytest.raises(Invalid, match="max_batch_records"):
        Batcher(max_batch_records=records)


@pytest.mark.parametrize("size", [0, 7, MAX_BATCH_BYTES + 1])
def test_a_bad_limit_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(Invalid, match="max_batch_bytes"):
        Batcher(max_batch_bytes=size)


@given(steps=st.lists(st.integers(1, MAX_BATCH_BYTES)), max_batches=st.none() | st.integers(1, 5), data=st.data())
def test_what_is_in_flight_never_passes_its_bounds(
    steps: list[int], max_batches: int | None, data: st.DataObject
) -> None:
    room, flying = InFlight(max_bytes=2 * MAX_BATCH_BYTES, max_batches=max_batches), list[int]()
    for size in steps:
        while not room.fits(size):
            assert flying, "an empty pipeline has room for any batch"
            room.remove(flying.pop(data.draw(st.integers(0, len(flying) - 1))))
        room.add(size)
        flying.append(size)
        assert room.bytes == sum(flying) <= room.max_bytes
        assert room.batches == len(flying) <= (max_batches or len(flying))


def test_bounds_that_no_batch_fits_are_refused() -> None:
    with pytest.raises(Invalid, match="max_in_flight_bytes"):
        InFlight(max_bytes=MAX_BATCH_BYTES - 1)
    with pytest.raises(Invalid, match="max_in_flight_batches"):
        InFlight(max_batches=0)
