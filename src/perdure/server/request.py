"""One request, as handlers see it."""

from __future__ import annotations

import asyncio
from typing import Final

from ..errors import BadRequest, PerdureError, RequestTimeout
from ..wire import headers
from ..wire.compression import Compression, decompress
from .admission import Admission
from .asgi import Receive, Scope
from .limits import SMALL_BODY_BYTES, ServerLimits
from .patience import PatienceClock
from .query import Query
from .served_store import ServedStore

_CODINGS: Final = {
    b"": Compression.NONE,
    b"identity": Compression.NONE,
    b"gzip": Compression.GZIP,
    b"zstd": Compression.ZSTD,
}


class ClientGone(Exception):
    """The client went away, or sent a body that is no HTTP. `answer` is for who may be left to hear it."""

    def __init__(self, answer: PerdureError) -> None:
        super().__init__(answer.message)
        self.answer: PerdureError = answer


class UnknownCoding(Exception):
    """The body has a coding that the server does not know: 415, with an empty body."""


class Request:
    """The parts of a request.

    `names` are the decoded names in its path, `basin` is set on `/streams…` routes, and `store` on all that are not
    public: it is the store as whoever sent the request may use it.
    """

    __slots__ = (
        "_clock",
        "_headers",
        "_held",
        "_intake",
        "_raw_query",
        "basin",
        "client",
        "limits",
        "method",
        "names",
        "operation",
        "receive",
        "store",
    )

    store: ServedStore

    def __init__(
        self, scope: Scope, receive: Receive, limits: ServerLimits, clock: PatienceClock, intake: Admission
    ) -> None:
        pairs: list[tuple[bytes, bytes]] = scope["headers"]
        fields = dict(pairs)
        if len(fields) != len(pairs):
            fields = _joined(pairs)
        self._clock = clock
        self._intake = intake
        self._held = 0
        self._headers: dict[bytes, bytes] = fields
        self._raw_query: bytes = scope["query_string"]
        self.receive: Receive = receive
        self.limits: ServerLimits = limits
        self.method: str = scope["method"]
        self.client: tuple[str, int] | None = scope.get("client")
        """Address and port of the peer: its connection, as long as that is open."""
        self.names: tuple[str, ...] = ()
        self.basin: str = ""
        self.operation: str = ""
        """The name of the endpoint; empty until one is found."""

    def header(self, name: bytes) -> bytes | None:
        """The value of a header field; the values of one that is given several times, joined by commas."""
        return self._headers.get(name)

    @property
    def header_bytes(self) -> int:
        """The size of all header fields, names and values, and of the query."""
        fields = self._headers
        return sum(map(len, fields)) + sum(map(len, fields.values())) + len(self._raw_query)

    def query(self) -> Query:
        return Query(self._raw_query)

    async def body(self, code: str) -> bytes:
        """The whole body, decompressed; `code` is that of the error for one that is too large or damaged.

        A large one is taken in when there is room for it; until then it waits in its client.
        Raises `BadRequest`, `RequestTimeout`, `UnknownCoding`, `ClientGone`.
        """
        coding = self._coding()
        limit = self.limits.max_body_bytes
        parts: list[bytes] = []
        size = 0
        clock = self._clock
        task = clock.begin()
        late = False
        try:
            while True:
                message = await self.receive()
                if message["type"] != "http.request":
                    raise ClientGone(BadRequest(f"the body broke off after {size} bytes", code))
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise BadRequest(f"the body exceeds {limit} bytes", code)
                parts.append(part)
                if not message.get("more_body", False):
                    break
                if size > SMALL_BODY_BYTES and not self._held:
                    expected = self._expected()
                    if not self._intake.take_nowait(expected):
                        late = clock.end(task)  # this wait is ours, and costs the client none of its time
                        if late:
                            break
                        await self._intake.take(expected)
                        task = clock.begin()
                    self._held = expected
        except asyncio.CancelledError:
            late = clock.end(task)
            if not late:
                raise
        finally:
            clock.end(task)
        if late:
            raise RequestTimeout(f"the body did not arrive within {clock.secs:g} seconds; {size} bytes of it did")
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if coding is Compression.NONE:
            return body
        unpacked = decompress(body, coding, limit=limit, code=code)
        size = len(unpacked)
        if size > SMALL_BODY_BYTES:
            self.let_go()
            if not self._intake.take_nowait(size):
                del unpacked  # to unpack it again takes less than to keep it
                await self._intake.take(size)
                unpacked = decompress(body, coding, limit=limit, code=code)
            self._held = size
        return unpacked

    def let_go(self) -> None:
        """The body is not needed any more. Idempotent."""
        if self._held:
            self._intake.release(self._held)
            self._held = 0

    def _expected(self) -> int:
        """How large the body will be at most."""
        said, limit = self._headers.get(headers.CONTENT_LENGTH, b""), self.limits.max_body_bytes
        return min(int(said), limit) if said.isdigit() else limit

    def _coding(self) -> Compression:
        name = self._headers.get(headers.CONTENT_ENCODING)
        if name is None:
            return Compression.NONE
        coding = _CODINGS.get(name.strip().lower())
        if coding is None:
            raise UnknownCoding
        return coding


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in pairs:
        fields[name] = value if name not in fields else fields[name] + b", " + value
    return fields
