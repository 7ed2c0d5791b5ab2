"""The demo's page as a person uses it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from playwright.async_api import Browser, Page, expect

from perdure.demo.models import Turn
from perdure.demo.stand_in import StandIn

READY_MS = 60_000


def words(markdown: str) -> list[str]:
    """The words that a page shows for this Markdown (of the kinds that the tests ask for)."""
    return re.sub(r"[#*`]", "", markdown).split()


async def expected_answer(*asked: str) -> list[str]:
    """The words of the stand-in's answer to the last of these questions, straight from its source."""
    said: list[Turn] = []
    for question in asked:
        said += [Turn("user", question), Turn("assistant", "")]
    text = ""
    async for chunk in StandIn(tokens_per_second=1e6).answer(said[:-1]):
        if chunk["type"] == "text-delta":
            text += str(chunk["delta"])
    return words(text)


def is_beginning(kept: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether the words of an answer that was cut are the first ones of the whole.

    Signs of mark-up count for nothing: a cut may fall between a `###` and its heading, which then shows it.
    """
    plain = [word for each in kept if (word := each.strip("#*`"))]
    return plain == [word for each in whole if (word := each.strip("#*`"))][: len(plain)]


class ChatPage:
    """One tab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.composer = page.get_by_test_id("composer")
        self.stop = page.get_by_test_id("stop")
        self.status = page.get_by_test_id("status")
        self.connection = page.get_by_test_id("connection")
        self.answers = page.get_by_test_id("message-assistant")
        self.questions = page.get_by_test_id("message-user")
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    @classmethod
    async def open(cls, browser: Browser, url: str) -> ChatPage:
        tab = cls(await browser.new_page())
        await tab.page.goto(url)
        await expect(tab.composer).to_be_visible()
        return tab

    async def send(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def answer(self, number: int = -1) -> list[str]:
        """The words of an answer as they are shown now, without the line that says who speaks."""
        shown = await self.answers.nth(number).inner_text()
        return shown.split()[1:]

    async def wait_for_words(self, count: int) -> list[str]:
        """Wait until the last answer has at least so many words."""
        await expect(self.answers.last).to_have_text(re.compile(rf"(\S+\s+){{{count}}}"), timeout=READY_MS)
        return await self.answer()

    async def wait_until_ready(self) -> None:
        """Wait until nothing is being answered any more."""
        await expect(self.status).to_have_text("ready", timeout=READY_MS)

    async def wait_until_over(self) -> None:
        """Wait until nothing is being answered any more, whether it went well or not."""
        await expect(self.status).to_have_text(re.compile("ready|error"), timeout=READY_MS)
