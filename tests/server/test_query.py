"""Reading query strings strictly (store API, section 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest
from perdure.model.limits import MAX_U32, MAX_U64
from perdure.server.query import Query


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def refused(ask: Callable[[], object]) -> bool:
    with pytest.raises(BadRequest) as caught:
        ask()
    return caught.value.code == "bad_query"


def test_what_is_absent_is_none() -> None:
    query = Query(b"other=1&other=2&&=x&flag")
    assert query.text("x") is None
    assert query.number("x") is None
    assert query.boolean("x") is None
    assert query.choice("x", Colour) is None


def test_values_are_form_encoded() -> None:
    query = Query(b"a=x+y%2Bz&b=&c&na%6De=1&d=1=2")
    assert [query.text(name) for name in ("a", "b", "c", "name", "d")] == ["x y+z", "", "", "1", "1=2"]


def test_a_parameter_given_twice_is_refused_when_it_is_asked_for() -> None:
    query = Query(b"a=1&a=1&b=2")
    assert query.number("b") == 2
    assert refused(lambda: query.text("a"))
    assert refused(lambda: query.number("a"))


@pytest.mark.parametrize("text", [b"", b"-1", b"+1", b"1.0", b"1e3", b"0x1", b"%D9%A1", b" 1", b"1_0", b"9" * 5000])
def test_what_is_no_whole_number_is_refused(text: bytes) -> None:
    assert refused(lambda: Query(b"n=" + text).number("n"))


def test_numbers_have_a_range() -> None:
    assert Query(b"n=18446744073709551615").number("n") == MAX_U64
    assert refused(lambda: Query(b"n=18446744073709551616").number("n"))
    assert Query(b"n=4294967295").number("n", MAX_U32) == MAX_U32
    assert refused(lambda: Query(b"n=4294967296").number("n", MAX_U32))


def test_booleans_are_two_words() -> None:
    assert Query(b"b=true").boolean("b") is True
    assert Query(b"b=false").boolean("b") is False
    for text in (b"", b"True", b"1", b"yes"):
        assert refused(lambda text=text: Query(b"b=" + text).boolean("b"))  # type: ignore[misc]  # bound for the loop


def test_choices_are_exact() -> None:
    assert Query(b"c=red").choice("c", Colour) is Colour.RED
    assert refused(lambda: Query(b"c=green").choice("c", Colour))
    assert refused(lambda: Query(b"c=").choice("c", Colour))


def test_what_is_not_utf8_is_refused() -> None:
    assert refused(lambda: Query(b"a=%FF").text("a"))


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_any_form_is_read_back(fields: dict[str, str]) -> None:
    query = Query(urlencode(fields).encode())
    assert {name: query.text(name) for name in fields} == fields


@given(st.binary())
def test_any_bytes_are_answered(raw: bytes) -> None:
    query = Query(raw)
    codes = set()
    for ask in (query.text, query.number, query.boolean):
        try:
            ask("a")
        except BadRequest as exc:
            codes.add(exc.code)
    assert codes <= {"bad_query"}
