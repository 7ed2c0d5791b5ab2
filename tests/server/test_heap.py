"""The settings of a worker's memory, in a process of their own since they are for the whole process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from perdure.server.heap import YOUNG_OBJECTS
from tests.patience import PROCESS_SECONDS

_IN_A_PROCESS = """
import resource
from perdure.server.heap import keep_freed_memory

{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batches():
    return [bytes(1024 * 1024) for _ in range(16)]

for _ in range(3):
    batches()
begun = faults()
for _ in range(20):
    batches()
print(faults() - begun)
"""


def _run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PROCESS_SECONDS
    ).stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_memory_that_was_freed_is_used_again() -> None:
    untouched = int(_run(_IN_A_PROCESS.format(before="")))
    kept = int(_run(_IN_A_PROCESS.format(before="assert keep_freed_memory()")))
    assert kept * 4 < untouched


def test_what_exists_already_is_not_searched_for_cycles_again() -> None:
    code = "import gc; from perdure.server.heap import collect_less; collect_less(); "
    code += "print(gc.get_freeze_count() > 1000, gc.get_threshold()[0])"
    assert _run(code).split() == ["True", str(YOUNG_OBJECTS)]
