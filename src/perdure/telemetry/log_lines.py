"""Log records as JSON, one object a line, for programs."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import Final

import msgspec

from .current import current_trace

_OWN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every log record has; the rest was given as `extra` and goes into `fields`."""


class JsonLines(logging.Formatter):
    """A line is one JSON object: `time` (UTC), `level`, `logger`, `pid`, `message`; perhaps `fields`, `exception`.

    What is logged within a trace also has its `trace_id`, `span_id` and `trace_flags`, with OpenTelemetry and without.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        trace = current_trace()
        if trace is not None:
            line |= {"trace_id": trace.trace_id, "span_id": trace.span_id, "trace_flags": f"{trace.flags:02x}"}
        fields = {name: value for name, value in record.__dict__.items() if name not in _OWN}
        if fields:
            line["fields"] = fields
        if record.exc_info is not None and record.exc_info[1] is not None:
            line["exception"] = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        return msgspec.json.encode(line, enc_hook=str).decode()
