"""Fixtures for tests of what happens as time passes: a store and chats that go by a loop whose clock jumps.

Nothing here depends on how fast the machine is: no time passes while there is something to do.
"""

from functools import partial

import pytest

from perdure import S2
from perdure.resumable.settings import Surroundings
from perdure.store.engine import Engine
from tests.jumping_loop import LoopClock, the_loop
from tests.resumable.chats import NewChat, chat_of
from tests.resumable.spy_transport import SpyTransport
from tests.store.memory_engine import MemoryDisk, MemoryEngine


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
