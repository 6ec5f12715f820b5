"""Recorded bars through the market core: a stream that never says a bar is closed, and 1 m against 5 m."""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipc import keys
from tests.gateway.market_rig import ACCOUNT, Rig

pytestmark = pytest.mark.recordings

MINUTE_MS = 60_000


def kline(symbol: str, interval: str, event_ms: int, k: dict[str, Any]) -> dict[str, Any]:
    length = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS}[interval]
    body = {"T": k["t"] + length - 1, "s": symbol, "i": interval, "f": 1, "L": 1, "V": "0", "Q": "0", "B": "0", **k}
    data = {"e": "kline", "E": event_ms, "s": symbol, "k": body}
    return {"stream": f"{symbol.lower()}@kline_{interval}", "data": data}


def recorded_stream(data: Path) -> list[dict[str, Any]]:
    path = data / "kline_stream" / "usdm_BTCUSDT_kline1m_stream_20220921b.jsonl.gz"
    frames = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line, parse_float=Decimal)
            k = {
                "t": row["startTime"], "o": str(row["open"]), "h": str(row["high"]), "l": str(row["low"]),
                "c": str(row["close"]), "v": str(row["volume"]), "q": str(row["quoteVolume"]), "n": row["trades"],
                "x": row["final"],
            }  # fmt: skip
            frames.append(kline("BTCUSDT", "1m", row["eventTime"], k))
    return frames


def test_a_stream_without_closing_messages_closes_each_bar_once_by_the_next(data_dir: Path) -> None:
    frames = recorded_stream(data_dir)
    rig = Rig(wall_ns=frames[0]["data"]["E"] * 1_000_000)
    rig.serve("BTCUSDT")
    rig.answers["/fapi/v1/klines"] = lambda send: (200, [])
    rig.start("BTCUSDT", intervals=("1m",))
    newest: dict[int, dict[str, Any]] = {}
    for frame in frames:
        rig.feed(frame, "market")
        newest[frame["data"]["k"]["t"]] = frame["data"]["k"]
    assert not any(frame["data"]["k"]["x"] for frame in frames)
    closed = [event for event in rig.events if event.subject == "bar.closed"]
    opens = sorted(newest)
    assert [event.data["open_ms"] for event in closed] == opens[:-1], "each once, in order; the last is still open"
    assert {event.data["by"] for event in closed} == {"next"}
    rows = rig.slice(keys.bars(ACCOUNT, "BTCUSDT", "1m"))["rows"]
    assert rows == [[t, *(newest[t][name] for name in "ohlcvqn")] for t in opens[:-1]]
    bar = rig.slice(keys.bar(ACCOUNT, "BTCUSDT", "1m"))
    assert (bar["bar"][0], bar["closed_open_ms"]) == (opens[-1], opens[-2])


def csv_bars(path: Path) -> list[tuple[int, list[Decimal]]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [
            (int(row["open_time_ms"]), [Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")])
            for row in csv.DictReader(lines)
        ]


def test_five_minute_bars_grown_from_recorded_minutes_equal_the_recorded_five_minute_file(data_dir: Path) -> None:
    """The 5 m stream as the exchange would push it, grown minute by minute, through the core; half the closing
    messages are left out. What it closes with must be the 5 m file."""
    minutes = csv_bars(data_dir / "klines" / "usdm_BTCUSDT_1m_20250706_20250713.csv.gz")
    fives = dict(csv_bars(data_dir / "klines" / "usdm_BTCUSDT_5m_202506_202507.csv.gz"))
    rig = Rig(wall_ns=minutes[0][0] * 1_000_000)
    rig.serve("BTCUSDT")
    rig.answers["/fapi/v1/klines"] = lambda send: (200, [])
    rig.start("BTCUSDT", intervals=("1m", "5m"))
    grown: list[Decimal] = []
    for number, (open_ms, values) in enumerate(minutes):
        o, h, low, c, v = values
        start = open_ms - open_ms % (5 * MINUTE_MS)
        if start == open_ms:
            grown = [o, h, low, c, v]
        elif grown:
            grown = [grown[0], max(grown[1], h), min(grown[2], low), c, grown[4] + v]
        else:
            continue
        event_ms = open_ms + MINUTE_MS
        rig.feed(kline("BTCUSDT", "1m", event_ms, _k(open_ms, values, number, final=True)), "market")
        last = open_ms - start == 4 * MINUTE_MS
        final = last and (start // (5 * MINUTE_MS)) % 2 == 0
        rig.feed(kline("BTCUSDT", "5m", event_ms, _k(start, grown, number, final=final)), "market")
    closed = [event.data for event in rig.events if event.subject == "bar.closed"]
    ours = {row["open_ms"]: [Decimal(row[name]) for name in "ohlcv"] for row in closed if row["interval"] == "5m"}
    shared = sorted(set(ours) & set(fives))
    assert len(shared) >= 2142
    assert [ours[at] for at in shared] == [fives[at] for at in shared]
    assert {row["by"] for row in closed if row["interval"] == "5m"} == {"stream", "next"}
    assert sum(row["interval"] == "1m" for row in closed) == len(minutes)


def _k(open_ms: int, values: list[Decimal], trades: int, *, final: bool) -> dict[str, Any]:
    o, h, low, c, v = (str(value) for value in values)
    return {"t": open_ms, "o": o, "h": h, "l": low, "c": c, "v": v, "q": "0", "n": trades, "x": final}


def test_the_recorded_rest_history_is_read_whole(data_dir: Path) -> None:
    with gzip.open(data_dir / "klines" / "usdm_BTCUSDT_1m_rest_raw_20220917.json.gz", "rb") as file:
        body = file.read()
    rows = json.loads(body)
    rig = Rig(wall_ns=(rows[-1][0] + 30_000) * 1_000_000)
    rig.serve("BTCUSDT")
    rig.answers["/fapi/v1/klines"] = lambda send: (200, body)
    rig.start("BTCUSDT", intervals=("1m",))
    shown = rig.slice(keys.bars(ACCOUNT, "BTCUSDT", "1m"))
    assert shown["state"] == "live"
    expected = [[row[0], row[1], row[2], row[3], row[4], row[5], row[7], row[8]] for row in rows[:-1]]
    assert shown["rows"] == expected[-600:]
    assert rig.slice(keys.bar(ACCOUNT, "BTCUSDT", "1m"))["bar"][0] == rows[-1][0], "the newest one is still open"
    assert "bar.closed" not in rig.subjects(), "bars closed before the start are not announced"
