"""`make demo` on a fresh machine: its own environment, which has fewer packages than that of the tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from tests.demo.demo_server import DemoServer
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 400.0


def bare_environment() -> dict[str, str]:
    """Without what leads to the packages of the environment that the tests run in."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "VIRTUAL_ENV"))}


@pytest.mark.timeout(500)
async def test_the_demo_answers_in_the_environment_that_make_sets_up_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once did not even start there, since a module imported a package that only the server's extra names."""
    made = tmp_path / "venv"
    make = await asyncio.create_subprocess_exec(
        *("make", f"VENV={made}", f"{made}/.demo"),
        cwd=ROOT,
        env=bare_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            said, _ = await make.communicate()
    finally:
        if make.returncode is None:
            make.terminate()
            await make.wait()
    assert make.returncode == 0, said.decode()

    monkeypatch.delenv("PYTHONPATH", raising=False)
    demo = DemoServer(tmp_path / "data", tokens_per_second=400, command=(str(made / "bin" / "perdure"), "demo"))
    async with demo, httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as http:
        page = await http.get("/")
        assert page.status_code == 200
        assert "<script" in page.text
        message = {"id": "user-1", "role": "user", "parts": [{"type": "text", "text": "hello"}]}
        answer = await http.post("/api/chat", json={"id": "a-chat", "messages": [message], "trigger": "submit-message"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        assert any('"type":"text-delta"' in event for event in events)
        assert '"type":"finish"' in events[-1] + events[-2]
        for path in ("/demos", "/anthropic", "/agent", "/pages/anthropic.js", "/web/anthropic.js"):
            assert (await http.get(path)).status_code == 200
        assert (await http.post("/api/anthropic/chat", json={"id": "b-chat", "text": "hello"})).status_code == 202
        answer = await http.get("/api/anthropic/chat/stream?id=b-chat")
        assert '"type":"message_stop"' in answer.text
        assert await demo.stop() == 0
