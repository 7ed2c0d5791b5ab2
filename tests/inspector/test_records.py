"""The records of a stream as the inspector shows them: read, followed, appended to, fenced and trimmed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path
from time import time

import pytest
from playwright.async_api import Locator, Page, Route, expect

from perdure import S2, AppendRecord, SeqNum, Stream
from tests.doc_pages import free_port
from tests.inspector.conftest import BASIN, Inspector
from tests.serve_command import ServeCommand

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

BATCH = 1000


async def new_stream(inspector: Inspector, name: str, records: Sequence[AppendRecord | bytes] = ()) -> Stream:
    basin = inspector.s2.basin(BASIN)
    await basin.streams.create(name)
    stream = basin.stream(name)
    if records:
        await stream.append([each if isinstance(each, AppendRecord) else AppendRecord(each) for each in records])
    return stream


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("grid", name="records").get_by_role("row").filter(has_text=text)


def details(page: Page, seq_num: int) -> Locator:
    return page.get_by_role("complementary", name=f"Record {seq_num}", exact=True)


async def test_what_is_appended_while_the_page_is_open_appears(inspector: Inspector, page: Page) -> None:
    stream = await new_stream(inspector, "live")
    await page.goto(inspector.at(BASIN, "live"))
    await expect(page.get_by_text("Nothing was written yet")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    for number in range(100):
        await stream.append([AppendRecord(f"message {number}".encode())])
    await expect(row(page, "message 99")).to_be_visible()
    await expect(page.get_by_text("Tail · the next record is 100")).to_be_visible()


async def test_a_paused_tail_stands_still_and_tells_how_much_came(inspector: Inspector, page: Page) -> None:
    stream = await new_stream(inspector, "paused", [b"before"])
    await page.goto(inspector.at(BASIN, "paused"))
    await expect(row(page, "before")).to_be_visible()
    await page.keyboard.press("p")
    await stream.append([AppendRecord(b"during one"), AppendRecord(b"during two")])
    await expect(page.get_by_role("button", name="2 new records")).to_be_visible()
    await expect(row(page, "during")).to_have_count(0)
    await page.keyboard.press("p")
    await expect(row(page, "during two")).to_be_visible()


async def test_who_reads_above_the_tail_stays_there_and_is_told_of_new_records(
    inspector: Inspector, page: Page
) -> None:
    stream = await new_stream(inspector, "above", [f"line {number}".encode() for number in range(200)])
    await page.goto(inspector.at(BASIN, "above"))
    await expect(row(page, "line 199")).to_be_visible()
    await page.keyboard.press("g")
    await expect(details(page, 0)).to_be_visible()
    await expect(row(page, "line 199")).to_have_count(0)
    await stream.append([AppendRecord(b"new line")])
    await page.get_by_role("button", name="1 new record").click()
    await expect(row(page, "new line")).to_be_visible()


async def test_bodies_are_decoded_as_what_they_are(inspector: Inspector, page: Page) -> None:
    await new_stream(
        inspector,
        "bodies",
        [
            AppendRecord(json.dumps({"name": "Ada", "n": 1.5, "yes": True}).encode(), headers=[(b"type", b"person")]),
            "Größe".encode(),
            bytes([0, 255, 1]),
            AppendRecord(b"", headers=[(b"empty", b"")]),
        ],
    )
    await page.goto(inspector.at(BASIN, "bodies", seq="0"))
    one = details(page, 0)
    await expect(one.locator("pre")).to_have_text('{\n  "name": "Ada",\n  "n": 1.5,\n  "yes": true\n}')
    await expect(one.get_by_text("person")).to_be_visible()
    await one.get_by_role("radio", name="Base64").check()
    await expect(one.locator("pre")).to_have_text("eyJuYW1lIjogIkFkYSIsICJuIjogMS41LCAieWVzIjogdHJ1ZX0=")

    await row(page, "Größe").click()
    await expect(details(page, 1).locator("pre")).to_have_text("Größe")
    await expect(page).to_have_url(re.compile("seq=1$"))
    await page.keyboard.press("j")
    await expect(details(page, 2).locator("pre")).to_contain_text("00 ff 01")
    await expect(details(page, 2).locator("pre")).to_contain_text("···")
    await page.keyboard.press("j")
    await expect(details(page, 3).get_by_text("The body is empty.")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(details(page, 3)).to_be_hidden()


async def test_hostile_bodies_are_shown_as_they_stand(inspector: Inspector, page: Page) -> None:
    exact = '{\n  "id": 12345678901234567890,\n  "f": 1.0,\n  "e": 1e400,\n  "a": [],\n  "a": "é\\n"\n}'
    levels = 5_000
    await new_stream(
        inspector,
        "hostile",
        [
            rb'{"id":12345678901234567890, "f":1.0,"e":1e400 ,"a":[ ],"a":"\u00e9\n"}',
            b"[" * levels + b"7" + b"]" * levels,
            b"<script>document.title = 'taken'</script>",
            b"one line\r\nand another",
        ],
    )
    await page.goto(inspector.at(BASIN, "hostile", seq="0"))
    await expect(details(page, 0).locator("pre")).to_have_text(exact)
    await row(page, "one line").click()
    await expect(row(page, "one line↵and another")).to_be_visible()
    await row(page, "<script>").click()
    await expect(details(page, 2).locator("pre")).to_have_text("<script>document.title = 'taken'</script>")
    await expect(page).to_have_title(re.compile("hostile"))
    await row(page, "[[[[").click()
    await expect(details(page, 1).locator("pre")).to_contain_text("7")
    assert (await details(page, 1).locator("pre").inner_text()).count("[") == levels


async def test_keys_pressed_before_anything_is_loaded_are_heeded(inspector: Inspector, page: Page) -> None:
    await new_stream(inspector, "early", [b"first", b"second"])
    answered = asyncio.Event()

    async def hold(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await page.route("**/records/tail", hold)
    await page.goto(inspector.at(BASIN, "early"))
    await expect(page.get_by_text("Loading …")).to_be_visible()
    await page.keyboard.press("g")
    await page.keyboard.press("a")
    await page.keyboard.type('"typed early"')
    answered.set()
    await expect(details(page, 0)).to_be_visible()
    await page.keyboard.press("Control+Enter")
    await expect(row(page, '"typed early"')).to_be_visible()


async def test_the_page_comes_back_by_itself_after_the_server_did(tmp_path: Path, page: Page) -> None:
    data, port = tmp_path / "data", str(free_port())
    async with ServeCommand(data, "--ui", "--port", port) as server:
        async with S2(endpoints=server.url, access_token="any") as s2:
            await s2.basins.create(BASIN)
            await s2.basin(BASIN).streams.create("left")
            await s2.basin(BASIN).stream("left").append([AppendRecord(b"before 0"), AppendRecord(b"before 1")])
        await page.goto(f"{server.url}/ui#/{BASIN}/left")
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await expect(page.get_by_text("Reconnecting")).to_be_visible()
    async with (
        ServeCommand(data, "--ui", "--port", port) as server,
        S2(endpoints=server.url, access_token="any") as s2,
    ):
        await s2.basin(BASIN).stream("left").append([AppendRecord(b"after 2"), AppendRecord(b"after 3")])
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await expect(page.get_by_text("Tail · the next record is 4")).to_be_visible()
        await expect(row(page, "before")).to_have_count(2)
        await expect(row(page, "after")).to_have_count(2)
        await expect(page.get_by_role("alert")).to_have_count(0)
        await page.goto("about:blank")


async def test_a_record_is_appended_with_its_headers_and_conditions(inspector: Inspector, page: Page) -> None:
    stream = await new_stream(inspector, "appended")
    await page.goto(inspector.at(BASIN, "appended"))
    await expect(page.get_by_text("Nothing was written yet")).to_be_visible()
    await page.keyboard.press("a")
    dialog = page.get_by_role("dialog", name="Append a record")
    await page.keyboard.type('{"made": "here"')
    await expect(dialog.get_by_role("button", name="Append")).to_be_disabled()
    await page.keyboard.type("}")
    await dialog.get_by_role("button", name="Header", exact=True).click()
    await dialog.get_by_label("Name of header 1").fill("from")
    await dialog.get_by_label("Value of header 1").fill("the page")
    await dialog.get_by_label("Only as sequence number").fill("7")
    await dialog.get_by_role("button", name="Append").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("The next record gets sequence number 0")
    await expect(dialog.get_by_role("alert")).to_contain_text("412")
    await dialog.get_by_label("Only as sequence number").fill("0")
    await dialog.get_by_role("button", name="Append").click()
    await expect(dialog).to_be_hidden()
    await expect(row(page, '{"made": "here"}')).to_be_visible()
    (record,) = (await stream.read(SeqNum(0))).records
    assert (record.body, record.headers) == (b'{"made": "here"}', ((b"from", b"the page"),))


async def test_fence_and_trim_are_made_and_shown_as_commands(inspector: Inspector, page: Page) -> None:
    stream = await new_stream(inspector, "commanded", [f"line {number}".encode() for number in range(10)])
    await page.goto(inspector.at(BASIN, "commanded"))
    await page.get_by_role("button", name="Fence").click()
    await page.keyboard.type("writer-1")
    await page.keyboard.press("Enter")
    await expect(row(page, "fence")).to_contain_text("now held by writer-1")
    await row(page, "fence").click()
    await expect(details(page, 10)).to_contain_text("From here on, the fencing token is writer-1.")

    await page.keyboard.press("a")
    append = page.get_by_role("dialog", name="Append a record")
    await append.get_by_label("Only under the fencing token").fill("writer-2")
    await append.get_by_role("button", name="Append").click()
    await expect(append.get_by_role("alert")).to_contain_text("The stream is fenced by “writer-1”")
    await page.keyboard.press("Escape")
    await expect(append).to_be_hidden()

    await page.get_by_role("button", name="Trim").click()
    trim = page.get_by_role("dialog", name="Trim the stream")
    await trim.get_by_label("Keep from sequence number").fill("4")
    await trim.get_by_role("button", name="Delete 4 records").click()
    await expect(row(page, "trim").filter(has_text="everything before 4")).to_be_visible()
    await expect(page.get_by_text("0 to 3 are not kept any more: trimmed or expired")).to_be_visible()
    assert (await stream.read(SeqNum(0))).records[0].seq_num == 4


async def test_a_filter_shows_what_holds_all_its_words(inspector: Inspector, page: Page) -> None:
    await new_stream(
        inspector,
        "filtered",
        [
            AppendRecord(f"body {number}".encode(), headers=[(b"kind", b"odd" if number % 2 else b"even")])
            for number in range(50)
        ],
    )
    await page.goto(inspector.at(BASIN, "filtered"))
    await expect(row(page, "body 49")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("odd 4")
    await expect(page.get_by_role("status")).to_have_text("5 of 50 loaded")
    await expect(row(page, "body")).to_have_count(5)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("status")).to_have_text("50 records")


async def filled(stream: Stream, count: int, first_timestamp: int, step_ms: int) -> None:
    async with stream.append_session() as session:
        for start in range(0, count, BATCH):
            _ticket = await session.submit(
                [
                    AppendRecord(b"record %d" % number, timestamp=first_timestamp + number * step_ms)
                    for number in range(start, start + BATCH)
                ]
            )


@pytest.mark.parametrize(
    "count", [200_000, pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
async def test_one_goes_anywhere_in_a_long_stream(inspector: Inspector, page: Page, count: int) -> None:
    name = f"long-{count}"
    stream = await new_stream(inspector, name)
    begun = int(time() * 1000) - 3 * 3_600_000
    await filled(stream, count, begun, 10)
    read = 0

    async def count_records(response: object) -> None:
        nonlocal read
        read += 1

    page.on("response", count_records)
    await page.goto(inspector.at(BASIN, name))
    await expect(row(page, f"record {count - 1}")).to_be_visible()
    await expect(page.get_by_role("status")).to_have_text(f"{count:,} records")

    await page.keyboard.press(":")
    await page.keyboard.type(f"{count // 2}")
    await page.keyboard.press("Enter")
    await expect(details(page, count // 2)).to_contain_text(f"record {count // 2}")
    await expect(row(page, f"record {count // 2 + 1}")).to_be_visible()

    await page.keyboard.press("g")
    await expect(row(page, "record 3").first).to_be_visible()
    await page.keyboard.press(":")
    await page.keyboard.type("-100")
    await page.keyboard.press("Enter")
    await expect(details(page, count - 100)).to_be_visible()

    # Dragging the scrollbar to a quarter of its way shows records of the first half, and reads few others.
    grid = page.get_by_role("grid", name="records")
    await grid.evaluate("it => { it.scrollTop = (it.scrollHeight - it.clientHeight) / 4 }")
    quarter = row(page, f"record {count // 4 + 2}")
    await expect(quarter).to_be_visible()
    await grid.hover()
    await page.mouse.wheel(0, 300)  # ten rows on, not a thousand
    await expect(row(page, f"record {count // 4 + 20}")).to_be_visible()
    assert await page.get_by_role("row").count() < 100
    assert read < 60

    await page.keyboard.press("G")
    await expect(row(page, f"record {count - 1}")).to_be_visible()


async def test_one_jumps_to_a_time(inspector: Inspector, page: Page) -> None:
    stream = await new_stream(inspector, "timed")
    begun = int(time() * 1000) - 3_600_000
    await stream.append(
        [AppendRecord(b"minute %d" % minute, timestamp=begun + minute * 60_000) for minute in range(60)]
    )
    await page.goto(inspector.at(BASIN, "timed"))
    await expect(row(page, "minute 59")).to_be_visible()
    await page.keyboard.press(":")
    await page.keyboard.type("30m ago")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("complementary")).to_contain_text(re.compile("Record (30|31)"))


async def test_arrows_pressed_in_a_burst_each_move_one_record(inspector: Inspector, page: Page) -> None:
    await new_stream(inspector, "burst", [f"line {number}".encode() for number in range(100)])
    await page.goto(inspector.at(BASIN, "burst"))
    await expect(row(page, "line 99")).to_be_visible()
    for _ in range(20):
        await page.keyboard.press("k")
    await expect(details(page, 80)).to_be_visible()
    await asyncio.gather(*(page.keyboard.press("j") for _ in range(5)))
    await expect(details(page, 85)).to_be_visible()
