"""Sources: whatever a provider or framework hands out becomes the same chunks, and is closed again."""

import asyncio
import contextvars
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.resumable.chunks import KeyStyle
from perdure.resumable.json_body import JsonObject, SourceError, encode_body
from perdure.resumable.sources import MAX_LAYERS, discard_source, open_source
from perdure.resumable.threaded_source import MAX_WAITING_CHUNKS
from tests.patience import PATIENCE_SECONDS

START: JsonObject = {"type": "start", "messageId": "m"}
DELTA: JsonObject = {"type": "text-delta", "id": "t", "delta": "a\u2028b {\n} ü 😀"}
CHUNKS: list[JsonObject] = [START, DELTA, {"type": "finish"}]


async def read(
    source: object,
    *,
    require_type: bool = True,
    key_style: KeyStyle = "snake",
    accept: Callable[[JsonObject], JsonObject | None] | None = None,
    sdk_version: int = 6,
) -> list[JsonObject]:
    """All that `source` gives; checks on the way that each body is the JSON of its value."""
    values = []
    async with open_source(
        source, require_type=require_type, key_style=key_style, accept=accept, sdk_version=sdk_version
    ) as chunks:
        async for chunk in chunks:
            assert json.loads(chunk.body) == json.loads(encode_body(chunk.value))
            values.append(json.loads(chunk.body))
    return values


async def agen() -> AsyncIterator[JsonObject]:
    for chunk in CHUNKS:
        yield chunk


def gen() -> Iterator[JsonObject]:
    yield from CHUNKS


async def returns_agen() -> AsyncIterator[JsonObject]:
    return agen()


@asynccontextmanager
async def manages_agen() -> AsyncIterator[AsyncIterator[JsonObject]]:
    yield agen()


@contextmanager
def manages_gen() -> Iterator[Iterator[JsonObject]]:
    yield gen()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(agen, id="async generator function"),
        pytest.param(lambda: agen(), id="function that returns an async iterable"),
        pytest.param(returns_agen, id="async function that returns an async iterable"),
        pytest.param(lambda: returns_agen(), id="function that returns an awaitable"),
        pytest.param(manages_agen, id="function that returns an async context manager"),
        pytest.param(manages_gen, id="function that returns a context manager"),
        pytest.param(gen, id="generator function"),
        pytest.param(CHUNKS, id="list"),
        pytest.param(tuple(CHUNKS), id="tuple"),
        pytest.param(lambda: lambda: CHUNKS, id="function that returns a function"),
    ],
)
async def test_sources_of_every_kind_give_the_same_chunks(source: object) -> None:
    assert await read(source) == CHUNKS


async def test_sources_that_are_already_there_give_the_same_chunks() -> None:
    for source in (agen(), gen(), returns_agen(), manages_agen(), manages_gen(), asyncio.ensure_future(returns_agen())):
        assert await read(source) == CHUNKS


@pytest.mark.parametrize("source", [None, 3, pytest.param(object(), id="object"), {"type": "start"}], ids=repr)
async def test_what_is_no_source_says_so(source: object) -> None:
    with pytest.raises(SourceError, match="source"):
        await read(source)


async def test_a_callable_that_returns_itself_ends() -> None:
    calls = 0

    def again() -> object:
        nonlocal calls
        calls += 1
        return again

    with pytest.raises(SourceError, match="is no source"):
        await read(again)
    assert calls == MAX_LAYERS


async def test_nothing_is_called_before_the_first_step() -> None:
    called = False

    def source() -> list[JsonObject]:
        nonlocal called
        called = True
        return CHUNKS

    async with open_source(source):
        pass
    assert not called


# --- items ---


class Snake(pydantic.BaseModel):
    type: str = "text-start"
    provider_metadata: dict[str, object] | None = pydantic.Field(None, alias="providerMetadata")


class SdkModel(pydantic.BaseModel):
    """As the models of provider SDKs: lenient, with what the API sent."""

    model_config = pydantic.ConfigDict(extra="allow")
    type: str
    stop_reason: str | None = None
    left_out: str | None = None


SdkModel.__module__ = "anthropic.types.message"


@dataclass
class Inner:
    some_text: str
    nothing: None = None


@dataclass
class Event:
    type: str
    tool_call_id: str
    inner_part: Inner
    many: list[Inner] = field(default_factory=list)
    free_form: dict[str, object] = field(default_factory=dict)
    left_out: str | None = None


class WithToDict:
    def to_dict(self) -> dict[str, object]:
        return {"type": "x", "kept": None}


class UiChunk(pydantic.BaseModel):
    """The shape of pydantic-ai's chunks."""

    type: str = "tool-input-start"
    provider_metadata: str | None = None

    def encode(self, sdk_version: int) -> str:
        return json.dumps({"type": self.type, "version": sdk_version})


class DoneChunk(UiChunk):
    type: str = "done"

    def encode(self, sdk_version: int) -> str:
        return "[DONE]"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "x", "kept": None}, {"type": "x", "kept": None}),
        (MappingProxyType({"type": "x", "n": 1}), {"type": "x", "n": 1}),
        (Snake.model_validate({}), {"type": "text-start"}),
        (Snake(providerMetadata={"a": 1}), {"type": "text-start", "providerMetadata": {"a": 1}}),
        (
            SdkModel.model_validate({"type": "x", "stop_reason": None, "later": {"added": None}}),
            {"type": "x", "stop_reason": None, "later": {"added": None}},
        ),
        (WithToDict(), {"type": "x", "kept": None}),
        (UiChunk(), {"type": "tool-input-start", "version": 7}),
        ('{"type": "x",\n "a": "\\n"}', {"type": "x", "a": "\n"}),
        (b'{"type": "x", "a": "\xc3\xbc"}', {"type": "x", "a": "ü"}),
        (bytearray(b'\n {"type":"x"}'), {"type": "x"}),
        ('data: {"type":"x"}\n\n', {"type": "x"}),
        (b'\xef\xbb\xbfevent: x\r\nid: 3\r\ndata: {"type":\r\ndata: "x"}\r\n\r\n', {"type": "x"}),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_items_of_every_kind_become_objects(item: object, expected: JsonObject) -> None:
    assert await read([item], sdk_version=7) == [expected]
    assert await read(iter([item]), sdk_version=7) == [expected], "the same from a thread"


@pytest.mark.parametrize("item", ["data: [DONE]\n\n", ": ping\n\n", DoneChunk(), "", "\n\n", b" "], ids=repr)
async def test_items_that_mean_nothing_are_dropped(item: object) -> None:
    assert await read([START, item, DELTA]) == [START, DELTA]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="pydantic's first version stops at Python 3.13")
async def test_models_of_the_first_pydantic_are_read_as_well() -> None:
    from pydantic.v1 import BaseModel, Field

    class Old(BaseModel):
        type: str = "text-start"
        an_id: str = Field("x", alias="anId")
        left_out: str | None = None

    assert await read([Old.parse_obj({})]) == [{"type": "text-start", "anId": "x"}]


async def test_dataclasses_lose_what_is_none_and_keep_their_keys_unless_told() -> None:
    event = Event("x", "c", Inner("a"), [Inner("b")], {"snake_case": None, "an_inner": Inner("c")})
    assert await read([event]) == [
        {
            "type": "x",
            "tool_call_id": "c",
            "inner_part": {"some_text": "a"},
            "many": [{"some_text": "b"}],
            "free_form": {"snake_case": None, "an_inner": {"some_text": "c"}},
        }
    ]
    assert await read([event], key_style="camel") == [
        {
            "type": "x",
            "toolCallId": "c",
            "innerPart": {"someText": "a"},
            "many": [{"someText": "b"}],
            "freeForm": {"snake_case": None, "an_inner": {"someText": "c"}},
        }
    ]


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (3, "builtins.int"),
        pytest.param(object(), "builtins.object", id="object"),
        (Snake, "ModelMetaclass"),
        ({"kind": "x"}, "string `type`"),
        ({"type": 3}, "string `type`"),
        ({"type": "x", "data": object()}, "builtins.object"),
        ("Hello", "server-sent events, got Hello"),
        ("{broken", "no JSON: {broken"),
        ("data: Hello\n\n", "no JSON: Hello"),
        ("data: [1]\n\n", "JSON object, got \\[1\\]"),
        ('data: {"type":"x"', "no JSON"),
        ("[1]", "server-sent events"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_chunk_is_an_error_that_shows_it(item: object, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        await read([item])


async def test_an_oversized_event_is_a_source_error() -> None:
    with pytest.raises(SourceError, match="exceeds the limit"):
        await read([b"data: ", *[b"x" * 2**20] * 17])


async def test_any_object_will_do_when_no_type_is_required() -> None:
    assert await read([{"kind": "x"}, '{"n":1}'], require_type=False) == [{"kind": "x"}, {"n": 1}]


async def test_a_last_event_without_its_blank_line_is_taken() -> None:
    assert await read(['data: {"type":"x"}']) == [{"type": "x"}]


async def test_accept_drops_and_replaces_before_anything_is_encoded() -> None:
    def accept(chunk: JsonObject) -> JsonObject | None:
        if chunk["type"] == "snapshot":
            return None
        return {"type": "short"} if "huge" in chunk else chunk

    source = [{"type": "snapshot", "message": object()}, {"type": "x", "huge": object()}, START]
    assert await read(source, accept=accept) == [{"type": "short"}, START]


FRAMES = "".join(
    f"{comment}data: {encode_body(chunk).decode()}{end}{end}"
    for chunk, comment, end in zip(CHUNKS * 2, [":\n", "", ": x\r\n"] * 2, ["\n", "\r\n", "\r"] * 2, strict=True)
)


@settings(deadline=None)
@given(cuts=st.sets(st.integers(0, len(FRAMES.encode()))))
def test_server_sent_events_survive_any_cut(cuts: set[int]) -> None:
    wire = FRAMES.encode()
    edges = [0, *sorted(cuts), len(wire)]
    pieces = [wire[start:end] for start, end in pairwise(edges)]
    assert asyncio.run(read(pieces)) == CHUNKS * 2


@settings(deadline=None)
@given(cuts=st.sets(st.integers(0, len(FRAMES))))
def test_server_sent_events_as_text_survive_any_cut(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(FRAMES)]
    pieces = [FRAMES[start:end] for start, end in pairwise(edges)]
    assert asyncio.run(read(pieces)) == CHUNKS * 2


async def test_text_and_objects_may_alternate() -> None:
    source = [START, 'data: {"type":"a"}\n', "\n", '{"type":"b"}', "data:", ' {"type":"c"}\n\n', DELTA]
    assert await read(source) == [START, {"type": "a"}, {"type": "b"}, {"type": "c"}, DELTA]


@pytest.mark.parametrize("threaded", [False, True])
async def test_items_are_serialised_when_they_arrive(threaded: bool) -> None:
    """SDKs yield the same growing object again and again."""

    def growing() -> Iterator[JsonObject]:
        texts: list[str] = []
        for n in range(50):
            texts.append(str(n))
            yield {"type": "snapshot", "texts": texts}  # type: ignore[dict-item]  # a list of str is a list of JSON

    async def growing_async() -> AsyncIterator[JsonObject]:
        for chunk in growing():
            yield chunk

    lengths = [len(chunk["texts"]) for chunk in await read(growing() if threaded else growing_async())]  # type: ignore[arg-type]
    assert lengths == list(range(1, 51))


# --- endings ---


class Tracked:
    """Says how it was treated."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.threads: set[int] = set()

    async def agen(self, *, fail: bool = False, hang: bool = False) -> AsyncIterator[JsonObject]:
        self.log.append("opened")
        try:
            yield START
            if hang:
                await asyncio.Event().wait()
            if fail:
                raise ZeroDivisionError("model")
            yield DELTA
        finally:
            await asyncio.sleep(0)  # closing may await
            self.log.append("closed")

    @asynccontextmanager
    async def manager(self, *, fail: bool = False, hang: bool = False) -> AsyncIterator[AsyncIterator[JsonObject]]:
        self.log.append("entered")
        try:
            yield self.agen(fail=fail, hang=hang)
        finally:
            await asyncio.sleep(0)
            self.log.append("left")

    def gen(self, *, fail: bool = False, endless: bool = False) -> Iterator[JsonObject]:
        self.threads.add(threading.get_ident())
        self.log.append("opened")
        try:
            yield START
            while endless:
                self.log.append("item")
                yield DELTA
            if fail:
                raise ZeroDivisionError("model")
            yield DELTA
        finally:
            self.threads.add(threading.get_ident())
            self.log.append("closed")

    @contextmanager
    def sync_manager(self, *, fail: bool = False, endless: bool = False) -> Iterator[Iterator[JsonObject]]:
        self.threads.add(threading.get_ident())
        self.log.append("entered")
        try:
            yield self.gen(fail=fail, endless=endless)
        finally:
            self.threads.add(threading.get_ident())
            self.log.append("left")


ALL_CLOSED = ["entered", "opened", "closed", "left"]


async def test_a_source_read_to_its_end_is_closed() -> None:
    for make in (Tracked.manager, Tracked.sync_manager):
        tracked = Tracked()
        assert await read(make(tracked)) == [START, DELTA]
        assert tracked.log == ALL_CLOSED


async def test_a_source_that_raises_is_closed_and_its_error_comes_after_its_chunks() -> None:
    for make in (Tracked.manager, Tracked.sync_manager):
        tracked = Tracked()
        async with open_source(make(tracked, fail=True)) as source:
            chunks = aiter(source)
            assert (await anext(chunks)).value == START
            with pytest.raises(ZeroDivisionError, match="model"):
                await anext(chunks)
        assert tracked.log == ALL_CLOSED


async def test_a_source_abandoned_midway_is_closed() -> None:
    tracked = Tracked()
    async with open_source(tracked.manager()) as chunks:
        async for _ in chunks:
            break
        assert tracked.log == ["entered", "opened"]
    assert tracked.log == ALL_CLOSED


async def test_a_thread_abandoned_midway_closes_its_source_itself() -> None:
    tracked = Tracked()
    async with open_source(tracked.sync_manager(endless=True)) as chunks:
        async for _ in chunks:
            break
    assert [entry for entry in tracked.log if entry != "item"] == ALL_CLOSED
    assert len(tracked.threads) == 1
    assert threading.get_ident() not in tracked.threads


async def test_cancelling_a_waiting_reader_closes_the_source() -> None:
    tracked, waiting = Tracked(), asyncio.Event()

    async def consume() -> None:
        async with open_source(lambda: tracked.manager(hang=True)) as chunks:
            async for _ in chunks:
                waiting.set()

    task = asyncio.create_task(consume())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tracked.log == ALL_CLOSED


async def test_cancelling_does_not_wait_for_a_thread_that_is_stuck() -> None:
    stuck, release, closed = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> Iterator[JsonObject]:
        try:
            yield START
            stuck.set()
            release.wait()
            yield DELTA
        finally:
            closed.set()

    async def consume() -> None:
        async with open_source(blocks) as chunks:
            async for _ in chunks:
                pass

    task = asyncio.create_task(consume())
    await asyncio.to_thread(stuck.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await task
    assert not closed.is_set()
    release.set()
    assert await asyncio.to_thread(closed.wait, 5), "the thread closes its source once it can"


async def test_a_thread_waits_for_its_reader() -> None:
    tracked = Tracked()
    async with open_source(tracked.gen(endless=True)) as chunks:
        seen = 0
        async for _ in chunks:
            seen += 1
            if seen == 1000:
                break
            await asyncio.sleep(0)
        made = tracked.log.count("item") + 1
        # What was taken, what is taken and not seen yet, what waits, and the one in the thread's hands.
        assert seen <= made <= seen + 2 * MAX_WAITING_CHUNKS + 1


async def test_a_thread_waits_for_its_reader_by_bytes_too() -> None:
    made = 0

    def large() -> Iterator[JsonObject]:
        nonlocal made
        for _ in range(40):
            made += 1
            yield {"type": "file", "url": "x" * 700_000}

    async with open_source(large) as chunks:
        async for _ in chunks:
            break
        assert made <= 8


async def test_a_blocking_source_leaves_the_loop_free() -> None:
    gate = threading.Event()

    def waits_for_the_loop() -> Iterator[JsonObject]:
        yield START
        assert gate.wait(10), "the loop was blocked"
        yield DELTA

    got: list[JsonObject] = []
    async with open_source(waits_for_the_loop) as chunks:
        async for chunk in chunks:
            got.append(chunk.value)
            gate.set()
    assert got == [START, DELTA]


async def test_a_thread_sees_the_context_of_its_reader() -> None:
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")
    request_id.set("r1")

    def source() -> Iterator[JsonObject]:
        yield {"type": request_id.get()}

    assert await read(source) == [{"type": "r1"}]


async def test_a_stream_object_is_closed_by_its_own_close() -> None:
    """As the streams of provider SDKs: iterating goes by another object, `close` ends the request."""

    class Stream:
        closed = 0

        async def __aiter__(self) -> AsyncIterator[JsonObject]:
            yield START
            yield DELTA

        async def close(self) -> None:
            self.closed += 1

    stream = Stream()
    async with open_source(stream) as chunks:
        async for _ in chunks:
            break
    assert stream.closed == 1

    class Managed(Stream):
        async def __aenter__(self) -> "Managed":
            return self

        async def __aexit__(self, *_: object) -> None:
            await self.close()

    managed = Managed()
    assert await read(managed) == [START, DELTA]
    assert managed.closed >= 1


async def test_a_failing_close_does_not_hide_the_error_of_the_source() -> None:
    class Stream:
        def __init__(self, *, fail: bool) -> None:
            self._fail = fail

        async def __aiter__(self) -> AsyncIterator[JsonObject]:
            yield START
            if self._fail:
                raise ZeroDivisionError("model")

        async def aclose(self) -> None:
            raise OSError("close")

    with pytest.raises(ZeroDivisionError) as caught:
        await read(Stream(fail=True))
    assert any("OSError('close')" in note for note in caught.value.__notes__)
    with pytest.raises(OSError, match="close"):
        await read(Stream(fail=False))
    abandoned = open_source(Stream(fail=False))
    await anext(aiter(abandoned))
    with pytest.raises(OSError, match="close"):
        await abandoned.aclose()


async def test_the_same_holds_in_a_thread() -> None:
    class Stream:
        def __init__(self, *, fail: bool) -> None:
            self._fail = fail

        def __iter__(self) -> Iterator[JsonObject]:
            yield START
            if self._fail:
                raise ZeroDivisionError("model")

        def close(self) -> None:
            raise OSError("close")

    with pytest.raises(ZeroDivisionError) as caught:
        await read(Stream(fail=True))
    assert any("OSError('close')" in note for note in caught.value.__notes__)
    with pytest.raises(OSError, match="close"):
        await read(Stream(fail=False))


async def test_discarding_closes_a_coroutine_and_touches_nothing_else() -> None:
    """Warnings are errors here, so a coroutine that is never awaited would fail the test."""
    discard_source(returns_agen())
    touched = Tracked()
    discard_source(touched.agen)
    source = touched.agen()
    discard_source(source)
    assert touched.log == []
    assert await read(source) == [START, DELTA]

    class Untouchable(Mapping[str, object]):
        def __getitem__(self, key: str) -> object:
            raise AssertionError

        def __iter__(self) -> Iterator[str]:
            raise AssertionError

        def __len__(self) -> int:
            raise AssertionError

    discard_source(Untouchable())


async def test_closing_without_reading_discards() -> None:
    source = open_source(returns_agen())
    await source.aclose()
    await source.aclose()
