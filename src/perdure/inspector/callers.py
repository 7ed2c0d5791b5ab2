"""Who may speak to an inspector that needs no token: pages of its own address, in a browser on this machine.

Any page in the same browser can send requests to a loopback address, and one whose name was made to lead there (DNS
rebinding) can read the answers as well. The first kind of page betrays itself by the origin that browsers tell of, the
second by the host it asked for.
"""

from __future__ import annotations

from typing import Final

from ..errors import PermissionDenied
from ..wire import headers
from ..wire.errors_json import encode_error
from .page import Answer

_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


class Callers:
    """Those whom an inspector on `port` of this machine answers."""

    def __init__(self, port: int) -> None:
        self._hosts = frozenset(f"{name}:{port}".encode() for name in _NAMES)
        self._origins = frozenset(b"http://" + host for host in self._hosts)

    def refusal(self, host: bytes | None, origin: bytes | None) -> Answer | None:
        """What others are told; None for whom it answers. A request without an origin is no page's, or its own."""
        if (host is None or host.lower() in self._hosts) and (origin is None or origin in self._origins):
            return None
        status, body = encode_error(
            PermissionDenied("this inspector is for pages of its own address; open it as http://127.0.0.1 and its port")
        )
        return Answer(status, body, headers.JSON)
