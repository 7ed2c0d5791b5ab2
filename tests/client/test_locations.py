"""Where basins can be (store API, section 8.5)."""

from __future__ import annotations

import pytest

from perdure import S2, BasinConfig, BasinInfo, Invalid, LocationInfo, ProvisionResult
from perdure.client.transports.local import LocalTransport
from perdure.model.resources import Provisioned


async def test_a_store_is_one_place_which_is_the_default(s2: S2) -> None:
    (only,) = await s2.locations.list()
    assert only == LocationInfo("local", is_private=True)
    assert await s2.locations.get_default() == only
    assert await s2.locations.set_default("local") == only


async def test_a_place_that_there_is_not(s2: S2) -> None:
    with pytest.raises(Invalid, match="there is one, 'local'"):
        await s2.locations.set_default("aws:us-east-1")


async def test_a_store_that_is_one_place_takes_basins_for_any(s2: S2) -> None:
    made = await s2.basins.create("placed-basin", location="aws:us-east-1")
    assert made.info is not None
    assert made.info.location == "local"
    same = await s2.basins.ensure("placed-basin", location="aws:eu-west-1")
    assert same.provision_result is ProvisionResult.NOOP


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä"])
async def test_a_bad_name_is_refused_before_anything_is_sent(name: str) -> None:
    with pytest.raises(Invalid, match="location"):
        await S2.open(":memory:").locations.set_default(name)  # not open: sending would be a UsageError
    for call in (S2.open(":memory:").basins.create, S2.open(":memory:").basins.ensure):
        with pytest.raises(Invalid, match="location"):
            await call("placed-basin", location=name)


async def test_a_location_is_sent_along() -> None:
    """Perdure's own server has one place, so this looks at what another one would get."""
    asked: list[tuple[str, str | None]] = []

    class Elsewhere(LocalTransport):
        async def create_basin(
            self, name: str, config: BasinConfig, *, location: str | None, request_token: str
        ) -> Provisioned[BasinInfo]:
            asked.append((name, location))
            return await super().create_basin(name, config, location=location, request_token=request_token)

    async with S2(transport=Elsewhere.at(":memory:")) as s2:
        await s2.basins.create("placed-basin", location="aws:us-east-1")
        await s2.basins.create("other-basin")
    assert asked == [("placed-basin", "aws:us-east-1"), ("other-basin", None)]
