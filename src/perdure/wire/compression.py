"""Compressing and decompressing whole payloads: unary bodies and the payloads of s2s frames (store API, 2.8, 6.9).

What a peer sent is decompressed under a limit that holds while it happens: neither a stream that unfolds without end
nor a header that claims a huge size or window makes more memory than the limit be held.
"""

from __future__ import annotations

import threading
import zlib
from enum import Enum
from typing import TYPE_CHECKING, Final

from .._extras import missing
from ..errors import BadRequest, UsageError

if TYPE_CHECKING:
    import zstandard

MIN_COMPRESSED_BYTES: Final = 1024
"""Smaller payloads and bodies are sent as they are (sections 2.8 and 6.9)."""

GZIP_LEVEL: Final = 1
"""Of 1 to 9. On JSON records of words: 105 to 125 MB/s and 0.42 of the size; level 6 makes 55 MB/s and 0.39."""

ZSTD_LEVEL: Final = 1
"""Of 1 to 22. On the same records: 330 to 610 MB/s and 0.39 of the size; the usual 3 makes 190 to 400 and 0.35."""

_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""What every zstd decoder of HTTP must support (RFC 9659), and the most that one may be made to allocate."""

_GZIP_WINDOW_BITS: Final = 16 + zlib.MAX_WBITS
"""zlib's way to say: the gzip container and nothing else."""


class Compression(Enum):
    """How bytes are packed; the value is the content coding's name in HTTP."""

    NONE = "identity"
    GZIP = "gzip"
    ZSTD = "zstd"


class _ZstdContexts:
    """One compressor and one decompressor: making them costs more than a small payload does."""

    def __init__(self) -> None:
        try:
            import zstandard
        except ImportError:
            raise UsageError(missing("compression by zstd", "zstandard", "zstd")) from None
        self.compressor: zstandard.ZstdCompressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self.decompressor: zstandard.ZstdDecompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)


_of_thread: Final = threading.local()


def _zstd() -> _ZstdContexts:
    """Those of this thread, made with the first use of zstd: whoever does without it needs no package for it."""
    contexts: _ZstdContexts | None = getattr(_of_thread, "zstd", None)
    if contexts is None:
        contexts = _of_thread.zstd = _ZstdContexts()
    return contexts


def compress(data: bytes, compression: Compression) -> bytes:
    """`data` packed as one gzip member or one zstd frame."""
    if compression is Compression.ZSTD:
        return _zstd().compressor.compress(data)
    if compression is Compression.GZIP:
        return zlib.compress(data, GZIP_LEVEL, _GZIP_WINDOW_BITS)
    return data


def decompress(data: bytes, compression: Compression, *, limit: int, code: str) -> bytes:
    """What was packed in `data`, which is one whole gzip member or zstd frame and nothing more.

    Raises `BadRequest` with `code`, which says where the data stood (`bad_json`, `bad_proto`, `bad_frame`): it is
    damaged, cut off, followed by anything (a second member or frame too: no SDK sends one, and thousands of empty
    ones would cost quadratic time), or unfolds to more than `limit` bytes.
    """
    try:
        if compression is Compression.ZSTD:
            out = _decompress_zstd(data, limit)
        elif compression is Compression.GZIP:
            out = _decompress_gzip(data, limit)
        else:
            out = data
    except _Damage as exc:
        raise BadRequest(f"the {compression.value} data {exc}", code) from None
    if out is None or len(out) > limit:
        raise BadRequest(f"the data must not exceed {limit} bytes when decompressed", code)
    return out


class _Damage(Exception):
    """Why packed data cannot be read."""


def _decompress_gzip(data: bytes, limit: int) -> bytes | None:
    """The bytes; None, or as much as one more than `limit`, if there are too many."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        out = unpacker.decompress(data, limit + 1)
    except zlib.error:
        raise _Damage("is damaged") from None
    if len(out) > limit:
        return None
    if not unpacker.eof:
        raise _Damage("is cut off")
    if unpacker.unused_data:
        raise _Damage("must be one member; more bytes follow it")
    return out


def _decompress_zstd(data: bytes, limit: int) -> bytes | None:
    """As `_decompress_gzip`."""
    decompressor = _zstd().decompressor
    import zstandard

    try:
        claimed = zstandard.get_frame_parameters(data).content_size
        if claimed != zstandard.CONTENTSIZE_UNKNOWN and claimed > limit:
            return None
        return decompressor.decompress(data, max_output_size=limit + 1, allow_extra_data=False)
    except zstandard.ZstdError:
        # zstd itself does not tell these apart.
        raise _Damage(f"is damaged, cut off, followed by more bytes, or unfolds to more than {limit} bytes") from None
