"""The key with which a client has its records sealed (store API, section 7).

A key is a secret: it shows in no `repr`, message or log, and cannot be pickled.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final, NoReturn

from ..errors import BadRequest, Invalid
from .configs import Cipher

KEY_BYTES: Final = 32
"""What both ciphers take."""

MAX_KEY_CHARS: Final = 44
"""The longest text that can be a key: `KEY_BYTES` in base64, with padding."""


class EncryptionKey:
    """One key: 32 bytes, which travel as standard base64.

    `EncryptionKey.of` is for callers and takes nothing that could not be a key. `EncryptionKey.parse` is for
    servers: what it takes may turn out to be no key at all, which only matters to a stream with a cipher.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    @classmethod
    def of(cls, key: bytes | str | EncryptionKey) -> EncryptionKey:
        """The key of these 32 bytes, or of this text, which is their standard base64. Raises `Invalid`."""
        if isinstance(key, EncryptionKey):
            return key
        if isinstance(key, str):
            text = key.strip()
            raw = _decoded(text)
            if raw is None:
                raise Invalid("an encryption key given as text must be standard base64 with padding, of 32 bytes")
        elif isinstance(key, (bytes, bytearray, memoryview)):
            raw = bytes(key)
            text = base64.b64encode(raw).decode()
        else:
            raise Invalid(f"an encryption key must be 32 bytes or their base64, got {type(key).__name__}")
        if len(raw) != KEY_BYTES:
            raise Invalid(f"an encryption key must have {KEY_BYTES} bytes, got {len(raw)}")
        return cls(text)

    @classmethod
    def parse(cls, text: str) -> EncryptionKey:
        """The key in the header `s2-encryption-key`, looked at only as far as a plain stream needs it.

        Raises `BadRequest` (`bad_header`) for a text that is too long or empty, whatever the stream is.
        """
        trimmed = text.strip()
        if not 1 <= len(trimmed) <= MAX_KEY_CHARS:
            raise BadRequest(
                "Invalid header `s2-encryption-key`: invalid encryption key: "
                f"key material length {len(trimmed)} is out of range",
                "bad_header",
            )
        return cls(trimmed)

    @property
    def header_value(self) -> str:
        """The key as it travels in a header: the secret itself."""
        return self._text

    def secret(self, cipher: Cipher) -> bytes:
        """The 32 bytes, for a stream with this cipher. Raises `BadRequest` (`bad_header`) if they are none."""
        raw = _decoded(self._text)
        if raw is None:
            raise BadRequest(f"invalid encryption key for stream cipher '{cipher.value}': invalid base64", "bad_header")
        if len(raw) != KEY_BYTES:
            raise BadRequest(
                f"invalid encryption key length for stream cipher '{cipher.value}': {len(raw)}", "bad_header"
            )
        return raw

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EncryptionKey):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "<EncryptionKey>"

    def __copy__(self) -> EncryptionKey:
        return self

    def __deepcopy__(self, memo: object) -> EncryptionKey:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("an EncryptionKey cannot be pickled: a secret should not reach a file or a queue by chance")


def _decoded(text: str) -> bytes | None:
    """What `text` stands for as standard base64 with padding; None if it is not that, bit for bit."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Python lets stray bits in the last character pass, which would make two texts of one key.
    return raw if base64.b64encode(raw).decode() == text else None
