"""Generations: what is stored, what the body of the POST shows, and what happens to the source, whatever goes wrong."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from perdure import S2, AppendRecord, Basin, SeqNumMismatch
from perdure.errors import FencingTokenMismatch, StorageFailed
from perdure.model.batches import AppendInput
from perdure.model.records import CommandKind
from perdure.resumable.settings import ModeName
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import (
    ANSWER,
    CREATE,
    FINISH,
    START,
    TEXT_START,
    Chat,
    Chunk,
    NewChat,
    Reading,
    Source,
    body_of,
    fence,
    frames,
    records_of,
    shown,
    text,
    timeless,
    until,
)
from tests.resumable.spy_transport import SpyTransport

MODES: tuple[ModeName, ...] = ("single-use", "shared", "session")


REPORTED_ERRORS: dict[str, Chunk] = {
    "aisdk": {"type": "error", "errorText": "secret"},
    "anthropic": {"type": "error", "error": {"type": "api_error", "message": "secret"}},
    "tanstack_ai": {"type": "RUN_ERROR", "timestamp": 1, "message": "secret", "rawEvent": {"body": "secret"}},
}
"""How a source tells of a failure instead of raising."""


@pytest.fixture(params=CREATE)
def adapter(request: pytest.FixtureRequest) -> str:
    """Everything here holds for every adapter."""
    name: str = request.param
    return name


def compact(*chunks: Chunk) -> list[str]:
    return [json.dumps(chunk, separators=(",", ":")) for chunk in chunks]


async def answer() -> AsyncIterator[Chunk]:
    for chunk in ANSWER:
        yield chunk


# --- the normal path ---


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_is_stored_and_streamed_from_what_is_stored(s2: S2, mode: ModeName, new_chat: NewChat) -> None:
    chat = await new_chat(mode=mode)
    response = await chat.make_resumable("c", answer, wait_until=chat.background)
    assert response.status == 200
    assert frames(await body_of(response)) == [(n + 2, body) for n, body in enumerate(compact(*ANSWER))]
    await chat.aclose()
    stored = shown(await records_of(s2.basin("test-chats").stream("c")))
    if mode == "single-use":
        assert stored == ["fence end-"]
    else:
        assert stored == ["fence session-", *compact(*ANSWER), "fence end-"]


async def test_a_completed_single_use_stream_holds_fence_data_trim_and_fence(s2: S2, new_chat: NewChat) -> None:
    chat = await new_chat(mode="single-use")
    await body_of(await chat.make_resumable("c", answer, wait_until=chat.background))
    await chat.aclose()
    (last,) = await records_of(s2.basin("test-chats").stream("c"))
    assert last.seq_num == len(ANSWER) + 2


@pytest.mark.parametrize("batch_size", [1, 2, 10])
@pytest.mark.parametrize("fails", [False, True])
async def test_the_trim_of_a_single_use_stream_comes_before_its_terminal_fence(
    spy: SpyTransport, batch_size: int, fails: bool, new_chat: NewChat, error_body: str
) -> None:
    chat = await new_chat(mode="single-use", batch_size=batch_size)
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    source.fail(RuntimeError("secret")) if fails else source.end()
    await body_of(response)
    await chat.aclose()
    written = [record for name, batch in spy.appends for record in batch.records]
    kinds = [record.command or timeless(record.body.decode()) for record in written]
    errors = [error_body] if fails else []
    assert kinds == [CommandKind.FENCE, *compact(START), *errors, CommandKind.TRIM, CommandKind.FENCE]
    assert written[-1].body.startswith(b"error-" if fails else b"end-")
    # In one batch: a trim without a fence would leave a stream that tells nobody of its end.
    assert [record.command for record in spy.appends[-1][1].records[-2:]] == kinds[-2:]


async def test_every_batch_is_guarded_by_the_token_and_the_sequence(s2: S2, spy: SpyTransport, chat: Chat) -> None:
    await body_of(await chat.make_resumable("c", answer))
    await chat.drain()
    (_, claim), *batches = spy.appends
    token = claim.records[0].body.decode()
    expected = 1
    for _, batch in batches:
        assert batch.fencing_token == token
        assert batch.match_seq_num == expected
        expected += len(batch.records)


async def test_data_begins_where_the_claim_says_and_not_at_one(chat: Chat, basin: Basin) -> None:
    await basin.stream("c").append([AppendRecord("a"), AppendRecord("b"), fence("end-AAAA")])
    body = await body_of(await chat.make_resumable("c", answer))
    assert frames(body)[0] == (5, compact(START)[0])


async def test_a_lone_token_goes_out_at_once(spy: SpyTransport, new_chat: NewChat) -> None:
    chat = await new_chat(linger_ms=60_000, batch_size=1000)
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    for word in "abc":
        await reading.until("start" if word == "a" else "delta")
        source.give(text(word))
        await reading.until(f'"delta":"{word}"')
    source.end()
    await reading.rest()
    await chat.aclose()


async def test_under_load_records_share_batches_of_at_most_batch_size(spy: SpyTransport, new_chat: NewChat) -> None:
    chat = await new_chat(batch_size=7)
    words = [text(str(number)) for number in range(500)]
    response = await chat.make_resumable("c", words)
    assert len(frames(await body_of(response))) == 500
    await chat.aclose()
    sizes = [len(batch.records) for _, batch in spy.appends[1:]]
    assert max(sizes) == 7
    assert len(sizes) < 150


async def test_large_records_never_make_a_batch_that_is_too_large(new_chat: NewChat) -> None:
    chat = await new_chat(batch_size=1000)
    words = [text("x" * 300_000) for _ in range(20)]
    assert len(frames(await body_of(await chat.make_resumable("c", words)))) == 20
    await chat.aclose()


async def test_text_of_all_kinds_arrives_as_it_is_stored(chat: Chat) -> None:
    odd = text("line\u2028sep\u0085 \r\n nul\x00 smile 😀")
    body = await body_of(await chat.make_resumable("c", [odd]))
    ((_, data),) = frames(body)
    assert json.loads(data) == odd


# --- 409 ---


async def test_a_busy_chat_answers_409_and_starts_no_model(chat: Chat, basin: Basin) -> None:
    first, second = Source(START), Source(START)
    response = await chat.make_resumable("c", first, wait_until=chat.background)
    refused = await chat.make_resumable("c", second)
    assert (refused.status, refused.body) == (409, b"Stream already in use")
    assert second.calls == 0
    first.end()
    await body_of(response)
    await chat.drain()
    assert shown(await records_of(basin.stream("c"))) == ["fence session-", *compact(START), "fence end-"]


async def test_a_refused_coroutine_does_not_complain_that_it_was_never_awaited(chat: Chat) -> None:
    async def ask() -> list[Chunk]:
        return ANSWER

    first = Source()
    response = await chat.make_resumable("c", first, wait_until=chat.background)
    refused = await chat.make_resumable("c", ask())  # warnings are errors here
    assert refused.status == 409
    first.end()
    await body_of(response)


# --- delivery and wait_until ---


async def test_with_delivery_replay_the_post_answers_when_all_is_stored(chat: Chat, basin: Basin) -> None:
    source = Source(START)
    post = asyncio.create_task(chat.make_resumable("c", source, delivery="replay"))
    await source.given.wait()
    await asyncio.sleep(0)
    assert not post.done()
    source.end()
    response = await post
    assert (response.status, response.headers["cache-control"], response.chunks) == (202, "no-store", None)
    assert shown(await records_of(basin.stream("c")))[-1] == "fence end-"


async def test_with_a_background_the_post_answers_at_once(chat: Chat) -> None:
    source = Source(START)
    response = await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    assert response.status == 202
    source.end()
    await chat.drain()


async def test_a_source_that_fails_in_a_held_post_is_logged_and_not_raised(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source()
    source.fail(RuntimeError("secret"))
    assert (await chat.make_resumable("c", source, delivery="replay")).status == 202
    assert "secret" in caplog.text


async def test_what_wait_until_gets_raises_what_the_source_raised_once_that_is_stored(
    chat: Chat, basin: Basin, error_body: str
) -> None:
    handed: list[Any] = []
    source = Source(START)
    source.fail(RuntimeError("secret"))
    await chat.make_resumable("c", source, delivery="replay", wait_until=handed.append)
    with pytest.raises(RuntimeError, match="secret"):
        await handed[0]
    assert shown(await records_of(basin.stream("c"))) == ["fence session-", *compact(START), error_body, "fence error-"]


async def test_an_unknown_delivery_is_refused(chat: Chat) -> None:
    with pytest.raises(ValueError, match="delivery"):
        await chat.make_resumable("c", answer, delivery="both")  # type: ignore[arg-type]  # that is the point


# --- sources that fail ---


async def test_clients_see_a_generic_text_and_the_log_the_details(
    chat: Chat, basin: Basin, caplog: pytest.LogCaptureFixture, error_body: str
) -> None:
    source = Source(START, TEXT_START, text("Hel"))
    source.fail(RuntimeError("secret"))
    body = await body_of(await chat.make_resumable("c", source, wait_until=chat.background))
    assert frames(body)[-1][1] == error_body
    await chat.drain()
    stored = shown(await records_of(basin.stream("c")))
    assert stored[-2:] == [error_body, "fence error-"]
    assert "secret" not in body + "".join(stored)
    assert "secret" in caplog.text
    assert {record.name for record in caplog.records if record.levelno >= logging.ERROR} == {"perdure.resumable"}


async def test_on_error_gives_the_text(new_chat: NewChat, error_body: str) -> None:
    chat = await new_chat(on_error=lambda failure: f"Sorry: {failure}")
    source = Source()
    source.fail(RuntimeError("out of tokens"))
    body = await body_of(await chat.make_resumable("c", source, wait_until=chat.background))
    assert frames(body)[-1][1] == error_body.replace("An error occurred.", "Sorry: out of tokens")
    await chat.aclose()


async def test_an_on_error_that_fails_itself_leaks_nothing(new_chat: NewChat, error_body: str) -> None:
    def on_error(failure: BaseException) -> str:
        raise ValueError("another secret")

    chat = await new_chat(on_error=on_error)
    source = Source()
    source.fail(RuntimeError("secret"))
    assert (
        frames(await body_of(await chat.make_resumable("c", source, wait_until=chat.background)))[-1][1] == error_body
    )
    await chat.aclose()


@pytest.mark.parametrize("adapter", REPORTED_ERRORS)
async def test_error_chunks_of_a_source_go_through_on_error(adapter: str, new_chat: NewChat, error_body: str) -> None:
    chat = await new_chat(on_error=lambda failure: "Sorry.")
    source = [START, REPORTED_ERRORS[adapter]]
    body = await body_of(await chat.make_resumable("c", source, wait_until=chat.background))
    assert frames(body)[-1][1] == error_body.replace("An error occurred.", "Sorry.")
    await chat.aclose()


class Unstorable:
    """Nothing that JSON knows."""


@pytest.mark.parametrize("bad", [["no", "object"], {"no": "type"}, Unstorable(), {"type": "x", "y": Unstorable()}])
async def test_a_chunk_that_cannot_be_stored_ends_the_generation_with_an_error(
    chat: Chat, adapter: str, basin: Basin, bad: object, error_body: str
) -> None:
    if adapter == "events" and bad == {"no": "type"}:
        pytest.skip("any object is an event")

    async def source() -> AsyncIterator[object]:
        yield START
        yield bad
        yield FINISH

    handed: list[Any] = []
    body = await body_of(await chat.make_resumable("c", source, wait_until=handed.append))
    assert [data for _, data in frames(body)] == [*compact(START), error_body]
    assert shown(await records_of(basin.stream("c")))[-1] == "fence error-"
    with pytest.raises(Exception, match=r"."):
        await handed[0]
    assert (await chat.make_resumable("c", answer, wait_until=chat.background)).status == 200


async def test_something_that_is_no_source_ends_the_generation_with_an_error(
    chat: Chat, basin: Basin, error_body: str
) -> None:
    body = await body_of(await chat.make_resumable("c", 42, wait_until=chat.background))
    assert [data for _, data in frames(body)] == [error_body]


# --- clients that go ---


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_goes_ends_only_its_own_body(spy: SpyTransport, mode: ModeName, new_chat: NewChat) -> None:
    chat = await new_chat(mode=mode)
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("start")
    await reading.close()
    replaying = Reading(await chat.replay("c", active_only=mode == "session"))
    source.give(TEXT_START, text("still here"))
    await replaying.until("still here")
    source.end()
    assert frames(await replaying.rest())[-1][1] == compact(text("still here"))[0]
    await chat.aclose()
    assert (spy.open_reads, spy.open_appends) == (0, 0)


async def test_a_body_that_is_closed_before_its_first_step_leaves_nothing_open(
    s2: S2, spy: SpyTransport, chat: Chat
) -> None:
    response = await chat.make_resumable("c", answer, wait_until=chat.background)
    await response.aclose()
    await chat.drain()
    assert (spy.open_reads, spy.open_appends) == (0, 0)


async def test_a_request_that_is_cancelled_while_it_claims_leaves_a_generation_and_no_orphan(
    chat: Chat, basin: Basin
) -> None:
    post = asyncio.create_task(chat.make_resumable("c", answer))
    await asyncio.sleep(0)
    post.cancel()
    with pytest.raises(asyncio.CancelledError):
        await post
    await chat.drain()
    assert shown(await records_of(basin.stream("c")))[-1] == "fence end-"


async def test_a_slow_reader_of_a_single_use_stream_gets_everything(new_chat: NewChat) -> None:
    chat = await new_chat(mode="single-use")
    words = [text("x" * 2000 + str(number)) for number in range(300)]
    response = await chat.make_resumable("c", words, wait_until=chat.background)
    chunks = response.chunks
    assert chunks is not None
    await anext(chunks)
    replayed = await chat.replay("c")
    replaying = asyncio.create_task(body_of(replayed))
    received = "".join([chunk.decode() async for chunk in chunks])
    assert frames(received)[-1][1] == compact(words[-1])[0]
    assert len(frames(await replaying)) == 300
    await chat.aclose()


async def test_a_reader_that_falls_behind_goes_on_in_the_store(chat: Chat, spy: SpyTransport) -> None:
    words = [text("x" * 2000 + str(number)) for number in range(400)]
    response = await chat.make_resumable("c", words, wait_until=chat.background)
    await chat.drain()
    assert spy.opened_reads == 0
    assert [data for _, data in frames(await body_of(response))] == compact(*words)
    assert spy.opened_reads == 1
    assert spy.open_reads == 0


# --- others who write to the stream ---


@pytest.mark.parametrize("mode", ["shared", "session"])
async def test_a_generation_that_was_taken_over_ends_quietly_and_its_body_at_the_new_fence(
    s2: S2, mode: ModeName, caplog: pytest.LogCaptureFixture, new_chat: NewChat
) -> None:
    chat = await new_chat(mode=mode)
    stream = s2.basin("test-chats").stream("c")
    handed: list[Any] = []
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=handed.append))
    await reading.until("start")
    await stream.append([fence("session-other"), AppendRecord("theirs")])
    source.give(TEXT_START)  # the next append finds out
    assert [data for _, data in frames(await reading.rest())] == compact(START)
    await source.closed.wait()
    await handed[0]
    assert shown(await records_of(stream)) == ["fence session-", *compact(START), "fence session-", "theirs"]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    await chat.aclose()


async def test_a_silent_generation_notices_that_it_was_taken_over(s2: S2, new_chat: NewChat) -> None:
    chat = await new_chat(session_lease_ms=None)  # no renewal tells either
    handed: list[Any] = []
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=handed.append))
    await reading.until("start")
    await s2.basin("test-chats").stream("c").append([fence("session-other")])
    async with asyncio.timeout(PATIENCE_SECONDS):  # the source says nothing, so no append tells
        await source.closed.wait()
        await handed[0]
    assert [data for _, data in frames(await reading.rest())] == compact(START)
    await chat.aclose()


async def test_a_single_use_generation_that_was_taken_over_fails(s2: S2, new_chat: NewChat) -> None:
    chat = await new_chat(mode="single-use")
    handed: list[Any] = []
    source = Source(START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=handed.append)
    await source.given.wait()
    await s2.basin("test-chats").stream("c").append([fence("session-other")])
    source.give(TEXT_START)
    with pytest.raises(FencingTokenMismatch):
        await handed[0]
    await chat.aclose()


@pytest.mark.parametrize("mode", MODES)
async def test_a_generation_that_was_stopped_elsewhere_ends_quietly_in_every_mode(
    s2: S2, mode: ModeName, new_chat: NewChat
) -> None:
    chat = await new_chat(mode=mode)
    handed: list[Any] = []
    source = Source(START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=handed.append)
    await source.given.wait()
    await s2.basin("test-chats").stream("c").append([fence("end-stop-AAAA")])
    source.give(TEXT_START)
    await handed[0]
    await source.closed.wait()
    await chat.aclose()


async def test_a_foreign_record_without_a_fence_ends_the_generation_with_an_error(
    chat: Chat, basin: Basin, error_body: str
) -> None:
    handed: list[Any] = []
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=handed.append))
    await reading.until("start")
    await basin.stream("c").append([AppendRecord('{"type":"foreign"}')])
    source.give(TEXT_START)
    with pytest.raises(SeqNumMismatch):
        await handed[0]
    assert [data for _, data in frames(await reading.rest())] == [*compact(START), '{"type":"foreign"}', error_body]
    await source.closed.wait()


# --- a store that fails ---


async def test_a_store_that_fails_once_gets_the_error_and_the_end(
    chat: Chat, basin: Basin, spy: SpyTransport, error_body: str
) -> None:
    handed: list[Any] = []
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=handed.append))
    await reading.until("start")

    def fail(name: str, batch: AppendInput) -> None:
        spy.before_append = None
        raise StorageFailed("the disk hiccuped")

    spy.before_append = fail
    source.give(TEXT_START)
    with pytest.raises(StorageFailed, match="hiccuped"):
        await handed[0]
    assert [data for _, data in frames(await reading.rest())] == [*compact(START), error_body]
    assert shown(await records_of(basin.stream("c")))[-1] == "fence error-"
    assert source.closed.is_set()
    assert (await chat.make_resumable("c", answer)).status == 200


async def test_a_store_that_stays_away_fails_the_generation_and_closes_its_source(
    chat: Chat, spy: SpyTransport, caplog: pytest.LogCaptureFixture
) -> None:
    handed: list[Any] = []
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=handed.append)
    await Reading(response).until("start")

    def fail(name: str, batch: AppendInput) -> None:
        raise StorageFailed("the disk is gone")

    spy.before_append = fail
    source.give(TEXT_START)
    with pytest.raises(StorageFailed, match="gone"):
        await handed[0]
    await source.closed.wait()
    assert "could not be written" in caplog.text
    await response.aclose()
    assert (spy.open_reads, spy.open_appends) == (0, 0)


@pytest.mark.parametrize("failure", [FencingTokenMismatch("session-other"), None], ids=["the same", "a new one each"])
async def test_a_takeover_that_several_phases_meet_is_no_failure(
    spy: SpyTransport, new_chat: NewChat, caplog: pytest.LogCaptureFixture, failure: FencingTokenMismatch | None
) -> None:
    chat = await new_chat(mode="shared")
    handed: list[Any] = []
    source = Source(START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=handed.append)

    def fence_out(name: str, batch: AppendInput) -> None:
        raise failure or FencingTokenMismatch("session-other")

    spy.before_append = fence_out
    source.give(TEXT_START)
    await handed[0]
    assert source.closed.is_set()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    await chat.aclose()


async def test_one_error_that_several_phases_meet_is_raised_once(spy: SpyTransport, new_chat: NewChat) -> None:
    chat = await new_chat()
    failure = StorageFailed("the disk is gone")
    handed: list[Any] = []
    source = Source(START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=handed.append)
    await source.given.wait()

    def fail(name: str, batch: AppendInput) -> None:
        raise failure

    spy.before_append = fail
    source.fail(failure)
    with pytest.raises(StorageFailed) as raised:
        await handed[0]
    assert raised.value is failure
    await chat.aclose()


async def test_errors_of_the_source_and_of_the_store_come_together(chat: Chat, spy: SpyTransport) -> None:
    handed: list[Any] = []
    source = Source(START)
    await chat.make_resumable("c", source, delivery="replay", wait_until=handed.append)
    await source.given.wait()

    def fail(name: str, batch: AppendInput) -> None:
        raise StorageFailed("the disk is gone")

    spy.before_append = fail
    source.fail(RuntimeError("the model is gone"))
    with pytest.raises(ExceptionGroup) as raised:
        await handed[0]
    assert [str(failure) for failure in raised.value.exceptions] == ["the model is gone", "the disk is gone"]


async def test_a_claim_that_fails_leaves_nothing_open(chat: Chat, spy: SpyTransport) -> None:
    def fail(name: str, batch: AppendInput) -> None:
        raise StorageFailed("the disk is gone")

    spy.before_append = fail
    source = Source(START)
    with pytest.raises(StorageFailed):
        await chat.make_resumable("c", source)
    assert source.calls == 0
    assert (spy.open_reads, spy.open_appends) == (0, 0)


async def test_who_resumes_where_it_is_generated_need_not_look_for_its_beginning(
    spy: SpyTransport, new_chat: NewChat
) -> None:
    chat, other = await new_chat(), await new_chat()
    source = Source(START, text("a"))
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("a")
    spy.reads.clear()
    here = Reading(await chat.replay("c", active_only=True))
    assert spy.reads == []
    elsewhere = Reading(await other.replay("c", active_only=True))
    assert spy.reads != []
    source.give(FINISH)
    source.end()
    assert await here.rest() == await elsewhere.rest() == await reading.rest()
    await chat.aclose()
    await other.aclose()


# --- leases ---


async def test_a_chat_without_a_lease_offers_none_and_renews_nothing(s2: S2, new_chat: NewChat) -> None:
    chat = await new_chat(session_lease_ms=None)
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    await Reading(response).until("start")
    (claim, *_) = await records_of(s2.basin("test-chats").stream("c"))
    assert len(claim.body) == 20
    source.end()
    await chat.aclose()
    await response.aclose()


# --- shutting down ---


async def test_draining_waits_for_the_generations(chat: Chat, basin: Basin) -> None:
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    draining = asyncio.create_task(chat.drain())
    await source.given.wait()
    assert not draining.done()
    source.end()
    await draining
    assert shown(await records_of(basin.stream("c")))[-1] == "fence end-"
    await response.aclose()


async def test_what_still_runs_after_the_time_to_drain_ends_with_an_error(
    chat: Chat, basin: Basin, error_body: str
) -> None:
    source = Source(START, TEXT_START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await source.given.wait()
    await chat.drain(timeout=0)
    assert source.closed.is_set()
    assert shown(await records_of(basin.stream("c")))[-2:] == [error_body, "fence error-"]
    assert frames(await reading.rest())[-1][1] == error_body


@pytest.mark.parametrize("mode", MODES)
async def test_a_task_that_is_cancelled_from_outside_writes_its_end(
    s2: S2, mode: ModeName, spy: SpyTransport, new_chat: NewChat
) -> None:
    chat = await new_chat(mode=mode)
    handed: list[asyncio.Task[None]] = []
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=handed.append)  # type: ignore[arg-type]  # it is a task
    await source.given.wait()
    await response.aclose()
    handed[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await handed[0]
    assert source.closed.is_set()
    assert shown(await records_of(s2.basin("test-chats").stream("c")))[-1] == "fence error-"
    await chat.aclose()
    assert (spy.open_reads, spy.open_appends) == (0, 0)


async def test_a_source_that_swallows_its_cancellation_ends_all_the_same(
    chat: Chat, basin: Basin, stop_body: str
) -> None:
    waiting = asyncio.Event()

    async def stubborn() -> AsyncIterator[Chunk]:
        yield START
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        while True:
            yield text("more")

    response = await chat.make_resumable("c", stubborn, wait_until=chat.background)
    await waiting.wait()
    assert await chat.stop("c")
    assert shown(await records_of(basin.stream("c")))[-2:] == [stop_body, "fence end-stop-"]
    await response.aclose()


@pytest.mark.parametrize("end", ["stop", "takeover", "store", "shutdown"])
async def test_a_source_that_never_waits_is_closed_whatever_ends_it(
    chat: Chat, basin: Basin, spy: SpyTransport, end: str
) -> None:
    """No cancellation reaches it where it stands: at its `yield`."""
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[Chunk, None]:
        try:
            while True:
                yield text("more")
        finally:
            closed.set()

    def fail(name: str, batch: AppendInput) -> None:
        raise StorageFailed("the disk is gone")

    source = endless()  # held here, so that it is not closed for being dropped
    handed: list[asyncio.Task[None]] = []
    await chat.make_resumable("c", source, delivery="replay", wait_until=handed.append)  # type: ignore[arg-type]  # a task
    await until(lambda: len(spy.appends) > 2)
    match end:
        case "stop":
            assert await chat.stop("c")
        case "takeover":
            await basin.stream("c").append([fence("session-other")])
        case "store":
            spy.before_append = fail
        case _:
            await chat.drain(timeout=0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.wait(handed)
    assert closed.is_set()
    assert isinstance(handed[0].exception(), StorageFailed if end == "store" else type(None))
    await source.aclose()


async def test_resources_are_let_go_on_every_way(spy: SpyTransport, new_chat: NewChat) -> None:
    """409, a claim that fails, 202, a whole body, a cancelled body, a body that fails."""
    chat = await new_chat()
    await body_of(await chat.make_resumable("c", answer))
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    assert (await chat.make_resumable("c", answer)).status == 409
    replaying = await chat.replay("c", active_only=True)
    await Reading(replaying).until("start")
    await replaying.aclose()
    assert spy.open_reads <= 1  # the writer's own look at its stream in a pause
    source.end()
    await body_of(response)
    assert (await chat.make_resumable("c", answer, delivery="replay")).status == 202
    await chat.drain()
    await until(lambda: (spy.open_reads, spy.open_appends) == (0, 0))
    await chat.aclose()
