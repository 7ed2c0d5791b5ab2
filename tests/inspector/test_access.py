"""What the inspector gives to whom: nothing unless asked for, the page to everybody, data by token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from perdure import S2, AppendRecord, Cipher
from perdure.model.access_tokens import (
    AccessTokenScope,
    ExactMatch,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
)
from tests.serve_command import ServeCommand

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

ROOT = "the-root-token"
BASIN = "walled-basin"


@dataclass(frozen=True)
class Walled:
    url: str
    reader: str
    """A token that may read the streams of `BASIN`, and nothing else."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def walled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walled]:
    data = tmp_path_factory.mktemp("walled")
    async with (
        ServeCommand(data, "--ui", PERDURE_ROOT_TOKEN=ROOT) as server,
        S2(endpoints=server.url, access_token=ROOT) as s2,
    ):
        await s2.basins.create(BASIN)
        await s2.basin(BASIN).streams.create("readable")
        await s2.basin(BASIN).stream("readable").append([AppendRecord(b"for readers")])
        scope = AccessTokenScope(
            basins=ExactMatch(BASIN),
            streams=PrefixMatch(""),
            op_groups=OperationGroupPermissions(basin=Permission.READ, stream=Permission.READ),
        )
        reader = await s2.access_tokens.issue("reader", scope=scope)
        yield Walled(server.url, str(reader))


async def test_the_page_is_not_there_unless_asked_for(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server, server.client() as http:
        assert (await http.get("/ui")).status_code == 404
        assert (await http.get("/")).status_code == 404


async def test_the_page_is_public_and_can_run_nothing_but_itself(walled: Walled) -> None:
    async with httpx.AsyncClient(base_url=walled.url, timeout=60) as http:
        page = await http.get("/ui")
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert (await http.get("/ui", headers={"if-none-match": page.headers["etag"]})).status_code == 304
        assert (await http.get("/ui/../pyproject.toml")).status_code == 404
        assert (await http.get("/ui/assets/%2e%2e/index.html")).status_code == 404
        assert (await http.post("/ui")).status_code == 405
        assert (await http.get("/")).headers["location"] == "/ui"
        script = page.text.split('src="')[1].split('"')[0]
        assert "immutable" in (await http.get(script)).headers["cache-control"]
        assert "immutable" not in (await http.get(script.partition("?")[0])).headers["cache-control"]
        assert (await http.get("/v1/basins")).status_code == 401


async def test_a_token_is_asked_for_and_kept_for_the_tab_alone(walled: Walled, page: Page) -> None:
    await page.goto(f"{walled.url}/ui")
    field = page.get_by_label("Access token")
    await field.fill("no-such-token")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("The server does not take this token")
    await field.fill(ROOT)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("row", name=BASIN)).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("row", name=BASIN)).to_be_visible()
    stored = await page.evaluate("JSON.stringify([{ ...localStorage }, document.cookie])")
    assert stored == '[{},""]'
    await page.get_by_role("button", name="Forget token").click()
    await expect(field).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_what_a_token_does_not_allow_is_said_where_it_is_tried(walled: Walled, page: Page) -> None:
    await page.goto(f"{walled.url}/ui")
    await page.get_by_label("Access token").fill(walled.reader)
    await page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("Your access token does not allow this")
    await alert.get_by_label("Open a basin by its name").fill(BASIN)
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="readable").click()
    await expect(page.get_by_role("row").filter(has_text="for readers")).to_be_visible()
    await page.keyboard.press("a")
    await page.keyboard.type('"not by me"')
    await page.keyboard.press("Control+Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("alert")).to_contain_text("Your access token does not allow this")
    await expect(dialog.get_by_role("alert")).to_contain_text("403 permission_denied")


async def test_an_encrypted_stream_is_read_with_its_key(walled: Walled, page: Page) -> None:
    key = bytes(range(32))
    async with S2(endpoints=walled.url, access_token=ROOT) as s2:
        await s2.basins.create("sealed-basin", stream_cipher=Cipher.AEGIS_256)
        await s2.basin("sealed-basin").streams.create("sealed")
        await s2.basin("sealed-basin").stream("sealed", encryption_key=key).append([AppendRecord(b"open sesame")])
    await page.goto(f"{walled.url}/ui#/sealed-basin/sealed")
    await page.get_by_label("Access token").fill(ROOT)
    await page.keyboard.press("Enter")
    field = page.get_by_label("Key, 32 bytes in base64")
    await field.fill("//////////////////////////////////////////8=")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("cannot be read with the key")
    await field.fill("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("row").filter(has_text="open sesame")).to_be_visible()
