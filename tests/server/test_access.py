"""From an `authorization` header to the store: who is let in, and for how long (store API, sections 2.5 and 8.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from perdure.errors import AuthenticationFailed, Unavailable, UsageError
from perdure.model.access_tokens import EVERYTHING, AccessTokenInfo, AccessTokenScope, Operation
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.server.access import AccessControl, RootToken, bearer_token
from perdure.server.grants import ASKED_AGAIN_SECS, BELIEVED_SECS, CONFIRMED_SECS, Grants
from perdure.server.guarded_store import GuardedStore
from perdure.server.served_store import ServedAppender, ServedReadSession
from perdure.store.access_tokens import hash_secret
from perdure.store.service import StreamStore
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch
from tests.store.stores import MemoryStore, opened

ROOT = "root-secret"
SCOPE = AccessTokenScope(EVERYTHING, EVERYTHING, EVERYTHING, ops=tuple(Operation))


class Clocks:
    """Wall time and monotonic time, which go on together and only when told."""

    def __init__(self) -> None:
        self._secs = 1_800_000_000.0

    def now(self) -> float:
        return self._secs

    def advance(self, secs: float) -> None:
        self._secs += secs

    def date(self, ahead_secs: float) -> datetime:
        return datetime.fromtimestamp(self._secs + ahead_secs, UTC)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
async def stores() -> AsyncIterator[tuple[StreamStore, StreamStore]]:
    """Two processes on one directory, so to say."""
    shared = MemoryStore()
    async with opened(shared) as one, opened(shared) as two:
        yield StreamStore(one), StreamStore(two)


@pytest.fixture
async def access(stores: tuple[StreamStore, StreamStore], clocks: Clocks) -> AsyncIterator[AccessControl]:
    access = AccessControl(stores[0], RootToken(ROOT), now=clocks.now, monotonic=clocks.now)
    yield access
    await access.aclose()


def bearer(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


async def issue(store: StreamStore, token_id: str = "t", expires_at: datetime | None = None) -> bytes:
    return bearer(await store.issue_access_token(AccessTokenInfo(token_id, SCOPE, expires_at)))


class TestHeaders:
    @pytest.mark.parametrize("header", [b"Bearer abc", b"bearer abc", b"BEARER   abc  "])
    def test_the_token_is_what_follows_the_scheme(self, header: bytes) -> None:
        assert bearer_token(header) == b"abc"

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b"Bearer",
            b"Bearer ",
            b"abc",
            b"Basic abc",
            b"Bearer a b",
            b"Bearer a, Bearer b",
            b"Bearer \xff",
            b"x" * 9999,
        ],
    )
    def test_what_is_malformed_is_refused_and_not_repeated(self, header: bytes) -> None:
        with pytest.raises(AuthenticationFailed, match="must be `Bearer <token>`") as caught:
            bearer_token(header)
        assert "abc" not in caught.value.message

    def test_a_missing_header_says_what_to_send(self) -> None:
        with pytest.raises(AuthenticationFailed, match="an access token is required"):
            bearer_token(None)


class TestRootToken:
    @pytest.mark.parametrize("secret", ["", " ", "a b", "a\n", "é", "\x7f"])
    def test_it_must_fit_into_a_header(self, secret: str) -> None:
        with pytest.raises(UsageError, match="visible ASCII"):
            RootToken(secret)

    def test_it_cannot_be_shown(self) -> None:
        token = RootToken(ROOT)
        assert ROOT not in f"{token!r} {token} {vars(type(token))}"
        assert token.has_hash(hash_secret(ROOT.encode()))
        assert not token.has_hash(hash_secret(b""))


class TestWhoIsLetIn:
    @pytest.mark.parametrize("header", [None, b"", b"garbage", b"Bearer x"])
    async def test_without_a_root_token_everybody(
        self, stores: tuple[StreamStore, StreamStore], header: bytes | None
    ) -> None:
        assert await AccessControl(stores[0]).store_for(header) is stores[0]

    async def test_the_root_has_the_store_itself(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore]
    ) -> None:
        assert await access.store_for(bearer(ROOT)) is stores[0]

    @pytest.mark.parametrize("secret", ["x", ROOT + "x", ROOT[:-1], "perdure_" + "A" * 43])
    async def test_an_unknown_token_is_refused_and_not_repeated(self, access: AccessControl, secret: str) -> None:
        with pytest.raises(AuthenticationFailed, match="unknown or was revoked") as caught:
            await access.store_for(bearer(secret))
        assert secret not in caught.value.message.split()

    async def test_an_issued_token_has_a_guarded_store(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore]
    ) -> None:
        assert isinstance(await access.store_for(await issue(stores[0])), GuardedStore)

    async def test_a_token_that_another_process_issued_is_known_at_once(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore]
    ) -> None:
        for number in range(3):
            await access.store_for(await issue(stores[1], f"t{number}"))


class TestForHowLong:
    async def test_an_expiry_holds_on_every_use(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        header = await issue(stores[0], expires_at=clocks.date(0.5))
        store = await access.store_for(header)
        await store.list_basins()
        clocks.advance(0.5)  # the token is still remembered
        with pytest.raises(AuthenticationFailed, match="expired"):
            await access.store_for(header)
        with pytest.raises(AuthenticationFailed, match="expired"):
            await store.list_basins()

    async def test_a_revocation_by_this_process_holds_at_once(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore]
    ) -> None:
        header, other = await issue(stores[0]), await issue(stores[0], "other")
        store = await access.store_for(header)
        await access.store_for(other)
        await stores[0].revoke_access_token("t")
        access.revoked("t")
        with pytest.raises(AuthenticationFailed):
            await access.store_for(header)
        with pytest.raises(AuthenticationFailed, match="revoked"):
            await store.list_basins()
        await access.store_for(other)

    async def test_a_revocation_by_another_process_holds_soon(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        header = await issue(stores[0])
        await access.store_for(header)
        await stores[1].revoke_access_token("t")
        clocks.advance(CONFIRMED_SECS)
        for _ in range(2):
            with pytest.raises(AuthenticationFailed):
                await access.store_for(header)

    async def test_a_known_token_is_believed_for_a_while_when_it_cannot_be_looked_up(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        known, unknown = await issue(stores[0], "known"), await issue(stores[0], "unknown")
        assert isinstance(await access.store_for(known), GuardedStore)
        await stores[0]._engine.aclose()
        clocks.advance(BELIEVED_SECS - 1)
        assert isinstance(await access.store_for(known), GuardedStore)
        with pytest.raises(Unavailable):
            await access.store_for(unknown)
        clocks.advance(1)
        with pytest.raises(Unavailable):
            await access.store_for(known)

    async def test_a_known_token_does_not_wait_for_a_store_that_is_lost(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        header = await issue(stores[0])
        await access.store_for(header)
        lost = Silent.__new__(Silent)
        access._grants._store = lost
        for _ in range(3):
            clocks.advance(CONFIRMED_SECS)
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert isinstance(await access.store_for(header), GuardedStore)
        assert lost.asked == 1
        clocks.advance(ASKED_AGAIN_SECS)
        access._grants._store = stores[0]
        await stores[1].revoke_access_token("t")
        with pytest.raises(AuthenticationFailed):
            await access.store_for(header)

    async def test_a_token_in_constant_use_is_looked_up_once_in_a_while(
        self, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        class Counting(StreamStore):
            looked_up = 0

            async def find_access_tokens(self, secret_hashes: object) -> dict[bytes, AccessTokenInfo]:
                self.looked_up += 1
                return {b"": AccessTokenInfo("t", SCOPE)}

        store = Counting.__new__(Counting)
        grants = Grants(store, now=clocks.now, monotonic=clocks.now)
        for _ in range(1000):
            assert await grants.find(b"") is not None
            clocks.advance(CONFIRMED_SECS / 100)
        assert store.looked_up <= 11

    async def test_few_tokens_are_remembered_and_all_are_found(
        self, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        grants = Grants(stores[0], now=clocks.now, monotonic=clocks.now, remembered=2)
        headers = [await issue(stores[0], f"t{number}") for number in range(5)]
        for _ in range(2):
            for number, header in enumerate(headers):
                grant = await grants.find(hash_secret(bearer_token(header)))
                assert grant is not None
                assert grant.info.id == f"t{number}"


class Silent(StreamStore):
    """A store that is lost and has not found out yet."""

    asked = 0

    async def find_access_tokens(self, secret_hashes: object) -> dict[bytes, AccessTokenInfo]:
        self.asked += 1
        never: asyncio.Future[dict[bytes, AccessTokenInfo]] = asyncio.get_running_loop().create_future()
        return await never


class TestSessions:
    async def test_they_end_when_their_token_could_not_be_confirmed_for_too_long(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        await stores[0].create_basin("basin-aa")
        await stores[0].create_stream("basin-aa", "s")
        store = await access.store_for(await issue(stores[0]))
        appending = await store.open_append_session("basin-aa", "s")
        await appending.submit(batch("x"))
        await stores[1]._engine.aclose()
        access._grants._store = stores[1]
        clocks.advance(BELIEVED_SECS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(Unavailable, match="cannot be confirmed"):
                await append_for_ever(appending)

    async def test_they_end_when_another_process_revokes_their_token(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore], clocks: Clocks
    ) -> None:
        await stores[0].create_basin("basin-aa")
        await stores[0].create_stream("basin-aa", "s")
        header = await issue(stores[0])
        store = await access.store_for(header)
        appending = await store.open_append_session("basin-aa", "s")
        async with await store.open_read_session("basin-aa", "s", ReadRequest.of(SeqNum(0))) as reading:
            await reading.next()  # it follows now
            await stores[1].revoke_access_token("t")
            async with asyncio.timeout(PATIENCE_SECONDS):
                with pytest.raises(AuthenticationFailed, match="revoked"):
                    await append_for_ever(appending)
                with pytest.raises(AuthenticationFailed, match="revoked"):
                    await read_for_ever(reading)
        refused = appending.submit(batch("y"))
        with pytest.raises(AuthenticationFailed):
            await refused

    async def test_nothing_runs_when_none_is_open(
        self, access: AccessControl, stores: tuple[StreamStore, StreamStore]
    ) -> None:
        await stores[0].create_basin("basin-aa")
        await stores[0].create_stream("basin-aa", "s")
        store = await access.store_for(await issue(stores[0]))
        assert not confirming()
        session = await store.open_append_session("basin-aa", "s")
        (task,) = confirming()
        await session.submit(batch("x"))
        del session
        async with asyncio.timeout(PATIENCE_SECONDS):
            await task
        open_again = await store.open_append_session("basin-aa", "s")
        assert confirming()
        await access.aclose()
        await access.aclose()
        assert not confirming()
        del open_again


async def append_for_ever(session: ServedAppender) -> None:
    while True:
        await session.submit(batch("x"))


async def read_for_ever(session: ServedReadSession) -> None:
    while True:
        await session.next()


def confirming() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "perdure-tokens"]


async def test_no_secret_reaches_the_log(
    access: AccessControl, stores: tuple[StreamStore, StreamStore], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    header = await issue(stores[0])
    for sent in (bearer(ROOT), header):
        await (await access.store_for(sent)).list_basins()
    assert ROOT not in caplog.text
    assert bearer_token(header).decode() not in caplog.text
