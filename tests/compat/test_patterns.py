"""The npm package `@s2-dev/streamstore-patterns` and ours, each reading what the other wrote.

Theirs goes through `perdure serve`, ours through the same data directory.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from perdure import S2, AppendRecord, Basin, SeqNum, SequencedRecord, Stream
from perdure.patterns import (
    MAX_CHUNK_BODY_BYTES,
    WRITER_ID_HEADER,
    DeserializingReadSession,
    FrameSizeError,
    JsonSerializer,
    MessageRange,
    SerializingAppendSession,
    add_dedupe_headers,
    frame,
)
from tests.compat.serving import ROOT_TOKEN, ServedStore, serve
from tests.web.test_web_modules import find_node

PROGRAM = Path(__file__).with_name("patterns.mjs")
NODE_SECONDS = 60
BASIN = "patterns-basin"

pytestmark = pytest.mark.timeout(NODE_SECONDS + 60)


class Options(Struct, rename="camel", omit_defaults=True):
    chunk_size: int | None = None
    match_seq_num: int | None = None
    dedupe_seq: int | None = None
    max_frame_bytes: int | None = None
    enable_dedupe: bool | None = None


class Job(Struct):
    do: str
    stream: str
    options: Options = msgspec.field(default_factory=Options)
    messages: list[bytes] | list[dict[str, object]] | None = None
    sink: bool = False
    json: bool = False
    count: int = 0
    start: int = msgspec.field(default=0, name="from")
    basin: str = BASIN


class Failure(Struct):
    name: str
    message: str
    code: str | None = None


class Answer(Struct, rename="camel"):
    ranges: list[MessageRange] = []
    messages: list[object] = []
    error: Failure | None = None

    def payloads(self) -> list[bytes]:
        return [base64.b64decode(str(message)) for message in self.messages]


class Answers(Struct, rename="camel"):
    answers: list[Answer]
    largest_chunk: int


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("patterns")
    return folder / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServedStore]:
    with serve(data) as server:
        yield server


@pytest.fixture
async def basin(data: Path, server: ServedStore) -> AsyncIterator[Basin]:
    async with S2.open(data) as s2:
        yield await s2.basins.ensure(BASIN, create_stream_on_append=True)


async def theirs(server: ServedStore, *jobs: Job) -> Answers:
    """What the npm package makes of the jobs, one after the other."""
    environment = os.environ | {"PERDURE_URL": server.url, "PERDURE_TOKEN": ROOT_TOKEN}
    pipe = asyncio.subprocess.PIPE
    node = await asyncio.create_subprocess_exec(
        find_node(), str(PROGRAM), stdin=pipe, stdout=pipe, stderr=pipe, env=environment
    )
    try:
        async with asyncio.timeout(NODE_SECONDS):
            output, said = await node.communicate(msgspec.json.encode(jobs))
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, said.decode()
    return msgspec.json.decode(output, type=Answers)


def same(message: bytes) -> bytes:
    return message


async def ours(stream: Stream, *, enable_dedupe: bool = True) -> list[bytes]:
    async with DeserializingReadSession(
        stream.read_session(SeqNum(0), wait=0), same, enable_dedupe=enable_dedupe
    ) as session:
        return [message async for message in session]


async def records_of(stream: Stream) -> list[SequencedRecord]:
    async with stream.read_session(SeqNum(0), wait=0) as session:
        return [record async for record in session]


def parts(records: Sequence[SequencedRecord]) -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Bodies and headers in their order, without what is random: the writer's id, but for its length."""
    return [
        (
            record.body,
            [(name, b"%d" % len(value) if name == WRITER_ID_HEADER else value) for name, value in record.headers],
        )
        for record in records
    ]


def messages(rng: random.Random) -> list[bytes]:
    """Texts, code, and what is as large as a chunk, or several."""
    largest = MAX_CHUNK_BODY_BYTES
    sizes = [1, 17, largest - 1, largest, largest + 1, 5 * 1024 * 1024]
    texts = ["Grüße aus 東京 😀", "for (;;) {}\n", "\0", "a" * 999]
    return [*(rng.randbytes(size) for size in sizes), *(text.encode() for text in texts)]


@pytest.mark.parametrize("sink", [False, True], ids=["submit", "sink"])
@pytest.mark.parametrize("dedupe_seq", [None, 0], ids=["plain", "counted"])
async def test_both_write_the_same_records_and_read_each_other(
    server: ServedStore, basin: Basin, sink: bool, dedupe_seq: int | None
) -> None:
    # The sink of theirs makes one batch of a message, which one larger than a batch does not fit into.
    wanted = [message for message in messages(random.Random(1)) if not sink or len(message) <= MAX_CHUNK_BODY_BYTES]
    names = [f"{who}-{sink}-{dedupe_seq}" for who in ("their", "our")]
    their_stream, our_stream = basin.stream(names[0]), basin.stream(names[1])
    options = Options(dedupe_seq=dedupe_seq, match_seq_num=0)

    async with SerializingAppendSession(
        our_stream.append_session(), same, dedupe_seq=dedupe_seq, match_seq_num=0
    ) as session:
        if sink:
            await session.write_all(wanted)
            our_ranges = []
        else:
            our_ranges = [await session.submit(message) for message in wanted]
    count = (await our_stream.check_tail()).seq_num
    found = await theirs(
        server,
        Job("write", names[0], options, wanted, sink=sink),
        Job("read", names[1], count=count),
        Job("read", names[0], count=count),
    )
    written, read, read_back = found.answers

    assert found.largest_chunk == MAX_CHUNK_BODY_BYTES
    assert written.ranges == our_ranges
    assert parts(await records_of(their_stream)) == parts(await records_of(our_stream))
    assert read.payloads() == read_back.payloads() == wanted
    assert await ours(their_stream) == await ours(our_stream) == wanted


@dataclass
class Said:
    author: str
    words: list[str]
    at: float | None = None


async def test_values_in_json_with_small_chunks(server: ServedStore, basin: Basin) -> None:
    said = JsonSerializer(Said)
    values = [Said("Åsa", ["hej", "😀"]), Said("b", [], 1.5), Said("c", ["x" * 3000])]
    plain: list[dict[str, object]] = msgspec.to_builtins(values)
    options = Options(chunk_size=4, dedupe_seq=0, match_seq_num=0)
    async with SerializingAppendSession(
        basin.stream("our-json").append_session(), said.serialize, chunk_bytes=4, dedupe_seq=0, match_seq_num=0
    ) as session:
        for value in values:
            await session.submit(value)
    count = (await basin.stream("our-json").check_tail()).seq_num
    found = await theirs(
        server,
        Job("write", "their-json", options, plain, json=True),
        Job("read", "our-json", json=True, count=count),
    )
    assert found.answers[1].messages == plain
    reads = basin.stream("their-json").read_session(SeqNum(0), wait=0)
    async with DeserializingReadSession(reads, said.deserialize) as reader:
        assert [value async for value in reader] == values


def succession(rng: random.Random, *, counted: bool) -> tuple[list[AppendRecord], list[bytes]]:
    """What three writers leave, each of which sends records again and may crash; and the messages that are whole."""
    stream: list[AppendRecord] = []
    whole: list[bytes] = []
    for writer in range(3):
        payloads = [rng.randbytes(rng.randint(1, 20)) for _ in range(rng.randint(0, 6))]
        chunk_bytes = rng.randint(1, 8)
        records = tuple(chain.from_iterable(frame(payload, chunk_bytes=chunk_bytes) for payload in payloads))
        if counted:
            records = add_dedupe_headers(records, writer_id=f"writer-{writer:05}", dedupe_seq=0)
        kept = rng.randint(0, len(records))
        ends = 0
        for payload in payloads:
            ends += -(-len(payload) // chunk_bytes)
            if ends <= kept:
                whole.append(payload)
        for end in range(1, kept + 1):
            again = rng.choice([0, 0, 0, 1, 3])
            stream.append(records[end - 1])
            stream += records[max(0, end - again) : end] if again else ()
    return stream, whole


async def test_both_drop_the_same_of_what_was_sent_twice_or_never_finished(server: ServedStore, basin: Basin) -> None:
    jobs: list[Job] = []
    expected: list[list[bytes]] = []
    for number in range(24):
        counted = number % 2 == 0
        records, whole = succession(random.Random(number), counted=counted)
        if not records:
            continue
        stream = basin.stream(f"succession-{number}")
        await stream.append(records)
        found = await ours(stream)
        assert found == whole or not counted, number
        jobs.append(Job("read", stream.name, count=len(records)))
        expected.append(found)
    assert [answer.payloads() for answer in (await theirs(server, *jobs)).answers] == expected
    assert len(jobs) > 20


async def test_the_known_differences_are_messages_that_theirs_mixes_or_loses(server: ServedStore, basin: Basin) -> None:
    repeated, commanded = basin.stream("repeated"), basin.stream("commanded")
    first, second, third = add_dedupe_headers(frame(b"aabbcc", chunk_bytes=2), writer_id="w" * 12, dedupe_seq=0)
    await repeated.append([first, second, second, third])
    await commanded.append([first, second, AppendRecord.fence("token"), third])
    found = await theirs(
        server,
        Job("read", "repeated", Options(enable_dedupe=False), count=4),
        Job("read", "commanded", count=4),
    )
    assert [answer.payloads() for answer in found.answers] == [[b"aabbbb"], []]
    assert await ours(repeated, enable_dedupe=False) == await ours(commanded) == [b"aabbcc"]


async def test_a_writer_of_ours_goes_on_where_one_of_theirs_crashed(server: ServedStore, basin: Basin) -> None:
    stream = basin.stream("crashed")
    options = Options(chunk_size=4, dedupe_seq=0)
    await theirs(server, Job("write", "crashed", options, [b"before"]))
    (begun, *_) = add_dedupe_headers(frame(b"never finished", chunk_bytes=4), writer_id="w" * 12, dedupe_seq=9)
    await stream.append([begun])
    async with SerializingAppendSession(stream.append_session(), same, chunk_bytes=4, dedupe_seq=0) as session:
        await session.submit(b"after!")
    tail = await stream.check_tail()
    (answer,) = (await theirs(server, Job("read", "crashed", count=tail.seq_num))).answers
    assert answer.payloads() == await ours(stream) == [b"before", b"after!"]


async def test_both_refuse_a_claim_beyond_their_bound_with_the_same_code(server: ServedStore, basin: Basin) -> None:
    stream = basin.stream("huge")
    await stream.append(frame(b"fits"))
    (huge, *_) = frame(bytes(11))
    await stream.append([huge])
    (answer,) = (await theirs(server, Job("read", "huge", Options(max_frame_bytes=10), count=2))).answers
    assert answer.error is not None
    reader = DeserializingReadSession(stream.read_session(SeqNum(0), wait=0), same, max_frame_bytes=10)
    assert await anext(reader) == b"fits"
    with pytest.raises(FrameSizeError) as caught:
        await anext(reader)
    assert (answer.error.name, answer.error.code) == (type(caught.value).__name__, caught.value.code)
