"""The package as users get it: built, installed where nothing is, and used."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import httpx
import pytest

import perdure
from tests.demo.demo_server import DemoServer
from tests.packaging.environments import ROOT, Distributions, Environment, run
from tests.serve_command import ServeCommand

pytestmark = pytest.mark.timeout(600)

FIRST_STEPS = """
import asyncio
import sys

from perdure import S2, AppendRecord, SeqNum

assert not {"apsw", "httpx", "opentelemetry", "starlette", "perdure.server", "perdure.store"} & set(sys.modules)


async def main():
    async with S2.open("./data") as s2:
        stream = (await s2.basins.ensure("my-first-basin", create_stream_on_append=True)).stream("greetings")
        await stream.append([AppendRecord("Hello")])
        print([record.text for record in (await stream.read(SeqNum(0))).records])


asyncio.run(main())
"""

A_CHAT = """
import asyncio
from perdure.resumable.aisdk import create_resumable_chat


async def source():
    yield {"type": "start"}
    yield {"type": "text-start", "id": "1"}
    yield {"type": "text-delta", "id": "1", "delta": "Hi"}
    yield {"type": "text-end", "id": "1"}
    yield {"type": "finish"}


async def main():
    async with create_resumable_chat(path=":memory:", basin="my-chats") as chat:
        answer = await chat.make_resumable("chat-1", source)
        print(answer.status_code, b"".join([piece async for piece in answer.chunks]).decode())


asyncio.run(main())
"""

WHAT_IS_MISSING = """
import asyncio

from perdure import S2, AppendRecord, Cipher, Compression
from perdure.errors import UsageError


async def sealed():
    async with S2.open(":memory:") as s2:
        basin = await s2.basins.create("sealed-basin", stream_cipher=Cipher.AEGIS_256, create_stream_on_append=True)
        await basin.stream("one", encryption_key=bytes(32)).append([AppendRecord("one")])


async def replicated():
    async with S2.open("postgres://nobody@127.0.0.1:1/none"):
        pass


async def packed():
    S2(endpoints="http://127.0.0.1:1", compression=Compression.ZSTD)


async def client():
    import perdure.resumable.client


for use in (sealed, replicated, packed, client):
    try:
        asyncio.run(use())
    except (UsageError, ImportError) as exc:
        print(f"{use.__name__}: {exc}")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return Distributions.build(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="module")
def core(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The package without any extra."""
    return Environment.with_wheel(tmp_path_factory.mktemp("core"), built.wheel)


def sources() -> set[str]:
    """The files of the package, as this tree has them."""
    package = ROOT / "src" / "perdure"
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_the_package_and_nothing_else(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = [PurePosixPath(name) for name in wheel.namelist()]
    assert {name.relative_to("perdure").as_posix() for name in names if name.parts[0] == "perdure"} == sources()
    others = {name.parts[0] for name in names} - {"perdure"}
    assert others == {f"perdure-{perdure.__version__}.dist-info"}
    # What would be missed first, should a rule of .gitignore ever hit it.
    assert {"py.typed", "server/openapi.json", "demo/static/index.html", "inspector/static/index.html"} <= sources()
    modules = {name for name in sources() if name.startswith("web/") and name.endswith(".js")}
    assert modules
    assert {name.removesuffix(".js") + ".d.ts" for name in modules} <= sources()


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_metadata_says_what_indexes_and_installers_ask(built: Distributions) -> None:
    told = metadata(built.wheel)
    assert (told["Name"], told["Version"]) == ("perdure", perdure.__version__)
    assert told["Requires-Python"] == ">=3.11"
    assert (told["License-Expression"], told["License-File"]) == ("MIT", "LICENSE")
    assert told["Description-Content-Type"] == "text/markdown"
    assert told["Metadata-Version"] == "2.4"
    assert {"all", "cli", "client", "demo", "encryption", "otel", "postgres", "server", "zstd"} == set(
        told.get_all("Provides-Extra", [])
    )


def test_the_source_distribution_is_enough_to_work_on(built: Distributions) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {PurePosixPath(*PurePosixPath(member.name).parts[1:]).as_posix() for member in sdist.getmembers()}
    needed = {".ci/run", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "pyproject.toml"}
    needed |= {path.name for path in ROOT.glob("requirements*.lock")}
    for directory in ("bench", "deploy", "docs", "examples", "src", "tests", "tools"):
        needed |= {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / directory).rglob("*")
            if path.is_file() and not {"__pycache__", "node_modules", ".hypothesis"} & set(path.parts)
        }
    assert needed - names == set()
    kept_out = {"node_modules", "__pycache__", ".venv", ".git", ".mypy_cache", ".pytest_cache"}
    assert [name for name in names if kept_out & set(PurePosixPath(name).parts)] == []


def test_nothing_of_this_machine_is_in_the_wheel(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        for name in wheel.namelist():
            assert str(ROOT).encode() + b"/" not in wheel.read(name), name


def test_the_core_is_light_and_works(core: Environment) -> None:
    assert core.packages() <= {
        *("perdure", "apsw", "h11", "hpack", "msgspec", "protobuf", "starlette"),
        *("anyio", "idna", "sniffio", "typing-extensions"),  # what starlette needs
    }
    assert core.runs(FIRST_STEPS) == "['Hello']\n"
    status, _, answer = core.runs(A_CHAT).partition(" ")
    assert status == "200"
    assert '"delta":"Hi"' in answer


def test_what_is_not_installed_is_told_with_the_command_that_mends_it(core: Environment) -> None:
    told = dict(line.split(": ", 1) for line in core.runs(WHAT_IS_MISSING).splitlines())
    assert {use: text.rpartition("pip install ")[2] for use, text in told.items()} == {
        "sealed": "'perdure[encryption]'",
        "replicated": "'perdure[postgres]'",
        "packed": "'perdure[zstd]'",
        "client": "'perdure[client]'",
    }
    status, said = core.says("demo")
    assert (status, said.count("\n")) == (1, 1)
    assert "pip install 'perdure[cli]'" in said


async def test_the_demo_answers(built: Distributions, tmp_path: Path) -> None:
    installed = Environment.with_wheel(tmp_path / "demo", built.wheel, "demo")
    command = (installed.command, "demo")
    async with DemoServer(tmp_path / "data", tokens_per_second=400, command=command, PYTHONPATH="") as demo:
        async with httpx.AsyncClient(base_url=demo.url, timeout=60) as http:
            page = await http.get("/")
            assert (page.status_code, "<html" in page.text) == (200, True)
            asked = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "What is a durable stream?"}]}
            answer = await http.post("/api/chat", json={"id": "c1", "trigger": "submit-message", "messages": [asked]})
            assert answer.status_code == 200
            assert '"type":"text-delta"' in answer.text
            assert '"type":"finish"' in answer.text.splitlines()[-2]
        assert await demo.stop() == 0
    status, said = installed.says("serve")
    assert status == 1
    assert "pip install 'perdure[server]'" in said


async def test_the_server_answers(built: Distributions, tmp_path: Path) -> None:
    installed = Environment.with_wheel(tmp_path / "server", built.wheel, "server")
    for command in ((installed.command, "serve"), (installed.python, "-P", "-m", "perdure", "serve")):
        async with ServeCommand(tmp_path / "data", command=command, PYTHONPATH="") as server:
            async with server.client() as http:
                assert (await http.get("/health")).status_code == 200
            assert await server.stop() == 0
    status, said = installed.says("demo", "--no-browser")
    assert status == 1
    assert "pip install 'perdure[demo]'" in said


EXTRAS = {
    "cli": "import cyclopts, rich; from perdure.cli import main; assert main(['--version']) == 0",
    "client": "import perdure.resumable.client",
    "encryption": "from perdure.store.ciphers import AEADS, load; [load(cipher) for cipher in AEADS]",
    "otel": "import opentelemetry.trace, perdure.telemetry; from perdure.telemetry.spans import span\n"
    "with span('nobody records this'): pass",
    "postgres": "from perdure.store.postgres.connection import load_driver; load_driver()",
    "zstd": "from perdure.wire.compression import Compression, compress; compress(b'x', Compression.ZSTD)",
    "all": FIRST_STEPS,
}


@pytest.mark.soak
@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_alone_brings_its_part(built: Distributions, tmp_path: Path, extra: str) -> None:
    Environment.with_wheel(tmp_path / extra, built.wheel, extra).runs(EXTRAS[extra])


@pytest.mark.soak
def test_the_tests_run_from_the_source_distribution(built: Distributions, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    tests = ("tests/model", "tests/wire", "tests/test_architecture.py", "tests/telemetry/test_trace_context.py")
    run(sys.executable, "-c", f"import sys; sys.path.insert(0, {str(unpacked / 'src')!r}); import pytest; "
        f"sys.exit(pytest.main(['-q', *{tests!r}]))", cwd=unpacked)  # fmt: skip
