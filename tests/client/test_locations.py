"""Where basins can be (store API, section 8.5)."""

from __future__ import annotations

import pytest

from perdure import S2, Invalid, LocationInfo


async def test_a_store_is_one_place_which_is_the_default(s2: S2) -> None:
    (only,) = await s2.locations.list()
    assert only == LocationInfo("local", is_private=True)
    assert await s2.locations.get_default() == only
    assert await s2.locations.set_default("local") == only


async def test_a_place_that_there_is_not(s2: S2) -> None:
    with pytest.raises(Invalid, match="there is one, 'local'"):
        await s2.locations.set_default("aws:us-east-1")


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä"])
async def test_a_bad_name_is_refused_before_anything_is_sent(name: str) -> None:
    with pytest.raises(Invalid, match="location"):
        await S2.open(":memory:").locations.set_default(name)  # not open: sending would be a UsageError
