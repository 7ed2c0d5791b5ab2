"""What the Python client does that JavaScript has no word for: tasks, generators, ownership of the HTTP client."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ProtocolViolation, TransportError, UsageError
from perdure.resumable.client import HttpError, create_chat_client, replay_text, subscribe
from perdure.resumable.client.cursor import Cursor, url_at
from perdure.resumable.client.waiting import Backoff
from tests.patience import PATIENCE_SECONDS, PROCESS_SECONDS
from tests.resumable.client.cases import OVER, STOP, body, e, frame, stream
from tests.resumable.client.scripted_peer import Answer, Break, ScriptedPeer, Stall, Trickle


@pytest.fixture(autouse=True)
async def _time_limit() -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        yield


async def test_a_plain_break_closes_the_connection() -> None:
    async with ScriptedPeer([body(stream(1), Stall())]) as peer:
        async for event in subscribe(f"{peer.url}/stream"):
            assert event == e(1)
            break
        await peer.mark("gone/here").wait()


async def test_a_break_out_of_a_chats_events_closes_the_connection() -> None:
    async with (
        ScriptedPeer([body(stream(1), Stall())]) as peer,
        create_chat_client(send_url=f"{peer.url}/send", subscribe_url=f"{peer.url}/stream") as client,
    ):
        answer = await client.subscribe()
        async for _ in answer.events:
            break
        await peer.mark("gone/here").wait()


async def test_closing_a_subscription_that_nobody_read_closes_the_connection() -> None:
    async with (
        ScriptedPeer([body(stream(1), Stall())]) as peer,
        create_chat_client(send_url=f"{peer.url}/send", subscribe_url=f"{peer.url}/stream") as client,
    ):
        async with await client.subscribe(signal=asyncio.Event()):
            pass
        await peer.mark("gone/here").wait()


async def test_closing_a_subscription_ends_the_wait_of_another_task() -> None:
    async with (
        ScriptedPeer([body(stream(1), Stall())]) as peer,
        create_chat_client(send_url=f"{peer.url}/send", subscribe_url=f"{peer.url}/stream") as client,
        asyncio.TaskGroup() as tasks,
    ):
        answer = await client.subscribe()

        async def read() -> list[object]:
            return [event async for event in answer.events]

        reading = tasks.create_task(read())
        await peer.mark("reached/here").wait()
        await asyncio.sleep(0)
        await answer.aclose()
        assert await reading == [e(1)]
        await peer.mark("gone/here").wait()


async def test_cancelling_the_task_closes_the_connection() -> None:
    async with ScriptedPeer([body(stream(1), Stall())]) as peer:

        async def read() -> None:
            async for _ in subscribe(f"{peer.url}/stream", signal=asyncio.Event()):
                pass

        reading = asyncio.create_task(read())
        await peer.mark("reached/here").wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await peer.mark("gone/here").wait()


async def test_no_task_is_left_behind() -> None:
    async with ScriptedPeer([body(stream(1)), OVER]) as peer:
        before = asyncio.all_tasks()
        assert [event async for event in subscribe(f"{peer.url}/stream", signal=asyncio.Event())] == [e(1)]
        ours = [task for task in asyncio.all_tasks() - before if "ScriptedPeer" not in repr(task.get_coro())]
        assert ours == []


async def test_the_http_client_of_the_caller_brings_its_cookies_and_stays_open() -> None:
    async with (
        ScriptedPeer([body(stream(1)), OVER, OVER]) as peer,
        httpx.AsyncClient(base_url=peer.url, cookies={"user": "me"}) as http,
    ):
        assert [event async for event in subscribe("stream?a=1", http_client=http)] == [e(1)]
        async with create_chat_client(send_url="send", subscribe_url="stream", http_client=http) as client:
            assert [event async for event in (await client.subscribe()).events] == []
        assert not http.is_closed
    assert [request.headers["cookie"] for request in peer.requests] == ["user=me"] * 3
    assert peer.connections == 1


async def test_redirects_are_followed_as_browsers_do() -> None:
    async with ScriptedPeer([Answer(307, headers={"location": "/there"}), OVER]) as peer:
        assert [event async for event in subscribe(f"{peer.url}/stream")] == []
    assert [str(request) for request in peer.requests] == ["GET /stream", "GET /there"]


async def test_a_redirect_that_leads_nowhere_is_no_failure_that_passes() -> None:
    async with ScriptedPeer([Answer(300)]) as peer:
        with pytest.raises(HttpError, match="HTTP 300 Multiple Choices"):
            await anext(subscribe(f"{peer.url}/stream"))


@pytest.mark.parametrize("url", ["/stream", "ftp://127.0.0.1/stream", "http://[::1"])
async def test_a_url_that_cannot_be_asked_is_a_mistake_and_not_tried_again(url: str) -> None:
    with pytest.raises(UsageError):
        await anext(subscribe(url))


async def test_what_a_function_of_the_caller_raises_comes_out() -> None:
    def headers() -> dict[str, str]:
        raise KeyError("token")

    with pytest.raises(KeyError, match="token"):
        await anext(subscribe("http://127.0.0.1:9/stream", headers=headers))


async def test_headers_may_come_late() -> None:
    async def headers() -> list[tuple[str, str]]:
        await asyncio.sleep(0)
        return [("authorization", "Bearer t")]

    async with ScriptedPeer([OVER]) as peer:
        assert [event async for event in subscribe(f"{peer.url}/stream", headers=headers)] == []
    assert peer.requests[0].headers["authorization"] == "Bearer t"


async def test_what_is_no_json_is_not_sent() -> None:
    async with ScriptedPeer([]) as peer, create_chat_client(send_url=peer.url, subscribe_url=peer.url) as client:
        with pytest.raises(UsageError, match="what is sent is JSON"):
            await client.send(object())
    assert peer.requests == []


async def test_a_history_that_is_no_json_is_told() -> None:
    async with (
        ScriptedPeer([Answer(200, b"<html>")]) as peer,
        create_chat_client(send_url=peer.url, subscribe_url=peer.url, history_url=peer.url) as client,
    ):
        with pytest.raises(ProtocolViolation, match="the history route answered '<html>'"):
            await client.load_history()


async def test_an_error_tells_whether_a_retry_is_safe() -> None:
    async with (
        ScriptedPeer([Answer(409), Answer(503)]) as peer,
        create_chat_client(send_url=peer.url, subscribe_url=peer.url) as client,
    ):
        with pytest.raises(HttpError) as refused:
            await client.send({})
        with pytest.raises(HttpError) as failed:
            await client.send({})
    assert (refused.value.status, refused.value.retry_is_safe, refused.value.has_no_side_effects) == (409, False, True)
    assert (failed.value.status, failed.value.retry_is_safe, failed.value.has_no_side_effects) == (503, True, False)


# --- text ---


async def test_text_is_given_as_it_comes() -> None:
    async with ScriptedPeer([body(b"one ", Trickle("zwölf 🌍".encode()), b"\xff")]) as peer:
        assert "".join([piece async for piece in replay_text(f"{peer.url}/text")]) == "one zwölf 🌍\ufffd"
    assert len(peer.requests) == 1


async def test_text_that_breaks_goes_on_where_it_was() -> None:
    whole = "grüße 🌍 und mehr".encode()
    answers = [body(whole[:9], Break()), Answer(503), body(whole[:4], Break()), body(whole)]
    async with ScriptedPeer(answers) as peer:
        pieces = [piece async for piece in replay_text(f"{peer.url}/text", reconnect_backoff_ms=[0])]
    assert "".join(pieces) == "grüße 🌍 und mehr"


async def test_text_that_is_not_there() -> None:
    async with ScriptedPeer([OVER, Answer(422), body(b"a", Break())]) as peer:
        assert [piece async for piece in replay_text(peer.url)] == []
        with pytest.raises(HttpError, match="HTTP 422"):
            await anext(replay_text(peer.url))
        text = replay_text(peer.url, reconnect_backoff_ms=[])
        assert await anext(text) == "a"
        with pytest.raises(TransportError):
            await anext(text)


async def test_leaving_a_text_closes_the_connection() -> None:
    async with ScriptedPeer([body(b"a", Stall())]) as peer:
        async for _ in replay_text(peer.url):
            break
        await peer.mark("gone/here").wait()


# --- the pure parts ---


@pytest.mark.parametrize(
    ("url", "cursor", "expected"),
    [
        ("api/chat/replay?chat=1#tail", 5, "api/chat/replay?chat=1&from=5#tail"),
        ("/a", 0, "/a?from=0"),
        ("/a?", 5, "/a?from=5"),
        ("/a#?from=1", 5, "/a?from=5#?from=1"),
        ("http://h/a?from=1&x=%2F&from=2&fromage=1&from", 5, "http://h/a?x=%2F&fromage=1&from=5"),
        ("/a?b=\n", 5, "/a?b=\n&from=5"),
        ("/a?x=1", None, "/a?x=1"),
    ],
)
def test_a_cursor_in_a_url(url: str, cursor: int | None, expected: str) -> None:
    assert url_at(url, cursor) == expected


@given(st.lists(st.integers(-5, 2**60) | st.text() | st.integers(0, 2**60).map(str) | st.none()))
def test_a_cursor_never_goes_back(places: list[int | str | None]) -> None:
    cursor, last = Cursor(), -1
    for place in places:
        cursor.advance(place)
        assert cursor.value is None or last <= cursor.value < 2**53
        last = -1 if cursor.value is None else cursor.value


@pytest.mark.parametrize(("waits_ms", "expected"), [([], [None] * 3), ([5], [0.005] * 3), ([0, 20], [0, 0.02, 0.02])])
def test_the_last_wait_is_repeated(waits_ms: list[float], expected: list[float | None]) -> None:
    backoff = Backoff(waits_ms)
    assert [backoff.next_s() for _ in range(3)] == expected
    backoff.reset()
    assert backoff.next_s() == expected[0]


def test_without_httpx_the_client_says_what_it_needs() -> None:
    code = "import sys; sys.modules['httpx'] = None; import perdure.resumable.client"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROCESS_SECONDS, check=False
    )
    assert (
        "ImportError: perdure.resumable.client needs httpx; install it with: pip install 'perdure[client]'"
        in done.stderr
    )


async def test_dropping_a_generator_closes_its_connection() -> None:
    async with ScriptedPeer([body(frame(STOP, 1), Stall())]) as peer:
        events = subscribe(f"{peer.url}/stream")
        assert await anext(events) == STOP
        del events
        gc.collect()
        await peer.mark("gone/here").wait()
