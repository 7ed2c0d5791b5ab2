"""Durations and times as they are typed and shown."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.durations import duration_text, parse_duration, parse_time, time_text, timestamp_text


@pytest.mark.parametrize(
    ("text", "secs"), [("7d", 604_800), ("1w", 604_800), ("90s", 90), ("1h30m", 5400), ("0s", 0), ("1d1d", 172_800)]
)
def test_units_add_up(text: str, secs: int) -> None:
    assert parse_duration(text) == secs


@given(st.integers(0, 2**63))
def test_what_is_shown_can_be_typed(secs: int) -> None:
    assert parse_duration(duration_text(secs)) == secs


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "-1d", "1.5h", "1y", "٣d", "7D"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 7d"):
        parse_duration(text)


def test_a_missing_unit_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"got '60'; did you mean 60s\?$"):
        parse_duration("60")


def test_times_have_a_zone() -> None:
    assert parse_time("2026-12-01") == datetime(2026, 12, 1, tzinfo=UTC)
    assert parse_time("2026-12-01T02:00:00+02:00") == datetime(2026, 12, 1, tzinfo=UTC)
    assert time_text(parse_time("2026-12-01T02:00:00+02:00")) == "2026-12-01T00:00:00Z"
    with pytest.raises(ValueError, match="has no zone; add Z"):
        parse_time("2026-12-01T00:00:00")
    with pytest.raises(ValueError, match="expected a time such as"):
        parse_time("tomorrow")


def test_a_timestamp_beyond_any_calendar_stays_a_number() -> None:
    assert timestamp_text(1_795_312_749_638) == "2026-11-22T01:59:09.638Z"
    assert timestamp_text(2**64 - 1) == f"{2**64 - 1} ms"
