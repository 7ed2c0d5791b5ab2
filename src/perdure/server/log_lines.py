"""Log records as lines: for people, or one JSON object a line for programs."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec


class LogFormat(StrEnum):
    """`TEXT` for people, `JSON` for programs."""

    TEXT = "text"
    JSON = "json"


LEVELS: Final = ("debug", "info", "warning", "error")

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_OWN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every log record has; the rest was given as `extra` and goes into `fields`."""


class JsonLines(logging.Formatter):
    """A line is one JSON object: `time` (UTC), `level`, `logger`, `pid`, `message`; perhaps `fields`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        fields = {name: value for name, value in record.__dict__.items() if name not in _OWN}
        if fields:
            line["fields"] = fields
        if record.exc_info is not None and record.exc_info[1] is not None:
            line["exception"] = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        return msgspec.json.encode(line, enc_hook=str).decode()


def log_to_stderr(log_format: LogFormat, level: str) -> None:
    """Send what this process logs to the standard error, from `level` (one of `LEVELS`) on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else logging.Formatter(_TEXT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Warnings of Python itself would otherwise stand between the lines, as text.
    logging.captureWarnings(True)
