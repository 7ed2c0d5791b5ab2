"""The loop behind a blocking client, with something simpler than a client in it."""

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest

from perdure import SessionClosed, UsageError
from perdure.sync.background import BackgroundLoop

pytestmark = pytest.mark.usefixtures("debugged_loops")


class Owned:
    """What a loop is made for; it counts its closes, and may refuse."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal
        self.closes = 0

    async def enter(self) -> None: ...

    async def aclose(self) -> None:
        self.closes += 1
        if self.refusal is not None:
            raise self.refusal


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop()
    loop.open(Owned, Owned.enter)
    yield loop
    loop.close()


def test_it_closes_what_it_owns_once() -> None:
    loop = BackgroundLoop()
    owned = loop.open(Owned, Owned.enter)
    loop.close()
    loop.close()
    assert owned.closes == 1
    assert loop.is_over


def test_a_close_that_fails_says_so_once_and_ends_the_thread() -> None:
    loop = BackgroundLoop()
    loop.open(lambda: Owned(OSError("the disk is gone")), Owned.enter)
    with pytest.raises(OSError, match="disk"):
        loop.close()
    loop.close()
    assert loop.is_over


def test_what_cannot_be_made_is_not_closed() -> None:
    loop = BackgroundLoop()

    def make() -> Owned:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loop.open(make, Owned.enter)
    loop.close()
    with pytest.raises(SessionClosed):
        loop.call(lambda: asyncio.sleep(0))


def test_a_call_from_the_loop_itself_is_refused(loop: BackgroundLoop) -> None:
    async def outer() -> None:
        loop.call(lambda: asyncio.sleep(0))

    with pytest.raises(UsageError, match="own thread"):
        loop.call(outer)


def test_what_a_call_raises_reaches_its_caller_and_nothing_else(loop: BackgroundLoop) -> None:
    async def fails() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        loop.call(fails)
    with pytest.raises(TimeoutError):  # the call's own, with no time limit around it
        loop.call(lambda: asyncio.wait_for(asyncio.Event().wait(), 0.001))
    assert loop.call(lambda: asyncio.sleep(0, "works")) == "works"


def test_a_call_that_will_not_be_cancelled_delays_the_close_and_no_more() -> None:
    loop = BackgroundLoop()
    loop.open(Owned, Owned.enter)
    waiting = threading.Event()
    ended: list[str] = []

    async def slow() -> str:
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append("cleaned up")
        raise AssertionError

    def work() -> None:
        with pytest.raises(SessionClosed):
            loop.call(slow)
        ended.append("told")

    thread = threading.Thread(target=work)
    thread.start()
    waiting.wait()
    loop.close()
    thread.join()
    assert ended == ["cleaned up", "told"]


def test_nothing_is_kept_of_a_call(loop: BackgroundLoop) -> None:
    class Answer:
        pass

    async def answer() -> Answer:
        return Answer()

    async def refuse() -> None:
        raise ValueError(Answer())

    loop.call(answer)
    with pytest.raises(ValueError, match="Answer"):
        loop.call(refuse)
    gc.collect()
    assert [found for found in gc.get_objects() if isinstance(found, Answer)] == []
