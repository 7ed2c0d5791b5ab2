"""Chats in applications that block: real WSGI servers and frameworks, threads, clients that go, processes that end."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.validate import validator

import flask
import httpx
import pytest

from perdure import SessionClosed
from perdure.resumable import ResumableStreamContext, create_resumable_stream_context, text_response
from perdure.resumable.events import EventsChat, create_resumable_chat, replay_options
from perdure.resumable.responses import ChatResponse
from perdure.resumable.wsgi import ChatThread, WsgiBody
from perdure.sync import timeout
from tests.doc_pages import application
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import BASIN, frames


class Slow:
    """A blocking source that gives `one`, and then waits for the test."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.began = threading.Event()

    def __call__(self) -> Iterator[dict[str, Any]]:
        yield {"type": "one"}
        self.began.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        yield {"type": "two"}


class Threaded(ThreadingMixIn, WSGIServer):
    """Python's own WSGI server, a thread for each connection, all of which it waits for."""


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(app: Any) -> Iterator[httpx.Client]:
    """A client of `app`, on a port of its own."""
    with make_server("127.0.0.1", 0, app, Threaded, Quiet) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as http:
                yield http
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture
def chat(tmp_path: Path) -> EventsChat:
    return create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session", keep_alive_ms=200)


@pytest.fixture
def thread(chat: EventsChat) -> Iterator[ChatThread]:
    thread = ChatThread(chat)
    yield thread
    thread.close()


def flask_app(chat: EventsChat, thread: ChatThread, source: Callable[[], Iterator[dict[str, Any]]]) -> flask.Flask:
    app = flask.Flask(__name__)

    def respond(call: Any) -> flask.Response:
        answer = thread.respond(call)
        return flask.Response(answer.body, answer.status, answer.headers)

    @app.post("/<name>")
    def send(name: str) -> flask.Response:
        return respond(chat.make_resumable(name, source, wait_until=chat.background))

    @app.get("/<name>")
    def replay(name: str) -> flask.Response:
        return respond(chat.replay(name, **replay_options(flask.request.args)))

    @app.get("/<name>/history")
    def history(name: str) -> flask.Response:
        return respond(chat.history_response(name))

    @app.delete("/<name>")
    def stop(name: str) -> flask.Response:
        return flask.Response(status=202 if thread.call(chat.stop(name)) else 204)

    return app


def test_a_chat_is_served_by_flask(chat: EventsChat, thread: ChatThread) -> None:
    source = Slow()
    with served(flask_app(chat, thread, source)) as http:
        assert http.get("/c?from=1").status_code == 204
        with http.stream("POST", "/c") as answer:
            assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
            assert "connection" not in dict(thread.respond(chat.replay("c", active_only=True)).headers)
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith("data")) == 'data: {"type":"one"}'
            busy = http.post("/c")
            assert (busy.status_code, busy.text) == (409, "Stream already in use")
            assert source.began.wait(PATIENCE_SECONDS)
            source.go_on.set()
            assert [line for line in lines if line.startswith("data")] == ['data: {"type":"two"}']
        history = http.get("/c/history").json()
        assert [entry["event"]["type"] for entry in history["events"]] == ["one", "two"]
        assert http.get("/" + "x" * 600).status_code == 400
        assert http.delete("/c").status_code == 204


def test_a_client_that_goes_ends_its_body_and_not_the_answer(chat: EventsChat, thread: ChatThread) -> None:
    """The server learns it from a comment that it cannot send."""
    source, closed = Slow(), threading.Event()
    app = flask_app(chat, thread, source)

    def noticing(environ: Any, start_response: Any) -> Any:
        answer = app(environ, start_response)
        return Noticed(answer, closed) if environ["REQUEST_METHOD"] == "POST" else answer

    with served(noticing) as http:
        with http.stream("POST", "/c") as answer:
            next(answer.iter_lines())
        assert closed.wait(PATIENCE_SECONDS)
        source.go_on.set()
        thread.call(chat.drain())
        assert '"two"' in http.get("/c").text


class Noticed:
    """The iterable of an application, and word of its close."""

    def __init__(self, answer: Any, closed: threading.Event) -> None:
        self._answer = answer
        self._closed = closed

    def __iter__(self) -> Any:
        return iter(self._answer)

    def close(self) -> None:
        self._answer.close()
        self._closed.set()


def test_a_live_replay_of_a_silent_chat_sends_its_headers(chat: EventsChat, thread: ChatThread) -> None:
    """Otherwise a page would not know that it is connected until something is said."""
    thread.call(chat.make_resumable("c", [{"type": "one"}], delivery="replay"))
    with served(flask_app(chat, thread, Slow())) as http, http.stream("GET", "/c?live=1&from=3") as live:
        assert live.status_code == 200
        assert next(live.iter_raw()) == b": keep-alive\n\n"


def test_a_response_is_a_wsgi_application(chat: EventsChat, thread: ChatThread) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        posted = environ["REQUEST_METHOD"] == "POST"
        call = chat.make_resumable("c", [{"type": "one"}]) if posted else chat.history_response("c")
        return thread.respond(call)(environ, start_response)

    with served(validator(app)) as http:
        assert frames(http.post("/").text) == [(2, '{"type":"one"}')]
        assert http.get("/").json()["nextSeqNum"] == 3


def test_text_streams_are_served_too(tmp_path: Path) -> None:
    context: ResumableStreamContext = create_resumable_stream_context(path=tmp_path / "data", basin=BASIN)
    thread = ChatThread(context)

    async def started(name: str) -> ChatResponse:
        return text_response(await context.resumable_stream(name, lambda: iter(["Good ", "day"])))

    def app(environ: Any, start_response: Any) -> Any:
        return thread.respond(started(environ["PATH_INFO"].strip("/")))(environ, start_response)

    with served(app) as http:
        assert http.get("/t").text == "Good day"
        assert http.get("/t").status_code == 422
    thread.close()


def test_what_breaks_off_a_body_is_raised_to_the_server(thread: ChatThread) -> None:
    async def chunks() -> Any:
        yield b"one"
        raise OSError("the disk is gone")

    async def aclose() -> None:
        closed.append(True)

    closed: list[bool] = []
    body = WsgiBody(chunks(), aclose, thread, None)
    assert next(body) == b"one"
    with pytest.raises(OSError, match="the disk is gone"):
        next(body)
    body.close()
    body.close()
    assert (list(body), closed) == ([], [True])


def test_a_call_is_bounded_by_a_time_out(chat: EventsChat, thread: ChatThread) -> None:
    source = Slow()
    with timeout(PATIENCE_SECONDS):
        thread.call(chat.make_resumable("c", source, delivery="replay", wait_until=chat.background))
    with pytest.raises(TimeoutError), timeout(0):
        thread.call(chat.stop("c"))
    assert thread.call(chat.stop("c"))
    source.go_on.set()


def test_a_closed_thread_takes_no_calls_and_its_bodies_have_ended(chat: EventsChat) -> None:
    thread = ChatThread(chat)
    live = thread.respond(chat.replay("c", live=True))
    thread.close()
    live.close()
    thread.close()
    with pytest.raises(SessionClosed):
        thread.call(chat.stop("c"))
    never_begun = ChatThread(chat)
    never_begun.close()
    with pytest.raises(SessionClosed):
        never_begun.call(chat.stop("c"))


CHAT = """
import sys, time
from perdure.resumable.events import create_resumable_chat
from perdure.resumable.wsgi import ChatThread

def source():
    for number in range(20):
        time.sleep(0.01)
        yield {"type": str(number)}

chat = create_resumable_chat(path="./data", basin="test-chats", mode="session")
thread = ChatThread(chat)

def send():
    return thread.respond(chat.make_resumable("c", source, delivery="replay", wait_until=chat.background))
"""
APPLICATION = """
def app(environ, start_response):
    return (send() if environ["PATH_INFO"] == "/send" else thread.respond(chat.history_response("-")))(
        environ, start_response
    )
"""


def test_the_end_of_a_process_waits_for_what_is_being_written(
    chat: EventsChat, thread: ChatThread, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "error", "-c", CHAT + "send()"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    history = thread.call(chat.history("c"))
    assert (len(history["events"]), history["active"]) == (20, False)


async def test_a_worker_of_a_server_waits_for_it_too(chat: EventsChat, tmp_path: Path) -> None:
    """Granian's are children of `multiprocessing`, which skip what `atexit` has."""
    async with application(CHAT + APPLICATION, tmp_path, interface="wsgi") as http:
        assert (await http.get("/send")).status_code == 202
    async with chat:
        history = await chat.history("c")
    assert (len(history["events"]), history["active"]) == (20, False)
