"""Header fields as HTTP/2 sends them (HPACK, RFC 7541).

Requests are written without a dynamic table: every field is a literal that nobody remembers. That costs a few hundred
bytes a request, keeps secrets out of tables, makes the fields that all requests share constant bytes, and needs no
encoder. Answers may use the whole of HPACK.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import hpack

from ..endpoints import Origin
from ..exchange import Field, Fields, Head
from .frames import Code, Http2Violation

MAX_FIELDS_BYTES: Final = 64 * 1024
"""Of one answer's fields, packed or not."""

_KNOWN_BLOCKS: Final = 64
_KNOWN_BLOCK_BYTES: Final = 512

_LITERAL: Final = 0x00
_NEVER_INDEXED: Final = 0x10
_LENGTH_BITS: Final = 7


def literal(name: bytes, value: bytes, *, secret: bool = False) -> bytes:
    """One field. A secret is marked so that no proxy on the way puts it into a table."""
    return b"%c%b%b%b%b" % (
        _NEVER_INDEXED if secret else _LITERAL,
        _length(len(name)),
        name,
        _length(len(value)),
        value,
    )


def literals(fields: Iterable[Field]) -> bytes:
    return b"".join([literal(name, value) for name, value in fields])


def pack(head: Head) -> bytes:
    """All fields of a request."""
    return b"".join(
        [
            literal(b":method", head.method),
            literal(b":path", head.path),
            head.destination.packed,
            literals(head.fields),
            *[literal(name, value, secret=True) for name, value in head.secrets],
        ]
    )


def pack_common(origin: Origin, fields: Iterable[Field], secrets: Iterable[Field]) -> bytes:
    """What all requests to a server have in common, to be packed once."""
    return b"".join(
        [
            literal(b":scheme", origin.scheme.encode()),
            literal(b":authority", origin.authority.encode()),
            literals(fields),
            *[literal(name, value, secret=True) for name, value in secrets],
        ]
    )


def _length(size: int) -> bytes:
    limit = (1 << _LENGTH_BITS) - 1
    if size < limit:
        return bytes((size,))
    out = bytearray((limit,))
    size -= limit
    while size >= 128:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out)


class FieldDecoder:
    """The fields of the answers of one connection, which share a table.

    Answers are much alike: a block that came before means the same as long as the table is the same, and blocks that
    leave the table alone are remembered. That is a third of what a small request costs.
    """

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MAX_FIELDS_BYTES)
        self._known: dict[bytes, Fields] = {}

    def decode(self, block: bytes) -> Fields:
        """The fields of one whole block, not to be changed.

        Raises `Http2Violation`; the connection cannot go on then.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        newest, *sizes = self._table()
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.HPACKError as exc:
            raise Http2Violation(f"header fields that cannot be decoded: {exc}", Code.COMPRESSION_ERROR) from exc
        newest_now, *sizes_now = self._table()
        changed = newest_now is not newest or sizes_now != sizes
        if changed or len(self._known) >= _KNOWN_BLOCKS:
            self._known.clear()
        if not changed and len(block) <= _KNOWN_BLOCK_BYTES:
            self._known[block] = fields
        return fields

    def _table(self) -> tuple[object, int, int]:
        """The newest entry, the number of entries, and their bound: nothing happens to a table that shows in none."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return (entries[0] if entries else None), len(entries), table.maxsize
