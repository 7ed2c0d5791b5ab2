"""The basin of a request, where many requests are about the same ones."""

from __future__ import annotations

import pytest

from perdure.errors import BadRequest
from perdure.server.basin_host import REMEMBERED_BASINS, basin_of

DOMAIN = "b.localhost"


def test_so_many_answers_are_remembered_and_no_more() -> None:
    """Otherwise whoever sends ever new names fills the memory."""
    basin_of.cache_clear()
    names = [f"basin-{number:06}" for number in range(2 * REMEMBERED_BASINS)]
    for name in names:
        assert basin_of(name.encode(), None, DOMAIN) == name
        assert basin_of.cache_info().currsize <= REMEMBERED_BASINS
    hits = basin_of.cache_info().hits
    for name in names[-REMEMBERED_BASINS:]:
        assert basin_of(name.encode(), None, DOMAIN) == name
    assert basin_of.cache_info().hits == hits + REMEMBERED_BASINS
    assert basin_of(names[0].encode(), None, DOMAIN) == names[0], "what was forgotten is found out again"


def test_what_is_remembered_is_whatever_names_the_basin() -> None:
    assert basin_of(None, b"first-basin.b.localhost", DOMAIN) == "first-basin"
    for _ in range(2):
        with pytest.raises(BadRequest, match="Missing header"):
            basin_of(None, b"first-basin.b.localhost", None)
        with pytest.raises(BadRequest, match="the host names 'first-basin'"):
            basin_of(b"other-basin", b"first-basin.b.localhost", DOMAIN)
