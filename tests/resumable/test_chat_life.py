"""The life of a chat object: where it keeps its chats, when it opens and closes, and the list of chats."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from perdure import S2, InfiniteRetention, RetentionAge, SessionClosed, StreamConfig, UsageError
from perdure.errors import PermissionDenied
from perdure.model.configs import BasinConfig, DeleteOnEmptyConfig
from perdure.model.resources import BasinInfo, Provisioned
from perdure.resumable.aisdk import AiSdkChat, create_resumable_chat
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import ANSWER, BASIN, START, Reading, Source, body_of, chat_on, user
from tests.resumable.spy_transport import SpyTransport

WEEK = 7 * 86_400


@pytest.mark.parametrize("mode", ["single-use", "shared", "session"])
async def test_a_basin_is_made_with_what_its_mode_needs(s2: S2, mode: Any) -> None:
    chat = await chat_on(s2, mode=mode)
    config = await s2.basins.get_config(BASIN)
    assert config.create_stream_on_append
    assert config.create_stream_on_read
    streams = config.default_stream_config
    assert streams is not None
    assert streams.retention_policy == (InfiniteRetention() if mode == "session" else RetentionAge(WEEK))
    assert (streams.delete_on_empty is not None) == (mode != "session")
    await chat.aclose()


async def test_a_basin_that_exists_keeps_its_settings(s2: S2) -> None:
    own = StreamConfig(retention_policy=RetentionAge(60), delete_on_empty=DeleteOnEmptyConfig(5))
    await s2.basins.create(BASIN, default_stream_config=own)
    chat = await chat_on(s2)
    assert await s2.basins.get_config(BASIN) == BasinConfig(own, None, True, True)
    await chat.aclose()


async def test_a_basin_that_may_not_be_made_is_used_as_it_is(s2: S2, spy: SpyTransport) -> None:
    await s2.basins.create(BASIN, create_stream_on_append=True, create_stream_on_read=True)

    async def refuse(
        name: str, config: BasinConfig, *, location: str | None, request_token: str
    ) -> Provisioned[BasinInfo]:
        raise PermissionDenied("this token may not create basins")

    spy.create_basin = refuse  # type: ignore[method-assign]  # a service that says no
    chat = await chat_on(s2)
    await body_of(await chat.make_resumable("c", ANSWER))
    await chat.aclose()


async def test_chats_outlive_the_object_and_the_process(tmp_path: Path) -> None:
    for number in range(2):
        async with create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session") as chat:
            history: Any = await chat.history("c")
            assert len(history["messages"]) == number
            await body_of(await chat.make_resumable("c", [], user_message=user(f"u{number}")))


async def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    chat = create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session")
    assert not (tmp_path / "data").exists()
    assert (await chat.replay("c")).status == 204
    assert (tmp_path / "data").exists()
    await chat.aclose()


async def test_first_uses_at_once_open_the_store_once(tmp_path: Path) -> None:
    chat = create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session")
    responses = await asyncio.gather(*[chat.replay(f"c{number}") for number in range(10)])
    assert {response.status for response in responses} == {204}
    await chat.aclose()


async def test_a_lifespan_opens_and_closes(tmp_path: Path) -> None:
    chat = create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session")
    async with chat.lifespan(object()):
        await body_of(await chat.make_resumable("c", ANSWER))
    with pytest.raises(SessionClosed):
        await chat.make_resumable("c", ANSWER)
    with pytest.raises(SessionClosed):
        await chat.replay("c")
    await chat.aclose()


async def test_a_store_that_was_given_stays_open(s2: S2) -> None:
    chat = await chat_on(s2)
    await chat.aclose()
    assert [basin.name async for basin in s2.basins.list_all()] == [BASIN]


@pytest.mark.parametrize("where", [{}, {"path": "x", "access_token": "y"}])
def test_exactly_one_store_is_named(where: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="path="):
        create_resumable_chat(basin=BASIN, **where)


@pytest.mark.parametrize(
    "bad", [{"basin": "x"}, {"mode": "sometimes"}, {"batch_size": 0}, {"session_lease_ms": -1}, {"linger_ms": -1}]
)
def test_bad_settings_are_refused_at_construction(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"basin|mode|batch_size|session_lease_ms|linger_ms"):
        create_resumable_chat(**{"path": ":memory:", "basin": BASIN, **bad})


async def test_bad_names_are_refused_before_the_source_is_asked(chat: AiSdkChat) -> None:
    source = Source(START)
    for name in ("", "x" * 600, ".."):
        response = await chat.make_resumable(name, source)
        assert response.status == 400
        assert b"stream name must" in response.body
    assert source.calls == 0


async def test_chats_are_listed_by_name(chat: AiSdkChat) -> None:
    for name in ("chat-b", "chat-a", "other", "chat-c"):
        await body_of(await chat.make_resumable(name, ANSWER))
    assert [info.name async for info in chat.list(prefix="chat-")] == ["chat-a", "chat-b", "chat-c"]
    assert [info.name async for info in chat.list(prefix="chat-", start_after="chat-a")] == ["chat-b", "chat-c"]
    assert await chat.delete("chat-b")
    assert [info.name async for info in chat.list()] == ["chat-a", "chat-c", "other"]
    assert not await chat.delete("chat-x")


async def test_deleting_a_chat_ends_its_generation(chat: AiSdkChat) -> None:
    source = Source(START)
    response = await chat.make_resumable("c", source, wait_until=chat.background)
    await source.given.wait()
    assert await chat.delete("c")
    assert source.closed.is_set()
    await response.aclose()


async def test_deleting_a_chat_ends_the_live_replays_of_it(s2: S2, chat: AiSdkChat) -> None:
    other = await chat_on(s2)  # as another process would be
    await body_of(await chat.make_resumable("c", ANSWER))
    await body_of(await chat.make_resumable("d", ANSWER))
    tabs = [Reading(await one.replay("c", live=True)) for one in (chat, other)]
    bystander = Reading(await chat.replay("d", live=True))
    shown = [await tab.until('"finish"') for tab in (*tabs, bystander)]
    assert await chat.delete("c")
    assert [await tab.rest() for tab in tabs] == shown[:2]
    await body_of(await chat.make_resumable("d", [{"type": "start", "messageId": "m2"}]))
    await bystander.until('"m2"')
    await bystander.close()
    await other.aclose()


async def test_what_is_given_to_the_background_is_awaited_and_its_failure_logged(
    chat: AiSdkChat, caplog: pytest.LogCaptureFixture
) -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()
        raise RuntimeError("the e-mail could not be sent")

    chat.background(work())
    await chat.drain()
    assert done.is_set()
    assert "the e-mail could not be sent" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_draining_again_and_closing_again_do_nothing(chat: AiSdkChat) -> None:
    await chat.drain()
    await chat.drain(timeout=0)
    await chat.aclose()
    await chat.aclose()


async def test_a_post_that_is_cancelled_while_it_claims_keeps_no_generation_waiting_for_a_reader(s2: S2) -> None:
    """In single-use mode the end waits for the readers that this process serves; nobody reads this one."""
    chat = await chat_on(s2, mode="single-use")
    source = Source(START)
    posting = asyncio.create_task(chat.make_resumable("c", source))
    await asyncio.sleep(0)  # lets the request start its claim
    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting
    await source.given.wait()
    source.give({"type": "data-large", "data": "x" * 300_000})
    source.end()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await chat.drain()
    assert (await chat.replay("c")).status == 204
    await chat.aclose()
