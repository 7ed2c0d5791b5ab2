"""The operations on basins, streams and the account: in this process for their breadth, and as processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from perdure import AppendRecord
from perdure.cli import main
from perdure.cli.targets import Target, Use
from perdure.errors import StreamNotFound
from perdure.sync import S2 as BlockingS2
from tests.cli.terminal import Terminal
from tests.patience import PROCESS_SECONDS
from tests.serve_command import ServeCommand

BASIN = "s2://my-first-basin"
ODD = "a/b c%20d\x1b[31m[bold]"


@pytest.fixture(autouse=True)
def _no_store_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PERDURE_", "S2_")):
            monkeypatch.delenv(name)


class Cli:
    """`perdure` in this process, on a data directory."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """Run it; gives what it printed, and keeps what it said on the standard error."""
        found = main([*arguments, "--data", str(self.data)])
        out, self.told = self._capsys.readouterr()
        assert found == status, self.told
        return out


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path / "data", capsys)


def lines(out: str) -> list[list[str]]:
    return [line.split("\t") for line in out.splitlines()]


def test_basins_are_made_configured_listed_and_deleted(cli: Cli) -> None:
    assert cli("create-basin", BASIN, "--retention-policy", "30d", "--create-stream-on-append") == ""
    assert cli.told == f"created {BASIN}\n"
    cli("create-basin", "my-first-basin", status=1)
    assert "`perdure ensure-basin` and `ensure-stream` take what is there" in cli.told
    cli("ensure-basin", BASIN, "--retention-policy", "30d", "--create-stream-on-append")
    assert cli.told == f"nothing to change about {BASIN}\n"
    cli("ensure-basin", "another-basin", "--stream-cipher", "aes-256-gcm")
    settings = dict(lines(cli("get-basin-config", "another-basin")))
    assert settings["stream-cipher"] == "aes-256-gcm"
    changed = cli(
        *("reconfigure-basin", BASIN, "--create-stream-on-append", "false", "--create-stream-on-read", "true"),
        *("--retention-policy", "default", "--stream-cipher", "aegis-256", "--json"),
    )
    assert json.loads(changed) == {
        "default_stream_config": None,
        "stream_cipher": "aegis-256",
        "create_stream_on_append": False,
        "create_stream_on_read": True,
    }
    assert [line[:2] for line in lines(cli("ls"))] == [["s2://another-basin", "active"], [BASIN, "active"]]
    assert [json.loads(line)["name"] for line in cli("list-basins", "--json", "--limit", "1").splitlines()] == [
        "another-basin"
    ]
    assert cli("list-basins", "--prefix", "my-", "--start-after", "my-first-basin") == ""
    cli("delete-basin", BASIN, "--yes")
    assert [line[0] for line in lines(cli("list-basins"))] == ["s2://another-basin"]
    cli("delete-basin", "not-there-at-all", status=3)
    cli("delete-basin", "not-there-at-all", "--ignore-not-found")


def test_streams_of_any_name_are_made_configured_listed_and_deleted(cli: Cli) -> None:
    cli("create-basin", BASIN)
    uri = f"{BASIN}/{ODD}"
    made = json.loads(cli("create-stream", uri, "--retention-policy", "1h30m", "--json"))
    assert made["name"] == ODD
    assert "\x1b" not in cli.told
    for number in range(3):
        cli("ensure-stream", f"{BASIN}/s/{number}")
    assert [line[0] for line in lines(cli("ls", BASIN))] == [
        f"{BASIN}/a/b c%20d\\x1b[31m[bold]",
        *(f"{BASIN}/s/{number}" for number in range(3)),
    ]
    assert len(lines(cli("ls", f"{BASIN}/s/", "--limit", "2"))) == 2
    assert len(lines(cli("list-streams", BASIN, "--prefix", "s/", "--start-after", "s/0"))) == 2
    config = cli(
        *("reconfigure-stream", uri, "--storage-class", "standard", "--timestamping-mode", "arrival"),
        *("--timestamping-uncapped", "true", "--delete-on-empty-min-age", "1d", "--json"),
    )
    assert json.loads(config) == {
        "storage_class": "standard",
        "retention_policy": {"age": 5400},
        "timestamping": {"mode": "arrival", "uncapped": True},
        "delete_on_empty": {"min_age_secs": 86400},
    }
    cli("reconfigure-stream", uri, "--retention-policy", "infinite", "--storage-class", "default")
    assert dict(lines(cli("get-stream-config", uri))) == {
        "storage-class": "express",
        "retention-policy": "infinite",
        "timestamping-mode": "arrival",
        "timestamping-uncapped": "true",
        "delete-on-empty-min-age": "1d",
    }
    cli("delete-stream", uri)
    cli("get-stream-config", uri, status=3)
    assert "`perdure ls s2://BASIN` shows which streams there are" in cli.told


def test_a_stream_is_fenced_and_trimmed(cli: Cli) -> None:
    cli("create-basin", BASIN, "--create-stream-on-append")
    with BlockingS2.open(cli.data) as s2:
        s2.basin("my-first-basin").stream("x").append([AppendRecord("r")] * 3)
    assert lines(cli("check-tail", f"{BASIN}/x"))[0][0] == "3"
    assert json.loads(cli("fence", f"{BASIN}/x", "mine", "--json"))["tail"]["seq_num"] == 4
    assert "its token is 'mine'" in cli.told
    cli("fence", f"{BASIN}/x", "yours", "--fencing-token", "", status=4)
    assert "the stream's current token is 'mine'" in cli.told
    cli("trim", f"{BASIN}/x", "2", "--match-seq-num", "9", status=4)
    cli("trim", f"{BASIN}/x", "2", "--match-seq-num", "4", "--fencing-token", "mine")
    assert json.loads(cli("check-tail", f"{BASIN}/x", "--json"))["tail"]["seq_num"] == 5


def test_the_secret_of_a_token_goes_alone_to_the_standard_output(cli: Cli) -> None:
    cli("create-basin", BASIN)
    secret = cli(
        *("issue-access-token", "reader-7", "--basins", "=my-first-basin", "--streams", "public/"),
        *("--op-group-perms", "stream=r,basin=rw", "--ops", "list-basins,append", "--expires-in", "30d"),
        "--auto-prefix-streams",
    )
    assert secret.count("\n") == 1
    assert secret.strip() not in cli.told
    assert "issued reader-7, valid until 20" in cli.told
    ((id, _, *scope),) = lines(cli("list-access-tokens"))
    assert id == "reader-7"
    assert scope == ["=my-first-basin", "public/… (put before)", "none", "basin=rw,stream=r,list-basins,append"]
    assert json.loads(cli("list-access-tokens", "--json"))["scope"]["ops"] == ["list-basins", "append"]
    cli("revoke-access-token", "reader-7")
    cli("revoke-access-token", "reader-7", status=3)


def test_usage_and_places_are_told(cli: Cli) -> None:
    cli("create-basin", BASIN, "--create-stream-on-append")
    with BlockingS2.open(cli.data) as s2:
        s2.basin("my-first-basin").stream("x").append([AppendRecord("r")] * 3)
    assert ["active-basins", "active-basins", "", "", "my-first-basin"] in lines(cli("get-account-metrics"))
    ((*what, _, value),) = lines(cli("get-basin-metrics", BASIN, "append-throughput", "--since", "2h"))
    assert what == ["append-throughput", "append-throughput", "bytes"]
    assert float(value) > 0
    assert set(json.loads(cli("get-basin-metrics", BASIN, "--json"))) >= {"storage", "append-ops"}
    assert "values" in json.loads(cli("get-stream-metrics", f"{BASIN}/x", "storage", "--json"))
    assert lines(cli("list-locations")) == lines(cli("get-default-location")) == [["local", "private"]]
    assert json.loads(cli("set-default-location", "local", "--json"))["name"] == "local"
    cli("set-default-location", "elsewhere", status=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["creat-basin"], "perdure: there is no command 'creat-basin'; did you mean create-basin?"),
        (["create-basin"], "perdure create-basin: BASIN is missing"),
        (["create-stream", "my-first-basin/x"], "did you mean s2://my-first-basin/x?"),
        (["delete-stream", BASIN], f"'{BASIN}' names a basin, and a stream is wanted: {BASIN}/STREAM"),
        (["delete-basin", f"{BASIN}/x"], f"names a stream, and a basin is wanted: {BASIN}"),
        (["create-basin", BASIN, "--retention", "7d"], "there is no option --retention; did you mean"),
        (["create-basin", BASIN, "--retention-policy", "7"], "--retention-policy: expected a duration such as 7d"),
        (["create-basin", BASIN, "--retention-policy", "0s"], "cannot be kept for no time at all"),
        (["create-basin", BASIN, "--storage-class", "slow"], '"slow" for --storage-class; choose from: "standard"'),
        (["ls", BASIN, "--limit", "0"], "--limit: expected a number from 1 on, got '0'"),
        (["ls", f"{BASIN}/a", "--prefix", "b"], "are two prefixes; give one of them"),
        (["trim", f"{BASIN}/x", "-1"], "perdure trim: "),
        (["trim", f"{BASIN}/x", "many"], "expected a number from 0 on, got 'many'"),
        (["fence", f"{BASIN}/x", "x" * 37], "fencing token must not exceed 36 bytes"),
        (["issue-access-token", "--op-group-perms", "stream=r"], "give the token's ID, once"),
        (["issue-access-token", "a"], "the token would permit nothing; give --op-group-perms"),
        (["issue-access-token", "a", "--op-group-perms", "streams=r"], "expected GROUP=PERMISSION such as stream=rw"),
        (["issue-access-token", "a", "--ops", "reed"], "'reed' is no operation; they are list-basins"),
        (
            ["issue-access-token", "a", "--ops", "read", "--expires-in", "1d", "--expires-at", "2026-12-01"],
            "--expires-in and --expires-at both say how long",
        ),
        (["get-basin-metrics", BASIN, "sizes"], 'invalid value "sizes" for SET; choose from: "storage"'),
        (["get-account-metrics", "--since", "1d", "--start", "2026-12-01"], "--since and --start are two beginnings"),
        (["set-default-location", "no such place"], "location 'no such place' must be"),
        (["ls"], "is not the data directory of a store"),
        (["check-tail", f"{BASIN}/x"], "or make a store with `perdure create-basin`"),
    ],
)
def test_a_mistake_is_named_and_makes_nothing(cli: Cli, arguments: list[str], message: str) -> None:
    assert cli(*arguments, status=2) == ""
    assert message in cli.told
    assert "Traceback" not in cli.told
    assert not cli.data.exists()


def test_no_store_is_told_with_all_ways_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls"]) == 2
    told = capsys.readouterr().err
    assert "PERDURE_DATA" in told
    assert "PERDURE_ENGINE" in told
    assert "S2_ACCOUNT_ENDPOINT" in told


async def perdure(
    *arguments: str, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str, str]:
    """The command as a process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perdure", *arguments),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PROCESS_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_service_with_access_tokens_is_worked_on_by_the_sdk_s_variables(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("root-secret-5f1d\n")
    async with ServeCommand(tmp_path / "data", "--root-token-file", str(tmp_path / "root")) as server:
        status, _, told = await perdure(
            "create-basin", BASIN, "--endpoint", server.url, "--token-file", str(tmp_path / "root")
        )
        assert (status, told) == (0, f"created {BASIN}\n")
        service = {
            "S2_ACCOUNT_ENDPOINT": server.url,
            "S2_BASIN_ENDPOINT": server.url,
            "S2_ACCESS_TOKEN": "root-secret-5f1d",
        }
        status, secret, _ = await perdure(
            *("issue-access-token", "reader", "--basins", "", "--op-group-perms", "account=r"), environment=service
        )
        assert status == 0
        reader = {**service, "S2_ACCESS_TOKEN": secret.strip()}
        status, out, _ = await perdure("ls", environment=reader)
        assert lines(out)[0][:2] == [BASIN, "active"]
        status, _, told = await perdure("delete-basin", BASIN, environment=reader)
        assert status == 1
        assert told.startswith("perdure delete-basin: ")
        status, _, told = await perdure("ls", environment={**service, "S2_ACCESS_TOKEN": "wrong"})
        assert status == 1
        assert "set S2_ACCESS_TOKEN, or give --token-file" in told
        assert "root-secret" not in told
        status, _, told = await perdure("check-tail", f"{BASIN}/none", environment=service)
        assert (status, told.splitlines()[0]) == (
            3,
            "perdure check-tail: stream `none` in basin `my-first-basin` not found",
        )


def test_who_only_looks_makes_no_tables_in_a_database(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["ls"], ["check-tail", f"{BASIN}/x"], ["delete-basin", BASIN, "--yes"], ["ls"]):
        assert main([*command, "--engine", postgres_url]) == 2
        assert "the database holds no store" in capsys.readouterr().err
    assert main(["create-basin", BASIN, "--engine", postgres_url]) == 0
    assert main(["ls", "--engine", postgres_url]) == 0
    assert capsys.readouterr().out.startswith(BASIN)


def test_a_closed_standard_stream_is_an_empty_one(tmp_path: Path) -> None:
    data = str(filled(tmp_path / "data"))
    for command, closed in ((["ls"], ">&- 2>&-"), (["append", f"{BASIN}/x"], "<&- >&-")):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "perdure", *command, "--data", data],
            stderr=subprocess.PIPE,
            timeout=PROCESS_SECONDS,
            check=False,
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert done.stderr.startswith(b"nothing was appended")


def test_a_file_that_is_not_there_is_named(cli: Cli) -> None:
    filled(cli.data)
    cli("append", f"{BASIN}/x", "--input", "no-such-file", status=1)
    assert cli.told.startswith("perdure append: no-such-file: No such file or directory")


def test_a_remedy_names_the_option(cli: Cli) -> None:
    filled(cli.data)
    cli("read", f"{BASIN}/chats/0", "--seq-num", "9", "--no-follow", "--output", os.devnull, status=1)
    assert "--clamp" in cli.told
    cli("reconfigure-basin", BASIN, "--stream-cipher", "aegis-256")
    cli("create-stream", f"{BASIN}/sealed")
    cli("append", f"{BASIN}/sealed", "--input", __file__, status=1)
    assert "--encryption-key-file" in cli.told


async def test_a_database_is_worked_on_like_a_directory(postgres_url: str) -> None:
    engine = {"PERDURE_ENGINE": postgres_url}
    assert (await perdure("create-basin", BASIN, environment=engine))[0] == 0
    status, out, _ = await perdure("ls", "--json", "--engine", postgres_url)
    assert (status, json.loads(out)["name"]) == (0, "my-first-basin")


async def test_who_only_looks_does_not_sweep(tmp_path: Path) -> None:
    async def sweeps(use: Use) -> bool:
        async with Target(data=str(tmp_path / "data")).open(use):
            return any("sweep" in task.get_name() for task in asyncio.all_tasks())

    assert [await sweeps(use) for use in (Use.MAKES, Use.CHANGES, Use.LOOKS)] == [True, True, False]


def filled(path: Path, streams: int = 3) -> Path:
    with BlockingS2.open(path) as s2:
        basin = s2.basins.ensure("my-first-basin", create_stream_on_append=True)
        for number in range(streams):
            basin.stream(f"chats/{number}").append([AppendRecord("r")])
        basin.stream(ODD).append([AppendRecord("r")])
    return path


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    data = filled(tmp_path / "data")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "perdure", "ls", BASIN, "--data", str(data)],
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=PROCESS_SECONDS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_is_asked_before_something_is_gone(tmp_path: Path) -> None:
    data = str(filled(tmp_path / "data"))
    with Terminal("delete-stream", f"{BASIN}/chats/0", "--data", data) as terminal:
        terminal.wait_for(f"Delete {BASIN}/chats/0 and every record in it? [y/N]")
        terminal.enter("n\n")
        assert terminal.wait() == 2
        assert "nothing was deleted" in terminal.shown
    with Terminal("delete-stream", f"{BASIN}/chats/0", "--data", data) as terminal:
        terminal.wait_for("[y/N]")
        terminal.enter("y\n")
        assert terminal.wait() == 0
    with Terminal("delete-stream", f"{BASIN}/chats/1", "--data", data) as terminal:
        terminal.wait_for("[y/N]")
        terminal.enter("\x03")
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.shown
    with BlockingS2.open(data) as s2:
        s2.basin("my-first-basin").stream("chats/1").check_tail()
        with pytest.raises(StreamNotFound):
            s2.basin("my-first-basin").stream("chats/0").check_tail()


def test_a_terminal_shows_a_table_that_no_name_breaks(tmp_path: Path) -> None:
    data = str(filled(tmp_path / "data"))
    with Terminal("ls", BASIN, "--data", data, columns=60) as terminal:
        assert terminal.wait() == 0
        shown = terminal.shown
    assert "\x1b[31m" not in shown, "the name's own colour"
    plain = terminal.plain.splitlines()
    assert plain[0].split() == ["Stream", "State", "Created"]
    assert max(map(len, plain)) <= 60
    with Terminal("ls", BASIN, "--data", data, NO_COLOR="1") as terminal:
        assert terminal.wait() == 0
    assert f"{BASIN}/a/b c%20d\\x1b[31m[bold]  " in terminal.plain
    assert "\x1b[36m" in shown
    assert "\x1b[36m" not in terminal.shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_who_waits_for_a_service(number: signal.Signals, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        # Whoever runs the tests in the background of a shell script has them ignore SIGINT, and children inherit that.
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        command = [sys.executable, "-m", "perdure", "ls", "--endpoint", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
            try:
                silent.settimeout(PROCESS_SECONDS)
                with silent.accept()[0]:
                    process.send_signal(number)
                    assert process.wait(PROCESS_SECONDS) == status
            finally:
                process.kill()
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_bash_completes_commands_options_and_addresses(tmp_path: Path) -> None:
    """In a shell that somebody types into: bash takes words apart at the colon of an address."""
    data = filled(tmp_path / "data")
    with BlockingS2.open(data) as s2:
        s2.basin("my-first-basin").stream("chats/$(exit)").append([AppendRecord("r")])
    shell = ("bash", "--norc", "--noprofile", "-i")
    with Terminal(program=shell, columns=200, PERDURE_DATA=str(data), PS1="$ ", HISTFILE="") as terminal:
        terminal.enter(
            f'perdure() {{ {sys.executable} -m perdure "$@"; }}; . <(perdure completion bash); echo re""ady\n'
        )
        terminal.wait_for("ready")
        terminal.enter(f"perdure get-stream-conf\ts2://my-f\tch\t2 --da\t{data} --js\t | cat; exit\n")
        terminal.wait()
    plain = terminal.plain
    assert f"perdure get-stream-config {BASIN}/chats/2 " in plain
    assert '{"storage_class":"express"' in plain
    assert "$(exit)" not in plain, "a name that the shell would obey is not offered"
