"""`perdure ui`: the inspector over a store that this process opens, or over a service that it asks with its token."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import webbrowser
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from ..client.settings import HttpSettings
from ..errors import UsageError
from ..inspector.callers import Callers
from ..inspector.page import PATH, Inspector
from ..server.access import RootToken
from ..server.app import create_app
from ..server.context import ServerSettings
from ..server.endpoints import OPERATIONS
from ..server.serving import Serving
from ..server.supervisor import ROOT_TOKEN_VARIABLE
from ..server.telemetry import Telemetry
from ..store.opening import absolute, check_exists, open_engine, shown
from ..store.service import StreamStore
from ..store.sqlite.directory import MEMORY
from ..store.usage_recorder import UsageRecorder
from .forwarding import Forwarder
from .guarded import Guarded
from .serve import bound, is_loopback, root_token
from .targets import Embedded, Service

DRAIN_SECS: Final = 1.0
"""How long what runs may take when the command ends: a page that follows a stream does so for ever."""


def run_ui(place: Embedded | Service, host: str, port: int, *, open_browser: bool) -> int:
    """Serve until a signal comes; gives the exit status. Raises `PerdureError` and `OSError`."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    local = is_loopback(host)
    if isinstance(place, Service):
        if not local:
            raise UsageError(
                f"{_named(host)} can be reached by other machines, and whoever reaches this inspector acts with your "
                "access token: listen on 127.0.0.1, or start the service with --ui"
            )
        settings = HttpSettings(access_token=place.token, endpoints=place.endpoints)
        kept, access = place.endpoints.account, "with your access token, which stays in this process"
    else:
        token = root_token(None, os.environ.get(ROOT_TOKEN_VARIABLE))
        if not local and token is None:
            raise UsageError(
                f"{_named(host)} can be reached by other machines, and without a root token everybody may do "
                f"everything: set {ROOT_TOKEN_VARIABLE}, or listen on 127.0.0.1"
            )
        if place.where == MEMORY:
            kept = "in memory, gone when this ends"
        else:
            check_exists(place.where)
            kept = shown(absolute(place.where))
        access = "by access token; the root token is set" if token else "open to this machine"
    with bound(host, port) as listener:
        at: int = listener.getsockname()[1]
        callers = Callers(at) if local else None
        url = f"http://{_reached(host)}:{at}{PATH.decode()}"
        banner = f"\n  Inspector   {url}\n  store       {kept}\n  access      {access}\n\n  Ctrl-C ends it.\n"

        async def ready() -> None:
            print(banner, flush=True)
            if open_browser:
                await asyncio.to_thread(webbrowser.open, url)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if isinstance(place, Service):
                runner.run(_forward(settings, kept, listener, callers, ready))
            else:
                runner.run(_open(place.where, token, kept, listener, callers, ready))
    return 0


async def _forward(
    settings: HttpSettings,
    name: str,
    listener: socket.socket,
    callers: Callers | None,
    ready: Callable[[], Awaitable[None]],
) -> None:
    stop = _stop_signal()
    forwarder = Forwarder(settings, Inspector(store=name))
    async with Serving(forwarder if callers is None else Guarded(forwarder, callers), listener):
        try:
            await ready()
            await stop.wait()  # for as long as it takes: a signal ends it
        finally:
            await forwarder.aclose()


async def _open(
    where: str,
    token: str | None,
    name: str,
    listener: socket.socket,
    callers: Callers | None,
    ready: Callable[[], Awaitable[None]],
) -> None:
    stop = _stop_signal()
    telemetry = Telemetry(OPERATIONS)
    engine = await open_engine(absolute(where), telemetry, create=where == MEMORY)
    try:
        async with UsageRecorder(engine.usage) as usage:
            app = create_app(
                StreamStore(engine, usage),
                ServerSettings(cors=False, basin_domain=None),
                root_token=None if token is None else RootToken(token),
                telemetry=telemetry,
                inspector=Inspector(store=name),
            )
            guarded = app if callers is None else Guarded(app, callers)
            async with Serving(guarded, listener, activity=app.activity):
                try:
                    await ready()
                    await stop.wait()  # for as long as it takes: a signal ends it
                finally:
                    await app.drain(DRAIN_SECS)
            await app.aclose()
    finally:
        await engine.aclose()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _named(host: str) -> str:
    return host or "an empty --host"


def _reached(host: str) -> str:
    """The address that a browser on this machine uses for it."""
    address = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{address}]" if ":" in address else address
