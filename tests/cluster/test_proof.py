"""Nothing that was acknowledged is lost, whatever dies: three nodes, three servers, many clients, real processes.

The seed is printed; it decides what is done and to whom, and what the clients do. Their timing it does not decide.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.cluster.faults import ALL, SHORT
from tests.cluster.suffering import suffer
from tools.cluster.nodes import PostgresCluster

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROUNDS = 3


async def test_nothing_acknowledged_is_lost_when_the_primary_and_a_server_die(
    cluster: PostgresCluster, tmp_path: Path
) -> None:
    await suffer(cluster, SHORT, random.randrange(1 << 32), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_nothing_acknowledged_is_lost_whatever_happens(
    cluster: PostgresCluster, tmp_path: Path, number: int
) -> None:
    seed = random.randrange(1 << 32)
    await suffer(cluster, random.Random(seed).sample(ALL, len(ALL)), seed, tmp_path)
