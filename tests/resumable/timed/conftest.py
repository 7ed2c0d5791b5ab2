"""Fixtures for tests of what happens as time passes: a loop whose clock jumps, and a store that goes by it.

Nothing here depends on how fast the machine is: no time passes while there is something to do.
"""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from functools import partial

import pytest

from perdure import S2
from perdure.resumable.settings import Surroundings
from perdure.store.engine import Engine
from tests.resumable.chats import NewChat, chat_of
from tests.resumable.jumping_loop import JumpingLoop, LoopClock, the_loop
from tests.resumable.spy_transport import SpyTransport
from tests.store.memory_engine import MemoryDisk, MemoryEngine


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"jumping": JumpingLoop}


@pytest.fixture
def spy() -> SpyTransport:
    disk, clock = MemoryDisk(), LoopClock()

    async def open_engine() -> Engine:
        return await MemoryEngine.open(disk, clock)

    return SpyTransport(open_engine)


@pytest.fixture
def surroundings() -> Surroundings:
    return Surroundings(now_ms=lambda: the_loop().now_ms())


@pytest.fixture
def new_chat(s2: S2, adapter: str, surroundings: Surroundings) -> NewChat:
    return partial(chat_of, adapter, s2, surroundings=surroundings)
