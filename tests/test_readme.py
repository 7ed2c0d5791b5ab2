"""The README's code, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.doc_pages import PAGES, application, block, run_python
from tests.serve_command import ServeCommand

README = PAGES["README"].read_text()


@pytest.mark.parametrize("code", [block("README", "async with S2.open"), block("README", "perdure.sync")])
async def test_the_quickstart_prints_what_it_says(code: str, tmp_path: Path) -> None:
    assert await run_python(code, tmp_path) == ["stored as record 0", "0 Hello"]
    assert await run_python(code, tmp_path) == ["stored as record 1", "0 Hello", "1 Hello"]  # the directory keeps it


async def test_the_chat_answers_and_resumes(tmp_path: Path) -> None:
    async with application(block("README", "resumable.aisdk"), tmp_path) as http:
        message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        answer = await http.post("/api/chat", json={"id": "c1", "messages": [message]})
        assert answer.status_code == 200
        deltas = re.findall(r'"delta":"([^"]*)"', answer.text)
        assert "".join(deltas) == "Words from your model"
        assert (await http.get("/api/chat/c1/stream")).status_code == 204


async def test_the_sdk_speaks_to_the_server_that_the_environment_names(tmp_path: Path) -> None:
    (names,) = re.findall(r"^\$ export (S2_.*)$", README, re.MULTILINE)
    async with ServeCommand(tmp_path / "data") as server:
        environment = dict(pair.split("=") for pair in names.split())
        environment = {name: server.url if "ENDPOINT" in name else value for name, value in environment.items()}
        assert await run_python(block("README", "S2.from_env"), tmp_path, **environment) == ["0 Hello over HTTP"]


@pytest.mark.parametrize("command", re.findall(r"^\$ make (\w+)", README, re.MULTILINE))
def test_the_make_targets_exist(command: str) -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    assert re.search(rf"^{command}:", makefile, re.MULTILINE)
