"""The S2 v1 API as an ASGI application.

A request goes through here once: route, access, names, handler, answer. Handlers raise what `perdure.errors` has and
know nothing of HTTP beyond their own bodies.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import perf_counter
from typing import Final

from ..errors import CODES, AuthenticationFailed, BadRequest, PerdureError, RateLimited, ServerDraining, StorageFailed
from ..inspector.page import Inspector
from ..telemetry.current import carried
from ..telemetry.spans import Span, error_type
from ..wire import headers
from ..wire.compression import MIN_COMPRESSED_BYTES, Compression, compress
from ..wire.errors_json import INTERNAL_ERROR, encode_error
from ..wire.media import response_coding
from . import cors, tracing
from .access import AccessControl, RootToken
from .admission import Admission
from .asgi import HeaderPairs, Receive, Scope, Send
from .basin_host import basin_of
from .context import Context, ServerSettings
from .endpoints import ENDPOINTS, INSPECTOR, OPERATIONS, Endpoint
from .idle_connections import Activity
from .instruments import CLIENT_GONE, UNROUTED
from .live_forms import LiveForms
from .patience import PatienceClock
from .request import ClientGone, Request, UnknownCoding
from .response import Channel, Response, Session
from .routes import Found, Match, Routes, WrongMethod
from .served_store import WholeStore
from .sessions import Sessions
from .telemetry import Telemetry

logger: Final = logging.getLogger("perdure.server")
access_log: Final = logging.getLogger("perdure.server.access")

_INTERNAL: Final = CODES[PerdureError.code].status
_NOT_FOUND: Final = Response(404)
_NOT_MODIFIED: Final = 304
_UNSUPPORTED_CODING: Final = Response(415)


class ServerApp:
    """The application: call it as ASGI, and `drain` it before its store is closed."""

    def __init__(self, context: Context, inspector: Inspector | None = None) -> None:
        self._context = context
        self._inspector = inspector
        self._settings = context.settings
        self._max_header_bytes = context.settings.limits.max_header_bytes
        self._routes: Routes[Endpoint] = Routes((e.method, e.path, e) for e in ENDPOINTS)
        self.intake: Admission = context.intake
        """The room for large bodies and frames."""
        self._body_clock = PatienceClock(context.settings.limits.body_timeout_secs)
        self._draining = False
        self._held_refusals = 0
        self._answered = context.telemetry.answered
        self.activity: Activity = Activity()
        """Which connections have requests, for whoever has to do with connections."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _acknowledge_lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive, self._settings.limits, self._body_clock, self.intake)
        common = cors.common_fields(request.header(headers.ORIGIN)) if self._settings.cors else ()
        found = self._routes.find(request.method, scope["raw_path"])
        trace = tracing.trace_of(request)
        span = tracing.begin_request(request, found, scope, trace)
        self.activity.begun(request)
        try:
            if span.is_recording:
                with span.active():
                    await self._serve(request, found, scope, send, common, span)
            elif trace is not None:
                with carried(trace):
                    await self._serve(request, found, scope, send, common, span)
            else:
                await self._serve(request, found, scope, send, common, span)
        finally:
            span.end()
            request.let_go()
            self.activity.ended(request)

    async def _serve(
        self, request: Request, found: Found[Endpoint], scope: Scope, send: Send, common: HeaderPairs, span: Span
    ) -> None:
        begun = perf_counter()
        try:
            outcome = await self._answer(request, found, scope, span)
        except ClientGone as exc:
            # Without an answer granian would send a 500 of its own to a client that has closed only its half.
            await _send(send, error_response(exc.answer), common, None)
            self._has_answered(request, found, scope, CLIENT_GONE, begun, span)
            return
        if isinstance(outcome, Response):
            await _send(send, outcome, common, request.header(headers.ACCEPT_ENCODING))
            self._has_answered(request, found, scope, outcome.status, begun, span)
            return
        span.set("http.response.status_code", 200)
        failed = partial(_session_failed, request, scope["raw_path"], span)
        try:
            await outcome.run(Channel(request.receive, send, common, failed))
        except Exception as exc:
            failed(exc)  # its head may be out, so all that can be done is to end it
            raise
        finally:
            _log_answer(request, 200, begun)

    def _has_answered(
        self, request: Request, found: Found[Endpoint], scope: Scope, status: int, begun: float, span: Span
    ) -> None:
        seconds = perf_counter() - begun
        self._answered(request.operation, status, seconds)
        tracing.measure(request, found, status, seconds, scope["http_version"])
        span.set("http.response.status_code", status)
        _log_answer(request, status, begun)

    async def _answer(self, request: Request, found: Found[Endpoint], scope: Scope, span: Span) -> Response | Session:
        try:
            return await self._dispatch(request, found, scope)
        except PerdureError as exc:
            _log_failure("answering", request, scope["raw_path"], exc)
            tracing.tell_error(span, exc)
            return error_response(exc)
        except UnknownCoding:
            return _UNSUPPORTED_CODING
        except ClientGone:
            raise
        except Exception as exc:
            _log_failure("answering", request, scope["raw_path"], exc)
            span.failed(exc)
            return error_response(PerdureError(INTERNAL_ERROR))
        finally:
            if span.is_recording and isinstance(found, Match):
                tracing.tell_names(span, request, found.endpoint)

    async def _dispatch(self, request: Request, found: Found[Endpoint], scope: Scope) -> Response | Session:
        raw_path: bytes = scope["raw_path"]
        if not isinstance(found, Match):
            if self._inspector is not None:
                page = self._inspector.answer(
                    request.method, raw_path, scope["query_string"], request.header(headers.IF_NONE_MATCH)
                )
                if page is not None:
                    request.operation = INSPECTOR
                    return Response(page.status, page.body, page.content_type, page.fields)
            if request.method == "OPTIONS" and self._settings.cors:
                return cors.preflight(
                    request.header(headers.ACCESS_CONTROL_REQUEST_METHOD),
                    request.header(headers.ACCESS_CONTROL_REQUEST_HEADERS),
                )
            if isinstance(found, WrongMethod):
                return Response(405, extra=((headers.ALLOW, ",".join(found.allowed).encode()),))
            return _NOT_FOUND
        endpoint = found.endpoint
        request.operation = endpoint.name
        if request.header_bytes + len(raw_path) > self._max_header_bytes:
            raise BadRequest(f"the request's header fields exceed {self._max_header_bytes} bytes", "bad_header")
        if self._draining and not endpoint.public:
            await self._hold_refusal()
            raise ServerDraining("the server is about to stop; try again")
        if not endpoint.public:
            request.store = await self._context.access.store_for(request.header(headers.AUTHORIZATION))
        if endpoint.in_basin:
            request.basin = basin_of(
                request.header(headers.S2_BASIN), request.header(headers.HOST), self._settings.basin_domain
            )
        if found.names:
            request.names = tuple(
                [kind.parse(segment) for kind, segment in zip(endpoint.names, found.names, strict=True)]
            )
        return await endpoint.handler(self._context, request)

    async def _hold_refusal(self) -> None:
        """Have a client wait that would ask again at once (see `ServerLimits.refusal_secs`)."""
        if self._context.sessions.leaving or self._held_refusals >= self._settings.limits.max_held_refusals:
            return
        self._held_refusals += 1
        try:
            await asyncio.sleep(self._settings.limits.refusal_secs)
        finally:
            self._held_refusals -= 1

    @property
    def open_sessions(self) -> int:
        """How many sessions are open now."""
        return self._context.sessions.statistics().open

    def advise_reconnect(self) -> None:
        """Suggest to the clients of all sessions that they open new ones, which another process will serve.

        The s2s protocol has a flag for it, which a client may follow at a moment that suits it. What runs goes on, and
        what is new is served.
        """
        self._context.sessions.advise()

    def start_draining(self) -> None:
        """Refuse what is new from now on, and end all sessions.

        Append sessions ack what they took; then every session tells its client that the server stops, and ends.
        """
        self._draining = True
        self._context.sessions.start_draining()

    async def drain(self, timeout: float) -> bool:
        """Start draining, and wait up to `timeout` seconds for all that was taken in; tells whether it is done."""
        self.start_draining()
        try:
            async with asyncio.timeout(timeout):
                await self._context.sessions.wait_ended()
                await self._context.admission.wait_idle()
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """End what runs in the background, when nothing is served any more and the store is still open. Idempotent."""
        await self._context.access.aclose()


def create_app(
    store: WholeStore,
    settings: ServerSettings | None = None,
    *,
    root_token: RootToken | None = None,
    telemetry: Telemetry | None = None,
    inspector: Inspector | None = None,
) -> ServerApp:
    """The application over `store`, which stays its caller's to close.

    With a root token it wants that, or a token that was issued, on every request; without, anybody may do anything.
    `telemetry` is what `/metrics` tells of; whoever makes it also has it observe the store's engine. With an
    `inspector`, its page is there as well, for everybody; what it shows comes from the API, and needs its tokens.
    """
    telemetry = telemetry or Telemetry(OPERATIONS)
    settings = settings or ServerSettings()
    limits = settings.limits
    return ServerApp(
        Context(
            store=store,
            access=AccessControl(store, root_token),
            settings=settings,
            admission=Admission(limits.max_inflight_append_bytes, telemetry.inflight_changed),
            intake=Admission(limits.max_inflight_append_bytes),
            sessions=Sessions(
                max_sessions=limits.max_sessions,
                max_per_connection=limits.max_sessions_per_connection,
                observer=telemetry,
            ),
            live_forms=LiveForms(),
            stalls=PatienceClock(limits.stall_timeout_secs),
            telemetry=telemetry,
        ),
        inspector,
    )


def error_response(error: PerdureError) -> Response:
    """The answer that tells of `error` (store API, section 9)."""
    status, body = encode_error(error)
    extra: HeaderPairs = ()
    if isinstance(error, RateLimited) and error.retry_after_ms is not None:
        extra = ((headers.RETRY_AFTER_MS, str(error.retry_after_ms).encode()),)
    elif isinstance(error, AuthenticationFailed):
        extra = ((headers.WWW_AUTHENTICATE, b"Bearer"),)
    return Response.json(body, status=status, extra=extra)


def _session_failed(request: Request, path: bytes, span: Span, error: BaseException) -> None:
    _log_failure("a session on", request, path, error)
    tracing.tell_error(span, error)


def _log_answer(request: Request, status: int, begun: float) -> None:
    """A line for each request, if the level asks for that."""
    if access_log.isEnabledFor(logging.DEBUG):
        milliseconds = round((perf_counter() - begun) * 1000, 3)
        operation = request.operation or UNROUTED
        access_log.debug(
            "%s %s: %d in %g ms",
            *(request.method, operation, status, milliseconds),
            extra={
                "operation": operation,
                "basin": request.basin,
                "stream": request.names[0] if request.names and request.basin else "",
                "status": status,
                "milliseconds": milliseconds,
                "peer": request.client,
            },
        )


def _log_failure(doing: str, request: Request, path: bytes, error: BaseException) -> None:
    """Log an `error` that is the server's own: the client is told no more than that something failed."""
    if encode_error(error).status != _INTERNAL:
        return
    # A disk that is full fails every append, and says all in one line.
    trace = None if isinstance(error, StorageFailed) else error
    logger.error(
        "%s %s %r%s failed: %s",
        *(doing, request.method, path, f" in basin {request.basin!r}" if request.basin else "", error),
        exc_info=trace,
        extra={
            "operation": request.operation,
            "basin": request.basin,
            "stream": request.names[0] if request.names and request.basin else "",
            "error_code": error_type(error),
            "peer": request.client,
        },
    )


async def _send(send: Send, response: Response, common: HeaderPairs, accepted: bytes | None) -> None:
    body = response.body
    fields = [*common, *response.extra]
    if response.content_type is not None:
        fields.append((headers.CONTENT_TYPE, response.content_type))
        if len(body) >= MIN_COMPRESSED_BYTES and accepted is not None:
            coding = response_coding(accepted)
            if coding is not Compression.NONE:
                body = compress(body, coding)
                fields.append((headers.CONTENT_ENCODING, coding.value.encode()))
                fields.append((headers.VARY, headers.ACCEPT_ENCODING))
    if response.status != _NOT_MODIFIED:  # its length would be that of what the client has
        fields.append((headers.CONTENT_LENGTH, str(len(body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _acknowledge_lifespan(receive: Receive, send: Send) -> None:
    """The application starts and ends nothing of its own: whoever made it opens and closes the store."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
