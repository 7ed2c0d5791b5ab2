"""The issued tokens that are in use in this process: what each permits, and whether it still holds.

A token is looked up by the hash of its secret and remembered for `CONFIRMED_SECS`, so a revocation by another process
takes effect within that time; one by this process takes effect at once. An expiry is looked at on every use. While
tokens cannot be looked up, those in use are believed for `BELIEVED_SECS`, and what uses them does not wait: a store
that is lost may take long to say so.

What outlives its request (an append session, a read session, a read that waits) is attached to its grant. For as long
as there are any, the grant is confirmed again and again, so that they end when the token does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from ..errors import AuthenticationFailed, PerdureError, StoreFailure, Unavailable
from ..model.access_tokens import AccessTokenInfo, ExactMatch, Operation, ResourceSet
from .served_store import WholeStore

logger: Final = logging.getLogger("perdure.server")

CONFIRMED_SECS: Final = 1.0
"""For how long a token is believed to be in force after it was looked up."""

BELIEVED_SECS: Final = 600.0
"""For how long if it cannot be looked up: a store over several locations goes on without the one of the tokens."""

ANSWER_SECS: Final = 2.0
"""How long the look-up of a token that is believed may take until it counts as failed."""

ASKED_AGAIN_SECS: Final = 5.0
"""After a look-up that failed, believed tokens are not looked up for so long; then by one request at a time."""

REMEMBERED_GRANTS: Final = 4096
"""How many tokens are remembered; the one that was not used for longest goes first."""

_NOTHING: Final = ExactMatch("")


class Grant:
    """A token in use."""

    __slots__ = (
        "__weakref__",
        "_now",
        "_on_attach",
        "attached",
        "basins",
        "confirmed_at",
        "doubtful",
        "expires_at",
        "info",
        "operations",
        "revoked",
        "stream_prefix",
        "streams",
        "tokens",
    )

    def __init__(
        self,
        info: AccessTokenInfo,
        *,
        now: Callable[[], float] = time.time,
        on_attach: Callable[[Grant], None] = lambda _: None,
    ) -> None:
        self.info: AccessTokenInfo = info
        self.operations: frozenset[Operation] = info.scope.operations
        self.basins: ResourceSet = info.scope.basins or _NOTHING
        self.streams: ResourceSet = info.scope.streams or _NOTHING
        self.tokens: ResourceSet = info.scope.access_tokens or _NOTHING
        self.stream_prefix: str = info.stream_prefix
        self.expires_at: float | None = None if info.expires_at is None else info.expires_at.timestamp()
        """Seconds since the epoch."""
        self.revoked: bool = False
        self.doubtful: bool = False
        """Whether it could not be confirmed for longer than it is believed."""
        self.confirmed_at: float = 0.0
        """When the token was last looked up, on the clock of `Grants`."""
        self.attached: WeakSet[object] = WeakSet()
        """What outlives its request with this token."""
        self._now = now
        self._on_attach = on_attach

    def check(self) -> None:
        """Raise `AuthenticationFailed` if the token is not in force any more, `Unavailable` if nobody can tell."""
        if self.revoked:
            raise AuthenticationFailed("the access token was revoked")
        if self.doubtful:
            raise Unavailable("the access token cannot be confirmed: the store of tokens has been away for too long")
        if self.expires_at is not None and self.expires_at <= self._now():
            raise AuthenticationFailed("the access token has expired")

    def confirm(self, at: float) -> None:
        """It was in force at this time."""
        self.confirmed_at, self.doubtful = at, False

    def attach(self, user: object) -> None:
        """Confirm the token for as long as `user` lives, which looks at it by `check`."""
        self.attached.add(user)
        self._on_attach(self)


class Grants:
    """Finds tokens by the hashes of their secrets. `aclose` ends its task."""

    def __init__(
        self,
        store: WholeStore,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        remembered: int = REMEMBERED_GRANTS,
    ) -> None:
        self._store = store
        self._now = now
        self._monotonic = monotonic
        self._bound = remembered
        self._known: OrderedDict[bytes, Grant] = OrderedDict()
        self._used_long: dict[bytes, Grant] = {}
        self._revocations = 0
        self._lost = False
        """Whether the last look-up failed."""
        self._asked_again_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def find(self, secret_hash: bytes) -> Grant | None:
        """The grant of the token with this hash, in force a moment ago; None if there is no such token."""
        grant = self._known.get(secret_hash)
        before = self._monotonic()
        if grant is not None and before - grant.confirmed_at < CONFIRMED_SECS:
            self._known.move_to_end(secret_hash)
            return grant
        revocations = self._revocations
        if grant is not None and before - grant.confirmed_at < BELIEVED_SECS:
            if self._lost and before < self._asked_again_at:
                return grant
            self._asked_again_at = before + ASKED_AGAIN_SECS
            try:
                async with asyncio.timeout(ANSWER_SECS):
                    found = await self._store.find_access_tokens([secret_hash])
            except (StoreFailure, TimeoutError):
                self._lost = True
                return grant
        else:
            found = await self._store.find_access_tokens([secret_hash])
        self._lost = False
        info = found.get(secret_hash)
        if info is None:
            self._lose(secret_hash)
            return None
        grant = self._known.get(secret_hash) or self._used_long.get(secret_hash)
        if grant is None:
            grant = Grant(info, now=self._now, on_attach=lambda grant: self._watch(secret_hash, grant))
        if revocations == self._revocations:  # otherwise it may just have been revoked: look again next time
            grant.confirm(before)
            self._known[secret_hash] = grant
            self._known.move_to_end(secret_hash)
            if len(self._known) > self._bound:
                self._known.popitem(last=False)
        return grant

    def revoked(self, token_id: str) -> None:
        """The token with this id was revoked by this process."""
        self._revocations += 1
        for secret_hash, grant in [*self._known.items(), *self._used_long.items()]:
            if grant.info.id == token_id:
                self._lose(secret_hash)

    async def aclose(self) -> None:
        """Stop confirming. Idempotent; sessions that are still open end at their own pace."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def _lose(self, secret_hash: bytes) -> None:
        for grants in (self._known, self._used_long):
            grant = grants.pop(secret_hash, None)
            if grant is not None:
                grant.revoked = True

    def _watch(self, secret_hash: bytes, grant: Grant) -> None:
        self._used_long[secret_hash] = grant
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._confirm(), name="perdure-tokens")

    async def _confirm(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(CONFIRMED_SECS)
            self._used_long = {key: grant for key, grant in self._used_long.items() if grant.attached}
            wanted = list(self._used_long)
            if not wanted:
                break
            before = self._monotonic()
            try:
                found = await self._store.find_access_tokens(wanted)
            except PerdureError as exc:
                if not failing:
                    logger.warning("tokens in use cannot be confirmed, and are believed for a while: %s", exc)
                failing = True
                for used in self._used_long.values():
                    used.doubtful = self._monotonic() - used.confirmed_at >= BELIEVED_SECS
                continue
            failing = False
            for secret_hash in wanted:
                if secret_hash not in found:
                    self._lose(secret_hash)
                elif (grant := self._used_long.get(secret_hash)) is not None:
                    grant.confirm(before)
