"""One timer for all: who is late is cancelled and told, and nobody else."""

from __future__ import annotations

import asyncio

import pytest

from perdure.server.patience import PatienceClock

PATIENCE_SECONDS = 10.0


class Late(Exception):
    """What a reader raises when its clock cancelled it."""


async def read(clock: PatienceClock, arrived: asyncio.Event, begun: asyncio.Event | None = None) -> str:
    """As a request reads its body."""
    task = clock.begin()
    if begun is not None:
        begun.set()
    late = False
    try:
        await arrived.wait()
    except asyncio.CancelledError:
        late = clock.end(task)
        if not late:
            raise
    finally:
        clock.end(task)
    if late:
        raise Late
    return "whole"


async def test_who_is_late_is_told_and_can_go_on() -> None:
    clock = PatienceClock(0.01)

    async def reader() -> str:
        with pytest.raises(Late):
            await read(clock, asyncio.Event())
        await asyncio.sleep(0)  # not cancelled any more
        return "answered 408"

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await asyncio.gather(*(asyncio.create_task(reader()) for _ in range(3))) == ["answered 408"] * 3


async def test_who_is_in_time_is_left_alone_while_others_are_late() -> None:
    clock = PatienceClock(0.01)
    arrived = asyncio.Event()
    arrived.set()
    prompt, late = asyncio.create_task(read(clock, arrived)), asyncio.create_task(read(clock, asyncio.Event()))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await prompt == "whole"
        with pytest.raises(Late):
            await late


async def test_the_clock_goes_on_for_those_who_began_later() -> None:
    clock = PatienceClock(0.01)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(3):
            with pytest.raises(Late):
                await asyncio.create_task(read(clock, asyncio.Event()))


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    clock, begun = PatienceClock(PATIENCE_SECONDS), asyncio.Event()
    reader = asyncio.create_task(read(clock, asyncio.Event(), begun))
    await begun.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


async def test_who_is_late_and_cancelled_from_elsewhere_is_cancelled() -> None:
    clock = PatienceClock(0.01)

    by_clock_alone: list[bool] = []

    async def reader() -> None:
        task = clock.begin()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.cancel()  # as somebody else may in the same moment
            by_clock_alone.append(clock.end(task))
            raise

    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(reader())
    assert by_clock_alone == [False]


async def test_a_step_gives_what_it_gives() -> None:
    async def step() -> str:
        await asyncio.sleep(0)
        return "taken"

    clock = PatienceClock(PATIENCE_SECONDS)
    assert await clock.wait(step()) == "taken"
    assert await clock.wait(step()) == "taken"


async def test_a_step_that_takes_too_long_has_timed_out_and_the_task_goes_on() -> None:
    clock = PatienceClock(0.01)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await clock.wait(asyncio.Event().wait())
        await asyncio.sleep(0)  # not cancelled any more


async def test_a_step_that_is_cancelled_from_elsewhere_is_cancelled() -> None:
    clock, begun = PatienceClock(PATIENCE_SECONDS), asyncio.Event()

    async def step() -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(clock.wait(step()))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_step_that_fails_fails_so() -> None:
    async def step() -> None:
        raise Late

    with pytest.raises(Late):
        await PatienceClock(PATIENCE_SECONDS).wait(step())
