"""The two ciphers that seal records, by libraries that only those who seal must have installed.

Both are authenticated encryption with associated data: what was changed in either is not opened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from .._extras import missing
from ..errors import DecryptionFailed, UsageError
from ..model.configs import Cipher
from ..model.encryption import KEY_BYTES


class Aead(Protocol):
    """One cipher with one key. A nonce must never seal twice under the same key."""

    nonce_bytes: ClassVar[int]
    tag_bytes: ClassVar[int]
    """By how much a sealed text is longer than what it seals."""

    def seal(self, nonce: bytes, plain: bytes, associated: bytes) -> bytes: ...

    def open(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        """What was sealed. Raises `DecryptionFailed`: another key, nonce or associated data, or damage."""
        ...


class Aes256Gcm:
    """AES-256-GCM by the package `cryptography`. Its nonce is short, which bounds a stream (section 1.7)."""

    nonce_bytes: ClassVar[int] = 12
    tag_bytes: ClassVar[int] = 16

    def __init__(self, key: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aead: Final = AESGCM(key)
        self._failure: Final = InvalidTag

    def seal(self, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        return self._aead.encrypt(nonce, plain, associated)

    def open(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        try:
            return self._aead.decrypt(nonce, sealed, associated)
        except self._failure:
            raise _failed() from None


class Aegis256:
    """AEGIS-256 with its long tag, by libsodium in the package `pynacl`."""

    nonce_bytes: ClassVar[int] = 32
    tag_bytes: ClassVar[int] = 32

    def __init__(self, key: bytes) -> None:
        from nacl.bindings import crypto_aead_aegis256_decrypt, crypto_aead_aegis256_encrypt
        from nacl.exceptions import CryptoError

        self._key: Final = key
        self._encrypt: Final = crypto_aead_aegis256_encrypt
        self._decrypt: Final = crypto_aead_aegis256_decrypt
        self._failure: Final = CryptoError

    def seal(self, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        return self._encrypt(plain, associated, nonce, self._key)

    def open(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        try:
            return self._decrypt(sealed, associated, nonce, self._key)
        except self._failure:
            raise _failed() from None


AEADS: Final[dict[Cipher, Callable[[bytes], Aead]]] = {Cipher.AEGIS_256: Aegis256, Cipher.AES_256_GCM: Aes256Gcm}


def _failed() -> DecryptionFailed:
    return DecryptionFailed("record decryption failed")


def load(cipher: Cipher) -> None:
    """Import the library of `cipher`, which reads files. Raises `UsageError` if it is not installed."""
    try:
        AEADS[cipher](bytes(KEY_BYTES))
    except ImportError as exc:
        package = f"a package that is not there, or too old ({exc})"
        raise UsageError(missing(f"the cipher '{cipher.value}'", package, "encryption")) from exc
