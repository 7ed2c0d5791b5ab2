"""What appends and sessions may take of the server: each number of `perdure.server.limits` that is about them."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import UsageError
from perdure.model.batches import AppendAck, AppendInput
from perdure.server.admission import Admission
from perdure.server.context import ServerSettings
from perdure.server.limits import MAX_HEAD_BYTES, MIN_INFLIGHT_APPEND_BYTES, SMALL_BODY_BYTES, ServerLimits
from perdure.server.sessions import RETRY_AFTER_MS
from perdure.store.append_session import Appender
from perdure.store.service import StreamStore
from perdure.wire.compression import Compression, compress
from perdure.wire.protobuf import decode_append_ack
from tests.server.h2_peer import H2Peer, connected
from tests.server.recording import RECORDS, STREAM, acks_and_end, batch, frames, next_batch, open_append, open_read
from tests.server.running import BASIN, CLIENT_TIMEOUT_SECS, Running, Serve, running


def limited(**limits: float) -> ServerSettings:
    return ServerSettings(limits=ServerLimits(**limits))  # type: ignore[arg-type]  # names and types are checked there


async def prepare(server: Running) -> None:
    await server.store.create_basin(BASIN)
    await server.store.create_stream(BASIN, STREAM)


async def refused(peer: H2Peer) -> None:
    late = await open_read(peer, "seq_num=0")
    assert await late.head() == 429
    assert late.fields["retry-after-ms"] == str(RETRY_AFTER_MS)
    assert b'"code":"rate_limited"' in await late.rest()


async def accepted(peer: H2Peer) -> None:
    """Wait until there is a place again, which is as soon as the server has noticed that one became free."""
    while True:
        session = await open_read(peer, "seq_num=0")
        if await session.head() == 200:
            return


@pytest.mark.parametrize("limit", ["max_sessions", "max_sessions_per_connection"])
async def test_sessions_are_bounded(serve: Serve, limit: str) -> None:
    async with serve(limited(**{limit: 3})) as server:
        await prepare(server)
        async with connected(server.port) as peer, connected(server.port) as other:
            reading = await open_read(peer, "seq_num=0")
            await next_batch(reading)
            writing = await open_append(peer)
            await writing.head()
            async with server.in_basin() as http:
                events = {"accept": "text/event-stream"}
                assert (await http.get(f"{RECORDS}?seq_num=0&wait=1", headers=events)).status_code == 200
            third = await open_append(peer)
            assert await third.head() == 200
            await refused(peer)
            if limit == "max_sessions":
                await refused(other)
            else:
                await next_batch(await open_read(other, "seq_num=0"))
            await writing.send(frames(batch("a")), end=True)
            assert len(acks_and_end(await writing.rest())[0]) == 1
            await accepted(peer)
            await refused(peer)
            await reading.reset()
            await accepted(peer)


async def test_a_session_that_was_not_opened_takes_no_place(serve: Serve) -> None:
    async with serve(limited(max_sessions=1)) as server:
        await prepare(server)
        async with connected(server.port) as peer:
            for _ in range(3):
                missing = await open_read(peer, "seq_num=0", "/v1/streams/none/records")
                assert await missing.head() == 404
                missing = await open_append(peer, "/v1/streams/none/records")
                assert await missing.head() == 404
            await next_batch(await open_read(peer, "seq_num=0"))


async def test_reads_that_wait_take_places_and_give_them_back_when_nobody_waits_for_them(serve: Serve) -> None:
    async with serve(limited(max_sessions=2)) as server:
        await prepare(server)
        async with connected(server.port) as peer:
            waiting = [await peer.open("GET", f"{RECORDS}?wait=60", end=True, s2_basin=BASIN) for _ in range(2)]
            while server.app.open_sessions < len(waiting):  # noqa: ASYNC110  # nothing else tells that they wait
                await asyncio.sleep(0.002)
            await refused(peer)
            third = await peer.open("GET", f"{RECORDS}?wait=60", end=True, s2_basin=BASIN)
            assert await third.head() == 429
            await waiting[0].reset()
            await accepted(peer)
            await server.store.append(BASIN, STREAM, batch("x"))
            assert b'"body":"x"' in await waiting[1].rest()


async def test_appends_beyond_the_budget_wait_their_turn(serve: Serve) -> None:
    async with serve(limited(max_inflight_append_bytes=MIN_INFLIGHT_APPEND_BYTES)) as server:
        await prepare(server)
        large = "x" * 700_000
        async with connected(server.port) as peer, server.in_basin() as http:
            session = await open_append(peer)
            sending = asyncio.create_task(session.send(frames(*[batch(large)] * 10), end=True))
            answers = await asyncio.gather(
                *[http.post(RECORDS, json={"records": [{"body": large}]}) for _ in range(10)]
            )
            assert {answer.status_code for answer in answers} == {200}
            acks, terminal = acks_and_end(await session.rest())
            await sending
            assert (len(acks), terminal) == (10, None)


async def test_the_rest_of_a_frame_is_not_waited_for_without_end(serve: Serve) -> None:
    async with serve(limited(stall_timeout_secs=0.2)) as server:
        await prepare(server)
        async with connected(server.port) as peer:
            session = await open_append(peer)
            await session.send(frames(batch("a")))
            await asyncio.sleep(0.4)  # between two frames a session may be silent
            await session.send(frames(batch("b")) + frames(batch("x" * 700_000))[:350_000])
            acks, terminal = acks_and_end(await session.rest())
            assert len(acks) == 2
            assert terminal is not None
            assert (terminal.status, b'"code":"request_timeout"' in terminal.body) == (408, True)


@pytest.mark.parametrize("first_one", ["ends its frame", "leaves", "stalls"])
async def test_large_frames_wait_in_their_clients_until_there_is_room(serve: Serve, first_one: str) -> None:
    """Many sessions, each with almost the whole of a frame, would otherwise hold as much memory as they like."""
    limits = {"max_inflight_append_bytes": MIN_INFLIGHT_APPEND_BYTES}
    if first_one == "stalls":
        limits["stall_timeout_secs"] = 1
    async with serve(limited(**limits)) as server:
        await prepare(server)
        large = frames(batch("x" * 700_000))
        async with connected(server.port) as peer, connected(server.port) as other, server.in_basin() as http:
            first, second, small = await open_append(peer), await open_append(other), await open_append(other)
            await first.send(large[:300_000])
            while server.app.intake.statistics().in_flight_bytes == 0:
                assert (await http.get("/health")).status_code == 200
            sending = asyncio.create_task(second.send(large + large, end=True))
            while server.app.intake.statistics().waiting == 0:
                await small.send(frames(batch("small")))
                assert decode_append_ack((await small.frame())[1:]).start.seq_num >= 0, "small ones pass"
            assert server.app.intake.statistics().in_flight_bytes < MIN_INFLIGHT_APPEND_BYTES
            if first_one == "ends its frame":
                await first.send(large[300_000:], end=True)
                assert len(acks_and_end(await first.rest())[0]) == 1
            elif first_one == "leaves":
                await first.reset()
            else:
                assert b'"code":"request_timeout"' in await first.rest()
            acks, terminal = acks_and_end(await second.rest())
            assert (len(acks), terminal) == (2, None)
            await sending
            while server.app.intake.statistics().in_flight_bytes:
                assert (await http.get("/health")).status_code == 200


def large_append(coding: str | None) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"records": [{"body": "x" * 700_000}]}).encode()
    fields = {"content-type": "application/json"}
    if coding is None:
        return body, fields
    packed = compress(body, Compression(coding))
    assert len(packed) < SMALL_BODY_BYTES
    return packed, {**fields, "content-encoding": coding}


@pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
@pytest.mark.parametrize("leaves", [False, True])
async def test_large_bodies_wait_in_their_clients_until_there_is_room(
    serve: Serve, coding: str | None, leaves: bool
) -> None:
    async with serve(limited(max_inflight_append_bytes=MIN_INFLIGHT_APPEND_BYTES)) as server:
        await prepare(server)
        first, _ = large_append(None)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"host: h\r\ns2-basin: {BASIN}\r\ncontent-type: application/json\r\ncontent-length: {len(first)}\r\n"
        writer.write(f"POST {RECORDS} HTTP/1.1\r\n{head}\r\n".encode() + first[:300_000])
        await writer.drain()
        async with server.in_basin() as http, server.in_basin() as other:
            while server.app.intake.statistics().in_flight_bytes == 0:
                assert (await other.get("/health")).status_code == 200
            body, fields = large_append(coding)
            second = asyncio.create_task(http.post(RECORDS, content=body, headers=fields))
            while server.app.intake.statistics().waiting == 0:
                answer = await other.post(RECORDS, json={"records": [{"body": "small"}]})
                assert answer.status_code == 200, "small ones pass"
            assert not second.done()
            if leaves:
                writer.transport.abort()
            else:
                writer.write(first[300_000:])
                assert b"200 OK" in await reader.readline()
            assert (await second).status_code == 200
            while server.app.intake.statistics().in_flight_bytes:
                assert (await other.get("/health")).status_code == 200
        writer.close()


@pytest.mark.parametrize("kind", ["s2s/proto", "text/event-stream"])
async def test_reader_that_takes_nothing_is_given_up(serve: Serve, kind: str) -> None:
    async with serve(limited(stall_timeout_secs=0.5, max_sessions=1)) as server:
        await prepare(server)
        for _ in range(20):
            await server.store.append(BASIN, STREAM, batch("x" * 1_000_000))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**16)
        fields = {"host": "localhost", "s2-basin": BASIN, "accept": kind}
        if kind == "s2s/proto":
            fields["content-type"] = kind
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"GET {RECORDS}?seq_num=0 HTTP/1.1\r\n{head}\r\n".encode())
        assert b"200 OK" in await reader.readline()
        async with connected(server.port) as peer:
            await accepted(peer)  # the one place is free again
        writer.close()


class HeldAppender:
    """An append session whose acks wait until they are released; the batches are stored at once."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender
        self._held: list[tuple[asyncio.Future[AppendAck], asyncio.Future[AppendAck]]] = []
        self.submitted: asyncio.Semaphore = asyncio.Semaphore(0)
        """Released once for each batch."""
        self.most_in_flight: int = 0

    def submit(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        ack: asyncio.Future[AppendAck] = asyncio.get_running_loop().create_future()
        self._held.append((self._appender.submit(batch), ack))
        self.most_in_flight = max(self.most_in_flight, len(self._held))
        self.submitted.release()
        return ack

    async def release(self) -> None:
        """Let the oldest ack go."""
        stored, ack = self._held.pop(0)
        ack.set_result(await stored)


class HoldingStore(StreamStore):
    """The store, but for its append sessions, of which `appenders` has each."""

    appenders: ClassVar[list[HeldAppender]] = []

    async def open_append_session(self, *args: Any) -> Any:  # the signature is that of the method it stands for
        self.appenders.append(HeldAppender(await super().open_append_session(*args)))
        return self.appenders[-1]


@pytest.mark.parametrize(
    ("limits", "body", "most"),
    [
        ({"max_pending_batches": 3}, "x", 3),
        ({"max_pending_bytes": 1024 * 1024}, "x" * 400_000, 2),
    ],
)
async def test_a_session_has_so_much_in_flight_and_no_more(
    tmp_path: Path, limits: dict[str, float], body: str, most: int
) -> None:
    async with running(tmp_path / "data", limited(**limits), kind=HoldingStore) as server:
        await prepare(server)
        async with connected(server.port) as peer:
            session = await open_append(peer)
            await session.head()
            appender = HoldingStore.appenders.pop()
            sending = asyncio.create_task(session.send(frames(*[batch(body)] * 10), end=True))
            for _ in range(most):
                await appender.submitted.acquire()
            for number in range(10):
                await appender.release()
                assert decode_append_ack((await session.frame())[1:]).start.seq_num == number
                if number + most < 10:
                    await appender.submitted.acquire()  # there is room for one more
            assert await session.rest() == b""
            await sending
            assert appender.most_in_flight == most


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_pending_batches", 0),
        ("max_pending_bytes", 1024 * 1024 - 1),
        ("last_batch_secs", -0.1),
        ("stall_timeout_secs", 0),
        ("drain_secs", float("nan")),
    ],
)
def test_limits_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} must"):
        limited(**{name: value})


async def test_a_connection_is_told_how_many_streams_it_may_have(serve: Serve) -> None:
    async with serve(limited(max_streams_per_connection=123)) as server, connected(server.port) as peer:
        assert await (await peer.open("GET", "/health", end=True)).head() == 200
        assert peer.settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] == 123


async def test_a_session_that_failed_ends_though_its_request_does_not(serve: Serve) -> None:
    async with serve(limited(max_sessions=1)) as server:
        await prepare(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"host: h\r\ns2-basin: {BASIN}\r\ncontent-type: s2s/proto\r\ntransfer-encoding: chunked\r\n"
        writer.write(f"POST {RECORDS} HTTP/1.1\r\n{head}\r\n".encode() + b"4\r\n\0\0\0\0\r\n")
        async with asyncio.timeout(CLIENT_TIMEOUT_SECS):
            answered = await reader.read()  # until the server closes the connection
        assert b"bad_frame" in answered
        async with connected(server.port) as peer:
            await accepted(peer)
        writer.close()


async def test_a_head_without_end_is_given_up(serve: Serve) -> None:
    """The application's own limit, which `test_transport` has, is for heads that come to their end."""
    async with serve(limited(header_timeout_secs=600)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: h\r\n")
        sent = 0
        try:
            while not reader.at_eof() and sent < 4 * MAX_HEAD_BYTES:
                writer.write(b"x-%d: %s\r\n" % (sent, b"x" * 8192))
                await writer.drain()
                sent += 8192
            answered = await reader.read()
        except ConnectionError:
            answered = b""
        assert answered == b"" or b" 431 " in answered or b" 400 " in answered
        async with connected(server.port) as peer:
            assert await (await peer.open("GET", "/health", end=True)).head() == 200
        writer.close()


async def test_every_session_may_have_a_connection_of_its_own(server: Running) -> None:
    """The HTTP server underneath accepts 128 connections at a time unless it is told otherwise."""
    await prepare(server)
    async with AsyncExitStack() as stack:
        for _ in range(150):
            peer = await stack.enter_async_context(connected(server.port))
            await next_batch(await open_read(peer, "seq_num=0"))


class Turns:
    """Appends that ask for room, by number; what they got, in order."""

    def __init__(self, admission: Admission) -> None:
        self.admission: Admission = admission
        self.admitted: list[int] = []

    async def ask(self, number: int, size: int) -> None:
        await self.admission.take(size)
        self.admitted.append(number)


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["ask", "release", "cancel"]), st.integers(1, 25)), max_size=40),
)
def test_admission_is_first_come_first_served_and_bounded(bound: int, steps: list[tuple[str, int]]) -> None:
    async def check() -> None:
        turns = Turns(Admission(bound))
        sizes: list[int] = []
        tasks: list[asyncio.Task[None]] = []
        released: set[int] = set()
        cancelled: set[int] = set()
        for step, value in steps:
            held = [number for number in turns.admitted if number not in released]
            if step == "ask":
                sizes.append(value)
                tasks.append(asyncio.create_task(turns.ask(len(tasks), value)))
            elif step == "release" and held:
                number = held[value % len(held)]
                released.add(number)
                turns.admission.release(sizes[number])
            elif step == "cancel" and tasks:
                number = value % len(tasks)
                if number not in turns.admitted:
                    cancelled.add(number)
                    tasks[number].cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            in_flight = sum(sizes[number] for number in turns.admitted if number not in released)
            statistics = turns.admission.statistics()
            assert statistics.in_flight_bytes == in_flight
            assert in_flight <= bound or len(turns.admitted) - len(released) == 1
            waiting = [n for n in range(len(tasks)) if n not in cancelled and n not in turns.admitted]
            assert statistics.waiting == len(waiting)
            assert turns.admitted == sorted(turns.admitted)
            if waiting:
                assert in_flight, "nobody waits for a budget that nobody uses"
                assert in_flight + sizes[waiting[0]] > bound
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(check())
