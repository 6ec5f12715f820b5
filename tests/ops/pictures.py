"""A model as a running set-up would give it, for tests of the view and the summary."""

from __future__ import annotations

from typing import Any

from ipc.events import Event, Ids
from ipc.slices import (
    Balance,
    BookSlice,
    GatewaySlice,
    LedgerSlice,
    MarkSlice,
    Now,
    OrdersSlice,
    PositionLeg,
    PositionSlice,
    WalletSlice,
)
from ipc.wire import OrderView
from scripts.view_model import Model, ProcessLine, SymbolModel, Tally

WALL_NS = 1_790_000_000_000_000_000
BOOT_NS = 5_000_000_000_000
NOW = Now(BOOT_NS, WALL_NS, "boot-1")


def head(**more: Any) -> dict[str, Any]:
    """By default written 20 ms ago by the gateway of epoch e1."""
    base = {
        "epoch": "e1", "seq": 7, "state": "live", "account": "main", "venue": "binance-usdm",
        "pub_ns": WALL_NS - 20_000_000, "pub_boot_ns": BOOT_NS - 20_000_000, "boot": "boot-1",
    }  # fmt: skip
    return {**base, **more}


def gateway(**more: Any) -> GatewaySlice:
    fields: dict[str, Any] = {
        **head(), "environment": "simex", "pid": 11, "ready": True, "risk": "running", "risk_reason": "",
        "position_mode": "one-way", "clock_offset_ms": 0.4, "unknown": 0, "streams": {}, "budgets": {}, "brains": {},
        "latency_us": {"frame_to_slice": {"p50": 310.0, "p99": 1900.0, "n": 12_000}}, "counters": {},
    }  # fmt: skip
    return GatewaySlice(**{**fields, **more})


def symbol(name: str = "BTCUSDT", *, qty: str = "0.010", **book: Any) -> SymbolModel:
    asked = {"symbol": name, "side": "SELL", "type": "LIMIT", "qty": "0.010", "price": "61900.0", "tag": "exit"}
    order = OrderView(client_order_id="c1", state="open", **asked)  # type: ignore[arg-type]
    bids = [[f"{61687.4 - n / 10:.1f}", "3.120"] for n in range(20)]
    asks = [[f"{61687.5 + n / 10:.1f}", "0.482"] for n in range(20)]
    leg = PositionLeg(leg="BOTH", qty=qty, entry="61600.0", unrealised="0.87")
    return SymbolModel(
        book=BookSlice(**head(symbol=name, u=9, bids=bids, asks=asks, **book)),
        mark=MarkSlice(**head(symbol=name, mark="61687.45", funding_rate="0.00010000")),
        position=PositionSlice(**head(symbol=name, legs=[leg])),
        orders=OrdersSlice(**head(symbol=name, orders=[order])),
    )


def ledger(**more: Any) -> LedgerSlice:
    show = {
        "state": "deciding", "decision": "BTCUSDT hold: histogram -1.2", "decision_ms": WALL_NS // 1_000_000 - 3000,
        "next_bar_ms": WALL_NS // 1_000_000 + 125_000,
    }  # fmt: skip
    fields: dict[str, Any] = {
        **head(symbol="BTCUSDT"), "brain": "macd-BTCUSDT", "run": "r1", "alive": True, "lease_ms": 2900,
        "risk": "running", "qty": "0.010", "entry": "61600.0", "realised": "1.50", "unrealised": "0.87",
        "fees": {"USDT": "0.25", "BNB": "0.001"}, "funding": "-0.02", "orders": 1, "fills": 2, "show": show,
    }  # fmt: skip
    return LedgerSlice(**{**fields, **more})


def fill(seq: int = 1) -> Event:
    data = {
        "client_order_id": "c0", "side": "BUY", "qty": "0.010", "filled_qty": "0.010", "state": "filled",
        "role": "entry", "trade_id": 1, "last_qty": "0.010", "last_price": "61600.0", "fee": "0.25",
        "fee_asset": "USDT", "realised": "0", "maker": False,
    }  # fmt: skip
    ids = Ids(intent="macd-BTCUSDT/r1/1")
    return Event(
        seq=seq, at_ns=WALL_NS - 10**9, subject="order.filled", source="venue", symbol="BTCUSDT", ids=ids, data=data
    )


def model(**more: Any) -> Model:
    tally = Tally()
    tally.add(Event(seq=1, at_ns=WALL_NS, subject="order.sent", source="gateway"))
    tally.add(fill(2))
    usdt = Balance(asset="USDT", wallet="10001.25", cross="10001.25")
    fields: dict[str, Any] = {
        "now": NOW, "account": "main", "symbols": {"BTCUSDT": symbol()}, "ledgers": [ledger()], "tally": tally,
        "gateway": gateway(), "wallet": WalletSlice(**head(balances=[usdt])),
        "processes": [ProcessLine("gateway", "ready")], "title": "Brainstem demo, seed 7",
    }  # fmt: skip
    return Model(**{**fields, **more})
