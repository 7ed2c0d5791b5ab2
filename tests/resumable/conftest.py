"""Fixtures for tests of chats: the embedded store in memory, spied on."""

from collections.abc import AsyncIterator

import pytest

from perdure import S2, Basin
from perdure.resumable.aisdk import AiSdkChat
from tests.resumable.chats import BASIN, chat_on
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
async def chat(s2: S2) -> AsyncIterator[AiSdkChat]:
    chat = await chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


@pytest.fixture
async def basin(s2: S2, chat: AiSdkChat) -> Basin:
    """The basin of the chats, for looking at their streams."""
    return s2.basin(BASIN)
