"""The numbers that the S2 v1 protocol fixes, each said once.

Validators, batchers, the wire formats, the documentation and the tests read them from here.
Sizes are metered bytes (see `perdure.model.metering`) unless the name says otherwise.
"""

from __future__ import annotations

from typing import Final

MAX_U64: Final = 2**64 - 1
MAX_U32: Final = 2**32 - 1

MAX_BATCH_RECORDS: Final = 1_000
MAX_BATCH_BYTES: Final = 1024 * 1024
"""Metered bytes of one batch, inclusive; it bounds a single record too."""

MAX_FRAME_BYTES: Final = 2 * MAX_BATCH_BYTES
"""Flag and payload of one s2s frame: room for encoding around a full batch."""

MAX_BODY_BYTES: Final = 2 * MAX_BATCH_BYTES
"""A unary request body after decompression."""

MAX_READ_RECORDS: Final = 1_000
"""Records of one unary read, and of one batch of a read session."""

MAX_READ_BYTES: Final = MAX_BATCH_BYTES
"""Metered bytes of one unary read, and of one batch of a read session."""

MAX_WAIT_SECS: Final = 60
"""The longest `wait` that a unary read is given."""

MAX_FENCING_TOKEN_BYTES: Final = 36
MAX_REQUEST_TOKEN_BYTES: Final = 36

MIN_BASIN_NAME_BYTES: Final = 8
MAX_BASIN_NAME_BYTES: Final = 48
MAX_STREAM_NAME_BYTES: Final = 512
MAX_ACCESS_TOKEN_ID_BYTES: Final = 96
MAX_LOCATION_NAME_CHARS: Final = 64

MAX_PAGE_ITEMS: Final = 1_000
"""Items of one page of a listing; a requested limit of 0 or above this means this."""

MAX_METRICS_RANGE_SECS: Final = 30 * 86_400
"""The longest time between the bounds of a metrics query."""

MAX_METRICS_AHEAD_SECS: Final = 540
"""An end this far in the future, or further, is refused.

The suites of several SDKs expect that of an end 600 seconds ahead (section 8.4): ahead of the client's clock, and some
time before the server looks at it.
"""
