"""W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a request belongs to, as its headers say it.

Parsing needs no OpenTelemetry, and follows the recommendation: what is malformed counts as absent, and a `tracestate`
that is malformed does not cost the trace its `traceparent`.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

SAMPLED: Final = 0x01
"""The flag of a trace that whoever began it records."""

_KNOWN_FLAGS: Final = 0x03
"""Sampled, and random trace id (level 2). The others must not be passed on."""

MAX_TRACE_STATE_BYTES: Final = 512
"""What must be passed on at the least, and here at the most."""

MAX_TRACE_STATE_MEMBERS: Final = 32
LARGE_MEMBER_BYTES: Final = 128
"""Members above this are the first to go when a `tracestate` is too long."""

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER: Final = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_INVALID_VERSION: Final = "ff"
_ZEROS: Final = "0"


class TraceContext(Struct, frozen=True):
    """The trace that something belongs to, and the span within it that caused it.

    `trace_id` has 32 digits and `span_id` 16, hexadecimal and lower case. `state` is what vendors add, as
    `tracestate` carries it; empty for nothing.
    """

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    @classmethod
    def parse(cls, traceparent: str, tracestate: str = "") -> TraceContext | None:
        """What the two header fields say; None if `traceparent` is not one."""
        found = _TRACEPARENT.fullmatch(traceparent)
        if found is None:
            return None
        version, trace_id, span_id, flags, rest = found.groups()
        if version == _INVALID_VERSION or (version == "00" and rest is not None):
            return None
        if not trace_id.strip(_ZEROS) or not span_id.strip(_ZEROS):
            return None
        return cls(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, passed_on_state(tracestate))

    @property
    def traceparent(self) -> str:
        """The header field that tells of this."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & _KNOWN_FLAGS:02x}"

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace records it."""
        return bool(self.flags & SAMPLED)


def passed_on_state(tracestate: str) -> str:
    """What of a `tracestate` is passed on: nothing of a malformed one, the first members of one that is too long."""
    members = [member for each in tracestate.split(",") if (member := each.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    if len(members) > MAX_TRACE_STATE_MEMBERS or len(keys) < len(members):
        return ""
    if not all(map(_MEMBER.fullmatch, members)):
        return ""
    if _size(members) > MAX_TRACE_STATE_BYTES:
        members = [member for member in members if len(member) <= LARGE_MEMBER_BYTES]
    while _size(members) > MAX_TRACE_STATE_BYTES:
        members.pop()
    return ",".join(members)


def _size(members: list[str]) -> int:
    return sum(map(len, members)) + max(0, len(members) - 1)
