"""Blocking calls to a server that was killed, or that hangs: each ends, with an error that says why."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure import AppendInput, AppendRecord, SeqNum, TransportError
from perdure.client.retries import RetryPolicy
from perdure.errors import PerdureError
from perdure.sync import S2, Stream, timeout
from tests.serve_command import ServeCommand

RECORDS = [AppendRecord("x")]
TIMEOUT_SECS = 2.0
"""Of calls to a server that hangs: enough for one that does not, on a slow machine as well."""


class Server:
    """`perdure serve`, whose processes get their signals all at once."""

    def __init__(self, command: ServeCommand) -> None:
        self.url = command.url
        # The parent first: it would start the others anew.
        self._pids = [command.process.pid, *command.worker_pids()]

    def signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            os.kill(pid, number)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with asyncio.Runner() as runner:
        command = ServeCommand(tmp_path / "data")
        runner.run(command.start())
        server = Server(command)
        yield server
        if command.process.returncode is None:
            try:
                server.signal(signal.SIGKILL)
            except ProcessLookupError:
                pass  # the test has killed them
        runner.run(command.wait())


@pytest.fixture
def s2(server: Server) -> Iterator[S2]:
    with S2(endpoints=server.url, retries=RetryPolicy(max_attempts=2, min_delay_ms=1, max_delay_ms=2)) as s2:
        yield s2


@pytest.fixture
def impatient(server: Server, stream: Stream) -> Iterator[Stream]:
    """The stream, for somebody who does not wait long and asks once."""
    with S2(
        endpoints=server.url,
        retries=RetryPolicy(max_attempts=1),
        request_timeout=TIMEOUT_SECS,
        connection_timeout=TIMEOUT_SECS,
    ) as s2:
        yield s2.basin("dead-basin").stream("s")


@pytest.fixture
def stream(s2: S2) -> Stream:
    return s2.basins.create("dead-basin").streams.create("s")


class Blocked:
    """A call in a thread of its own, and how it ended."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.outcome: object = None
        self.begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], object]) -> None:
        try:
            self.outcome = call()
        except PerdureError as exc:
            self.outcome = exc

    def ended_by(self) -> object:
        self._thread.join(30)
        assert not self._thread.is_alive(), "the call goes on for ever"
        return self.outcome


def test_calls_that_wait_when_the_server_is_killed(server: Server, stream: Stream) -> None:
    session = stream.append_session()
    with stream.read_session(SeqNum(0)) as records:
        session.submit(RECORDS).result()
        assert next(records).text == "x"
        waiting = [
            Blocked(lambda: next(records)),
            Blocked(lambda: stream.read(SeqNum(1), wait=60)),
            Blocked(lambda: session.write_all(iter(lambda: AppendInput.of(RECORDS), None))),
        ]
        server.signal(signal.SIGKILL)
        for call in waiting:
            assert isinstance(call.ended_by(), TransportError)
        with pytest.raises(TransportError):
            session.close()


def test_calls_to_a_killed_server(server: Server, s2: S2, stream: Stream) -> None:
    server.signal(signal.SIGKILL)
    calls: list[Callable[[], object]] = [
        stream.check_tail,
        lambda: stream.append(RECORDS),
        lambda: stream.read_session(SeqNum(0)).__enter__(),
        lambda: stream.append_session().__enter__(),
        lambda: list(s2.basins.list_all()),
    ]
    for call in calls:
        with pytest.raises(TransportError, match="connect"):
            call()


def test_calls_to_a_server_that_hangs(server: Server, impatient: Stream) -> None:
    session = impatient.append_session()
    with impatient.read_session(SeqNum(0)) as records:
        session.submit(RECORDS).result()
        assert next(records).text == "x"
        server.signal(signal.SIGSTOP)
        calls: list[Callable[[], object]] = [
            impatient.check_tail,
            lambda: impatient.append(RECORDS),
            lambda: session.submit(RECORDS).result(),
        ]
        for call in calls:
            with pytest.raises(TransportError, match=f"within {TIMEOUT_SECS:g} s"):
                call()
        # A server may be silent for 20 seconds between two heartbeats; `timeout` is for those who cannot wait so long.
        with pytest.raises(TimeoutError), timeout(0.2):
            next(records)
        with pytest.raises(TransportError):
            session.close()
