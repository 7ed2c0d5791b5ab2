"""What is checked in works on any machine, and its versions agree."""

import json
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

import perdure

ROOT = Path(__file__).parents[1]
BINARY = {".gif", ".ico", ".jpg", ".png", ".webp", ".woff", ".woff2"}

# In pieces, so that this file passes its own test.
REGISTRIES = [
    ".".join(pieces)
    for pieces in [
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("npm", "jsr", "io"),
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("deb", "debian", "org"),
    ]
]
MACHINE_PATH = re.compile(r"(?<![\w.~}])/(?:root|work|home/\w+|Users/\w+|opt/\w+)/[\w.]")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in BINARY]


def test_no_tracked_file_names_a_registry() -> None:
    assert [
        f"{path.relative_to(ROOT)}: {host}" for path in tracked() for host in REGISTRIES if host in path.read_text()
    ] == []


def test_no_tracked_file_holds_a_path_of_one_machine() -> None:
    assert [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in tracked()
        for found in [MACHINE_PATH.search(path.read_text())]
        if found
    ] == []


def test_npm_locks_pin_contents_and_leave_the_registry_open() -> None:
    locks = [path for path in tracked() if path.name == "package-lock.json"]
    assert locks
    for lock in locks:
        assert "omit-lockfile-registry-resolved=true" in (lock.parent / ".npmrc").read_text()
        packages = json.loads(lock.read_text())["packages"]
        assert [name for name, entry in packages.items() if "resolved" in entry] == []
        # Packages bundled in another one's archive are covered by its hash.
        assert [
            name for name, entry in packages.items() if name and "integrity" not in entry and not entry.get("inBundle")
        ] == []


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_python_locks_pin_every_package_by_hash_and_no_index() -> None:
    for path in ROOT.glob("requirements*.lock"):
        text = path.read_text()
        assert "--index-url" not in text
        assert "--extra-index-url" not in text
        assert "--find-links" not in text
        for block in re.split(r"\n(?=[A-Za-z])", text):
            assert "--hash=sha256:" in block, f"{path.name}: {block.splitlines()[0]}"


def test_the_demo_installs_what_the_tests_ran_with() -> None:
    assert pins("requirements-demo.lock").items() <= pins("requirements.lock").items()


def test_versions_agree() -> None:
    assert perdure.__version__ == version("perdure")


def test_the_changelog_leads_to_this_version() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:2] in ([], [perdure.__version__])
