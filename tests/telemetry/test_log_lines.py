"""Log lines for programs."""

from __future__ import annotations

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from perdure.telemetry import JsonLines


@given(st.text(), st.one_of(st.none(), st.text(), st.integers(0, 2**63)))
def test_whatever_is_logged_is_one_object_on_one_line(message: str, extra: object) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (message,), "name": "perdure", "stream": extra})
    line = JsonLines().format(record)
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["message"] == message
    assert parsed["fields"] == {"stream": extra}


def test_an_exception_is_a_field() -> None:
    try:
        raise ValueError("why")
    except ValueError as exc:
        record = logging.makeLogRecord({"msg": "failed", "levelname": "ERROR", "exc_info": (type(exc), exc, None)})
    parsed = json.loads(JsonLines().format(record))
    assert parsed["level"] == "error"
    assert parsed["exception"].endswith("ValueError: why")
