"""A store that fails under sessions: their clients hear that it did, and the log says why, once."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import httpx
import pytest

from perdure.model.batches import AppendInput
from perdure.model.records import AppendRecord
from perdure.store.sqlite.placement import LARGE_BYTES
from perdure.wire.protobuf import encode_append_input
from tests.server.h2_peer import connected
from tests.server.recording import RECORDS, STREAM, acks_and_end, batch, batches_and_end, frames, open_append, open_read
from tests.server.running import BASIN, Running

SECRET = "a-secret-of-the-client"
LARGE = AppendInput.of([AppendRecord(b"x" * LARGE_BYTES)])
"""What is kept in a file of its own kind, which a test can take away."""


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "perdure.server" and record.levelno >= logging.ERROR]


def check_told(caplog: pytest.LogCaptureFixture, method: str, why: str) -> None:
    (record,) = failures(caplog)
    said = record.getMessage()
    assert f"a session on {method} {RECORDS.encode()!r} in basin {BASIN!r} failed: " in said
    assert why in said, "what the client is not told"
    assert SECRET not in caplog.text
    assert vars(record)["basin"] == BASIN


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


async def test_an_append_session_whose_store_failed_is_logged_once(
    server: Running, http: httpx.AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data" / "segments").rmdir()
    async with connected(server.port) as peer:
        session = await open_append(peer, authorization=f"Bearer {SECRET}")
        await session.send(frames(batch("small"), LARGE, LARGE, LARGE), end=True)
        acks, terminal = acks_and_end(await session.rest())
    assert len(acks) <= 1
    assert terminal is not None
    assert (terminal.status, b"No such file" in terminal.body) == (500, False)
    check_told(caplog, "POST", "No such file")


@pytest.mark.parametrize("accept", ["s2s/proto", "text/event-stream"])
async def test_a_read_session_whose_store_failed_is_logged_once(
    server: Running, http: httpx.AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, accept: str
) -> None:
    protobuf = {"content-type": "application/protobuf"}
    assert (await http.post(RECORDS, content=encode_append_input(LARGE), headers=protobuf)).status_code == 200
    shutil.rmtree(tmp_path / "data" / "segments")
    fields = {"authorization": f"Bearer {SECRET}"}
    if accept == "s2s/proto":
        async with connected(server.port) as peer:
            session = await open_read(peer, "seq_num=0", **fields)
            _, terminal = batches_and_end(await session.rest())
        assert terminal is not None
        assert terminal.status == 500
    else:
        answer = await http.get(f"{RECORDS}?seq_num=0", headers={"accept": accept, **fields})
        assert "event: error" in answer.text
    check_told(caplog, "GET", "is missing")


async def test_what_a_client_did_wrong_is_not_logged(
    server: Running, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(server.port) as peer:
        session = await open_append(peer)
        await session.send(frames(batch("a", match=7)), end=True)
        _, terminal = acks_and_end(await session.rest())
    assert terminal is not None
    assert terminal.status == 412
    assert failures(caplog) == []
