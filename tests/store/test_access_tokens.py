"""Who may issue which tokens (store API, sections 8.2 and 8.3)."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.errors import AccessTokenNotFound, Invalid, PerdureError, PermissionDenied, ResourceExists
from perdure.model.access_tokens import (
    EVERYTHING,
    AccessTokenInfo,
    AccessTokenScope,
    ExactMatch,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    ResourceSet,
    is_subset,
)
from perdure.store.access_tokens import (
    SECRET_PREFIX,
    AccessTokenEntry,
    hash_secret,
    is_forgettable,
    issue,
    new_secret,
    revoke,
)
from tests.model.strategies import token_infos, token_scopes

NOW = datetime(2025, 5, 1, 10, 0, tzinfo=UTC)
HASH = hash_secret(b"secret")
READ = AccessTokenScope(ops=(Operation.READ,))
READER = AccessTokenInfo("reader", READ)

names = st.text("ab", max_size=2)
infos = token_infos(st.text("ab", min_size=1, max_size=2), token_scopes(names, names, names))


def issued(wanted: AccessTokenInfo, issuer: AccessTokenInfo | None = None) -> AccessTokenInfo:
    return issue(None, wanted, issuer, HASH, NOW).info


class TestIssuing:
    def test_the_root_issues_what_is_asked_for(self) -> None:
        assert issue(None, READER, None, HASH, NOW) == AccessTokenEntry(READER, HASH)

    def test_an_id_in_use_is_taken(self) -> None:
        entry = AccessTokenEntry(READER, HASH)
        with pytest.raises(ResourceExists, match="access token `reader` already exists"):
            issue(entry, READER, None, HASH, NOW)

    def test_the_id_of_an_expired_token_is_free(self) -> None:
        entry = AccessTokenEntry(replace(READER, expires_at=NOW), b"old")
        assert issue(entry, READER, None, HASH, NOW) == AccessTokenEntry(READER, HASH)
        with pytest.raises(ResourceExists):
            issue(entry, READER, None, HASH, NOW - timedelta(seconds=1))

    def test_a_token_permits_something(self) -> None:
        with pytest.raises(Invalid, match=r"^Access token permissions cannot be empty$"):
            issued(AccessTokenInfo("t", AccessTokenScope(basins=EVERYTHING)))
        groups = AccessTokenScope(op_groups=OperationGroupPermissions(stream=Permission(read=True)))
        assert issued(AccessTokenInfo("t", groups)).scope == groups

    @pytest.mark.parametrize("streams", [None, ExactMatch("a"), ExactMatch("")])
    def test_auto_prefix_wants_a_prefix(self, streams: ResourceSet | None) -> None:
        wanted = AccessTokenInfo("t", replace(READ, streams=streams), auto_prefix_streams=True)
        with pytest.raises(Invalid, match=r"^Auto prefixing is only allowed for streams with prefix matching$"):
            issued(wanted)
        assert issued(replace(wanted, scope=replace(READ, streams=PrefixMatch("a/")))).stream_prefix == "a/"

    @pytest.mark.parametrize("token_id", ["", "x" * 97, ".", ".."])
    def test_the_id_keeps_the_rules(self, token_id: str) -> None:
        with pytest.raises(Invalid, match="access token id"):
            issued(AccessTokenInfo(token_id, READ))

    @pytest.mark.parametrize(
        "scope",
        [
            replace(READ, basins=PrefixMatch("UPPER")),
            replace(READ, basins=ExactMatch("under_score")),
            replace(READ, streams=PrefixMatch("x" * 513)),
            replace(READ, access_tokens=ExactMatch("x" * 97)),
        ],
    )
    def test_sets_of_what_cannot_exist_are_refused(self, scope: AccessTokenScope) -> None:
        with pytest.raises(Invalid, match="the scope's"):
            issued(AccessTokenInfo("t", scope))

    def test_nothing_and_repetitions_are_written_in_one_way(self) -> None:
        scope = AccessTokenScope(
            ExactMatch(""), ExactMatch(""), ExactMatch(""), ops=(Operation.READ, Operation.APPEND, Operation.READ)
        )
        assert issued(AccessTokenInfo("t", scope)).scope == AccessTokenScope(ops=(Operation.READ, Operation.APPEND))

    def test_the_expiry_is_kept_in_utc(self) -> None:
        offset = timezone(timedelta(hours=-5))
        wanted = replace(READER, expires_at=datetime(2025, 5, 1, 7, 0, tzinfo=offset))
        kept = issued(wanted).expires_at
        assert kept is not None
        assert kept.isoformat() == "2025-05-01T12:00:00+00:00"

    @pytest.mark.parametrize(("year", "hours"), [(1, 5), (9999, -5)])
    def test_an_expiry_outside_the_calendar_is_refused(self, year: int, hours: int) -> None:
        at_the_edge = datetime.min if year == 1 else datetime.max
        wanted = replace(READER, expires_at=at_the_edge.replace(tzinfo=timezone(timedelta(hours=hours))))
        with pytest.raises(Invalid, match="expires_at"):
            issued(wanted)

    def test_a_token_may_be_issued_expired(self) -> None:
        assert issued(replace(READER, expires_at=NOW - timedelta(days=9))).has_expired(NOW)


class TestEscalation:
    ISSUER = AccessTokenInfo(
        "issuer",
        AccessTokenScope(
            PrefixMatch("basin-"),
            PrefixMatch("a/"),
            ExactMatch("t"),
            OperationGroupPermissions(stream=Permission(read=True)),
            (Operation.APPEND, Operation.ISSUE_ACCESS_TOKEN),
        ),
        expires_at=NOW + timedelta(days=1),
    )

    def test_a_part_of_the_issuers_rights_may_be_passed_on(self) -> None:
        scope = AccessTokenScope(ExactMatch("basin-1"), PrefixMatch("a/b/"), ops=(Operation.READ, Operation.APPEND))
        assert issued(AccessTokenInfo("t", scope), self.ISSUER).scope == scope
        assert issued(replace(self.ISSUER, id="t"), self.ISSUER).scope == self.ISSUER.scope

    @pytest.mark.parametrize(
        "scope",
        [
            AccessTokenScope(ops=(Operation.READ, Operation.FENCE)),
            AccessTokenScope(op_groups=OperationGroupPermissions(stream=Permission(write=True))),
            AccessTokenScope(ops=(Operation.LIST_BASINS,)),
        ],
    )
    def test_an_operation_that_the_issuer_lacks_is_refused(self, scope: AccessTokenScope) -> None:
        with pytest.raises(PermissionDenied, match=r"does not permit: (fence|trim, fence|list-basins)"):
            issued(AccessTokenInfo("t", scope), self.ISSUER)

    @pytest.mark.parametrize(
        "change",
        [
            {"basins": EVERYTHING},
            {"basins": PrefixMatch("basin")},
            {"basins": ExactMatch("basin")},
            {"streams": PrefixMatch("a")},
            {"streams": EVERYTHING},
            {"access_tokens": PrefixMatch("t")},
            {"access_tokens": ExactMatch("u")},
        ],
    )
    def test_a_set_beyond_the_issuers_is_refused(self, change: dict[str, ResourceSet]) -> None:
        (what,) = change
        with pytest.raises(PermissionDenied, match=f"`{what}` go beyond"):
            issued(AccessTokenInfo("t", replace(READ, **change)), self.ISSUER)

    def test_the_issuers_expiry_is_the_default_and_the_latest(self) -> None:
        latest = self.ISSUER.expires_at
        assert latest is not None
        assert issued(READER, self.ISSUER).expires_at == latest
        assert issued(replace(READER, expires_at=NOW), self.ISSUER).expires_at == NOW
        assert issued(replace(READER, expires_at=latest), self.ISSUER).expires_at == latest
        with pytest.raises(PermissionDenied, match="expires_at"):
            issued(replace(READER, expires_at=latest + timedelta(microseconds=1)), self.ISSUER)

    @given(wanted=infos, issuer=infos)
    def test_nobody_passes_on_more_than_they_have(self, wanted: AccessTokenInfo, issuer: AccessTokenInfo) -> None:
        try:
            token = issued(wanted, issuer)
        except PerdureError:
            return
        assert token.scope.operations <= issuer.scope.operations
        assert is_subset(token.scope.basins, issuer.scope.basins)
        assert is_subset(token.scope.streams, issuer.scope.streams)
        assert is_subset(token.scope.access_tokens, issuer.scope.access_tokens)
        if issuer.expires_at is not None:
            assert token.expires_at is not None
            assert token.expires_at <= issuer.expires_at

    @given(wanted=infos)
    def test_what_is_issued_could_issue_the_same_again(self, wanted: AccessTokenInfo) -> None:
        try:
            token = issued(wanted)
        except Invalid:
            assume(False)
        assert issued(token, token) == token


class TestRevoking:
    def test_nothing_is_left(self) -> None:
        assert revoke(AccessTokenEntry(READER, HASH), "reader") is None  # type: ignore[func-returns-value]  # that is it

    def test_an_unknown_token_is_not_found(self) -> None:
        with pytest.raises(AccessTokenNotFound, match="access token `x` not found"):
            revoke(None, "x")


class TestSecrets:
    def test_secrets_are_long_and_all_different(self) -> None:
        secrets = {new_secret() for _ in range(100)}
        assert len(secrets) == 100
        for secret in secrets:
            assert secret.startswith(SECRET_PREFIX)
            assert len(secret) - len(SECRET_PREFIX) == 43  # 256 bits in base64
            assert secret.isascii()

    def test_a_hash_does_not_hold_the_secret(self) -> None:
        assert len(HASH) == 32
        assert b"secret" not in HASH
        assert hash_secret(b"secret") == HASH != hash_secret(b"Secret")


def test_a_token_is_forgettable_a_day_after_it_expired() -> None:
    assert not is_forgettable(READER, NOW)
    token = replace(READER, expires_at=NOW)
    assert not is_forgettable(token, NOW + timedelta(days=1, microseconds=-1))
    assert is_forgettable(token, NOW + timedelta(days=1))
    assert not is_forgettable(replace(READER, expires_at=datetime.max.replace(tzinfo=UTC)), NOW)
