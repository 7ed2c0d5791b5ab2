"""Whether and when to try again (store API, section 10.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.client.retries import AppendRetryPolicy, RetryPolicy
from perdure.errors import CODES, PerdureError, TransportError, UsageError
from perdure.wire.errors_json import decode_error

chances = st.floats(0, 1)
NO_SIDE_EFFECTS = RetryPolicy(appends=AppendRetryPolicy.NO_SIDE_EFFECTS)
told = st.sampled_from(sorted(CODES)).map(
    lambda code: decode_error(CODES[code].status, b'{"code":"%s","message":"m"}' % code.encode())
)
lost = st.booleans().map(lambda applied: TransportError("lost", may_have_applied=applied))
errors = st.one_of(told, lost)


class TestDelays:
    @pytest.mark.parametrize(
        ("retry", "least", "most"), [(0, 0.1, 0.2), (1, 0.2, 0.4), (3, 0.8, 1.6), (4, 1, 2), (99, 1, 2)]
    )
    def test_the_base_doubles_up_to_its_maximum_and_chance_doubles_it(
        self, retry: int, least: float, most: float
    ) -> None:
        policy = RetryPolicy()
        assert policy.delay_secs(retry, 0.0) == pytest.approx(least)
        assert policy.delay_secs(retry, 1.0) == pytest.approx(most)

    @given(st.integers(0, 10**6), chances, st.integers(0, 10**6))
    def test_it_is_never_less_than_the_server_asked_for(self, retry: int, chance: float, after_ms: int) -> None:
        policy = RetryPolicy()
        usual = policy.delay_secs(retry, chance)
        assert 0.1 <= usual <= 2.0
        assert policy.delay_secs(retry, chance, after_ms) == max(usual, after_ms / 1000)


class TestOptions:
    def test_a_plain_string_is_the_member_that_it_equals(self) -> None:
        """An `is` would take it for neither, so that what was to be sent once would be sent twice."""
        policy = RetryPolicy(appends="no-side-effects")  # type: ignore[arg-type]
        assert policy.appends is AppendRetryPolicy.NO_SIDE_EFFECTS
        assert not policy.allows_append(TransportError("lost", may_have_applied=True), 1)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"appends": "noSideEffects"},
            {"appends": None},
            {"max_attempts": 0},
            {"max_attempts": "3"},
            {"max_attempts": 2.5},
            {"min_delay_ms": "100"},
            {"max_delay_ms": None},
            {"min_delay_ms": 5, "max_delay_ms": 4},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(UsageError, match=next(iter(wrong))):
            RetryPolicy(**wrong)  # type: ignore[arg-type]


class TestDecisions:
    @given(errors, st.integers(1, 10), st.integers(1, 10))
    def test_attempts_are_counted_with_the_first(self, error: PerdureError, attempts: int, failures: int) -> None:
        allowed = RetryPolicy(max_attempts=attempts).allows(error, failures)
        assert allowed == (error.retry_is_safe and failures < attempts)

    @given(errors)
    def test_an_ambiguous_append_is_not_sent_again_without_side_effects(self, error: PerdureError) -> None:
        assert NO_SIDE_EFFECTS.allows_append(error, 1) == (error.retry_is_safe and error.has_no_side_effects)

    @given(errors)
    def test_what_was_never_sent_is_not_in_doubt(self, error: PerdureError) -> None:
        assert NO_SIDE_EFFECTS.allows_append(error, 1, in_doubt=False) == error.retry_is_safe

    @given(errors)
    def test_the_usual_policy_looks_at_nothing_but_the_error(self, error: PerdureError) -> None:
        assert RetryPolicy().allows_append(error, 1) == error.retry_is_safe

    @pytest.mark.parametrize(
        ("status", "retried"),
        [(408, True), (429, True), (500, True), (502, True), (503, True), (504, True)]
        + [(status, False) for status in (400, 401, 403, 404, 409, 412, 415, 416, 422, 501)],
    )
    def test_an_unknown_error_is_judged_by_its_status(self, status: int, retried: bool) -> None:
        assert RetryPolicy().allows(decode_error(status, b"<html>a proxy</html>"), 1) == retried


class TestPolicies:
    @pytest.mark.parametrize(("attempts", "low", "high"), [(0, 1, 2), (3, -1, 2), (3, 3, 2), (3, 0, float("inf"))])
    def test_numbers_that_make_no_sense_are_refused(self, attempts: int, low: float, high: float) -> None:
        with pytest.raises(UsageError):
            RetryPolicy(max_attempts=attempts, min_delay_ms=low, max_delay_ms=high)
