"""Finding endpoints by raw paths (store API, section 2.3)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest
from perdure.server.routes import Match, NoRoute, Routes, WrongMethod, decode_segment

ROUTES = Routes(
    [
        ("GET", "/v1/things", "list"),
        ("GET", "/v1/things/*", "get"),
        ("PUT", "/v1/things/*", "put"),
        ("GET", "/v1/things/default", "default"),
        ("GET", "/v1/things/*/parts/*", "part"),
    ]
)


def test_names_are_single_segments() -> None:
    assert ROUTES.find("GET", b"/v1/things") == Match("list", ())
    assert ROUTES.find("GET", b"/v1/things/a%2Fb") == Match("get", (b"a%2Fb",))
    assert ROUTES.find("GET", b"/v1/things/a/parts/b") == Match("part", (b"a", b"b"))
    assert ROUTES.find("GET", b"/v1/things/*") == Match("get", (b"*",))


def test_literals_go_before_names() -> None:
    assert ROUTES.find("GET", b"/v1/things/default") == Match("default", ())


@pytest.mark.parametrize(
    "path", [b"", b"/", b"*", b"v1/things", b"/v1", b"/v1/things/", b"/v1/things//parts/x", b"//v1/things"]
)
def test_other_paths_match_nothing(path: bytes) -> None:
    assert ROUTES.find("GET", path) == NoRoute()


def test_a_wrong_method_is_told_from_an_unknown_path() -> None:
    assert ROUTES.find("DELETE", b"/v1/things/x") == WrongMethod(("GET", "PUT"))


def test_a_route_stands_in_the_table_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Routes([("GET", "/x", 1), ("GET", "/x", 2)])


@given(st.text(min_size=1).filter(lambda name: not any("\ud800" <= char <= "\udfff" for char in name)))
def test_any_name_survives_its_path(name: str) -> None:
    found = ROUTES.find("PUT", b"/v1/things/" + quote(name, safe="").encode())
    assert isinstance(found, Match)
    assert decode_segment(found.names[0], "name") == name


def test_a_plus_in_a_path_is_a_plus() -> None:
    assert decode_segment(b"a+b%2B", "name") == "a+b+"


@given(st.binary())
def test_any_path_is_answered(path: bytes) -> None:
    found = ROUTES.find("GET", path)
    codes = set()
    if isinstance(found, Match):
        for name in found.names:
            try:
                decode_segment(name, "name")
            except BadRequest as exc:
                codes.add(exc.code)
    assert codes <= {"bad_path"}
