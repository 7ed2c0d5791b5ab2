"""The npm package `@s2-dev/streamstore` against our server, over both of its transports."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.compat.serving import ROOT_TOKEN, ServedStore
from tests.web.test_web_modules import find_node

SUITE = Path(__file__).with_name("streamstore.test.mjs")


@pytest.mark.timeout(180)
async def test_the_typescript_sdk(served: ServedStore) -> None:
    environment = os.environ | {"PERDURE_URL": served.url, "PERDURE_TOKEN": ROOT_TOKEN}
    node = await asyncio.create_subprocess_exec(
        find_node(), "--test", "--test-reporter=spec", str(SUITE),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(170):
            output, _ = await node.communicate()
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, output.decode()
