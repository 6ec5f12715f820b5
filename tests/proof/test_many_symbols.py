"""One gateway on many symbols: all live within their deadlines, one the exchange lacks is `down`, the rest serves."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tests.gateway.rig import Rig
from tests.simex.running import running
from tests.waiting import wait_until

LACKING = "NOSUCHUSDT"
SYMBOLS = [
    "BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "LINKUSDT", "AVAXUSDT", "DOTUSDT",
    "LTCUSDT", "TRXUSDT", "UNIUSDT", "ATOMUSDT", "ETCUSDT", "FILUSDT", "APTUSDT", "ARBUSDT", "OPUSDT", "NEARUSDT",
    "SUIUSDT", "INJUSDT", "AAVEUSDT", "RUNEUSDT", "SUSHIUSDT",
]  # fmt: skip


def states(rig: Rig, kind: str) -> dict[str, str]:
    return {symbol: rig.slice(f"{symbol}:{kind}").get("state", "absent") for symbol in [*SYMBOLS, LACKING]}


def agree(rig: Rig, kind: str, expected: dict[str, str]) -> bool:
    return states(rig, kind) == expected


def test_all_symbols_are_live_and_one_the_exchange_lacks_is_down(tmp_path: Path, run_dir: Path, redis_url: str) -> None:
    settings: dict[str, Any] = {"accounts": {"main": {"symbols": [*SYMBOLS, LACKING], "intervals": ["1m"]}}}
    with running("--symbols", ",".join(SYMBOLS)) as simex, Rig(simex, redis_url, tmp_path, run_dir, **settings) as rig:
        expected = {**dict.fromkeys(SYMBOLS, "live"), LACKING: "down"}
        wait_until(lambda: states(rig, "book") == expected, 40, "every book is live", 0.1)
        wait_until(lambda: states(rig, "instrument") == expected, 20, "every instrument is known", 0.1)
        for kind in ("mark", "bar:1m", "position", "orders"):
            live = {**dict.fromkeys(SYMBOLS, "live"), LACKING: states(rig, kind)[LACKING]}
            wait_until(partial(agree, rig, kind, live), 40, f"every {kind} is live", 0.1)
            assert live[LACKING] in ("down", "absent")
        gateway = rig.slice("gateway")
        assert gateway["ready"]
        line = rig.line()
        down = line.ask("book", symbol=LACKING)
        assert (down["ok"], down["error"]["code"]) == (False, "symbol.unknown")
        last = SYMBOLS[-1]
        brain = rig.brain(symbols=(last,))
        refused = rig.brain(name="other", symbols=("ETHUSDT",)).place("BUY", "1", symbol=LACKING)
        assert refused["error"]["code"] in ("rights.denied", "symbol.unknown")
        qty = "100" if float(rig.slice(f"{last}:mark")["mark"]) < 10 else "1"
        assert brain.place("BUY", qty, symbol=last)["outcome"] == "accepted"
        wait_until(lambda: float(rig.slice(f"{last}:position")["legs"][0]["qty"]) == float(qty), 10, "bought")
        sequence = {symbol: rig.slice(f"{symbol}:book")["u"] for symbol in SYMBOLS}
        wait_until(
            lambda: all(rig.slice(f"{symbol}:book")["u"] > u for symbol, u in sequence.items()), 30, "all go on", 0.1
        )
        assert states(rig, "book") == expected
