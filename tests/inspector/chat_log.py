"""What the inspector makes of a stream: its own modules, run under Node."""

import json
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from perdure.model.records import SequencedRecord

FILTER: Final = Path(__file__).with_name("chat_log.mjs")
TIMEOUT_SECONDS: Final = 60
LONG_AGO_MS: Final = 0
"""A time at which no lease is over."""


def node() -> str:
    """The Node.js of the virtual environment, else whichever the path has."""
    beside_python = Path(sys.executable).with_name("node")
    found = str(beside_python) if beside_python.exists() else shutil.which("node")
    assert found, "Node.js is missing: `make test` installs it"
    return found


def stream_of(records: Iterable[SequencedRecord], *, now_ms: int = LONG_AGO_MS, slices: int = 3) -> dict[str, Any]:
    """A stream as the filter takes it."""
    return {
        "records": [
            {
                "seqNum": record.seq_num,
                "timestamp": record.timestamp,
                "headers": [[_text(name), _text(value)] for name, value in record.headers],
                "body": _text(record.body),
            }
            for record in records
        ],
        "now": now_ms,
        "slices": slices,
    }


def read_chats(streams: Iterable[dict[str, Any]]) -> list[Any]:
    """What the inspector shows of each stream."""
    lines = "".join(json.dumps(stream) + "\n" for stream in streams)
    done = subprocess.run(
        [node(), str(FILTER)], input=lines, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    # Lines of the filter end at line feeds only; the texts in them hold other separators.
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def texts(generation: dict[str, Any], kind: str = "text", role: str | None = None) -> list[str]:
    """The texts of a generation's messages: one for each message that has one."""
    said = [
        "".join(part["text"] for part in message["parts"] if part["kind"] == kind) for message in _of(generation, role)
    ]
    return [text for text in said if text]


def _of(generation: dict[str, Any], role: str | None) -> list[Any]:
    return [message for message in generation["messages"] if role in (None, message["role"])]


def _text(data: bytes) -> str:
    return b64encode(data).decode()
