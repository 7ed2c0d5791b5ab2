"""`perdure ui`: over a data directory, and before a service whose token the browser must not see."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Page, Request, expect

from perdure import S2, AppendRecord
from tests.inspector.ui_command import refused, ui_command
from tests.serve_command import ServeCommand

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

SECRET = "the-secret-of-the-service"


async def test_it_shows_and_follows_a_data_directory(tmp_path: Path, page: Page) -> None:
    data = tmp_path / "data"
    async with S2.open(data) as s2:
        await s2.basins.create("kept-here")
        await s2.basin("kept-here").streams.create("notes")
        await s2.basin("kept-here").stream("notes").append([AppendRecord(b"kept")])
    async with ui_command("--data", str(data)) as ui:
        assert str(data) in ui.banner
        await page.goto(f"{ui.url}/ui#/kept-here/notes")
        await expect(page.get_by_role("row").filter(has_text="kept")).to_be_visible()
        await expect(page.get_by_text(str(data))).to_be_visible()
        async with S2.open(data) as s2:  # another process may use the directory meanwhile
            await s2.basin("kept-here").stream("notes").append([AppendRecord(b"from elsewhere")])
        await expect(page.get_by_role("row").filter(has_text="from elsewhere")).to_be_visible()
        await page.goto("about:blank")


async def test_before_a_service_the_token_stays_in_the_process(tmp_path: Path, page: Page) -> None:
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request))
    async with (
        ServeCommand(tmp_path / "data", PERDURE_ROOT_TOKEN=SECRET) as server,
        S2(endpoints=server.url, access_token=SECRET) as s2,
        ui_command(S2_ACCOUNT_ENDPOINT=server.url, S2_BASIN_ENDPOINT=server.url, S2_ACCESS_TOKEN=SECRET) as ui,
    ):
        await s2.basins.create("far-away")
        await s2.basin("far-away").streams.create("a/b c")
        stream = s2.basin("far-away").stream("a/b c")
        await page.goto(f"{ui.url}/ui#/far-away/a%2Fb%20c")
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await stream.append([AppendRecord(b"seen at once")])
        await expect(page.get_by_role("row").filter(has_text="seen at once")).to_be_visible()
        await page.keyboard.press("a")
        await page.keyboard.type('"from the page"')
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_role("row").filter(has_text="from the page")).to_be_visible()
        assert SECRET not in ui.banner
        assert {urlsplit(request.url).port for request in seen} == {urlsplit(ui.url).port}
        assert not [request.url for request in seen if SECRET in str(await request.all_headers())]
        assert not [request.url for request in seen if "authorization" in await request.all_headers()]
        await page.goto("about:blank")


async def test_pages_of_other_addresses_are_refused(tmp_path: Path) -> None:
    async with ui_command("--data", ":memory:") as ui, httpx.AsyncClient(base_url=ui.url, timeout=60) as http:
        assert (await http.get("/v1/basins")).status_code == 200
        rebound = await http.get("/v1/basins", headers={"host": f"evil.example:{urlsplit(ui.url).port}"})
        assert (rebound.status_code, rebound.json()["code"]) == (403, "permission_denied")
        other = await http.get("/v1/basins", headers={"origin": "https://evil.example"})
        assert (other.status_code, other.json()["code"]) == (403, "permission_denied")
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "options",
    [("--data", ":memory:"), ("--endpoint", "http://127.0.0.1:9")],
    ids=["store", "service"],
)
async def test_it_does_not_open_itself_to_other_machines(options: tuple[str, ...]) -> None:
    status, said = await refused(*options, "--host", "0.0.0.0")
    assert status == 2
    assert "can be reached by other machines" in said


async def test_a_service_that_does_not_answer_is_told_of_in_the_page(page: Page) -> None:
    async with ui_command("--endpoint", "http://127.0.0.1:9") as ui:
        await page.goto(f"{ui.url}/ui")
        await expect(page.get_by_role("alert")).to_contain_text("the service does not answer")
