"""The state of a stream from its end is what a reading from its beginning would say, at the price of its last part."""

import asyncio
from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import S2, AppendRecord, Stream, TailOffset
from perdure.client.transports.local import LocalTransport
from perdure.errors import ReadUnwritten
from perdure.model.batches import ReadBatch
from perdure.model.configs import StreamConfig
from perdure.model.encryption import EncryptionKey
from perdure.model.positions import SeqNum, StreamPosition
from perdure.model.reads import ReadRequest
from perdure.model.records import SequencedRecord
from perdure.resumable.tail_search import StreamHead, find_head, read_end, search_back
from tests.resumable.chats import HOLDER, fence, write

DATA, TRIM = AppendRecord("x"), AppendRecord.trim(0)


class ListTransport(LocalTransport):
    """Reads from a list of records, of which the first `trimmed` are gone."""

    def __init__(self, records: Sequence[AppendRecord], trimmed: int = 0) -> None:
        self.records = records
        self.trimmed = trimmed
        self.read_counts: list[int] = []

    async def read(
        self,
        basin: str,
        name: str,
        request: ReadRequest,
        *,
        key: EncryptionKey | None = None,
        config: StreamConfig | None = None,
    ) -> ReadBatch:
        tail = len(self.records)
        position = StreamPosition(tail, tail)
        count = min(request.limits.count or 1000, 1000)
        if isinstance(request.start, TailOffset):
            start = max(0, tail - request.start.value)
        else:
            assert isinstance(request.start, SeqNum)
            start = min(request.start.value, tail)
        if start == tail:
            raise ReadUnwritten(position)
        start = max(start, self.trimmed)
        numbers = range(start, min(start + count, tail))
        self.read_counts.append(len(numbers))
        return ReadBatch(tuple(self.sequenced(number) for number in numbers))

    async def check_tail(self, basin: str, name: str, *, config: StreamConfig | None = None) -> StreamPosition:
        return StreamPosition(len(self.records), 1)

    def sequenced(self, number: int) -> SequencedRecord:
        record = self.records[number]
        return SequencedRecord(number, 1000 + number, record.body, record.headers)


def head_of(transport: ListTransport) -> StreamHead:
    return asyncio.run(find_head(Stream(transport, "some-basin", "s")))


def folded(transport: ListTransport) -> StreamHead:
    head = StreamHead()
    for number in range(transport.trimmed, len(transport.records)):
        head = head.after(transport.sequenced(number))
    return head


def same_for_callers(head: StreamHead) -> tuple[object, ...]:
    """What callers go by; the token and start of a generation that is over are nobody's business."""
    held = (head.held_token, head.active_start) if head.active else None
    return head.next_seq_num, head.last_record_timestamp, head.reusable_token, head.active, held


FENCES = st.sampled_from([fence(HOLDER), fence("end-AAAA"), fence("error-AAAA"), fence("end-stop-AAAA"), fence("")])
RUNS = st.tuples(st.sampled_from([DATA, TRIM]), st.integers(0, 700)).map(lambda run: [run[0]] * run[1])
LOGS = st.lists(RUNS | FENCES.map(lambda record: [record]), max_size=6).map(lambda parts: list(chain(*parts)))


@given(records=LOGS, trimmed=st.integers(0, 3000))
def test_the_search_finds_what_a_fold_over_everything_finds(records: list[AppendRecord], trimmed: int) -> None:
    transport = ListTransport(records, min(trimmed, len(records)))
    found = head_of(transport)
    if transport.trimmed == len(records):
        assert found == StreamHead(next_seq_num=len(records))
    else:
        assert same_for_callers(found) == same_for_callers(folded(transport))


def test_an_idle_chat_costs_one_read_however_long_its_log_is() -> None:
    transport = ListTransport([fence(HOLDER), *[DATA] * 100_000, fence("end-AAAA")])
    head = head_of(transport)
    assert (head.active, head.reusable_token, head.next_seq_num) == (False, "end-AAAA", 100_002)
    assert transport.read_counts == [1]


def test_an_active_chat_costs_reads_bounded_by_its_generation() -> None:
    transport = ListTransport([*[DATA] * 100_000, fence("end-AAAA"), fence(HOLDER), *[DATA] * 300])
    head = head_of(transport)
    assert (head.active, head.active_start) == (True, 100_001)
    assert sum(transport.read_counts) <= 1 + 64 + 512
    assert max(transport.read_counts) <= 1000


def test_renewals_are_stepped_over() -> None:
    head = head_of(ListTransport([fence(HOLDER), DATA, TRIM, TRIM]))
    assert (head.active, head.active_start, head.next_seq_num) == (True, 0, 4)


async def test_a_stream_that_was_never_written_to_is_idle(s2: S2) -> None:
    await s2.basins.create("test-chats", create_stream_on_read=True)
    assert await find_head(s2.basin("test-chats").stream("new")) == StreamHead()


async def test_a_stream_that_does_not_exist_is_idle(s2: S2) -> None:
    await s2.basins.create("test-chats")
    assert await find_head(s2.basin("test-chats").stream("none")) == StreamHead()


async def test_where_history_has_expired_the_tail_is_known(s2: S2) -> None:
    await s2.basins.create("test-chats", create_stream_on_append=True)
    stream = s2.basin("test-chats").stream("s")
    await write(stream, fence(HOLDER), "a", AppendRecord.trim(2**53 - 1))
    end = await read_end(stream)
    assert (end.last, end.tail) == (None, 3)
    assert await find_head(stream) == StreamHead(next_seq_num=3)


@pytest.mark.parametrize("count", [1, 65, 1000])
async def test_records_that_come_while_looking_are_not_looked_at(s2: S2, count: int) -> None:
    await s2.basins.create("test-chats", create_stream_on_append=True)
    stream = s2.basin("test-chats").stream("s")
    await write(stream, fence(HOLDER), *["x"] * min(count, 900))
    tail = (await stream.check_tail()).seq_num
    end = await read_end(stream)
    await write(stream, fence("end-AAAA"))
    head = await search_back(stream, end)
    assert head.active
    assert head.next_seq_num == tail
