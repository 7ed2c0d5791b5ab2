"""Fencing tokens: what they say, and what they never say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.model.limits import MAX_FENCING_TOKEN_BYTES
from perdure.model.names import check_fencing_token
from perdure.resumable.tokens import (
    MAX_LEASE_MS,
    FenceKind,
    holder_token,
    is_terminal,
    kind_of,
    lease_of,
    terminal_token,
)


def test_a_holder_token_offers_the_lease_that_it_names() -> None:
    assert lease_of("session-AAAAAAAAAAA=.30000") == 30_000
    assert len("session-AAAAAAAAAAA=.30000") == 26


@pytest.mark.parametrize(
    "token",
    [
        "session-AAAAAAAAAAA=",
        "session-AAAAAAAAAAA=.030",
        "session-AAAAAAAAAAA=.0",
        "session-AAAAAAAAAAA=.3e4",
        "session-AAAAAAAAAAA=.30000\n",
        "session-AAAAAAAAAAA=.",
        "session-AAAAAAAAAAA.30000",
        f"session-AAAAAAAAAAA=.{MAX_LEASE_MS + 1}",
        "session-AAAAAAAAAAA=.999999999999999",
        "session-abcde",
        "end-AAAA.30000",
        "",
    ],
)
def test_tokens_of_other_writers_offer_no_lease(token: str) -> None:
    assert lease_of(token) is None


@given(random=st.binary(min_size=8, max_size=8), lease_ms=st.none() | st.integers(1, MAX_LEASE_MS))
def test_a_fresh_holder_token_fits_and_keeps_its_lease(random: bytes, lease_ms: int | None) -> None:
    token = holder_token(lease_ms, lambda size: random[:size])
    assert check_fencing_token(token) == token
    assert lease_of(token) == lease_ms
    assert not is_terminal(token)
    assert kind_of(token) is FenceKind.HOLDER
    if lease_ms is None:
        assert len(token) == 20


@pytest.mark.parametrize(
    ("kind", "prefix", "length"),
    [(FenceKind.END, "end-", 12), (FenceKind.STOP, "end-stop-", 17), (FenceKind.ERROR, "error-", 14)],
)
def test_terminal_tokens_say_how_it_ended(kind: FenceKind, prefix: str, length: int) -> None:
    token = terminal_token(kind)
    assert token.startswith(prefix)
    assert len(token) == length <= MAX_FENCING_TOKEN_BYTES
    assert is_terminal(token)
    assert kind_of(token) is kind
    assert kind.is_terminal


def test_tokens_are_random() -> None:
    assert len({holder_token(None) for _ in range(100)}) == 100
