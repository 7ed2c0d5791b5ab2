"""Where a server's log goes, and in which form: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Final

from ..telemetry.log_lines import JsonLines


class LogFormat(StrEnum):
    """`TEXT` for people, `JSON` for programs."""

    TEXT = "text"
    JSON = "json"


LEVELS: Final = ("debug", "info", "warning", "error")

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_stderr(log_format: LogFormat, level: str) -> None:
    """Send what this process logs to the standard error, from `level` (one of `LEVELS`) on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else logging.Formatter(_TEXT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Warnings of Python itself would otherwise stand between the lines, as text.
    logging.captureWarnings(True)
