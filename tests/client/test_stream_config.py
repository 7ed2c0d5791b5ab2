"""What a stream is configured with that its first append or read creates, said by the handle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from perdure import (
    S2,
    AppendRecord,
    Basin,
    InfiniteRetention,
    Invalid,
    RetentionAge,
    SeqNum,
    StorageClass,
    Stream,
    StreamConfig,
    TimestampingMode,
)

WANTED = StreamConfig(retention_policy=RetentionAge(3600))
RECORD = AppendRecord("x")


async def appends(stream: Stream) -> None:
    await stream.append([RECORD])


async def submits(stream: Stream) -> None:
    async with stream.append_session() as session:
        _ = await session.submit([RECORD])


async def produces(stream: Stream) -> None:
    async with stream.producer() as producer:
        _ = await producer.submit(RECORD)


async def reads(stream: Stream) -> None:
    await stream.read(SeqNum(0), clamp=True, wait=0.001)


async def follows(stream: Stream) -> None:
    async with stream.read_session(SeqNum(0), clamp=True) as session:
        await session.caught_up()


async def looks(stream: Stream) -> None:
    await stream.check_tail()


@pytest.fixture
async def creating(s2: S2) -> Basin:
    return await s2.basins.create(
        "creating-basin",
        default_stream_config=StreamConfig(StorageClass.STANDARD, InfiniteRetention()),
        create_stream_on_append=True,
        create_stream_on_read=True,
    )


@pytest.mark.parametrize("use", [appends, submits, produces, reads, follows, looks])
async def test_whoever_creates_the_stream_configures_it_over_the_defaults(
    creating: Basin, use: Callable[[Stream], Awaitable[None]]
) -> None:
    await use(creating.stream("s", stream_config=WANTED))
    config = await creating.streams.get_config("s")
    assert (config.retention_policy, config.storage_class) == (RetentionAge(3600), StorageClass.STANDARD)
    assert config.timestamping is not None
    assert config.timestamping.mode is TimestampingMode.CLIENT_PREFER


async def test_a_stream_that_exists_stays_as_it_is(creating: Basin) -> None:
    await appends(creating.stream("s"))
    await appends(creating.stream("s", stream_config=WANTED))
    assert (await creating.streams.get_config("s")).retention_policy == InfiniteRetention()


async def test_what_is_no_configuration_is_refused(creating: Basin) -> None:
    with pytest.raises(Invalid, match="stream_config"):
        creating.stream("s", stream_config={"retention_policy": 5})  # type: ignore[arg-type]
