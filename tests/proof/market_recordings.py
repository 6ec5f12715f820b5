"""Recorded depth sessions, and a reference book written apart from ours: plain dicts of exact numbers, sorted anew.

The reference knows nothing of the gateway: it reads JSON with the standard library and follows the exchange's own rule
(drop `u < L`, then every message chained by `pu`).
"""

from __future__ import annotations

import csv
import gzip
import heapq
import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import zstandard

TOP = 20
USDM_FILES = ("usdm_btcusdt_20240808", "usdm_ethusdt_20240808", "usdm_btcusdt_20230404")
CRYPTOFEED_SYMBOLS = ("SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT")
Top = tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]


@dataclass
class Session:
    """One symbol: raw depth frames in order, the snapshot and how many frames came before it, and best quotes."""

    symbol: str
    speed: str
    frames: list[bytes] = field(default_factory=list)
    snapshot: dict[str, Any] = field(default_factory=dict)
    snapshot_at: int = 0
    ticker_ids: list[int] = field(default_factory=list)
    tickers: list[tuple[str, str, str, str]] = field(default_factory=list)

    def best_at(self, last_id: int) -> tuple[str, str, str, str] | None:
        """The recorded best quote whose own id is not above `last_id`."""
        at = bisect_right(self.ticker_ids, last_id)
        return self.tickers[at - 1] if at else None

    def sort_tickers(self) -> None:
        order = sorted(range(len(self.ticker_ids)), key=self.ticker_ids.__getitem__)
        self.tickers = [self.tickers[i] for i in order]
        self.ticker_ids = [self.ticker_ids[i] for i in order]


def load_depth_binance(data: Path, name: str) -> Session:
    session = Session(name.split("_")[1].upper(), "0ms")
    with gzip.open(data / "depth_binance" / f"{name}.gz", "rb") as lines:
        for line in lines:
            raw = line.rstrip().partition(b" ")[2]
            _take(session, raw)
    session.sort_tickers()
    return session


def _take(session: Session, raw: bytes) -> None:
    message = json.loads(raw)
    if "lastUpdateId" in message:
        session.snapshot, session.snapshot_at = message, len(session.frames)
        return
    event = message["data"]
    if event["e"] == "depthUpdate":
        session.frames.append(raw)
    elif event["e"] == "bookTicker":
        session.ticker_ids.append(event["u"])
        session.tickers.append((event["b"], event["B"], event["a"], event["A"]))


def load_cryptofeed(data: Path) -> dict[str, Session]:
    path = data / "cryptofeed" / "BINANCE_FUTURES.jsonl.zst"
    text = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    sessions = {symbol: Session(symbol, "100ms") for symbol in CRYPTOFEED_SYMBOLS}
    # the converter wrote REST answers before the stream: order by the recorder's clock, as they happened
    rows = [json.loads(line) for line in text.splitlines()]
    for row in sorted((row for row in rows if row["t"] in ("http", "recv")), key=lambda row: row["ts"]):
        if row["t"] == "http" and "/depth?symbol=" in row["url"]:
            session = sessions[row["url"].partition("symbol=")[2].partition("&")[0]]
            _take(session, row["data"].encode())
        elif row["t"] == "recv":
            event = json.loads(row["data"]).get("data", {})
            if event.get("e") in ("depthUpdate", "bookTicker"):
                _take(sessions[event["s"]], row["data"].encode())
    for session in sessions.values():
        session.sort_tickers()
    return sessions


class ReferenceBook:
    """Plain dicts keyed by the exact price; everything is sorted anew for each reading."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.last_id: int = snapshot["lastUpdateId"]
        self.bids = {Decimal(p): Decimal(q) for p, q in snapshot["bids"]}
        self.asks = {Decimal(p): Decimal(q) for p, q in snapshot["asks"]}
        self.joined = False

    def take(self, event: dict[str, Any]) -> bool:
        """Apply one event; False where the rule says to drop it. Raises AssertionError on a broken chain."""
        if not self.joined and event["u"] < self.last_id:
            return False
        if self.joined:
            assert event["pu"] == self.last_id, "the recording itself is broken"
        else:
            assert event["U"] <= self.last_id <= event["u"], "the snapshot does not join the recording"
        self.joined = True
        self.last_id = event["u"]
        for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, size in changes:
                if Decimal(size) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = Decimal(size)
        return True

    def top(self) -> Top:
        bids = heapq.nlargest(TOP, self.bids)
        asks = heapq.nsmallest(TOP, self.asks)
        return [(p, self.bids[p]) for p in bids], [(p, self.asks[p]) for p in asks]

    def as_snapshot(self, limit: int = 1000) -> dict[str, Any]:
        bids = [[str(p), str(self.bids[p])] for p in heapq.nlargest(limit, self.bids)]
        asks = [[str(p), str(self.asks[p])] for p in heapq.nsmallest(limit, self.asks)]
        return {"lastUpdateId": self.last_id, "E": 1, "T": 1, "bids": bids, "asks": asks}


def exact(levels: list[Any]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in levels]


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a file whose header report stands in lines starting with `#`."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from csv.DictReader(line for line in lines if not line.startswith("#"))


def frames_of_rows(rows: list[dict[str, str]], symbol: str) -> list[dict[str, Any]]:
    """Flattened depth rows (one per level) -> messages as they were on the wire."""
    messages: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["FirstUpdateId"], row["FinalUpdateId"])
        event = messages.setdefault(
            key,
            {
                "e": "depthUpdate", "E": int(row["EventTime"]), "s": symbol, "U": int(row["FirstUpdateId"]),
                "u": int(row["FinalUpdateId"]), "pu": int(row["FinalUpdateIdInLastStream"]), "b": [], "a": [],
            },
        )  # fmt: skip
        event["a" if row["IsAsk"] == "1" else "b"].append([row["Price"], row["Quantity"]])
    return [{"stream": f"{symbol.lower()}@depth@100ms", "data": event} for event in messages.values()]
