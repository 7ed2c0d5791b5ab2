"""Latencies in buckets: percentiles within the promised error of those of the sorted list, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.bench.latencies import MAX_ERROR, Latencies

PERCENTS = (0, 1, 50, 90, 99, 99.9, 100)


@given(st.lists(st.tuples(st.integers(0, 10**13), st.integers(1, 3)), min_size=1, max_size=50))
def test_percentiles_are_never_below_the_measured_one_and_little_above(measured: list[tuple[int, int]]) -> None:
    latencies, every = Latencies(), sorted(ns for ns, times in measured for _ in range(times))
    for ns, times in measured:
        latencies.add(ns, times)
    for percent in PERCENTS:
        exact = every[max(1, -(-len(every) * int(percent * 10) // 1000)) - 1]
        assert exact <= latencies.percentile(percent) <= exact * (1 + MAX_ERROR)
    assert latencies.percentile(100) == latencies.max_ns == every[-1]
    assert latencies.count == len(every)
    assert abs(latencies.mean_ns - sum(every) / len(every)) < 1


def test_days_of_latencies_need_few_buckets() -> None:
    latencies = Latencies()
    for exponent in range(48):
        for step in range(0, 2**exponent, max(1, 2**exponent // 500)):
            latencies.add(2**exponent + step)
    assert latencies.buckets < 3_000


def test_nothing_measured_is_nothing() -> None:
    latencies = Latencies()
    assert (latencies.percentile(99), latencies.max_ns, latencies.mean_ns) == (0, 0, 0)
    latencies.add(-5)
    assert (latencies.percentile(50), latencies.count) == (0, 1)
