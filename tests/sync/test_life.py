"""Threads, closing, forgetting: what becomes of calls, sessions and the client's own thread."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure import AppendRecord, PerdureError, SeqNum, SessionClosed
from perdure.sync import S2, Stream
from tests.patience import PROCESS_SECONDS

pytestmark = pytest.mark.usefixtures("debugged_loops")

THREADS = 6


def in_threads(*works: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    return threads


def client_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "perdure-sync"}


def calls_in_flight() -> int:
    """How many tasks the clients of this process run for their callers."""
    # By way of the loops: a task that another thread is just making must not be looked at.
    loops = [found for found in gc.get_objects() if isinstance(found, asyncio.AbstractEventLoop)]
    return sum(1 for loop in loops for task in asyncio.all_tasks(loop) if "_Call" in repr(task.get_coro()))


def wait_for_calls(count: int) -> None:
    pause = threading.Event()
    while calls_in_flight() < count:
        pause.wait(0.005)  # nothing tells when a call begins to wait; the test's time limit bounds this


def test_many_threads_share_a_client_and_a_session(stream: Stream) -> None:
    acknowledged: dict[int, list[int]] = {}
    with stream.append_session(max_in_flight_batches=4) as session:

        def work(number: int) -> None:
            mine = [AppendRecord(f"{number}")]
            tickets = []
            for _ in range(20):
                stream.append(mine)
                tickets.append(session.submit(mine))
            acknowledged[number] = [ticket.result().start.seq_num for ticket in tickets]

        for thread in in_threads(*((lambda number=number: work(number)) for number in range(THREADS))):
            thread.join()
    assert stream.check_tail().seq_num == THREADS * 40
    assert all(numbers == sorted(numbers) for numbers in acknowledged.values())
    assert len({seq_num for numbers in acknowledged.values() for seq_num in numbers}) == THREADS * 20
    read = stream.read(SeqNum(0)).records
    assert all(read[seq_num].text == str(number) for number, mine in acknowledged.items() for seq_num in mine)


def test_one_thread_follows_what_another_appends(stream: Stream) -> None:
    seen: list[str] = []
    with stream.read_session(SeqNum(0), count=3, wait=60) as session:
        (follower,) = in_threads(lambda: seen.extend(record.text for record in session))
        for text in "abc":
            stream.append([AppendRecord(text)])
        follower.join()
    assert seen == ["a", "b", "c"]


def test_a_close_ends_the_calls_that_wait_in_other_threads() -> None:
    before = client_threads()
    s2 = S2.open(":memory:")
    stream = s2.basins.create("blocking-basin").streams.create("s")
    session = stream.read_session(SeqNum(0), clamp=True)
    producer = stream.producer(linger_ms=1e9)
    ticket = producer.submit(AppendRecord("never sent"))
    ended: list[BaseException | None] = []

    def told(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except PerdureError as exc:
                ended.append(exc)

        return run

    threads = in_threads(
        told(lambda: stream.read(SeqNum(0), wait=60)), told(lambda: next(session)), told(lambda: ticket.result())
    )
    wait_for_calls(3)
    closers = in_threads(s2.close, s2.close)
    for thread in [*threads, *closers]:
        thread.join()
    assert len(ended) == 3
    assert calls_in_flight() == 0
    assert client_threads() - before == set()

    with pytest.raises(SessionClosed):
        producer.close()  # it says that something was lost, once
    producer.close()
    session.close()
    assert not ticket.done()
    with pytest.raises(SessionClosed):
        ticket.result()


def test_a_closed_client_refuses_calls_and_still_tells_what_it_knows() -> None:
    with S2.open(":memory:") as s2:
        stream = s2.basins.create("blocking-basin").streams.create("s")
        producer = stream.producer(linger_ms=0)
        record = producer.submit(AppendRecord("a"))
        producer.flush()
        session = stream.append_session()
        ticket = session.submit([AppendRecord("b")])
        ticket.result()
        reader = stream.read_session(SeqNum(0))
        next(reader)
        streams = s2.basin("blocking-basin").streams.list_all()
        next(streams)
    s2.close()
    for refused in (
        stream.check_tail,
        lambda: stream.append([AppendRecord("c")]),
        lambda: session.submit([AppendRecord("c")]),
        lambda: producer.submit(AppendRecord("c")),
        lambda: next(reader),
        lambda: next(streams),
        s2.basins.list,
        stream.read_session(SeqNum(0)).__enter__,
    ):
        with pytest.raises(SessionClosed):
            refused()
    assert record.result().seq_num == 0
    assert ticket.result().start.seq_num == 1
    assert ticket.done()
    assert reader.next_read_position is not None
    assert reader.next_read_position.seq_num == 1
    assert session.in_flight_batches == 0
    reader.close()
    session.abandon()


def test_a_client_that_is_forgotten_is_closed_with_a_warning() -> None:
    before = client_threads()
    s2 = S2.open(":memory:")
    stream = s2.basins.create("blocking-basin").streams.create("s")
    (thread,) = client_threads() - before
    del s2
    gc.collect()
    stream.append([AppendRecord("a handle keeps its client alive")])
    session = stream.read_session(SeqNum(0))
    next(session)
    last = [stream, session]
    del stream, session
    with pytest.warns(ResourceWarning, match="not closed"):
        last.clear()
    thread.join()


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONASYNCIODEBUG": ""}  # which tells of slow steps where nothing is to be told
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PROCESS_SECONDS, check=False, env=environment
    )


FORGETFUL = """
import sys
from perdure import AppendRecord, SeqNum
from perdure.sync import S2
s2 = S2.open(sys.argv[1] if len(sys.argv) > 1 else ":memory:")
stream = s2.basins.ensure("blocking-basin", create_stream_on_append=True).stream("s")
stream.append([AppendRecord("kept")])
follower = stream.read_session(SeqNum(0))
next(follower)
producer = stream.producer(linger_ms=1e9)
producer.submit(AppendRecord("x"))
print("done")
"""


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "del s2, stream, follower, producer"])
def test_a_program_that_forgets_to_close_ends_all_the_same(ending: str) -> None:
    done = run(FORGETFUL + ending, "-W", "default")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert [line for line in done.stderr.splitlines() if "Warning" in line and "ResourceWarning" not in line] == []
    assert "Traceback" not in done.stderr
    assert "never awaited" not in done.stderr


FORKING = """
import os
from perdure import AppendRecord, UsageError
from perdure.sync import S2
with S2.open(DIRECTORY) as s2:
    stream = s2.basins.ensure("blocking-basin", create_stream_on_append=True).stream("s")
    stream.append([AppendRecord("parent")])
    child = os.fork()
    if not child:
        for call in (stream.check_tail, s2.close):
            try:
                call()
            except UsageError as exc:
                assert "fork" in str(exc), exc
            else:
                os._exit(2)
        del s2, stream, call  # the child opens nothing: a fork may have caught SQLite with a lock in its hand
        import gc
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.check_tail().seq_num == 1
print("done")
"""


def test_after_a_fork_the_client_is_the_parents(tmp_path: Path) -> None:
    done = run(f"DIRECTORY = {str(tmp_path / 'data')!r}\n{FORKING}", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
