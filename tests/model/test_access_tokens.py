"""What access tokens permit (store API, section 8.1)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import Invalid
from perdure.model.access_tokens import (
    ACCOUNT_GROUP,
    BASIN_GROUP,
    EVERYTHING,
    STREAM_GROUP,
    AccessTokenInfo,
    AccessTokenScope,
    ExactMatch,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    ResourceSet,
    is_subset,
    with_prefix,
    without_nothing,
)
from tests.model.strategies import resource_sets

short_names = st.text("ab", max_size=3)
NOW = datetime(2025, 5, 1, tzinfo=UTC)


def names_in(names: ResourceSet | None, universe: list[str]) -> set[str]:
    return {name for name in universe if names is not None and name in names}


class TestResourceSets:
    @pytest.mark.parametrize(
        ("names", "inside", "outside"),
        [
            (ExactMatch("abc"), ["abc"], ["", "ab", "abcd", "ABC"]),
            (ExactMatch(""), [], ["", "a"]),
            (PrefixMatch("ab"), ["ab", "abc", "ab/c"], ["", "a", "b", "Ab"]),
            (PrefixMatch(""), ["a", "é", "a/b"], []),
        ],
    )
    def test_what_is_in_a_set(self, names: ResourceSet, inside: list[str], outside: list[str]) -> None:
        assert [name for name in inside if name not in names] == []
        assert [name for name in outside if name in names] == []

    def test_nothing_has_one_form(self) -> None:
        assert without_nothing(ExactMatch("")) is None
        assert without_nothing(None) is None
        assert without_nothing(EVERYTHING) == EVERYTHING
        assert without_nothing(ExactMatch("a")) == ExactMatch("a")

    @given(inner=resource_sets(short_names), outer=resource_sets(short_names))
    def test_a_subset_holds_no_other_names(self, inner: ResourceSet | None, outer: ResourceSet | None) -> None:
        # Longer than every prefix that is drawn, so that a prefix shows all of its names' beginnings.
        universe = [""] + [f"{a}{b}{c}{d}" for a in "ab" for b in "ab" for c in ("", "a", "b") for d in ("", "a", "b")]
        universe += ["a", "b", "c"]
        assert is_subset(inner, outer) == (names_in(inner, universe) <= names_in(outer, universe))

    @given(names=resource_sets(short_names), prefix=short_names)
    def test_a_part_of_a_set_by_prefix(self, names: ResourceSet | None, prefix: str) -> None:
        universe = ["", *(f"{a}{b}{c}{d}" for a in "ab" for b in ("", "a", "b") for c in ("", "a", "b") for d in "ab")]
        universe += ["a", "b", "c"]
        found = names_in(with_prefix(names, prefix), universe)
        assert found == {name for name in names_in(names, universe) if name.startswith(prefix)}

    @given(names=resource_sets(st.text(max_size=5)))
    def test_everything_and_nothing(self, names: ResourceSet | None) -> None:
        assert is_subset(names, EVERYTHING)
        assert is_subset(names, names)
        assert is_subset(None, names)
        assert is_subset(ExactMatch(""), names)
        assert is_subset(names, None) == (without_nothing(names) is None)


class TestOperations:
    def test_there_are_24_and_each_is_in_one_half_of_a_group(self) -> None:
        halves = [half for group in (ACCOUNT_GROUP, BASIN_GROUP, STREAM_GROUP) for half in (group.read, group.write)]
        assert len(Operation) == 24
        assert sorted(operation for half in halves for operation in half) == sorted(Operation)

    def test_what_is_permitted_is_the_union(self) -> None:
        scope = AccessTokenScope(
            op_groups=OperationGroupPermissions(basin=Permission(read=True)),
            ops=(Operation.APPEND, Operation.LIST_STREAMS),
        )
        assert scope.operations == {
            Operation.APPEND,
            Operation.LIST_STREAMS,
            Operation.GET_STREAM_CONFIG,
            Operation.BASIN_METRICS,
        }

    def test_nothing_is_permitted_by_default(self) -> None:
        assert AccessTokenScope().operations == frozenset()

    def test_all_groups_permit_all_operations(self) -> None:
        both = Permission(read=True, write=True)
        assert AccessTokenScope(op_groups=OperationGroupPermissions(both, both, both)).operations == set(Operation)

    def test_a_half_permits_itself_alone(self) -> None:
        write = OperationGroupPermissions(stream=Permission(write=True))
        assert AccessTokenScope(op_groups=write).operations == {Operation.APPEND, Operation.TRIM, Operation.FENCE}

    def test_operations_may_be_given_in_any_sequence(self) -> None:
        scope = AccessTokenScope(ops=[Operation.READ, Operation.APPEND])
        assert scope == AccessTokenScope(ops=(Operation.READ, Operation.APPEND))
        assert hash(scope) == hash(AccessTokenScope(ops=(Operation.READ, Operation.APPEND)))

    def test_what_is_no_operation_is_refused(self) -> None:
        with pytest.raises(Invalid, match=r"\[Operation.READ\]"):
            AccessTokenScope(ops=Operation.READ)  # type: ignore[arg-type]  # a string is a sequence, of letters

    def test_halves_have_names(self) -> None:
        assert Permission(read=True) == Permission.READ
        assert Permission(write=True) == Permission.WRITE
        assert Permission(read=True, write=True) == Permission.READ_WRITE


class TestTokens:
    def test_a_token_is_valid_before_its_expiry(self) -> None:
        token = AccessTokenInfo("t", AccessTokenScope(), expires_at=NOW)
        assert not token.has_expired(NOW - timedelta(microseconds=1))
        assert token.has_expired(NOW)
        assert not AccessTokenInfo("t", AccessTokenScope()).has_expired(NOW)

    @pytest.mark.parametrize(
        ("streams", "auto", "prefix"),
        [
            (PrefixMatch("a/"), True, "a/"),
            (PrefixMatch("a/"), False, ""),
            (PrefixMatch(""), True, ""),
            (ExactMatch("a/"), True, ""),
            (None, True, ""),
        ],
    )
    def test_the_prefix_is_that_of_the_streams(self, streams: ResourceSet | None, auto: bool, prefix: str) -> None:
        token = AccessTokenInfo("t", AccessTokenScope(streams=streams), auto_prefix_streams=auto)
        assert token.stream_prefix == prefix
