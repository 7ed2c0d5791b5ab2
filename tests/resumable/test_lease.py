"""Leases: how a generation whose writer is gone comes to its end, once, and how one that lives does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, AppendRecord, Basin, Stream
from perdure.resumable.lease import GenerationAbandoned, is_over, remaining_ms, silence_ms
from perdure.resumable.settings import ChatSettings, ModeName
from perdure.resumable.tail_search import StreamHead
from tests.resumable.chats import (
    ANSWER,
    BASIN,
    CREATE,
    Chat,
    NewChat,
    Reading,
    body_of,
    frames,
    leased,
    records_of,
    shown,
)

LEASE_MS = 120
DEAD = AppendRecord.fence(leased(LEASE_MS), timestamp=1)
"""The holder fence of a writer that was last heard of in 1970."""


@pytest.fixture(params=CREATE)
def adapter(request: pytest.FixtureRequest) -> str:
    """Everything here holds for every adapter."""
    name: str = request.param
    return name


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.stream("c")


# --- arithmetic ---


@given(lease_ms=st.integers(1, 10**8), last=st.integers(0, 10**13), silence=st.integers(0, 10**9))
def test_a_lease_is_over_when_nothing_was_heard_for_its_length(lease_ms: int, last: int, silence: int) -> None:
    assert is_over(lease_ms, last, last + silence) == (silence >= lease_ms)
    token = leased(lease_ms)
    head = StreamHead(1, last, None, token, 0, True)
    left = remaining_ms(head, last + silence)
    if lease_ms <= 86_400_000:
        assert left == max(0, lease_ms - silence)
        assert (left == 0) == is_over(lease_ms, last, last + silence)
    else:
        assert left is None


def test_readers_wait_up_to_a_fifth_longer_than_the_lease() -> None:
    assert (silence_ms(1000, 0.0), silence_ms(1000, 1.0)) == (1000, 1200)


@pytest.mark.parametrize(
    ("mode", "offered", "claimers", "expected"),
    [
        ("session", 30_000, 5_000, 10_000),
        ("single-use", 30_000, 5_000, 10_000),
        ("session", None, 5_000, None),
        ("shared", 30_000, 6_000, 2_000),
        ("shared", 3_000, 6_000, 1_000),
        ("shared", None, 6_000, 2_000),
    ],
)
def test_writers_renew_after_a_third_of_what_others_go_by(
    mode: ModeName, offered: int | None, claimers: int, expected: float | None
) -> None:
    settings = ChatSettings.of(mode=mode, session_lease_ms=offered, lease_duration_ms=claimers)
    assert settings.renew_after_ms == expected


@pytest.mark.parametrize(
    "bad",
    [
        {"mode": "sometimes"},
        {"batch_size": 0},
        {"batch_size": 1001},
        {"batch_size": True},
        {"linger_ms": -1},
        {"linger_ms": float("nan")},
        {"linger_ms": float("inf")},
        {"lease_duration_ms": 0},
        {"session_lease_ms": 0},
        {"session_lease_ms": 86_400_001},
        {"session_lease_ms": 1.5},
        {"keep_alive_ms": 0},
        {"keep_alive_ms": float("inf")},
        {"history_cache_bytes": -1},
        {"history_cache_bytes": 1.5},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        ChatSettings.of(**bad)  # type: ignore[arg-type]  # that is the point


# --- noticed on the way ---


@pytest.mark.parametrize("mode", ["single-use", "shared", "session"])
async def test_a_resume_ends_what_nobody_writes_any_more(
    s2: S2, mode: ModeName, new_chat: NewChat, error_body: str
) -> None:
    chat = await new_chat(mode=mode)
    stream = s2.basin(BASIN).stream("c")
    await stream.append([DEAD, AppendRecord("a", timestamp=1)])
    assert (await chat.replay("c", active_only=mode == "session")).status == 204
    assert shown(await records_of(stream)) == ["fence session-", "a", error_body, "fence error-"]
    await chat.aclose()


async def test_a_watch_ends_what_nobody_writes_any_more(chat: Chat, stream: Stream, error_body: str) -> None:
    await stream.append([DEAD])
    watching = Reading(await chat.watch("c"))
    assert '"event":"state","active":false' in await watching.until("state")
    await watching.close()
    assert shown(await records_of(stream)) == ["fence session-", error_body, "fence error-"]


async def test_the_next_turn_ends_what_nobody_writes_any_more(chat: Chat, stream: Stream, error_body: str) -> None:
    await stream.append([DEAD, AppendRecord("a", timestamp=1)])
    live = Reading(await chat.replay("c", live=True, from_seq_num=1))
    body = frames(await body_of(await chat.make_resumable("c", ANSWER, wait_until=chat.background)))
    assert body[0][0] == 6
    seen = frames(await live.until('"finish"'))
    assert [data for _, data in seen] == ["a", error_body, *[data for _, data in body]]
    await live.close()


async def test_a_stop_of_what_nobody_writes_any_more_is_a_stop(chat: Chat, stream: Stream, stop_body: str) -> None:
    await stream.append([DEAD])
    assert await chat.stop("c")
    assert shown(await records_of(stream))[-2:] == [stop_body, "fence end-stop-"]


async def test_on_error_may_tell_that_a_generation_was_abandoned(s2: S2, new_chat: NewChat) -> None:
    chat = await new_chat(on_error=lambda failure: type(failure).__name__)
    stream = s2.basin(BASIN).stream("c")
    await stream.append([DEAD])
    await chat.replay("c", active_only=True)
    assert GenerationAbandoned.__name__ in shown(await records_of(stream))[1]
    await chat.aclose()
