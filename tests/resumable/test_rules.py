"""Each rule of `rules.md` has tests, and they are there."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.resumable.client.test_clients import CASES

TESTS: Final = Path(__file__).parents[1]
TABLE: Final = Path(__file__).with_name("rules.md")
COUNTS: Final = {"Must not": 52, "Acceptance vectors": 26, "Hardening": 17, "TanStack AI": 28}
"""The sections of the table, and how many rules each has."""

SECTION: Final = re.compile(r"## (.+)")
RULE: Final = re.compile(r"(\d+)\. (.+)")
NODE: Final = re.compile(r" +- `(.+)`")
REASON: Final = re.compile(r" +- none: .+")
TITLE: Final = re.compile(r'^\s*test\("(.+?)", ', re.MULTILINE)


@dataclass
class Rule:
    """What is promised, and by which tests it is held; or whether the table says why there are none."""

    section: str
    number: int
    says: str
    nodes: list[str] = field(default_factory=list)
    has_a_reason: bool = False


def read_table() -> list[Rule]:
    rules: list[Rule] = []
    section = ""
    for line in TABLE.read_text(encoding="utf-8").split("\n"):
        if found := SECTION.fullmatch(line):
            section = found[1]
        elif found := RULE.fullmatch(line):
            rules.append(Rule(section, int(found[1]), found[2]))
        elif found := NODE.fullmatch(line):
            rules[-1].nodes.append(found[1])
        elif REASON.fullmatch(line):
            rules[-1].has_a_reason = True
        else:
            assert not section or not line or line[0].isalpha(), f"neither a rule nor a test: {line}"
    return rules


RULES: Final = read_table()


@cache
def names_in(path: Path) -> frozenset[str]:
    """The tests of a module, as what stands behind `::`."""
    text = path.read_text(encoding="utf-8")
    return frozenset(TITLE.findall(text) if path.suffix == ".mjs" else _functions(ast.parse(text), ""))


def _functions(tree: ast.Module | ast.ClassDef, within: str) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{within}{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield within + node.name


def exists(node: str) -> bool:
    module, _, name = node.partition("::")
    path = TESTS / module
    case = re.fullmatch(r"(.+?)\[(.+)\]", name) if path.suffix == ".py" else None
    if case is not None:
        name = case[1]
        if case[2] not in {each.name for each in CASES}:
            return False
    return path.is_file() and name in names_in(path)


def test_no_rule_is_missing() -> None:
    numbers: dict[str, list[int]] = {}
    for rule in RULES:
        numbers.setdefault(rule.section, []).append(rule.number)
    assert numbers == {section: list(range(1, count + 1)) for section, count in COUNTS.items()}
    assert len({rule.says for rule in RULES}) == len(RULES)


def test_each_rule_has_a_test_or_says_why_not() -> None:
    assert [rule for rule in RULES if bool(rule.nodes) == rule.has_a_reason] == []
    assert [rule for rule in RULES if len(set(rule.nodes)) < len(rule.nodes)] == []


@pytest.mark.parametrize("section", COUNTS)
def test_the_tests_that_are_named_exist(section: str) -> None:
    assert [node for rule in RULES if rule.section == section for node in rule.nodes if not exists(node)] == []


@pytest.mark.parametrize(
    "node",
    [
        "resumable/test_gone.py::test_x",
        "resumable/test_rules.py::test_x",
        "resumable/test_rules.py::exists",
        "patterns/test_framing.py::test_a_claim_takes_no_memory",
        "resumable/client/test_clients.py::test_a_client_does_what_the_table_says[no such case]",
        "web/tanstack-ai.test.mjs::no such title",
    ],
)
def test_a_test_that_is_gone_is_noticed(node: str) -> None:
    assert not exists(node)
