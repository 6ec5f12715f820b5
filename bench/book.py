"""Raw frame -> exact book with continuity check -> top 20 read, after every message: ours against ccxt's.

    python -m bench.book [--rounds 5] [--data FOLDER] [--no-history]

Rounds alternate (ours, theirs, theirs, ours, ...) in one run; figures are medians of CPU time, which other work on the
machine disturbs least. Both books must end with the
same best 20 levels. ccxt's environment is made by `bench/peers.sh ccxt`. Reads the recordings of `depth_binance`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import history
from gateway.core.book_keeper import BookKeeper
from gateway.core.market_data import Diff, Streamed
from gateway.venues.binance import market_frames
from tests.data import data_dir

PEER = Path(__file__).resolve().parent / ".peers" / "ccxt" / "bin" / "python"
WORKER = Path(__file__).resolve().parent / "peers" / "ccxt_book.py"
FILES = ("usdm_btcusdt_20240808", "usdm_ethusdt_20240808", "usdm_btcusdt_20230404")
TOP = 20


def load(path: Path) -> tuple[list[bytes], bytes]:
    frames: list[bytes] = []
    snapshot = b""
    with gzip.open(path, "rb") as lines:
        for line in lines:
            raw = line.rstrip().partition(b" ")[2]
            if b'"depthUpdate"' in raw[:120]:
                frames.append(raw)
            elif b"lastUpdateId" in raw[:40]:
                snapshot = raw
    return frames, snapshot


def ours(frames: list[bytes], snapshot: bytes) -> dict[str, Any]:
    """The gateway's own way: parse, sequencer and book, best levels. `depth=1`: the recording has one snapshot, and
    its 1000 levels are left behind within minutes; a gateway fetches another."""
    keeper = BookKeeper(depth=1)
    keeper.connect()
    parsed = market_frames.parse_snapshot(200, snapshot)
    keeper.book.load(parsed.bids, parsed.asks, limit=len(parsed.bids) + 1)
    keeper.seq.hold_snapshot(parsed.last_id)
    parse, take, top = market_frames.parse, keeper.take, keeper.top
    bids: Any = []
    asks: Any = []
    started = time.process_time_ns()
    for frame in frames:
        streamed = parse(frame)
        if type(streamed) is Streamed and isinstance(streamed.data, Diff):
            take(streamed.data, 0)
            bids, asks = top(TOP)
    took_ns = time.process_time_ns() - started
    assert keeper.live, keeper.broke
    return {"us": took_ns / 1e3 / len(frames), "u": keeper.seq.at, "bids": bids, "asks": asks}


class Peer:
    """ccxt in its own process and environment, one round at a time."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [str(PEER), str(WORKER), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self._read()["ready"]

    def round(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the ccxt worker ended; run `bench/peers.sh ccxt` and look at its output")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def numbers(result: dict[str, Any]) -> list[list[tuple[float, float]]]:
        return [[(float(price), float(size)) for price, size in result[side]] for side in ("bids", "asks")]

    return one["u"] == other["u"] and numbers(one) == numbers(other)


def compare(path: Path, rounds: int) -> dict[str, Any]:
    frames, snapshot = load(path)
    peer = Peer(path)
    figures: dict[str, list[float]] = {"ours": [], "ccxt": []}
    first = random.SystemRandom().random() < 0.5
    for number in range(rounds):
        pair = [("ours", lambda: ours(frames, snapshot)), ("ccxt", peer.round)]
        results = {}
        for name, run in pair if (number % 2 == 0) == first else reversed(pair):
            results[name] = run()
            figures[name].append(results[name]["us"])
        if not same(results["ours"], results["ccxt"]):
            raise SystemExit(f"{path.name}: the two books differ at the end")
    peer.close()
    medians = {name: statistics.median(values) for name, values in figures.items()}
    return {
        "frames": len(frames),
        "ours_us": round(medians["ours"], 2),
        "ccxt_us": round(medians["ccxt"], 2),
        "ratio": round(medians["ccxt"] / medians["ours"], 2),
        "ccxt": peer.version,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--no-history", action="store_true")
    options = parser.parse_args()
    data = options.data or data_dir()
    if data is None:
        print("no recordings: set BRAINSTEM_DATA to their folder", file=sys.stderr)
        return 3
    if not PEER.exists():
        print("ccxt's environment is missing: run bench/peers.sh ccxt", file=sys.stderr)
        return 3
    results: dict[str, Any] = {}
    for name in FILES:
        found = compare(data / "depth_binance" / f"{name}.gz", options.rounds)
        results[name] = found
        print(
            f"{name}: ours {found['ours_us']:.1f} us, ccxt {found['ccxt']} {found['ccxt_us']:.1f} us a message and "
            f"top {TOP}: {found['ratio']:.2f} x"
        )
    if not options.no_history:
        history.append("book", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
