"""ccxt, unmodified, in its own environment, is a judge of simex: what works at the exchange must work here."""

from __future__ import annotations

import pytest

from tests.clients.matrix import judged
from tests.simex.running import running


@pytest.mark.timeout(300)  # the first run installs the client
def test_ccxt_trades_and_watches(seed: int) -> None:
    with running("--seed", str(seed), "--symbols", "BTCUSDT,ETHUSDT") as simex:
        report = judged("ccxt", simex.rest, simex.ws)
    assert {case: what for case, what in report.verdicts.items() if what not in ("ok", "-")} == {}, report.stderr[
        -3000:
    ]
    seen = report.seen
    assert seen["markets"] == {
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "precision": [0.1, 0.001],
        "swap": [True, True],
        "ticker": True,
        "funding": "BTC/USDT:USDT",
        "interest": "BTC/USDT:USDT",
    }
    assert seen["book"] == {"bids": 20, "asks": 20, "crossed": False}
    assert seen["trades"]["ids"] == sorted(set(seen["trades"]["ids"]))
    assert seen["bars"] == {"count": 100, "steps_ms": [300_000]}
    assert seen["account"]["wallet"] == 10_000
    assert (seen["account"]["leverage"], seen["account"]["tiers"], seen["account"]["mode"]) == (10, True, False)
    assert seen["place"] == {
        "placed": ["open", 0.002],
        "read": ["open", True, 0.002, 0.0],
        "listed": True,
        "batch": ["open", "open"],
    }
    assert seen["amend"]["amended"] == [True, 0.003, "open"]
    assert seen["cancel"] == {"cancelled": "canceled", "after": "canceled"}
    assert seen["fill"] == {
        "bought": ["closed", 0.01],
        "held": [["long", 0.01]],
        "trades_qty": 0.01,
        "flat": [],
    }
    assert seen["stop order"] == {"listed": True, "left": 0}
    nonces = seen["public streams"]["nonces"]
    assert nonces == sorted(nonces)
    assert len(set(nonces)) > 1, "the watched book stood still"
    assert seen["public streams"]["sound"]
    assert seen["user stream"]["kinds"] == ["balance", "orders", "positions", "trades"]
    assert seen["error mapping"] == {
        "cancel": "OrderNotFound",  # -2011
        "query": "OrderNotFound",  # -2013
        "band": "BadRequest",  # -4024, as this client maps it
        "funds": "ExchangeError",  # -2019: this client picks the futures' table by the exchange's own host name
        "signature": "AuthenticationError",  # -1022
    }
    assert seen["trading over WebSocket"] == {"placed": "open", "read": "open", "cancelled": "canceled"}
