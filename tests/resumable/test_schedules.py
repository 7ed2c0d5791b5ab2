"""Chats in several processes, whatever comes when: pauses, errors, crashes, lost links, stops, and clients that go.

A schedule is a list of steps. It is played in a world whose clock jumps, so that a pause of an hour takes no time, and
whatever it was, the same must be true at the end; `tests.resumable.verdicts` says what.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from perdure.store.engine import Engine
from perdure.store.sqlite import SqliteEngine
from tests.jumping_loop import LoopClock, run_jumping, the_loop
from tests.resumable.links import LinkState, shared
from tests.resumable.verdicts import check
from tests.resumable.world import Rules, World, world_of
from tests.store.memory_engine import MemoryDisk, MemoryEngine

PROCESSES = 3
Step: TypeAlias = tuple[Any, ...]
OF_PROCESSES = ("post", "follow", "stop", "history", "link", "crash")
"""Steps that name a process."""
Open = Callable[[], Awaitable[Engine]]

WRITER = -1
processes = st.sampled_from([*range(PROCESSES), WRITER])
"""One of them, or the one that writes the current generation."""
recent = st.sampled_from([0, 0, 0, 1, 2])
"""The last one, mostly."""
follows = st.tuples(
    st.just("follow"),
    processes,
    st.sampled_from(["active", "plain", "live", "watch"]),
    st.sampled_from([0, 0, 1, 4, 12]),
)
posts = st.tuples(st.just("post"), processes, st.sampled_from(["response", "replay"]))
words = st.tuples(st.just("say"), recent, st.sampled_from([1, 2, 3, 30]))
actions = st.one_of(
    posts,
    posts,
    words,
    words,
    st.tuples(st.just("finish"), recent),
    st.tuples(st.just("break off"), recent),
    follows,
    follows,
    st.tuples(st.sampled_from(["leave", "hold", "let go", "withdraw"]), recent),
    st.tuples(st.just("stop"), processes, st.booleans()),
    st.tuples(st.just("stop"), processes, st.just(False)),
    st.tuples(st.just("history"), processes),
    st.tuples(st.just("link"), processes, st.sampled_from([*LinkState])),
    st.tuples(st.just("crash"), processes),
    st.tuples(st.just("next name")),
)
waits = st.one_of(
    st.just(()),
    st.tuples(st.just("turns"), st.integers(1, 12)),
    st.tuples(st.just("rest")),
    st.tuples(st.just("pause"), st.sampled_from([0.3, 4, 11, 31, 40, 100])),
)


def schedules_of(least: int, most: int) -> "st.SearchStrategy[list[Step]]":
    """Some readers at first, a turn, and then actions with or without time between them."""
    first = st.tuples(st.lists(follows, max_size=2), posts, words, waits)
    scenes = st.lists(st.tuples(actions, waits), min_size=least, max_size=most)
    return st.builds(lambda first, scenes: flat([*first[0], first[1:], *scenes]), first, scenes)


def flat(scenes: "list[Any]") -> "list[Step]":
    """The steps of scenes; a scene is a step, or steps of which some may be empty."""
    steps: list[Step] = []
    for scene in scenes:
        steps += [scene] if isinstance(scene[0], str) else [step for step in scene if step]
    return steps


rules = st.builds(
    Rules,
    adapter=st.sampled_from(["aisdk", "anthropic"]),
    mode=st.sampled_from(["single-use", "shared", "session", "session"]),
    lease_ms=st.sampled_from([30_000, 30_000, 6_000, None]),
    batch_size=st.sampled_from([10, 1, 3]),
    linger_ms=st.sampled_from([50.0, 0.0]),
)
schedules = schedules_of(3, 25)
long_schedules = schedules_of(15, 100)


async def take(world: World, step: Step) -> None:
    """One step of a schedule."""
    match step:
        case (str(what), int(at), *rest) if what in OF_PROCESSES and at == WRITER:
            await take(world, (what, world.alive.index(world.writer), *rest))
        case ("post", int(at), delivery):
            world.post(world.alive[at], delivery)
        case ("say", int(back), int(words)) if back < len(world.posts):
            world.posts[-1 - back].voice.say(words)
        case ("finish", int(back)) if back < len(world.posts):
            world.posts[-1 - back].voice.finish()
        case ("break off", int(back)) if back < len(world.posts):
            world.posts[-1 - back].voice.break_off()
        case ("follow", int(at), "watch", _) if world.rules.mode == "single-use":
            world.follow(world.alive[at], "plain", None)
        case ("follow", int(at), str(kind), int(cursor)):
            world.follow(world.alive[at], kind, cursor or None)
        case ("leave", int(back)) if back < len(world.followers):
            world.leave(world.followers[-1 - back])
        case ("hold", int(back)) if back < len(world.followers):
            world.followers[-1 - back].hold()
        case ("let go", int(back)) if back < len(world.followers):
            world.followers[-1 - back].let_go()
        case ("withdraw", int(back)) if back < len(world.posts):
            world.withdraw(world.posts[-1 - back])
        case ("stop", int(at), bool(force)):
            world.stop(world.alive[at], force=force)
        case ("history", int(at)):
            world.ask_history(world.alive[at])
        case ("link", int(at), LinkState() as state):
            world.alive[at].transport.link.become(state)
        case ("crash", int(at)):
            await world.crash(world.alive[at])
        case ("turns", int(turns)):
            for _ in range(turns):
                await asyncio.sleep(0)
        case ("rest",):
            await asyncio.sleep(0.001)  # the clock jumps once nothing else is left to do
        case ("pause", seconds):
            await asyncio.sleep(seconds)
        case ("next name",) if world.rules.mode == "single-use":
            world.turn += 1


async def play(rules: Rules, schedule: "list[Step]", open_engine: Open) -> None:
    """Play `schedule`, and look at what came of it."""
    before = asyncio.all_tasks()
    async with world_of(rules, open_engine, PROCESSES) as world:
        for step in schedule:
            await take(world, step)
        await world.come_to_rest()
        histories: list[Any] = []
        if rules.mode == "session":
            histories = [await process.history(world.name) for process in world.alive]
    check(world, histories)
    assert [process.transport.open_channels for process in world.processes] == [0] * len(world.processes)
    assert asyncio.all_tasks() == before, "tasks are left"


LATE_READER: "list[Step]" = [("post", 0, "replay"), ("rest",), ("finish", 0), ("follow", 0, "active", 0), ("turns", 11)]
"""A reader comes when the trim of a single-use stream is on its way."""

STOP_OF_A_FAILURE: "list[Step]" = [("post", 0, "response"), ("rest",), ("break off", 0), ("stop", 1, False)]
"""A stop comes between the record that tells of an error and the fence."""

DEAD_WRITER: "list[Step]" = [("post", 0, "replay"), ("rest",), ("follow", 1, "active", 0), ("rest",), ("crash", 0)]
"""A reader waits for a writer that is gone."""


async def play_in_memory(rules: Rules, schedule: "list[Step]") -> None:
    """Each process has an engine of its own, on one disk; nothing depends on threads, so a failure comes again."""
    disk, clock = MemoryDisk(), LoopClock()

    async def open_engine() -> Engine:
        return await MemoryEngine.open(disk, clock)

    await play(rules, schedule, open_engine)


async def play_on_disk(rules: Rules, schedule: "list[Step]") -> None:
    """All processes share the embedded engine, with its threads."""
    with the_loop().elsewhere():
        engine = await SqliteEngine.open(":memory:", now_ms=the_loop().now_ms)
    try:
        await play(rules, schedule, shared(engine))
    finally:
        with the_loop().elsewhere():
            await engine.aclose()


PATIENCE_SECONDS = 0.0005
"""What the engine's threads do uncounted, such as reading for a follower, gets so long before the clock jumps."""

unhurried = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
    report_multiple_bugs=False,
)


def sound_in_memory(rules: Rules, schedule: "list[Step]") -> None:
    note(f"{rules}\n{schedule}")
    run_jumping(lambda: play_in_memory(rules, schedule))


def sound_on_disk(rules: Rules, schedule: "list[Step]") -> None:
    note(f"{rules}\n{schedule}")
    run_jumping(lambda: play_on_disk(rules, schedule), patience=PATIENCE_SECONDS)


@settings(unhurried, max_examples=200)
@given(rules=rules, schedule=schedules)
@example(Rules(mode="single-use"), LATE_READER)
@example(Rules(mode="single-use"), STOP_OF_A_FAILURE)
@example(Rules(), DEAD_WRITER)
def test_whatever_happens_chats_are_sound_in_the_end(rules: Rules, schedule: "list[Step]") -> None:
    sound_in_memory(rules, schedule)


@settings(unhurried, max_examples=12)
@given(rules=rules, schedule=schedules)
def test_whatever_happens_chats_are_sound_on_the_embedded_engine(rules: Rules, schedule: "list[Step]") -> None:
    sound_on_disk(rules, schedule)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(unhurried, max_examples=5_000)
@given(rules=rules, schedule=long_schedules)
def test_long_schedules(rules: Rules, schedule: "list[Step]") -> None:
    sound_in_memory(rules, schedule)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(unhurried, max_examples=200)
@given(rules=rules, schedule=long_schedules)
def test_long_schedules_on_the_embedded_engine(rules: Rules, schedule: "list[Step]") -> None:
    sound_on_disk(rules, schedule)
