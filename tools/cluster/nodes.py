"""PostgreSQL nodes under Patroni, as plain processes on loopback: the cluster of `deploy/`, to try out and to mistreat.

What differs from real machines: all on one, one etcd, and passwords that everybody knows.
"""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from .daemon import Daemon, kill_all, signal_all, tree_of, wait_until
from .programs import (
    HOST,
    ProgramFailed,
    ProgramMissing,
    account_environment,
    as_account,
    find_program,
    free_port,
    give_to_account,
    postgres_program,
    run_program,
)

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
DATABASE: Final = "perdure"
ROLE: Final = "perdure"
PASSWORD: Final = "known-to-all"
START_SECONDS: Final = 120.0
FAILOVER_SECONDS: Final = 120.0
"""Far longer than it takes, which `ttl` in `patroni.yml` decides: machines that run tests are busy."""
SQL_SECONDS: Final = 60.0


class Member(Struct, frozen=True):
    """A node as Patroni sees it."""

    name: str
    role: str
    state: str

    @property
    def leads(self) -> bool:
        return self.role == "leader" and self.state == "running"

    @property
    def follows(self) -> bool:
        """Whether it gets everything from the leader; commits wait for those that do."""
        return self.role in ("quorum_standby", "sync_standby") and self.state == "streaming"


class _Members(Struct):
    members: list[Member]


class Node:
    """One PostgreSQL and the Patroni that looks after it."""

    def __init__(self, name: str, directory: Path, etcd: str, configuration: str, data: Path | None = None) -> None:
        self.name = name
        self.data = directory / "data" if data is None else data
        self.port = free_port()
        self.api_port = free_port()
        self.api = f"http://{HOST}:{self.api_port}"
        self._directory = directory
        self._paused: list[int] = []
        directory.mkdir(exist_ok=True)
        give_to_account(directory)
        environment = account_environment(
            PATRONI_NAME=name,
            PATRONI_RESTAPI_LISTEN=f"{HOST}:{self.api_port}",
            PATRONI_RESTAPI_CONNECT_ADDRESS=f"{HOST}:{self.api_port}",
            PATRONI_POSTGRESQL_LISTEN=f"{HOST}:{self.port}",
            PATRONI_POSTGRESQL_CONNECT_ADDRESS=f"{HOST}:{self.port}",
            PATRONI_POSTGRESQL_DATA_DIR=str(self.data),
            PATRONI_POSTGRESQL_PGPASS=str(directory / "pgpass"),
            PATRONI_POSTGRESQL_BIN_DIR=str(Path(postgres_program("postgres")).parent),
            PATRONI_ETCD3_HOSTS=f"'{etcd}'",
            PATRONI_SUPERUSER_USERNAME="postgres",
            PATRONI_SUPERUSER_PASSWORD=PASSWORD,
            PATRONI_REPLICATION_USERNAME="replicator",
            PATRONI_REPLICATION_PASSWORD=PASSWORD,
            HOME=str(directory),
            PYTHONDONTWRITEBYTECODE="1",
        )
        config = directory / "patroni.yml"
        local = f"\npostgresql:\n  parameters:\n    unix_socket_directories: {directory}\n"
        config.write_text(_with(configuration, "\npostgresql:\n", local))
        give_to_account(config)
        # -P: what is in the current directory is not imported.
        command = as_account([sys.executable, "-P", "-m", "patroni", str(config)], dies_by="TERM", reads_all=True)
        self.daemon = Daemon(name, command, directory / "log", environment)

    def start(self) -> None:
        self.daemon.start()

    def pids(self) -> list[int]:
        """Of everything that runs on the node."""
        pids = self.daemon.tree()
        postmaster = self.postmaster()
        return pids + ([pid for pid in tree_of(postmaster) if pid not in pids] if postmaster else [])

    def postmaster(self) -> int | None:
        """The id of PostgreSQL's first process, which Patroni does not keep as a child."""
        try:
            first = (self.data / "postmaster.pid").read_text().split("\n", 1)[0]
            command = Path(f"/proc/{int(first)}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return int(first) if str(self.data).encode() in command else None

    async def is_up(self) -> bool:
        """Whether its Patroni answers that its PostgreSQL runs."""
        try:
            async with httpx.AsyncClient(timeout=2) as http:
                return (await http.get(f"{self.api}/health")).is_success
        except httpx.HTTPError:
            return False

    async def kill(self) -> None:
        """The node is gone from one moment to the next, as when its power fails."""
        kill_all(self.pids())
        await self.daemon.kill()

    def kill_postgres(self) -> None:
        """PostgreSQL crashes; Patroni is there to see it."""
        postmaster = self.postmaster()
        if postmaster is not None:
            kill_all(tree_of(postmaster))

    def pause(self) -> None:
        """The node hangs, with all of its connections open, until `resume`."""
        self._paused = self.pids()
        signal_all(self._paused, signal.SIGSTOP)

    def resume(self) -> None:
        signal_all(self._paused, signal.SIGCONT)
        self._paused = []

    async def stop(self) -> None:
        """Shut down in order."""
        self.resume()
        await self.daemon.stop()
        postmaster = self.postmaster()
        if postmaster is not None:
            kill_all(tree_of(postmaster))

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{PASSWORD}@{HOST}:{self.port}/{database}"

    async def execute(self, sql: str, database: str = "postgres", *, seconds: float = SQL_SECONDS) -> str:
        """Run a statement on this very node; gives its rows, columns separated by tabs. Raises `ProgramFailed`."""
        command = [postgres_program("psql"), "--no-psqlrc", "-AtqX", "-F", "\t", "-v", "ON_ERROR_STOP=1"]
        environment = account_environment(PGCONNECT_TIMEOUT="5")
        command += ["-d", self.url(database), "-c", sql]
        told = await asyncio.to_thread(run_program, command, timeout_seconds=seconds, environment=environment)
        return told.removesuffix("\n")


def _with(configuration: str, old: str, new: str) -> str:
    assert configuration.count(old) == 1, f"patroni.yml has another form than is known here: no {old!r}"
    return configuration.replace(old, new)


class PostgresCluster:
    """Some nodes and their etcd. Entering it waits until the cluster takes writes; leaving it ends everything."""

    def __init__(
        self, directory: Path, nodes: int = 3, *, brisk: bool = False, data: Mapping[str, Path] | None = None
    ) -> None:
        """Everything is kept in `directory`; `data` names other places for the files of some nodes.

        With `brisk`, Patroni looks every second, not every five, so that tests wait less.
        """
        if importlib.util.find_spec("patroni") is None:
            raise ProgramMissing("patroni is not installed: run `make venv`")
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        self.directory = directory
        self._etcd_port = free_port()
        self._etcd = self._etcd_daemon()
        etcd = f"{HOST}:{self._etcd_port}"
        places, configuration = data or {}, (DEPLOY / "patroni.yml").read_text()
        if brisk:
            configuration = _with(configuration, "    loop_wait: 5\n", "    loop_wait: 1\n")
            configuration = _with(configuration, "  initdb:\n", "  initdb:\n    - no-sync\n")
        self.nodes: Sequence[Node] = [
            Node(name, directory / name, etcd, configuration, places.get(name))
            for name in (f"node{n}" for n in range(1, nodes + 1))
        ]

    def _etcd_daemon(self) -> Daemon:
        home = self.directory / "etcd"
        home.mkdir(exist_ok=True)
        home.chmod(0o700)
        give_to_account(home)
        client, peer = f"http://{HOST}:{self._etcd_port}", f"http://{HOST}:{free_port()}"
        command = [find_program("etcd", "etcd-server"), "--name", "one", "--data-dir", str(home)]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"one={peer}", "--logger", "zap", "--log-level", "warn"]
        log = self.directory / "etcd.log"
        return Daemon("etcd", as_account(command, dies_by="TERM"), log, account_environment())

    @property
    def daemons(self) -> list[Daemon]:
        return [self._etcd, *(node.daemon for node in self.nodes)]

    def url(self, database: str = DATABASE) -> str:
        """The address for applications: all nodes, of which the driver takes the primary."""
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        return f"postgresql://{ROLE}:{PASSWORD}@{hosts}/{database}?target_session_attrs=read-write"

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    async def start(self) -> None:
        """Start everything, and wait until writes are replicated. Makes the role and the database if need be."""
        self._etcd.start()
        await wait_until(self._etcd_answers, "etcd answers", START_SECONDS)
        for node in self.nodes:
            node.start()
        try:
            await self.wait_until_whole(START_SECONDS)
        except ProgramFailed as failed:
            said = "\n".join(f"{daemon.name}: {daemon.said()}" for daemon in self.daemons)
            raise ProgramFailed(f"{failed}\n{said}") from failed
        await self._make_database()

    async def _etcd_answers(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=2) as http:
                return (await http.get(f"http://{HOST}:{self._etcd_port}/health")).is_success
        except httpx.HTTPError:
            return False

    async def _make_database(self) -> None:
        leader = await self.wait_for_leader()
        if await leader.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'") != "1":
            await leader.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        if await leader.execute(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'") != "1":
            await leader.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")

    async def create_database(self, name: str) -> str:
        """One more database for applications; gives its address."""
        leader = await self.wait_for_leader()
        await leader.execute(f"CREATE DATABASE {name} OWNER {ROLE}")
        return self.url(name)

    async def members(self) -> list[Member]:
        """The nodes as the first Patroni that answers sees them; none if nobody does."""
        async with httpx.AsyncClient(timeout=2) as http:
            for node in self.nodes:
                try:
                    answer = await http.get(f"{node.api}/cluster")
                except httpx.HTTPError:
                    continue
                if answer.is_success:
                    return msgspec.json.decode(answer.content, type=_Members).members
        return []

    async def leader(self) -> Node | None:
        """The node that leads and knows it: it holds the key in etcd, and its PostgreSQL takes writes."""
        async with httpx.AsyncClient(timeout=2) as http:
            for node in self.nodes:
                try:
                    if (await http.get(f"{node.api}/primary")).is_success:
                        return node
                except httpx.HTTPError:
                    continue
        return None

    async def wait_for_leader(self, *, other_than: Node | None = None, seconds: float = FAILOVER_SECONDS) -> Node:
        """The leader, once there is one. Raises `ProgramFailed`."""
        found: list[Node] = []

        async def there_is() -> bool:
            leader = await self.leader()
            if leader is not None and leader is not other_than:
                found.append(leader)
            return bool(found)

        await wait_until(there_is, "a new node leads", seconds)
        return found[0]

    async def wait_until_whole(self, seconds: float = FAILOVER_SECONDS) -> float:
        """Until one leads and all others are standbys that commits wait for; gives how long it took, in seconds."""

        async def is_whole() -> bool:
            members = await self.members()
            leads, follow = sum(each.leads for each in members), sum(each.follows for each in members)
            # What etcd has of a node that was killed stays there for a while: so each is asked itself as well.
            return leads == 1 and follow == len(self.nodes) - 1 and all([await node.is_up() for node in self.nodes])

        return await wait_until(is_whole, "one node leads and all others follow", seconds)

    async def standbys(self) -> list[Node]:
        """The nodes that do not lead."""
        leader = await self.wait_for_leader()
        return [node for node in self.nodes if node is not leader]

    async def switch_over(self, *, to: Node) -> float:
        """Let another node lead, in order; gives how long it took, in seconds."""
        leader, begun = await self.wait_for_leader(), time.monotonic()
        async with httpx.AsyncClient(timeout=FAILOVER_SECONDS) as http:
            wanted = {"leader": leader.name, "candidate": to.name}
            answer = await http.post(f"{leader.api}/switchover", json=wanted)
        if not answer.is_success:
            raise ProgramFailed(f"the switchover was refused: {answer.status_code} {answer.text}")
        await self.wait_for_leader(other_than=leader)
        return time.monotonic() - begun

    async def heal(self) -> None:
        """Wake what is paused, start what is dead, and wait until the cluster is whole."""
        for node in self.nodes:
            node.resume()
            if not node.daemon.is_running:
                node.start()
        await self.wait_until_whole()

    async def aclose(self, *, in_order: bool = False) -> None:
        """End everything; `in_order` only if the data is to be used again, since it takes some seconds."""
        if in_order:
            await asyncio.gather(*[node.stop() for node in self.nodes])
        for node in self.nodes:
            await node.kill()
        await self._etcd.stop()

    async def __aenter__(self) -> PostgresCluster:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
