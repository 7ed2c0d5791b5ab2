"""Fixtures for tests of chats: the embedded store in memory, spied on."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from perdure import S2, Basin
from tests.resumable.chats import BASIN, ERROR_BODIES, STOP_BODIES, Chat, NewChat, chat_of
from tests.resumable.spy_transport import SpyTransport


@pytest.fixture
def spy() -> SpyTransport:
    transport = SpyTransport.at(":memory:")
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
