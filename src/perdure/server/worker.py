"""One worker process: the store opened, the application over it, served on the supervisor's socket.

Run as `python -m perdure.server.worker` by `supervisor`, which `worker_settings` says more of.

SIGTERM, or the end of the supervisor, stops it with the whole server: what is new is told to come back later, what runs
comes to its end. SIGHUP says that another worker serves already: this one leaves new connections to it, lets its
clients change over, and then stops likewise. A store that refuses to go on until it is opened anew, as after a failed
sync, ends the worker too, and with a status that has the supervisor start another one, which does that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from ..errors import PerdureError, StorageFailed, StoreFailure
from ..inspector.page import Inspector
from ..store.locations import LocatedStore
from ..store.opening import open_engine
from ..store.place import Place
from ..store.service import StreamStore
from ..store.usage_recorder import UsageRecorder
from ..telemetry.setup import set_up, shut_down
from ..wire import headers
from .access import RootToken
from .app import ServerApp, create_app
from .asgi import Message, Receive, Scope, Send
from .declared import ensure_declared
from .endpoints import OPERATIONS
from .heap import collect_less, keep_freed_memory
from .home_cpu import at_home
from .log_lines import log_to_stderr
from .scoreboard import Scoreboard
from .served_store import WholeStore
from .serving import Serving, TlsFiles
from .telemetry import Telemetry
from .waiting import wait_up_to
from .worker_settings import Failed, Ready, Report, WorkerSettings, decode_settings, encode_line

logger: Final = logging.getLogger("perdure.server.worker")

CHANGE_OVER_SECS: Final = 1.0
"""How long a worker that was replaced goes on serving its open connections, each of which its next answer closes."""

LEAVING_SECS: Final = 0.5
"""How long clients whose sessions were ended may take to read that and to close their connections.

Only then are those closed from here. On HTTP/2 that begins with GOAWAY and PING, and to clients on Python's `h2` the
PING is an error that costs them whatever they have read with it, acks and ends of sessions included.
"""

LAST_BYTES_SECS: Final = 1.0
"""How long answers may take to leave after the time to drain is over."""

SETTINGS_FD: Final = 0
REPORT_FD: Final = 1


def main() -> int:
    """Serve until told to stop; gives the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which then tells its workers
    settings = decode_settings(_read_line(SETTINGS_FD))
    log_to_stderr(settings.log_format, settings.log_level)
    report = _take_report_pipe()
    keep_freed_memory()
    set_up()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, report))
    except (PerdureError, OSError) as exc:
        report(Failed(str(exc)))
        logger.error("worker %s failed: %s", settings.name, exc)
        return 1
    finally:
        shut_down()  # the end of this process asks nobody
    return 0


class _Ends(NamedTuple):
    """What may end a worker, as the module says."""

    stop: asyncio.Event
    replaced: asyncio.Event
    store_stopped: asyncio.Event


async def _serve(settings: WorkerSettings, report: Callable[[Report], None]) -> None:
    stop, replaced = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, replaced.set)
    loop.add_reader(SETTINGS_FD, _on_input, loop, stop)
    telemetry = Telemetry(OPERATIONS, None if settings.place is None else Scoreboard.attach(settings.place))
    pinned = at_home(settings.number) if settings.pinned else nullcontext()
    if settings.locations:
        await _serve_locations(telemetry, settings, report, _Ends(stop, replaced, asyncio.Event()), pinned)
    else:
        engine = await open_engine(settings.data, telemetry)
        try:
            async with UsageRecorder(engine.usage) as usage, pinned:
                ends = _Ends(stop, replaced, engine.stopped)
                await _serve_store(StreamStore(engine, usage), telemetry, settings, report, ends)
        finally:
            await engine.aclose()
        if engine.stopped.is_set() and not stop.is_set():
            raise StorageFailed("the store has to be opened anew")
    logger.info("worker %s has ended", settings.name)


async def _serve_locations(
    telemetry: Telemetry,
    settings: WorkerSettings,
    report: Callable[[Report], None],
    ends: _Ends,
    pinned: AbstractAsyncContextManager[None],
) -> None:
    """A location that refuses to go on is opened anew by itself, so it does not end the worker."""
    places = [Place(each.name, partial(open_engine, each.where, telemetry)) for each in settings.locations]
    store = LocatedStore(places)
    try:
        await store.open()
        await store.probe()  # a server none of whose locations can be reached does not start
        async with pinned:
            await _serve_store(store, telemetry, settings, report, ends)
    finally:
        await store.aclose()


async def _serve_store(
    store: WholeStore,
    telemetry: Telemetry,
    settings: WorkerSettings,
    report: Callable[[Report], None],
    ends: _Ends,
) -> None:
    limits = settings.server.limits
    tls = None
    if settings.certificate is not None and settings.key is not None:
        tls = TlsFiles(certificate=Path(settings.certificate), key=Path(settings.key))
    if settings.declared:
        try:
            changed, unchanged = await ensure_declared(store, settings.declared)
        except StoreFailure as exc:
            if not settings.locations:
                raise
            # A lost location harms its own basins only; those that the file declares elsewhere may be among the rest.
            logger.error("the init file was not applied whole, SIGHUP tries again: %s", exc)
        else:
            logger.info("the init file was applied: %d created or changed, %d as they were", changed, unchanged)
    root = None if settings.root_token is None else RootToken(settings.root_token)
    inspector = Inspector() if settings.inspector else None
    app = create_app(store, settings.server, root_token=root, telemetry=telemetry, inspector=inspector)
    front = LastAnswers(app)
    with socket.socket(fileno=settings.listener) as listener:
        serving = Serving(front, listener, limits=limits, tls=tls, activity=app.activity)
        await serving.start()
        collect_less()
        logger.info("worker %s serves", settings.name)
        report(Ready())
        end = await _first(ends.stop, ends.replaced, ends.store_stopped)
        if end is ends.replaced:
            logger.info("worker %s was replaced and leaves", settings.name)
            serving.stop_accepting()
            front.closing = True
            app.advise_reconnect()
            await wait_up_to(min(CHANGE_OVER_SECS, limits.drain_secs), ends.stop)
        elif end is ends.store_stopped:
            serving.stop_accepting()  # who comes now waits for the successor
        logger.info("worker %s drains", settings.name)
        front.closing = True
        if not await _drain(app, serving, limits.drain_secs):
            logger.warning("worker %s: requests still ran after %g s and are cut", settings.name, limits.drain_secs)
        await app.aclose()


class LastAnswers:
    """The application; while `closing`, an answer closes its HTTP/1.1 connection, and the client makes a new one."""

    def __init__(self, app: ServerApp) -> None:
        self._app = app
        self.closing: bool = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self.closing and scope["type"] == "http" and scope["http_version"].startswith("1"):
            return self._app(scope, receive, _closing(send))
        return self._app(scope, receive, send)


def _closing(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (headers.CONNECTION, b"close")]}
        await send(message)

    return sent


async def _drain(app: ServerApp, serving: Serving, timeout: float) -> bool:
    """Let what runs come to its end, and refuse what is new meanwhile; tells whether everything ended in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    told = app.open_sessions
    drained = await app.drain(timeout)
    if told:
        await asyncio.sleep(min(LEAVING_SECS, max(0.0, deadline - loop.time())))
    serving.stop()
    ended = asyncio.create_task(serving.wait(), name="perdure-drain")
    # Answers that are complete still have to leave, so there is always a moment for that.
    rest = max(LAST_BYTES_SECS, deadline - loop.time())
    done, _ = await asyncio.wait({ended}, timeout=rest)
    return drained and bool(done)


async def _first(*events: asyncio.Event) -> asyncio.Event:
    """The event of these that is set first."""
    waiting = {asyncio.ensure_future(event.wait()): event for event in events}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(event for task, event in waiting.items() if task in done)
    finally:
        for task in waiting:
            task.cancel()


def _on_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The supervisor writes nothing after the settings, so what is readable is the end of its pipe."""
    if not os.read(SETTINGS_FD, 4096):
        loop.remove_reader(SETTINGS_FD)
        if not stop.is_set():
            logger.error("the supervisor is gone; this worker ends, too")
            stop.set()


def _read_line(descriptor: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 65536)
        if not piece:
            raise EOFError("the settings ended too early; only the supervisor of `perdure serve` starts a worker")
        line += piece
    return bytes(line)


def _take_report_pipe() -> Callable[[Report], None]:
    """What sends the one report; after this, what anybody prints goes to the standard error."""
    pipe = os.dup(REPORT_FD)
    os.dup2(sys.stderr.fileno(), REPORT_FD)
    sent = False

    def report(value: Report) -> None:
        nonlocal sent
        if not sent:
            sent = True
            with os.fdopen(pipe, "wb") as file:
                file.write(encode_line(value))

    return report


if __name__ == "__main__":
    exit_status: int = 1
    try:
        exit_status = main()
    except BaseException:
        logger.exception("a worker failed")
    finally:
        logging.shutdown()
        # granian's threads may still wait for connections, and a process that hangs at its end is not replaced.
        os._exit(exit_status)
