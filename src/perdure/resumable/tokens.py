"""Fencing tokens: how the token in force tells who writes a stream, until when, and how the last writer ended.

=====================  ==========================================================================
holder                 ``session-`` and 8 random bytes in base64
holder with a lease    the same, ``.`` and the lease in milliseconds
normal end             ``end-`` and 4 random bytes in base64
end by a stop          ``end-stop-`` and 4 random bytes in base64
end after a failure    ``error-`` and 4 random bytes in base64
of a text stream       ``session-``, ``end-`` or ``error-`` and 5 random digits in base 36
=====================  ==========================================================================

A stream whose last fence is a terminal one is idle, and that token is what the next writer must present. Otherwise a
generation is active and the token is its holder's. Other implementations share these streams: to them the lease is
an opaque part of the token, and ``end-stop-`` is a normal end.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

RandomBytes: TypeAlias = Callable[[int], bytes]
"""Gives that many random bytes; `secrets.token_bytes` unless a test says otherwise."""

MIN_LEASE_MS: Final = 1
MAX_LEASE_MS: Final = 86_400_000

_OFFERED: Final = re.compile(r"session-[A-Za-z0-9+/]{11}=\.([1-9][0-9]{0,14})\Z")


class FenceKind(Enum):
    """What a fence with a given token says about its stream."""

    HOLDER = "holder"
    END = "end"
    STOP = "stop"
    ERROR = "error"

    @property
    def is_terminal(self) -> bool:
        """Whether the generation is over."""
        return self is not FenceKind.HOLDER


def kind_of(token: str) -> FenceKind:
    """What a fence with this token says; whatever is no terminal token is a holder's."""
    if token.startswith("end-"):
        return FenceKind.STOP if token.startswith("end-stop-") else FenceKind.END
    return FenceKind.ERROR if token.startswith("error-") else FenceKind.HOLDER


def is_terminal(token: str) -> bool:
    """Whether a fence with this token ends a generation."""
    return token.startswith(("end-", "error-"))


def lease_of(token: str) -> int | None:
    """The lease in milliseconds that a holder token offers; None if it offers none.

    The tokens of writers that know no leases never match, so nothing is ever taken from them.
    """
    match = _OFFERED.match(token)
    if match is None:
        return None
    lease_ms = int(match[1])
    return lease_ms if MIN_LEASE_MS <= lease_ms <= MAX_LEASE_MS else None


def holder_token(lease_ms: int | None, random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A fresh token for a writer, with its lease if it offers one."""
    token = "session-" + b64encode(random_bytes(8)).decode()
    return token if lease_ms is None else f"{token}.{lease_ms}"


def terminal_token(kind: FenceKind, random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A fresh token that ends a generation in the given way."""
    return _TERMINAL_PREFIXES[kind] + b64encode(random_bytes(4)).decode()


def text_holder_token(lease_ms: int | None, random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A fresh token for the writer of a text stream; one with a lease is as it is elsewhere."""
    return holder_token(lease_ms, random_bytes) if lease_ms is not None else "session-" + _base_36(random_bytes)


def text_terminal_token(kind: FenceKind, random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A fresh token that ends a text stream; a stopped one ends as any other."""
    return ("error-" if kind is FenceKind.ERROR else "end-") + _base_36(random_bytes)


def _base_36(random_bytes: RandomBytes) -> str:
    number, digits = int.from_bytes(random_bytes(8), "big"), ""
    while len(digits) < 5:
        number, digit = divmod(number, 36)
        digits += "0123456789abcdefghijklmnopqrstuvwxyz"[digit]
    return digits


_TERMINAL_PREFIXES: Final = {FenceKind.END: "end-", FenceKind.STOP: "end-stop-", FenceKind.ERROR: "error-"}
