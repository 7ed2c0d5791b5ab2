"""Whether a session follows the advice to leave its server (store API, section 6.9)."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perdure.client.moving import Moves
from perdure.client.retries import RetryPolicy

POLICY = RetryPolicy(min_delay_ms=100, max_delay_ms=1000)


def test_advice_is_followed_at_once_and_then_after_a_pause_that_grows() -> None:
    moves = Moves(POLICY)
    assert moves.are_wanted(is_advised=True, now=5.0)
    moves.begin(5.0, chance=0.0)
    assert not moves.are_wanted(is_advised=True, now=5.05)
    assert moves.are_wanted(is_advised=True, now=5.1)
    moves.begin(5.1, chance=0.0)
    assert not moves.are_wanted(is_advised=True, now=5.25)
    assert moves.are_wanted(is_advised=True, now=5.3)


def test_a_frame_without_advice_is_no_reason_and_ends_the_pause() -> None:
    moves = Moves(POLICY)
    moves.begin(5.0, chance=1.0)
    assert not moves.are_wanted(is_advised=False, now=5.0)
    assert moves.are_wanted(is_advised=True, now=5.0)


def test_who_found_no_other_server_stays_until_there_is_no_advice() -> None:
    moves = Moves(POLICY)
    moves.begin(5.0, chance=0.0)
    moves.failed()
    assert not moves.are_wanted(is_advised=True, now=1e9)
    assert not moves.are_wanted(is_advised=False, now=1e9)
    assert moves.are_wanted(is_advised=True, now=1e9)


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=200), st.floats(0, 1))
def test_a_server_that_always_advises_is_left_no_more_often_than_retries_come(gaps: list[float], chance: float) -> None:
    moves, now, made = Moves(POLICY), 0.0, []
    for gap in gaps:
        now += gap
        if moves.are_wanted(is_advised=True, now=now):
            moves.begin(now, chance)
            made.append(now)
    pauses = [after - before for before, after in pairwise(made)]
    assert all(pause >= POLICY.delay_secs(number, chance) - 1e-9 for number, pause in enumerate(pauses))
