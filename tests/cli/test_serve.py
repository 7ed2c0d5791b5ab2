"""`perdure serve` as a process: what it says, refuses and leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest

from perdure import S2, AppendRecord
from perdure.server.self_signed import make_certificate
from perdure.store.service import StreamStore
from perdure.store.sqlite import SqliteEngine
from tests.patience import PATIENCE_SECONDS
from tests.serve_command import ServeCommand, run_to_end

SECRET = "root-secret-5f1d"


def shown_by_the_system(pid: int) -> str:
    """The arguments and the environment of a process, which others may be able to read."""
    return "".join(Path(f"/proc/{pid}/{name}").read_bytes().decode() for name in ("cmdline", "environ"))


async def test_it_tells_how_to_reach_it_and_is_healthy(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server, server.client() as http:
        assert (await http.get("/health")).text == "OK"
        assert str(tmp_path / "data") in server.banner
        assert "workers         1" in server.banner
        assert "no root token is set" in server.banner
        assert f'export S2_ACCOUNT_ENDPOINT="{server.url}"' in server.banner
        assert f'export S2_BASIN_ENDPOINT="{server.url}"' in server.banner
        assert "export S2_ACCESS_TOKEN=" in server.banner


async def test_it_serves_several_locations(tmp_path: Path) -> None:
    at_home, elsewhere = f"home={tmp_path / 'one'}", f"eu:two={tmp_path / 'two'}"
    async with ServeCommand(None, "--location", at_home, "--location", elsewhere, "--workers", "2") as server:
        assert f"location        home: {tmp_path / 'one'} (home)" in server.banner
        assert f"location        eu:two: {tmp_path / 'two'}\n" in server.banner
        async with S2(access_token="any", endpoints=server.url) as s2:
            assert [location.name for location in await s2.locations.list()] == ["home", "eu:two"]
            made = await s2.basins.create("basin-in-two", location="eu:two", create_stream_on_append=True)
            await made.stream("s").append([AppendRecord("x")])
            await s2.locations.set_default("eu:two")
            await s2.basins.create("basin-by-default")
            async for basin in s2.basins.list_all():
                assert basin.location == "eu:two"
    async with S2.open(tmp_path / "two") as alone:
        assert [basin.name async for basin in alone.basins.list_all()] == ["basin-by-default", "basin-in-two"]
        assert (await alone.basin("basin-in-two").stream("s").check_tail()).seq_num == 1


async def test_files_of_the_current_directory_are_not_taken_for_modules(tmp_path: Path) -> None:
    (tmp_path / "secrets.py").write_text("raise SystemExit('a file of the user was imported')")
    async with ServeCommand("data", cwd=tmp_path) as server, server.client() as http:
        assert (await http.get("/health")).status_code == 200
    assert (tmp_path / "data").is_dir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    async with ServeCommand(tmp_path / "data", "--workers", "2") as server:
        assert await server.stop(number) == 0
    assert sum("has ended" in line for line in server.log) == 2


async def test_a_private_store_takes_one_worker() -> None:
    async with ServeCommand(":memory:") as server, server.client() as http:
        assert (await http.get("/health")).status_code == 200
    status, said = await run_to_end("--data", ":memory:", "--workers", "2", "--port", "0")
    assert status == 2
    assert "a private store of its own" in said


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = await run_to_end("--data", str(tmp_path / "data"), "--port", port)
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "--port" in said


async def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, said = await run_to_end("--data", str(tmp_path / "file"), "--port", "0")
    assert status == 1
    assert "perdure serve: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_public_address_needs_a_root_token(tmp_path: Path, host: str) -> None:
    status, said = await run_to_end("--data", str(tmp_path / "data"), "--host", host, "--port", "0")
    assert status == 2
    assert "PERDURE_ROOT_TOKEN" in said
    assert "--insecure" in said


async def test_a_public_address_is_served_when_told_so(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", "--host", "0.0.0.0", "--insecure") as server, server.client() as http:
        assert (await http.get("/health")).status_code == 200


async def test_the_root_token_of_a_file_opens_the_server_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    options = ("--root-token-file", str(file), "--host", "0.0.0.0", "--log-level", "debug")
    async with ServeCommand(tmp_path / "data", *options) as server, server.client() as http:
        for pid in (server.process.pid, *server.worker_pids()):
            assert SECRET not in shown_by_the_system(pid)
        path = "/v1/streams/any/records/tail"
        assert (await http.get(path, headers={"s2-basin": "some-basin"})).status_code == 401
        root = {"s2-basin": "some-basin", "authorization": f"Bearer {SECRET}"}
        assert (await http.get(path, headers=root)).status_code == 404
    assert SECRET not in server.banner + "".join(server.log)
    assert f"$(cat {file})" in server.banner


async def test_a_replacement_of_the_workers_reads_the_root_token_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET)
    options = ("--root-token-file", str(file), "--workers", "2")
    async with ServeCommand(tmp_path / "data", *options) as server, server.client() as http:

        async def status(secret: str) -> int:
            fields = {"authorization": f"Bearer {secret}", "connection": "close"}
            return (await http.get("/v1/basins", headers=fields)).status_code

        file.write_text("another-" + SECRET)
        assert [await status(SECRET), await status("another-" + SECRET)] == [200, 401], "nobody has said so yet"
        server.send(signal.SIGHUP)
        await server.wait_for_log("all workers were replaced")
        assert [await status(SECRET), await status("another-" + SECRET)] == [401, 200]
        for worker in server.worker_pids():
            os.kill(worker, signal.SIGKILL)
        await server.wait_for_log("in place of", times=2)
        assert [await status(SECRET), await status("another-" + SECRET)] == [401, 200], "so has who starts later"
        for useless in ("two words", ""):
            file.write_text(useless)
            server.send(signal.SIGHUP)
        file.unlink()
        server.send(signal.SIGHUP)
        await server.wait_for_log("cannot read the root token")
        assert await status("another-" + SECRET) == 200, "a server does not become open by a mistake"
    assert SECRET not in server.banner + "".join(server.log)


async def test_the_root_token_of_the_environment_stays_with_the_supervisor(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", PERDURE_ROOT_TOKEN=SECRET) as server, server.client() as http:
        (worker,) = server.worker_pids()
        assert SECRET not in shown_by_the_system(worker)
        answer = await http.get("/v1/streams/any/records/tail", headers={"s2-basin": "some-basin"})
        assert answer.status_code == 401


async def test_a_root_token_that_cannot_be_sent_is_refused_without_showing_it(tmp_path: Path) -> None:
    status, said = await run_to_end("--data", str(tmp_path / "data"), PERDURE_ROOT_TOKEN="not a token")
    assert status == 2
    assert "PERDURE_ROOT_TOKEN" in said
    assert "not a token" not in said


async def test_an_init_file_may_be_applied_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "init.json"
    file.write_text(
        json.dumps(
            {
                "basins": [
                    {
                        "name": "first-basin",
                        "config": {"default_stream_config": {"retention_policy": "7d"}},
                        "streams": [{"name": "events", "config": {"retention_policy": "infinite"}}],
                    }
                ]
            }
        )
    )
    data = tmp_path / "data"
    async with ServeCommand(data, "--init-file", str(file), "--workers", "2") as server:
        await server.wait_for_log("2 created or changed, 0 as they were")
    async with ServeCommand(data, PERDURE_INIT_FILE=str(file)) as server:
        await server.wait_for_log("0 created or changed, 2 as they were")
    engine = await SqliteEngine.open(data)
    try:
        (stream,) = (await StreamStore(engine).list_streams("first-basin")).items
        assert stream.name == "events"
    finally:
        await engine.aclose()


async def test_a_replacement_of_the_workers_applies_the_init_file_as_it_is_by_then(tmp_path: Path) -> None:
    file = tmp_path / "init.json"

    def declare(*streams: str) -> None:
        file.write_text(json.dumps({"basins": [{"name": "my-basin", "streams": [{"name": name} for name in streams]}]}))

    declare("old")
    options = ("--init-file", str(file), "--workers", "2")
    async with ServeCommand(tmp_path / "data", *options) as server, server.client() as http:

        async def streams() -> list[str]:
            answer = await http.get("/v1/streams", headers={"s2-basin": "my-basin", "connection": "close"})
            return [stream["name"] for stream in answer.json()["streams"]]

        assert await streams() == ["old"]
        declare("new")
        server.send(signal.SIGHUP)
        await server.wait_for_log("all workers were replaced")
        assert await streams() == ["new", "old"], "what the file does not name stays"
        before = server.worker_pids()
        file.write_text('{"basins": [{"name": "my-basin", "colour": 1}]}')
        server.send(signal.SIGHUP)
        await server.wait_for_log("`$.basins[0]`")
        assert server.worker_pids() == before
        assert await streams() == ["new", "old"]
        declare("newest")
        server.send(signal.SIGHUP)
        await server.wait_for_log("all workers were replaced", times=2)
        assert await streams() == ["new", "newest", "old"]
    applied = [line for line in server.log if "the init file was applied" in line]
    assert len(applied) == 3, "by one worker of each generation"


async def test_a_mistake_in_the_init_file_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "init.json"
    file.write_text('{"basins": [{"name": "my-basin", "colour": 1}]}')
    status, said = await run_to_end("--data", str(tmp_path / "data"), "--port", "0", "--init-file", str(file))
    assert status == 2
    assert "`$.basins[0]`" in said
    assert not (tmp_path / "data").exists()


async def test_json_log_lines_are_objects(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", "--log-format", "json") as server:
        await server.stop()
    lines = [json.loads(line) for line in server.log]
    assert {line["logger"] for line in lines} >= {"perdure.server.supervisor", "perdure.server.worker"}
    assert all({"time", "level", "logger", "pid", "message"} <= line.keys() for line in lines)


async def test_a_failure_to_start_is_an_object_too(tmp_path: Path) -> None:
    options = ("--log-format", "json", "--port", "0", "--tls-cert", "/none", "--tls-key", "/none")
    status, said = await run_to_end("--data", str(tmp_path / "data"), *options)
    assert status == 2
    (line,) = map(json.loads, said.splitlines())
    assert line["level"] == "critical"
    assert "cannot read /none" in line["message"]


async def test_a_replacement_of_the_workers_reads_the_certificate_anew(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"

    def renew() -> bytes:
        for file, content in zip((certificate, key), make_certificate(("localhost",)), strict=True):
            file.write_bytes(content)
        return ssl.PEM_cert_to_DER_cert(certificate.read_text())

    first = renew()
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    async with ServeCommand(tmp_path / "data", *options) as server:

        async def shown() -> bytes | None:
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            port = int(server.url.rpartition(":")[2])
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
            writer.transport.abort()
            return tls.getpeercert(binary_form=True)

        assert await shown() == first
        second = renew()
        server.send(signal.SIGHUP)
        await server.wait_for_log("all workers were replaced")
        assert await shown() == second
        key.write_text("not a key")
        server.send(signal.SIGHUP)
        await server.wait_for_log("the workers stay as they are")
        assert await shown() == second


async def test_the_self_signed_certificate_serves_both_versions_of_http(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", "--tls-self") as server:
        certificate = shown_certificate(server)
        assert certificate.parent == tmp_path / "data" / "tls"
        assert certificate.with_name("key.pem").stat().st_mode & 0o777 == 0o600
        assert certificate.parent.stat().st_mode & 0o777 == 0o700
        assert server.url.startswith("https://127.0.0.1:")
        for protocol in ("h2", "http/1.1"):
            for name in ("127.0.0.1", "localhost", "some-basin.b.localhost"):
                assert await agreed_protocol(server, certificate, name, protocol) == protocol


async def test_clients_that_trust_the_self_signed_certificate_trust_the_next_server(tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    async with ServeCommand(tmp_path / "data", "--tls-self") as server:
        trusted.write_bytes(shown_certificate(server).read_bytes())
        await server.stop(signal.SIGKILL)
    async with ServeCommand(tmp_path / "data", "--tls-self") as server:
        assert await agreed_protocol(server, trusted, "localhost", "h2") == "h2"
        server.send(signal.SIGHUP)
        await server.wait_for_log("all workers were replaced")
        assert await agreed_protocol(server, trusted, "localhost", "h2") == "h2"


async def test_the_key_of_a_private_store_goes_with_it(tmp_path: Path) -> None:
    async with ServeCommand(":memory:", "--tls-self") as server:
        certificate = shown_certificate(server)
        assert await agreed_protocol(server, certificate, "localhost", "h2") == "h2"
    assert not certificate.parent.exists()


def shown_certificate(server: ServeCommand) -> Path:
    """The file that the banner names."""
    found = re.search(r"^ *certificate +(.+), self-signed", server.banner, re.MULTILINE)
    assert found is not None
    return Path(found[1])


async def agreed_protocol(server: ServeCommand, trusted: Path, name: str, protocol: str) -> str | None:
    """What a client that trusts nobody else agrees on with the server, whom it knows as `name`."""
    trust = ssl.create_default_context(cafile=str(trusted))
    trust.set_alpn_protocols([protocol])
    port = int(server.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=name)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return tls.selected_alpn_protocol()


async def test_missing_packages_are_named_with_the_way_to_install_them() -> None:
    program = "import sys; sys.modules['uvloop'] = None; from perdure.cli import main; sys.exit(main(['serve']))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode() == "perdure serve: this command needs uvloop; install it with: pip install 'perdure[server]'\n"
