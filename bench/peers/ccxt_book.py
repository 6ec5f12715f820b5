"""ccxt's order book on recorded frames: one round for each line it reads. Runs in ccxt's own environment.

Each frame goes the way ccxt takes it: decode, `handle_order_book` (continuity check and deltas), then the best 20 of
both sides are read. The frames are the raw messages; the file is gzip, one message a line behind its receive time.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from typing import Any

import ccxt.pro
import orjson

SYMBOL = "BENCH/USDT:USDT"


class Client:
    """What `handle_order_book` needs of a WebSocket client."""

    url = "wss://fstream.binance.com/public/stream"

    def __init__(self) -> None:
        self.subscriptions: dict[str, Any] = {}

    def resolve(self, result: Any, message_hash: str) -> None:
        pass

    def reject(self, error: Exception, message_hash: str) -> None:
        raise error


def load(path: str) -> tuple[list[bytes], dict[str, Any]]:
    frames: list[bytes] = []
    snapshot: dict[str, Any] = {}
    with gzip.open(path, "rb") as lines:
        for line in lines:
            raw = line.rstrip().partition(b" ")[2]
            if b'"depthUpdate"' in raw[:120]:
                frames.append(raw)
            elif b"lastUpdateId" in raw[:40]:
                snapshot = json.loads(raw)
    return frames, snapshot


def main() -> None:
    frames, snapshot = load(sys.argv[1])
    exchange = ccxt.pro.binanceusdm()
    market_id = orjson.loads(frames[0])["data"]["s"]
    exchange.set_markets(
        [
            {
                "id": market_id, "symbol": SYMBOL, "base": "BENCH", "quote": "USDT", "settle": "USDT", "type": "swap",
                "spot": False, "swap": True, "contract": True, "linear": True, "active": True,
                "precision": {"price": 0.01, "amount": 0.001},
            }
        ]
    )  # fmt: skip
    client = Client()
    print(json.dumps({"ready": ccxt.__version__}), flush=True)
    for _ in sys.stdin:
        book = exchange.order_book({}, 1000)
        levels = {side: [[float(p), float(q)] for p, q in snapshot[side]] for side in ("bids", "asks")}
        book.reset({"symbol": SYMBOL, **levels, "nonce": snapshot["lastUpdateId"], "timestamp": None, "datetime": None})
        exchange.orderbooks = {SYMBOL: book}
        bids = asks = []
        started = time.process_time_ns()
        for frame in frames:
            exchange.handle_order_book(client, orjson.loads(frame)["data"])
            bids, asks = book["bids"][:20], book["asks"][:20]
        took_ns = time.process_time_ns() - started
        result = {"us": took_ns / 1e3 / len(frames), "u": book["nonce"], "bids": bids, "asks": asks}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
