"""The pages of the manual and their code, and how that is run: as it stands, in processes of its own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.patience import PROCESS_SECONDS

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
NPM: Final = ROOT / "tests" / "npm"
WEB: Final = ROOT / "src" / "perdure" / "web"
PAGES: Final = {path.stem: path for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}

_FENCE: Final = re.compile(
    r"(?:^<!-- fragment: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block. `fragment` is why it cannot be run as it stands, None if it can."""

    page: str
    language: str
    code: str
    fragment: str | None

    def __str__(self) -> str:
        return f"{self.page}: {self.code.strip().splitlines()[0]}"


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page, in order; those of `languages` if there are any."""
    found = [Block(page, m["language"], m["code"], m["why"]) for m in _FENCE.finditer(PAGES[page].read_text())]
    return [block for block in found if not languages or block.language in languages]


def block(page: str, wanted: str) -> str:
    """The one block of a page that holds `wanted`. Tests name both literally: another test looks for that."""
    (found,) = [found.code for found in blocks(page) if wanted in found.code]
    return found


@asynccontextmanager
async def application(
    code: str, directory: Path, *, interface: str = "asgi", files: Mapping[str, str] | None = None, **variables: str
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application that a block defines, which runs in `directory`."""
    for name, text in {"application.py": code, **(files or {})}.items():
        (directory / name).write_text(text)
    port = free_port()
    # Granian 2.8 has WSGI workers that never end, now and then, whatever the application.
    limit = ("--workers-kill-timeout", "30") if interface == "wsgi" else ()
    command = (sys.executable, "-m", "granian", "--interface", interface, "--port", str(port), *limit)
    async with (
        started(*command, "application:app", directory=directory, **variables) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PROCESS_SECONDS) as http,
    ):
        await when_up(lambda: http.get("/"), server)
        yield http


@asynccontextmanager
async def started(*command: str, directory: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is told to end at the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | variables,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def when_up(
    ask: Callable[[], Awaitable[httpx.Response]], server: asyncio.subprocess.Process | None = None
) -> httpx.Response:
    """The first answer of a server that is starting."""
    async with asyncio.timeout(PROCESS_SECONDS):
        while True:
            try:
                return await ask()
            except httpx.ConnectError:
                assert server is None or server.returncode is None, "the server has ended"
                await asyncio.sleep(0.05)  # the time-out above bounds this


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def run_python(code: str, directory: Path, *arguments: str, **variables: str) -> list[str]:
    """The lines that a script prints; it must end well."""
    return await _output(sys.executable, "-c", code, *arguments, directory=directory, **variables)


async def run_javascript(code: str, url: str, **variables: str) -> list[str]:
    """The lines that a module prints under Node.js, with `/api` at `url`, `/perdure` as shipped."""
    code = code.replace('"/perdure/', f'"{WEB.as_uri()}/')
    code = re.sub(r'(["`])/api', rf"\1{url}/api", code)
    return await _output(node(), "--input-type=module", "--eval", code, directory=NPM, **variables)


async def run_command(line: str, directory: Path, **variables: str) -> list[str]:
    """The lines that a command of a page prints, run by a shell that finds the programs of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return await _output("sh", "-c", line, directory=directory, **{"PATH": path, **variables})


async def bundle(files: Mapping[str, str], directory: Path) -> None:
    """The files of a page in `directory`, `main.jsx` with all that it imports: what Vite serves to a browser."""
    for name, text in files.items():
        text = text.replace('"/perdure/', f'"{WEB}/')  # as the alias of `vite.config.mjs` has it
        (directory / name).write_text(text.replace('"/main.jsx"', '"/main.js"'))
    esbuild = NPM / "node_modules" / ".bin" / "esbuild"
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--target=es2022", "--log-level=error")
    bundled = ("main.jsx", "--outfile=main.js")
    await _output(str(esbuild), *bundled, *options, directory=directory, NODE_PATH=str(NPM / "node_modules"))


def node() -> str:
    """The Node.js of the virtual environment, else whichever the path has."""
    beside_python = Path(sys.executable).with_name("node")
    found = str(beside_python) if beside_python.exists() else shutil.which("node")
    assert found, "Node.js is missing: `make test` installs it"
    return found


async def _output(*command: str, directory: Path, **variables: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
        env=os.environ | variables,
    )
    try:
        async with asyncio.timeout(PROCESS_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return output.decode().splitlines()
