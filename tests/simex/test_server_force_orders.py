"""The public liquidation streams: the largest of a second, once a second, in both forms."""

from __future__ import annotations

from typing import Any

from simex.core.api import ForcedOrder, Json
from tests.simex.test_server_cadence import exchange

START_MS = 1_795_132_800_000
SINGLE, ALL = "btcusdt@forceOrder", "!forceOrder@arr"


def liquidation(symbol: str, lots: int) -> ForcedOrder:
    order: Json = {"s": symbol, "S": "SELL", "q": str(lots), "ps": symbol, "st": 1}
    return ForcedOrder(symbol, lots, order)


def test_a_second_shows_its_largest_liquidation_of_each_symbol_and_the_next_begins_anew(seed: int) -> None:
    parts, _, ear = exchange(START_MS, seed, SINGLE, ALL)
    world = parts.world
    world.absorb(START_MS, [liquidation("BTCUSDT", 5), liquidation("BTCUSDT", 9), liquidation("ETHUSDT", 1)])
    world.absorb(START_MS + 400, [liquidation("BTCUSDT", 7)])
    world.on_time(START_MS + 999)
    assert ear.heard == []
    world.on_time(START_MS + 1_000)
    at = START_MS + 1_000
    btc: dict[str, Any] = {"s": "BTCUSDT", "S": "SELL", "q": "9"}
    eth: dict[str, Any] = {"s": "ETHUSDT", "S": "SELL", "q": "1"}
    assert ear.heard == [
        (SINGLE, {"e": "forceOrder", "E": at, "o": btc | {"ps": "BTCUSDT", "st": 1}}),
        (ALL, {"e": "forceOrder", "E": at, "o": btc, "ps": "BTCUSDT", "st": 1}),
        (ALL, {"e": "forceOrder", "E": at, "o": eth, "ps": "ETHUSDT", "st": 1}),
    ]
    world.absorb(at, [liquidation("BTCUSDT", 2)])
    world.on_time(at + 1_000)
    assert [event["o"]["q"] for name, event in ear.heard[3:] if name == SINGLE] == ["2"]
    world.on_time(at + 5_000)
    assert len(ear.heard) == 5
