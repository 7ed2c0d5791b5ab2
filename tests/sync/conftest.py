"""A blocking client on a private store, with a basin and a stream."""

from collections.abc import Iterator

import pytest

from perdure.sync import S2, Basin, Stream


@pytest.fixture
def debugged_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops made from now on notice when they are touched from another thread."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


@pytest.fixture
def s2() -> Iterator[S2]:
    with S2.open(":memory:") as s2:
        yield s2


@pytest.fixture
def basin(s2: S2) -> Basin:
    return s2.basins.create("blocking-basin")


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.streams.create("s")
