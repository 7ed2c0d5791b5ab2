"""Any JSON events: stored and replayed as they are, and the whole of them told."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure import S2, AppendRecord, Stream
from perdure.resumable.events import EventsChat, create_resumable_chat
from perdure.resumable.events_history import EventsFold
from perdure.resumable.json_body import JsonObject
from perdure.resumable.kept_histories import KeptHistories
from perdure.resumable.settings import DEFAULT_HISTORY_CACHE_BYTES, ModeName
from tests.resumable.chats import (
    BASIN,
    ERROR_BODIES,
    Reading,
    Source,
    body_of,
    fence,
    frames,
    leased,
    records_of,
    shown,
    write,
)
from tests.resumable.spy_transport import SpyTransport

ODD: list[Any] = [
    {"type": "a", "n": None, "list": [1, 2.5, {"deep": [[]]}]},
    {},
    {"no": "type"},
    {"type": 7, "text": "Grüße\u2028😀"},
    {"event": "message", "id": "mine", "data": "x"},
]
"""Objects of no protocol."""


async def chat_on(s2: S2, **options: Any) -> EventsChat:
    chat = create_resumable_chat(s2=s2, basin=BASIN, **{"mode": "session", **options})
    return await chat.__aenter__()


@pytest.fixture
async def chat(s2: S2) -> AsyncIterator[EventsChat]:
    chat = await chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


@pytest.fixture
def stream(s2: S2, chat: EventsChat) -> Stream:
    return s2.basin(BASIN).stream("c")


async def generate(chat: EventsChat, source: object, name: str = "c") -> str:
    body = await body_of(await chat.make_resumable(name, source, wait_until=chat.background))
    await chat.drain()
    return body


async def test_events_go_through_unchanged(chat: EventsChat, stream: Stream) -> None:
    body = await generate(chat, ODD)
    expected = [json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in ODD]
    assert body == "".join(f"id: {number}\ndata: {data}\n\n" for number, data in enumerate(expected, 2))
    assert [record.text for record in (await records_of(stream))[1:-1]] == expected
    assert await body_of(await chat.replay("c")) == body


async def test_an_event_has_the_name_that_the_application_gives_it(s2: S2) -> None:
    def key(event: JsonObject) -> str | None:
        kind = event.get("kind")
        return None if kind is None else f"k-{kind}"

    chat = await chat_on(s2, event_key=key)
    body = await generate(chat, [{"kind": "é"}, {"other": 1}])
    assert body == 'id: 2\nevent: k-é\ndata: {"kind":"é"}\n\nid: 3\ndata: {"other":1}\n\n'
    assert await body_of(await chat.replay("c")) == body
    await chat.aclose()


@pytest.mark.parametrize("name", ["a\nb", "a\rb", 7])
async def test_a_name_that_cannot_be_sent_is_the_source_s_failure(s2: S2, name: Any) -> None:
    chat = await chat_on(s2, event_key=lambda event: name if event.get("bad") else None)
    body = await generate(chat, [{"good": 1}, {"bad": 1}, {"good": 2}])
    assert [data for _, data in frames(body)] == [
        '{"good":1}',
        ERROR_BODIES["events"],
    ]
    # Others may have written such an event; it is shown without a name.
    await write(s2.basin(BASIN).stream("d"), fence("session-x"), '{"bad":1}', fence("end-x"))
    assert await body_of(await chat.replay("d")) == 'id: 2\ndata: {"bad":1}\n\n'
    await chat.aclose()


async def test_a_name_that_fails_for_what_others_wrote_is_left_out(s2: S2) -> None:
    chat = await chat_on(s2, event_key=lambda event: str(event["kind"]))
    log = ['{"kind":"x"}', '{"no":1}', "no JSON", "[1]", '{"kind":"y"}']
    await write(s2.basin(BASIN).stream("c"), fence("session-x"), *log, fence("end-x"))
    replayed = await body_of(await chat.replay("c"))
    assert [data for _, data in frames(replayed)] == log
    assert [line for line in replayed.split("\n") if line.startswith("event")] == ["event: x", "event: y"]
    history = await chat.history("c")
    assert [event["id"] for event in history["events"]] == [2, 3, 6]
    await chat.aclose()


async def test_the_record_of_a_failure_is_the_application_s(s2: S2) -> None:
    chat = await chat_on(s2, on_error_record=lambda text: {"failed": text}, on_error=str)
    source = Source({"a": 1})
    source.fail(RuntimeError("no more"))
    assert [data for _, data in frames(await generate(chat, source))] == ['{"a":1}', '{"failed":"no more"}']
    await chat.aclose()


async def test_readers_learn_of_a_failure_even_if_its_record_cannot_be_made(s2: S2) -> None:
    chat = await chat_on(s2, on_error_record=lambda text: {"failed": {"deep": object()}})
    source = Source()
    source.fail(RuntimeError("secret"))
    body = await generate(chat, source)
    assert [data for _, data in frames(body)] == [ERROR_BODIES["events"]]
    await chat.aclose()


def last_two(events: list[JsonObject]) -> list[dict[str, object]]:
    return [{"after": len(events)}, {"last": events[-1] if events else None}]


def failing(events: list[JsonObject]) -> list[dict[str, object]]:
    raise RuntimeError("no")


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize(
    ("stop_event", "closing"),
    [
        (None, []),
        ({"type": "stopped"}, ['{"type":"stopped"}']),
        (last_two, ['{"after":2}', '{"last":{"n":2}}']),
        (failing, []),
    ],
)
async def test_a_stop_stores_what_the_application_says(s2: S2, here: bool, stop_event: Any, closing: list[str]) -> None:
    chat, other = await chat_on(s2, stop_event=stop_event), await chat_on(s2, stop_event=stop_event)
    source = Source({"n": 1}, {"n": 2})
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until('"n":2')
    assert await (chat if here else other).stop("c")
    assert [data for _, data in frames(await reading.rest())] == ['{"n":1}', '{"n":2}', *closing]
    stream = s2.basin(BASIN).stream("c")
    assert shown(await records_of(stream)) == ["fence session-", '{"n":1}', '{"n":2}', *closing, "fence end-stop-"]
    await chat.aclose()
    await other.aclose()


@pytest.mark.parametrize("bad", [{"x": object()}, 7, ["x"]])
def test_a_stop_event_that_is_none_is_refused_at_once(bad: Any) -> None:
    with pytest.raises(ValueError, match="stop_event"):
        create_resumable_chat(path=":memory:", basin=BASIN, stop_event=bad)


async def test_what_is_terminal_tells_clients_and_ends_nothing(s2: S2) -> None:
    chat = await chat_on(s2, terminal=lambda event: event.get("type") == "done")
    assert [chat.is_terminal({"type": kind}) for kind in ("done", "x")] == [True, False]
    assert len(frames(await generate(chat, [{"type": "done"}, {"type": "x"}]))) == 2
    await chat.aclose()
    assert not (await chat_on(s2)).is_terminal({"type": "done"})


# --- history ---


async def test_a_history_holds_every_event_and_a_replay_goes_on_behind_it(chat: EventsChat) -> None:
    assert await chat.history("c") == {"events": [], "nextSeqNum": 0, "active": False}
    await generate(chat, [{"n": 1}, {"n": 2}])
    source = Source({"n": 3})
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until('"n":3')
    history = await chat.history("c")
    assert history == {
        "events": [{"id": 2, "event": {"n": 1}}, {"id": 3, "event": {"n": 2}}, {"id": 6, "event": {"n": 3}}],
        "nextSeqNum": 6,
        "active": True,
    }
    going_on = Reading(await chat.replay("c", from_seq_num=history["nextSeqNum"]))
    source.give({"n": 4})
    source.end()
    assert [data for _, data in frames(await going_on.rest())] == ['{"n":4}']
    await reading.rest()
    await chat.drain()
    response = await chat.history_response("c")
    assert response.headers["cache-control"] == "no-store"
    told = json.loads(bytes(response.body))
    assert told == await chat.history("c")
    assert (told["nextSeqNum"], told["active"]) == (8, False)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_a_history_is_read_page_by_page(chat: EventsChat, limit: int) -> None:
    for turn in range(3):
        await generate(chat, [{"turn": turn, "n": number} for number in range(3)])
    whole = await chat.history("c")
    events, cursor = list[Any](), 0
    while cursor < whole["nextSeqNum"]:
        page = await chat.history("c", from_seq_num=cursor, limit=limit)
        assert json.loads(bytes((await chat.history_response("c", from_seq_num=cursor, limit=limit)).body)) == page
        assert len(page["events"]) <= limit
        assert page["nextSeqNum"] > cursor
        assert not page["events"] or len(page["events"]) < limit or page["nextSeqNum"] == page["events"][-1]["id"]
        events += page["events"]
        cursor = page["nextSeqNum"]
    assert events == whole["events"]
    assert (await chat.history("c", from_seq_num=10_000, limit=5)) == {**whole, "events": []}


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": True}, {"from_seq_num": -1}, {"from_seq_num": "1"}])
async def test_a_page_that_makes_no_sense_is_refused(chat: EventsChat, bad: Any) -> None:
    with pytest.raises(ValueError, match="must be a whole number"):
        await chat.history("c", **bad)


@pytest.mark.parametrize("mode", ["single-use", "shared"])
async def test_without_a_history_what_is_active_is_all_there_is(s2: S2, mode: ModeName) -> None:
    chat = await chat_on(s2, mode=mode)
    if mode == "shared":
        await generate(chat, [{"old": 1}])
    source = Source({"n": 1}, {"n": 2})
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until('"n":2')
    history = await chat.history("c")
    assert ([event["event"] for event in history["events"]], history["active"]) == ([{"n": 1}, {"n": 2}], True)
    assert history["nextSeqNum"] == history["events"][-1]["id"]
    page = await chat.history("c", from_seq_num=history["events"][-1]["id"] - 1, limit=1)
    assert page["events"] == history["events"][1:]
    source.end()
    await reading.rest()
    await chat.drain()
    assert (await chat.history("c"))["events"] == []
    await chat.aclose()


async def test_the_history_of_a_dead_writer_is_that_of_a_generation_that_failed(
    chat: EventsChat, stream: Stream
) -> None:
    dead = AppendRecord.fence(leased(1000), timestamp=1)  # last heard of in 1970
    await write(stream, dead, AppendRecord('{"n":1}', timestamp=1))
    for page in (await chat.history("c"), await chat.history("c", limit=10)):
        assert not page["active"]
        assert [event["event"].get("type") for event in page["events"]] == [None, "error"]


async def test_a_second_read_of_a_long_history_reads_what_is_new(chat: EventsChat, s2: S2, spy: SpyTransport) -> None:
    count = 10_000
    await generate(chat, [{"n": number, "text": "word " * 5} for number in range(count)])
    first = await chat.history("c")
    assert [event["event"]["n"] for event in first["events"]] == list(range(count))
    seen = len(spy.reads)
    assert await chat.history("c") == first
    await generate(chat, [{"n": count}])
    before = len(spy.reads)
    again = await chat.history("c")
    assert again["events"] == [*first["events"], {"id": count + 4, "event": {"n": count}}]
    assert before - seen <= 4
    assert len(spy.reads) - before <= 3  # whether it is the same stream, and its end


async def test_folds_go_on_independently(chat: EventsChat, stream: Stream) -> None:
    await generate(chat, [{"n": 1}])
    histories = KeptHistories(EventsFold, max_bytes=DEFAULT_HISTORY_CACHE_BYTES)
    await histories.fold(stream)
    folds = await asyncio.gather(*[histories.fold(stream) for _ in range(5)])
    await generate(chat, [{"n": 2}])
    folds.append(await histories.fold(stream))
    assert [len(fold.page().events) for fold in folds] == [1, 1, 1, 1, 1, 2]


async def test_a_deleted_name_begins_anew(chat: EventsChat) -> None:
    await generate(chat, [{"n": 1}])
    assert len((await chat.history("c"))["events"]) == 1
    assert await chat.delete("c")
    assert len(chat._histories) == 0
