"""What operators scrape from `/metrics`: the families, what they count, and that their labels stay few."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from perdure.model.batches import AppendInput
from perdure.model.configs import BasinConfig
from perdure.model.records import AppendRecord
from perdure.server.context import ServerSettings
from perdure.server.endpoints import OPERATIONS
from perdure.server.instruments import OTHER_STATUS, STATUSES, UNROUTED, Instruments
from perdure.server.limits import ServerLimits
from perdure.store.catalogue import BasinChange, BasinEntry
from tests.serve_command import ServeCommand
from tests.server.h2_peer import connected
from tests.server.recording import RECORDS, STREAM, appended, batch, frames, open_append
from tests.server.running import BASIN, Running, Serve

Numbers: TypeAlias = Mapping[tuple[str, frozenset[tuple[str, str]]], float]

REQUESTS = "perdure_request_duration_seconds_count"
LIVE = f"{RECORDS}?tail_offset=0&clamp=true"
EVENTS = {"accept": "text/event-stream"}
INIT = {"basins": [{"name": BASIN, "streams": [{"name": STREAM}]}]}


async def scraped(http: httpx.AsyncClient) -> Numbers:
    """Every sample that is served, by its name and its labels."""
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def number(found: Numbers, name: str, **labels: str) -> float:
    """The value of one sample; 0 if there is none, as for an operation that was never asked for."""
    return found.get((name, frozenset(labels.items())), 0)


@pytest.fixture
async def http(basin: httpx.AsyncClient, server: Running) -> httpx.AsyncClient:
    await server.store.create_stream(BASIN, STREAM)
    return basin


async def test_the_answer_is_prometheus_text(server: Running) -> None:
    answer = await server.http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    zipped = await server.http.get("/metrics", headers={"accept-encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert "perdure_workers 1.0" in zipped.text
    assert (await server.http.post("/metrics")).status_code == 405


async def test_every_family_is_there_from_the_start(server: Running) -> None:
    text = (await server.http.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    own = {family.name for family in Instruments(OPERATIONS).families}
    usual = {
        *("process_cpu_seconds", "process_resident_memory_bytes", "process_virtual_memory_bytes"),
        *("process_start_time_seconds", "process_open_fds", "process_max_fds"),
    }
    assert set(families) == own | usual | {"perdure_build_info"}
    for name, bounds in {  # as s2-lite has them
        "s2_append_permit_latency_seconds": (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        "s2_append_ack_latency_seconds": (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        "s2_append_batch_records": (1, 10, 50, 100, 250, 500, 1000),
        "s2_append_batch_bytes": (512, 1024, 4096, 16384, 65536, 262144, 524288, 1048576),
    }.items():
        buckets = [sample.labels["le"] for sample in families[name].samples if sample.name.endswith("_bucket")]
        assert [float(bucket) for bucket in buckets] == [*bounds, float("inf")]


async def test_nobody_needs_a_token(serve: Serve) -> None:
    async with serve(root_token="the-root") as server:
        assert (await server.http.get("/metrics")).status_code == 200
        assert (await server.http.get("/v1/basins")).status_code == 401
        assert number(await scraped(server.http), REQUESTS, operation="list_basins", status="401") == 1


async def test_requests_are_counted_by_operation_and_status(server: Running, http: httpx.AsyncClient) -> None:
    for _ in range(3):
        await http.get("/v1/locations")
    await http.get(f"{RECORDS}/tail")
    await http.get("/v1/streams/none/records/tail")
    await http.get("/v1/streams/none/records/tail")
    found = await scraped(http)
    assert number(found, REQUESTS, operation="list_locations", status="200") == 3
    assert number(found, REQUESTS, operation="check_tail", status="200") == 1
    assert number(found, REQUESTS, operation="check_tail", status="404") == 2
    assert number(found, "perdure_request_duration_seconds_sum", operation="check_tail", status="404") > 0
    assert number(await scraped(http), REQUESTS, operation="metrics", status="200") == 1


async def test_appends_are_counted(http: httpx.AsyncClient) -> None:
    before = await scraped(http)
    await appended(http, "a", "b")
    await appended(http, "c")
    refused = await http.post(RECORDS, json={"records": [{"body": "x"}], "match_seq_num": 99})
    assert refused.status_code == 412
    found = await scraped(http)
    for name in ("permit_latency_seconds", "ack_latency_seconds", "batch_records", "batch_bytes"):
        assert number(found, f"s2_append_{name}_count") == 2
    size = sum(AppendInput.of([AppendRecord(body)]).metered_bytes for body in ("a", "b", "c"))
    assert number(found, "s2_append_batch_records_sum") == 3
    assert number(found, "s2_append_batch_bytes_sum") == size
    assert number(found, "s2_append_batch_records_bucket", le="1") == 1
    assert number(found, "s2_append_batch_records_bucket", le="10") == 2
    assert number(found, "s2_append_ack_latency_seconds_sum") > 0
    assert number(found, "s2_append_permit_latency_seconds_sum") == 0
    assert number(found, "perdure_append_inflight_bytes") == 0
    # The store's own view: a commit each, since nobody else was there.
    assert number(found, "perdure_commits_total", kind="append") == 2
    assert number(found, "perdure_commits_total", kind="other") > number(before, "perdure_commits_total", kind="append")
    assert number(found, "perdure_commit_failures_total") == 0
    assert number(found, "perdure_commit_batches_sum") == number(found, "perdure_commit_batches_count") == 2
    assert number(found, "perdure_commit_duration_seconds_count") == 2
    assert number(found, "perdure_commit_duration_seconds_sum") > 0
    assert number(found, "perdure_appended_records_total") == 3
    assert number(found, "perdure_appended_bytes_total") == size


async def test_batches_of_a_session_are_counted(server: Running, http: httpx.AsyncClient) -> None:
    async with connected(server.port) as peer:
        session = await open_append(peer)
        assert await session.head() == 200
        assert number(await scraped(http), "perdure_sessions", kind="append") == 1
        await session.send(frames(*[batch("a", "b", "c") for _ in range(20)]), end=True)
        await session.rest()
    found = await scraped(http)
    assert number(found, "s2_append_batch_records_count") == number(found, "s2_append_ack_latency_seconds_count") == 20
    assert number(found, "s2_append_batch_records_sum") == number(found, "perdure_appended_records_total") == 60
    assert number(found, "perdure_sessions_opened_total", kind="append") == 1
    assert number(found, REQUESTS, operation="append", status="200") == 0


async def test_appends_that_wait_for_the_disk_are_in_flight(server: Running, http: httpx.AsyncClient) -> None:
    go_on = threading.Event()
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(existing: BasinEntry | None) -> BasinChange:
        """Keeps the writer, as a disk that is slow does."""
        loop.call_soon_threadsafe(held.set)
        assert go_on.wait(30)
        raise InterruptedError

    holding = asyncio.ensure_future(server.engine.change_basin(BASIN, hold))
    try:
        await held.wait()
        async with server.in_basin() as other:
            sent = asyncio.create_task(appended(other, "x" * 100))
            while number(found := await scraped(http), "perdure_append_inflight_bytes") == 0:
                assert not sent.done()
            assert number(found, "perdure_append_inflight_bytes") == 108
            assert number(found, "s2_append_ack_latency_seconds_count") == 0
            go_on.set()
            await sent
    finally:
        go_on.set()
        await asyncio.gather(holding, return_exceptions=True)
    assert number(await scraped(http), "perdure_append_inflight_bytes") == 0


async def test_open_sessions_and_followers_are_told(server: Running, http: httpx.AsyncClient) -> None:
    async with AsyncExitStack() as stack:
        for fields in (EVENTS, EVENTS, {"content-type": "s2s/proto"}):
            answer = await stack.enter_async_context(http.stream("GET", LIVE, headers=fields))
            assert answer.status_code == 200
        found = await scraped(http)
        assert number(found, "perdure_sessions", kind="sse") == 2
        assert number(found, "perdure_sessions", kind="read") == 1
        assert number(found, "perdure_followers") == 3
    # Their end comes when the server notices that they are gone.
    while number(found := await scraped(http), "perdure_followers"):
        pass
    assert number(found, "perdure_sessions", kind="sse") == number(found, "perdure_sessions", kind="read") == 0
    assert number(found, "perdure_sessions_opened_total", kind="sse") == 2
    assert number(found, "perdure_sessions_opened_total", kind="read") == 1


async def test_refused_sessions_are_counted(serve: Serve) -> None:
    async with serve(ServerSettings(limits=ServerLimits(max_sessions=1))) as server, server.in_basin() as http:
        await server.store.create_basin(BASIN, BasinConfig(create_stream_on_read=True))
        async with http.stream("GET", LIVE, headers=EVENTS):
            assert (await http.get(LIVE, headers=EVENTS)).status_code == 429
            found = await scraped(http)
        assert number(found, "perdure_sessions_refused_total", kind="sse") == 1
        assert number(found, REQUESTS, operation="read", status="429") == 1


async def test_what_clients_send_makes_no_new_labels(http: httpx.AsyncClient) -> None:
    for attempt in range(20):
        await http.get(f"/nowhere/{attempt}")
        await http.request(f"VERB{attempt}", f"/v1/basins/some-{attempt}-basin")
        await http.get(f"/v1/streams/stream-{attempt}/records/tail")
        await http.options(f"/v1/streams/stream-{attempt}")
    found = await scraped(http)
    assert number(found, REQUESTS, operation=UNROUTED, status="404") == 20
    assert number(found, REQUESTS, operation=UNROUTED, status="405") == 20
    labels: dict[str, set[str]] = {}
    for _, pairs in found:
        for name, value in pairs:
            labels.setdefault(name, set()).add(value)
    assert set(labels) == {"operation", "status", "le", "kind", "worker", "version"}
    assert labels["operation"] <= OPERATIONS | {UNROUTED}
    assert labels["status"] <= {*map(str, STATUSES), OTHER_STATUS}
    assert labels["kind"] == {"append", "read", "sse", "wait", "other"}
    assert labels["worker"] == {"1"}


async def test_a_client_that_leaves_has_a_status_of_its_own(server: Running, http: httpx.AsyncClient) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"POST {RECORDS} HTTP/1.1\r\nhost: h\r\ns2-basin: {BASIN}\r\n"
        "content-type: application/json\r\ncontent-length: 100\r\n\r\n{".encode()
    )
    await writer.drain()
    while number(found := await scraped(http), REQUESTS, operation="append", status="499") == 0:
        writer.transport.abort()
    assert number(found, REQUESTS, operation="append", status="499") == 1


# Several workers --------------------------------------------------------------------------------------


@asynccontextmanager
async def two_workers(tmp_path: Path) -> AsyncIterator[ServeCommand]:
    init = tmp_path / "init.json"
    init.write_text(json.dumps(INIT))
    async with ServeCommand(tmp_path / "data", "--workers", "2", "--init-file", str(init)) as server:
        yield server


def is_stopped(pid: int) -> bool:
    """Whether every thread of the process has taken notice of the signal."""
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


@asynccontextmanager
async def answered_by(server: ServeCommand, pid: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connections go to the worker `pid`: all others are stopped for as long as this lasts."""
    others = [other for other in server.worker_pids() if other != pid]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        while not all(map(is_stopped, others)):
            pass
        async with server.client() as http:
            yield http
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


async def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as server:
        one, other = server.worker_pids()
        for pid, times in ((one, 3), (other, 4)):
            async with answered_by(server, pid) as http:
                for _ in range(times):
                    await http.get("/v1/locations")
        for pid in (one, other):
            async with answered_by(server, pid) as http:
                found = await scraped(http)
                assert number(found, REQUESTS, operation="list_locations", status="200") == 7
                assert number(found, "perdure_workers") == 2
                for worker in ("1", "2"):
                    assert number(found, "process_resident_memory_bytes", worker=worker) > 0


async def test_what_was_the_case_in_a_killed_worker_is_so_no_more(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as server, AsyncExitStack() as stack:
        one, other = server.worker_pids()
        for pid, times in ((one, 3), (other, 2)):
            async with answered_by(server, pid):
                http = await stack.enter_async_context(server.client())
                for _ in range(times):
                    await stack.enter_async_context(http.stream("GET", LIVE, headers={**EVENTS, "s2-basin": BASIN}))
        async with server.client() as http:
            found = await scraped(http)
            assert number(found, "perdure_sessions", kind="sse") == number(found, "perdure_followers") == 5
        os.kill(one, signal.SIGKILL)
        await server.wait_for_log("in place of")
        async with server.client() as http:
            found = await scraped(http)
        assert number(found, "perdure_sessions", kind="sse") == number(found, "perdure_followers") == 2
        assert number(found, "perdure_sessions_opened_total", kind="sse") == 5
        assert number(found, "perdure_workers") == 2


async def test_counters_go_on_in_new_workers(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as server:
        for round_number in range(1, 3):
            async with server.client() as http:
                for _ in range(5):
                    await http.get("/v1/locations")
            server.send(signal.SIGHUP)
            await server.wait_for_log("all workers were replaced", times=round_number)
        async with server.client() as http:
            found = await scraped(http)
        assert number(found, REQUESTS, operation="list_locations", status="200") == 10
        assert number(found, "perdure_workers") == 2
        workers = {dict(labels)["worker"] for name, labels in found if name == "process_open_fds"}
        assert workers == {"1", "2"}
        assert await server.stop() == 0
