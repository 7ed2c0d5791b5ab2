"""What subscriptions must do: bodies as they come, answers that are no bodies, and what the caller does meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from tests.resumable.client.cases import (
    ERROR,
    NETWORK,
    OVER,
    STOP,
    Case,
    body,
    e,
    frame,
    reading,
    refused,
    stream,
    subscribing,
    until,
)
from tests.resumable.client.scripted_peer import CUT, SILENCE, Answer, Break, Part, Stall, Trickle


def a_body(name: str, wire: Sequence[Part] | bytes, *events: object, cursor: int | None = None) -> Case:
    """What a body amounts to, and where the next request goes on."""
    parts = [wire] if isinstance(wire, bytes) else wire
    again = "GET /stream" if cursor is None else f"GET /stream?from={cursor}"
    return Case(name, [body(*parts), OVER], subscribing(), [*events, "end"], ["GET /stream", again])


SEPARATORS = {"text": "\u2028\u2029\u0085\f\v\x1e"}

BODIES = [
    a_body("a body that ends is taken up from its last id", stream(1, 2), e(1), e(2), cursor=2),
    a_body("frames come byte by byte", [Trickle(stream(1, 2))], e(1), e(2), cursor=2),
    a_body("characters are cut in two", [Trickle(frame({"t": "grüße 🌍"}, 4))], {"t": "grüße 🌍"}, cursor=4),
    a_body("Unicode's line separators are text", frame(SEPARATORS, 3), SEPARATORS, cursor=3),
    a_body("lines end with CRLF", [Trickle(stream(1, 2).replace(b"\n", b"\r\n"))], e(1), e(2), cursor=2),
    a_body("lines end with CR", [Trickle(stream(1, 2).replace(b"\n", b"\r"))], e(1), e(2), cursor=2),
    a_body("a byte order mark is dropped", [Trickle(b"\xef\xbb\xbf" + stream(1))], e(1), cursor=1),
    a_body("bytes that are no UTF-8 are replaced", b'data: {"a":"\xff\xfe"}\n\n', {"a": "\ufffd\ufffd"}),
    a_body("several data lines are one event", b'data: {"a":\ndata: 1}\nid: 7\n\n', {"a": 1}, cursor=7),
    a_body("no space follows the colon", b'data:{"a":1}\nid:7\n\n', {"a": 1}, cursor=7),
    a_body("comments are passed over", b": keep-alive\n\n:\n\n" + stream(1), e(1), cursor=1),
    a_body("event names and retry change nothing", b"event: x\nretry: 9\n" + stream(1), e(1), cursor=1),
    a_body("malformed JSON is passed over, and its id counts", stream(1) + frame('{"a":', 2), e(1), cursor=2),
    a_body("empty data are passed over, and their id counts", stream(1) + frame("", 2), e(1), cursor=2),
    a_body("a frame with an id only moves the cursor", stream(1) + b"id: 2\n\n", e(1), cursor=2),
    a_body("[DONE] is passed over", stream(1) + frame("[DONE]"), e(1), cursor=1),
    a_body(
        "what is no object is no event",
        b"".join(map(frame, ("5", "null", "[]", '"a"', "NaN"))) + stream(1),
        e(1),
        cursor=1,
    ),
    a_body("an unterminated frame is dropped, and its id with it", stream(1) + frame(e(2), 2)[:-1], e(1), cursor=1),
    a_body(
        "ids that are no numbers are no cursors",
        b'data: {"a":1}\nid: 1x\n\ndata: {"a":2}\nid: -1\n\n',
        {"a": 1},
        {"a": 2},
    ),
    a_body("an id beyond what browsers count is no cursor", stream(2**53), e(2**53), cursor=None),
    a_body("the largest id is one", frame(STOP, 2**53 - 1), STOP, cursor=2**53 - 1),
    a_body("an id with NUL is ignored", b'data: {"a":1}\nid: 1\0\n\n', {"a": 1}),
    a_body("the cursor only ever increases", frame(e(5), 5) + frame(e(3), 3), e(5), e(3), cursor=5),
    a_body("a body breaks after an id", [stream(1), Break()], e(1), cursor=1),
    a_body("a body breaks within a frame", [stream(1) + b"data: {", Break()], e(1), cursor=1),
    a_body("a body breaks before its first frame", [b": hello\n\n", Break()]),
    a_body("a body ends without a byte", []),
]

SUBSCRIBE = [
    Case("204 is an end", [OVER], subscribing(), ["end"], ["GET /stream"]),
    Case("an empty 200 is an end", [Answer(200)], subscribing(), ["end"], ["GET /stream"]),
    Case(
        "message_stop and error are ordinary events of a subscription",
        [body(frame(STOP, 1), frame(ERROR, 2), frame(STOP, 3)), OVER],
        subscribing(),
        [STOP, ERROR, STOP, "end"],
        ["GET /stream", "GET /stream?from=3"],
    ),
    *(
        Case(
            f"{status} is tried again",
            [Answer(status, b"later"), body(stream(1)), Answer(status), OVER],
            subscribing(),
            [e(1), "end"],
            ["GET /stream", "GET /stream", "GET /stream?from=1", "GET /stream?from=1"],
        )
        for status in (408, 429, 500, 502, 503, 504)
    ),
    *(
        Case(
            f"{status} is raised at once",
            [Answer(status, b"no")],
            subscribing(),
            [refused(status, text)],
            ["GET /stream"],
        )
        for status, text in (
            (400, "HTTP 400 Bad Request"),
            (401, "HTTP 401 Unauthorized"),
            (403, "HTTP 403 Forbidden"),
            (404, "HTTP 404 Not Found"),
            (409, "HTTP 409 Conflict"),
        )
    ),
    Case(
        "a refusal after events is raised where they end",
        [body(stream(1)), Answer(404)],
        subscribing(),
        [e(1), refused(404, "HTTP 404 Not Found")],
        ["GET /stream", "GET /stream?from=1"],
    ),
    Case(
        "a connection that is cut before its answer is tried again",
        [Answer(CUT), body(stream(1)), OVER],
        subscribing(),
        [e(1), "end"],
        ["GET /stream", "GET /stream", "GET /stream?from=1"],
    ),
    Case(
        "without reconnect the body's end is the end",
        [body(stream(1))],
        subscribing(reconnectBackoffMs=[]),
        [e(1), "end"],
        ["GET /stream"],
    ),
    Case(
        "without reconnect a broken body is an error",
        [body(stream(1), Break())],
        subscribing(reconnectBackoffMs=[]),
        [e(1), NETWORK],
        ["GET /stream"],
    ),
    Case(
        "without reconnect 503 is an error",
        [Answer(503)],
        subscribing(reconnectBackoffMs=[]),
        [refused(503, "HTTP 503 Service Unavailable")],
        ["GET /stream"],
    ),
    Case(
        "without reconnect a lost connection is an error",
        [Answer(CUT)],
        subscribing(reconnectBackoffMs=[]),
        [NETWORK],
        ["GET /stream"],
    ),
    Case(
        "a hundred refusals take one connection",
        [*[Answer(503, [b"try again ", Trickle(b"later")])] * 100, OVER],
        subscribing(),
        ["end"],
        ["GET /stream"] * 101,
        connections=1,
    ),
    Case(
        "an event lets the waits begin anew",
        [body(stream(1)), body(stream(2), Break()), body(stream(3)), OVER],
        subscribing(reconnectBackoffMs=[0, 60_000]),
        [e(1), e(2), e(3), "end"],
        ["GET /stream", "GET /stream?from=1", "GET /stream?from=2", "GET /stream?from=3"],
    ),
    Case(
        "headers are asked for anew",
        [Answer(503), body(stream(1)), OVER],
        subscribing(headers={"count": "x-number"}),
        [e(1), "end"],
        ["GET /stream", "GET /stream", "GET /stream?from=1"],
        headers={"x-number": ["1", "2", "3"]},
    ),
    Case(
        "headers may be pairs",
        [OVER],
        subscribing(headers=[["x-number", "one"]]),
        ["end"],
        ["GET /stream"],
        headers={"x-number": ["one"]},
    ),
    Case(
        "a URL may be a function of the cursor",
        [body(stream(1)), OVER],
        subscribing(url="/stream?cursor="),
        [e(1), "end"],
        ["GET /stream?cursor=none", "GET /stream?cursor=1"],
    ),
    Case(
        "other parameters of a URL are kept, and its fragment stays at home",
        [body(stream(5)), OVER],
        subscribing(url="/stream?chat=a%20b&from=3#tail"),
        [e(5), "end"],
        ["GET /stream?chat=a%20b&from=3", "GET /stream?chat=a%20b&from=5"],
    ),
    Case(
        "who leaves the loop closes the connection",
        [body(stream(1, 2), Stall())],
        subscribing(reading(1), "leave", until("gone/here")),
        [e(1)],
        ["GET /stream"],
    ),
    Case(
        "an abort ends a wait for the body without an error",
        [body(stream(1), Stall())],
        subscribing(reading(1), "begin", until("reached/here"), "abort", "finish", until("gone/here"), signal=True),
        [e(1), "end"],
        ["GET /stream"],
    ),
    Case(
        "an abort ends what is there already but was not handed out",
        [body(stream(1, 2, 3), Stall())],
        subscribing(reading(1), "abort", "rest", until("gone/here"), signal=True),
        [e(1), "end"],
        ["GET /stream"],
    ),
    Case(
        "an abort ends the wait before a reconnect",
        [body(stream(1), Break())],
        subscribing(reading(1), "begin", "abort", "finish", signal=True, reconnectBackoffMs=[60_000]),
        [e(1), "end"],
        ["GET /stream"],
    ),
    Case(
        "an abort ends a wait for an answer",
        [Answer(SILENCE)],
        subscribing("begin", until("reached/here"), "abort", "finish", until("gone/here"), signal=True),
        ["end"],
        ["GET /stream"],
    ),
    Case("an abort from before asks for nothing", [], subscribing("abort", "rest", signal=True), ["end"], []),
    Case(
        "a silent connection is given up and made anew",
        [body(stream(1), Stall()), OVER],
        subscribing(silenceMs=1000),
        [e(1), "end"],
        ["GET /stream", "GET /stream?from=1"],
    ),
    Case(
        "an answer that does not come is given up as well",
        [Answer(SILENCE), OVER],
        subscribing(silenceMs=1000),
        ["end"],
        ["GET /stream", "GET /stream"],
    ),
]
