"""Chats in several processes on one store, whose links break, whose clients come and go, at any time.

The world does what a schedule says, and keeps what everybody was told. `tests.resumable.verdicts` says whether it was
right.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from perdure import S2
from perdure.model.records import CommandKind
from perdure.resumable import tokens
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.anthropic import AnthropicChat
from perdure.resumable.responses import ChatResponse
from perdure.resumable.settings import Delivery, ModeName, Surroundings
from perdure.store.engine import Engine
from tests.jumping_loop import the_loop
from tests.resumable.chats import Chat, Chunk, Source, chat_of
from tests.resumable.links import Ledger, LinkedTransport, LinkState
from tests.resumable.scripts import SCRIPTS, stored

AWHILE = 100.0
"""Seconds of the world that are longer than any lease and any time limit in it."""

EVENTUALLY = 3600.0
"""Seconds of the world after which what has not happened never will."""


@dataclass(frozen=True)
class Rules:
    """What holds in a whole world."""

    adapter: str = "aisdk"
    mode: ModeName = "session"
    lease_ms: int | None = 30_000
    batch_size: int = 10
    linger_ms: float = 50.0


class Voice(Source):
    """A source that says words that nobody else says."""

    def __init__(self, adapter: str, number: int) -> None:
        self.number = number
        self.script = SCRIPTS[adapter]
        self.said: list[str] = []
        self.open = True
        self.failure: RuntimeError | None = None
        self._words = 0
        super().__init__()
        self._say(*self.script.opening(number))

    def _say(self, *chunks: Chunk) -> None:
        self.give(*chunks)
        self.said += map(stored, chunks)

    def say(self, words: int) -> None:
        if self.open:
            self._say(*[self.script.word(self.number, self._words + word) for word in range(words)])
            self._words += words

    def finish(self) -> None:
        if self.open:
            self.open = False
            self._say(*self.script.closing)
            self.end()

    def break_off(self) -> None:
        if self.open:
            self.open = False
            self.failure = RuntimeError("the model is gone")
            self.fail(self.failure)


@dataclass
class Process:
    """A process of the application: its chat object, and its link to the store."""

    name: str
    s2: S2
    transport: LinkedTransport
    chat: Chat
    crashed: bool = False

    async def history(self, name: str) -> Any:
        assert isinstance(self.chat, AiSdkChat | AnthropicChat)
        return await self.chat.history(name)


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class Follower:
    """A client that reads a body."""

    process: Process
    name: str
    kind: str
    post: "Post | None" = None
    from_seq_num: int | None = None
    status: int | None = None
    text: str = ""
    ended: bool = False
    left: bool = False
    stayed: bool = False
    """Whether the client was still there in the end."""
    failure: BaseException | None = None
    task: asyncio.Task[None] | None = None
    was_held: bool = False
    _free: asyncio.Event = field(default_factory=_set_event)

    def hold(self) -> None:
        """Take nothing more for a while."""
        self.was_held = True
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def read(self, response: ChatResponse) -> None:
        self.status = response.status
        if response.chunks is None:
            self.ended = True
            return
        try:
            async for chunk in response.chunks:
                self.text += chunk.decode()
                await self._free.wait()
            self.ended = True
        except Exception as exc:
            self.failure = exc
        finally:
            await response.aclose()


@dataclass
class Post:
    """A request for a turn, and what became of it."""

    process: Process
    name: str
    delivery: Delivery
    voice: Voice
    response: ChatResponse | None = None
    failure: BaseException | None = None
    run: Awaitable[None] | None = None
    follower: Follower | None = None
    task: asyncio.Task[None] | None = None


@dataclass
class Call:
    """A call on a chat, and what it gave."""

    process: Process
    name: str
    task: "asyncio.Task[Any]"


@dataclass
class World:
    """Everything that happened, and what makes more happen."""

    rules: Rules
    open_engine: Callable[[], Awaitable[Engine]]
    ledger: Ledger = field(default_factory=Ledger)
    alive: list[Process] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)
    stops: list[Call] = field(default_factory=list)
    histories: list[Call] = field(default_factory=list)
    turn: int = 0
    _ended_tokens: set[str | None] = field(default_factory=set)
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def name(self) -> str:
        """The stream that is used now."""
        return f"chat-{self.turn}"

    @property
    def writer(self) -> Process:
        """The process whose turn was accepted last; the first one, if there is none."""
        for post in reversed(self.posts):
            accepted = post.response is not None and post.response.status != 409
            if accepted and not post.process.crashed:
                return post.process
        return self.alive[0]

    async def start_process(self) -> Process:
        name = f"process-{len(self.processes)}"
        transport = LinkedTransport(self.open_engine, name, self.ledger)
        with the_loop().elsewhere():
            s2 = await S2(transport=transport).__aenter__()
            chat = await chat_of(
                self.rules.adapter,
                s2,
                mode=self.rules.mode,
                session_lease_ms=self.rules.lease_ms,
                batch_size=self.rules.batch_size,
                linger_ms=self.rules.linger_ms,
                surroundings=Surroundings(the_loop().now_ms, self._dice.randbytes, self._dice.random),
            )
        process = Process(name, s2, transport, chat)
        self.processes.append(process)
        self.alive.append(process)
        return process

    # --- what a schedule may say ---

    def post(self, process: Process, delivery: Delivery) -> Post:
        post = Post(process, self.name, delivery, Voice(self.rules.adapter, len(self.posts)))
        self.posts.append(post)
        post.task = asyncio.create_task(self._send(post))
        return post

    async def _send(self, post: Post) -> None:
        def keep(run: Awaitable[None]) -> None:
            post.run = run
            post.process.chat.background(run)

        try:
            post.response = await post.process.chat.make_resumable(
                post.name, post.voice, delivery=post.delivery, wait_until=keep
            )
        except Exception as exc:
            post.failure = exc
            return
        if post.response.status == 200:
            post.follower = Follower(post.process, post.name, "post", post)
            self._read(post.follower, post.response)

    def follow(self, process: Process, kind: str, from_seq_num: int | None) -> Follower:
        follower = Follower(process, self.name, kind, from_seq_num=from_seq_num)
        self.followers.append(follower)
        follower.task = asyncio.create_task(self._ask(follower))
        return follower

    async def _ask(self, follower: Follower) -> None:
        chat, name = follower.process.chat, follower.name
        match follower.kind:
            case "watch":
                asked: Awaitable[ChatResponse] = chat.watch(name)
            case "live":
                asked = chat.replay(name, live=True, from_seq_num=follower.from_seq_num)
            case "active":
                asked = chat.replay(name, active_only=True)
            case _:
                asked = chat.replay(name, from_seq_num=follower.from_seq_num)
        try:
            response = await asked
        except Exception as exc:
            follower.failure = exc
            return
        await follower.read(response)

    def _read(self, follower: Follower, response: ChatResponse) -> None:
        self.followers.append(follower)
        follower.task = asyncio.create_task(follower.read(response))

    def leave(self, follower: Follower) -> None:
        """The client goes away."""
        assert follower.task is not None
        if not follower.task.done():
            follower.left = True
            follower.task.cancel()

    def withdraw(self, post: Post) -> None:
        """The client goes away while its request is being answered."""
        assert post.task is not None
        post.task.cancel()

    def stop(self, process: Process, *, force: bool) -> None:
        stopping = process.chat.force_stop(self.name) if force else process.chat.stop(self.name)
        self.stops.append(Call(process, self.name, asyncio.create_task(stopping)))

    def ask_history(self, process: Process) -> None:
        if self.rules.mode == "session":
            call = Call(process, self.name, asyncio.create_task(process.history(self.name)))
            self.histories.append(call)

    async def crash(self, process: Process) -> None:
        """Nothing of this process reaches the store any more; another one takes its place."""
        process.crashed = True
        process.transport.link.become(LinkState.HANGS)
        self.alive.remove(process)
        await self.start_process()

    # --- the end ---

    async def come_to_rest(self) -> None:
        """Let everything that is under way come to its end, and start a process that has seen nothing of it."""
        for process in self.alive:
            process.transport.link.become(LinkState.WORKS)
        for follower in self.followers:
            follower.let_go()
        await asyncio.sleep(AWHILE)
        self._check_that_no_source_outlives_its_generation()
        for post in self.posts:
            post.voice.finish()
        living = [post for post in self.posts if not post.process.crashed]
        await self._all_done("posts", [post.task for post in living])
        await self._all_done("generations", [post.run for post in living if isinstance(post.run, asyncio.Future)])
        calls = [call.task for call in [*self.stops, *self.histories] if not call.process.crashed]
        await self._all_done("calls", calls)
        readers = [follower for follower in self.followers if not follower.process.crashed]
        bodies = [reader.task for reader in readers if reader.kind not in ("live", "watch")]
        if self.rules.lease_ms is not None:
            # What the dead left is ended by whoever waits for it, with no help from outside.
            await asyncio.sleep(AWHILE)
            await self._all_done("bodies", bodies)
        judge = await self.start_process()
        for name in self.ledger.names:
            await self._end_what_is_left(judge, name)
        await asyncio.sleep(AWHILE)
        await self._all_done("bodies", bodies)
        for reader in readers:
            reader.stayed = not reader.left
            self.leave(reader)
        await self._all_done("readers", [reader.task for reader in readers])

    def _check_that_no_source_outlives_its_generation(self) -> None:
        """A writer that says nothing learns of its end all the same."""
        for name in self.ledger.names:
            for written in self.ledger.log(name):
                if written.command is CommandKind.FENCE and tokens.is_terminal(written.text):
                    self._ended_tokens.add(written.token)
        for post in self.posts:
            token = self._token_of(post)
            if token in self._ended_tokens and not post.process.crashed:
                assert post.voice.closed.is_set(), "a source outlives its generation"

    def _token_of(self, post: Post) -> str | None:
        """The token under which what a source said is in the log; None if nothing of it is there."""
        first = post.voice.said[0]
        return next((written.token for written in self.ledger.log(post.name) if written.text == first), None)

    async def _end_what_is_left(self, judge: Process, name: str) -> None:
        """What a dead process left is ended by whoever looks once its lease is over; without a lease by a stop."""
        if self.rules.lease_ms is not None:
            await asyncio.sleep(self.rules.lease_ms / 1000 + 1)
            response = await judge.chat.replay(name, active_only=self.rules.mode == "session")
            assert response.status in (200, 204)
            await response.aclose()
        else:
            await judge.chat.stop(name)

    async def _all_done(self, what: str, tasks: "list[Any]") -> None:
        waiting = {task for task in tasks if task is not None}
        if waiting:
            _, pending = await asyncio.wait(waiting, timeout=EVENTUALLY)
            assert not pending, f"{what} never end: {pending}"

    async def aclose(self) -> None:
        """End all processes; the dead ones learn that their link is broken."""
        for process in self.processes:
            if process.crashed:
                process.transport.link.become(LinkState.BROKEN)
        for follower in self.followers:
            self.leave(follower)
        tasks = [post.task for post in self.posts] + [follower.task for follower in self.followers]
        tasks += [call.task for call in [*self.stops, *self.histories]]
        await self._all_done("calls of dead processes", tasks)
        for process in self.processes:
            await process.chat.aclose(timeout=0)
            with the_loop().elsewhere():
                await process.s2.aclose()


@asynccontextmanager
async def world_of(rules: Rules, open_engine: Callable[[], Awaitable[Engine]], processes: int) -> AsyncIterator[World]:
    """A world of so many processes; ended at the end."""
    world = World(rules, open_engine)
    try:
        for _ in range(processes):
            await world.start_process()
        yield world
    finally:
        await world.aclose()
