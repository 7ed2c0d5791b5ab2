"""Perdure beside the `resumable-stream` from PyPI, which keeps its answers in its process and finds them by Redis.

Each package takes its turns in a process of its own, A B B A, with the same sources; a row is the median of the ratios
of the pairs, so that what else goes on in the machine meets both. Redis runs as it comes, where nothing waits for the
disk, and holds no chunk: an answer is gone with the process that generates it. Perdure shows a chunk, in the chat
object, only once it is synced to the disk. What is built on Redis with that same promise takes its turns as well: a
Redis stream for each answer, on a server that syncs each write.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version as version_of

from . import redis_server
from .children import Child
from .resumable_work import CHAT, CONTEXT, LOG, PACKAGES, THEIRS, Job, Turn, Work, p50_ms, take_turns
from .scenario import Row, Run, alone, at_least

TOKENS = 10_000
GENERATIONS = 200


OPPONENTS = {THEIRS: (CHAT, CONTEXT), LOG: (CHAT,)}
"""Who is compared with whom: the context shows who asked each chunk at once, so it promises less than the log does."""


@dataclass(frozen=True)
class Value:
    """One number of a turn; ratios are the other's by ours unless `more_is_better`."""

    what: str
    unit: str
    of: Callable[[Turn], float]
    more_is_better: bool = False
    limit: float | None = 1.0
    tells_stored: bool = False
    """Whether the notes say what one of `per` answers takes outside of the process."""
    per: int = 1
    against: tuple[str, ...] = tuple(OPPONENTS)


def _measures(run: Run) -> list[tuple[Job, list[Value]]]:
    asked = Value("a token to who asked", "ms", lambda turn: p50_ms(turn.samples))
    generations, tokens = run.pick(GENERATIONS, 50), run.pick(TOKENS, 4_000)
    each = run.pick(50, 20)
    paused, fast = Job(Work.GENERATE, tokens=run.pick(300, 50), pause=0.004), Job(Work.GENERATE, generations, each)
    whole = f"an answer of {tokens:,} chunks"

    def with_tabs(job: Job) -> Job:
        return Job(job.work, job.answers, job.tokens, 1, job.pause)

    def rate(what: str) -> Value:
        return Value(
            f"{generations} answers at once{what}",
            "tokens/s",
            lambda turn: generations * each / turn.seconds,
            more_is_better=True,
        )

    held = Job(Work.HOLD, run.pick(10, 5), tokens, resumes=run.pick(10, 5))
    return [
        (
            Job(Work.FIRST_TOKEN, run.pick(100, 20)),
            [Value("the first token", "ms", lambda turn: p50_ms(turn.samples))],
        ),
        (paused, [asked]),
        (
            with_tabs(paused),
            [
                Value("a token to who asked, another tab open", "ms", lambda turn: p50_ms(turn.samples)),
                Value("a token to another tab", "ms", lambda turn: p50_ms(turn.at_tabs)),
            ],
        ),
        (fast, [rate("")]),
        (with_tabs(fast), [rate(", a tab more on each")]),
        (
            held,
            [
                Value(f"resuming {whole}", "ms", lambda turn: p50_ms(turn.samples)),
                Value(
                    f"memory of {whole}",
                    "KB",
                    lambda turn: max(turn.memory_bytes / held.answers / 1e3, 1),
                    tells_stored=True,
                    per=held.answers,
                    against=(THEIRS,),
                ),
                Value(
                    f"bytes on the disk of {whole}",
                    "KB",
                    lambda turn: max(turn.stored_bytes / held.answers / 1e3, 1),
                    against=(LOG,),
                ),
            ],
        ),
    ]


class Contest:
    """The packages' processes, and the Redis servers of those that have one."""

    def __init__(
        self, run: Run, children: dict[str, Child[None]], servers: dict[str, redis_server.RedisServer]
    ) -> None:
        self._run, self._children, self._servers = run, children, servers
        self._units = {THEIRS: f"× resumable-stream {version_of('resumable-stream')}", LOG: "× a synced Redis log"}

    def measure(self, job: Job, values: list[Value]) -> list[Row]:
        self._run.progress("; ".join(value.what for value in values))
        turns: dict[str, list[Turn]] = {package: [] for package in self._children}
        for number in range(self._run.pick(4, 2)):
            for package in self._children if number % 2 == 0 else reversed(self._children):
                server = self._servers.get(package)
                served = server.cpu_seconds() if server is not None else 0.0
                turn = self._children[package].ask(job, Turn)
                turn.cpu += server.cpu_seconds() - served if server is not None else 0.0
                turns[package].append(turn)
        return [
            self._row(value, package, opponent, turns)
            for opponent in OPPONENTS
            for value in values
            for package in OPPONENTS[opponent]
            if opponent in value.against
        ]

    def _row(self, value: Value, package: str, opponent: str, turns: dict[str, list[Turn]]) -> Row:
        ours, theirs = ([value.of(turn) for turn in turns[name]] for name in (package, opponent))
        if value.tells_stored:  # memory that an earlier turn has left is used again, so the largest turn tells
            ours, theirs = [max(ours)], [max(theirs)]
        ratios = [
            mine / other if value.more_is_better else other / max(mine, 1e-9)
            for mine, other in zip(ours, theirs, strict=True)
        ]
        notes = [f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs"] if len(ratios) > 1 else []
        for name, values in ((package, ours), (opponent, theirs)):
            busy = sum(turn.cpu for turn in turns[name]) / sum(turn.seconds for turn in turns[name])
            shown = statistics.median(values)
            notes.append(f"{name} {shown:,.2f} {value.unit}, {busy:.0%} of a core")
            if value.tells_stored:
                kept = statistics.median(turn.stored_bytes for turn in turns[name]) / value.per / 1e3
                notes[-1] += f", and {kept:,.0f} KB {'in Redis' if name == THEIRS else 'on the disk'}"
        limit = None if value.limit is None else at_least(value.limit)
        return Row(
            f"{package}: {value.what}", statistics.median(ratios), self._units[opponent], limit, "; ".join(notes)
        )


async def run(run: Run) -> list[Row]:
    rows: list[Row] = []
    with ExitStack() as stack:
        servers = {
            THEIRS: stack.enter_context(redis_server.redis_server(run.store("redis"))),
            LOG: stack.enter_context(redis_server.redis_server(run.store("redis-synced"), synced=True)),
        }
        children: dict[str, Child[None]] = {}
        for package in PACKAGES:
            place = servers[package].url if package in servers else str(run.store(package.replace(" ", "-")))
            children[package] = Child(take_turns, package, place)
            stack.callback(children[package].end)
        contest = Contest(run, children, servers)
        for job, values in _measures(run):
            rows += contest.measure(job, values)
    return rows


if __name__ == "__main__":
    alone(run)
