"""Ctrl-C, as a real signal to a real process: the call that waits is over, and nothing of it is left."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PROCESS_SECONDS

ROOT = Path(__file__).parents[2]

SETTING = """
import signal, sys, threading
from perdure import AppendRecord, SeqNum
from perdure.sync import S2, Stream
from tests.sync.test_life import calls_in_flight, wait_for_calls

# Whoever runs the tests in the background of a shell script has them ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

def announce(count):
    wait_for_calls(count)
    print("waiting", flush=True)
"""

WAITING = """
with S2.open(":memory:") as s2:
    stream = s2.basins.create("blocking-basin").streams.create("s")
    session = stream.read_session(SeqNum(0), clamp=True)
    producer = stream.producer(linger_ms=1e9)
    ticket = producer.submit(AppendRecord("x"))
    announcer = threading.Thread(target=announce, args=(1,))
    announcer.start()
    try:
        CALL
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    announcer.join()
    assert calls_in_flight() == 0
    assert s2.basin("blocking-basin").stream("s").append([AppendRecord("next")]).start.seq_num == 0
    assert next(session).text == "next"
    session.close()
    producer.close()
    assert ticket.result().seq_num == 1
print("done", flush=True)
"""


@pytest.mark.parametrize("call", ["stream.read(SeqNum(0), wait=60)", "next(session)", "ticket.result()"])
async def test_it_interrupts_a_call_that_waits_and_the_client_goes_on(call: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", SETTING + WAITING.replace("CALL", call)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, output, errors) == (0, b"interrupted\ndone\n", b"")


async def test_a_script_that_follows_ends_by_it() -> None:
    script = """
with S2.open(":memory:") as s2:
    stream = s2.basins.create("blocking-basin").streams.create("s")
    threading.Thread(target=announce, args=(1,), daemon=True).start()
    with stream.read_session(SeqNum(0), clamp=True) as session:
        for record in session:
            pass
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", SETTING + script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == b"KeyboardInterrupt"
    assert errors.count(b"Traceback") == 1


AT_ANY_MOMENT = """
import random, itertools
seed, rounds = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)

class Interrupted(Exception):
    pass

armed = False

def interrupt(*_):
    global armed
    if armed:
        armed = False
        raise Interrupted

def work(stream):
    with stream.append_session(max_in_flight_batches=2) as session:
        for _ in range(5):
            ticket = session.submit([AppendRecord("x")])
    stream.append([AppendRecord("y")])
    with stream.producer(linger_ms=0) as producer:
        producer.submit(AppendRecord("z"))
    with stream.read_session(SeqNum(0)) as session:
        for _ in zip(range(5), session):
            pass

signal.signal(signal.SIGALRM, interrupt)
interruptions = 0
with S2.open(":memory:") as s2:
    basin = s2.basins.create("blocking-basin")
    for number in range(rounds):
        stream = basin.streams.create(f"s{number}")
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 8e-3))
            work(stream)
            armed = False
        except Interrupted:
            interruptions += 1
        assert calls_in_flight() == 0, (number, "a task is left")
        if stream.check_tail().seq_num:
            texts = "".join(record.text for record in stream.read(SeqNum(0)).records)
            assert texts in {"x" * n for n in range(5)} | {"xxxxx", "xxxxxy", "xxxxxyz"}, texts
    signal.setitimer(signal.ITIMER_REAL, 0)
print(interruptions)
"""


def test_an_interruption_at_any_moment_leaves_nothing() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SETTING + AT_ANY_MOMENT, str(seed), "60"],
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    # Not empty: where the exception meets a callback of the collector, Python ignores it, and says so.
    assert "Warning" not in done.stderr
    assert int(done.stdout) > 0
