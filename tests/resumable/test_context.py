"""Text streams: started once, joined by anybody, and stored whatever becomes of those who read them."""

import asyncio
import gc
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest

from perdure import S2, AppendRecord, Stream, UsageError
from perdure.errors import FencingTokenMismatch, SeqNumMismatch, SessionClosed, StreamNotFound, Unavailable
from perdure.model.batches import AppendInput
from perdure.model.reads import ReadRequest
from perdure.resumable import (
    MISSING,
    GenerationInterrupted,
    ResumableStreamContext,
    TextStream,
    create_resumable_stream_context,
    text_response,
)
from perdure.resumable.json_body import SourceError
from perdure.resumable.settings import Surroundings
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import HOLDER, fence, records_of, shown, until, write
from tests.resumable.spy_transport import SpyTransport
from tests.resumable.texts import Words, ended, text_of, texts_of, until_text

BASIN = "test-texts"
NewContext = Callable[..., Awaitable[ResumableStreamContext]]


@pytest.fixture
async def new_context(s2: S2, spy: SpyTransport) -> AsyncIterator[NewContext]:
    """Makes contexts on the embedded store; nothing they opened may be left in the end."""
    made: list[ResumableStreamContext] = []

    async def make(**options: Any) -> ResumableStreamContext:
        context = create_resumable_stream_context(s2, **{"basin": BASIN, **options})
        made.append(context)
        return await context.__aenter__()

    yield make
    for context in made:
        await context.aclose(timeout=0)
    gc.collect()
    await asyncio.sleep(0)
    await until(lambda: (spy.open_appends, spy.open_reads) == (0, 0))


@pytest.fixture
async def context(new_context: NewContext) -> ResumableStreamContext:
    return await new_context()


@pytest.fixture
async def stream(s2: S2, context: ResumableStreamContext) -> Stream:
    """The stream "a", for looking at it."""
    return s2.basin(BASIN).stream("a")


async def test_who_starts_and_who_joins_get_the_same_text(context: ResumableStreamContext) -> None:
    source = Words("1\n", "2\n")
    started = await context.resumable_stream("a", source)
    joined = await context.resumable_stream("a", source)
    resumed = await context.resume_stream("a")
    for reader in (started, joined, resumed):
        assert await until_text(reader, "2\n") == "1\n2\n"
    source.give("3\n")
    source.end()
    assert await texts_of([started, joined, resumed]) == {"3\n"}
    assert source.calls == 1


async def test_of_many_who_start_at_once_one_does(context: ResumableStreamContext) -> None:
    sources = [ended(*[f"{number}-{index} " for index in range(20)]) for number in range(8)]
    streams = await asyncio.gather(*[context.resumable_stream("a", source) for source in sources])
    (text,) = await texts_of(streams)
    (winner,) = (number for number, source in enumerate(sources) if source.calls)
    assert text == "".join(f"{winner}-{index} " for index in range(20))


async def test_streams_do_not_mix(context: ResumableStreamContext) -> None:
    names = [f"s{number}" for number in range(10)]
    for name in names:
        assert await context.resumable_stream(name, ended(*[f"{name} "] * 20)) is not None
    for name, stream in zip(names, [await context.resume_stream(name) for name in names], strict=True):
        assert await texts_of([stream, await context.resume_stream(name)]) == {f"{name} " * 20}


async def test_records_are_those_of_other_implementations(context: ResumableStreamContext, stream: Stream) -> None:
    assert await text_of(await context.resumable_stream("a", ended("Grüße ", "", "😀"))) == "Grüße 😀"
    await context.drain()
    first, *data, last = await records_of(stream)
    assert [(record.headers, record.body) for record in data] == [
        ((), b"Gr\xc3\xbc\xc3\x9fe "),
        ((), b""),
        ((), b"\xf0\x9f\x98\x80"),
    ]
    assert (first.headers, last.headers) == (((b"", b"fence"),),) * 2
    assert re.fullmatch("session-[0-9a-z]{5}", first.text)
    assert re.fullmatch("end-[0-9a-z]{5}", last.text)


async def test_a_failed_source_ends_the_text_and_raises_to_who_brought_it(
    context: ResumableStreamContext, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    source = Words("half ")
    started = await context.resumable_stream("a", source)
    joined = await context.resume_stream("a")
    source.fail(RuntimeError("secret"))
    assert await until_text(started, "half ") == "half "
    with pytest.raises(RuntimeError, match="secret"):
        await text_of(started)
    assert await text_of(joined) == "half "
    await context.drain()
    assert shown(await records_of(stream)) == ["fence session-", "half ", "fence error-"]
    assert await context.resumable_stream("a", source) is None
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_source_that_gives_no_text_fails(context: ResumableStreamContext, stream: Stream) -> None:
    with pytest.raises(SourceError, match="yields str, got builtins\\.int"):
        await text_of(await context.resumable_stream("a", lambda: cast("Any", ["a", 1])))
    await context.drain()
    assert shown(await records_of(stream))[1:] == ["a", "fence error-"]


def blocking() -> Any:
    yield "a"
    yield "b"


async def awaited() -> Any:
    return ["a", "b"]


@pytest.mark.parametrize("make", [ended("a", "b"), blocking, awaited, lambda: ["a", "b"], lambda: "ab"])
async def test_sources_of_every_kind(context: ResumableStreamContext, make: Any) -> None:
    assert await texts_of([await context.resumable_stream("a", make), await context.resume_stream("a")]) == {"ab"}


async def test_a_source_that_is_no_function_is_refused(context: ResumableStreamContext) -> None:
    with pytest.raises(ValueError, match="make_stream must be a function"):
        await context.resumable_stream("a", ["a"])  # type: ignore[arg-type]  # on purpose


async def test_a_chunk_that_no_record_can_hold_is_stored(context: ResumableStreamContext) -> None:
    text = "😀é€x" * 300_000
    assert await texts_of([await context.resumable_stream("a", ended(text)), await context.resume_stream("a")]) == {
        text
    }


# --- the source is asked only by who may write ---


async def test_a_stream_that_is_done_is_not_started(context: ResumableStreamContext) -> None:
    await text_of(await context.resumable_stream("a", ended("x")))
    await context.drain()
    source = ended("y")
    assert await context.resumable_stream("a", source) is None
    assert await context.create_new_resumable_stream("a", source) is None
    assert source.calls == 0
    assert await text_of(await context.resume_stream("a")) == "x"


async def test_a_stream_that_somebody_else_writes_is_joined(context: ResumableStreamContext, stream: Stream) -> None:
    await write(stream, fence("session-abcde"), "theirs")
    source = ended("ours")
    joined = await context.resumable_stream("a", source)
    assert await until_text(joined, "theirs") == "theirs"
    assert await context.create_new_resumable_stream("a", source) is None
    await write(stream, fence("end-abcde"))
    assert await text_of(joined) == ""
    assert source.calls == 0


def refuse_appends(spy: SpyTransport) -> None:
    def refuse(name: str, batch: AppendInput) -> None:
        raise Unavailable("no")

    spy.before_append = refuse


def refuse_reads(spy: SpyTransport) -> list[str]:
    """Gives the streams that were asked for, one for each attempt."""
    asked: list[str] = []

    def refuse(name: str, request: ReadRequest) -> None:
        asked.append(name)
        raise Unavailable("no")

    spy.before_read = refuse
    return asked


async def test_a_store_that_fails_is_not_a_stream_that_is_done(
    context: ResumableStreamContext, spy: SpyTransport
) -> None:
    refuse_appends(spy)
    source = ended("x")
    with pytest.raises(Unavailable):
        await context.resumable_stream("a", source)
    assert source.calls == 0


async def test_a_store_that_fails_is_not_a_stream_that_is_missing_either(
    context: ResumableStreamContext, spy: SpyTransport
) -> None:
    await text_of(await context.resumable_stream("a", ended("x")))
    await context.drain()
    refuse_reads(spy)
    for ask in (context.has_existing_stream, context.resume_existing_stream, context.resume_stream):
        with pytest.raises(Unavailable):
            await ask("a")


async def test_to_start_a_stream_is_one_append(context: ResumableStreamContext, spy: SpyTransport) -> None:
    source = ended("x")
    refuse_reads(spy)
    assert await text_of(await context.resumable_stream("a", source)) == "x"
    assert source.calls == 1
    assert spy.appends[0][1].fencing_token == ""


async def test_joining_fails_at_once_if_it_cannot_be_opened(context: ResumableStreamContext, spy: SpyTransport) -> None:
    asked = refuse_reads(spy)
    with pytest.raises(Unavailable):
        await context.resume_stream("a")

    def is_missing(name: str, request: ReadRequest) -> None:
        asked.append(name)
        raise StreamNotFound("no such stream")

    spy.before_read = is_missing
    assert await context.resume_stream("a") is None
    assert asked == ["a", "a"]


async def test_a_stream_may_hold_records_before_it_is_started(context: ResumableStreamContext, stream: Stream) -> None:
    await write(stream, "a", "b", "c")
    assert await text_of(await context.resumable_stream("a", ended("d", "e"))) == "de"
    assert await text_of(await context.resume_stream("a")) == "abcde"


async def test_a_claim_whose_answer_was_lost_counts(context: ResumableStreamContext, spy: SpyTransport) -> None:
    spy.lose_acks = 1
    assert await texts_of([await context.resumable_stream("a", ended("x")), await context.resume_stream("a")]) == {"x"}


async def test_a_start_that_is_cancelled_is_stored_all_the_same(context: ResumableStreamContext) -> None:
    source = Words("x")
    starting = asyncio.create_task(context.resumable_stream("a", source))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await source.given.wait()
    source.end()
    await context.drain()
    assert await text_of(await context.resume_stream("a")) == "x"


# --- two readers of one source ---


async def test_storing_goes_on_when_the_caller_goes(context: ResumableStreamContext) -> None:
    source = Words("a")
    started = await context.resumable_stream("a", source)
    assert started is not None
    assert await until_text(started, "a") == "a"
    await started.aclose()
    assert await text_of(started) == ""
    source.give("b")
    source.end()
    assert await text_of(await context.resume_stream("a")) == "ab"


async def test_a_caller_that_reads_nothing_holds_nothing_up(context: ResumableStreamContext) -> None:
    started = await context.resumable_stream("a", ended(*["word "] * 2000))
    assert await text_of(await context.resume_stream("a")) == "word " * 2000
    assert await text_of(started) == "word " * 2000


async def test_stopping_ends_those_who_joined_and_not_who_started(context: ResumableStreamContext) -> None:
    source = Words("a")
    started = await context.resumable_stream("a", source)
    joined = [await context.resume_stream("a") for _ in range(3)]
    for reader in joined:
        await until_text(reader, "a")
    await context.stop_stream("a")
    assert await texts_of(joined) == {""}
    source.give("b")
    assert await until_text(started, "b") == "ab"
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert started is not None
        await started.aclose()
        await source.closed.wait()
    assert await text_of(await context.resume_stream("a")) == "a"
    assert await context.resumable_stream("a", source) is None


async def test_a_stop_from_elsewhere_ends_a_writer_that_is_silent(new_context: NewContext) -> None:
    here, there = await new_context(), await new_context()
    source = Words("a")
    started = await here.resumable_stream("a", source)
    joined = await there.resume_stream("a")
    await until_text(joined, "a")
    assert started is not None
    await started.aclose()
    await there.stop_stream("a")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await text_of(joined) == ""
        await source.closed.wait()


async def test_a_source_that_nobody_wants_is_closed_although_its_reader_was_only_dropped(
    context: ResumableStreamContext,
) -> None:
    source = Words("a")
    started = await context.resumable_stream("a", source)
    await source.given.wait()
    await context.stop_stream("a")
    assert not source.closed.is_set()
    del started
    gc.collect()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await source.closed.wait()


async def test_a_joined_stream_that_was_dropped_is_closed(context: ResumableStreamContext, spy: SpyTransport) -> None:
    joined = await context.resume_stream("a")
    assert spy.open_reads == 1
    del joined
    gc.collect()
    await until(lambda: spy.open_reads == 0)


async def test_closing_is_prompt_while_a_read_waits(context: ResumableStreamContext, spy: SpyTransport) -> None:
    source = Words("a")
    started, joined = await context.resumable_stream("a", source), await context.resume_stream("a")
    for reader in (started, joined):
        assert reader is not None
        assert await until_text(reader, "a") == "a"
        waiting = asyncio.create_task(text_of(reader))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await reader.aclose()
            await reader.aclose()
            assert await waiting == ""
    assert spy.open_reads == 0


async def test_a_wait_that_is_cancelled_loses_nothing(context: ResumableStreamContext) -> None:
    source = Words("a")
    started, joined = await context.resumable_stream("a", source), await context.resume_stream("a")
    for reader in (started, joined):
        assert reader is not None
        assert await until_text(reader, "a") == "a"
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    source.give("b")
    source.end()
    assert await texts_of([started, joined]) == {"b"}


async def test_a_start_may_be_cancelled_at_any_turn_of_the_loop(context: ResumableStreamContext) -> None:
    turns = 0
    while True:
        name, source = f"s{turns}", ended("x", "y")
        starting = asyncio.ensure_future(context.resumable_stream(name, source))
        for _ in range(turns):
            await asyncio.sleep(0)
        was_done = starting.done()
        starting.cancel()
        await asyncio.wait((starting,))
        await context.drain()
        # Either it was never asked for, or all of it is stored.
        assert await context.has_existing_stream(name) in ((None,) if not source.calls else ("DONE",))
        if source.calls:
            assert await text_of(await context.resume_stream(name)) == "xy"
        if was_done:
            break
        turns += 1
    assert turns > 1


@pytest.mark.parametrize("failure", [SeqNumMismatch(7), FencingTokenMismatch("end-abcde"), Unavailable("no")])
async def test_what_becomes_of_storing_is_nobodys_failure(
    context: ResumableStreamContext, spy: SpyTransport, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    stored: list[Awaitable[None]] = []
    context = create_resumable_stream_context(context._client, basin=BASIN, wait_until=stored.append)
    source = Words("a")
    async with context:
        started = await context.resumable_stream("a", source)
        await until(lambda: len(spy.appends) == 2)

        def refuse(name: str, batch: AppendInput) -> None:
            raise failure

        spy.before_append = refuse
        source.give("b")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await stored[0]
        source.give("c")
        source.end()
        assert await text_of(started) == "abc"
    spy.before_append = None
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    store_failed = isinstance(failure, Unavailable)
    assert any(record.levelno == logging.WARNING for record in caplog.records) == store_failed


async def test_a_record_of_somebody_else_right_before_the_end_is_nobodys_failure(
    context: ResumableStreamContext, stream: Stream, spy: SpyTransport, caplog: pytest.LogCaptureFixture
) -> None:
    source = Words("a")
    started, joined = await context.resumable_stream("a", source), await context.resume_stream("a")
    assert await until_text(joined, "a") == "a"
    await write(stream, "theirs")
    source.end()  # nothing but the terminal fence is left to write
    assert await text_of(started) == "a"
    assert await text_of(joined) == "theirs"
    await context.drain()
    assert shown(await records_of(stream))[1:3] == ["a", "theirs"]
    assert await context.has_existing_stream("a") == "DONE"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_wait_until_is_told_when_it_is_stored(new_context: NewContext) -> None:
    stored: list[Awaitable[None]] = []
    context = await new_context(wait_until=stored.append)
    source = Words("a")
    assert await context.resumable_stream("a", source) is not None
    waiting = asyncio.ensure_future(stored[0])
    await source.given.wait()
    assert not waiting.done()
    source.end()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await waiting
    assert await context.has_existing_stream("a") == "DONE"


# --- the calls of resumable-stream ---


async def test_what_there_is_can_be_asked_for(context: ResumableStreamContext) -> None:
    assert await context.has_existing_stream("a") is None
    assert await context.resume_existing_stream("a") is MISSING
    source = Words("1\n", "2\n")
    started = await context.create_new_resumable_stream("a", source, 3)
    assert await until_text(started, "2\n") == "1\n2\n"
    await until_text(await context.resume_stream("a"), "2\n")
    assert await context.has_existing_stream("a") is True
    joined = await context.resume_existing_stream("a", 2)
    again = await context.resumable_stream("a", source, 5)
    source.give("3\n")
    source.end()
    assert await text_of(joined) == "2\n3\n"
    assert await text_of(again) == "\n"
    await context.drain()
    assert await context.has_existing_stream("a") == "DONE"
    assert await context.resume_existing_stream("a") is None
    assert await text_of(await context.resume_stream("a", 6)) == ""
    assert await text_of(await context.resume_stream("a", 99)) == ""
    assert not MISSING


async def test_characters_are_counted_as_browsers_do_unless_told_otherwise(context: ResumableStreamContext) -> None:
    await text_of(await context.resumable_stream("a", ended("😀", "a", "b")))
    assert await text_of(await context.resume_stream("a", 2)) == "ab"
    assert await text_of(await context.resume_stream("a", 2, unit="codepoint")) == "b"
    with pytest.raises(ValueError, match="skip_characters"):
        await context.resume_stream("a", -1)


async def test_a_prefix_is_part_of_the_name(new_context: NewContext, s2: S2) -> None:
    context = await new_context(key_prefix="texts")
    await text_of(await context.resumable_stream("a", ended("x")))
    assert [info.name async for info in s2.basin(BASIN).streams.list_all()] == ["texts/a"]


@pytest.mark.parametrize("bad", ["", None, 1, ".", "x" * 600])
async def test_names_that_no_stream_can_have_are_refused(context: ResumableStreamContext, bad: Any) -> None:
    source = ended("x")
    with pytest.raises(ValueError, match=r"stream_id|stream name"):
        await context.resumable_stream(bad, source)
    assert source.calls == 0


# --- the life of a context ---


async def test_closing_waits_for_what_runs_and_then_ends_it(new_context: NewContext, stream: Stream) -> None:
    context = await new_context()
    source = Words("a")
    started = await context.resumable_stream("a", source)
    await source.given.wait()
    await context.aclose(timeout=0.05)
    assert source.closed.is_set()
    with pytest.raises(GenerationInterrupted):
        await text_of(started)
    assert shown(await records_of(stream)) == ["fence session-", "a", "fence error-"]
    for call in (partial(context.resumable_stream, "b", source), partial(context.resume_stream, "a")):
        with pytest.raises(SessionClosed):
            await call()
    await context.aclose()


async def test_a_lifespan_opens_a_directory_and_keeps_what_is_in_it(tmp_path: Any) -> None:
    for number in range(2):
        context = create_resumable_stream_context(path=tmp_path / "data", basin=BASIN)
        async with context.lifespan(object()):
            assert await context.has_existing_stream("a") == ("DONE" if number else None)
            if not number:
                await text_of(await context.resumable_stream("a", ended("x")))
                await context.drain()


async def test_a_stream_whose_process_died_is_ended_by_hand(context: ResumableStreamContext, stream: Stream) -> None:
    await write(stream, fence("session-abcde"), "half")
    joined = await context.resumable_stream("a", ended("y"))
    assert await until_text(joined, "half") == "half"
    await context.stop_stream("a")
    assert await text_of(joined) == ""


async def test_a_stream_whose_process_died_is_ended_by_its_readers_if_there_is_a_lease(
    new_context: NewContext, stream: Stream
) -> None:
    now = 1_000
    context = await new_context(lease_ms=50, surroundings=Surroundings(now_ms=lambda: now, jitter=lambda: 0.0))
    await stream.append([AppendRecord.fence(f"{HOLDER}.50", timestamp=now), AppendRecord("half", timestamp=now)])
    joined = [await context.resume_stream("a") for _ in range(5)]
    for reader in joined:
        assert await until_text(reader, "half") == "half"
    now += 100_000_000_000_000
    assert await texts_of(joined) == {""}
    assert shown(await records_of(stream))[1:] == ["half", "fence error-"]
    assert await context.has_existing_stream("a") == "DONE"


# --- where it is ---


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("ACCESS_TOKEN", "BASIN", "ACCOUNT_ENDPOINT", "BASIN_ENDPOINT", "BATCH_SIZE", "LINGER_DURATION_MS"):
        monkeypatch.delenv(f"S2_{name}", raising=False)
    return monkeypatch


def test_what_is_not_set_is_told_at_once(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="basin name must be 8 to 48 bytes long, got 5"):
        create_resumable_stream_context(path=":memory:", basin="texts")
    with pytest.raises(UsageError, match="S2_ACCESS_TOKEN is not set"):
        create_resumable_stream_context(basin=BASIN)
    environment.setenv("S2_ACCESS_TOKEN", "t")
    with pytest.raises(UsageError, match="S2_BASIN is not set"):
        create_resumable_stream_context()
    with pytest.raises(UsageError, match="S2_BASIN is not set"):
        create_resumable_stream_context(path=":memory:")
    environment.setenv("S2_BASIN", BASIN)
    environment.setenv("S2_ACCOUNT_ENDPOINT", "")
    create_resumable_stream_context()
    with pytest.raises(UsageError, match="not both"):
        create_resumable_stream_context(S2.open(":memory:"), path=":memory:")


@pytest.mark.parametrize("name", ["S2_BATCH_SIZE", "S2_LINGER_DURATION_MS"])
@pytest.mark.parametrize("value", ["ten", "-1", "nan", "1e99"])
def test_numbers_that_are_none_are_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(ValueError, match=rf"{name}|batch_size|linger_ms"):
        create_resumable_stream_context(path=":memory:", basin=BASIN)


async def test_the_environment_is_read_with_each_call(
    environment: pytest.MonkeyPatch, s2: S2, spy: SpyTransport
) -> None:
    environment.setenv("S2_BASIN", "first-basin")
    context = create_resumable_stream_context(s2)
    assert await text_of(await context.resumable_stream("a", ended("x"))) == "x"
    environment.setenv("S2_BASIN", "second-basin")
    environment.setenv("S2_BATCH_SIZE", "2")
    assert await text_of(await context.resumable_stream("a", ended(*"abcdefgh"))) == "abcdefgh"
    await context.aclose()
    assert {basin.name async for basin in s2.basins.list_all()} == {"first-basin", "second-basin"}
    assert max(len(batch.records) for _, batch in spy.appends[2:]) == 2


# --- as an answer to a request ---


async def test_as_a_response(context: ResumableStreamContext) -> None:
    response = text_response(await context.resumable_stream("a", ended("data: é\n\n")), media_type="text/event-stream")
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert response.chunks is not None
    assert b"".join([chunk async for chunk in response.chunks]) == "data: é\n\n".encode()
    await response.aclose()
    await context.drain()
    done = text_response(await context.resume_existing_stream("a"))
    assert (done.status, done.body) == (422, b"Stream is already done")
    missing = text_response(await context.resume_existing_stream("b"))
    assert (missing.status, missing.body) == (404, b"No such stream")


async def test_a_response_closes_its_stream(context: ResumableStreamContext, spy: SpyTransport) -> None:
    joined = await context.resume_stream("a")
    assert isinstance(joined, TextStream)
    response = text_response(joined)
    assert spy.open_reads == 1
    await response.aclose()
    assert spy.open_reads == 0
