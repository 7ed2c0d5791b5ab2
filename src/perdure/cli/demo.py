"""`perdure demo`: the demo's application behind one server process, ended by Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import webbrowser
from typing import Final

from granian.constants import Interfaces
from granian.server.embed import Server

from ..demo.app import create_app
from ..demo.claude import choose_messages_model
from ..demo.messages_model import MessagesModel
from ..demo.models import Model, ModelInfo, choose_model

_READY_SECONDS: Final = 10.0


def run_demo(location: str, host: str, port: int, *, open_browser: bool) -> int:
    """Serve the demo until a signal comes; gives the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    models = choose_model(), choose_messages_model()
    return asyncio.run(_serve(location, host, port or _free_port(), *models, open_browser=open_browser))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


async def _serve(
    location: str, host: str, port: int, model: Model, messages_model: MessagesModel, *, open_browser: bool
) -> int:
    _check_free(host, port)
    app = create_app(location, model, messages_model)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # The lifespan is entered here and not by the server, which would keep to itself why it failed.
    async with app.router.lifespan_context(app):
        server = Server(app, host, port, interface=Interfaces.ASGINL, log_enabled=False, websockets=False)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(), name="perdure-demo-server")
            started = await _ready(host, port, serving)
            try:
                if started:
                    url = f"http://{_shown(host)}:{port}/"
                    print(_banner(url, location, model.info, messages_model.info), flush=True)
                    if open_browser:
                        await asyncio.to_thread(webbrowser.open, url)
                    await stop.wait()  # for as long as it takes: a signal ends it
            finally:
                # Open pages hold answers that never end by themselves; these end first, and then the server.
                await app.end()
                server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
    if not started:
        raise OSError(f"the server did not start on {host}:{port}")
    return 0


def _check_free(host: str, port: int) -> None:
    """Fail at once, and clearly, if somebody listens there already."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as exc:
            raise OSError(
                f"cannot listen on {host}: {exc.strerror}; give an address of this machine as --host"
            ) from exc
        except OSError as exc:
            raise OSError(f"cannot listen on {host}:{port} ({exc.strerror}); choose another with --port") from exc


async def _ready(host: str, port: int, serving: asyncio.Task[None]) -> bool:
    """Whether the server accepts connections, which it should within moments."""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not serving.done():
                try:
                    _, writer = await asyncio.open_connection(_shown(host), port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                return True
    except TimeoutError:
        return False
    return False


def _shown(host: str) -> str:
    """The address a browser on this machine uses for it."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _banner(url: str, location: str, model: ModelInfo, messages_model: ModelInfo) -> str:
    return (
        f"\n  Perdure demo    {url}\n"
        f"  chats kept in   {location}\n"
        f"  AI SDK          {url}  answered by {model.name}. {model.note}\n"
        f"  Anthropic       {url}anthropic  answered by {messages_model.name}. {messages_model.note}\n"
        f"  TanStack        {url}tanstack  the same, with tools, one of which asks before it acts\n"
        f"  Agent           {url}agent  the same, with two tools\n"
        "\n"
        "  Send something, reload in mid-answer, open a second tab, stop this server and start it again.\n"
        "  Ctrl-C ends it.\n"
    )
