"""Fixtures for tests of chats: a store, spied on. Each test runs on the embedded store in memory; a few modules, and in
`make soak` all of them, on PostgreSQL as well.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import pytest

from perdure import S2, Basin
from tests.resumable.chats import BASIN, ERROR_BODIES, STOP_BODIES, Chat, NewChat, chat_of
from tests.resumable.spy_transport import SpyTransport
from tests.store.stores import PostgresStore

ON_POSTGRES_TOO: Final = ("test_lease", "test_replay", "test_stop", "test_watch")
"""Modules that tell most about what the chats ask of a store, and take seconds."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chat_store" in metafunc.fixturenames:
        kinds: list[object] = ["memory"]
        if not metafunc.definition.get_closest_marker("jumping"):  # its clock is not that of another process
            is_told = metafunc.module.__name__.rpartition(".")[2] in ON_POSTGRES_TOO
            kinds.append("postgres" if is_told else pytest.param("postgres", marks=pytest.mark.soak))
        metafunc.parametrize("chat_store", kinds, indirect=True)


@pytest.fixture
async def chat_store(request: pytest.FixtureRequest) -> str:
    """Where the chats are kept: an empty store."""
    if request.param == "memory":
        return ":memory:"
    store = PostgresStore(request.getfixturevalue("shared_database"))
    await (await store.open()).aclose()  # the first to open it finds it empty
    return store.url


@pytest.fixture
def spy(chat_store: str) -> SpyTransport:
    transport = SpyTransport.at(chat_store)
    assert isinstance(transport, SpyTransport)
    return transport


@pytest.fixture
async def s2(spy: SpyTransport) -> AsyncIterator[S2]:
    async with S2(transport=spy) as s2:
        yield s2


@pytest.fixture
def adapter() -> str:
    """Which wire format the chats speak; a module whose tests hold for all of them overrides it."""
    return "aisdk"


@pytest.fixture
def error_body(adapter: str) -> str:
    """What readers get when a source fails."""
    return ERROR_BODIES[adapter]


@pytest.fixture
def stop_body(adapter: str) -> str:
    """The last record of a generation that was stopped."""
    return STOP_BODIES[adapter]


@pytest.fixture
def new_chat(s2: S2, adapter: str) -> NewChat:
    """Makes chat objects that are ready, in session mode unless told otherwise; close them."""
    return partial(chat_of, adapter, s2)


@pytest.fixture
async def chat(new_chat: NewChat) -> AsyncIterator[Chat]:
    chat = await new_chat()
    yield chat
    await chat.aclose(timeout=0)


@pytest.fixture
async def basin(s2: S2, chat: Chat) -> Basin:
    """The basin of the chats, for looking at their streams."""
    return s2.basin(BASIN)
