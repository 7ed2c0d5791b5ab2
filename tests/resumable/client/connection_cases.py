"""What connections to chats of TanStack AI must do: subscriptions, what is sent, answers with a response."""

from __future__ import annotations

from typing import Any

from tests.resumable.client.cases import NETWORK, OVER, Case, body, frame, reading, refused, stream, until
from tests.resumable.client.cases import e as event
from tests.resumable.client.program import Step
from tests.resumable.client.scripted_peer import CUT, SILENCE, Answer, Break, Stall, Trickle
from tests.resumable.tanstack_scripts import run_error, run_finished, text_content

ODD = text_content("grüße 🌍\u2028\u0085")
END = run_finished()
REST: Step = {"do": "rest"}
FOLLOW: Step = {"do": "follow"}
FINISH: Step = {"do": "finish"}


def connecting(*steps: str | Step, **options: Any) -> list[Step]:
    """The program of a session's connection; without reconnect unless told otherwise."""
    create = {"do": "connection", "sendUrl": "/send", "subscribeUrl": "/stream?a=1", **options}
    return [
        {key: value for key, value in create.items() if value is not None},
        *({"do": step} if isinstance(step, str) else step for step in steps),
    ]


def posting(*messages: object, **options: object) -> Step:
    return {"do": "post", "messages": [*messages], **options}


def asking(**options: object) -> Step:
    return {"do": "ask", "messages": [], **options}


CONNECTIONS = [
    Case("a connection to what is over", [OVER], connecting(FOLLOW, REST), ["over", "end"], ["GET /stream?a=1"]),
    Case("a connection to nothing", [body()], connecting(FOLLOW, REST), ["over", "end"], ["GET /stream?a=1"]),
    Case(
        "a connection that is over after a reconnect",
        [body(frame(END, 3)), OVER],
        connecting(FOLLOW, REST, reconnectBackoffMs=[0]),
        [END, "over", "end"],
        ["GET /stream?a=1", "GET /stream?a=1&from=3"],
    ),
    *(
        Case(
            f"a connection's body that ends with {last['type']}",
            [body(frame(ODD, 2), frame(last, 3))],
            connecting(FOLLOW, REST),
            [ODD, last, "end"],
            ["GET /stream?a=1"],
        )
        for last in (END, run_error("no"))
    ),
    Case(
        "a connection's body that ends in the middle of a run",
        [body(frame(ODD, 2))],
        connecting(FOLLOW, REST),
        [ODD, "over", "end"],
        ["GET /stream?a=1"],
    ),
    Case(
        "later subscriptions of a connection go on where it was",
        [body(stream(5, 7) + frame(END, 7)), body(frame(END, 9))],
        connecting(FOLLOW, REST, FOLLOW, REST),
        [event(5), event(7), END, "end", END, "end"],
        ["GET /stream?a=1", "GET /stream?a=1&from=7"],
    ),
    Case(
        "a connection's frames come byte by byte, with CRLF",
        [body(Trickle((frame(ODD, 2) + frame(END, 3)).replace(b"\n", b"\r\n")))],
        connecting(FOLLOW, REST),
        [ODD, END, "end"],
        ["GET /stream?a=1"],
    ),
    Case(
        "a connection that breaks is an error without reconnect",
        [body(stream(1), Break())],
        connecting(FOLLOW, REST),
        [event(1), NETWORK],
        ["GET /stream?a=1"],
    ),
    Case(
        "a connection that breaks, within a frame too, goes on with reconnect",
        [body(stream(1), b"data: {", Break()), Answer(429), Answer(503), Answer(CUT), body(frame(END, 2)), OVER],
        connecting(FOLLOW, REST, reconnectBackoffMs=[0]),
        [event(1), END, "over", "end"],
        ["GET /stream?a=1", *["GET /stream?a=1&from=1"] * 4, "GET /stream?a=1&from=2"],
    ),
    *(
        Case(
            f"a connection that gets {status} is an error",
            [Answer(status)],
            connecting(FOLLOW, REST, reconnectBackoffMs=[0]),
            [refused(status, text)],
            ["GET /stream?a=1"],
        )
        for status, text in ((401, "HTTP 401 Unauthorized"), (404, "HTTP 404 Not Found"))
    ),
    Case(
        "an abort ends a connection's subscription without the end of a run",
        [body(stream(1), Stall())],
        connecting(
            {"do": "follow", "signal": True},
            reading(1),
            "begin",
            until("reached/here"),
            "abort",
            FINISH,
            until("gone/here"),
        ),
        [event(1), "end"],
        ["GET /stream?a=1"],
    ),
    Case(
        "who leaves a connection's subscription closes it",
        [body(stream(1, 2), Stall())],
        connecting(FOLLOW, reading(1), "leave", until("gone/here")),
        [event(1)],
        ["GET /stream?a=1"],
    ),
    Case(
        "what a connection sends is taken, whatever the answer holds",
        [Answer(202), body(b"a", b"b"), Answer(204)],
        connecting(posting({"id": "u1"}), posting(data={"mood": "grün"}), posting()),
        ["sent"] * 3,
        ["POST /send"] * 3,
        headers={"content-type": ["application/json"] * 3},
        bodies=[
            b'{"messages":[{"id":"u1"}]}',
            '{"messages":[],"data":{"mood":"grün"}}'.encode(),
            b'{"messages":[]}',
        ],
    ),
    Case(
        "a connection tells of the run, and what it adds wins",
        [Answer(202)],
        connecting(
            posting(
                run={
                    "threadId": "t1",
                    "runId": "r2",
                    "parentRunId": "r1",
                    "resume": [{"interruptId": "i1"}],
                    "clientTools": [{"name": "clock"}],
                }
            ),
            body={"id": "c1", "threadId": "mine"},
        ),
        ["sent"],
        ["POST /send"],
        bodies=[
            b'{"messages":[],"threadId":"mine","runId":"r2","parentRunId":"r1","resume":[{"interruptId":"i1"}],'
            b'"tools":[{"name":"clock"}],"id":"c1"}'
        ],
    ),
    *(
        Case(
            f"what a connection sends and gets {status} is an error",
            [Answer(status, b"no")],
            connecting(posting()),
            [refused(status, text)],
            ["POST /send"],
        )
        for status, text in ((409, "HTTP 409 Conflict"), (503, "HTTP 503 Service Unavailable"))
    ),
    Case(
        "what a connection sends is never sent twice", [Answer(CUT)], connecting(posting()), [NETWORK], ["POST /send"]
    ),
    Case(
        "an abort ends the wait of what a connection sends",
        [Answer(SILENCE)],
        connecting(
            {"do": "begin", "step": posting(signal=True)},
            until("reached/here"),
            "abort",
            FINISH,
            until("gone/here"),
            posting(signal=True),
        ),
        ["sent", "sent"],
        ["POST /send"],
    ),
    Case(
        "a connection stops with what it adds",
        [Answer(202), OVER, Answer(403)],
        connecting("halt", "halt", "halt", stopUrl="/stop", body={"id": "chat-1"}),
        ["stopped", "stopped", refused(403, "HTTP 403 Forbidden")],
        ["DELETE /stop"] * 3,
        headers={"content-type": ["application/json"] * 3},
        bodies=[b'{"messages":[],"id":"chat-1"}'] * 3,
    ),
    Case(
        "a connection's headers are asked for anew",
        [Answer(202), OVER, OVER],
        connecting(posting(), FOLLOW, REST, "halt", stopUrl="/stop", headers={"count": "x-number"}),
        ["sent", "over", "end", "stopped"],
        ["POST /send", "GET /stream?a=1", "DELETE /stop"],
        headers={"x-number": ["1", "2", "3"]},
    ),
    Case(
        "an answer with the response",
        [body(frame(ODD, 2), frame(END, 3)), OVER, Answer(409)],
        connecting(asking(), REST, asking(), REST, asking(), REST, subscribeUrl=None),
        [ODD, END, "end", "end", refused(409, "HTTP 409 Conflict")],
        ["POST /send"] * 3,
    ),
    Case(
        "an answer with the response that breaks is not asked for again",
        [body(frame(ODD, 2), Break())],
        connecting(asking(), REST, subscribeUrl=None, reconnectBackoffMs=[0]),
        [ODD, NETWORK],
        ["POST /send"],
    ),
    Case(
        "an abort ends an answer with the response, and one from before asks for nothing",
        [body(frame(ODD, 2), Stall())],
        connecting(
            asking(signal=True),
            reading(1),
            "begin",
            until("reached/here"),
            "abort",
            FINISH,
            until("gone/here"),
            asking(signal=True),
            REST,
            subscribeUrl=None,
        ),
        [ODD, "end", "end"],
        ["POST /send"],
    ),
]
