"""Live batches in the forms in which they are sent, made once for all who follow a stream.

The hub hands the same block to every follower, so the block itself, by identity, is the key. What a reader opened with
its own key is an object of its own, and is shared with nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from msgspec import Struct

from ..store.reading import Delivery
from ..wire.sse_reads import NOTHING_DELIVERED, LastEventId

MAX_FORMS: Final = 64
MAX_FORM_BYTES: Final = 8 * 1024 * 1024
"""Blocks and their forms together. All followers of a stream are woken at once, so little has to be kept for long."""


class LiveForm(Struct, frozen=True, gc=False):
    """One batch as it is sent, in parts that follow each other.

    `advance` is its last sequence number, its records and their metered bytes.
    """

    parts: tuple[bytes, ...]
    advance: LastEventId = NOTHING_DELIVERED


class _Entry(Struct, frozen=True, gc=False):
    block: bytes
    """Held, so that its identity is not given to another object meanwhile."""
    form: LiveForm
    size: int


class LiveForms:
    """The latest forms, as many as fit; `kind` tells those of one block apart."""

    def __init__(self, *, max_forms: int = MAX_FORMS, max_bytes: int = MAX_FORM_BYTES) -> None:
        self._max_forms = max_forms
        self._max_bytes = max_bytes
        self._size = 0
        self._entries: OrderedDict[tuple[int, Hashable], _Entry] = OrderedDict()
        self._latest: tuple[bytes | None, Hashable, LiveForm] = (None, None, LiveForm(()))
        """The form that was given last, and for what: mostly, the next follower wants the same."""

    def get(self, delivery: Delivery, kind: Hashable, make: Callable[[Delivery], LiveForm]) -> LiveForm:
        """The form of `delivery`; kept only for a whole batch that came live, since others come to one reader."""
        if delivery.tail is None or len(delivery.blocks) != 1:
            return make(delivery)
        block = delivery.blocks[0]
        latest, of_kind, form = self._latest
        if latest is block and of_kind is kind:
            return form
        form = self._find(delivery, block, kind, make)
        self._latest = block, kind, form
        return form

    def _find(self, delivery: Delivery, block: bytes, kind: Hashable, make: Callable[[Delivery], LiveForm]) -> LiveForm:
        key = (id(block), kind)
        entry = self._entries.get(key)
        if entry is not None:
            return entry.form
        form = make(delivery)
        size = len(block) + sum(map(len, form.parts))
        self._entries[key] = _Entry(block, form, size)
        self._size += size
        while len(self._entries) > self._max_forms or self._size > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size
        return form
