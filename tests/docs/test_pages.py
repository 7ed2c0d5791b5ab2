"""The pages of the manual by themselves: links, tables of options, and that no code goes untested."""

from __future__ import annotations

import ast
import asyncio
import configparser
import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from perdure.cli.serve_options import PORT
from tests.doc_pages import DOCS, PAGES, ROOT, Block, blocks, node
from tests.patience import PATIENCE_SECONDS, PROCESS_SECONDS

TESTS: Final = [Path(__file__).parent / "test_running.py", ROOT / "tests" / "test_readme.py"]
ALL: Final = [block for page in PAGES for block in blocks(page)]
RUN: Final = [block for block in ALL if block.language in ("python", "js", "jsx", "html")]
SCRIPTS: Final = [block for block in ALL if block.language in ("js", "html")]
COMMANDS: Final = [
    shlex.split(line.removeprefix("$ "), comments=True)
    for block in ALL
    if block.language == "console"
    for line in block.code.splitlines()
    if line.startswith("$ ")
]
PROGRAMS: Final = {"perdure", "granian", "pip", "make", "curl", "export", "cd", "python", "echo", "printf"}
"""What commands begin with; tests below, and those that run pages, look at each kind."""
LOOKED_AT: Final = {"json", "console", "ini", "dockerfile"}
"""Languages of blocks that no test names, since there is a test here for all of a kind."""
GUIDES: Final = ("concepts", "durability", "deploy", "secure", "backups", "from-redis", "from-s2-sdks")
STARTED: Final = [
    shlex.split(found.strip("[]").replace(",", " "))[1:]
    for code in ALL
    for found in re.findall(r"^(?:ExecStart=|ENTRYPOINT )(.*)$", code.code, re.M)
]
"""The arguments of what unit files and images start."""
NOT_ABOUT_CODE: Final = (*GUIDES, "index", "performance", "contributing", "changelog", "cluster", "inspector")
RUN_BY_A_SHELL: Final = ("command-line",)  # by test_command_line.py
_LINK: Final = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_OPTIONS: Final = re.compile(r"^<!-- options: (\S+) -->\n((?:^\|.*\n)+)", re.MULTILINE)
OPTIONS: Final = [found for path in DOCS.glob("*.md") for found in _OPTIONS.findall(path.read_text())]


def anchors(path: Path) -> set[str]:
    """The headings of a page, as the usual renderers name them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_a_page_has_one_title_and_begins_with_code(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    assert re.findall(r"^# .+$", text, re.M) == [path.read_text().splitlines()[0]]
    if path.stem not in NOT_ABOUT_CODE:
        first = blocks(path.stem)[0]
        language = "console" if path.stem in RUN_BY_A_SHELL else "python"
        assert (first.language, first.fragment) == (language, None)


@pytest.mark.parametrize("page", PAGES)
def test_the_links_lead_somewhere(page: str) -> None:
    path = PAGES[page]
    for link in _LINK.findall(re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.is_file(), link
        assert not anchor or anchor in anchors(file), link


def test_the_first_page_names_all_others_and_the_readme_names_it() -> None:
    linked = set(_LINK.findall(PAGES["index"].read_text()))
    assert {path.name for path in DOCS.glob("*.md")} - {"index.md"} <= linked
    assert "docs/index.md" in _LINK.findall(PAGES["README"].read_text())


@pytest.mark.parametrize("code", RUN, ids=str)
def test_a_program_is_run_by_a_test_or_says_why_not(code: Block) -> None:
    if code.language == "python":
        compile(code.code, str(code), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if code.fragment else 0)
    named = [found for path in TESTS for found in re.findall(r'block\("([\w-]+)", "([^"]+)"\)', path.read_text())]
    tests = [wanted for page, wanted in named if page == code.page and wanted in code.code]
    assert bool(tests) != (code.fragment is not None)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_looked_at_or_says_why_not(page: str) -> None:
    text = PAGES[page].read_text()
    fences = re.findall(r"^ *```(?=\S)(.*)$", text, re.M)
    found = blocks(page)
    assert fences == [code.language for code in found], "a fence that no test sees: give it a language, at the margin"
    known = {code.language for code in RUN} | LOOKED_AT
    assert [str(code) for code in found if code.fragment is None and code.language not in known] == []


@pytest.mark.parametrize("code", [code for code in ALL if code.language == "json"], ids=str)
def test_json_is_json(code: Block) -> None:
    json.loads(code.code)


def test_commands_are_of_programs_that_are_looked_at() -> None:
    assert {next(word for word in command if not re.match(r"[A-Z_]+=", word)) for command in COMMANDS} <= PROGRAMS
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {command[1] for command in COMMANDS if command[0] == "make"} <= targets


def test_services_and_images_start_what_exists() -> None:
    """The commands in unit files and images are among those whose options are compared below; the rest is parsed."""
    (unit,) = [code.code for code in ALL if code.language == "ini"]
    service = configparser.ConfigParser(interpolation=None, delimiters=["="])
    service.optionxform = str  # type: ignore[assignment, method-assign]  # systemd minds case
    service.read_string(unit)
    assert set(service) == {"DEFAULT", "Unit", "Service", "Install"}
    assert service["Service"]["ExecStart"].split()[0].endswith("/perdure")
    (image,) = [code.code for code in ALL if code.language == "dockerfile"]
    instructions = dict(line.split(" ", 1) for line in image.splitlines())
    assert {"FROM", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"} == set(instructions)
    probe = json.loads(instructions["HEALTHCHECK"].removeprefix("CMD "))
    compile(probe[2], "HEALTHCHECK", "exec")
    assert str(PORT) == instructions["EXPOSE"]
    assert [service["Service"]["ExecStart"].split()[1:], json.loads(instructions["ENTRYPOINT"])[1:]] == STARTED


@pytest.mark.parametrize("code", SCRIPTS, ids=str)
async def test_a_script_is_javascript(code: Block, tmp_path: Path) -> None:
    scripts = [code.code] if code.language == "js" else re.findall(r"<script[^>]*>(.*?)</script>", code.code, re.S)
    for script in scripts:
        (tmp_path / "script.mjs").write_text(script)
        process = await asyncio.create_subprocess_exec(
            *(node(), "--check", str(tmp_path / "script.mjs")), stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


def named(path: str) -> Callable[..., object]:
    """What a dotted name in a page means."""
    parts = path.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = getattr(found, part)
        assert callable(found)
        return found
    raise AssertionError(f"there is no {path}")


@pytest.mark.parametrize(("path", "table"), OPTIONS, ids=[path for path, _ in OPTIONS])
def test_a_table_of_options_tells_the_names_and_defaults_of_the_code(path: str, table: str) -> None:
    def shown(default: object) -> str:
        if default is inspect.Parameter.empty:
            return "required"
        return "none" if default is None else "`" + repr(default).replace("'", '"') + "`"

    rows = [re.split(r" *\| *", line.strip("| \n"))[:2] for line in table.splitlines()[2:]]
    expected = [
        [f"`{name}`", shown(parameter.default)]
        for name, parameter in inspect.signature(named(path)).parameters.items()
        if name != "self"
    ]
    assert sorted(rows) == sorted(expected)


def test_what_is_installed_is_offered() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {
        extra
        for command in COMMANDS
        if command[:2] == ["pip", "install"]
        for package in command[2:]
        if package.startswith("perdure[")
        for extra in package.removeprefix("perdure[").rstrip("]").split(",")
    }
    assert wanted
    assert wanted <= set(extras)


@pytest.mark.parametrize("program", ["perdure", "granian"])
def test_the_options_of_commands_exist(program: str) -> None:
    commands = [command[1:] for command in COMMANDS if command[0] == program]
    commands += STARTED if program == "perdure" else []
    assert commands
    for subcommand in {command[0] if program == "perdure" else "" for command in commands}:
        arguments = (sys.executable, "-m", program, *([subcommand] if subcommand else []), "--help")
        environment = {"COLUMNS": "200", "PATH": ""}
        told = subprocess.run(
            arguments, capture_output=True, text=True, check=True, timeout=PROCESS_SECONDS, env=environment
        ).stdout
        for command in commands:
            if not subcommand or command[0] == subcommand:
                for option in command:
                    assert not option.startswith("--") or re.search(rf"{option}\b", told), option
