"""s2:// addresses, and what is said about those that are wrong."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.uri import PrefixUri, StreamUri, parse_basin, parse_prefix, parse_stream
from perdure.model.limits import MAX_STREAM_NAME_BYTES


@pytest.mark.parametrize("text", ["s2://my-basin", "s2://my-basin/", "my-basin"])
def test_a_basin_goes_by_its_address_or_its_name(text: str) -> None:
    assert parse_basin(text) == "my-basin"
    assert parse_prefix(text) == PrefixUri("my-basin")


@given(st.text(min_size=1).filter(lambda name: name not in (".", "..") and "\ud800" not in name))
def test_a_stream_s_name_is_taken_as_it_is(name: str) -> None:
    try:
        fits = len(name.encode()) <= MAX_STREAM_NAME_BYTES
    except UnicodeEncodeError:
        return
    if fits:
        uri = parse_stream(f"s2://my-basin/{name}")
        assert uri == StreamUri("my-basin", name)
        assert parse_stream(str(uri)) == uri
        assert parse_prefix(str(uri)) == PrefixUri("my-basin", name)


@pytest.mark.parametrize("name", ["a/b", "/a", "a//", "a b", "%20", "s2://x/y", "?q#f", "é"])
def test_nothing_in_a_name_is_decoded(name: str) -> None:
    assert parse_stream(f"s2://my-basin/{name}").stream == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected s2://BASIN/STREAM, got nothing"),
        ("my-basin/x", "expected s2://BASIN/STREAM, got 'my-basin/x'; did you mean s2://my-basin/x?"),
        ("s2:/my-basin/x", "expected s2://BASIN/STREAM, got 's2:/my-basin/x'; did you mean s2://my-basin/x?"),
        ("S2://my-basin/x", "expected s2://BASIN/STREAM, got 'S2://my-basin/x'; did you mean s2://my-basin/x?"),
        ("s3://my-basin/x", "expected s2://BASIN/STREAM, got 's3://my-basin/x'"),
        ("s2://my-basin", "'s2://my-basin' names a basin, and a stream is wanted: s2://my-basin/STREAM"),
        ("s2://my-basin/", "'s2://my-basin/' names a basin, and a stream is wanted: s2://my-basin/STREAM"),
        ("s2:///x", "expected s2://BASIN/STREAM, got 's2:///x', which names no basin"),
        ("s2://my-basin/..", "stream name must not be '..', in 's2://my-basin/..'"),
        (
            "s2://My-Basin/x",
            "expected s2://BASIN/STREAM: basin name 'My-Basin' must consist of a-z, 0-9 and hyphens, and begin and end "
            "with a letter or digit",
        ),
        (
            "s2://short/x",
            "expected s2://BASIN/STREAM: basin name must be 8 to 48 bytes long, got 5, and 'short' is not",
        ),
    ],
)
def test_the_right_form_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as told:
        parse_stream(text)
    assert str(told.value) == message


def test_a_stream_is_no_basin() -> None:
    with pytest.raises(ValueError, match=r"names a stream, and a basin is wanted: s2://my-basin$"):
        parse_basin("s2://my-basin/x")
