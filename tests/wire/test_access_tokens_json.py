"""Access tokens as JSON (store API, sections 8.1 and 8.2)."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.errors import BadRequest
from perdure.model.access_tokens import (
    AccessTokenInfo,
    AccessTokenScope,
    ExactMatch,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    without_nothing,
)
from perdure.model.resources import Page
from perdure.wire.access_tokens_json import (
    decode_access_tokens,
    decode_issue_request,
    decode_secret,
    encode_access_tokens,
    encode_issue_request,
    encode_secret,
)
from tests.model.strategies import token_infos, token_scopes

texts = st.text(max_size=5)
infos = token_infos(st.text(min_size=1, max_size=5).filter(lambda i: i not in (".", "..")), token_scopes(*[texts] * 3))


def request(**fields: object) -> bytes:
    return json.dumps({"id": "t", "scope": {}, **fields}).encode()


def scope(**fields: object) -> AccessTokenScope:
    return decode_issue_request(request(scope=fields)).scope


def normalised(info: AccessTokenInfo) -> AccessTokenInfo:
    own = info.scope
    return replace(
        info,
        scope=replace(
            own,
            basins=without_nothing(own.basins),
            streams=without_nothing(own.streams),
            access_tokens=without_nothing(own.access_tokens),
        ),
    )


class TestRequests:
    def test_what_is_absent_or_null_permits_nothing(self) -> None:
        nothing = AccessTokenInfo("t", AccessTokenScope())
        assert decode_issue_request(request()) == nothing
        assert decode_issue_request(request(expires_at=None, auto_prefix_streams=None)) == nothing
        assert scope(basins=None, streams=None, access_tokens=None, op_groups=None, ops=None) == nothing.scope
        assert scope(op_groups={}, ops=[]) == nothing.scope
        assert scope(op_groups={"account": None, "basin": {}, "stream": {"read": None, "write": None}}) == nothing.scope

    def test_everything_given_is_read(self) -> None:
        found = decode_issue_request(
            request(
                id="ü/1",
                scope={
                    "basins": {"exact": "basin-one"},
                    "streams": {"prefix": "a/"},
                    "access_tokens": {"prefix": ""},
                    "op_groups": {
                        "account": {"read": True},
                        "basin": {"write": True},
                        "stream": {"read": True, "write": True},
                    },
                    "ops": ["append", "list-basins"],
                },
                expires_at="2030-01-02T03:04:05.678+02:00",
                auto_prefix_streams=True,
            )
        )
        assert found == AccessTokenInfo(
            "ü/1",
            AccessTokenScope(
                ExactMatch("basin-one"),
                PrefixMatch("a/"),
                PrefixMatch(""),
                OperationGroupPermissions(
                    Permission(read=True),
                    Permission(write=True),
                    Permission(read=True, write=True),
                ),
                (Operation.APPEND, Operation.LIST_BASINS),
            ),
            datetime(2030, 1, 2, 1, 4, 5, 678_000, tzinfo=UTC),
            True,
        )

    def test_unknown_fields_are_ignored(self) -> None:
        data = request(scope={"basins": {"exact": "x", "more": 1}, "planets": {}, "op_groups": {"galaxy": 1}}, more=[])
        assert decode_issue_request(data).scope == AccessTokenScope(ExactMatch("x"))

    @pytest.mark.parametrize("offset", [0, 60, -330, 14 * 60])
    def test_an_expiry_may_have_any_offset(self, offset: int) -> None:
        time = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(minutes=offset)))
        assert decode_issue_request(request(expires_at=time.isoformat())).expires_at == time

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"[]",
            b"{",
            b"\xff",
            b'{"id": "t"}',
            b'{"scope": {}}',
            request(id=""),
            request(id="x" * 97),
            request(id="é" * 49),
            request(id="."),
            request(id=None),
            request(id=7),
            request(scope=None),
            request(scope=[]),
            request(auto_prefix_streams="yes"),
            request(expires_at="2030-01-01T00:00:00"),
            request(expires_at="2030-01-01"),
            request(expires_at="tomorrow"),
            request(expires_at=1_900_000_000),
            request(scope={"ops": ["append", "fly"]}),
            request(scope={"ops": ["Append"]}),
            request(scope={"ops": [None]}),
            request(scope={"ops": "append"}),
            request(scope={"op_groups": {"account": True}}),
            request(scope={"op_groups": {"account": {"read": 1}}}),
            request(scope={"basins": {}}),
            request(scope={"basins": "x"}),
            request(scope={"basins": {"exact": None}}),
            request(scope={"basins": {"exact": "x", "prefix": "x"}}),
            request(scope={"streams": {"suffix": "x"}}),
            request(scope={"access_tokens": {"prefix": ["x"]}}),
            b'{"id": "t", "scope": ' + b'{"basins":' * 5000,
        ],
    )
    def test_what_is_wrong_is_bad_json(self, data: bytes) -> None:
        with pytest.raises(BadRequest) as caught:
            decode_issue_request(data)
        assert caught.value.code == "bad_json"

    @given(
        data=st.binary(max_size=40)
        | st.builds(
            lambda s: json.dumps(s).encode(),
            st.recursive(
                st.none() | texts,
                lambda c: (
                    st.lists(c)
                    | st.dictionaries(st.sampled_from(["id", "scope", "basins", "exact", "ops", "op_groups"]), c)
                ),
            ),
        )
    )
    def test_arbitrary_input_is_refused_or_read(self, data: bytes) -> None:
        try:
            decode_issue_request(data)
        except BadRequest:
            return

    @given(info=infos)
    def test_a_request_survives_the_way(self, info: AccessTokenInfo) -> None:
        assert decode_issue_request(encode_issue_request(info)) == normalised(info)


class TestAnswers:
    def test_everything_is_written_out(self) -> None:
        page = Page((AccessTokenInfo("t", AccessTokenScope(basins=ExactMatch(""), streams=PrefixMatch(""))),), False)
        assert json.loads(encode_access_tokens(page)) == {
            "access_tokens": [
                {
                    "id": "t",
                    "scope": {
                        "basins": None,
                        "streams": {"prefix": ""},
                        "access_tokens": None,
                        "op_groups": {
                            "account": {"read": False, "write": False},
                            "basin": {"read": False, "write": False},
                            "stream": {"read": False, "write": False},
                        },
                        "ops": [],
                    },
                    "expires_at": None,
                    "auto_prefix_streams": False,
                }
            ],
            "has_more": False,
        }

    def test_the_operations_and_the_expiry_are_told(self) -> None:
        info = AccessTokenInfo(
            "t",
            AccessTokenScope(ExactMatch("basin-one"), ops=(Operation.TRIM, Operation.APPEND)),
            datetime(2030, 1, 1, tzinfo=UTC),
            True,
        )
        (told,) = json.loads(encode_access_tokens(Page((info,), True)))["access_tokens"]
        assert told["scope"]["ops"] == ["trim", "append"]
        assert told["scope"]["basins"] == {"exact": "basin-one"}
        assert told["expires_at"] == "2030-01-01T00:00:00Z"
        assert told["auto_prefix_streams"] is True

    def test_a_reader_passes_over_operations_that_it_does_not_know(self) -> None:
        data = b'{"access_tokens": [{"id": "t", "scope": {"ops": ["read", "fly"]}}], "has_more": true}'
        assert decode_access_tokens(data) == Page(
            (AccessTokenInfo("t", AccessTokenScope(ops=(Operation.READ,))),), True
        )

    @given(items=st.lists(infos, max_size=3).map(tuple), has_more=st.booleans())
    def test_a_page_survives_the_way(self, items: tuple[AccessTokenInfo, ...], has_more: bool) -> None:
        found = decode_access_tokens(encode_access_tokens(Page(items, has_more)))
        assert found == Page(tuple(normalised(info) for info in items), has_more)

    def test_the_secret_is_told(self) -> None:
        assert json.loads(encode_secret("perdure_x")) == {"access_token": "perdure_x"}
        assert decode_secret(encode_secret("perdure_x")) == "perdure_x"
        with pytest.raises(BadRequest):
            decode_secret(b"{}")
