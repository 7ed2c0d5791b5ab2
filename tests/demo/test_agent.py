"""Agents' runs: steps that are durable as they happen, whoever makes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from perdure import S2, AppendRecord, SeqNum
from perdure.demo.agent import AgentRuns
from perdure.demo.agent_log import record_of, run_of, type_of
from perdure.demo.messages_model import Said
from perdure.demo.messages_stand_in import MessagesStandIn
from perdure.demo.names import RUN_PREFIX
from perdure.demo.tool_loop import MAX_STEPS
from perdure.demo.tools import Tool
from tests.demo.chat_page import READY_MS
from tests.demo.demo_server import DemoServer
from tests.patience import PATIENCE_SECONDS
from tests.resumable.anthropic_scripts import tool_turn

BASIN = "agents-of-tests"
TASK = "How many people do Corvid Logistics, Juniper Ovens and Marlow Tidal employ together?"
STEPS = 5
"""Three companies, a sum, and the answer."""


@pytest.fixture
async def s2() -> AsyncIterator[S2]:
    async with S2.open(":memory:") as s2:
        await s2.basins.ensure(BASIN, create_stream_on_append=True, create_stream_on_read=True)
        yield s2


def runs_on(s2: S2, model: MessagesStandIn | None = None) -> AgentRuns:
    return AgentRuns(s2, BASIN, model or MessagesStandIn(note="", tokens_per_second=1e5))


async def log_of(s2: S2, run_id: str) -> list[tuple[str | None, Any]]:
    """The events of a run as they are stored, once it is over."""
    events: list[tuple[str | None, Any]] = []
    async with s2.basin(BASIN).stream(RUN_PREFIX + run_id).read_session(SeqNum(0)) as session:
        async for record in session:
            events.append((type_of(record), json.loads(record.body)))
            if events[-1][0] == "run_end":
                break
    return events


async def followed(runs: AgentRuns, run_id: str, from_seq_num: int = 0) -> list[Any]:
    """What a page gets of a run, to its end."""
    body = b"".join([piece async for piece in runs.follow(RUN_PREFIX + run_id, from_seq_num)])
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]


async def test_a_run_is_its_task_its_steps_and_its_end(s2: S2) -> None:
    runs = runs_on(s2)
    run_id = await runs.start(TASK)
    events = await log_of(s2, run_id)
    assert [kind for kind, _ in events] == ["run_start", *["step"] * STEPS, "run_end"]
    assert events[0][1]["prompt"] == TASK
    steps = [event for kind, event in events if kind == "step"]
    assert [step["index"] for step in steps] == list(range(STEPS))
    assert [call["name"] for step in steps for call in step["toolCalls"]] == ["company_lookup"] * 3 + ["calculate"]
    assert steps[3]["toolResults"][0]["output"] == "6415"
    end = events[-1][1]
    assert end["text"] == steps[-1]["text"]
    assert "6415" in end["text"]
    assert (end["steps"], end["totalTokens"]) == (STEPS, sum(step["tokens"] for step in steps))
    await runs.aclose()


async def test_late_viewers_get_what_was_before_and_a_cursor_goes_on(s2: S2) -> None:
    runs = runs_on(s2)
    run_id = await runs.start(TASK)
    live = await followed(runs, run_id)
    assert [event["seqNum"] for event in live] == list(range(STEPS + 2))
    assert await followed(runs, run_id) == live
    assert await followed(runs, run_id, from_seq_num=3) == live[3:]
    assert await runs.has_more(RUN_PREFIX + run_id, len(live) - 1)
    assert not await runs.has_more(RUN_PREFIX + run_id, len(live))
    await runs.aclose()


@pytest.mark.parametrize("steps_before", range(STEPS + 1))
async def test_an_unfinished_run_goes_on_with_the_step_it_was_at(s2: S2, steps_before: int) -> None:
    runs = runs_on(s2)
    whole = await log_of(s2, await runs.start(TASK))
    stream = s2.basin(BASIN).stream(f"{RUN_PREFIX}aaaaaaaa")
    cut = [AppendRecord(json.dumps(event), headers={"type": str(kind)}) for kind, event in whole[: steps_before + 1]]
    await stream.append(cut)
    await runs.take_up_unfinished()
    taken_up = await log_of(s2, "aaaaaaaa")
    assert without_chance(taken_up) == without_chance(whole)
    assert (await stream.check_tail()).seq_num == len(whole)
    await runs.aclose()


def without_chance(events: list[tuple[str | None, Any]]) -> list[tuple[str | None, Any]]:
    """Events without the ids of tool calls, the times, and the tokens that the length of those ids makes."""
    kept = ("index", "text", "finishReason", "steps", "prompt", "error")
    return [(kind, {name: event[name] for name in kept if name in event}) for kind, event in events]


async def test_a_stream_without_a_task_is_no_run_to_go_on_with(s2: S2) -> None:
    stream = s2.basin(BASIN).stream(f"{RUN_PREFIX}cccccccc")
    assert (await stream.check_tail()).seq_num == 0  # now it is there
    runs = runs_on(s2)
    await runs.take_up_unfinished()
    assert await runs.listed() == []
    await runs.aclose()
    assert (await stream.check_tail()).seq_num == 0


async def test_two_that_take_up_a_run_at_once_make_each_step_once(s2: S2) -> None:
    stream = s2.basin(BASIN).stream(f"{RUN_PREFIX}bbbbbbbb")
    await stream.append([record_of("run_start", {"prompt": TASK, "timestamp": 1})])
    first, second = runs_on(s2), runs_on(s2)
    await asyncio.gather(first.take_up_unfinished(), second.take_up_unfinished())
    events = await log_of(s2, "bbbbbbbb")
    assert [event["index"] for kind, event in events if kind == "step"] == list(range(STEPS))
    await first.aclose()
    await second.aclose()
    assert (await stream.check_tail()).seq_num == STEPS + 2


async def test_closing_leaves_the_run_where_it_is(s2: S2) -> None:
    runs = runs_on(s2, MessagesStandIn(note="", tokens_per_second=0.001))
    run_id = await runs.start(TASK)
    following = asyncio.create_task(followed(runs, run_id))
    await asyncio.sleep(0)
    await runs.aclose()
    assert len(await following) <= 1
    assert [run["active"] for run in await runs.listed()] == [False]
    quick = runs_on(s2)
    await quick.take_up_unfinished()
    assert (await log_of(s2, run_id))[-1][0] == "run_end"
    await quick.aclose()


class Broken(MessagesStandIn):
    async def stream(
        self, said: Sequence[Said], *, may_call: bool, tools: Sequence[Tool] = ()
    ) -> AsyncIterator[Mapping[str, object]]:
        raise RuntimeError("secret words")
        yield {}


async def test_a_model_that_fails_ends_the_run_with_an_error_that_tells_nothing_of_it(s2: S2) -> None:
    runs = runs_on(s2, Broken(note=""))
    events = await log_of(s2, await runs.start(TASK))
    assert events[-1][1]["error"] == "An error occurred."
    assert "secret" not in json.dumps(events)
    await runs.aclose()


class Caller(MessagesStandIn):
    """A model that would call tools for ever."""

    async def stream(
        self, said: Sequence[Said], *, may_call: bool, tools: Sequence[Tool] = ()
    ) -> AsyncIterator[Mapping[str, object]]:
        if may_call:
            for event in tool_turn("{}"):
                yield event
        else:
            async for answer in super().stream([Said("user", "hello")], may_call=False):
                yield answer


async def test_a_run_has_no_more_than_ten_steps(s2: S2) -> None:
    runs = runs_on(s2, Caller(note="", tokens_per_second=1e5))
    events = await log_of(s2, await runs.start(TASK))
    assert [kind for kind, _ in events].count("step") == MAX_STEPS == 10
    assert events[-1][1]["text"]
    await runs.aclose()


def test_an_empty_log_tells_of_no_run() -> None:
    run = run_of([])
    assert (run.next_seq_num, run.is_over) == (0, False)


async def test_the_routes_tell_what_is_there(demo: DemoServer) -> None:
    async with httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as http:
        assert (await http.get("/api/agent/runs/00000000/events")).status_code == 404
        assert (await http.get("/api/agent/runs/none/events")).status_code == 404
        assert (await http.post("/api/agent/runs", json={"prompt": "  "})).status_code == 422
        started = await http.post("/api/agent/runs", json={"prompt": "Work out 6 * 7"})
        assert started.status_code == 201
        run_id = started.json()["id"]
        body = (await http.get(f"/api/agent/runs/{run_id}/events")).text
        assert "comes to **42**" in body
        last = [line for line in body.splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")
        assert (await http.get(f"/api/agent/runs/{run_id}/events?from={last}")).status_code == 204
        listed = (await http.get("/api/agent/runs")).json()["runs"]
        assert [(run["id"], run["prompt"], run["active"]) for run in listed] == [(run_id, "Work out 6 * 7", False)]


async def steps_shown(page: Page) -> list[str]:
    return [" ".join(text.split()) for text in await page.get_by_test_id("step").all_inner_texts()]


@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_a_run_goes_on_in_every_tab_when_its_server_was_killed(browser: Browser, tmp_path: Path) -> None:
    async with DemoServer(tmp_path / "data", tokens_per_second=10) as demo:
        page = await browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"{demo.url}/agent")
        await page.get_by_test_id("composer").fill(TASK)
        await page.get_by_test_id("composer").press("Enter")
        await expect(page.get_by_test_id("step").nth(1)).to_be_visible(timeout=READY_MS)
        await expect(page.get_by_test_id("run-status")).to_have_text("running")
        await demo.kill()
        await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "offline", timeout=READY_MS)
        await demo.start()
        late = await browser.new_page()
        await late.goto(page.url)
        for tab in (page, late):
            await expect(tab.get_by_test_id("run-status")).to_have_text("finished", timeout=READY_MS)
            await expect(tab.get_by_test_id("step")).to_have_count(STEPS)
            await expect(tab.get_by_test_id("record")).to_have_count(STEPS + 2)
            await expect(tab.get_by_test_id("ending")).to_contain_text(f"Finished in {STEPS} steps")
            await expect(tab.get_by_test_id("step").last).to_contain_text("6415")
        assert await steps_shown(page) == await steps_shown(late)
        await late.get_by_test_id("record").nth(4).locator("summary").click()
        await expect(late.get_by_test_id("record").nth(4).locator("pre")).to_contain_text('"output": "6415"')
        await expect(late.get_by_test_id("run-list-item")).to_have_count(1)
        assert errors == []
