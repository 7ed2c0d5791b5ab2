"""Tokens as users issue, use and revoke them (store API, sections 8.1 to 8.3)."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import h2.config
import h2.connection
import h2.events
import pytest

from perdure import (
    S2,
    AccessToken,
    AccessTokenInfo,
    AccessTokenNotFound,
    AccessTokenScope,
    AppendRecord,
    AuthenticationFailed,
    Basin,
    ExactMatch,
    Invalid,
    NotFound,
    Operation,
    OperationGroupPermissions,
    Permission,
    PermissionDenied,
    PrefixMatch,
    ResourceExists,
    SeqNum,
    TransportError,
)
from perdure.client.retries import RetryPolicy
from perdure.client.transports.http_requests import Answer, Call
from perdure.client.transports.local import LocalTransport
from tests.client.http_server import HOST, serving_engine
from tests.patience import PATIENCE_SECONDS
from tests.store.making import eventually
from tests.store.stores import Kind, Store, opened

ROOT = "root-" + "0" * 40
EVERYTHING = PrefixMatch("")
READER = AccessTokenScope(
    basins=ExactMatch("client-basin"),
    streams=PrefixMatch("public/"),
    op_groups=OperationGroupPermissions(stream=Permission.READ),
)


def tomorrow() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


class TestIssuing:
    async def test_what_was_issued_is_listed_as_it_was_asked_for(self, s2: S2) -> None:
        expires_at = tomorrow()
        scope = AccessTokenScope(
            PrefixMatch("app-"),
            PrefixMatch("user-7/"),
            ExactMatch("t"),
            OperationGroupPermissions(Permission.READ, Permission.WRITE, Permission.READ_WRITE),
            [Operation.CREATE_STREAM, Operation.READ],
        )
        secret = await s2.access_tokens.issue("a/ä", scope=scope, expires_at=expires_at, auto_prefix_streams=True)
        assert secret.startswith("perdure_")
        await s2.access_tokens.issue("b", scope=READER)
        page = await s2.access_tokens.list()
        assert page.items == (AccessTokenInfo("a/ä", scope, expires_at, True), AccessTokenInfo("b", READER))
        assert not page.has_more

    async def test_an_expiry_may_have_any_offset(self, s2: S2) -> None:
        zone = datetime.fromisoformat("2099-05-01T10:00:00+05:30")
        await s2.access_tokens.issue("t", scope=READER, expires_at=zone)
        (found,) = (await s2.access_tokens.list()).items
        assert found.expires_at == zone

    async def test_lists_are_like_all_others(self, s2: S2) -> None:
        names = [f"t{number}" for number in range(5)]
        for name in names:
            await s2.access_tokens.issue(name, scope=READER)
        page = await s2.access_tokens.list(limit=2, start_after="t0")
        assert ([info.id for info in page.items], page.has_more) == (["t1", "t2"], True)
        for limit in (1, 2, 1000, 0):
            assert [info.id async for info in s2.access_tokens.list_all(prefix="t", limit=limit)] == names
        assert [info.id async for info in s2.access_tokens.list_all(prefix="t3")] == ["t3"]
        assert [info async for info in s2.access_tokens.list_all(start_after="t4")] == []

    async def test_an_id_in_use(self, s2: S2) -> None:
        await s2.access_tokens.issue("t", scope=READER)
        with pytest.raises(ResourceExists, match="`t` already exists"):
            await s2.access_tokens.issue("t", scope=READER)

    async def test_revoking(self, s2: S2) -> None:
        await s2.access_tokens.issue("a/b", scope=READER)
        await s2.access_tokens.revoke("a/b")
        assert (await s2.access_tokens.list()).items == ()
        with pytest.raises(AccessTokenNotFound, match="`a/b` not found"):
            await s2.access_tokens.revoke("a/b")
        await s2.access_tokens.revoke("a/b", ignore_not_found=True)

    @pytest.mark.parametrize(
        ("scope", "auto_prefix", "message"),
        [
            (AccessTokenScope(EVERYTHING, EVERYTHING), False, "permissions cannot be empty"),
            (AccessTokenScope(EVERYTHING, ExactMatch("s"), ops=[Operation.READ]), True, "prefix matching"),
            (AccessTokenScope(PrefixMatch("NO"), ops=[Operation.LIST_BASINS]), False, "`basins`"),
        ],
    )
    async def test_a_scope_that_makes_no_sense(
        self, s2: S2, scope: AccessTokenScope, auto_prefix: bool, message: str
    ) -> None:
        with pytest.raises(Invalid, match=message):
            await s2.access_tokens.issue("t", scope=scope, auto_prefix_streams=auto_prefix)

    async def test_mistakes_are_told_before_anything_is_sent(self) -> None:
        tokens = S2.open(":memory:").access_tokens  # not open: sending would be a UsageError
        for name in ("", ".", "x" * 97):
            with pytest.raises(Invalid, match="access token id"):
                await tokens.issue(name, scope=READER)
            with pytest.raises(Invalid, match="access token id"):
                await tokens.revoke(name)
        with pytest.raises(Invalid, match="time zone"):
            await tokens.issue("t", scope=READER, expires_at=datetime(2099, 1, 1))
        with pytest.raises(Invalid, match="prefix"):
            await tokens.list(prefix="x" * 97)
        with pytest.raises(Invalid, match="limit"):
            await tokens.list(limit="5")  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="AccessTokenScope"):
            await tokens.issue("t", scope={"ops": ["read"]})  # type: ignore[arg-type]
        for wrong in ({"basins": "my-basin"}, {"streams": ["a"]}, {"access_tokens": ""}, {"op_groups": "read"}):
            with pytest.raises(Invalid, match=next(iter(wrong))):
                AccessTokenScope(**wrong)


class TestSecrets:
    def test_a_token_is_a_string_that_does_not_show_itself(self) -> None:
        token = AccessToken("perdure_secret")
        assert token == "perdure_secret"
        assert f"{token}" == str(token) == "perdure_secret"
        assert json.dumps(token) == '"perdure_secret"'
        for shown in (repr(token), repr([token]), repr({"token": token}), f"{token!r}", repr(copy.copy(token))):
            assert "secret" not in shown
        again = pickle.loads(pickle.dumps(token))
        assert (again, repr(again)) == (token, repr(token))

    async def test_what_is_issued_is_one(self, s2: S2) -> None:
        token = await s2.access_tokens.issue("t", scope=READER)
        assert isinstance(token, AccessToken)
        assert str(token) not in repr(token)

    def test_requests_and_answers_do_not_show_what_is_in_them(self) -> None:
        call = Call(b"POST", "/access-tokens", None, b"in-secret", secrets=((b"key", b"in-secret"),))
        assert repr(call) == "<Call POST /access-tokens>"
        assert "in-secret" not in repr(Answer(201, [(b"set-cookie", b"in-secret")], b"in-secret"))


class Guarded:
    """A server with access control, and a client that may do everything: its root, or one on the same store."""

    def __init__(self, url: str, issuer: S2) -> None:
        self.url = url
        self.issuer = issuer

    def client(self, token: str) -> S2:
        return S2(access_token=token, endpoints=self.url)


@pytest.fixture(params=["root", "embedded"])
async def guarded(request: pytest.FixtureRequest, store: Store) -> AsyncIterator[Guarded]:
    async with opened(store) as engine, serving_engine(engine, root_token=ROOT) as port:
        url = f"http://{HOST}:{port}"
        root = S2(access_token=ROOT, endpoints=url)
        async with root if request.param == "root" else S2(transport=LocalTransport(store.open)) as issuer:
            yield Guarded(url, issuer)


@pytest.fixture
async def public(guarded: Guarded) -> Basin:
    """A basin with a stream that `READER` may read, and one that it may not."""
    basin = await guarded.issuer.basins.create("client-basin", create_stream_on_append=True)
    for name in ("public/news", "private"):
        await basin.stream(name).append([AppendRecord(name)])
    return basin


@pytest.mark.parametrize("carrier", ["memory", "sqlite"])
class TestUsing:
    @pytest.fixture
    def kind(self, carrier: Kind) -> Kind:
        return carrier

    async def test_a_token_permits_what_its_scope_says(self, guarded: Guarded, public: Basin) -> None:
        token = await guarded.issuer.access_tokens.issue("reader", scope=READER, expires_at=tomorrow())
        async with guarded.client(token) as reader:
            basin = reader.basin(public.name)
            batch = await basin.stream("public/news").read(SeqNum(0))
            assert [record.text for record in batch.records] == ["public/news"]
            with pytest.raises(PermissionDenied, match="not for stream `private`"):
                await basin.stream("private").read(SeqNum(0))
            with pytest.raises(PermissionDenied, match="`append`"):
                await basin.stream("public/news").append([AppendRecord("x")])
            with pytest.raises(PermissionDenied, match="`list-access-tokens`"):
                _ = [info async for info in reader.access_tokens.list_all()]
            with pytest.raises(PermissionDenied, match="`list-basins`"):
                _ = [info async for info in reader.basins.list_all()]

    async def test_revoking_ends_what_is_under_way(self, guarded: Guarded, public: Basin) -> None:
        token = await guarded.issuer.access_tokens.issue("reader", scope=READER)
        async with guarded.client(token) as reader, asyncio.timeout(PATIENCE_SECONDS):
            stream = reader.basin(public.name).stream("public/news")
            async with stream.read_session(SeqNum(0)) as records:
                await anext(records)
                await guarded.issuer.access_tokens.revoke("reader")

                async def refused() -> bool:
                    try:
                        await stream.check_tail()
                    except AuthenticationFailed:
                        return True
                    return False

                await eventually(refused)
                await public.stream("public/news").append([AppendRecord("too late")])
                with pytest.raises(AuthenticationFailed, match="revoked"):
                    await anext(records)

    async def test_a_wrong_token(self, guarded: Guarded) -> None:
        async with guarded.client("perdure_wrong") as stranger:
            for call in (
                stranger.access_tokens.list(),
                stranger.access_tokens.issue("t", scope=READER),
                stranger.access_tokens.revoke("t"),
                stranger.locations.list(),
            ):
                with pytest.raises(AuthenticationFailed, match="unknown or was revoked") as caught:
                    await call
                assert "perdure_wrong" not in str(caught.value)

    async def test_auto_prefix_gives_a_namespace(self, guarded: Guarded, public: Basin) -> None:
        scope = AccessTokenScope(
            ExactMatch(public.name),
            PrefixMatch("user-7/"),
            op_groups=OperationGroupPermissions(basin=Permission.READ_WRITE, stream=Permission.READ_WRITE),
        )
        token = await guarded.issuer.access_tokens.issue("user-7", scope=scope, auto_prefix_streams=True)
        async with guarded.client(token) as user:
            basin = user.basin(public.name)
            await basin.stream("notes").append([AppendRecord("mine")])
            assert [info.name async for info in basin.streams.list_all(limit=1)] == ["notes"]
        assert [info.name async for info in public.streams.list_all()] == ["private", "public/news", "user-7/notes"]

    async def test_nobody_issues_more_than_they_have(self, guarded: Guarded) -> None:
        expires_at = tomorrow()
        scope = AccessTokenScope(
            access_tokens=PrefixMatch("team/"),
            basins=PrefixMatch("team-"),
            streams=EVERYTHING,
            op_groups=OperationGroupPermissions(account=Permission.READ_WRITE, stream=Permission.READ),
        )
        lead = await guarded.issuer.access_tokens.issue("lead", scope=scope, expires_at=expires_at)
        async with guarded.client(lead) as team:
            tokens = team.access_tokens
            mine = AccessTokenScope(PrefixMatch("team-7"), EVERYTHING, ops=[Operation.READ])
            await tokens.issue("team/7", scope=mine)
            (found,) = [info async for info in tokens.list_all()]
            assert found == AccessTokenInfo("team/7", mine, expires_at)
            with pytest.raises(PermissionDenied, match="append"):
                await tokens.issue("team/8", scope=AccessTokenScope(ops=[Operation.APPEND]))
            with pytest.raises(PermissionDenied, match="`basins`"):
                await tokens.issue("team/8", scope=AccessTokenScope(EVERYTHING, ops=[Operation.READ]))
            with pytest.raises(PermissionDenied, match="expires_at"):
                await tokens.issue("team/8", scope=mine, expires_at=expires_at + timedelta(seconds=1))
            with pytest.raises(PermissionDenied, match="access token `other`"):
                await tokens.issue("other", scope=mine)
            with pytest.raises(PermissionDenied, match="access token `lead`"):
                await tokens.revoke("lead")
            await tokens.revoke("team/7")


class Peer(asyncio.Protocol):
    """Takes whole requests and answers them as the test says: a status and a body, or by resetting the connection."""

    def __init__(self, answers: list[tuple[int, bytes] | None]) -> None:
        self._answers = answers
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._http.initiate_connection()
        transport.write(self._http.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._http.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                answer = self._answers.pop(0)
                if answer is None:
                    self._transport.abort()
                    return
                status, body = answer
                self._http.send_headers(event.stream_id, [(":status", str(status))])
                self._http.send_data(event.stream_id, body, end_stream=True)
        self._transport.write(self._http.data_to_send())


@asynccontextmanager
async def answered(*answers: tuple[int, bytes] | None) -> AsyncIterator[tuple[S2, list[tuple[int, bytes] | None]]]:
    """A client of a server that gives these answers, and those that are left."""
    left = [*answers]
    server = await asyncio.get_running_loop().create_server(lambda: Peer(left), HOST, 0)
    retries = RetryPolicy(max_attempts=3, min_delay_ms=0, max_delay_ms=0)
    async with server, S2(endpoints=f"http://{HOST}:{server.sockets[0].getsockname()[1]}", retries=retries) as s2:
        yield s2, left


class TestLostAnswers:
    async def test_a_secret_is_not_asked_for_again(self) -> None:
        """A second request would be told that the id is in use, as if by somebody else."""
        async with answered(None, None) as (s2, left):
            with pytest.raises(TransportError) as caught:
                await s2.access_tokens.issue("t", scope=READER)
            assert caught.value.may_have_applied
            assert len(left) == 1

    async def test_unless_the_server_did_nothing(self) -> None:
        refused = 429, b'{"code": "rate_limited", "message": "later"}'
        async with answered(refused, (201, b'{"access_token": "secret"}')) as (s2, _):
            assert await s2.access_tokens.issue("t", scope=READER) == "secret"

    @pytest.mark.parametrize(
        ("delete", "code"),
        [
            (lambda s2: s2.access_tokens.revoke("t"), "access_token_not_found"),
            (lambda s2: s2.basins.delete("client-basin"), "basin_not_found"),
            (lambda s2: s2.basin("client-basin").streams.delete("s"), "stream_not_found"),
        ],
    )
    async def test_what_is_gone_after_a_lost_answer_was_deleted(
        self, delete: Callable[[S2], Awaitable[None]], code: str
    ) -> None:
        gone = 404, json.dumps({"code": code, "message": "not found"}).encode()
        async with answered(None, gone, gone) as (s2, left):
            await delete(s2)
            assert len(left) == 1
            with pytest.raises(NotFound):
                await delete(s2)
