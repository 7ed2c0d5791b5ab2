"""The process that owns the listening socket and keeps worker processes serving on it.

The socket is bound once and inherited by every worker, so a connection that comes while workers change waits in its
queue and is refused by nobody. What signals do:

- SIGTERM, SIGINT: all workers drain and end, and then the server. A second one ends everything at once.
- SIGHUP: every worker is replaced. The new ones start one after the other, and when all of them serve, the old ones
  drain together: a client that leaves one of those finds none but new ones, and moves once. Like a restart, it reads
  the files of the settings anew: the root token, and what is declared, which is made sure of. If a file cannot be used,
  the workers stay.

A worker that dies is replaced after a pause, which grows while workers die young.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from ..errors import PerdureError
from ..store.sqlite.directory import MEMORY
from .scoreboard import Scorekeeper
from .worker_settings import Failed, WorkerSettings, decode_report, encode_line

logger: Final = logging.getLogger("perdure.server.supervisor")

YOUNG_SECS: Final = 10.0
"""A worker that dies before it served for so long is suspected to die again."""

FIRST_PAUSE_SECS: Final = 0.1
MAX_PAUSE_SECS: Final = 10.0

SPARE_AREAS: Final = 4
"""Of the scoreboard, beside two for each worker, since its successor serves while it ends: for those that end late."""

ROOT_TOKEN_VARIABLE: Final = "PERDURE_ROOT_TOKEN"


class StartFailed(PerdureError):
    """A worker could not begin to serve; the message says why."""


class WorkerDeadlines(Struct, frozen=True, kw_only=True):
    """How long a worker may take for its two ends."""

    start_secs: float = 60.0
    """Until it serves; opening a large store after a crash takes its time. Then it is killed, and has failed."""

    kill_after_secs: float = 5.0
    """For the rest (see `worker`), after its time to drain. Then it is killed."""


DEFAULT_DEADLINES: Final = WorkerDeadlines()


def restart_pause(young_deaths: int) -> float:
    """The seconds to wait before a worker is replaced, after so many in a row that died young."""
    return 0.0 if young_deaths == 0 else min(FIRST_PAUSE_SECS * 2.0 ** min(young_deaths - 1, 16), MAX_PAUSE_SECS)


class _Worker:
    """One worker process that serves."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.since = time.monotonic()


class _Slot:
    """The place of one worker among its fellows; who holds the lock may put another one there."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = asyncio.Lock()
        self.worker: _Worker | None = None


class Supervisor:
    """Runs the workers of one server until a signal ends it.

    `settings` is what the workers are given, its `name` and `declared` aside: what is declared is made sure of by the
    first worker, before any other starts, and again only where a new worker has a new store. `renew` gives on SIGHUP
    what the settings are by then, and raises a `PerdureError` if the workers have to stay; without it, the new ones get
    the old settings, and nothing is made sure of again. It runs on a thread of its own.
    """

    def __init__(
        self,
        listener: socket.socket,
        settings: WorkerSettings,
        *,
        workers: int,
        deadlines: WorkerDeadlines = DEFAULT_DEADLINES,
        renew: Callable[[WorkerSettings], WorkerSettings] | None = None,
    ) -> None:
        self._listener = listener
        self._settings = settings
        self._deadlines = deadlines
        self._renew = renew
        self._slots = [_Slot(number) for number in range(1, workers + 1)]
        self._processes: set[Process] = set()
        self._scorekeeper = Scorekeeper(2 * workers + SPARE_AREAS)
        self._started = 0
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._private = settings.data == MEMORY

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Serve until a signal; gives the exit status. `on_ready` is called when all workers serve.

        Raises `StartFailed` when they cannot.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        stopped = asyncio.create_task(self._stop.wait(), name="perdure-stop")
        work = asyncio.create_task(self._work(on_ready), name="perdure-workers")
        try:
            await asyncio.wait({stopped, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work  # it ends by itself only when it failed
        finally:
            for task in (work, stopped):
                task.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)
            clean = await self._end_all()
            self._scorekeeper.close()
        return 0 if clean else 1

    async def _work(self, on_ready: Callable[[], None]) -> None:
        first, *others = self._slots
        first.worker = await self._start(first, first=True)
        for slot, worker in zip(others, await asyncio.gather(*map(self._start, others)), strict=True):
            slot.worker = worker
        on_ready()
        async with asyncio.TaskGroup() as tasks:
            for slot in self._slots:
                tasks.create_task(self._keep(slot), name=f"perdure-slot-{slot.number}")
            tasks.create_task(self._replace_on_signal(), name="perdure-reload")

    # Starting ---------------------------------------------------------------------------------------

    async def _start(self, slot: _Slot, *, first: bool = False) -> _Worker:
        """A worker that serves; the `first` of several makes sure of what is declared. Raises `StartFailed`."""
        self._started += 1
        name = f"{slot.number}.{self._started}"
        environment = {key: value for key, value in os.environ.items() if key != ROOT_TOKEN_VARIABLE}
        process = await asyncio.create_subprocess_exec(
            # Without -P, a file in the current directory that is named like a module would be imported in its place.
            *(sys.executable, "-P", "-m", "perdure.server.worker"),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=(self._listener.fileno(), self._scorekeeper.descriptor),
            env=environment,
            process_group=0,  # a Ctrl-C at the terminal is for the supervisor alone
        )
        self._processes.add(process)
        settings = msgspec.structs.replace(
            self._settings,
            name=name,
            number=slot.number,
            declared=self._settings.declared if first or self._private else (),
            place=self._scorekeeper.reserve(slot.number, process.pid),
        )
        try:
            async with asyncio.timeout(self._deadlines.start_secs):
                await self._await_report(process, name, settings)
        except TimeoutError:
            await self._kill(process)
            secs = self._deadlines.start_secs
            raise StartFailed(f"worker {name} did not begin to serve within {secs:g} s") from None
        except StartFailed:
            await self._kill(process)
            raise
        return _Worker(name, process)

    async def _await_report(self, process: Process, name: str, settings: WorkerSettings) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(encode_line(settings))
            await process.stdin.drain()
            line = await process.stdout.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise StartFailed(f"worker {name} ended with status {await process.wait()} before it served")
        report = decode_report(line)
        if isinstance(report, Failed):
            raise StartFailed(report.message)

    # Keeping ----------------------------------------------------------------------------------------

    async def _keep(self, slot: _Slot) -> None:
        """See to it that a worker serves in this place."""
        young_deaths = 0
        while True:
            worker = slot.worker
            assert worker is not None, "workers start before they are kept"
            status = await worker.process.wait()
            async with slot.lock:
                if slot.worker is not worker:
                    continue  # it was replaced
                self._forget(worker.process)
                young_deaths = young_deaths + 1 if time.monotonic() - worker.since < YOUNG_SECS else 0
                slot.worker = await self._start_again(slot, worker.name, status, young_deaths)

    async def _start_again(self, slot: _Slot, name: str, status: int, young_deaths: int) -> _Worker:
        pause = restart_pause(young_deaths)
        logger.error(
            "worker %s died (%s); another one starts%s", name, _described(status), f" in {pause:g} s" if pause else ""
        )
        if self._private:
            logger.error("what its private store held is lost; give a directory as --data to keep it")
        while True:
            await asyncio.sleep(pause)
            try:
                worker = await self._start(slot)
            except (StartFailed, OSError) as exc:
                young_deaths += 1
                pause = restart_pause(young_deaths)
                logger.error("worker %d cannot start: %s; the next attempt is in %g s", slot.number, exc, pause)
            else:
                logger.info("worker %s serves in place of %s", worker.name, name)
                return worker

    async def _replace_on_signal(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            if self._private:
                logger.warning("SIGHUP is ignored: a new worker would have a new private store, and lose this one's")
                continue
            if self._renew is not None:
                try:
                    self._settings = await asyncio.to_thread(self._renew, self._settings)
                except PerdureError as exc:
                    logger.error("SIGHUP: the workers stay as they are: %s", exc)
                    continue
            logger.info("SIGHUP: replacing %d workers", len(self._slots))
            replaced: list[Process] = []
            for slot in self._slots:
                old = await self._succeed(slot, first=self._renew is not None and not replaced)
                if old is None:
                    break
                replaced.append(old)
            await asyncio.gather(*(self._end(old, signal.SIGHUP) for old in replaced))
            if len(replaced) == len(self._slots):
                logger.info("all workers were replaced")

    async def _succeed(self, slot: _Slot, *, first: bool) -> Process | None:
        """Put a new worker into this place. Gives the old one, which still serves; None if there is no new one."""
        async with slot.lock:
            old = slot.worker
            assert old is not None, "workers start before they are replaced"
            try:
                slot.worker = await self._start(slot, first=first)
            except (StartFailed, OSError) as exc:
                logger.error("worker %s stays, since its successor cannot start: %s", old.name, exc)
                return None
        return old.process

    # Ending -----------------------------------------------------------------------------------------

    def _on_stop_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            logger.warning("%s again: ending at once", number.name)
            for process in self._processes:
                _send(process, signal.SIGKILL)
        else:
            logger.info("%s: draining for up to %g s", number.name, self._settings.server.limits.drain_secs)
            self._stop.set()

    async def _end_all(self) -> bool:
        ended = await asyncio.gather(*(self._end(process) for process in tuple(self._processes)))
        return all(ended)

    async def _end(self, process: Process, how: signal.Signals = signal.SIGTERM) -> bool:
        """Let a worker drain and end; tells whether it did so by itself. `how`: what it is told (see `worker`)."""
        _send(process, how)
        try:
            async with asyncio.timeout(self._settings.server.limits.drain_secs + self._deadlines.kill_after_secs):
                status = await process.wait()
        except TimeoutError:
            logger.error("the worker process %d did not end in time and is killed", process.pid)
            await self._kill(process)
            return False
        self._forget(process)
        return status in (0, -signal.SIGTERM)  # the latter: it had not begun to serve

    async def _kill(self, process: Process) -> None:
        _send(process, signal.SIGKILL)
        await process.wait()
        self._forget(process)

    def _forget(self, process: Process) -> None:
        """The process has ended."""
        self._processes.discard(process)
        self._scorekeeper.release(process.pid)


def _send(process: Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        logger.debug("the worker process %d has ended already", process.pid)


def _described(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
