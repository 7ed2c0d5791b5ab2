"""`make cluster`: three PostgreSQL nodes under Patroni, three Perdure servers and a proxy, on this machine.

    python -m tools.cluster [--data DIRECTORY]

Everything that was stored is there again at the next start with the same directory. Ctrl-C ends it all.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from .nodes import PostgresCluster
from .programs import ProgramFailed, ProgramMissing
from .servers import PROXIED_SERVERS, PerdureServer, Proxy, running


async def run(directory: Path) -> None:
    over = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, over.set)
    async with AsyncExitStack() as opened:
        print(f"Starting three PostgreSQL nodes under Patroni in {directory} …", flush=True)
        begun = time.monotonic()
        cluster = PostgresCluster(directory)
        opened.push_async_callback(cluster.aclose, in_order=True)
        await cluster.start()
        print(
            f"… {time.monotonic() - begun:.0f} s. Starting {PROXIED_SERVERS} Perdure servers and HAProxy …", flush=True
        )
        names = [f"perdure{number}" for number in range(1, PROXIED_SERVERS + 1)]
        servers = [PerdureServer(name, cluster.url(), directory / f"{name}.log") for name in names]
        await opened.enter_async_context(running(servers))
        proxy = Proxy(servers, directory / "haproxy.log")
        await opened.enter_async_context(proxy)
        leader = await cluster.wait_for_leader()
        print(f"\n  Perdure     {proxy.url}    (one address; HTTP/1.1 and HTTP/2)")
        for server in servers:
            print(f"    {server.daemon.name}  {server.url}    pid {server.daemon.pid}")
        print(f"  PostgreSQL  {cluster.url()}")
        for node in cluster.nodes:
            role = "primary" if node is leader else "standby"
            print(f"    {node.name}     {node.url()}    {role}, Patroni {node.api}, pids {_told(node.pids())}")
        print("\n  Try: kill -9 any of them, and watch your streams go on. Logs are in the directory.")
        print("  Ctrl-C ends everything.", flush=True)
        await over.wait()
        print("\nEnding …", flush=True)


def _told(pids: list[int]) -> str:
    return " ".join(map(str, pids[:2])) + (" …" if len(pids) > 2 else "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make cluster", description="Perdure on replicated PostgreSQL, to try out.")
    parser.add_argument(
        "--data", type=Path, default=Path("perdure-cluster"), help="where everything is kept (default: %(default)s)"
    )
    try:
        asyncio.run(run(parser.parse_args().data.resolve()))
    except (ProgramFailed, ProgramMissing) as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
