"""The browser modules and Python agree, on input that nobody thought of: server-sent events, and folded messages."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perdure.resumable.anthropic_accumulator import IncompleteMessage, accumulate_message
from perdure.wire.sse import SseParser
from tests.resumable.anthropic_scripts import Event, streamed
from tests.web.test_web_modules import find_node

Ask: TypeAlias = Callable[[object], Any]
RUNNER = Path(__file__).with_name("parity.mjs")

# The fixture is one Node.js process for all examples: a case leaves nothing behind in it.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Gives the browser modules a case, and their result."""
    command = [find_node(), str(RUNNER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        requests, results = node.stdin, node.stdout

        def ask(case: object) -> Any:
            requests.write(json.dumps(case).encode() + b"\n")
            line = b""
            while not line.endswith(b"\n"):
                piece = results.readline()
                assert piece, "Node.js has ended"
                line += piece
            return json.loads(line, parse_int=_number)

        yield ask
        requests.close()


def _number(digits: str) -> float:
    """JavaScript writes floats up to 1e21 without an exponent, with zeros for the digits that it has not."""
    return int(digits) if len(digits) <= 16 else float(digits)


pieces_of_wire = st.one_of(
    st.sampled_from(
        [
            *(b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"data: a\n", b"id: 7\n"),
            *(
                b"\0",
                b"\xff",
                b"\xef\xbb\xbf",
                b"\xf0\x9f",
                "ü\u2028\u0085🌍".encode(),
                b"\x0b",
                b"\x1e",
                b"retry: 12\n",
            ),
        ]
    ),
    st.text(max_size=5).map(lambda text: text.encode(errors="surrogatepass")),
    st.binary(max_size=5),
)


@shared
@given(wire=st.lists(pieces_of_wire, max_size=30).map(b"".join), sizes=st.lists(st.integers(1, 9), min_size=1))
@example(wire=b"\xef\xbb", sizes=[1])
@example(wire=b"data: a\xe2\n\x80\xa8\n\n", sizes=[1])
@example(wire=b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", sizes=[2])
@example(wire=b"data: a\r\n\r\r\n\n", sizes=[1])
def test_any_bytes_in_any_slices_are_the_same_events(ask: Ask, wire: bytes, sizes: list[int]) -> None:
    slices, begin = list[bytes](), 0
    while begin < len(wire):
        end = begin + sizes[len(slices) % len(sizes)]
        slices.append(wire[begin:end])
        begin = end
    parser = SseParser()
    events = [event for piece in slices for event in parser.feed(piece)]
    assert ask({"wire": [base64.b64encode(piece).decode() for piece in slices]}) == {
        "frames": [[event.event or "message", event.data, event.id] for event in events],
        "lastEventId": parser.last_id or "",
        "retryMs": parser.retry_ms,
    }


@shared
@given(made=streamed())
def test_any_stream_amounts_to_the_same_message(ask: Ask, made: tuple[Event, list[Event]]) -> None:
    message, events = made
    result = ask({"events": events})
    assert result == {"message": message, "changed": False}
    assert accumulate_message(events) == message


@shared
@given(made=streamed(), data=st.data())
def test_a_stream_with_gaps_amounts_to_the_same_as_well(
    ask: Ask, made: tuple[Event, list[Event]], data: st.DataObject
) -> None:
    events = [event for event in made[1] if data.draw(st.integers(0, 9)) > 0]
    result = ask({"events": events})
    if "error" in result:
        with pytest.raises(IncompleteMessage, match=result["error"].replace("finalMessage", "final_message")):
            accumulate_message(events)
    else:
        assert result == {"message": accumulate_message(events), "changed": False}
