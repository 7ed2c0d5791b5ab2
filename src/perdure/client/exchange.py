"""A request and its answer, whichever HTTP carries them.

A transport over HTTP speaks to its servers through these few promises; `http2/` and `http1/` keep them.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from msgspec import Struct

from ..errors import PerdureError
from .endpoints import Origin

Field: TypeAlias = tuple[bytes, bytes]
"""A name in lower case, with its value."""

Fields: TypeAlias = list[Field]
"""In the order in which they came."""


class Destination(Struct, frozen=True):
    """A server, and the fields that all requests there have. `packed` is them as HTTP/2 sends them."""

    origin: Origin
    fields: tuple[Field, ...]
    packed: bytes


class Head(Struct, frozen=True):
    """What a request begins with. Nobody may log `secrets`, or put them into a table."""

    method: bytes
    path: bytes
    destination: Destination
    fields: tuple[Field, ...] = ()
    secrets: tuple[Field, ...] = ()


class Listener(Protocol):
    """Who hears the answer to a request. Nothing here may raise. After `end` or `lost` comes nothing more."""

    def head(self, status: int, fields: Fields) -> None: ...

    def data(self, piece: bytes) -> None: ...

    def end(self) -> None: ...

    def lost(self, error: PerdureError) -> None: ...


class Exchange(Protocol):
    """A request that was sent, or whose body is still being sent, while its answer comes. None of this waits."""

    @property
    def sent_some(self) -> bool:
        """Whether the server may have begun to act."""
        ...

    def send(self, data: bytes) -> None:
        """Send a piece of the body as soon as the server lets it. Only for one that was opened without its end."""
        ...

    def finish(self) -> None:
        """Nothing more will be sent."""
        ...

    def read(self, size: int) -> None:
        """So many bytes of the answer were used up: as many more may come."""
        ...

    def reset(self) -> None:
        """Give it up; the listener hears nothing more. Nothing happens when it is over."""
        ...

    def leave_connection(self) -> None:
        """What is asked from now on goes over another one: the server is about to stop, or nothing comes from it."""
        ...


class Connection(Protocol):
    """Requests to one server."""

    @property
    def is_http2(self) -> bool:
        """Whether a request may be answered while it is being sent, and others be on their way meanwhile."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether one more request may be opened now."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether nothing can come or go any more."""
        ...

    def open(self, head: Head, listener: Listener, *, body: bytes | None = None, end: bool = True) -> Exchange:
        """Send a request; only while `has_room`. `body` None is none, and `end` False leaves it open for `send`.

        Raises `TransportError` where a body cannot be left open.
        """
        ...

    def retire(self) -> None:
        """Take no more requests; the connection closes when those that are under way are over."""
        ...

    def abort(self) -> None:
        """Close the socket at once."""
        ...

    async def aclose(self) -> None:
        """Close the socket in an orderly way; what is still open is lost. Idempotent."""
        ...
