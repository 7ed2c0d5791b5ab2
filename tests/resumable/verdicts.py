"""What must be true of a world that has come to rest, whatever happened in it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perdure.errors import FencingTokenMismatch, TransportError
from perdure.model.records import CommandKind
from perdure.resumable import tokens
from perdure.resumable.following import RecordsLost
from perdure.resumable.tokens import FenceKind
from tests.resumable.chats import ERROR_BODIES, STOP_BODIES, frames
from tests.resumable.links import Written
from tests.resumable.scripts import SCRIPTS
from tests.resumable.world import Call, Follower, Post, World

CLOSERS = {
    "aisdk": ("text-end", "abort"),
    "anthropic": ("message_start", "content_block_stop", "message_delta", "message_stop"),
}
"""The types of the records with which each adapter closes what was stopped."""


@dataclass
class Segment:
    """One generation of a log: from its holder's fence to the fence that ended it."""

    holder: Written
    data: list[Written] = field(default_factory=list)
    end: Written | None = None

    @property
    def token(self) -> str:
        return self.holder.text

    @property
    def kind(self) -> FenceKind:
        """How it ended; `HOLDER` if it was taken over."""
        assert self.end is not None
        return tokens.kind_of(self.end.text)


def segments_of(log: Sequence[Written], mode: str) -> list[Segment]:
    """The generations of a log. Each record was written under the token in force; each generation ends once."""
    found: list[Segment] = []
    current: Segment | None = None
    in_force = ""
    for written in log:
        if written.command is CommandKind.FENCE:
            kind = tokens.kind_of(written.text)
            if kind.is_terminal:
                assert current is not None, f"record {written.seq_num} ends a generation that is over"
                current.end, current = written, None
            else:
                assert current is None or mode == "shared", f"record {written.seq_num} claims a busy stream"
                if current is not None:
                    current.end = written
                current = Segment(written)
                found.append(current)
        elif written.is_data:
            assert current is not None, f"record {written.seq_num} is in no generation"
            current.data.append(written)
    assert current is None, "a generation has no end"
    batch_token: str | None = None
    for written in log:
        # A batch is admitted as a whole under the token before it.
        assert written.token in (in_force, batch_token), f"record {written.seq_num} was written without the right"
        batch_token = written.token
        if written.command is CommandKind.FENCE:
            in_force = written.text
        elif written.token == in_force:
            batch_token = None
    return found


def check(world: World, histories: "list[Any]") -> None:
    """Everything, of every stream. `histories` is what each process says at the end."""
    for name in world.ledger.names:
        log = world.ledger.log(name)
        segments = segments_of(log, world.rules.mode)
        posts = [post for post in world.posts if post.name == name]
        _check_claims(posts, segments, world.rules.mode)
        for segment in segments:
            _check_words(world, segment, posts)
        for follower in world.followers:
            if follower.name == name:
                _check_follower(world, follower, log, segments)
        stopped_by = {part.end.process for part in segments if part.end is not None and part.kind is FenceKind.STOP}
        for call in world.stops:
            if call.name == name and _outcome_of(call):
                assert call.process.name in stopped_by, "a stop that stopped nothing says that it did"
    _check_histories(world, histories)
    for call in world.histories:
        _outcome_of(call)
    for post in world.posts:
        if post.failure is not None:
            assert post.process.transport.link.was_disturbed
            assert isinstance(post.failure, TransportError)
        assert post.voice.calls <= 1
        assert not post.voice.began or post.voice.closed.is_set(), "a source was left open"


def _outcome_of(call: Call) -> Any:
    """What a call gave; None if it failed, which it may only where the link to the store failed."""
    if call.task.cancelled():
        return None
    failure = call.task.exception()
    if failure is not None:
        assert call.process.transport.link.was_disturbed, failure
        assert isinstance(failure, TransportError), failure
        return None
    return call.task.result()


def _owner(segment: Segment, posts: Sequence[Post]) -> Post | None:
    """Whose words a generation holds; None if it holds none."""
    for post in posts:
        if segment.data and segment.data[0].text == post.voice.said[0]:
            return post
    return None


def _check_claims(posts: Sequence[Post], segments: Sequence[Segment], mode: str) -> None:
    """Each turn that was accepted is one generation, and a turn that was refused asked its source for nothing."""
    accepted = uncertain = 0
    for post in posts:
        if post.response is None:
            uncertain += 1
        elif post.response.status == 409:
            assert post.voice.calls == 0, "a refused turn called its model"
        else:
            accepted += 1
    if mode == "shared":
        # A stop may come between the fence of a claim and the trim of what was before; that turn never began.
        uncertain += sum(_owner(part, posts) is None and part.kind is FenceKind.STOP for part in segments)
    assert accepted <= len(segments) <= accepted + uncertain
    if mode == "single-use":
        assert len(segments) <= 1, "a name was used twice"


def _check_words(world: World, segment: Segment, posts: Sequence[Post]) -> None:
    """A generation holds a beginning of what one source said, in order, and what its end asks for."""
    texts = [written.text for written in segment.data]
    post = _owner(segment, posts)
    said = [] if post is None else post.voice.said
    own = 0
    while own < min(len(said), len(texts)) and texts[own] == said[own]:
        own += 1
    rest = texts[own:]
    adapter = world.rules.adapter
    assert segment.end is not None
    match segment.kind:
        case FenceKind.END:
            assert not rest
            assert post is not None
            assert own == len(said), "an answer ended before its source had"
            assert segment.end.process == post.process.name
        case FenceKind.ERROR:
            # Twice, if the link of a writer broke between the record that tells of its error and the fence.
            told = 1 if post is None or not post.process.transport.link.was_disturbed else len(rest)
            assert rest == [ERROR_BODIES[adapter]] * told
            assert told in (1, 2)
        case FenceKind.STOP:
            if rest[:1] == [ERROR_BODIES[adapter]]:
                del rest[0]  # and the stop came before the fence
            _check_closing(adapter, texts[:own], rest)
        case FenceKind.HOLDER:
            assert not rest
    if post is not None:
        _check_outcome(world, post, segment, own)


def _check_closing(adapter: str, own: Sequence[str], closing: Sequence[str]) -> None:
    kinds = [json.loads(body)["type"] for body in closing]
    assert all(kind in CLOSERS[adapter] for kind in kinds), closing
    if adapter == "aisdk":
        assert closing[-1] == STOP_BODIES[adapter]
        started, ended = (sum(f'"type":"text-{what}"' in body for body in own) for what in ("start", "end"))
        assert kinds.count("text-end") == started - ended
    else:
        both = [json.loads(body)["type"] for body in [*own, *closing]]
        assert both.count("message_start") == both.count("message_stop") == 1
        assert both.count("content_block_start") == both.count("content_block_stop")


def _check_outcome(world: World, post: Post, segment: Segment, own: int) -> None:
    """What the request's `wait_until` was told of the generation."""
    run = post.run
    if post.process.transport.link.was_disturbed or not isinstance(run, asyncio.Future):
        return
    assert segment.end is not None
    failure = run.exception()
    match segment.kind:
        case FenceKind.END:
            assert failure is None
        case FenceKind.STOP:
            assert failure in (None, post.voice.failure)
        case FenceKind.ERROR:
            # Who can write is never silent for a lease, however long its source is.
            assert segment.end.process == post.process.name, "a writer that lives lost its generation"
            assert failure is post.voice.failure is not None
            assert own == len(post.voice.said)
        case FenceKind.HOLDER:
            raise AssertionError("a writer that lives was taken over")


def _check_follower(world: World, follower: Follower, log: Sequence[Written], segments: Sequence[Segment]) -> None:
    if follower.kind == "watch":
        _check_watcher(follower, log)
        return
    seen = frames(follower.text.replace(": keep-alive\n\n", ""))
    data = [(written.seq_num + 1, written.text) for written in log if written.is_data]
    # What is shown is what the log says, without a duplicate and without a gap.
    first = next((at for at, frame in enumerate(data) if seen and frame == seen[0]), 0)
    assert seen == data[first : first + len(seen)], f"a {follower.kind} body shows what the log does not say"
    if follower.failure is not None:
        disturbed = follower.process.transport.link.was_disturbed
        trimmed = isinstance(follower.failure, RecordsLost) and _may_be_trimmed(world, follower, segments)
        assert trimmed or (disturbed and isinstance(follower.failure, TransportError | FencingTokenMismatch))
        return
    whole = not follower.process.crashed and (follower.ended or follower.kind == "live")
    if follower.status != 200 or not whole:
        return
    if follower.kind == "live":
        if world.rules.mode == "session" and follower.stayed:
            # A cursor from beyond the tail begins at the tail, so perhaps with more.
            wanted = [frame for frame in data if frame[0] > (follower.from_seq_num or 0)]
            assert len(seen) >= len(wanted), "a live body missed records"
            assert seen == data[len(data) - len(seen) :]
        return
    _check_ended(follower, seen, data, segments, world.rules.mode)


def _may_be_trimmed(world: World, follower: Follower, segments: Sequence[Segment]) -> bool:
    """Whether a reader may find that what it has not read yet is gone."""
    if world.rules.mode != "single-use":
        return world.rules.mode == "shared"
    process = follower.process
    return follower.was_held or process.transport.link.was_disturbed or segments[0].holder.process != process.name


def _check_ended(
    follower: Follower,
    seen: "Sequence[tuple[int | None, str]]",
    data: "Sequence[tuple[int, str]]",
    segments: Sequence[Segment],
    mode: str,
) -> None:
    """A body that ended by itself showed all there was until the end of a generation."""
    if follower.post is not None:
        for part in segments:
            if _owner(part, [follower.post]) is not None:
                own = [(written.seq_num + 1, written.text) for written in part.data]
                assert list(seen) == own, "the body of a turn is not its generation"
        return
    if not seen:
        return
    last = seen[-1][0]
    ends = [part.data[-1].seq_num + 1 for part in segments if part.data]
    assert last in ends, f"a {follower.kind} body ended in the middle of a generation"
    starts = [part.data[0].seq_num + 1 for part in segments if part.data]
    wanted = [number for number, _ in data if number > (follower.from_seq_num or 0)]
    if follower.kind == "active":
        assert seen[0][0] in starts, "a resumed body began in the middle of a generation"
    elif seen[0][0] not in starts or mode == "session":
        assert not wanted or (seen[0][0] or 0) <= wanted[0], f"a {follower.kind} body left something out"


def _check_watcher(follower: Follower, log: Sequence[Written]) -> None:
    """A watcher hears the state, and then of each fence once, in order."""
    events = [
        json.loads(line.removeprefix("data: ")) for line in follower.text.splitlines() if line.startswith("data: ")
    ]
    if not events:
        return
    assert events[0]["event"] == "state"
    names = {FenceKind.HOLDER: "start", FenceKind.END: "end", FenceKind.STOP: "stop", FenceKind.ERROR: "error"}
    fences = {written.seq_num + 1: written for written in log if written.command is CommandKind.FENCE}
    position = -1
    for event in events:
        heard = event["nextSeqNum"]
        missed = [number for number in fences if position < number < heard] if event["event"] != "state" else []
        assert position <= heard
        assert position == -1 or not missed, "a watcher missed a fence"
        position = heard
        if event["event"] != "state":
            assert event["event"] == names[tokens.kind_of(fences[heard].text)]
    if follower.stayed:
        assert not [number for number in fences if number > position], "a watcher was not told the end"


def _check_histories(world: World, histories: "list[Any]") -> None:
    """However a history came about, it is what the log says."""
    if world.rules.mode != "session" or not world.ledger.names:
        return
    script = SCRIPTS[world.rules.adapter]
    expected: list[tuple[str, str]] = []
    for segment in segments_of(world.ledger.log(world.name), "session"):
        chunks = [json.loads(written.text) for written in segment.data]
        expected += script.messages([chunk for chunk in chunks if chunk["type"] != "error"])
    for history in histories:
        assert history == histories[0], "two processes tell different histories"
        assert script.history(history) == expected
        assert history["nextSeqNum"] == len(world.ledger.log(world.name))
