"""Followers are woken for everything, and told to look when they cannot be handed it."""

import asyncio

import pytest

from perdure.store.catalogue import StreamId
from perdure.store.hub import CLOCK_SECS, MAILBOX_BLOCKS, Hub
from perdure.store.sequencing import Block

ONE, TWO = StreamId(1), StreamId(2)


def block(start: int) -> Block:
    return Block(start, start + 1, 0, 8, 0, None, b"")


async def test_a_block_reaches_the_followers_of_its_stream() -> None:
    hub = Hub()
    with hub.follow(ONE) as first, hub.follow(ONE) as second, hub.follow(TWO) as other:
        hub.publish([(ONE, block(0)), (TWO, block(7)), (ONE, block(1))])
        for mailbox in (first, second):
            assert await mailbox.wait(None)
            assert [mailbox.take(), mailbox.take(), mailbox.take()] == [block(0), block(1), None]
        assert other.take() == block(7)


async def test_waiting_ends_with_a_block() -> None:
    hub = Hub()
    with hub.follow(ONE) as mailbox:
        waiting = asyncio.create_task(mailbox.wait(None))
        await asyncio.sleep(0)
        hub.publish([(ONE, block(0))])
        assert await waiting


async def test_waiting_ends_with_the_time() -> None:
    with Hub().follow(ONE) as mailbox:
        assert not await mailbox.wait(0.001)
        assert not await mailbox.wait(-1)


async def test_waiting_ends_with_the_following() -> None:
    with Hub().follow(ONE) as mailbox:
        waiting = asyncio.create_task(mailbox.wait(None))
        await asyncio.sleep(0)
    assert not await waiting


async def test_a_full_mailbox_says_look_instead() -> None:
    hub = Hub()
    with hub.follow(ONE) as mailbox:
        hub.publish((ONE, block(n)) for n in range(MAILBOX_BLOCKS + 1))
        assert mailbox.take() is None
        assert await mailbox.wait(None)


async def test_the_word_to_look_stands_until_somebody_looks() -> None:
    """A block that comes after it is no answer to it: what was missed may lie behind that block."""
    hub = Hub()
    with hub.follow(ONE) as mailbox:
        hub.nudge([ONE])
        hub.publish([(ONE, block(0))])
        assert await mailbox.wait(None)
        assert mailbox.take() == block(0)
        assert await mailbox.wait(None)
        assert mailbox.take() is None
        mailbox.clear()
        assert not await mailbox.wait(0)


async def test_nudging_nobody_in_particular_reaches_everybody() -> None:
    hub = Hub()
    with hub.follow(ONE) as one, hub.follow(TWO) as two:
        hub.nudge()
        assert await one.wait(None)
        assert await two.wait(None)


async def test_the_engine_hears_of_the_first_and_the_last_follower() -> None:
    heard: list[str] = []
    hub = Hub(lambda: heard.append("first"), lambda: heard.append("last"))
    with hub.follow(ONE) as one:
        with hub.follow(TWO):
            assert hub.followed() == {ONE, TWO}
        assert heard == ["first"]
        hub.remove(one)
        hub.remove(one)
    assert heard == ["first", "last"]
    hub.publish([(ONE, block(0))])
    assert hub.followed() == set()


@pytest.mark.jumping
async def test_a_timer_set_for_a_longer_wait_does_not_end_a_shorter_one_late_nor_the_next_one_early() -> None:
    hub = Hub()
    with hub.follow(ONE) as mailbox:
        waiting = asyncio.create_task(mailbox.wait(100))
        await asyncio.sleep(0)
        hub.publish([(ONE, block(0))])
        assert await waiting
        assert mailbox.take() == block(0)
        assert not await mailbox.wait(0.01)
        assert not await mailbox.wait(0.001)
        waiting = asyncio.create_task(mailbox.wait(0.01))
        await asyncio.sleep(0)
        hub.publish([(ONE, block(1))])
        assert await waiting
        assert mailbox.take() == block(1)
        endless = asyncio.create_task(mailbox.wait(None))
        await asyncio.sleep(0.03)  # the timer of the wait before rings in this time, and must wake nobody
        assert not endless.done()
        hub.publish([(ONE, block(2))])
        assert await endless


@pytest.mark.jumping
async def test_a_wait_that_begins_while_a_timer_runs_lasts_its_whole_time() -> None:
    loop = asyncio.get_running_loop()
    hub = Hub()
    with hub.follow(ONE) as mailbox:
        waiting = asyncio.create_task(mailbox.wait(0.02))
        await asyncio.sleep(0)
        hub.publish([(ONE, block(0))])
        assert await waiting
        mailbox.take()
        begun = loop.time()
        assert not await mailbox.wait(0.03)
        assert loop.time() - begun >= 0.03 - CLOCK_SECS
