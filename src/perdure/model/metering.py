"""The metered size of a record: what limits, quotas and `bytes` bounds count.

The formula is the protocol's (store API, section 1.4) and knows nothing of an encoding::

    8 + 2 × headers + Σ (len(name) + len(value)) + len(body)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .records import Headers

RECORD_OVERHEAD_BYTES: Final = 8
HEADER_OVERHEAD_BYTES: Final = 2


def metered_bytes(headers: Headers, body: bytes) -> int:
    """The metered size in bytes of one record with these raw headers and this raw body."""
    size = RECORD_OVERHEAD_BYTES + len(body)
    for name, value in headers:
        size += HEADER_OVERHEAD_BYTES + len(name) + len(value)
    return size
