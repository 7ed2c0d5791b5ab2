"""A real server on a free port, over an engine of the test's choice, in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perdure.server import serving
from perdure.server.access import RootToken
from perdure.server.app import ServerApp, create_app
from perdure.server.context import ServerSettings
from perdure.server.endpoints import OPERATIONS
from perdure.server.telemetry import Telemetry
from perdure.store.engine import Engine
from perdure.store.service import StreamStore
from perdure.store.usage_recorder import UsageRecorder

HOST = "127.0.0.1"
DRAIN_SECS = 5.0


@asynccontextmanager
async def serving_engine(
    engine: Engine, *, port: int = 0, root_token: str | None = None, tls: serving.TlsFiles | None = None
) -> AsyncIterator[int]:
    """Serve the engine, which the caller closes; gives the port."""
    async with serving_app(engine, port=port, root_token=root_token, tls=tls) as (found, _):
        yield found


@asynccontextmanager
async def serving_app(
    engine: Engine,
    *,
    port: int = 0,
    root_token: str | None = None,
    tls: serving.TlsFiles | None = None,
    settings: ServerSettings | None = None,
) -> AsyncIterator[tuple[int, ServerApp]]:
    """`serving_engine` that gives the application as well, for what an operator does to it."""
    settings = settings or ServerSettings()
    async with UsageRecorder(engine.usage) as usage:
        app = create_app(
            StreamStore(engine, usage),
            settings,
            root_token=None if root_token is None else RootToken(root_token),
            telemetry=Telemetry(OPERATIONS),
        )
        listener = serving.listen(HOST, port)
        with listener:
            found: int = listener.getsockname()[1]
            async with serving.Serving(app, listener, limits=settings.limits, tls=tls, activity=app.activity):
                try:
                    yield found, app
                finally:
                    await app.drain(DRAIN_SECS)
        await app.aclose()
