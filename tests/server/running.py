"""A real server on a free port, in the test's own event loop, over a store on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx

from perdure.server import serving
from perdure.server.access import RootToken
from perdure.server.app import ServerApp, create_app
from perdure.server.context import ServerSettings
from perdure.server.endpoints import OPERATIONS
from perdure.server.telemetry import Telemetry
from perdure.store.account import DEFAULT_LOCATION
from perdure.store.engine import Engine
from perdure.store.read_session import HEARTBEAT_SECS
from perdure.store.service import StreamStore
from perdure.store.sqlite import SqliteEngine
from perdure.store.usage_recorder import UsageRecorder
from tests.server.described import check_answer

BASIN = "test-basin"
"""What `Running.in_basin` names."""

CLIENT_TIMEOUT_SECS = 30.0


@dataclass(frozen=True)
class Running:
    """A server that runs. `http` speaks HTTP/1.1 to it, with paths such as `/v1/basins`; it asks for no compression."""

    url: str
    port: int
    http: httpx.AsyncClient
    app: ServerApp
    store: StreamStore
    engine: Engine

    def in_basin(self, basin: str = BASIN) -> httpx.AsyncClient:
        """A client whose requests name `basin`; the caller closes it."""
        return client(self.url, **{"s2-basin": basin})


Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Running]]
"""`async with serve(ServerSettings(…)) as server`: one more server over a directory of its own."""


def client(url: str, **fields: str) -> httpx.AsyncClient:
    """Each answer that it gets must be one that the served description tells of."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"accept-encoding": "identity", **fields},
        timeout=CLIENT_TIMEOUT_SECS,
        event_hooks={"response": [check_answer]},
    )


@asynccontextmanager
async def running(
    path: Path,
    settings: ServerSettings | None = None,
    *,
    tls: serving.TlsFiles | None = None,
    location: str = DEFAULT_LOCATION,
    root_token: str | None = None,
    heartbeat_secs: tuple[float, float] = HEARTBEAT_SECS,
    kind: type[StreamStore] = StreamStore,
) -> AsyncIterator[Running]:
    """Open a store on the directory `path`, serve it, and stop and close both at the end."""
    settings = settings or ServerSettings()
    telemetry = Telemetry(OPERATIONS)
    engine = await SqliteEngine.open(path, observer=telemetry)
    try:
        recorder = UsageRecorder(engine.usage)
        store = kind(engine, recorder, location=location, heartbeat_secs=heartbeat_secs)
        app = create_app(
            store,
            settings,
            root_token=None if root_token is None else RootToken(root_token),
            telemetry=telemetry,
        )
        listener = serving.listen("127.0.0.1", 0)
        with listener:
            port: int = listener.getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            async with (
                recorder,
                serving.Serving(app, listener, limits=settings.limits, tls=tls, activity=app.activity),
                client(url) as http,
            ):
                yield Running(url, port, http, app, store, engine)
        await app.aclose()
    finally:
        await engine.aclose()
