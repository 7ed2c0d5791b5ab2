"""Corners that chats of all kinds must pass: used names, takeovers, stops from elsewhere, renewals, clients who go."""

from typing import Any, Final

import pytest

from perdure import S2, AppendRecord, Basin, Stream
from perdure.errors import StorageFailed
from perdure.model.batches import AppendInput
from perdure.resumable.settings import ModeName
from tests.resumable.chats import (
    BASIN,
    CREATE,
    HOLDER,
    START,
    Chat,
    NewChat,
    Reading,
    Source,
    body_of,
    fence,
    frames,
    leased,
    records_of,
    shown,
    timeless,
    until,
    write,
)
from tests.resumable.spy_transport import SpyTransport
from tests.resumable.tanstack_scripts import bodies, echo, run_started
from tests.resumable.test_layout import SCRIPTS

MODES: Final[tuple[ModeName, ...]] = ("single-use", "shared", "session")
RENEWAL: Final = AppendRecord.trim(0)


@pytest.fixture(params=CREATE)
def adapter(request: pytest.FixtureRequest) -> str:
    """Everything here holds for every adapter."""
    name: str = request.param
    return name


@pytest.fixture
def stream(basin: Basin) -> Stream:
    return basin.stream("c")


# --- names that are used up ---


@pytest.mark.parametrize("end", ["itself", "failure", "stop", "stop elsewhere", "death"])
async def test_a_single_use_name_is_used_up_however_its_generation_ended(
    s2: S2, new_chat: NewChat, stream: Stream, end: str
) -> None:
    chat, other = await new_chat(mode="single-use"), await new_chat(mode="single-use")
    if end == "death":
        await stream.append([AppendRecord.fence(leased(1000), timestamp=1), AppendRecord("a", timestamp=1)])
        assert (await chat.replay("c")).status == 204
    else:
        source = Source(START)
        await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
        await source.given.wait()
        match end:
            case "itself":
                source.end()
            case "failure":
                source.fail(RuntimeError("secret"))
            case "stop":
                assert await chat.stop("c")
            case _:
                assert await other.stop("c")
        await chat.drain()
    before = await records_of(stream)
    for each in (chat, other):
        second = Source(START)
        assert (await each.make_resumable("c", second)).status == 409
        assert second.calls == 0
    assert await records_of(stream) == before
    await chat.aclose()
    await other.aclose()


# --- takeovers ---


@pytest.mark.parametrize("theirs", [[], ["theirs"]])
async def test_a_body_that_has_shown_nothing_yet_ends_at_the_fence_of_who_took_over(
    chat: Chat, stream: Stream, theirs: list[str]
) -> None:
    handed: list[Any] = []
    source = Source()
    reading = Reading(await chat.make_resumable("c", source, wait_until=handed.append))
    await source.given.wait()
    await write(stream, fence("session-other"), *theirs)
    assert frames(await reading.rest()) == []
    await handed[0]
    assert source.closed.is_set()
    assert shown(await records_of(stream)) == ["fence session-", "fence session-", *theirs]


# --- stops from elsewhere ---


@pytest.mark.parametrize("mode", MODES)
async def test_a_stop_by_another_object_ends_a_silent_source_and_is_told_once(
    s2: S2, new_chat: NewChat, mode: ModeName, stop_body: str
) -> None:
    # Without a lease, so that the writer does not find out by renewing it.
    chat, other = await new_chat(mode=mode, session_lease_ms=None), await new_chat(mode=mode, session_lease_ms=None)
    source = Source(START)
    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("start")
    assert await other.stop("c")
    seen = [data for _, data in frames(await reading.rest())]
    await until(source.closed.is_set)
    assert seen[-1] == stop_body
    assert seen.count(stop_body) == 1
    assert shown(await records_of(s2.basin(BASIN).stream("c")))[1:] == [*seen, "fence end-stop-"]
    assert not await other.stop("c")
    assert not await chat.stop("c")
    await chat.aclose()
    await other.aclose()


# --- renewals ---


def told(history: Any) -> Any:
    """What a history tells but for numbers of records."""
    found = {key: value for key, value in history.items() if key != "nextSeqNum"}
    if "events" in found:
        found["events"] = [each["event"] for each in found["events"]]
    return found


async def test_renewals_change_neither_frames_nor_histories(chat: Chat, basin: Basin, adapter: str) -> None:
    plain, renewed = basin.stream("plain"), basin.stream("renewed")
    for chunks in SCRIPTS[adapter]:
        await body_of(await chat.make_resumable("plain", chunks, wait_until=chat.background))
        await chat.drain()
    for record in await records_of(plain):
        await renewed.append([RENEWAL, AppendRecord(record.body, headers=record.headers)])
    written = [record for record in await records_of(renewed) if record.command is None]
    replayed = frames(await body_of(await chat.replay("renewed", from_seq_num=0)))
    assert replayed == [(record.seq_num + 1, timeless(record.text)) for record in written]
    assert [data for _, data in replayed] == [
        data for _, data in frames(await body_of(await chat.replay("plain", from_seq_num=0)))
    ]
    history = told(await chat.history("plain"))
    assert any(history.values())
    assert told(await chat.history("renewed")) == history


async def test_renewals_change_nothing_of_what_a_stop_adds(chat: Chat, basin: Basin, adapter: str) -> None:
    begun = bodies(*SCRIPTS[adapter][2])
    logs: list[list[str]] = []
    for name, between in (("plain", []), ("renewed", [RENEWAL, RENEWAL])):
        stream = basin.stream(name)
        await write(stream, fence(HOLDER), *between)
        for body in begun:
            await write(stream, body, *between)
        assert await chat.stop(name)
        logs.append([short for short in shown(await records_of(stream)) if short != "trim 0"])
    assert logs[0] == logs[1]
    assert logs[0][-1] == "fence end-stop-"


# --- what is let go of ---


@pytest.mark.parametrize("mode", ["shared", "session"])
async def test_a_claim_that_fails_once_its_writer_is_connecting_leaves_nothing_open(
    spy: SpyTransport, new_chat: NewChat, mode: ModeName
) -> None:
    """Where the last turn of this process ended, the way for the next one's records is opened while it is claimed."""
    chat, other = await new_chat(mode=mode), await new_chat(mode=mode)
    await body_of(await chat.make_resumable("c", [START]))
    await chat.drain()
    source = Source(START)
    await other.make_resumable("c", source, delivery="replay", wait_until=other.background)
    await source.given.wait()
    assert spy.open_appends == 1
    assert (await chat.make_resumable("c", [START])).status == 409
    assert spy.open_appends == 1
    source.end()
    await other.drain()

    def fail(name: str, batch: AppendInput) -> None:
        raise StorageFailed("the disk is gone")

    spy.before_append = fail
    with pytest.raises(StorageFailed):
        await other.make_resumable("c", [START])
    assert (spy.open_appends, spy.open_reads) == (0, 0)
    await chat.aclose()
    await other.aclose()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_replay_whose_client_goes_lets_go_of_the_store(
    chat: Chat, stream: Stream, spy: SpyTransport, after: int, live: bool
) -> None:
    await write(stream, fence(HOLDER), *bodies(*echo("hi"), run_started()))
    reading = Reading(await chat.replay("c", live=live))
    if after:
        await reading.until("RUN_STARTED")
        assert spy.open_reads == 1
    await reading.close()
    assert spy.open_reads == 0
