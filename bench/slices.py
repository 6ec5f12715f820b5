"""CPU of the gateway for 50 symbols' slices every 100 ms, and nothing else: encoding, one atomic write, wake-ups.

    python -m bench.slices [--symbols 50] [--rounds 5] [--no-history]

A real gateway with live books; then the exchange is suspended (SIGSTOP) so that no frame comes, and while every slice
is still `live` the process's own CPU time is read over two seconds. The base is the same gateway's CPU with one
symbol.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from bench import history
from bench.stack import Simex, start_stack
from ipc import keys
from ipc.slices import BookSlice, decode

SPAN_S = 2.0
# fifty symbols from nothing weigh some 2400 (each: settings 21, readings 6, a snapshot 20); of the exchange's 2400 a
# minute 70 % are used: the last books go live when the second minute begins
PATIENCE_S = 150.0


def cpu_s(pid: int) -> float:
    """Time on a core of a process and its threads, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def live_books(url: str, symbols: list[str]) -> int:
    client = redis.Redis.from_url(url)
    found: Any = client.mget([keys.book("main", symbol) for symbol in symbols])
    client.close()
    return sum(1 for raw in found if raw and decode(BookSlice, raw).state == "live")


def share(symbols: list[str], rounds: int) -> list[float]:
    """Percent of one core, a value a round."""
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name, Simex(symbols) as simex:
        plan, supervisor = start_stack(Path(name), symbols, simex.rest, simex.ws)
        try:
            deadline_s = time.monotonic() + PATIENCE_S
            while live_books(plan.redis_url, symbols) < len(symbols):
                if time.monotonic() > deadline_s:
                    raise RuntimeError(f"not every book went live within {PATIENCE_S:.0f} s")
                time.sleep(0.2)
            pid = supervisor.of("gateway").pid
            assert pid is not None
            return [one_round(simex.process.pid, pid, plan.redis_url, symbols) for _ in range(rounds)]
        finally:
            supervisor.close()


def one_round(exchange_pid: int, gateway_pid: int, url: str, symbols: list[str]) -> float:
    os.kill(exchange_pid, signal.SIGSTOP)
    try:
        time.sleep(0.5)  # what was on its way has arrived
        before, started = cpu_s(gateway_pid), time.monotonic()
        time.sleep(SPAN_S)
        used = 100 * (cpu_s(gateway_pid) - before) / (time.monotonic() - started)
        if live_books(url, symbols) < len(symbols):
            raise RuntimeError("slices did not stay live while they were measured")
        return used
    finally:
        os.kill(exchange_pid, signal.SIGCONT)
        time.sleep(2.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-history", action="store_true")
    args = parser.parse_args()
    named = [f"C{number:02d}USDT" for number in range(args.symbols)]
    many, one = share(named, args.rounds), share(named[:1], args.rounds)
    found = {
        "symbols": args.symbols,
        "core_percent": round(statistics.median(many), 2),
        "core_percent_one_symbol": round(statistics.median(one), 2),
        "rounds": args.rounds,
    }
    print(json.dumps(found, indent=2))
    if not args.no_history:
        history.append("slices", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
