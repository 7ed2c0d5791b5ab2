"""Turns of a session: what is stored of the user, what the source is given, and how it is stopped."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from perdure import S2, Invalid, Stream
from perdure.errors import StorageFailed
from perdure.resumable.responses import ChatResponse
from perdure.resumable.settings import ModeName
from perdure.resumable.tanstack_ai import SourceContext, TanstackChat
from tests.resumable.chats import (
    BASIN,
    HOLDER,
    Reading,
    Source,
    fence,
    leased,
    records_of,
    shown,
    tanstack_chat_on,
    write,
)
from tests.resumable.spy_transport import SpyTransport
from tests.resumable.tanstack_scripts import (
    Event,
    answer,
    bodies,
    run_error,
    run_finished,
    run_started,
    text_content,
    text_start,
)

U1: Event = {"id": "u1", "role": "user", "parts": [{"type": "text", "content": "hi"}]}
STOPPED = '{"type":"RUN_FINISHED","runId":"r1","threadId":"t1","model":"s2-stop","timestamp":0,"finishReason":"stop"}'


@pytest.fixture(params=[False, True], ids=["", "enable_stop"])
async def chat(s2: S2, request: pytest.FixtureRequest) -> AsyncIterator[TanstackChat]:
    chat = await tanstack_chat_on(s2, enable_stop=request.param)
    yield chat
    await chat.aclose(timeout=0)


@pytest.fixture
def stream(chat: TanstackChat, s2: S2) -> Stream:
    return s2.basin(BASIN).stream("c")


class Model:
    """A source of a session that notes what it is given, and gives what a `Source` gives."""

    def __init__(self, *events: Event) -> None:
        self.source = Source(*events)
        self.messages: list[Any] = []
        self.contexts: list[SourceContext] = []

    def __call__(self, messages: list[Any], context: SourceContext) -> AsyncIterator[Event]:
        self.messages.append(messages)
        self.contexts.append(context)
        return self.source()


async def post(chat: TanstackChat, messages: object, *events: Event) -> tuple[ChatResponse, Model]:
    """A turn that ends by itself."""
    model = Model(*events)
    model.source.end()
    response = await chat.make_session_response("c", messages=messages, source=model)
    await chat.drain()
    return response, model


# --- what is stored ---


async def test_the_user_s_message_comes_first_and_the_answer_follows(chat: TanstackChat, stream: Stream) -> None:
    response, model = await post(chat, [U1], *answer("Hello"))
    assert response.status == 202
    assert response.headers["cache-control"] == "no-store"
    assert model.messages == [[U1]]
    assert shown(await records_of(stream)) == [
        "fence session-",
        '{"type":"TEXT_MESSAGE_START","timestamp":0,"messageId":"u1","role":"user"}',
        '{"type":"TEXT_MESSAGE_CONTENT","timestamp":0,"messageId":"u1","delta":"hi"}',
        '{"type":"TEXT_MESSAGE_END","timestamp":0,"messageId":"u1"}',
        *bodies(*answer("Hello")),
        "fence end-",
    ]
    times = [json.loads(record.text)["timestamp"] for record in (await records_of(stream))[1:4]]
    assert all(isinstance(time, int) for time in times)


async def test_of_a_long_list_only_what_is_new_is_stored(chat: TanstackChat, stream: Stream) -> None:
    """The list is what the model gets; the log has the rest of it already."""
    old: list[Event] = [
        {"id": f"old-{number}", "role": role, "parts": [{"type": "text", "content": "old"}]}
        for number, role in enumerate(("system", "user", "assistant"))
    ]
    _, model = await post(chat, [*old, U1], *answer("Hello"))
    assert model.messages == [[*old, U1]]
    stored = shown(await records_of(stream))
    assert len(stored) == 1 + 3 + len(answer("Hello")) + 1
    assert "old" not in "".join(stored)


async def test_a_list_that_ends_with_an_answer_continues_it(chat: TanstackChat, stream: Stream) -> None:
    result: Event = {"type": "tool-result", "toolCallId": "c1", "content": "1", "state": "complete"}
    continued: Event = {"id": "a1", "role": "assistant", "parts": [result]}
    _, model = await post(chat, [U1, continued], *answer("x"))
    assert shown(await records_of(stream))[1] == bodies(run_started())[0]
    assert model.messages == [[U1, continued]]


@pytest.mark.parametrize("messages", [[], None, "text", [{"role": "critic"}]])
async def test_without_messages_nothing_is_generated(chat: TanstackChat, stream: Stream, messages: object) -> None:
    response, model = await post(chat, messages, *answer("x"))
    assert response.status == 202
    assert model.messages == []
    assert shown(await records_of(stream)) == ["fence session-", "fence end-"]


async def test_the_text_is_that_of_all_text_parts_and_may_be_empty(chat: TanstackChat, stream: Stream) -> None:
    image: Event = {"type": "image", "source": {"type": "url", "value": "x"}}
    parts = [{"type": "text", "content": "a"}, image, {"type": "text", "content": "b\u2028"}]
    await post(chat, [{"role": "user", "parts": parts}])
    assert json.loads(shown(await records_of(stream))[2])["delta"] == "ab\u2028"
    assert json.loads(shown(await records_of(stream))[2])["messageId"] == "message-0"
    await post(chat, [{"id": "u2", "role": "user", "parts": [image]}])
    kinds = [json.loads(body)["type"] for body in shown(await records_of(stream))[6:-1]]
    assert kinds == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_END"]


async def test_a_text_larger_than_a_record_is_stored_in_pieces(chat: TanstackChat) -> None:
    text = "\x01" * 1_200_000
    await post(chat, [{"id": "u1", "role": "user", "content": text}], *answer("x"))
    user, _ = (await chat.history("c"))["messages"]
    assert user["parts"] == [{"type": "text", "content": text}]


async def test_a_message_sent_again_is_in_the_history_once(chat: TanstackChat) -> None:
    await post(chat, [U1], *answer("Hello"))
    await post(chat, [U1], *answer("Hey", message="a2", run="r2"))
    messages = (await chat.history("c"))["messages"]
    assert [made["id"] for made in messages] == ["u1", "a2"]
    assert messages[0]["parts"] == U1["parts"]


async def test_wire_messages_reach_the_source_with_parts(chat: TanstackChat) -> None:
    wire: list[Event] = [
        {"id": "u1", "role": "user", "content": "hi"},
        {"id": "t1", "role": "tool", "toolCallId": "c1", "content": "1"},
    ]
    _, model = await post(chat, wire, *answer("x"))
    ((user, tool),) = model.messages
    assert user["parts"] == U1["parts"]
    assert tool == wire[1]


async def test_a_source_may_be_awaited_or_run_by_a_thread(chat: TanstackChat, stream: Stream) -> None:
    async def awaited(messages: list[Any], context: SourceContext) -> list[Event]:
        return answer("A")

    def blocking(messages: list[Any], context: SourceContext) -> Iterator[Event]:
        yield from answer("B")

    for source in (awaited, blocking):
        assert (await chat.make_session_response("c", messages=[U1], source=source)).status == 202
        await chat.drain()
    deltas = [body for body in shown(await records_of(stream)) if '"a1","delta"' in body]
    assert [json.loads(body)["delta"] for body in deltas] == ["A", "B"]


@pytest.mark.parametrize("mode", ["single-use", "shared"])
async def test_sessions_need_a_log_that_keeps_them(s2: S2, mode: ModeName) -> None:
    chat = await tanstack_chat_on(s2, mode=mode)
    with pytest.raises(Invalid, match='makeSessionResponse requires mode: "session"'):
        await chat.make_session_response("c", messages=[U1], source=Model())
    with pytest.raises(Invalid, match='stopSession requires mode: "session"'):
        await chat.stop_session("c")
    await chat.aclose()


# --- when it is answered ---


async def test_without_wait_until_the_answer_comes_when_all_is_stored(chat: TanstackChat, stream: Stream) -> None:
    model = Model(run_started())
    posting = asyncio.create_task(chat.make_session_response("c", messages=[U1], source=model))
    await model.source.given.wait()
    assert not posting.done()
    model.source.end()
    assert (await posting).status == 202
    assert shown(await records_of(stream))[-1] == "fence end-"


async def test_with_wait_until_it_comes_at_once(chat: TanstackChat) -> None:
    model = Model(run_started())
    response = await chat.make_session_response("c", messages=[U1], source=model, wait_until=chat.background)
    assert response.status == 202
    await model.source.given.wait()
    assert not model.source.closed.is_set()


async def test_a_turn_that_is_refused_stores_nothing_and_calls_nothing(chat: TanstackChat, stream: Stream) -> None:
    await write(stream, fence(HOLDER))
    response, model = await post(chat, [U1], *answer("x"))
    assert (response.status, response.body) == (409, b"Stream already in use")
    assert model.messages == []
    assert shown(await records_of(stream)) == [f"fence {HOLDER[:8]}"]
    # The refusal has left nothing behind that would stop or refuse the next turn.
    await write(stream, fence("end-AAAA"))
    response, _ = await post(chat, [U1], *answer("x"))
    assert response.status == 202


async def test_a_turn_that_the_store_refuses_leaves_the_next_one_free(
    chat: TanstackChat, spy: SpyTransport, stream: Stream
) -> None:
    def refuse(name: str, batch: object) -> None:
        raise StorageFailed("the disk hiccuped")

    spy.before_append = refuse
    with pytest.raises(StorageFailed):
        await post(chat, [U1], *answer("x"))
    spy.before_append = None
    response, _ = await post(chat, [U1], *answer("x"))
    assert response.status == 202
    for _ in range(2):  # nor does a name that is none
        bad = await chat.make_session_response("", messages=[U1], source=Model())
        assert bad.status == 400


# --- stops ---


async def test_a_stop_ends_the_turn_under_its_own_run(chat: TanstackChat, stream: Stream, spy: SpyTransport) -> None:
    model = Model(run_started("r1"), text_start(), text_content("Hel"))
    posting = asyncio.create_task(chat.make_session_response("c", messages=[U1], source=model))
    await model.source.given.wait()
    response = await chat.stop_session("c")
    assert response.status == 202
    assert (await posting).status == 202
    assert shown(await records_of(stream))[-2:] == [STOPPED, "fence end-stop-"]
    assert model.contexts[0].signal.aborted
    assert model.source.closed.is_set()
    claims = [batch for _, batch in spy.appends if batch.records[0].body.startswith(b"session-")]
    assert len(claims) == 1
    assert (await chat.stop_session("c")).status == 204
    response, _ = await post(chat, [U1], *answer("x", run="r2"))
    assert response.status == 202


async def test_with_enable_stop_the_call_itself_touches_no_store(s2: S2, spy: SpyTransport) -> None:
    chat = await tanstack_chat_on(s2, enable_stop=True)
    model = Model(run_started("r1"))
    await chat.make_session_response("c", messages=[U1], source=model, wait_until=chat.background)
    await model.source.given.wait()
    before = len(spy.appends), len(spy.reads), spy.opened_reads
    stopping = chat.stop_session("c")
    with pytest.raises(StopIteration) as stopped:  # it answers without ever waiting
        stopping.send(None)
    assert stopped.value.value.status == 202
    assert (len(spy.appends), len(spy.reads), spy.opened_reads) == before
    await chat.drain()
    assert shown(await records_of(s2.basin(BASIN).stream("c")))[-2:] == [STOPPED, "fence end-stop-"]
    await chat.aclose()


async def test_a_second_turn_is_refused_and_leaves_the_first_one_stoppable(s2: S2) -> None:
    chat = await tanstack_chat_on(s2, enable_stop=True)
    first, second = Model(run_started("r1")), Model()
    await chat.make_session_response("c", messages=[U1], source=first, wait_until=chat.background)
    await first.source.given.wait()
    response = await chat.make_session_response("c", messages=[U1], source=second)
    assert (response.status, response.body) == (409, b"Stream already has an active generation")
    assert second.messages == []
    assert (await chat.stop_session("c")).status == 202
    await chat.drain()
    assert first.source.closed.is_set()
    await chat.aclose()


async def test_a_stop_while_the_chat_is_claimed_calls_no_source(s2: S2, spy: SpyTransport) -> None:
    chat = await tanstack_chat_on(s2, enable_stop=True)
    claiming, let_go = asyncio.Event(), asyncio.Event()

    async def meanwhile(batch: Any) -> None:
        claiming.set()
        await let_go.wait()

    spy.meanwhile = meanwhile
    model = Model(*answer("x"))
    posting = asyncio.create_task(chat.make_session_response("c", messages=[U1], source=model))
    await claiming.wait()
    assert (await chat.stop_session("c")).status == 202
    let_go.set()
    assert (await posting).status == 202
    assert model.messages == []
    records = shown(await records_of(s2.basin(BASIN).stream("c")))
    assert json.loads(records[-2])["model"] == "s2-stop"
    assert records[-1] == "fence end-stop-"
    await chat.aclose()


@pytest.mark.parametrize("end", [run_finished(), run_error("failed")])
async def test_a_stop_after_the_run_has_ended_adds_no_second_end(
    chat: TanstackChat, stream: Stream, end: Event
) -> None:
    model = Model(run_started("r1"), end)
    posting = asyncio.create_task(chat.make_session_response("c", messages=[U1], source=model))
    await model.source.given.wait()
    assert (await chat.stop_session("c")).status == 202
    await posting
    assert shown(await records_of(stream))[-2:] == [*bodies(end), "fence end-stop-"]


async def test_a_source_may_abort_itself(chat: TanstackChat, stream: Stream) -> None:
    async def source(messages: list[Any], context: SourceContext) -> AsyncIterator[Event]:
        yield run_started("r1")
        assert context.abort_controller.abort()
        yield text_start("lost")

    response = await chat.make_session_response("c", messages=[U1], source=source)
    assert response.status == 202
    kinds = shown(await records_of(stream))
    assert kinds[-1] == "fence end-stop-"
    assert STOPPED in kinds


async def test_a_source_that_fails_after_the_abort_was_stopped(chat: TanstackChat, stream: Stream) -> None:
    given = asyncio.Event()

    async def source(messages: list[Any], context: SourceContext) -> AsyncIterator[Event]:
        yield run_started("r1")
        given.set()
        try:
            await context.signal.wait()
        except asyncio.CancelledError:
            raise RuntimeError("aborted") from None

    posting = asyncio.create_task(chat.make_session_response("c", messages=[U1], source=source))
    await given.wait()
    assert (await chat.stop_session("c")).status == 202
    assert (await posting).status == 202
    assert shown(await records_of(stream))[-2:] == [STOPPED, "fence end-stop-"]


async def test_a_thread_learns_of_a_stop_by_the_signal(chat: TanstackChat, stream: Stream) -> None:
    def blocking(messages: list[Any], context: SourceContext) -> Iterator[Event]:
        yield run_started("r1")
        while not context.signal.aborted:
            yield text_content("word ")

    posting = asyncio.create_task(chat.make_session_response("c", messages=[U1], source=blocking))
    reading = Reading(await chat.replay("c", from_seq_num=0, live=True))
    await reading.until("word")
    await reading.close()
    assert (await chat.stop_session("c")).status == 202
    assert (await posting).status == 202
    assert shown(await records_of(stream))[-2:] == [STOPPED, "fence end-stop-"]


async def test_the_handle_of_a_turn_that_is_over_stops_nothing(chat: TanstackChat) -> None:
    _, first = await post(chat, [U1], *answer("x"))
    assert not first.contexts[0].signal.aborted
    model = Model(run_started("r2"))
    await chat.make_session_response("c", messages=[U1], source=model, wait_until=chat.background)
    await model.source.given.wait()
    assert not first.contexts[0].abort_controller.abort()
    assert not model.source.closed.is_set()


async def test_a_turn_of_another_process_is_stopped_through_the_store(chat: TanstackChat, stream: Stream) -> None:
    await write(stream, fence(leased(60_000)), *bodies(run_started("r1")))
    assert (await chat.stop_session("c")).status == 202
    assert shown(await records_of(stream))[-2:] == [STOPPED, "fence end-stop-"]
