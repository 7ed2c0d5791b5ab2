"""W3C Trace Context: what counts as a trace, what is passed on, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.telemetry import TraceContext, carried, current_trace
from perdure.telemetry.trace_context import (
    MAX_TRACE_STATE_BYTES,
    MAX_TRACE_STATE_MEMBERS,
    passed_on_state,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_the_example_of_the_recommendation() -> None:
    found = TraceContext.parse(GOOD, "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE")
    assert found == TraceContext(TRACE, SPAN, 1, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert found.is_sampled
    assert found.traceparent == GOOD


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}, {GOOD}",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
    ],
)
def test_what_is_malformed_counts_as_absent(traceparent: str) -> None:
    assert TraceContext.parse(traceparent) is None


@pytest.mark.parametrize("traceparent", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-one-day"])
def test_a_later_version_is_read_as_far_as_it_is_known(traceparent: str) -> None:
    found = TraceContext.parse(traceparent)
    assert found is not None
    assert found.traceparent == GOOD


def test_flags_that_nobody_knows_are_not_passed_on() -> None:
    found = TraceContext.parse(f"00-{TRACE}-{SPAN}-ff")
    assert found is not None
    assert found.traceparent.endswith("-03")


@pytest.mark.parametrize(
    "state",
    [
        "novalue",
        "UPPER=1",
        "twice=1,twice=2",
        "a=1=2",
        "a=",
        "a=\x7f",
        "a=b\u00e9",
        "@vendor=1",
        ",".join(f"k{number}=v" for number in range(MAX_TRACE_STATE_MEMBERS + 1)),
    ],
)
def test_a_malformed_state_is_dropped_and_the_trace_is_kept(state: str) -> None:
    assert TraceContext.parse(GOOD, state) == TraceContext(TRACE, SPAN, 1)


def test_empty_members_of_a_state_are_allowed() -> None:
    assert passed_on_state(" a=1 ,, b@c=2\t,") == "a=1,b@c=2"


def test_of_a_state_that_is_too_long_large_members_go_first_and_then_the_last_ones() -> None:
    small = [f"k{number}={'v' * 30}" for number in range(20)]
    kept = passed_on_state(",".join([small[0], "large=" + "v" * 200, *small[1:]])).split(",")
    assert kept == small[: len(kept)]
    assert len(kept) == (MAX_TRACE_STATE_BYTES + 1) // (len(small[19]) + 1)


KEYS = st.from_regex(r"[a-z][a-z0-9_\-*/]{0,20}", fullmatch=True)
VALUES = st.from_regex(r"[\x21-\x2b\x2d-\x3c\x3e-\x7e]{1,60}", fullmatch=True)


@given(st.dictionaries(KEYS, VALUES, max_size=MAX_TRACE_STATE_MEMBERS))
def test_a_state_is_passed_on_whole_while_it_is_short_enough(members: dict[str, str]) -> None:
    state = ",".join(f"{key}={value}" for key, value in members.items())
    kept = passed_on_state(state)
    assert len(kept) <= MAX_TRACE_STATE_BYTES
    assert passed_on_state(kept) == kept
    if len(state) <= MAX_TRACE_STATE_BYTES:
        assert kept == state
    else:
        assert set(kept.split(",")) - {""} <= set(state.split(","))


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_header_is_an_error(traceparent: str, tracestate: str) -> None:
    TraceContext.parse(traceparent, tracestate)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 3))
def test_a_trace_survives_its_header(trace_id: int, span_id: int, flags: int) -> None:
    trace = TraceContext(f"{trace_id:032x}", f"{span_id:016x}", flags)
    assert TraceContext.parse(trace.traceparent) == trace


def test_a_trace_is_carried_without_opentelemetry() -> None:
    trace = TraceContext(TRACE, SPAN, 1)
    with carried(trace):
        assert current_trace() == trace
    assert current_trace() is None
