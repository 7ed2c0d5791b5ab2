"""What names may be (store API, section 1.2)."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import Invalid
from perdure.model import names

Check = Callable[[str], str]

GOOD: list[tuple[Check, str]] = [
    (names.check_basin_name, "a" * 8),
    (names.check_basin_name, "0" * 48),
    (names.check_basin_name, "a--b--c-9"),
    (names.check_basin_prefix, ""),
    (names.check_basin_prefix, "a-"),
    (names.check_basin_prefix, "x" * 48),
    (names.check_stream_name, "x"),
    (names.check_stream_name, "x" * 512),
    (names.check_stream_name, "é" * 256),
    (names.check_stream_name, "日" * 170 + "xx"),
    (names.check_stream_name, "..."),
    (names.check_stream_name, "a/b c\n\0😀"),
    (names.check_stream_prefix, ""),
    (names.check_stream_prefix, "."),
    (names.check_stream_prefix, ".."),
    (names.check_access_token_id, "x" * 96),
    (names.check_access_token_prefix, ""),
    (names.check_location_name, "aws:us-east-1"),
    (names.check_location_name, "A.b-9:" + "x" * 58),
    (names.check_request_token, ""),
    (names.check_request_token, "!~" * 18),
    (names.check_fencing_token, ""),
    (names.check_fencing_token, "x" * 36),
    (names.check_fencing_token, "é" * 18),
    (names.check_fencing_token, "\0\n "),
]

BAD: list[tuple[Check, str]] = [
    (names.check_basin_name, "a" * 7),
    (names.check_basin_name, "a" * 49),
    (names.check_basin_name, "-abcdefgh"),
    (names.check_basin_name, "abcdefgh-"),
    (names.check_basin_name, "Abcdefgh"),
    (names.check_basin_name, "abc_defgh"),
    (names.check_basin_name, "abcdefgh\n"),
    (names.check_basin_name, "ábcdefgh"),
    (names.check_basin_name, "٠١٢٣٤٥٦٧"),
    (names.check_basin_name, ""),
    (names.check_basin_prefix, "-"),
    (names.check_basin_prefix, "x" * 49),
    (names.check_basin_prefix, "a\n"),
    (names.check_stream_name, ""),
    (names.check_stream_name, "."),
    (names.check_stream_name, ".."),
    (names.check_stream_name, "x" * 513),
    (names.check_stream_name, "日" * 171),
    (names.check_stream_name, "\ud800"),
    (names.check_stream_prefix, "x" * 513),
    (names.check_access_token_id, ""),
    (names.check_access_token_id, "."),
    (names.check_access_token_id, "x" * 97),
    (names.check_access_token_prefix, "x" * 97),
    (names.check_location_name, ""),
    (names.check_location_name, "x" * 65),
    (names.check_location_name, "a b"),
    (names.check_location_name, "é"),
    (names.check_location_name, "a\n"),
    (names.check_request_token, "x" * 37),
    (names.check_request_token, "a b"),
    (names.check_request_token, "é"),
    (names.check_request_token, "a\n"),
    (names.check_fencing_token, "x" * 37),
    (names.check_fencing_token, "é" * 18 + "x"),
    (names.check_fencing_token, "\udfff"),
]


@pytest.mark.parametrize(("check", "name"), GOOD)
def test_a_good_name_is_given_back(check: Check, name: str) -> None:
    assert check(name) == name


@pytest.mark.parametrize(("check", "name"), BAD)
def test_a_bad_name_is_refused(check: Check, name: str) -> None:
    with pytest.raises(Invalid):
        check(name)


@pytest.mark.parametrize("check", dict.fromkeys(check for check, _ in BAD))
@pytest.mark.parametrize("value", [None, 5, b"abcdefgh", ["abcdefgh"]])
def test_something_else_than_text_is_refused(check: Callable[[object], str], value: object) -> None:
    with pytest.raises(Invalid):
        check(value)


@given(st.text(st.sampled_from("ab0-"), min_size=8, max_size=48).filter(lambda n: n[0] != "-" != n[-1]))
def test_any_basin_name_is_a_prefix_too(name: str) -> None:
    assert names.check_basin_prefix(names.check_basin_name(name)) == name
