"""Sizes and times on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.quantities import rate_text, shown_secs, size_bytes, time_secs, time_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("0.1s", 0.1), ("1h 30m", 5400.0), ("1d", 86_400.0), (" 250 us ", 0.00025), ("0", 0.0)],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert time_secs(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 parsecs", "-1s", "1e3s", "s", "1s!", "nan"])
def test_a_time_without_its_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time with its unit"):
        time_secs(text)


@pytest.mark.parametrize(("text", "size"), [("8192", 8192), ("8KiB", 8192), ("1 mib", 1 << 20), ("2kb", 2000)])
def test_a_size_is_read(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1.5MiB", "-1", "8 kibble"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number of bytes"):
        size_bytes(text)


@given(st.sampled_from([0.0, 0.005, 0.25, 1.0, 20.0, 60.0]))
def test_a_default_is_shown_as_it_is_read(seconds: float) -> None:
    assert time_secs(shown_secs(seconds)) == seconds


def test_three_digits_are_shown() -> None:
    assert [time_text(ns) for ns in (0, 870_400, 999_600, 1_210_000, 98_760_000, 999_600_000, 12_340_000_000)] == [
        "0.00 µs",
        "870 µs",
        "1.00 ms",
        "1.21 ms",
        "98.8 ms",
        "1.00 s",
        "12.3 s",
    ]
    assert [rate_text(rate) for rate in (0.981, 9.996, 71.44, 1234.5)] == ["0.98", "10.0", "71.4", "1,234"]
