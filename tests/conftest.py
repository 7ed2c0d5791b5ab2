"""What holds for the whole suite, and its servers that are dear to start: the first test that asks starts them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.jumping_loop import JumpingLoop
from tools.cluster.postgres import PostgresServer, postgres_server

# A machine that pauses for a moment is no finding, neither in one example nor while examples are made. The rest is as
# Hypothesis has it: in CI the same examples each time, elsewhere others.
settings.register_profile(
    "unhurried",
    parent=settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of a test and of its fixtures."""
    if item.get_closest_marker("jumping"):
        return {"jumping": JumpingLoop}
    return {"real": asyncio.new_event_loop}


class SharingScheduler(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Which of the test processes runs a test: those that share what is dear to start stay together.

    That is a file, and where a whole directory shares its servers, the directory.
    """

    SHARED = ("tests/cluster", "tests/compat")

    def add_node_collection(self, node: object, collection: Sequence[str]) -> None:
        super().add_node_collection(node, told_apart(collection))

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        directory = str(PurePosixPath(file).parent)
        return directory if directory in self.SHARED else file


def told_apart(names: Sequence[str]) -> list[str]:
    """A number behind each repeated name: Schemathesis gives the tests of all operations one id, of which the scheduler
    would run one.
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return SharingScheduler(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL that does not wait for the disk."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database of the test's own."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def shared_database(postgres: PostgresServer) -> str:
    """A database that tests use one after the other, each emptying it first."""
    return postgres.url(postgres.create_database())
