"""The Anthropic page in a real browser: one log for each chat, and what every tab makes of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.demo.anthropic_answers import expected_anthropic_answer
from tests.demo.chat_page import READY_MS, ChatPage, is_beginning
from tests.demo.demo_server import DemoServer
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

STORY = "Tell me of tides and of swifts, those birds"
LONG_STORY = "A long story of tides and swifts, please"
TOOLS = "Think: how many people do Aldermoor Paper and Fenwick Lenses employ together?"

STOP_FROM_OUTSIDE = """
import asyncio, sys
from perdure.resumable.anthropic import create_resumable_chat

async def main():
    async with create_resumable_chat(path=sys.argv[1], basin="perdure-demo", mode="session") as chat:
        print(await chat.stop(sys.argv[2]))

asyncio.run(main())
"""


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[DemoServer]:
    async with DemoServer(tmp_path / "data", tokens_per_second=60) as server:
        yield server


async def test_a_turn_survives_a_reload_at_every_stage(demo: DemoServer, browser: Browser) -> None:
    tab = await ChatPage.open(browser, demo.anthropic_url("reload"))
    await tab.send(TOOLS)
    await expect(tab.questions).to_have_count(1)
    for stage in (
        tab.page.locator("details.aside").first,  # the thought
        tab.page.get_by_test_id("tool").nth(0),
        tab.page.get_by_test_id("tool").nth(2),
        tab.page.get_by_role("table"),
    ):
        await expect(stage).to_be_visible(timeout=READY_MS)
        await tab.page.reload()
        await expect(tab.questions).to_have_count(1)
    await tab.wait_until_ready()
    assert await tab.answer() == await expected_anthropic_answer(TOOLS)
    await tab.page.reload()
    await expect(tab.answers).to_have_count(1)
    await tab.wait_until_ready()
    assert await tab.answer() == await expected_anthropic_answer(TOOLS)
    await expect(tab.questions).to_have_count(1)
    await tab.page.get_by_test_id("tool").nth(1).locator("summary").click()
    await expect(tab.page.get_by_test_id("tool").nth(1)).to_contain_text('"Fenwick Lenses"')
    assert tab.errors == []


async def test_three_turns_from_different_tabs_are_one_conversation(demo: DemoServer, browser: Browser) -> None:
    url = demo.anthropic_url("turns")
    first, second = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    asked: list[str] = []
    for turn, tab in enumerate((first, second, first), start=1):
        asked.append(f"{STORY}, part {turn}")
        await tab.wait_until_ready()
        await tab.send(asked[-1])
        for seen_by in (first, second):
            await expect(seen_by.answers).to_have_count(turn, timeout=READY_MS)
        for seen_by in (first, second):
            await seen_by.wait_until_ready()
    third = await ChatPage.open(browser, url)
    await expect(third.answers).to_have_count(3)
    for tab in (first, second, third):
        await expect(tab.questions).to_have_count(3)
        for turn in range(3):
            assert await tab.answer(turn) == await expected_anthropic_answer(*asked[: turn + 1])
        assert tab.errors == []


async def test_stop_from_another_tab_and_from_another_process(slow_demo: DemoServer, browser: Browser) -> None:
    url = slow_demo.anthropic_url("stop")
    sender, other = await ChatPage.open(browser, url), await ChatPage.open(browser, url)
    await sender.send(LONG_STORY)
    await other.wait_for_words(15)  # while it is written
    await other.stop.click()
    await sender.wait_until_ready()
    await other.wait_until_ready()
    kept = await sender.answer()
    assert kept[-2:] == ["Stopped", "here."]
    assert is_beginning(kept[:-2], await expected_anthropic_answer(LONG_STORY))
    assert await other.answer() == kept

    await sender.send(LONG_STORY)
    await expect(sender.answers).to_have_count(2)
    await sender.wait_for_words(15)
    assert await stopped_by_a_process(slow_demo, "anthropic-stop")
    await sender.wait_until_ready()
    kept_again = await sender.answer()
    assert is_beginning(kept_again[:-2], await expected_anthropic_answer(LONG_STORY, LONG_STORY))

    await other.send(LONG_STORY)
    await expect(sender.answers).to_have_count(3)
    await expect(sender.stop).to_be_enabled()
    await sender.composer.press("Escape")
    await other.wait_until_ready()
    assert (await other.answer())[-2:] == ["Stopped", "here."]

    await sender.page.reload()
    await expect(sender.answers).to_have_count(3)
    assert await sender.answer(0) == kept
    assert await sender.answer(1) == kept_again


async def stopped_by_a_process(demo: DemoServer, stream: str) -> bool:
    """Stop a chat of the demo from a process that opens the same directory; gives what that process was told."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STOP_FROM_OUTSIDE, str(demo.data), stream), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        told, _ = await process.communicate()
    return told.strip() == b"True"


async def test_an_answer_goes_on_while_the_network_and_the_server_are_away(demo: DemoServer, browser: Browser) -> None:
    tab = await ChatPage.open(browser, demo.anthropic_url("offline"))
    await tab.send(STORY)
    await tab.wait_for_words(15)
    await tab.page.context.set_offline(True)
    await expect(tab.connection).to_have_attribute("data-state", "offline", timeout=READY_MS)
    await tab.page.context.set_offline(False)
    await expect(tab.connection).to_have_attribute("data-state", "online", timeout=READY_MS)
    await tab.wait_until_ready()
    assert await tab.answer() == await expected_anthropic_answer(STORY)

    await tab.send(LONG_STORY)
    await expect(tab.answers).to_have_count(2)
    await tab.wait_for_words(15)
    await demo.kill()
    await expect(tab.connection).to_have_attribute("data-state", "offline", timeout=READY_MS)
    before = await tab.answer()
    await demo.start()
    # The lease of the dead writer runs out, and the page comes to rest by itself with what was written.
    await expect(tab.page.get_by_test_id("error")).to_be_visible(timeout=READY_MS)
    await tab.wait_until_ready()
    shown = await tab.answer()
    kept = shown[: shown.index("[error:")]
    assert kept[: len(before)] == before
    assert is_beginning(kept, await expected_anthropic_answer(STORY, LONG_STORY))
    await tab.send("And of bread?")
    await expect(tab.answers).to_have_count(3, timeout=READY_MS)
    await tab.wait_until_ready()
    await tab.page.reload()
    await expect(tab.answers).to_have_count(3)
    assert await tab.answer(0) == await expected_anthropic_answer(STORY)
    assert await tab.answer(1) == shown


async def test_a_failing_answer_keeps_its_part_and_the_lists_share_their_chats(
    demo: DemoServer, browser: Browser
) -> None:
    tab = await ChatPage.open(browser, demo.anthropic_url("fail"))
    await tab.send("Please fail")
    await expect(tab.page.get_by_test_id("error")).to_have_text("[error: An error occurred.]", timeout=READY_MS)
    await expect(tab.page.get_by_text("asked to fail, and did")).to_have_count(0)
    shown = await tab.answer()
    assert len(shown) >= 20
    await tab.wait_until_ready()
    await tab.page.reload()
    await expect(tab.answers).to_have_count(1)
    assert await tab.answer() == shown

    listed = tab.page.get_by_test_id("chat-list-item")
    await expect(listed).to_have_count(1)
    await tab.page.get_by_role("link", name="AI SDK").click()
    await expect(listed).to_contain_text("Anthropic · just now")
    await tab.send("hello")
    await expect(listed).to_have_count(2, timeout=READY_MS)
    await listed.filter(has_text="Please fail").get_by_role("link").click()
    await expect(tab.answers).to_have_count(1)
    assert await tab.answer() == shown
    await listed.filter(has_text="Please fail").hover()
    await tab.page.get_by_role("button", name="Delete “Please fail”").click()
    await tab.page.get_by_role("button", name="Delete?").click()
    await expect(tab.answers).to_have_count(0)
    await expect(listed).to_have_count(1)
    assert tab.errors == []


MARKDOWN = {
    "plain & <b>not bold</b>": "<p>plain &amp; &lt;b&gt;not bold&lt;/b&gt;</p>",
    "<script>alert(1)</script>": "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
    "[a](javascript:alert(1))": "<p><span>a</span>)</p>",
    "**b _i_** `*c*` \\*d\\*": "<p><strong>b <em>i</em></strong> <code>*c*</code> *d*</p>",
    "2 * 3 * 4 and snake_case_name": "<p>2 * 3 * 4 and snake_case_name</p>",
    "# One\n###### Six": "<h3>One</h3><h6>Six</h6>",
    "one\ntwo\n\nthree": "<p>one\ntwo</p><p>three</p>",
    "- a\n  - b\n- c": "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>",
    "3. a\n4. b": '<ol start="3"><li>a</li><li>b</li></ol>',
    "> q\n> r": "<blockquote><p>q\nr</p></blockquote>",
    "---": "<hr>",
    "[w](https://example.org/a_b)": (
        '<p><a href="https://example.org/a_b" target="_blank" rel="noopener noreferrer nofollow">w</a></p>'
    ),
    "```py\nx = '<'\n": '<figure class="code-block"><figcaption>py</figcaption><pre tabindex="0"><code>'
    "x = '&lt;'\n</code></pre></figure>",
    "|a|b|\n|-|-:|\n|1|2|": '<div class="table-frame" tabindex="0" role="group" aria-label="Table"><table>'
    '<thead><tr><th>a</th><th data-align="right">b</th></tr></thead>'
    '<tbody><tr><td>1</td><td data-align="right">2</td></tr></tbody></table></div>',
    "a | b": "<p>a | b</p>",
    "-": "<p>-</p>",
    "| a\n": "<p>| a</p>",
}
"""What models write, some of it unfinished or hostile, and what the page makes of it."""


async def test_markdown_becomes_elements_and_never_html(demo: DemoServer, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(f"{demo.url}/demos")
    shown = await page.evaluate(
        """async (texts) => {
            const { showMarkdown } = await import("/pages/markdown.js");
            return texts.map((text) => {
                const grown = document.createElement("div");
                for (let end = 1; end <= text.length; end++) showMarkdown(grown, text.slice(0, end));
                return grown.innerHTML;
            });
        }""",
        list(MARKDOWN),
    )
    assert dict(zip(MARKDOWN, shown, strict=True)) == MARKDOWN
