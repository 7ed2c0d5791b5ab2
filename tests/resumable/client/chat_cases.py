"""What chat clients must do: histories, turns that are sent, listeners, stops."""

from __future__ import annotations

import json

from tests.resumable.anthropic_scripts import text_message, text_turn
from tests.resumable.client.cases import (
    ERROR,
    NETWORK,
    OVER,
    STOP,
    Case,
    body,
    chatting,
    e,
    frame,
    reading,
    refused,
    sending,
    stream,
    until,
)
from tests.resumable.client.scripted_peer import CUT, SILENCE, Answer, Break, Hold, Stall

SNAPSHOT = {"turns": [{"user": "hi", "assistant": {"id": "m1"}}], "messages": [{"id": "m1"}], "nextSeqNum": 42}
EMPTY = {"turns": [], "messages": [], "nextSeqNum": 0}


def history(text: str, *log: object, then: str, status: int = 200) -> Case:
    """A history that is loaded, and the request that follows."""
    return Case(
        f"a history of {text[:60] or status}",
        [Answer(status, text.encode()), OVER],
        chatting("history", "open", "rest"),
        [*log, "opened", "end"],
        ["GET /history", then],
    )


HISTORIES = [
    history(json.dumps(SNAPSHOT), {"history": SNAPSHOT}, then="GET /stream?from=42"),
    history("", {"history": EMPTY}, then="GET /stream", status=204),
    history("", {"history": EMPTY}, then="GET /stream"),
    history("null", {"history": EMPTY}, then="GET /stream?from=0"),
    history("[1]", {"history": EMPTY}, then="GET /stream?from=0"),
    history('{"nextSeqNum":"7"}', {"history": EMPTY}, then="GET /stream?from=0"),
    history('{"nextSeqNum":-1,"turns":{}}', {"history": EMPTY}, then="GET /stream?from=0"),
    history('{"nextSeqNum":9007199254740992}', {"history": EMPTY}, then="GET /stream?from=0"),
    history(
        '{"turns":[1,null,{},{"user":1},{"user":"a"},{"user":"b","assistant":{"id":"m"}}],"nextSeqNum":3}',
        {
            "history": {
                "turns": [{"user": "a"}, {"user": "b", "assistant": {"id": "m"}}],
                "messages": [{"id": "m"}],
                "nextSeqNum": 3,
            }
        },
        then="GET /stream?from=3",
    ),
    history(
        '{"turns":[{"user":"a","error":"x"},{"user":"b","error":{"type":"t"}},{"user":"c","error":{"type":"t","message":"m"}}]}',
        {
            "history": EMPTY
            | {"turns": [{"user": "a"}, {"user": "b"}, {"user": "c", "error": {"type": "t", "message": "m"}}]}
        },
        then="GET /stream?from=0",
    ),
    history(
        '{"turns":[{"user":"a","stopped":true,"partial":{"id":"m"}}],"messages":[]}',
        {"history": EMPTY | {"turns": [{"user": "a", "stopped": True, "partial": {"id": "m"}}]}},
        then="GET /stream?from=0",
    ),
    Case("a history without a route is empty", [], chatting("history", historyUrl=None), [{"history": EMPTY}], []),
    Case(
        "a history that is refused is an error",
        [Answer(403)],
        chatting("history"),
        [refused(403, "HTTP 403 Forbidden")],
        ["GET /history"],
    ),
]

LISTEN = {"do": "open", "stopOnTerminal": False}

CHAT = [
    Case(
        "the last event closes the request, and none follows",
        [body(stream(1) + frame(STOP, 2), Stall())],
        chatting("open", reading(2), until("gone/here"), "rest"),
        ["opened", e(1), STOP, "end"],
        ["GET /stream"],
    ),
    Case(
        "an error event is a last event",
        [body(frame(ERROR, 1), Stall())],
        chatting("open", "rest", until("gone/here")),
        ["opened", ERROR, "end"],
        ["GET /stream"],
    ),
    Case(
        "a listener stays for later turns",
        [body(frame(STOP, 1), frame(ERROR, 2), frame(STOP, 3)), OVER],
        chatting({"do": "open", "stopOnTerminal": False}, "rest"),
        ["opened", STOP, ERROR, STOP, "end"],
        ["GET /stream", "GET /stream?from=3"],
    ),
    Case(
        "subscriptions share one cursor",
        [body(stream(1, 2) + frame(STOP, 3)), OVER],
        chatting("open", "rest", "open", "rest"),
        ["opened", e(1), e(2), STOP, "end", "opened", "end"],
        ["GET /stream", "GET /stream?from=3"],
    ),
    *(
        Case(
            f"a first request that gets {status} is an error",
            [Answer(status)],
            chatting("open"),
            [refused(status, text)],
            ["GET /stream"],
        )
        for status, text in ((404, "HTTP 404 Not Found"), (503, "HTTP 503 Service Unavailable"))
    ),
    Case("a first request that is cut is an error", [Answer(CUT)], chatting("open"), [NETWORK], ["GET /stream"]),
    Case(
        "what is sent may be answered at once",
        [body(frame(e(1), 1), frame(STOP, 2), Stall())],
        chatting(sending({"text": "grüße"}), "rest", until("gone/here")),
        ["opened", e(1), STOP, "end"],
        ["POST /send"],
        headers={"content-type": ["application/json"]},
        bodies=['{"text":"grüße"}'.encode()],
    ),
    Case(
        "a body of a POST that breaks goes on with the replay",
        [body(stream(1), Break()), body(stream(2) + frame(STOP, 3))],
        chatting(sending(), "rest"),
        ["opened", e(1), e(2), STOP, "end"],
        ["POST /send", "GET /stream?from=1"],
    ),
    Case(
        "a body of a POST that ends goes on with the replay",
        [body(stream(1)), OVER],
        chatting(sending(), "rest"),
        ["opened", e(1), "end"],
        ["POST /send", "GET /stream?from=1"],
    ),
    *(
        Case(
            f"after a {answer.status} to what was sent the replay is read",
            [answer, body(stream(1) + frame(STOP, 2))],
            chatting(sending(), "rest"),
            ["opened", e(1), STOP, "end"],
            ["POST /send", "GET /stream"],
        )
        for answer in (Answer(202), Answer(204), Answer(200))
    ),
    Case(
        "history, a turn, and the next turn",
        [
            Answer(200, json.dumps(SNAPSHOT).encode()),
            *[Answer(202), body(frame(e(43), 43) + frame(STOP, 44))],
            *[Answer(202), body(frame(STOP, 46))],
        ],
        chatting("history", sending(), "rest", sending(), "rest"),
        [{"history": SNAPSHOT}, "opened", e(43), STOP, "end", "opened", STOP, "end"],
        ["GET /history", "POST /send", "GET /stream?from=42", "POST /send", "GET /stream?from=44"],
    ),
    Case(
        "what is sent while a listener is there is a POST and nothing else",
        [body(stream(1), Stall()), Answer(202), Answer(202)],
        chatting(LISTEN, reading(1), sending(), sending()),
        ["opened", e(1), "opened", "opened"],
        ["GET /stream", "POST /send", "POST /send"],
    ),
    Case(
        "its events are asked for when they are read, from where they were sent",
        [body(stream(1), Stall()), Answer(202), body(stream(2) + frame(STOP, 3))],
        chatting(LISTEN, reading(1), sending(), "rest"),
        ["opened", e(1), "opened", e(2), STOP, "end"],
        ["GET /stream", "POST /send", "GET /stream?from=1"],
    ),
    Case(
        "a body of a POST is read although a listener is there",
        [body(stream(1), Stall()), body(stream(2) + frame(STOP, 3))],
        chatting(LISTEN, reading(1), sending(), "rest"),
        ["opened", e(1), "opened", e(2), STOP, "end"],
        ["GET /stream", "POST /send"],
    ),
    Case(
        "a listener that has gone counts no more",
        [body(stream(1), Stall()), Answer(202), body(stream(2))],
        chatting(LISTEN, reading(1), "cancel", sending()),
        ["opened", e(1), "opened"],
        ["GET /stream", "POST /send", "GET /stream?from=1"],
    ),
    Case(
        "a listener that was refused counts no more",
        [Answer(403), Answer(202), body(stream(2))],
        chatting(LISTEN, sending()),
        [refused(403, "HTTP 403 Forbidden"), "opened"],
        ["GET /stream", "POST /send", "GET /stream"],
    ),
    Case(
        "a listener whose events are over counts no more",
        [OVER, Answer(202), body(stream(2))],
        chatting(LISTEN, "rest", sending()),
        ["opened", "end", "opened"],
        ["GET /stream", "POST /send", "GET /stream"],
    ),
    Case(
        "a subscription that ends with the turn is no listener",
        [body(stream(1), Stall()), Answer(202), body(stream(2))],
        chatting("open", reading(1), sending()),
        ["opened", e(1), "opened"],
        ["GET /stream", "POST /send", "GET /stream?from=1"],
    ),
    Case(
        "a subscription goes on where it was itself, not where others are",
        [body(stream(1), Hold("gone/other"), Break()), body(stream(2) + frame(STOP, 3), Stall("other")), OVER],
        chatting(LISTEN, reading(1), {"do": "begin", "step": {"do": "rest"}}, "open", "rest", "finish"),
        ["opened", e(1), "opened", e(2), STOP, "end", "end"],
        ["GET /stream", "GET /stream?from=1", "GET /stream?from=1"],
    ),
    *(
        Case(
            f"what is sent and gets {status} is an error",
            [Answer(status, b"no")],
            chatting(sending()),
            [refused(status, text)],
            ["POST /send"],
        )
        for status, text in ((409, "HTTP 409 Conflict"), (503, "HTTP 503 Service Unavailable"))
    ),
    Case("what is sent is never sent twice", [Answer(CUT)], chatting(sending()), [NETWORK], ["POST /send"]),
    Case(
        "a replay that cannot be had for now after a 202 is asked for again",
        [Answer(202), Answer(503), Answer(CUT), body(frame(STOP, 2))],
        chatting(sending(), "rest"),
        ["opened", STOP, "end"],
        ["POST /send", "GET /stream", "GET /stream", "GET /stream"],
    ),
    Case(
        "a replay that is refused after a 202 is an error of the events: what was sent was taken",
        [Answer(202), Answer(403)],
        chatting(sending(), "rest"),
        ["opened", refused(403, "HTTP 403 Forbidden")],
        ["POST /send", "GET /stream"],
    ),
    Case(
        "a subscription that is refused later raises",
        [body(stream(1)), Answer(401)],
        chatting("open", "rest"),
        ["opened", e(1), refused(401, "HTTP 401 Unauthorized")],
        ["GET /stream", "GET /stream?from=1"],
    ),
    Case(
        "without reconnect a broken body of a chat is an error",
        [body(stream(1), Break())],
        chatting("open", "rest", reconnectBackoffMs=[]),
        ["opened", e(1), NETWORK],
        ["GET /stream"],
    ),
    Case(
        "cancelling ends a wait for the body",
        [body(stream(1), Stall())],
        chatting("open", reading(1), "begin", until("reached/here"), "cancel", "finish", until("gone/here")),
        ["opened", e(1), "end"],
        ["GET /stream"],
    ),
    Case(
        "cancelling one subscription leaves the client to others",
        [body(stream(1), Stall()), body(stream(2) + frame(STOP, 3))],
        chatting("open", reading(1), "cancel", "rest", "open", "rest"),
        ["opened", e(1), "end", "opened", e(2), STOP, "end"],
        ["GET /stream", "GET /stream?from=1"],
    ),
    Case(
        "the caller's signal ends a subscription",
        [body(stream(1), Stall())],
        chatting(
            {"do": "open", "signal": True, "stopOnTerminal": False},
            reading(1),
            "begin",
            until("reached/here"),
            "abort",
            "finish",
            until("gone/here"),
        ),
        ["opened", e(1), "end"],
        ["GET /stream"],
    ),
    Case(
        "a signal from before leaves a subscription without events",
        [],
        chatting("abort", {"do": "open", "signal": True}, "rest", sending(signal=True), "rest"),
        ["opened", "end", "opened", "end"],
        [],
    ),
    *(
        Case(
            f"a signal in the middle of the first request of {step['do']} leaves a subscription without events",
            [Answer(SILENCE)],
            chatting(
                {"do": "begin", "step": {**step, "signal": True}},
                until("reached/here"),
                "abort",
                "finish",
                "rest",
                until("gone/here"),
            ),
            ["opened", "end"],
            [request],
        )
        for step, request in ((sending(), "POST /send"), ({"do": "open"}, "GET /stream"))
    ),
    Case(
        "a chat is stopped", [OVER, Answer(202)], chatting("stop", "stop"), ["stopped", "stopped"], ["DELETE /stop"] * 2
    ),
    Case("without a route nothing is stopped", [], chatting("stop", stopUrl=None), ["stopped"], []),
    Case(
        "a stop that is refused is an error",
        [Answer(403)],
        chatting("stop"),
        [refused(403, "HTTP 403 Forbidden")],
        ["DELETE /stop"],
    ),
    Case(
        "all requests have the headers of the client",
        [Answer(204), Answer(202), OVER, OVER],
        chatting("history", sending(), "rest", "stop", headers={"count": "x-number"}),
        [{"history": EMPTY}, "opened", "end", "stopped"],
        ["GET /history", "POST /send", "GET /stream", "DELETE /stop"],
        headers={"x-number": ["1", "2", "3", "4"]},
    ),
    Case(
        "events are folded to messages, also across a break",
        [
            Answer(202),
            body(b"".join(frame(event, n) for n, event in enumerate(text_turn("Hel", "lo")[:4], 1)), Break()),
            body(b"".join(frame(event, n) for n, event in enumerate(text_turn("Hel", "lo")[4:], 5))),
        ],
        chatting(sending(), "messages"),
        ["opened", {"message": text_message("Hello")}, "end"],
        ["POST /send", "GET /stream", "GET /stream?from=4"],
    ),
    Case(
        "the rest of a message whose beginning was missed is left out",
        [body(b"".join(map(frame, [*text_turn("one")[3:], *text_turn("two", message_id="msg_2")]))), OVER],
        chatting({"do": "open", "stopOnTerminal": False}, "messages"),
        ["opened", {"message": text_message("two", "msg_2")}, "end"],
        ["GET /stream", "GET /stream"],
    ),
]
