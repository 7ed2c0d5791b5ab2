"""The AI SDK's own readers, versions 5 to 7, asked from Python: many cases in one run of Node.js."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from perdure.resumable.json_body import JsonObject, JsonValue, encode_body

VERSIONS: Final = (5, 6, 7)
NPM: Final = Path(__file__).parents[1] / "npm"
SCRIPT: Final = Path(__file__).with_name("stock_readers.mjs")


def ask_stock_readers(cases: Sequence[JsonObject]) -> list[JsonObject]:
    """One result for each case; `stock_readers.mjs` says what cases there are."""
    assert (NPM / "node_modules" / "ai").is_dir(), "the stock clients are not installed: run `make test`"
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node")
    assert node is not None, "there is no Node.js: run `make test`"
    # ASCII only, because Node's line reader also splits at U+2028.
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    run = subprocess.run(
        [node, "--input-type=module", "--eval", SCRIPT.read_text()],
        input=lines,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=NPM,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    results = [cast("JsonObject", json.loads(line)) for line in run.stdout.split("\n") if line]
    assert len(results) == len(cases)
    crashed = [(case, result) for case, result in zip(cases, results, strict=True) if "crashed" in result]
    assert crashed == []
    return results


def sse(chunks: Sequence[JsonObject | bytes], *, ids: bool = True) -> str:
    """A response body as the AI SDK adapter writes it."""
    frames = []
    for number, chunk in enumerate(chunks):
        body = chunk if isinstance(chunk, bytes) else encode_body(chunk)
        frames.append((f"id: {number + 2}\n" if ids else "") + f"data: {body.decode()}\n\n")
    return "".join(frames)


def messages_of(result: JsonObject) -> list[JsonObject]:
    """The `messages` of a result."""
    return objects(result["messages"])


def objects(value: JsonValue) -> list[JsonObject]:
    """`value`, a list of objects, with the type that says so."""
    assert isinstance(value, list)
    assert all(isinstance(item, dict) for item in value)
    return cast("list[JsonObject]", value)
