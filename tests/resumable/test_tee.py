"""One source for two readers: neither takes it from the other."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from perdure.resumable.sources import Source
from perdure.resumable.tee import MAX_WAITING_CHUNKS, Branch, Tee
from perdure.resumable.text_bodies import TextItems
from tests.resumable.chats import until


class CutOff(Exception):
    pass


class Numbers:
    """Counts as far as it is asked to; tells how far that is, and when it was closed."""

    def __init__(self, end: int = 1_000_000) -> None:
        self.given = 0
        self.end = end
        self.closed = asyncio.Event()

    async def __call__(self) -> AsyncIterator[str]:
        try:
            while self.given < self.end:
                self.given += 1
                yield f"{self.given} "
                await asyncio.sleep(0)
        finally:
            self.closed.set()


def tee_of(numbers: Numbers) -> Tee:
    return Tee(Source(numbers, TextItems()), CutOff())


class Shelf:
    """A sink with room for so many chunks until it is answered."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.text = ""
        self.on_answer: Callable[[], None] | None = None

    @property
    def has_room(self) -> bool:
        return self.room > 0

    def put(self, body: bytes) -> None:
        self.text += body.decode()
        self.room -= 1

    def answer(self, room: int) -> None:
        self.room += room
        assert self.on_answer is not None
        self.on_answer()


async def read(branch: Branch, count: int | None = None) -> str:
    text = ""
    async for chunk in branch:
        text += chunk.body.decode()
        if count is not None and (count := count - 1) == 0:
            break
    return text


def counted(end: int) -> str:
    return "".join(f"{number} " for number in range(1, end + 1))


async def test_both_get_all_of_it() -> None:
    numbers = Numbers(500)
    tee = tee_of(numbers)
    task = tee.start("test")
    assert set(await asyncio.gather(read(tee.stored), read(tee.told))) == {counted(500)}
    await task
    assert numbers.closed.is_set()


async def test_the_source_waits_for_what_stores_it_and_not_for_the_caller() -> None:
    numbers = Numbers()
    tee = tee_of(numbers)
    task = tee.start("test")
    await until(lambda: tee.stored.is_full)
    await asyncio.sleep(0)
    assert numbers.given == MAX_WAITING_CHUNKS
    await read(tee.stored, 1000)
    await until(lambda: tee.stored.is_full)
    assert numbers.given == 1000 + MAX_WAITING_CHUNKS
    tee.stored.close()
    tee.told.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert numbers.closed.is_set()


async def test_without_storing_the_source_waits_for_the_caller() -> None:
    numbers = Numbers()
    tee = tee_of(numbers)
    task = tee.start("test")
    tee.stored.close()
    await until(lambda: tee.told.is_full)
    assert await read(tee.told, 1000) == counted(1000)
    await until(lambda: tee.told.is_full)
    assert numbers.given == 1000 + MAX_WAITING_CHUNKS
    tee.told.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert numbers.closed.is_set()


async def test_storing_goes_on_without_the_caller() -> None:
    tee = tee_of(Numbers(500))
    task = tee.start("test")
    tee.told.close()
    assert await read(tee.stored) == counted(500)
    assert await read(tee.told) == ""
    await task


async def test_a_failure_comes_after_what_was_given_and_to_both() -> None:
    failure = RuntimeError("out of numbers")

    async def failing() -> AsyncIterator[str]:
        yield "1"
        raise failure

    tee = Tee(Source(failing, TextItems()), CutOff())
    await tee.start("test")
    for branch in (tee.stored, tee.told):
        assert (await anext(branch)).body == b"1"
        for _ in range(2):
            with pytest.raises(RuntimeError) as raised:
                await anext(branch)
            assert raised.value is failure


@pytest.mark.parametrize("begun", [False, True])
async def test_a_reading_that_is_cancelled_cuts_both_off(begun: bool) -> None:
    numbers = Numbers()
    tee = tee_of(numbers)
    task = tee.start("test")
    if begun:
        await until(lambda: tee.stored.is_full)
        tee.stored.close()
        assert await read(tee.told, 10) == counted(10)
    task.cancel()
    with pytest.raises(CutOff):
        await read(tee.told)
    assert numbers.closed.is_set() == begun


async def test_closing_wakes_who_waits() -> None:
    never = asyncio.Event()

    async def silent() -> AsyncIterator[str]:
        await never.wait()
        yield ""

    tee = Tee(Source(silent, TextItems()), CutOff())
    task = tee.start("test")
    waiting = asyncio.gather(read(tee.stored), read(tee.told))
    await asyncio.sleep(0)
    tee.told.close()
    assert not task.done()
    tee.stored.close()
    assert set(await waiting) == {""}
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_sink_gets_what_waits_and_what_comes_as_far_as_it_has_room() -> None:
    numbers, shelf = Numbers(500), Shelf(MAX_WAITING_CHUNKS + 50)
    tee = tee_of(numbers)
    task = tee.start("test")
    await until(lambda: tee.stored.is_full)
    tee.stored.pour_into(shelf)
    assert shelf.text == counted(MAX_WAITING_CHUNKS)
    await until(lambda: tee.stored.is_full)
    assert shelf.text == counted(MAX_WAITING_CHUNKS + 50)
    shelf.answer(1000)
    assert await read(tee.stored) == ""
    assert shelf.text == await read(tee.told) == counted(500)
    await task


async def test_the_caller_sees_a_chunk_before_it_is_sent_to_be_stored() -> None:
    events: list[str] = []
    tell = events.append

    class Sender(Shelf):
        """Sends what it is given in the next round of the loop, as the writer of a generation does."""

        def put(self, body: bytes) -> None:
            super().put(body)
            asyncio.get_running_loop().call_soon(tell, f"sent {body.decode()}")

    tee = tee_of(Numbers(2))
    tee.stored.pour_into(Sender(10))
    task = tee.start("test")
    async for chunk in tee.told:
        tell(f"shown {chunk.body.decode()}")
    await task
    assert events == ["shown 1 ", "sent 1 ", "shown 2 ", "sent 2 "]


async def test_a_sink_that_has_no_room_any_more_lets_the_caller_go_on_once_storing_is_over() -> None:
    shelf = Shelf(10)
    tee = tee_of(Numbers(500))
    task = tee.start("test")
    tee.stored.pour_into(shelf)
    await until(lambda: tee.stored.is_full)
    tee.stored.close()
    assert await read(tee.told) == counted(500)
    assert shelf.text == counted(10)
    assert shelf.on_answer is None
    await task
