"""One small durable append at a time, with nothing else going on: how long until it is acknowledged."""

from __future__ import annotations

from perdure import S2, AppendRecord, SeqNum

from .baselines import Fdatasync, SqliteCommit
from .measure import Samples, Usage
from .payload import KIB, is_numbered, numbered
from .scenario import Row, Run, alone, at_most, check

WARM_UP = 50


async def run(run: Run) -> list[Row]:
    rounds, each = run.pick(10, 3), run.pick(300, 100)
    samples, usage, sent = Samples(), Usage(), 0
    with Fdatasync(run.directory, KIB) as sync, SqliteCommit(run.directory, KIB) as sqlite:
        async with S2.open(run.store()) as s2:
            basin = await s2.basins.ensure("bench-append", create_stream_on_append=True)
            stream = basin.stream("idle")
            for _ in range(WARM_UP):
                await stream.append([AppendRecord(numbered(sent, KIB))])
                sent += 1
            for number in range(rounds):
                run.progress(f"round {number + 1} of {rounds}")
                sync.many(each)
                sqlite.many(each)
                usage.resume()
                for _ in range(each):
                    body = numbered(sent, KIB)
                    with samples.timed():
                        await stream.append([AppendRecord(body)])
                    sent += 1
                usage.stop()
            read = 0
            async with stream.read_session(SeqNum(0), wait=0) as records:
                async for record in records:
                    check(record.seq_num == read and is_numbered(record.body, read, KIB), f"record {read} is another")
                    read += 1
            check(read == sent, f"{sent} records were acknowledged, {read} are there")
    commit = sqlite.samples.p50_ms
    beside = f"fdatasync {sync.samples.p50_ms:.3f} ms, one SQLite commit {commit:.3f} ms"
    cpu = f"{usage.micros_per(len(samples)):.0f} µs of CPU an append"
    return [
        Row("append of 1 KB, idle, p50", samples.p50_ms, "ms", at_most(3 * commit, "3 × SQLite"), beside),
        Row(
            "append of 1 KB, idle, p99",
            samples.p99_ms,
            "ms",
            notes=f"fdatasync {sync.samples.p99_ms:.3f} ms, one SQLite commit {sqlite.samples.p99_ms:.3f} ms; {cpu}",
        ),
    ]


if __name__ == "__main__":
    alone(run)
