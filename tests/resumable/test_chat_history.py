"""Histories of chats in session mode: what a page loads, and what is read for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest

from perdure import S2, AppendRecord, Basin, SeqNum, Stream, StreamDeletionPending
from perdure.resumable import aisdk, anthropic, events, openai, tanstack_ai
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.aisdk_history import SessionFold
from perdure.resumable.kept_histories import KeptHistories
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import (
    ANSWER,
    BASIN,
    HOLDER,
    START,
    TEXT_START,
    Chunk,
    Reading,
    Source,
    body_of,
    chat_on,
    fence,
    leased,
    text,
    user,
    write,
)
from tests.resumable.spy_transport import SpyTransport

KeepingChat: TypeAlias = AiSdkChat | anthropic.AnthropicChat | events.EventsChat | tanstack_ai.TanstackChat


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.stream("c")


def answer(message_id: str, words: str) -> list[Chunk]:
    return [
        {"type": "start", "messageId": message_id},
        {"type": "text-start", "id": "t"},
        text(words),
        {"type": "text-end", "id": "t"},
        {"type": "finish"},
    ]


def assistant(message_id: str, words: str) -> Chunk:
    return {"id": message_id, "role": "assistant", "parts": [{"type": "text", "text": words, "state": "done"}]}


async def turn(chat: AiSdkChat, message: Chunk, chunks: list[Chunk], **options: Any) -> None:
    await body_of(await chat.make_resumable("c", chunks, user_message=message, **options))
    await chat.drain()


async def test_both_sides_of_a_chat_are_kept_in_order(chat: AiSdkChat) -> None:
    await turn(chat, user("u1", "hi"), answer("a1", "Hello"))
    await turn(chat, user("u2", "and?"), answer("a2", "That is all"))
    history = await chat.history("c")
    assert history == {
        "messages": [user("u1", "hi"), assistant("a1", "Hello"), user("u2", "and?"), assistant("a2", "That is all")],
        "nextSeqNum": 16,
        "active": False,
    }


async def test_a_chat_that_nobody_wrote_to_has_an_empty_history(chat: AiSdkChat) -> None:
    assert await chat.history("c") == {"messages": [], "nextSeqNum": 0, "active": False}


async def test_an_answer_without_an_id_gets_one_that_all_readers_agree_on(chat: AiSdkChat) -> None:
    await turn(chat, user(), [{"type": "start"}, *ANSWER[1:]])
    messages: Any = (await chat.history("c"))["messages"]
    frame = (await body_of(await chat.replay("c"))).split("data: ")[1].split("\n")[0]
    assert json.loads(frame)["messageId"] == messages[1]["id"]


async def test_while_a_generation_runs_its_output_is_left_to_the_resume(chat: AiSdkChat) -> None:
    await turn(chat, user("u1"), answer("a1", "Hello"))
    source = Source(START, TEXT_START, text("half an ans"))
    reading = Reading(await chat.make_resumable("c", source, user_message=user("u2"), wait_until=chat.background))
    await reading.until("half")
    history: Any = await chat.history("c")
    assert [message["id"] for message in history["messages"]] == ["u1", "a1", "u2"]
    assert (history["active"], history["nextSeqNum"]) == (True, 8)
    full: Any = await chat.history("c", include_active=True)
    assert [message["id"] for message in full["messages"]] == ["u1", "a1", "u2", "m1"]
    assert full["messages"][-1]["parts"][0]["text"] == "half an ans"
    source.end()
    await reading.rest()
    await chat.drain()
    history = await chat.history("c")
    assert [message["id"] for message in history["messages"]] == ["u1", "a1", "u2", "m1"]


async def test_a_tool_result_that_is_posted_back_continues_its_message(chat: AiSdkChat) -> None:
    call = {"toolCallId": "k", "toolName": "weather"}
    await turn(
        chat,
        user("u1"),
        [
            {"type": "start", "messageId": "a1"},
            {"type": "start-step"},
            {"type": "tool-input-start", **call},
            {"type": "tool-input-available", **call, "input": {"city": "Bern"}},
            {"type": "finish-step"},
            {"type": "finish"},
        ],
    )
    messages: Any = (await chat.history("c"))["messages"]
    posted = json.loads(json.dumps(messages[1]))
    posted["parts"][1] |= {"state": "output-available", "output": "snow"}
    await turn(
        chat,
        posted,
        [
            {"type": "start"},
            {"type": "start-step"},
            {"type": "text-start", "id": "t"},
            text("It snows."),
            {"type": "text-end", "id": "t"},
            {"type": "finish-step"},
            {"type": "finish"},
        ],
    )
    messages = (await chat.history("c"))["messages"]
    assert [message["id"] for message in messages] == ["u1", "a1"]
    assert [(part["type"], part.get("state")) for part in messages[1]["parts"]] == [
        ("step-start", None),
        ("tool-weather", "output-available"),
        ("step-start", None),
        ("text", "done"),
    ]
    source = Source({"type": "start", "messageId": "a2"})
    again = await chat.make_resumable(
        "c",
        source,
        user_message=user("u1"),
        trigger="regenerate-message",
        message_id="a1",
        wait_until=chat.background,
    )
    reading = Reading(again)
    await reading.until("start")
    running: Any = await chat.history("c")
    assert [message["id"] for message in running["messages"]] == ["u1"]
    assert running["active"] is True
    source.give(*answer("a2", "Sun.")[1:])
    source.end()
    await reading.rest()
    await chat.drain()
    messages = (await chat.history("c"))["messages"]
    assert messages == [user("u1"), assistant("a2", "Sun.")]
    records = (await chat.history("c"))["nextSeqNum"]
    assert isinstance(records, int)
    assert running["nextSeqNum"] < records


async def test_a_stopped_answer_stays_in_the_history(chat: AiSdkChat) -> None:
    source = Source(*answer("a1", "Hel")[:3])
    reading = Reading(await chat.make_resumable("c", source, user_message=user("u1"), wait_until=chat.background))
    await reading.until("Hel")
    await chat.stop("c")
    await reading.rest()
    assert (await chat.history("c"))["messages"] == [user("u1"), assistant("a1", "Hel")]


async def test_a_failed_answer_stays_without_the_text_of_the_error(chat: AiSdkChat) -> None:
    source = Source(*answer("a1", "Hel")[:3])
    source.fail(RuntimeError("secret"))
    await body_of(await chat.make_resumable("c", source, user_message=user("u1"), wait_until=chat.background))
    await chat.drain()
    assert (await chat.history("c"))["messages"] == [user("u1"), assistant("a1", "Hel")]


async def test_an_odd_chunk_costs_nobody_the_history(chat: AiSdkChat, stream: Stream) -> None:
    await write(
        stream,
        fence(HOLDER),
        '{"type":"start","messageId":"a1"}',
        '{"type":"text-delta","id":"never began","delta":"x"}',
        '{"type":"tool-output-available","toolCallId":"unknown","output":1}',
        "no JSON at all",
        AppendRecord(b"\xff\xfe"),
        '{"type":"text-start","id":"t"}',
        '{"type":"text-delta","id":"t","delta":"Hello"}',
        fence("end-AAAA"),
    )
    assert (await chat.history("c"))["messages"] == [assistant("a1", "Hello")]


async def test_a_message_with_large_files_is_kept_whole(chat: AiSdkChat) -> None:
    message = user()
    message["parts"].append(
        {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64," + "é" * 1_500_000}
    )
    await turn(chat, message, ANSWER)
    messages: Any = (await chat.history("c"))["messages"]
    assert messages[0] == message


async def test_a_history_is_for_sessions(s2: S2) -> None:
    chat = await chat_on(s2, mode="shared")
    with pytest.raises(ValueError, match='history requires mode: "session"'):
        await chat.history("c")
    await chat.aclose()


async def test_a_history_route_answers_json_that_nobody_stores(chat: AiSdkChat) -> None:
    await turn(chat, user(), ANSWER)
    response = await chat.history_response("c")
    assert (response.status, response.headers["cache-control"]) == (200, "no-store")
    assert json.loads(bytes(response.body)) == await chat.history("c")


async def test_a_user_message_must_be_a_message(chat: AiSdkChat) -> None:
    with pytest.raises(ValueError, match="user_message"):
        await chat.make_resumable("c", ANSWER, user_message=["hi"])  # type: ignore[arg-type]  # that is the point
    assert (await chat.replay("c")).status == 204


# --- what is read for it ---


async def test_a_kept_history_reads_only_what_is_new(chat: AiSdkChat, spy: SpyTransport) -> None:
    for number in range(30):
        await turn(chat, user(f"u{number}"), answer(f"a{number}", "Hello"))
    await chat.history("c")
    spy.reads.clear()
    await turn(chat, user("last"), answer("last-a", "Bye"))
    history: Any = await chat.history("c")
    assert len(history["messages"]) == 62
    starts = [request.start for _, request in spy.reads if isinstance(request.start, SeqNum)]
    assert starts[0] == SeqNum(0)
    assert min(start.value for start in starts[1:]) > 200


async def test_a_kept_history_of_a_deleted_chat_is_forgotten(s2: S2, chat: AiSdkChat) -> None:
    other = await chat_on(s2)
    await turn(chat, user("u1"), answer("a1", "Hello"))
    await other.history("c")
    assert await chat.delete("c")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:  # the name is free when what it held is gone
            try:
                await turn(other, user("u2"), answer("a2", "Anew"))
                break
            except StreamDeletionPending:
                await asyncio.sleep(0.01)
    assert (await other.history("c"))["messages"] == [user("u2"), assistant("a2", "Anew")]
    await other.aclose()


async def test_a_kept_history_whose_first_records_are_gone_is_made_anew(chat: AiSdkChat, stream: Stream) -> None:
    await turn(chat, user("u1"), answer("a1", "Hello"))
    tail = (await stream.check_tail()).seq_num
    await turn(chat, user("u2"), answer("a2", "Bye"))
    assert len((await chat.history("c"))["messages"]) == 4  # type: ignore[arg-type]  # a list
    await stream.trim(tail)
    assert (await chat.history("c"))["messages"] == [user("u2"), assistant("a2", "Bye")]


async def test_a_history_of_records_that_are_all_gone_is_empty(chat: AiSdkChat, stream: Stream) -> None:
    await turn(chat, user("u1"), answer("a1", "Hello"))
    await chat.history("c")
    await stream.trim(2**53 - 1)
    assert (await chat.history("c"))["messages"] == []


async def test_kept_histories_are_bounded(s2: S2, chat: AiSdkChat, basin: Basin) -> None:
    kept = KeptHistories(SessionFold, max_bytes=4000)
    streams = [basin.stream(f"c{number}") for number in range(10)]
    for stream in streams:
        await write(stream, fence(HOLDER), *[json.dumps(chunk) for chunk in answer("a", "x" * 100)], fence("end-AAAA"))
        assert (await kept.fold(stream)).snapshot()["messages"] == [assistant("a", "x" * 100)]
    assert kept.size_bytes <= 4000
    assert 0 < len(kept) < 10
    await write(streams[0], fence(HOLDER), *[json.dumps(chunk) for chunk in answer("b", "x" * 5000)], fence("end-AAAA"))
    assert len((await kept.fold(streams[0])).snapshot()["messages"]) == 2  # type: ignore[arg-type]  # a list


@pytest.mark.parametrize(
    "create",
    [module.create_resumable_chat for module in (aisdk, anthropic, events, openai, tanstack_ai)],
    ids=lambda create: create.__module__.rpartition(".")[2],
)
@pytest.mark.parametrize(("cache_bytes", "kept"), [(0, 0), (1_000_000, 1)])
async def test_the_kept_histories_of_a_chat_object_are_bounded_by_its_setting(
    create: Callable[..., KeepingChat], cache_bytes: int, kept: int
) -> None:
    async with create(path=":memory:", basin=BASIN, mode="session", history_cache_bytes=cache_bytes) as chat:
        response = await chat.make_resumable("c", [{"type": "ping"}], delivery="replay")
        assert response.status_code == 202
        await chat.drain()
        await chat.history("c")
        assert len(chat._histories) == kept


async def test_histories_that_are_asked_for_at_once_agree(chat: AiSdkChat) -> None:
    async def busy() -> AsyncIterator[Chunk]:
        for chunk in answer("a1", "Hello"):
            yield chunk
            await asyncio.sleep(0)

    posting = asyncio.create_task(body_of(await chat.make_resumable("c", busy, user_message=user("u1"))))
    histories = await asyncio.gather(*[chat.history("c") for _ in range(20)])
    await posting
    await chat.drain()
    assert all(
        history["messages"] in ([], [user("u1")], [user("u1"), assistant("a1", "Hello")]) for history in histories
    )
    assert (await chat.history("c"))["messages"] == [user("u1"), assistant("a1", "Hello")]


async def test_a_history_ends_what_nobody_writes_any_more(chat: AiSdkChat, stream: Stream) -> None:
    chunks = [
        '{"type":"start","messageId":"m"}',
        '{"type":"text-start","id":"t"}',
        '{"type":"text-delta","id":"t","delta":"Hel"}',
    ]
    dead = AppendRecord.fence(leased(120), timestamp=1)
    await stream.append([dead, *[AppendRecord(chunk, timestamp=1) for chunk in chunks]])
    history = await chat.history("c")
    assert history["active"] is False
    assert history["nextSeqNum"] == 6
    assert history["messages"] == [
        {"id": "m", "role": "assistant", "parts": [{"type": "text", "text": "Hel", "state": "done"}]}
    ]
