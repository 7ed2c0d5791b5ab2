"""Who sent a request: from its `authorization` header to the store as they may use it (store API, section 2.5).

Without a root token there is no access control: everybody may do everything, and the header is not even looked at.
With one, the root may do everything too, and the holder of an issued token what that token permits.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from typing import Final

from ..errors import AuthenticationFailed, UsageError
from ..store.access_tokens import hash_secret
from .grants import Grants
from .guarded_store import GuardedStore
from .served_store import ServedStore, WholeStore

_BEARER: Final = re.compile(rb"bearer +([\x21-\x7e]+) *\Z", re.IGNORECASE)
_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]+\Z")


class RootToken:
    """The secret of whoever runs the server. Only its hash is kept, so no log and no error can show it.

    Raises `UsageError` for a text that could not stand in a header: it must be visible ASCII characters.
    """

    __slots__ = ("_hash",)

    def __init__(self, secret: str) -> None:
        if _VISIBLE_ASCII.match(secret) is None:
            raise UsageError("the root token must consist of one or more visible ASCII characters, without spaces")
        self._hash = hash_secret(secret.encode())

    def has_hash(self, secret_hash: bytes) -> bool:
        """Whether this is the hash of the root's secret; takes the same time for every hash."""
        return hmac.compare_digest(self._hash, secret_hash)


class AccessControl:
    """Knows who may use the store. `aclose` it before the store is closed."""

    def __init__(
        self,
        store: WholeStore,
        root: RootToken | None = None,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._root = root
        self._grants = Grants(store, now=now, monotonic=monotonic)

    async def store_for(self, authorization: bytes | None) -> ServedStore:
        """The store as the sender of this header may use it. Raises `AuthenticationFailed`."""
        if self._root is None:
            return self._store
        secret_hash = hash_secret(bearer_token(authorization))
        if self._root.has_hash(secret_hash):
            return self._store
        grant = await self._grants.find(secret_hash)
        if grant is None:
            raise AuthenticationFailed("the access token is unknown or was revoked")
        grant.check()
        return GuardedStore(self._store, grant)

    def revoked(self, token_id: str) -> None:
        """The token was revoked by this process: from now on its secret is worth nothing here."""
        self._grants.revoked(token_id)

    async def aclose(self) -> None:
        """End what runs in the background. Idempotent."""
        await self._grants.aclose()


def bearer_token(authorization: bytes | None) -> bytes:
    """The token in the header. Raises `AuthenticationFailed`, without repeating anything of what it holds."""
    if authorization is None:
        raise AuthenticationFailed("an access token is required: send the header `authorization: Bearer <token>`")
    found = _BEARER.match(authorization)
    if found is None:
        raise AuthenticationFailed("the `authorization` header must be `Bearer <token>`")
    return found[1]
