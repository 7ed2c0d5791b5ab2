"""One small durable append at a time, with nothing else going on: how long until it is acknowledged."""

from __future__ import annotations

from perdure import S2, AppendRecord, SeqNum, Stream

from .baselines import Fdatasync, SqliteCommit
from .measure import Samples, Usage
from .payload import KIB, is_numbered, numbered
from .scenario import Row, Run, alone, at_most, check
from .warm_up import warm_up

WARM_UP = 50
SQLITE_LOG_PAGES = 1100
"""Bare SQLite begins its log anew after a thousand pages."""


class Appends:
    """Single appends to one stream, each timed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._sent = 0
        self.samples = Samples()
        self.usage = Usage()

    async def many(self, count: int) -> None:
        self.usage.resume()
        for _ in range(count):
            body = numbered(self._sent, KIB)
            with self.samples.timed():
                await self._stream.append([AppendRecord(body)])
            self._sent += 1
        self.usage.stop()

    async def check(self) -> None:
        """That what was acknowledged is there."""
        read = 0
        async with self._stream.read_session(SeqNum(0), wait=0) as records:
            async for record in records:
                check(record.seq_num == read and is_numbered(record.body, read, KIB), f"record {read} is another")
                read += 1
        check(read == self._sent, f"{self._sent} records were acknowledged, {read} are there")


async def run(run: Run) -> list[Row]:
    rounds, each = run.pick(10, 3), run.pick(300, 100)
    with Fdatasync(run.directory, KIB) as sync, SqliteCommit(run.directory, KIB) as sqlite:
        async with S2.open(run.store()) as s2:
            basin = await s2.basins.ensure("bench-append", create_stream_on_append=True)
            appends = Appends(basin.stream("idle"))
            await appends.many(WARM_UP)
            appends.samples = Samples()
            sqlite.many(WARM_UP)
            sqlite.samples = Samples()
            run.progress("a new store")
            for _ in range(rounds):
                sqlite.many(each // 10)
                await appends.many(each // 10)
            new, new_commit = appends.samples, sqlite.samples
            run.progress("letting the logs begin anew")
            await warm_up(basin.stream("warm-up"))
            sqlite.many(SQLITE_LOG_PAGES)
            appends.samples, appends.usage, sqlite.samples = Samples(), Usage(), Samples()
            for number in range(rounds):
                run.progress(f"round {number + 1} of {rounds}")
                sync.many(each)
                sqlite.many(each)
                await appends.many(each)
            await appends.check()
    samples, commit = appends.samples, sqlite.samples.p50_ms
    return [
        Row(
            "append of 1 KB, idle, p50",
            samples.p50_ms,
            "ms",
            at_most(3 * commit, "3 × SQLite"),
            f"one SQLite commit {commit:.3f} ms, fdatasync of a growing file {sync.samples.p50_ms:.3f} ms",
        ),
        Row(
            "append of 1 KB, idle, p99",
            samples.p99_ms,
            "ms",
            notes=f"one SQLite commit {sqlite.samples.p99_ms:.3f} ms, fdatasync {sync.samples.p99_ms:.3f} ms; "
            f"{appends.usage.micros_per(len(samples)):.0f} µs of CPU an append",
        ),
        Row(
            "append of 1 KB, idle, new store, p50",
            new.p50_ms,
            "ms",
            notes=f"while the log still grows; one SQLite commit, likewise {new_commit.p50_ms:.3f} ms",
        ),
    ]


if __name__ == "__main__":
    alone(run)
