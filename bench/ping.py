"""`ping` over the gateway's socket against a bare echo on the same kind of loop.

    python -m bench.ping [--rounds 5] [--pings 4000] [--no-history]

The echo is a uvloop protocol in a process of its own that sends every line back; both are asked by the same blocking
client code with the same bytes, rounds alternating. The gateway is a real one with its market live. Client, echo and
gateway share one core and everything else has the others: left alone, the kernel puts the idle echo beside its client
and the busy gateway across from it, and two wake-ups across cores (some 14 us each here) would be the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import history
from bench.stack import Simex, start_stack
from scripts.supervisor import Supervisor

LINE = b'{"op":"ping","id":7}\n'


class Echo(asyncio.Protocol):
    """What came goes back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def serve_echo(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Echo, path)
    print(json.dumps({"ready": True}), flush=True)
    await server.serve_forever()


def round_trips(sock: socket.socket, count: int) -> list[float]:
    """Microseconds of each; the first tenth is warm-up."""
    taken = []
    for _ in range(count):
        started = time.perf_counter_ns()
        sock.sendall(LINE)
        data = sock.recv(65_536)
        while not data.endswith(b"\n"):
            data += sock.recv(65_536)
        taken.append((time.perf_counter_ns() - started) / 1000)
    return taken[count // 10 :]


def share_a_core(supervisor: Supervisor, echo_pid: int, simex_pid: int) -> None:
    """This process, the echo and the gateway on the first core; Redis and the exchange on the rest."""
    first, *rest = sorted(os.sched_getaffinity(0))
    gateway_pid, redis_pid = supervisor.of("gateway").pid, supervisor.of("redis").pid
    assert gateway_pid is not None
    assert redis_pid is not None
    for pid in (0, echo_pid, gateway_pid):
        os.sched_setaffinity(pid, {first})
    for pid in (redis_pid, simex_pid):
        os.sched_setaffinity(pid, rest or {first})


def connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    return sock


def measure(rounds: int, pings: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name, Simex(["BTCUSDT"]) as simex:
        folder = Path(name)
        path = str(folder / "echo.sock")
        echo = subprocess.Popen([sys.executable, "-m", "bench.ping", "--echo", path], stdout=subprocess.PIPE)
        assert echo.stdout is not None
        echo.stdout.readline()
        plan, supervisor = start_stack(folder, ["BTCUSDT"], simex.rest, simex.ws)
        try:
            share_a_core(supervisor, echo.pid, simex.process.pid)
            ours, bare = connect(str(plan.sockets["main"])), connect(path)
            got: dict[str, list[float]] = {"gateway": [], "echo": []}
            for _ in range(rounds):
                got["gateway"].append(statistics.median(round_trips(ours, pings)))
                got["echo"].append(statistics.median(round_trips(bare, pings)))
            ours.close()
            bare.close()
        finally:
            supervisor.close()
            echo.terminate()
            echo.wait(5)
            echo.stdout.close()
    p50 = {name: round(statistics.median(values), 2) for name, values in got.items()}
    return {"p50_us": p50, "ratio": round(p50["gateway"] / p50["echo"], 3), "rounds": rounds, "pings": pings}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pings", type=int, default=4000)
    parser.add_argument("--no-history", action="store_true")
    parser.add_argument("--echo", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.echo:
        uvloop.run(serve_echo(args.echo))
        return 0
    found = measure(args.rounds, args.pings)
    print(json.dumps(found, indent=2))
    if not args.no_history:
        history.append("ping", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
