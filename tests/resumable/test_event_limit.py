"""An event that no record can hold: the answer ends with an error that names it, and what came before it is kept."""

import logging
from typing import Any, Final

import pytest

from perdure import S2
from perdure.resumable import EventTooLarge, openai
from perdure.resumable.event_limit import MAX_EVENT_BYTES
from perdure.resumable.json_body import encode_body
from tests.resumable.chats import BASIN, CREATE, body_of, frames, records_of

KINDS: Final = {**CREATE, "openai": openai.create_resumable_chat}
SHOWN: Final = "The answer ended early: one part of it (data-file) is larger than 1 MiB"


def event_of(size: int) -> dict[str, Any]:
    """An event whose JSON has so many bytes."""
    event = {"type": "data-file", "data": ""}
    return event | {"data": "x" * (size - len(encode_body(event)))}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_tabs_are_told_which_event_is_too_large(s2: S2, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    fits = event_of(MAX_EVENT_BYTES)
    async with KINDS[kind](s2=s2, basin=BASIN, mode="session") as chat:
        answer = await chat.make_resumable("c", [fits, event_of(MAX_EVENT_BYTES + 1), fits], wait_until=chat.background)
        (_, first), (cursor, error) = frames(await body_of(answer))
        assert first == encode_body(fits).decode()
        assert SHOWN in error
        assert '"type":"error"' in error or '"type":"RUN_ERROR"' in error
        (_, again), *ends = frames(await body_of(await chat.replay("c", from_seq_num=cursor - 1 if cursor else None)))
        assert (again, ends) == (error, [])
        await chat.drain()
        last = (await records_of(s2.basin(BASIN).stream("c")))[-1]
        assert last.text.startswith("error-")
    assert f"an event of type 'data-file' has {MAX_EVENT_BYTES + 1} bytes" in caplog.text
    assert "keep such data elsewhere" in caplog.text
    assert caplog.records[-1].levelno >= logging.WARNING


async def test_on_error_gets_the_failure_and_has_the_last_word(s2: S2) -> None:
    failures: list[BaseException] = []

    def told(failure: BaseException) -> str:
        failures.append(failure)
        return "Too much."

    async with CREATE["events"](s2=s2, basin=BASIN, mode="session", on_error=told) as chat:
        body = await body_of(await chat.make_resumable("c", [{"data": "x" * MAX_EVENT_BYTES}]))
    assert '"Too much."' in body
    (failure,) = failures
    assert isinstance(failure, EventTooLarge)
    assert (failure.event_type, failure.size_bytes) == (None, MAX_EVENT_BYTES + len('{"data":""}'))
    assert "without a type" in failure.shown_text
