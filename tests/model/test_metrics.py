"""Which questions about use are answered at all (store API, section 8.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import Invalid
from perdure.model.limits import MAX_METRICS_AHEAD_SECS, MAX_METRICS_RANGE_SECS
from perdure.model.metrics import (
    AccountMetricSet,
    BasinMetricSet,
    MetricSet,
    MetricsQuery,
    MetricsRange,
    StreamMetricSet,
    TimeseriesInterval,
    interval_of,
)

NOW = 1_700_000_000.5
DAY = 86_400


def checked(start: int | None, end: int | None) -> MetricsRange:
    return MetricsRange.of(MetricsQuery(start, end), now_secs=NOW)


class TestRanges:
    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (0, 3600),
            (0, 0),
            (5, 5),
            (0, 30 * DAY),
            (int(NOW) - 3600, int(NOW)),
            (int(NOW), int(NOW) + MAX_METRICS_AHEAD_SECS),
        ],
    )
    def test_a_sane_range_is_taken_as_it_is(self, start: int, end: int) -> None:
        assert checked(start, end) == MetricsRange(start, end)

    @pytest.mark.parametrize(
        ("start", "end", "said"),
        [
            (None, 3600, "`start` is missing"),
            (0, None, "`end` is missing"),
            (None, None, "`start` is missing"),
            (3600, 3599, "must not be after"),
            (int(NOW), int(NOW) + MAX_METRICS_AHEAD_SECS + 1, "less than 540 seconds in the future"),
            (int(NOW - 50), int(NOW - 50) + 600, "less than 540 seconds in the future"),
            (0, 30 * DAY + 1, "at most 30 days"),
            (0, 40 * DAY, "at most 30 days"),
            (2**32 - 1, 2**32 - 1, "in the future"),
        ],
    )
    def test_another_is_refused(self, start: int | None, end: int | None, said: str) -> None:
        with pytest.raises(Invalid, match=said) as caught:
            checked(start, end)
        assert caught.value.status == 422

    @given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    def test_whatever_is_taken_is_within_the_bounds(self, start: int, end: int) -> None:
        try:
            found = checked(start, end)
        except Invalid:
            return
        assert found.start <= found.end <= NOW + MAX_METRICS_AHEAD_SECS
        assert found.end - found.start <= MAX_METRICS_RANGE_SECS


class TestIntervals:
    @pytest.mark.parametrize("metric_set", [*AccountMetricSet, *BasinMetricSet, *StreamMetricSet])
    @pytest.mark.parametrize("wanted", [None, *TimeseriesInterval])
    def test_storage_has_one_and_the_others_have_all(
        self, metric_set: MetricSet, wanted: TimeseriesInterval | None
    ) -> None:
        fixed = None
        if metric_set.value == "storage":
            fixed = TimeseriesInterval.HOUR if isinstance(metric_set, BasinMetricSet) else TimeseriesInterval.MINUTE
        if fixed is None:
            assert interval_of(metric_set, wanted) is (wanted or TimeseriesInterval.HOUR)
        elif wanted in (None, fixed):
            assert interval_of(metric_set, wanted) is fixed
        else:
            with pytest.raises(Invalid, match=f"has only `{fixed}`"):
                interval_of(metric_set, wanted)

    def test_their_lengths(self) -> None:
        assert [interval.seconds for interval in TimeseriesInterval] == [60, 3600, 86_400]
