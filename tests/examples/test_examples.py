"""The examples, run as a user runs them: a process on a directory, once and again."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from perdure import S2, AppendRecord
from tests.patience import PATIENCE_SECONDS, PROCESS_SECONDS
from tests.serve_command import ServeCommand

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"


def run(name: str, directory: Path | str, *arguments: str) -> list[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_every_example_is_run_here() -> None:
    tests = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tests] == []


def test_quickstart(tmp_path: Path) -> None:
    for first in (0, 3):
        assert run("quickstart.py", tmp_path / "data") == [
            f"stored as records {first} to {first + 2}",
            f"refused: the next record is {first + 3}",
            f"{first} b'Hello' {{b'lang': b'en'}}",
            f"{first + 1} b'Gr\\xc3\\xbc\\xc3\\x9f Gott' {{b'lang': b'de'}}",
            f"{first + 2} b'\\x00\\xff' {{}}",
        ]


def test_producer_and_consumer(tmp_path: Path) -> None:
    for first in (0, 500):
        # Which of the two is through first is open, and so is whether the producer is before the consumer begins.
        assert sorted(run("producer_consumer.py", tmp_path / "data")) == [
            "handled 500 orders",
            f"the consumer begins at record {first}",
            f"the last order is record {first + 499}",
        ]


def test_bulk_load(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"line {number}\n" for number in range(250)))
    assert run("bulk_load.py", tmp_path / "data", str(file)) == [
        "0 lines are there already",
        "lines 0 to 99 are stored",
        "lines 100 to 199 are stored",
        "lines 200 to 249 are stored",
    ]
    assert run("bulk_load.py", tmp_path / "data", str(file)) == ["250 lines are there already"]


def test_llm_tokens(tmp_path: Path) -> None:
    answer = "You asked: Why? The answer is on disk before you read it. "
    assert run("llm_tokens.py", tmp_path / "data") == [
        "before the reload: You asked: Why? ",
        "after the reload:  The answer is on disk before you read it. ",
        f"replayed:          {answer}",
    ]


def test_blocking(tmp_path: Path) -> None:
    assert run("blocking.py", tmp_path / "data") == [
        *(f"{name}: step {step}" for name in ("first", "second") for step in range(3)),
        "batches of [1, 1, 1]",
        "nothing new",
        "streams: ['log']",
    ]


async def test_access_tokens(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", PERDURE_ROOT_TOKEN="root-secret") as server:
        for times in (1, 2):
            assert await asyncio.to_thread(run, "access_tokens.py", server.url, "root-secret") == [
                "issued: <AccessToken, hidden>",
                "read: the first record of news",
                "another stream: the access token is not for stream `diary`",
                "appending: the access token does not permit the operation `append`",
                "revoked: the access token is unknown or was revoked",
                f"read-throughput: {times * 32} bytes",
            ]


async def test_follow(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with S2.open(directory) as s2:
        stream = s2.basin("quickstart").stream("greetings")
        for start, body in ((0, "a"), (1, "b")):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", str(EXAMPLES / "follow.py"), str(directory), "greetings", str(start)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            try:
                assert await process.stdout.readline() == f"-- caught up at {start}\n".encode()
                await stream.append([AppendRecord(body)])
                assert await process.stdout.readline() == f"{start} {body}\n".encode()
                process.send_signal(signal.SIGINT)
                output, errors = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert (process.returncode, output, errors) == (0, f"-- the next one is {start + 1}\n".encode(), b"")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_resumable_text(tmp_path: Path) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXAMPLES / "resumable_text.py"), str(tmp_path / "data"), str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PROCESS_SECONDS):
            assert await process.stdout.readline() == f"http://127.0.0.1:{port}/texts/my-text\n".encode()
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                transport=httpx.AsyncHTTPTransport(retries=8),
                timeout=PATIENCE_SECONDS,
            ) as client:
                assert (await client.get("/texts/my-text")).status_code == 404
                seen = ""
                async with client.stream("POST", "/texts/my-text", params={"prompt": "grüße 😀"}) as response:
                    assert response.status_code == 200
                    async for piece in response.aiter_text():
                        seen += piece
                        if "3. " in seen:
                            break  # the reader goes away, the model goes on
                length = len(seen.encode("utf-16-le")) // 2  # as JavaScript counts
                async with client.stream("GET", "/texts/my-text", params={"skip": length}) as response:
                    rest = response.aiter_text()
                    while "5. " not in seen:
                        seen += await anext(rest)
                    assert (await client.delete("/texts/my-text")).status_code == 204
                    async for piece in rest:
                        seen += piece
                lines = seen.splitlines()
                assert lines == [f"{number}. grüße 😀" for number in range(1, len(lines) + 1)]
                for method in ("GET", "POST"):
                    done = await client.request(method, "/texts/my-text")
                    assert (done.status_code, done.text) == (422, "Stream is already done")
            process.send_signal(signal.SIGINT)
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, output) == (0, b""), errors
