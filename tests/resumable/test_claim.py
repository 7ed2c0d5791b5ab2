"""Claiming a stream: who may write next, in each mode, and what is left when an answer gets lost."""

import asyncio

import pytest

from perdure import S2, AppendRecord, Stream
from perdure.errors import FencingTokenMismatch, StorageFailed, TransportError
from perdure.model.batches import AppendInput
from perdure.resumable.claim import Claim, Claimer, StreamInUse
from perdure.resumable.settings import ChatSettings, ModeName, Surroundings
from perdure.store.sqlite import SqliteEngine
from tests.resumable.chats import HOLDER, fence, leased, records_of, shown, write
from tests.resumable.spy_transport import SpyTransport
from tests.store.clock import Clock

ERROR = '{"type":"error"}'


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def abandoned_body(stream: Stream, tail: int) -> bytes:
    return ERROR.encode()


@pytest.fixture
def spy(clock: Clock) -> SpyTransport:
    async def open_engine() -> SqliteEngine:
        return await SqliteEngine.open(":memory:", now_ms=clock.now_ms)

    return SpyTransport(open_engine)


@pytest.fixture
async def stream(s2: S2) -> Stream:
    await s2.basins.create("test-chats", create_stream_on_append=True, create_stream_on_read=True)
    return s2.basin("test-chats").stream("s")


def claimer(
    mode: ModeName, clock: Clock, *, session_lease_ms: int | None = None, lease_duration_ms: int = 5000
) -> Claimer:
    settings = ChatSettings.of(mode=mode, session_lease_ms=session_lease_ms, lease_duration_ms=lease_duration_ms)
    return Claimer(settings, Surroundings(now_ms=clock.now_ms), abandoned_body)


MODES: tuple[ModeName, ...] = ("single-use", "shared", "session")


@pytest.mark.parametrize("mode", MODES)
async def test_a_new_name_is_claimed_with_one_fence(stream: Stream, clock: Clock, mode: ModeName) -> None:
    claim = await claimer(mode, clock, session_lease_ms=30_000).claim(stream)
    assert claim.start_seq == 1
    (record,) = await records_of(stream)
    assert record.text == claim.token
    assert claim.token.endswith(".30000")
    assert record.timestamp == clock.now_ms()


@pytest.mark.parametrize("mode", MODES)
async def test_of_two_claims_one_wins(stream: Stream, clock: Clock, mode: ModeName) -> None:
    await claimer(mode, clock).claim(stream)
    with pytest.raises(StreamInUse):
        await claimer(mode, clock).claim(stream)
    assert len(await records_of(stream)) == 1


async def test_a_used_single_use_name_stays_burned(stream: Stream, clock: Clock) -> None:
    claim = await claimer("single-use", clock).claim(stream)
    await stream.append([AppendRecord("a"), AppendRecord.trim(2**53 - 1), fence("end-AAAA")], fencing_token=claim.token)
    assert shown(await records_of(stream)) == ["fence end-"]
    with pytest.raises(StreamInUse):
        await claimer("single-use", clock).claim(stream)


async def test_a_shared_claim_follows_the_terminal_fence_and_trims_what_was_before(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), "old", fence("end-XYZ"))
    claim = await claimer("shared", clock).claim(stream)
    assert claim.start_seq == 5
    assert [batch.fencing_token for _, batch in spy.appends[-2:]] == ["end-XYZ", claim.token]
    records = await records_of(stream)
    assert [record.seq_num for record in records] == [3, 4]
    assert shown(records) == ["fence session-", "trim 3"]


async def test_a_session_claim_follows_the_terminal_fence_and_keeps_what_was_before(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), "a", fence("end-AAAA"))
    claim = await claimer("session", clock).claim(stream)
    assert claim.start_seq == 4
    assert shown(await records_of(stream)) == ["fence session-", "a", "fence end-", "fence session-"]
    assert spy.appends[-1][1].fencing_token == "end-AAAA"


async def test_a_session_claim_costs_one_refused_append_however_long_the_log_is(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    for _ in range(3):
        await write(stream, *["x"] * 500)
    await write(stream, fence("end-AAAA"))
    spy.reads.clear()
    spy.appends.clear()
    await claimer("session", clock).claim(stream)
    assert spy.reads == []
    assert [batch.fencing_token for _, batch in spy.appends] == ["", "end-AAAA"]


async def test_the_claim_of_a_new_session_is_one_append(stream: Stream, clock: Clock, spy: SpyTransport) -> None:
    claim = await claimer("session", clock).claim(stream)
    assert claim.start_seq == 1
    assert spy.reads == []
    assert [(batch.fencing_token, batch.match_seq_num) for _, batch in spy.appends] == [("", 0)]


async def test_a_session_claim_on_an_active_stream_costs_one_read_and_one_refused_append(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    await write(stream, fence(HOLDER), "a")
    spy.reads.clear()
    spy.appends.clear()
    with pytest.raises(StreamInUse):
        await claimer("session", clock).claim(stream)
    assert len(spy.reads) == 1
    assert len(spy.appends) == 1
    assert shown(await records_of(stream)) == ["fence session-", "a"]


async def test_the_next_turn_of_a_chat_in_the_same_process_need_not_look(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    claims = claimer("session", clock)
    claim = await claims.claim(stream)
    ack = await stream.append([fence("end-AAAA")], fencing_token=claim.token)
    claims.remember("s", "end-AAAA", ack.end.seq_num)
    spy.reads.clear()
    assert (await claims.claim(stream)).start_seq == 3
    assert spy.reads == []


@pytest.mark.parametrize("mode", ["shared", "session"])
async def test_what_is_remembered_of_a_stream_does_not_outweigh_what_it_is(
    stream: Stream, clock: Clock, mode: ModeName
) -> None:
    claims = claimer(mode, clock)
    claim = await claims.claim(stream)
    ack = await stream.append([fence("end-AAAA")], fencing_token=claim.token)
    claims.remember("s", "end-AAAA", ack.end.seq_num)
    elsewhere = await claimer(mode, clock).claim(stream)
    with pytest.raises(StreamInUse):
        await claims.claim(stream)
    await stream.append([fence("end-BBBB")], fencing_token=elsewhere.token)
    assert (await claims.claim(stream)).start_seq > elsewhere.start_seq


# --- expired history ---


@pytest.mark.parametrize("mode", ["shared", "session"])
async def test_a_name_whose_history_has_expired_can_be_claimed(stream: Stream, clock: Clock, mode: ModeName) -> None:
    await write(stream, fence(HOLDER), "a", fence("end-AAAA"))
    await stream.append([AppendRecord.trim(2**53 - 1)])
    assert await records_of(stream) == []
    claim = await claimer(mode, clock).claim(stream)
    assert claim.start_seq == (5 if mode == "session" else 6)
    assert shown(await records_of(stream))[0] == "fence session-"


# --- lost answers ---


@pytest.mark.parametrize("mode", MODES)
async def test_a_claim_whose_answer_got_lost_is_a_claim(
    stream: Stream, clock: Clock, spy: SpyTransport, mode: ModeName
) -> None:
    spy.lose_acks = 1
    claim = await claimer(mode, clock).claim(stream)
    assert claim.start_seq == 1
    assert [record.text for record in await records_of(stream)] == [claim.token]


@pytest.mark.parametrize("mode", MODES)
async def test_a_claim_that_was_sent_twice_is_a_claim(
    stream: Stream, clock: Clock, spy: SpyTransport, mode: ModeName
) -> None:
    spy.lose_acks, spy.retry_lost = 1, True
    claim = await claimer(mode, clock).claim(stream)
    assert [record.text for record in await records_of(stream)] == [claim.token]


async def test_a_claim_over_expired_history_that_was_sent_twice_is_a_claim(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    await write(stream, "a", AppendRecord.trim(2**53 - 1))
    spy.lose_acks, spy.retry_lost = 1, True
    claim = await claimer("session", clock).claim(stream)
    assert claim.start_seq == 3


async def test_a_trim_that_was_sent_twice_is_written_once(stream: Stream, clock: Clock, spy: SpyTransport) -> None:
    await write(stream, fence(HOLDER), fence("end-AAAA"))

    def lose_the_trim(name: str, batch: object) -> None:
        spy.lose_acks = 1 if len(spy.appends) == 3 else 0

    spy.retry_lost, spy.before_append = True, lose_the_trim
    claim = await claimer("shared", clock).claim(stream)
    assert claim.start_seq == 4
    assert shown(await records_of(stream)) == ["fence session-", "trim 2"]


async def test_a_claim_that_failed_for_another_reason_says_so(stream: Stream, clock: Clock, spy: SpyTransport) -> None:
    def refuse(name: str, batch: object) -> None:
        raise TransportError("no route to the store", may_have_applied=True)

    spy.before_append = refuse
    with pytest.raises(TransportError):
        await claimer("session", clock).claim(stream)


async def test_a_claim_fails_with_its_own_error_when_looking_fails_too(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    def refuse(name: str, batch: object) -> None:
        spy.before_read = refuse_read
        raise TransportError("no route to the store", may_have_applied=True)

    def refuse_read(name: str, request: object) -> None:
        raise StorageFailed("the disk is gone")

    spy.before_append = refuse
    with pytest.raises(TransportError):
        await claimer("session", clock).claim(stream)


# --- takeover ---


async def test_a_shared_generation_is_taken_over_after_a_pause(stream: Stream, clock: Clock) -> None:
    await write(stream, fence(HOLDER), "a")
    clock.advance(4999)
    with pytest.raises(StreamInUse):
        await claimer("shared", clock).claim(stream)
    clock.advance(1)
    claim = await claimer("shared", clock).claim(stream)
    assert shown(await records_of(stream)) == ["fence session-", "trim 2"]
    assert claim.start_seq == 4
    with pytest.raises(FencingTokenMismatch):
        await stream.append([AppendRecord("late")], fencing_token=HOLDER)


@pytest.mark.parametrize("record", ["data", AppendRecord.trim(0)])
async def test_any_record_renews_a_shared_generation(stream: Stream, clock: Clock, record: AppendRecord | str) -> None:
    await write(stream, fence(HOLDER))
    clock.advance(10_000)
    await write(stream, record)
    clock.advance(4_000)
    with pytest.raises(StreamInUse):
        await claimer("shared", clock).claim(stream)


async def test_an_abandoned_session_generation_is_ended_and_claimed_in_one_append(
    stream: Stream, clock: Clock, spy: SpyTransport
) -> None:
    await write(stream, fence(leased(1000)), "a")
    clock.advance(999)
    with pytest.raises(StreamInUse):
        await claimer("session", clock).claim(stream)
    clock.advance(1)
    spy.appends.clear()
    claim = await claimer("session", clock).claim(stream)
    assert claim.start_seq == 5
    probe, takeover = (batch for _, batch in spy.appends)
    assert len(probe.records) == 1
    assert (takeover.fencing_token, takeover.match_seq_num) == (leased(1000), 2)
    assert shown(await records_of(stream)) == ["fence session-", "a", ERROR, "fence error-", "fence session-"]


async def test_a_takeover_whose_answer_got_lost_is_a_claim(stream: Stream, clock: Clock, spy: SpyTransport) -> None:
    await write(stream, fence(leased(1000)))
    clock.advance(1000)
    spy.lose_acks, spy.retry_lost = 1, True
    claim = await claimer("session", clock).claim(stream)
    assert claim == Claim(claim.token, 4)
    assert shown(await records_of(stream)) == ["fence session-", ERROR, "fence error-", "fence session-"]


@pytest.mark.parametrize("token", [HOLDER, "session-abcde", "somebody", ""])
async def test_a_generation_that_offers_no_lease_is_never_taken_over(stream: Stream, clock: Clock, token: str) -> None:
    await write(stream, fence(token), "a")
    clock.advance(86_400_000)
    with pytest.raises(StreamInUse):
        await claimer("session", clock).claim(stream)
    assert len(await records_of(stream)) == 2


async def test_a_single_use_name_is_never_taken_over(stream: Stream, clock: Clock) -> None:
    await write(stream, fence(leased(1000)), "a")
    clock.advance(86_400_000)
    with pytest.raises(StreamInUse):
        await claimer("single-use", clock).claim(stream)


async def test_a_writer_that_comes_back_at_the_deadline_wins(stream: Stream, clock: Clock, spy: SpyTransport) -> None:
    await write(stream, fence(leased(1000)), "a")
    clock.advance(1000)

    async def come_back(batch: AppendInput) -> None:
        if len(batch.records) == 3:  # the takeover has been decided
            spy.meanwhile = None
            await stream.append([AppendRecord("late")], fencing_token=leased(1000))

    spy.meanwhile = come_back
    with pytest.raises(StreamInUse):
        await claimer("session", clock).claim(stream)
    assert shown(await records_of(stream)) == ["fence session-", "a", "late"]


async def test_of_two_takeovers_one_wins(stream: Stream, clock: Clock) -> None:
    await write(stream, fence(leased(1000)), "a")
    clock.advance(1000)
    claims = [claimer("session", clock).claim(stream) for _ in range(10)]
    outcomes = await asyncio.gather(*claims, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Claim", *["StreamInUse"] * 9]
    assert shown(await records_of(stream)) == ["fence session-", "a", ERROR, "fence error-", "fence session-"]
