"""How a worker's memory is managed: what glibc's malloc gives back to the system, and when Python looks for cycles.

Both are set for the whole process, so only a process that does nothing else may call this.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

MMAP_THRESHOLD_BYTES: Final = 8 * 1024 * 1024
"""Larger allocations get pages of their own from the system, as all from 128 KiB on do by default.

Pages that come and go cost a fault each: measured for a megabyte, 130 to 180 of them in an append session with batches
of that size, and 150 in a catch-up over SSE. When freed memory is used again, 25 and 18 are left, with no more memory
held in the end.
"""

TRIM_THRESHOLD_BYTES: Final = 32 * 1024 * 1024
"""How much free memory at the end of a heap is kept."""

YOUNG_OBJECTS: Final = 10_000
"""How many more containers there are before Python looks for cycles among the young ones; its own default is 700.

With many sessions open, a batch that goes out to all of them makes and drops thousands of objects, and the search then
took a fifth of the time until it reached them: nothing on that way leaves cycles behind.
"""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed for what comes next; tells whether this C library can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)) and bool(
        mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
    )


def collect_less() -> None:
    """Look for cycles less often, and never again among what exists already: modules and code, which stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
