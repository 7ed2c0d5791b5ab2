"""A node whose disk is full costs nothing that was acknowledged, whether it leads or follows."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.faults import World
from tests.cluster.suffering import suffer
from tools.cluster.nodes import PostgresCluster
from tools.cluster.programs import ProgramFailed, give_to_account

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800), pytest.mark.asyncio(loop_scope="module")]

DISK_BYTES = 512 * 1024 * 1024
"""Room for the files of a fresh server, and for the log of some minutes."""
PREFIX = "perdure-small-disk-"
PIECE_BYTES = 64 * 1024
SUFFERING_SECONDS = 10.0
"""For so long the load goes on with the disk full; what becomes of it then differs each time, and all of it is fine."""


def _unmount_what_was_left() -> None:
    """By runs that were killed; their process ids are in the names."""
    for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        if not Path(f"/proc/{place.name.removeprefix(PREFIX).partition('-')[0]}").exists() and os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)
            place.rmdir()


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A file system of its own, as large as that."""
    _unmount_what_was_left()
    place = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    place.chmod(0o755)
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode:
        place.rmdir()
        pytest.skip("a file system can only be mounted by root, outside of most containers")
    try:
        give_to_account(place)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small_cluster(small_disk: Path) -> AsyncIterator[PostgresCluster]:
    directory = Path(tempfile.mkdtemp(prefix="perdure-cluster-"))
    try:
        async with PostgresCluster(directory, brisk=True, data={"node1": small_disk / "data"}) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def fill(disk: Path) -> Path:
    """Leave no byte free; gives the file that takes the room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PIECE_BYTES))
        except OSError:
            return filler


async def fill_primary(world: World) -> None:
    """It refuses what needs room, or stops; whoever sees that moves the primary, and appends go on."""
    node = world.cluster.node("node1")
    if await world.cluster.wait_for_leader() is not node:
        await world.cluster.switch_over(to=node)
        await world.cluster.heal()
    filler = fill(node.data.parent)
    try:
        await asyncio.sleep(SUFFERING_SECONDS)
        try:
            await world.cluster.switch_over(to=(await world.cluster.standbys())[0])
        except ProgramFailed:  # it has stopped already
            await world.cluster.wait_for_leader(other_than=node)
        await world.load.wait_for_progress()
    finally:
        filler.unlink()
    await world.cluster.heal()


async def fill_standby(world: World) -> None:
    """The other standby takes its part."""
    node = world.cluster.node("node1")
    if await world.cluster.wait_for_leader() is node:
        await world.cluster.switch_over(to=(await world.cluster.standbys())[0])
        await world.cluster.heal()
    filler = fill(node.data.parent)
    try:
        await asyncio.sleep(SUFFERING_SECONDS)
        await world.load.wait_for_progress()
    finally:
        filler.unlink()
    await world.cluster.heal()


async def test_nothing_acknowledged_is_lost_when_a_disk_is_full(small_cluster: PostgresCluster, tmp_path: Path) -> None:
    await suffer(small_cluster, (fill_primary, fill_standby), random.randrange(1 << 32), tmp_path)
