"""Access tokens: issuing, listing, revoking (store API, sections 8.1 to 8.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from ..errors import AccessTokenNotFound, Invalid
from ..model.access_tokens import AccessTokenInfo, AccessTokenScope
from ..model.limits import MAX_PAGE_ITEMS
from ..model.names import check_access_token_id, check_access_token_prefix
from ..model.resources import Page
from .listing import check_page, every
from .transport import Transport


class AccessToken(str):
    """The secret of a token: a string like any other, but for its `repr`, which does not show it.

    So it stays out of tracebacks with local variables, `%r` in log lines, and containers that are printed. `print` and
    `str.format` show it, since whoever issues a token has to hand it on.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<AccessToken, hidden>"


class AccessTokens:
    """The access tokens of an account, from `S2.access_tokens`.

    A store that is embedded asks nobody for a token: whoever can open the directory may do everything. What is issued
    there is for clients of a server with access control (`perdure serve` with a root token) on the same directory, and
    is in force without a restart.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def issue(
        self,
        id: str,
        *,
        scope: AccessTokenScope,
        expires_at: datetime | None = None,
        auto_prefix_streams: bool = False,
    ) -> AccessToken:
        """Issue a token, and give its secret. It is shown this once: the store keeps a hash of it.

        ::

            token = await s2.access_tokens.issue(
                "reader-7",
                scope=AccessTokenScope(
                    basins=ExactMatch("my-first-basin"),
                    streams=PrefixMatch("public/"),
                    op_groups=OperationGroupPermissions(stream=Permission.READ),
                ),
                expires_at=datetime.now(UTC) + timedelta(days=7),
            )

        Args:
            id: what the token is called: 1 to 96 bytes, unique in the account. It is no secret.
            scope: the operations that the token permits, and the names that they may be used on; a call needs both.
            expires_at: from when on it is refused, with a time zone. If not given, it is that of this client's own
                token, which is the latest possible, and never for the root.
            auto_prefix_streams: put the prefix of `scope.streams` before each stream name that is used with the token,
                and take it off in answers, so that its holder works in a namespace of its own. `scope.streams` must be
                a `PrefixMatch`.

        Raises:
            ResourceExists: the id is in use.
            Invalid: a scope that permits nothing, a bad name, a time without a zone.
            PermissionDenied: this client's own token may not issue tokens, or permits less than `scope`.
            TransportError: the answer was lost, and with it the secret. Such a call is not retried: if it
                `may_have_applied`, `revoke` the id before you issue it again.
        """
        check_access_token_id(id)
        if not isinstance(scope, AccessTokenScope):
            raise Invalid(f"`scope` must be AccessTokenScope(…), got {scope!r}")
        if expires_at is not None and expires_at.utcoffset() is None:
            raise Invalid("`expires_at` needs a time zone: say datetime.now(UTC) + timedelta(days=7)")
        wanted = AccessTokenInfo(id, scope, expires_at, auto_prefix_streams)
        return AccessToken(await self._transport.issue_access_token(wanted))

    async def revoke(self, id: str, *, ignore_not_found: bool = False) -> None:
        """Make a token worthless: at once, or within a second where a server has several workers.

        What is under way with it ends as well. Raises `AccessTokenNotFound`, unless `ignore_not_found`.
        """
        check_access_token_id(id)
        try:
            await self._transport.revoke_access_token(id)
        except AccessTokenNotFound as exc:
            if not (ignore_not_found or exc.in_doubt):  # in doubt: an attempt whose answer was lost has revoked it
                raise

    async def list(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Page[AccessTokenInfo]:
        """One page of the tokens whose ids start with `prefix` and sort after `start_after`, in order of their ids.

        Secrets are in none of them. `limit` is the most that the page may hold; 0, and more than 1000, mean 1000.
        `list_all` goes through all pages. Raises `Invalid`.
        """
        check_page(check_access_token_prefix, prefix, start_after, limit)
        return await self._transport.list_access_tokens(prefix=prefix, start_after=start_after, limit=limit)

    def list_all(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> AsyncIterator[AccessTokenInfo]:
        """All tokens whose ids start with `prefix` and sort after `start_after`, in order of their ids.

        ::

            async for token in s2.access_tokens.list_all(prefix="reader-"):
                print(token.id, token.expires_at)

        Each page of up to `limit` is fetched when the loop gets there. The loop raises what `list` does.
        """

        async def page(after: str) -> Page[AccessTokenInfo]:
            return await self.list(prefix=prefix, start_after=after, limit=limit)

        return every(page, start_after, lambda info: info.id)
