"""The checker finds what must not happen, and takes what may.

Histories are written by hand, one call each: who, from when to when, what. Each bad one is told beside a good one that
differs in what matters only.
"""

from __future__ import annotations

import pytest

from tests.linearizable.checker import Undecided, check
from tests.linearizable.history import (
    Acked,
    Appended,
    Call,
    Followed,
    InDoubt,
    Operation,
    ReadOnce,
    ReadRefused,
    Seen,
    SeqNumRefused,
    TailChecked,
    TokenRefused,
    from_lines,
    to_lines,
)
from tests.linearizable.model import NotLinearizable


def call(invoked: int, returned: int | None, operation: Operation, stream: str = "s") -> Call:
    return Call(stream, "c", invoked, returned, operation)


def acked(
    *texts: str, at: int, tail: int | None = None, match: int | None = None, token: str | None = None
) -> Appended:
    end = at + len(texts)
    return Appended(texts, Acked(at, end, end if tail is None else tail), match, token)


def in_doubt(*texts: str, match: int | None = None, token: str | None = None) -> Appended:
    return Appended(texts, InDoubt(), match, token)


def read(start: int, *texts: str, first: int | None = None, count: int = 100) -> ReadOnce:
    at = start if first is None else first
    return ReadOnce(start, count, tuple(Seen(number, 7, text) for number, text in enumerate(texts, at)))


A, B = acked("a", at=0), acked("b", at=1)

GOOD = {
    "one after the other": [call(0, 1, A), call(2, 3, B), call(4, 5, read(0, "a", "b")), call(6, 7, TailChecked(2))],
    "overlapping appends in either order": [call(0, 9, B), call(1, 8, A), call(10, 11, read(0, "a", "b"))],
    "a batch in doubt of which a read took the first": [
        call(0, None, in_doubt("a", "b")), call(1, 2, read(0, "a", count=1)),
    ],
    "a fence in doubt that nobody saw, and that refused a writer": [
        call(0, None, in_doubt("fence me")), call(1, 2, Appended(("b",), TokenRefused("me"), None, "you")),
    ],
    "a read during an append sees it": [call(0, 9, A), call(1, 2, read(0, "a"))],
    "a read during an append does not see it": [call(0, 9, A), call(1, 2, ReadRefused(0, 0))],
    "an append in doubt that took effect": [call(0, None, in_doubt("a")), call(5, 6, read(0, "a"))],
    "an append in doubt that did not": [call(0, None, in_doubt("a")), call(5, 6, TailChecked(0))],
    "an append in doubt that takes effect late": [
        call(0, None, in_doubt("x")), call(1, 2, A), call(3, 4, TailChecked(1)), call(5, 6, TailChecked(2)),
    ],
    "an ack whose tail is further, since another became durable with it": [
        call(0, 9, acked("a", at=0, tail=2)), call(0, 9, B),
    ],
    "a race for a number with one winner": [
        call(0, 9, acked("a", at=0, match=0)), call(0, 9, Appended(("b",), SeqNumRefused(1), 0)),
    ],
    "a fence that refuses the writer before": [
        call(0, 1, acked("fence me", at=0)), call(2, 3, Appended(("b",), TokenRefused("me"), None, "you")),
        call(4, 5, acked("b", at=1, token="me")),
    ],
    "a read that begins before a trim and ends behind it": [
        call(0, 1, A), call(2, 9, read(0, "a", "trim 1")), call(3, 4, acked("trim 1", at=1)),
    ],
    "a read that a trim overtakes": [
        call(0, 1, acked("a", "b", "c", at=0)), call(2, 9, ReadOnce(0, 9, (Seen(0, 7, "a"), Seen(2, 7, "c")))),
        call(3, 4, acked("trim 2", at=3)),
    ],
    "a read behind a trim": [
        call(0, 1, A), call(2, 3, acked("trim 1", at=1)), call(4, 5, read(0, "trim 1", first=1)),
    ],
    "nothing left after a trim of all": [call(0, 1, A), call(2, 3, acked("trim 9", at=1)), call(4, 5, read(0))],
    "a limited read needs not reach the tail": [call(0, 1, A), call(2, 3, B), call(4, 5, read(0, "a", count=1))],
    "two streams that know nothing of each other": [call(0, 1, A), call(2, 3, TailChecked(0), "t")],
    "a record followed while it is appended": [call(0, 9, A), call(0, 5, Followed(Seen(0, 7, "a")))],
}  # fmt: skip

BAD = {
    "an ack that was lost": [call(0, 1, A), call(2, 3, TailChecked(0))],
    "an ack that was lost, and its number given again": [call(0, 1, A), call(2, 3, acked("b", at=0))],
    "a stale tail after an ack": [call(0, 1, A), call(2, 3, B), call(4, 5, TailChecked(1))],
    "a stale read after an ack": [call(0, 1, A), call(2, 3, B), call(4, 5, read(0, "a"))],
    "an unwritten tail after an ack": [call(0, 1, A), call(2, 3, ReadRefused(0, 0))],
    "a tail that goes back": [call(0, 9, A), call(1, 2, TailChecked(1)), call(3, 4, TailChecked(0))],
    "a record that is there twice": [call(0, 1, A), call(2, 3, read(0, "a", "a"))],
    "an append in doubt that took effect twice": [call(0, None, in_doubt("a")), call(2, 3, read(0, "a", "a"))],
    "an append in doubt seen before it was made": [call(1, 2, read(0, "a")), call(3, None, in_doubt("a"))],
    "an append in doubt against its condition": [
        call(0, 1, A), call(2, None, in_doubt("x", match=0)), call(3, 4, read(0, "a", "x")),
    ],
    "an append in doubt that was there and went away": [
        call(0, None, in_doubt("x")), call(1, 2, read(0, "x")), call(3, 4, TailChecked(0)),
    ],
    "appends in another order than they were made": [call(0, 1, acked("a", at=1)), call(2, 3, acked("b", at=0))],
    "a record that nobody wrote": [call(0, 1, A), call(2, 3, read(0, "a", "who?"))],
    "two records with one number": [call(0, 9, A), call(0, 9, acked("b", at=0))],
    "two that read different things": [call(0, 9, A), call(0, 9, read(0, "a")), call(0, 9, read(0, "z"))],
    "a batch torn apart": [
        call(0, 9, acked("a", "b", at=0)), call(1, 2, read(0, "a")), call(3, 4, TailChecked(1)),
    ],
    "a batch with another between its records": [
        call(0, 9, in_doubt("a", "b")), call(0, 9, acked("x", at=1)), call(10, 11, read(0, "a", "x", "b")),
    ],
    "a hole in the numbers": [call(0, 1, A), call(2, 3, acked("b", at=2))],
    "two winners of a race for a number": [
        call(0, 9, acked("a", at=0, match=0)), call(0, 9, acked("b", at=1, match=0)),
    ],
    "a refusal that nothing explains": [call(0, 9, Appended(("b",), SeqNumRefused(1), 0))],
    "a refusal by a condition that held": [call(0, 1, A), call(2, 3, Appended(("b",), SeqNumRefused(1), 1))],
    "a refusal that was applied": [
        call(0, 1, A), call(2, 3, Appended(("b",), SeqNumRefused(1), 0)), call(4, 5, read(0, "a", "b")),
    ],
    "a write with a token that no longer counts": [
        call(0, 1, acked("fence me", at=0)), call(2, 3, acked("fence you", at=1)),
        call(4, 5, acked("late", at=2, token="me")),
    ],
    "a fence that was acknowledged and forgotten": [
        call(0, 1, acked("fence me", at=0)), call(2, 3, Appended(("b",), TokenRefused(""), None, "me")),
    ],
    "records that come back after a trim": [
        call(0, 1, A), call(2, 3, acked("trim 1", at=1)), call(4, 5, read(0, "a", "trim 1")),
    ],
    "a read that finds nothing, and does not say so": [call(0, 1, read(0))],
    "a read that finds nothing where records are": [call(0, 1, A), call(2, 3, read(0))],
    "a read with a hole": [
        call(0, 1, acked("a", "b", "c", at=0)), call(2, 9, ReadOnce(0, 9, (Seen(0, 7, "a"), Seen(2, 7, "c")))),
    ],
    "a read whose records are out of order": [
        call(0, 1, acked("a", "b", at=0)), call(2, 9, ReadOnce(0, 9, (Seen(1, 7, "b"), Seen(0, 7, "a")))),
    ],
    "records that are gone without a trim": [call(0, 1, A), call(2, 3, B), call(4, 5, read(0, "b", first=1))],
    "an ack whose tail was never there": [call(0, 1, acked("a", at=0, tail=5)), call(2, 3, TailChecked(1))],
    "a record followed that went away": [
        call(0, 9, in_doubt("x")), call(0, 5, Followed(Seen(0, 7, "x"))), call(6, 7, acked("a", at=0)),
    ],
    "a record followed before it was made": [call(0, 5, Followed(Seen(0, 7, "a"))), call(6, 7, A)],
    "time that runs backwards": [
        call(0, 1, acked("a", "b", at=0)), call(2, 3, ReadOnce(0, 9, (Seen(0, 8, "a"), Seen(1, 7, "b")))),
    ],
    "a timestamp that changes": [
        call(0, 1, A), call(2, 3, read(0, "a")), call(4, 5, ReadOnce(0, 9, (Seen(0, 8, "a"),))),
    ],
    "a bad stream among good ones": [call(0, 1, A), call(0, 1, A, "t"), call(2, 3, TailChecked(0), "t")],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_may_happen_is_accepted(name: str) -> None:
    assert check(GOOD[name]) == len(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_what_must_not_happen_is_found(name: str) -> None:
    with pytest.raises(NotLinearizable):
        check(BAD[name])


def test_a_violation_is_told_with_the_call_that_has_no_place() -> None:
    with pytest.raises(NotLinearizable, match=r"(?s)s: no order explains.*2 of 3 steps.*no place for.*TailChecked"):
        check(BAD["an ack that was lost"])


def test_a_search_that_grows_without_end_is_given_up() -> None:
    many = [call(0, None, in_doubt(f"x{number}")) for number in range(40)]
    with pytest.raises(Undecided):
        check([*many, call(0, 9, TailChecked(20)), call(10, 11, TailChecked(19))], most_configurations=1000)


def test_many_appends_in_doubt_that_nobody_saw_cost_no_search() -> None:
    many = [call(number, None, in_doubt("fence x", f"x{number}")) for number in range(1000)]
    assert check([*many, call(2000, 2001, A), call(2002, 2003, TailChecked(1))], most_configurations=10) == 1002


def test_a_history_is_the_same_when_it_was_written_down() -> None:
    for calls in [*GOOD.values(), *BAD.values()]:
        assert from_lines(to_lines(calls)) == calls
