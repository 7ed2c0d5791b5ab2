"""What the inspector makes of the streams of chats: compared with what the chats themselves say of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from perdure import S2, AppendRecord
from perdure.model.records import SequencedRecord
from perdure.resumable import openai, tokens
from perdure.resumable.aisdk import AiSdkChat
from perdure.resumable.anthropic import tool_result, user_message
from perdure.resumable.context import create_resumable_stream_context
from perdure.resumable.settings import ModeName
from tests.inspector.chat_log import read_chats, stream_of, texts
from tests.resumable.anthropic_scripts import Event, text_turn, tool_turn
from tests.resumable.chats import (
    ANSWER,
    BASIN,
    CREATE,
    START,
    TEXT_START,
    Reading,
    Source,
    leased,
    records_of,
    text,
    user,
)
from tests.resumable.tanstack_scripts import answer, echo, run_started, text_content, text_start, tool_call
from tests.resumable.tanstack_scripts import tool_result as result_event

GOLDEN: Final = sorted((Path(__file__).parents[1] / "resumable" / "data").rglob("*.json"))
NOW_MS: Final = 1_700_000_000_000
LEASE_MS: Final = 30_000
MODES: Final[tuple[ModeName, ...]] = ("session", "shared", "single-use")
SAID: Final[dict[str, tuple[list[Event], list[Event]]]] = {
    "aisdk": (ANSWER, [{**START, "messageId": "m2"}, TEXT_START, text("Hal")]),
    "anthropic": ([user_message("hi"), *text_turn("Hel", "lo")], [user_message("again"), *text_turn("Hal")[:3]]),
    "events": ([{"type": "user_message", "message": "hi"}, {"no": "type"}], [{"type": "begun"}]),
    "tanstack_ai": (
        [*echo("hi"), *answer("Hel", "lo")],
        [run_started("r2"), text_start("a2"), text_content("Hal", "a2")],
    ),
}
"""What is said in full, and what is said before the end comes from elsewhere."""
FORMATS: Final = {"aisdk": "aisdk", "anthropic": "anthropic", "events": "events", "tanstack_ai": "tanstack"}


@pytest.fixture
async def store() -> AsyncIterator[S2]:
    async with S2.open(":memory:") as s2:
        yield s2


def golden_records(path: Path) -> dict[str, list[SequencedRecord]]:
    """What a golden file says was appended, by stream."""
    streams: dict[str, list[SequencedRecord]] = {}
    for turn in json.loads(path.read_text(encoding="utf-8"))["turns"]:
        records = streams.setdefault(turn["stream"], [])
        for stored in turn["appended"]:
            headers = tuple((name.encode(), value.encode()) for name, value in stored["headers"])
            body = bytes.fromhex(stored["hex"]) if "hex" in stored else stored["body"].encode()
            records.append(SequencedRecord(len(records), NOW_MS, body, headers))
    return streams


@pytest.fixture(scope="module")
def golden_chats() -> dict[Path, list[Any]]:
    """What the inspector makes of the streams of each file."""
    streams = [(path, records) for path in GOLDEN for records in golden_records(path).values()]
    chats: dict[Path, list[Any]] = {path: [] for path in GOLDEN}
    for (path, _), chat in zip(streams, read_chats(stream_of(records) for _, records in streams), strict=True):
        chats[path].append(chat)
    return chats


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_streams_that_other_languages_share_are_understood(path: Path, golden_chats: dict[Path, list[Any]]) -> None:
    streams, found = golden_records(path), golden_chats[path]
    generations = [generation for chat in found for generation in chat["generations"]]
    assert [generation["state"] for generation in generations] == ["over", "failed", "stopped"]
    assert {generation["format"] for generation in generations} == {FORMATS[path.parent.name]}
    assert all(chat["isChat"] for chat in found)
    assert sum(generation["records"] for generation in generations) == sum(map(len, streams.values()))
    assert [generation["claim"]["leaseMs"] for generation in generations] == [LEASE_MS] * 3
    if path.parent.name != "events":
        (said,) = texts(generations[0], role="assistant")
        assert said.replace("\u2028", " ") == "Half past „acht“ 🕣"
        assert [texts(generation, role="assistant") for generation in generations[1:]] == [["Hal"], ["A qua"]]
    assert "the model is gone" in [part.get("text") for part in generations[1]["messages"][-1]["parts"]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("adapter", CREATE)
async def test_chats_in_every_mode_say_what_they_are(store: S2, adapter: str, mode: ModeName) -> None:
    whole, cut = SAID[adapter]
    chat = CREATE[adapter](s2=store, basin=BASIN, mode=mode)
    async with chat:
        names = [f"c{number}" if mode == "single-use" else "c" for number in range(3)]
        ended, running = Source(*whole), Source(*cut)
        ended.end()
        response = await chat.make_resumable(names[0], ended, delivery="replay")
        await response.aclose()
        await chat.drain()
        reading = Reading(await chat.make_resumable(names[1], running))
        await reading.until("Hal" if adapter != "events" else "begun")
        during = await records_of(store.basin(BASIN).stream(names[1]))
        stopping = asyncio.create_task(chat.stop(names[1]))  # waits for the readers of a single-use stream
        await reading.rest()
        assert await stopping
        await chat.drain()
        after = await records_of(store.basin(BASIN).stream(names[1]))
    (seen,) = read_chats([stream_of(during, now_ms=during[-1].timestamp)])
    latest = seen["generations"][-1]
    assert (latest["state"], latest["format"]) == ("running", FORMATS[adapter])
    assert latest["leaseEnds"] == during[-1].timestamp + LEASE_MS
    if mode == "shared":
        assert latest["trims"] == [str(latest["claim"]["seqNum"])]
    if mode != "single-use":  # whose records are trimmed at its end
        (seen,) = read_chats([stream_of(after)])
        assert seen["generations"][-1]["state"] == "stopped"


async def test_an_ai_sdk_chat_is_what_its_history_says(store: S2) -> None:
    turn: list[Event] = [
        {"type": "start", "messageId": "m1"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-delta", "id": "r", "delta": "Hm."},
        {"type": "reasoning-end", "id": "r"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "clock"},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"zone":"UTC"}'},
        {"type": "tool-input-available", "toolCallId": "c1", "toolName": "clock", "input": {"zone": "UTC"}},
        {"type": "tool-output-available", "toolCallId": "c1", "output": {"time": "08:30"}},
        {"type": "finish-step"},
        {"type": "start-step"},
        {"type": "source-url", "sourceId": "s", "url": "https://example.org/", "title": "Clocks"},
        TEXT_START,
        text("Half "),
        text("past eight."),
        {"type": "text-end", "id": "t"},
        {"type": "finish-step"},
        {"type": "finish", "messageMetadata": {"usage": {"inputTokens": 12, "outputTokens": 34}}},
    ]
    async with CREATE["aisdk"](s2=store, basin=BASIN, mode="session") as chat:
        assert isinstance(chat, AiSdkChat)
        source = Source(*turn)
        source.end()
        large = "z" * 600_000  # is cut into several records
        posted = [user("u1", f"what time is it? {large}"), user("u2", "and again")]
        for message in posted:
            await (await chat.make_resumable("c", source, delivery="replay", user_message=message)).aclose()
            await chat.drain()
            source = Source(*turn)
            source.end()
        history = await chat.history("c")
    (seen,) = read_chats([stream_of(await records_of(store.basin(BASIN).stream("c")))])
    first, second = seen["generations"]
    messages = [message for generation in (first, second) for message in generation["messages"]]
    expected: Any = history["messages"]
    assert [(message["role"], message["id"]) for message in messages] == [
        (message["role"], message["id"]) for message in expected
    ]
    assert texts(first, role="user") == [f"what time is it? {large}"]
    parts = [part for part in expected[1]["parts"] if part["type"] != "step-start"]
    shown = first["messages"][1]["parts"]
    assert [part["kind"] for part in shown] == ["reasoning", "tool", "source", "text"]
    assert (shown[0]["text"], shown[3]["text"]) == (parts[0]["text"], parts[3]["text"])
    assert (shown[1]["name"], shown[1]["input"], shown[1]["output"]) == ("clock", parts[1]["input"], parts[1]["output"])
    assert shown[1]["state"] == "answered"
    assert (shown[2]["url"], shown[2]["title"]) == ("https://example.org/", "Clocks")
    assert first["usage"] == {"inputTokens": 12, "outputTokens": 34}


async def test_an_anthropic_chat_is_what_its_history_says(store: S2) -> None:
    loop = [
        user_message("Wie spät ist es?"),
        *tool_turn('{"zone":', '"UTC"}', message_id="msg_1"),
        tool_result("toolu_1", "08:30"),
        *text_turn("Half ", "past eight.", message_id="msg_2"),
    ]
    async with CREATE["anthropic"](s2=store, basin=BASIN, mode="session") as chat:
        source = Source(*loop)
        source.end()
        await (await chat.make_resumable("c", source, delivery="replay")).aclose()
        await chat.drain()
        history: Any = await chat.history("c")
    (seen,) = read_chats([stream_of(await records_of(store.basin(BASIN).stream("c")))])
    (generation,) = seen["generations"]
    said = generation["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "assistant"]
    assert [message["id"] for message in said[1:]] == [message["id"] for message in history["messages"]]
    assert said[1]["parts"][0] | {"seqNum": 0} == {
        "kind": "tool",
        "seqNum": 0,
        "callId": "toolu_1",
        "name": "get_weather",
        "state": "answered",
        "inputText": '{"zone":"UTC"}',
        "input": history["messages"][0]["content"][0]["input"],
        "output": "08:30",
    }
    assert texts(generation, role="user") == [history["turns"][0]["user"]]
    assert said[2]["parts"][0]["text"] == history["messages"][1]["content"][0]["text"]
    assert generation["usage"] == {"model": "claude-test", "inputTokens": 25, "outputTokens": 15}


async def test_a_tanstack_chat_is_what_its_history_says(store: S2) -> None:
    turn = [
        *echo("hi"),
        run_started(),
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "th", "delta": "Hm."},
        *tool_call('{"zone":"UTC"}'),
        result_event('{"time":"08:30"}'),
        text_start(),
        text_content("Half "),
        text_content("past eight."),
        {"type": "TEXT_MESSAGE_END", "messageId": "a1"},
        {"type": "RUN_FINISHED", "runId": "r1", "threadId": "t1", "finishReason": "stop"},
    ]
    async with CREATE["tanstack_ai"](s2=store, basin=BASIN, mode="session") as chat:
        source = Source(*turn)
        source.end()
        await (await chat.make_resumable("c", source, delivery="replay")).aclose()
        await chat.drain()
        history: Any = await chat.history("c")
    (seen,) = read_chats([stream_of(await records_of(store.basin(BASIN).stream("c")))])
    said, expected = seen["generations"][0]["messages"], history["messages"]
    assert [(message["role"], message["id"]) for message in said] == [
        (message["role"], message["id"]) for message in expected
    ]
    thought, call, _, told = expected[1]["parts"]
    parts = {part["kind"]: part for part in said[1]["parts"]}
    assert list(parts) == ["reasoning", "tool", "text"]
    assert (parts["reasoning"]["text"], parts["text"]["text"]) == (thought["content"], told["content"])
    assert (parts["tool"]["input"], parts["tool"]["output"]) == (json.loads(call["arguments"]), call["output"])
    assert texts(seen["generations"][0], role="user") == ["hi"]


async def test_answers_of_the_responses_api_are_read(store: S2) -> None:
    item = {"type": "function_call", "call_id": "call_1", "name": "clock", "arguments": ""}
    events: list[Event] = [
        {"type": "user_message", "message": "what time is it?"},
        {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-test"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"zone":"UTC"}'},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "arguments": '{"zone":"UTC"}'}},
        {"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 4}}},
        {"type": "function_call_output", "call_id": "call_1", "output": "08:30"},
        {"type": "response.created", "response": {"id": "resp_2", "model": "gpt-test"}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Half past "},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "eight."},
        {"type": "response.completed", "response": {"usage": {"input_tokens": 5, "output_tokens": 6}}},
    ]
    async with openai.create_resumable_chat(s2=store, basin=BASIN, mode="session") as chat:
        source = Source(*events)
        source.end()
        await (await chat.make_resumable("c", source)).aclose()
        await chat.drain()
    (seen,) = read_chats([stream_of(await records_of(store.basin(BASIN).stream("c")))])
    (generation,) = seen["generations"]
    assert generation["format"] == "openai"
    user_said, called, told = generation["messages"]
    assert user_said["parts"][0]["text"] == "what time is it?"
    (call,) = called["parts"]
    assert (call["name"], call["input"], call["output"], call["state"]) == (
        "clock",
        {"zone": "UTC"},
        "08:30",
        "answered",
    )
    assert told["parts"][0]["text"] == "Half past eight."


async def test_a_text_stream_is_one_text(store: S2) -> None:
    async with create_resumable_stream_context(client=store, basin=BASIN) as context:
        told = await context.resumable_stream(
            "t", lambda: iter(["Grüße, ", "\ud83d", "\udd63!", '{"not": "an event"}'])
        )
        assert told is not None
        assert "".join([piece async for piece in told]) == 'Grüße, 🕣!{"not": "an event"}'
        await context.drain()
    (seen,) = read_chats([stream_of(await records_of(store.basin(BASIN).stream("t")), slices=1)])
    (generation,) = seen["generations"]
    assert (generation["format"], generation["state"]) == ("text", "over")
    assert texts(generation) == ['Grüße, 🕣!{"not": "an event"}']


@pytest.mark.parametrize("adapter", CREATE)
async def test_a_writer_that_died_is_told_from_one_that_failed(store: S2, adapter: str) -> None:
    chat = CREATE[adapter](s2=store, basin=BASIN, mode="session", session_lease_ms=LEASE_MS)
    async with chat:
        stream = store.basin(BASIN).stream("c")
        said = json.dumps(SAID[adapter][1][-1])
        await stream.append([AppendRecord.fence(leased(LEASE_MS), timestamp=1), AppendRecord(said, timestamp=2)])
        dead = await records_of(stream)
        source = Source(*SAID[adapter][0])
        source.fail(RuntimeError("the model is gone"))
        await (await chat.make_resumable("c", source, delivery="replay")).aclose()
        await chat.drain()
        after = await records_of(stream)
    before, silent, ended = read_chats(
        [
            stream_of(dead, now_ms=2 + LEASE_MS - 1),
            stream_of(dead, now_ms=2 + LEASE_MS),
            stream_of(after, now_ms=after[-1].timestamp),
        ]
    )
    assert [chat["generations"][0]["state"] for chat in (before, silent)] == ["running", "silent"]
    assert [generation["state"] for generation in ended["generations"]] == ["abandoned", "failed"]


async def test_a_stream_that_was_taken_over_says_so(store: S2) -> None:
    """In shared mode a writer that was silent for long loses the stream without a word."""
    chat = CREATE["aisdk"](s2=store, basin=BASIN, mode="shared", session_lease_ms=None)
    async with chat:
        stream = store.basin(BASIN).stream("c")
        held = [AppendRecord.fence("session-AAAAAAAAAAA=", timestamp=1), AppendRecord(json.dumps(START), timestamp=2)]
        await stream.append(held)
        before = await records_of(stream)
        source = Source(*ANSWER)
        source.end()
        await (await chat.make_resumable("c", source, delivery="replay")).aclose()
        await chat.drain()
        after = await records_of(stream)
    records = {
        record.seq_num: record for record in [*before, *after]
    }  # as a page has them that was open before the trim
    (seen,) = read_chats([stream_of(records.values())])
    assert [generation["state"] for generation in seen["generations"]] == ["taken over", "over"]
    assert "leaseEnds" not in seen["generations"][0]


def test_renewals_trims_and_what_stands_outside_of_generations_are_told() -> None:
    fence, end = AppendRecord.fence(leased(LEASE_MS)), AppendRecord.fence("end-AAAAAA==")
    appended = [AppendRecord("{}"), fence, AppendRecord(""), AppendRecord.trim(1), end, AppendRecord("left over"), end]
    records = [SequencedRecord(seq, NOW_MS + seq, record.body, record.headers) for seq, record in enumerate(appended)]
    (seen,) = read_chats([stream_of(records)])
    assert [generation["state"] for generation in seen["generations"]] == ["taken over", "over", "over"]
    middle = seen["generations"][1]
    assert (middle["renewals"], middle["trims"], middle["records"]) == (1, ["1"], 4)


TOKENS: Final = [
    *(tokens.holder_token(lease_ms) for lease_ms in (None, 1, 30_000, 86_400_000, 86_400_001, 10**14)),
    *(
        make(kind)
        for make in (tokens.terminal_token, tokens.text_terminal_token)
        for kind in tokens.FenceKind
        if kind.is_terminal
    ),
    *(make(lease_ms) for make in (tokens.holder_token, tokens.text_holder_token) for lease_ms in (None, 5)),
    *(
        "",
        "end-",
        "end",
        "END-1",
        "error-",
        "session-",
        f"session-{'A' * 11}=.0",
        f"session-{'A' * 11}=.5 ",
        "x.5",
        "é",
    ),
]


def test_tokens_mean_what_they_mean_to_the_chats() -> None:
    streams = [stream_of([SequencedRecord(0, NOW_MS, token.encode(), ((b"", b"fence"),))]) for token in TOKENS]
    for token, seen in zip(TOKENS, read_chats(streams), strict=True):
        (generation,) = seen["generations"]
        kind = tokens.kind_of(token)
        if kind.is_terminal:
            assert generation["ending"]["kind"] == kind.value
        else:
            assert generation["claim"].get("leaseMs") == tokens.lease_of(token), token
