"""Workers that die, are replaced and drain, as real processes under real requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from perdure.server.context import ServerSettings
from perdure.server.limits import ServerLimits
from perdure.server.serving import listen
from perdure.server.supervisor import MAX_PAUSE_SECS, StartFailed, Supervisor, WorkerDeadlines, restart_pause
from perdure.server.worker_settings import WorkerSettings
from tests.serve_command import ServeCommand
from tests.server.h2_peer import connected
from tests.server.recording import STREAM, acks_and_end, batch, batches_and_end, frames, open_append, open_read
from tests.server.running import BASIN

CLIENTS = 4


def test_the_pause_before_a_restart_grows_to_a_bound() -> None:
    pauses = [restart_pause(deaths) for deaths in range(2000)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_SECS


async def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", "--workers", "2") as server, server.client() as http:
        before = server.worker_pids()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        await server.wait_for_log("killed by SIGKILL")
        await server.wait_for_log("in place of")
        after = server.worker_pids()
        assert len(after) == 2
        assert before[0] not in after
        assert before[1] in after
        assert (await http.get("/health")).status_code == 200
        assert await server.stop() == 0


async def test_a_worker_whose_store_refuses_to_go_on_is_replaced_by_one_that_opens_it_anew(tmp_path: Path) -> None:
    """A failed sync would do it too, if only disks failed on demand; here the files of large batches cannot be made."""
    large = {"records": [{"body": "x" * 500_000}]}
    async with ServeCommand(tmp_path / "data") as server, server.client() as http:
        http.headers["s2-basin"] = BASIN
        await http.post("/v1/basins", json={"basin": BASIN, "config": {"create_stream_on_append": True}})
        await http.post("/v1/streams/s/records", json={"records": [{"body": "kept"}]})
        (tmp_path / "data" / "segments").rmdir()
        answer = await http.post("/v1/streams/s/records", json=large)
        assert (answer.status_code, answer.json()["code"]) == (500, "storage")
        await server.wait_for_log("in place of")
        answer = await http.post("/v1/streams/s/records", json=large)
        assert answer.status_code == 200
        records = (await http.get("/v1/streams/s/records?seq_num=0&count=1")).json()["records"]
        assert [record["body"] for record in records] == ["kept"]
        assert await server.stop() == 0


async def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", "--workers", "2") as server:
        await server.stop(signal.SIGKILL)  # its log ends only when the last of its workers has ended
    assert sum("has ended" in line for line in server.log) == 2


@asynccontextmanager
async def a_request_that_never_ends(server: ServeCommand) -> AsyncIterator[None]:
    """Its body does not come. It has begun when this is entered, since the server asks for the body."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/streams/s/records HTTP/1.1\r\nhost: h\r\ns2-basin: some-basin\r\n"
        b"content-type: application/json\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n"
    )
    try:
        assert b"100" in await reader.readline()
        yield
    finally:
        writer.transport.abort()


async def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    options = ("--drain-secs", "3600", "--body-timeout-secs", "3600")
    async with ServeCommand(tmp_path / "data", *options) as server, a_request_that_never_ends(server):
        server.send(signal.SIGTERM)
        await server.wait_for_log("drains")
        assert await server.stop() == 1


async def test_what_does_not_end_in_time_is_cut(tmp_path: Path) -> None:
    options = ("--drain-secs", "0.2", "--body-timeout-secs", "3600")
    async with ServeCommand(tmp_path / "data", *options) as server, a_request_that_never_ends(server):
        assert await server.stop() == 0
    assert any("requests still ran after 0.2 s and are cut" in line for line in server.log)


def supervisor_of(tmp_path: Path, listener: socket.socket, drain_secs: float, **deadlines: float) -> Supervisor:
    settings = WorkerSettings(
        name="",
        data=str(tmp_path / "data"),
        listener=listener.fileno(),
        server=ServerSettings(limits=ServerLimits(drain_secs=drain_secs)),
    )
    return Supervisor(listener, settings, workers=1, deadlines=WorkerDeadlines(**deadlines))


def children() -> set[int]:
    pid = os.getpid()
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def test_a_worker_that_does_not_begin_to_serve_is_given_up(tmp_path: Path) -> None:
    before = children()
    with listen("127.0.0.1", 0) as listener:
        # No interpreter starts within a millisecond.
        supervisor = supervisor_of(tmp_path, listener, drain_secs=1, start_secs=0.001)
        with pytest.raises(StartFailed, match=r"did not begin to serve within 0\.001 s"):
            await supervisor.run(lambda: pytest.fail("it serves"))
    assert children() == before


async def test_a_worker_that_does_not_end_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = children()
    ready = asyncio.Event()
    with listen("127.0.0.1", 0) as listener:
        supervisor = supervisor_of(tmp_path, listener, drain_secs=0, kill_after_secs=0.1)
        running = asyncio.create_task(supervisor.run(ready.set))
        await ready.wait()
        (worker,) = children() - before
        os.kill(worker, signal.SIGSTOP)  # so it does not hear that it has to end
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 1
    assert children() == before
    assert f"the worker process {worker} did not end in time and is killed" in caplog.text


async def test_no_worker_is_left_before_all_new_ones_serve(tmp_path: Path) -> None:
    """So a client that leaves moves once, and not from worker to worker as they are replaced."""
    async with ServeCommand(tmp_path / "data", "--workers", "3") as server:
        server.send(signal.SIGHUP)
        await server.wait_for_log("all workers were replaced")
        assert await server.stop() == 0
    told = [line for line in server.log if " serves" in line or "was replaced" in line]
    assert [" serves" in line for line in told] == [True] * 6 + [False] * 3


async def test_replacing_the_workers_loses_no_append(tmp_path: Path) -> None:
    init = tmp_path / "init.json"
    init.write_text(json.dumps({"basins": [{"name": BASIN, "config": {"create_stream_on_append": True}}]}))
    async with ServeCommand(tmp_path / "data", "--workers", "2", "--init-file", str(init)) as server:
        before = set(server.worker_pids())
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            counts = [tasks.create_task(_append_until(over, server, f"s{number}")) for number in range(CLIENTS)]
            for round_number in (1, 2):
                server.send(signal.SIGHUP)
                await server.wait_for_log("all workers were replaced", times=round_number)
            over.set()
        assert before.isdisjoint(server.worker_pids())
        async with server.client() as http:
            for number, count in enumerate(counts):
                tail = await http.get(f"/v1/streams/s{number}/records/tail", headers={"s2-basin": BASIN})
                assert tail.json()["tail"]["seq_num"] == count.result() > 0
        assert await server.stop() == 0


async def _append_until(over: asyncio.Event, server: ServeCommand, stream: str) -> int:
    """Append one record after the other, each on a connection of its own; every one must be acked. Gives how many."""
    count = 0
    while not over.is_set():
        async with server.client() as http:
            answer = await http.post(
                f"/v1/streams/{stream}/records", json={"records": [{"body": "x"}]}, headers={"s2-basin": BASIN}
            )
            assert answer.status_code == 200, answer.text
            assert answer.json()["start"]["seq_num"] == count
            count += 1
    return count


async def test_clients_with_open_connections_change_over_to_the_new_workers(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server, server.client() as http:
        server.send(signal.SIGHUP)
        await server.wait_for_log("serves", times=2)
        done = asyncio.create_task(server.wait_for_log("all workers were replaced"))
        while not done.done():
            try:
                assert (await http.get("/health")).status_code == 200
            except (httpx.RemoteProtocolError, httpx.ReadError):
                continue  # an idle connection that is closed at this moment: any client asks again
        await done


async def test_live_readers_are_told_to_go_when_the_server_stops(tmp_path: Path) -> None:
    init = tmp_path / "init.json"
    init.write_text(json.dumps({"basins": [{"name": BASIN, "streams": [{"name": "s"}]}]}))
    options = ("--init-file", str(init), "--drain-secs", "3600")
    async with ServeCommand(tmp_path / "data", *options) as server, server.client() as http:
        fields = {"s2-basin": BASIN, "accept": "text/event-stream"}
        async with http.stream("GET", "/v1/streams/s/records?tail_offset=0&clamp=true", headers=fields) as answer:
            assert answer.status_code == 200
            server.send(signal.SIGTERM)
            said = "".join([text async for text in answer.aiter_text()])
        assert "server_draining" in said
        assert await server.wait() == 0


async def test_sessions_are_heard_out_before_their_connection_ends(tmp_path: Path) -> None:
    """What closes a connection of HTTP/2 costs clients like this one everything that they read together with it."""
    init = tmp_path / "init.json"
    init.write_text(json.dumps({"basins": [{"name": BASIN, "streams": [{"name": STREAM}]}]}))
    async with ServeCommand(tmp_path / "data", "--init-file", str(init)) as server:
        async with connected(int(server.url.rpartition(":")[2])) as peer:
            reading = await open_read(peer, "seq_num=0&clamp=true")
            await reading.frame()
            writing = [await open_append(peer) for _ in range(50)]
            for session in writing:
                await session.send(frames(batch("x")))
                await session.frame()
            server.send(signal.SIGTERM)
            ends = [acks_and_end(await session.rest())[1] for session in writing]
            ends.append(batches_and_end(await reading.rest())[1])
            assert all(end is not None and b"server_draining" in end.body for end in ends)
        assert await server.wait() == 0


async def test_a_private_store_is_not_replaced(tmp_path: Path) -> None:
    async with ServeCommand(":memory:") as server:
        before = server.worker_pids()
        server.send(signal.SIGHUP)
        await server.wait_for_log("SIGHUP is ignored")
        assert server.worker_pids() == before
