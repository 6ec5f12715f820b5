"""Intent called in a brain -> order bytes at the exchange's socket, against python-binance's bare call in one process.

    python -m bench.order_path [--rounds 4] [--orders 400] [--no-history]

Ours is the whole way: strategy, runner, checkpoint and outbox (committed), Unix socket, gateway, checks, journal
(committed), signature, kept-alive connection; two processes, market data live. Theirs is `futures_create_order`.
One clock (CLOCK_BOOTTIME) stamps the call and the arrival at the same relay; rounds alternate. Needs
`bench/peers.sh python-binance`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import httpx

from bench import history
from bench.stack import Simex, start_stack
from gateway.shell.journal_log import look

HERE = Path(__file__).resolve().parent
PEER = HERE / ".peers" / "python-binance" / "bin" / "python"


def ready_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    out: IO[str] | None = process.stdout
    assert out is not None
    line: dict[str, Any] = json.loads(out.readline())
    return line


def us(stamps: dict[str, int], called: dict[str, int]) -> list[float]:
    """Microseconds from call to arrival; the first tenth of a round is warm-up."""
    both = [(stamps[name] - at) / 1000 for name, at in called.items() if name in stamps]
    return both[len(both) // 10 :]


class Ours:
    """A gateway under the supervisor, its REST going through the relay."""

    def __init__(self, folder: Path, rest: str, ws: str) -> None:
        limits = {"orders_per_s": 1000, "orders_burst": 1000}
        self.plan, self.supervisor = start_stack(folder, ["BTCUSDT"], rest, ws, limits=limits)
        self._folder = folder
        self._round = 0

    def round(self, orders: int) -> dict[str, int]:
        """{client order id: when `place` was called} of one round: a fresh brain process and checkpoint each."""
        self._round += 1
        socket = str(self.plan.sockets["main"])
        state = self._folder / f"brain-{self._round}"
        command = [sys.executable, "-m", "bench.brain_worker", socket, self.plan.redis_url, str(state), str(orders)]
        done = subprocess.run(command, stdout=sys.stderr, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"the brain ended with {done.returncode}: its log is above")
        journal = look(self.plan.state_dir / "main.journal.sqlite")
        rows = journal.execute("SELECT brain || '/' || run || '/' || seq, client_order_id FROM orders").fetchall()
        journal.close()
        called: dict[str, int] = json.loads((state / "called.json").read_text())
        names = dict(rows)
        return {names[intent]: at_ns for intent, at_ns in called.items() if intent in names}


def measure(rounds: int, orders: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as name, Simex(["BTCUSDT"]) as simex:
        relay = subprocess.Popen([sys.executable, "-m", "bench.relay", simex.rest], stdout=subprocess.PIPE, text=True)
        rest = ready_line(relay)["rest"]
        ours = Ours(Path(name), rest, simex.ws)
        try:
            return compare(ours, rest, rounds, orders)
        finally:
            ours.supervisor.close()
            relay.terminate()
            relay.wait(10)


def compare(ours: Ours, rest: str, rounds: int, orders: int) -> dict[str, Any]:
    mine: list[list[float]] = []
    theirs: list[list[float]] = []
    for _ in range(rounds):
        called = ours.round(orders)
        mine.append(us(httpx.get(f"{rest}/bench/stamps").json(), called))
        command = [str(PEER), str(HERE / "peers" / "python_binance_orders.py"), rest, str(orders)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        theirs.append(us(httpx.get(f"{rest}/bench/stamps").json(), json.loads(done.stdout)))
    return {"brainstem": figures(mine), "python-binance": figures(theirs), "orders": orders, "rounds": rounds}


def figures(rounds: list[list[float]]) -> dict[str, float]:
    """Medians over the rounds of each round's p50 and p99, in microseconds."""
    p50 = [statistics.median(values) for values in rounds]
    p99 = [sorted(values)[int(len(values) * 0.99)] for values in rounds]
    return {"p50_us": round(statistics.median(p50), 1), "p99_us": round(statistics.median(p99), 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--orders", type=int, default=400)
    parser.add_argument("--no-history", action="store_true")
    args = parser.parse_args()
    if not PEER.exists():
        print("python-binance is not there; make it with: sh bench/peers.sh python-binance", file=sys.stderr)
        return 2
    found = measure(args.rounds, args.orders)
    found["ratio_p50"] = round(found["brainstem"]["p50_us"] / found["python-binance"]["p50_us"], 3)
    print(json.dumps(found, indent=2))
    if not args.no_history:
        history.append("order_path", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
