"""Counts become points as one would add and look them up by hand."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.model.access_tokens import Operation
from perdure.model.metrics import MetricsRange, TimeseriesInterval
from perdure.store.usage import (
    ACCOUNT,
    Counters,
    StorageHistory,
    StorageSample,
    UsageKey,
    UsagePoint,
    fold,
    levels,
    observed,
    whole_hours,
)

BASIN = "test-basin"
DAY = 86_400

minutes = st.integers(0, 4 * 24 * 60).map(lambda minute: minute * 60)
points = st.lists(st.builds(UsagePoint, st.sampled_from(["unary", "session"]), minutes, st.integers(1, 1000)))
bounds = st.tuples(st.integers(0, 4 * DAY), st.integers(0, 4 * DAY)).map(sorted)
ranges = bounds.map(lambda bound: MetricsRange(*bound))
intervals = st.sampled_from(list(TimeseriesInterval))


class TestCounting:
    def test_each_operation_counts_in_one_set(self) -> None:
        for operation in Operation:
            counters = Counters()
            counters.operated(operation, BASIN)
            ((key, value),) = counters.take().items()
            assert value == 1
            assert key.series == operation.value
            assert (key.basin, key.metric_set) in ((ACCOUNT, "account-ops"), (BASIN, "basin-ops"))

    @pytest.mark.parametrize(
        "operation",
        [Operation.LIST_BASINS, Operation.CREATE_BASIN, Operation.ISSUE_ACCESS_TOKEN, Operation.LIST_LOCATIONS],
    )
    def test_what_concerns_the_account_counts_there(self, operation: Operation) -> None:
        counters = Counters()
        counters.operated(operation)
        assert counters.take() == {UsageKey(ACCOUNT, "account-ops", operation.value): 1}

    def test_batches_and_reads_count_by_basin_in_operations_and_bytes(self) -> None:
        counters = Counters()
        counters.appended(BASIN, 10)
        counters.appended(BASIN, 20)
        counters.appended_in_session(BASIN, 5)
        counters.read(BASIN)
        counters.handed_out(BASIN, 7)
        counters.opened_read_session("other-basin")
        counters.handed_out("other-basin", 9)
        assert counters.take() == {
            UsageKey(BASIN, "append-ops", "unary"): 2,
            UsageKey(BASIN, "append-ops", "session"): 1,
            UsageKey(BASIN, "append-throughput", "append-throughput"): 35,
            UsageKey(BASIN, "read-ops", "unary"): 1,
            UsageKey(BASIN, "read-throughput", "read-throughput"): 7,
            UsageKey("other-basin", "read-ops", "session"): 1,
            UsageKey("other-basin", "read-throughput", "read-throughput"): 9,
        }

    def test_what_was_taken_is_not_given_again(self) -> None:
        counters = Counters()
        counters.appended(BASIN, 10)
        counters.take()
        assert counters.take() == {}
        counters.appended(BASIN, 1)
        assert counters.take()[UsageKey(BASIN, "append-throughput", "append-throughput")] == 1


class TestFolding:
    @given(points=points, interval=intervals, wanted=ranges)
    def test_a_fold_is_the_naive_sum(
        self, points: list[UsagePoint], interval: TimeseriesInterval, wanted: MetricsRange
    ) -> None:
        sums: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        for begin in range(0, 5 * DAY, interval.seconds):
            end = begin + interval.seconds
            touches = begin <= wanted.start < end or wanted.start < begin < wanted.end
            for point in points if touches else ():
                if begin <= point.start_secs < end:
                    sums[point.series][begin] += point.value
        assert fold(points, interval, wanted) == {name: tuple(sorted(of.items())) for name, of in sums.items()}

    @given(points=points, interval=intervals, wanted=ranges)
    def test_nothing_is_lost_that_lies_in_whole_intervals(
        self, points: list[UsagePoint], interval: TimeseriesInterval, wanted: MetricsRange
    ) -> None:
        step = interval.seconds
        aligned = MetricsRange(wanted.start // step * step, (wanted.end // step + 1) * step)
        total = sum(value for values in fold(points, interval, aligned).values() for _, value in values)
        assert total == sum(p.value for p in points if aligned.start <= p.start_secs < aligned.end)

    @given(points=points, interval=intervals, wanted=ranges)
    def test_the_hours_that_are_read_are_enough(
        self, points: list[UsagePoint], interval: TimeseriesInterval, wanted: MetricsRange
    ) -> None:
        start_secs, end_secs = whole_hours(wanted, interval)
        assert start_secs % 3600 == end_secs % 3600 == 0
        read = [point for point in points if start_secs <= point.start_secs < end_secs]
        assert fold(read, interval, wanted) == fold(points, interval, wanted)

    def test_an_empty_range_asks_for_the_interval_around_it(self) -> None:
        found = fold(
            [UsagePoint("s", 3600, 1), UsagePoint("s", 7140, 2)], TimeseriesInterval.HOUR, MetricsRange(5000, 5000)
        )
        assert found == {"s": ((3600, 3),)}


samples = st.lists(st.integers(0, 3 * 24 * 60), max_size=20, unique=True).map(
    lambda minutes: tuple(StorageSample(minute * 60, minute * 7 + 1) for minute in sorted(minutes))
)


class TestLevels:
    @settings(deadline=None)
    @given(samples=samples, wanted=ranges, now_secs=st.integers(3 * DAY, 4 * DAY))
    def test_each_minute_has_the_last_sample_before_it(
        self, samples: tuple[StorageSample, ...], wanted: MetricsRange, now_secs: int
    ) -> None:
        history = StorageHistory(5, samples, written_secs=0)
        expected: list[tuple[int, float]] = []
        instants = {*range(0, 4 * DAY, 60), now_secs}
        for at_secs in sorted(at for at in instants if wanted.start <= at <= min(wanted.end, now_secs)):
            before = [sample.stored_bytes for sample in samples if sample.at_secs <= at_secs]
            if at_secs == now_secs:
                expected.append((at_secs, 5))
            elif before or not samples:
                expected.append((at_secs, before[-1] if before else 5))
        assert list(levels(history, TimeseriesInterval.MINUTE, wanted, now_secs)) == expected

    def test_a_stream_that_nobody_sampled_has_held_the_same_since_it_was_written(self) -> None:
        history = StorageHistory(9, (), written_secs=90)
        assert levels(history, TimeseriesInterval.MINUTE, MetricsRange(0, 1000), 250) == (
            (120, 9),
            (180, 9),
            (240, 9),
            (250, 9),
        )
        assert levels(history, TimeseriesInterval.MINUTE, MetricsRange(0, 200), 250) == ((120, 9), (180, 9))
        assert levels(history, TimeseriesInterval.MINUTE, MetricsRange(0, 60), 250) == ()

    def test_a_range_in_the_past_does_not_tell_of_now(self) -> None:
        history = StorageHistory(9, (StorageSample(60, 1), StorageSample(180, 2)))
        assert levels(history, TimeseriesInterval.MINUTE, MetricsRange(0, 200), 900) == ((60, 1), (120, 1), (180, 2))

    @given(samples=samples, wanted=ranges, now_secs=st.integers(3 * DAY, 4 * DAY))
    def test_a_basin_has_what_was_noted_and_what_is_now(
        self, samples: tuple[StorageSample, ...], wanted: MetricsRange, now_secs: int
    ) -> None:
        expected = {s.at_secs: s.stored_bytes for s in samples if wanted.start <= s.at_secs <= wanted.end}
        if wanted.start <= now_secs <= wanted.end:
            expected[now_secs] = 5
        assert dict(observed(StorageHistory(5, samples), wanted, now_secs)) == expected
