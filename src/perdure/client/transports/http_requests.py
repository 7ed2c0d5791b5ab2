"""Requests over HTTP and their answers: one at a time with retries, or held open for a session."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, Final, Protocol

from msgspec import Struct

from ..._version import __version__
from ...errors import (
    BadRequest,
    PerdureError,
    ProtocolViolation,
    ServerDraining,
    TransportError,
    UnknownRejection,
)
from ...telemetry.measures import CLIENT_RETRIES
from ...telemetry.spans import ERROR_TYPE, NO_SPAN, Span, error_type
from ...wire import headers
from ...wire.compression import Compression, compress, decompress
from ...wire.errors_json import decode_error
from ..dialing import Dialer
from ..exchange import Destination, Exchange, Field, Fields, Head
from ..http2.fields import pack_common
from ..pool import Pool
from ..retries import leaves_doubt
from ..settings import HttpSettings
from ..tracing import STATUS, begin_call, measure_call, trace_fields

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Of a unary answer, packed or not; the largest that the API gives is a few MiB."""

USER_AGENT: Final = f"perdure/{__version__}".encode()

_log: Final = logging.getLogger("perdure.client")


class Call(Struct, frozen=True):
    """One request, but for what all requests have. `path` is encoded, and below `/v1`."""

    method: bytes
    path: str
    basin: str | None = None
    body: bytes | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()
    secrets: tuple[tuple[bytes, bytes], ...] = ()
    is_append: bool = False
    applied_tail: int | None = None
    """See `retries.leaves_doubt`."""
    is_repeatable: bool = True
    """Whether it may be sent again when it may have been applied: then the answer to the first one is not needed."""
    patience_secs: float = 0.0
    """What the server may take beyond the request timeout, because it was asked to wait."""

    records: int = 0
    """How many an append holds, for telemetry."""

    def __repr__(self) -> str:
        return f"<Call {self.method.decode()} {self.path}>"  # without what is secret


class Answer(Struct, frozen=True):
    """A whole answer, unpacked."""

    status: int
    fields: Fields
    body: bytes

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.body)} bytes>"  # there may be a secret in them


class Session(Protocol):
    """Who hears what comes in a session that has begun. Nothing here may raise."""

    def data(self, piece: bytes) -> None: ...

    def ended(self, error: PerdureError | None) -> None:
        """The last thing: the answer has ended, or was lost."""
        ...


class Requests:
    """Everything that a client asks of one store."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings: HttpSettings = settings
        self._pool = Pool(
            Dialer(
                ssl_context=settings.ssl_context,
                timeout=settings.connection_timeout,
                force=settings.force_transport,
                proxies=settings.proxies,
            )
        )
        self._destinations: dict[str | None, Destination] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def aclose(self) -> None:
        """End the tasks that sessions began, and close all connections. Idempotent."""
        self._pool.check_loop()
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._pool.aclose()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the work of a session in a task, which ends with the client at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def ask(self, call: Call) -> Answer:
        """Send a request until it is answered or not worth trying again. Raises the error that the last answer told.

        It is `in_doubt` when an attempt before the last one may have changed something.
        """
        origin = self._destination(call.basin).origin
        span, begun = begin_call(call, origin), perf_counter()
        outcome: int | str = "cancelled"
        try:
            if not span.is_recording:
                answer = await self._asked(call, span)
            else:
                with span.active():
                    answer = await self._asked(call, span)
            span.set(STATUS, answer.status)
            outcome = answer.status
            return answer
        except PerdureError as exc:
            outcome = error_type(exc)
            raise
        finally:
            span.end()
            measure_call(call, origin, outcome, perf_counter() - begun)

    async def _asked(self, call: Call, span: Span) -> Answer:
        failures = 0
        in_doubt = False
        trace = trace_fields(span)
        while True:
            try:
                return await self._once(call, trace)
            except PerdureError as exc:
                failures += 1
                policy = self.settings.retries
                if in_doubt and leaves_doubt(exc, call.applied_tail):
                    exc.put_in_doubt()
                if not (policy.allows_append if call.is_append else policy.allows)(exc, failures):
                    raise
                if not (call.is_repeatable or exc.has_no_side_effects):
                    raise
                in_doubt = call.method != b"GET" and not exc.has_no_side_effects
                await self.back_off(exc, failures, span)

    async def back_off(self, error: PerdureError, failures: int, span: Span = NO_SPAN) -> None:
        """Say that there will be a retry, and wait for its time. Raises `error` when the client is closed."""
        if self._is_closed:
            raise error
        delay = self.settings.retries.delay_secs(failures - 1, random.random(), error.retry_after_ms)
        code = error_type(error)
        _log.warning(
            *("trying again in %.2f s (attempt %d): %s", delay, failures + 1, error),
            extra={"attempt": failures + 1, "error_code": code, "delay_seconds": round(delay, 3)},
        )
        CLIENT_RETRIES.add(1, {ERROR_TYPE: code})
        span.event("retry", {"perdure.attempt": failures + 1, ERROR_TYPE: code, "perdure.delay": delay})
        await asyncio.sleep(delay)

    async def carries_sessions(self, basin: str) -> bool:
        """Whether requests in a basin go over HTTP/2; connects, with retries, if that is not known.

        Raises `TransportError` when there is no connection to be had.
        """
        if self.settings.force_transport is not None:
            return self.settings.force_transport == "s2s"
        failures = 0
        while True:
            try:
                return (await self._pool.connection(self._destination(basin).origin)).is_http2
            except PerdureError as exc:
                failures += 1
                if not self.settings.retries.allows(exc, failures):
                    raise
                await self.back_off(exc, failures)

    async def _once(self, call: Call, trace: tuple[Field, ...]) -> Answer:
        destination = self._destination(call.basin)
        turn = self._pool.turn(destination.origin)
        if turn is None:
            return await self._answered(call, destination, trace)
        async with turn:
            return await self._answered(call, destination, trace)

    async def _answered(self, call: Call, destination: Destination, trace: tuple[Field, ...]) -> Answer:
        packed = call.body
        fields = call.fields
        if packed and self.settings.compression is not Compression.NONE:
            packed = compress(packed, self.settings.compression)
            fields = (*fields, (headers.CONTENT_ENCODING, self.settings.compression.value.encode()))
        if packed is not None:
            fields = (*fields, (headers.CONTENT_LENGTH, b"%d" % len(packed)))
        connection = await self._pool.connection(destination.origin)
        listener = _Whole()
        exchange = connection.open(_head(call, destination, fields, trace), listener, body=packed)
        listener.took = exchange.read
        status, answered, body = await self._settled(call, exchange, listener.future)
        body = _unpacked(answered, body)
        if status >= 300:
            error = _told(status, answered, body)
            if isinstance(error, ServerDraining):
                connection.retire()  # it would say so again
            raise error
        return Answer(status, answered, body)

    async def _settled(
        self, call: Call, exchange: Exchange, future: asyncio.Future[tuple[int, Fields, bytes]]
    ) -> tuple[int, Fields, bytes]:
        limit = self.settings.request_timeout + call.patience_secs
        try:
            async with asyncio.timeout(limit):
                return await future
        except TimeoutError:
            exchange.leave_connection()  # it may be dead, and nobody said so
            origin = self._destination(call.basin).origin
            raise TransportError(
                f"no answer from {origin} within {limit:g} s", may_have_applied=exchange.sent_some
            ) from None
        finally:
            exchange.reset()  # nothing, unless the answer is not wanted any more

    async def open_session(self, call: Call, session: Session, span: Span = NO_SPAN) -> Exchange:
        """Begin a session, once. Raises what keeps it from starting. A call without a body has nothing to send."""
        destination = self._destination(call.basin)
        connection = await self._pool.connection(destination.origin)
        listener = _Live(session)
        has_input = call.method == b"POST"
        exchange = connection.open(
            _head(call, destination, call.fields, trace_fields(span)), listener, end=not has_input
        )
        try:
            async with asyncio.timeout(self.settings.request_timeout):
                await listener.future
        except TimeoutError:
            connection.retire()
            exchange.reset()
            raise TransportError(
                f"{destination.origin} did not begin the session within {self.settings.request_timeout:g} s",
                may_have_applied=False,
            ) from None
        except BaseException as exc:
            exchange.reset()
            if isinstance(exc, ServerDraining):
                connection.retire()
            raise
        return exchange

    def begin_session(self, call: Call, kind: str) -> Span:
        """Begin the span of a session, which lasts over all its connections."""
        return begin_call(call, self._destination(call.basin).origin, kind)

    def _destination(self, basin: str | None) -> Destination:
        """The server for a request in `basin` (None: on the account), and the fields that all requests there have."""
        known = self._destinations.get(basin)
        if known is not None:
            return known
        settings = self.settings
        endpoints = settings.endpoints
        origin = endpoints.account_origin if basin is None else endpoints.basin_origin(basin)
        fields: list[Field] = [(headers.USER_AGENT, USER_AGENT)]
        secrets: list[Field] = []
        if settings.compression is not Compression.NONE:
            fields.append((headers.ACCEPT_ENCODING, settings.compression.value.encode()))
        if basin is not None and not endpoints.basin_is_in_host:
            fields.append((headers.S2_BASIN, basin.encode()))
        if settings.access_token is not None:
            secrets.append((headers.AUTHORIZATION, b"Bearer " + settings.access_token.encode()))
        found = Destination(origin, (*fields, *secrets), pack_common(origin, fields, secrets))
        self._destinations[basin] = found
        return found


def _head(call: Call, destination: Destination, fields: tuple[Field, ...], trace: tuple[Field, ...]) -> Head:
    """The trace is no secret, but like one it must fill no table on the way: it is another for each request."""
    return Head(call.method, b"/v1" + call.path.encode(), destination, fields, call.secrets + trace)


class _Whole:
    """Collects an answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[tuple[int, Fields, bytes]] = asyncio.get_running_loop().create_future()
        self.took: Callable[[int], None] = lambda size: None
        self._status = 0
        self._fields: Fields = []
        self._pieces: list[bytes] = []
        self._size = 0

    def head(self, status: int, fields: Fields) -> None:
        self._status, self._fields = status, fields

    def data(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MAX_ANSWER_BYTES:
            self._pieces.append(piece)
            self.took(len(piece))
        elif not self.future.done():
            self.future.set_exception(ProtocolViolation(f"an answer of more than {MAX_ANSWER_BYTES} bytes"))

    def end(self) -> None:
        if not self.future.done():
            self.future.set_result((self._status, self._fields, b"".join(self._pieces)))

    def lost(self, error: PerdureError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Live:
    """Hands the answer of a session on once it has begun; before, it may turn out to be an error."""

    def __init__(self, session: Session) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._session = session
        self._refusal: _Whole | None = None

    def head(self, status: int, fields: Fields) -> None:
        if status < 300:
            coding = field(fields, headers.CONTENT_ENCODING)
            if coding is not None and coding != Compression.NONE.value.encode():
                self._fail(ProtocolViolation(f"a session packed with {coding[:40]!r}, which sessions never are"))
            elif not self.future.done():
                self.future.set_result(None)
            return
        self._refusal = _Whole()
        self._refusal.head(status, fields)

    def data(self, piece: bytes) -> None:
        if self._refusal is None:
            self._session.data(piece)
        else:
            self._refusal.data(piece)

    def end(self) -> None:
        if self._refusal is None:
            self._session.ended(None)
            return
        self._refusal.end()
        try:
            status, fields, body = self._refusal.future.result()
            error: PerdureError = _told(status, fields, _unpacked(fields, body))
        except PerdureError as exc:
            error = exc
        self._fail(error)

    def lost(self, error: PerdureError) -> None:
        if self.future.done():
            self._session.ended(error)
        else:
            self._fail(error)

    def _fail(self, error: PerdureError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def field(fields: Fields, name: bytes) -> bytes | None:
    """The first value of this name."""
    for found, value in fields:
        if found == name:
            return value
    return None


def _told(status: int, fields: Fields, body: bytes) -> PerdureError:
    location = field(fields, headers.LOCATION)
    if status < 400 and location is not None:
        # Not followed: it would send the token to whoever is named there, and turn calls into reads.
        where = location[:200].decode(errors="replace")
        return UnknownRejection(f"the store is not here; give the endpoint that leads to {where}", status=status)
    return decode_error(status, body, retry_after_ms=_retry_after_ms(fields))


def _retry_after_ms(fields: Fields) -> int | None:
    """In milliseconds, as the API says it, or in seconds, as what stands before a server does (RFC 9110)."""
    for name, unit_ms in ((headers.RETRY_AFTER_MS, 1), (headers.RETRY_AFTER, 1000)):
        after = field(fields, name)
        if after is not None and after.isdigit() and len(after) < 10:
            return int(after) * unit_ms
    return None


_CODINGS: Final = {coding.value.encode(): coding for coding in Compression}


def _unpacked(fields: Fields, body: bytes) -> bytes:
    name = field(fields, headers.CONTENT_ENCODING)
    if name is None:
        return body
    coding = _CODINGS.get(name.lower())
    if coding is None:
        raise ProtocolViolation(f"an answer packed with {name[:40]!r}, which was not asked for")
    try:
        return decompress(body, coding, limit=MAX_ANSWER_BYTES, code=ProtocolViolation.code)
    except BadRequest as exc:
        raise ProtocolViolation(exc.message) from exc
