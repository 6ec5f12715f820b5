"""Answers of the operations `position` and `account`: what the slices say, for a caller without Redis. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.account_slices import AccountSlices
from gateway.core.inputs import Now
from gateway.core.ports import SymbolSettings
from rules.instrument import text


def positions(now: Now, slices: AccountSlices, symbols: Iterable[str]) -> list[dict[str, Any]]:
    """One row a leg, flat ones of the present mode included."""
    out = []
    for symbol in symbols:
        content = slices.position(now, symbol)
        out += [
            {
                "symbol": symbol,
                "state": content.state,
                "leg": leg.leg,
                "qty": leg.qty,
                "entry": leg.entry,
                "realised": leg.realised,
                "unrealised": leg.unrealised,
            }
            for leg in content.legs
        ]
    return out


def account(
    now: Now, slices: AccountSlices, settings: Mapping[str, SymbolSettings], *, ready: bool, mode: str | None
) -> dict[str, Any]:
    content = slices.wallet(now)
    return {
        "state": content.state,
        "ready": ready,
        "position_mode": mode,
        "balances": [
            {"asset": row.asset, "wallet": row.wallet, "cross": row.cross, "available": row.available}
            for row in content.balances
        ],
        "symbols": {
            symbol: {
                "leverage": view.leverage,
                "margin_type": view.margin_type,
                "maker_fee": None if view.maker_fee is None else text(view.maker_fee),
                "taker_fee": None if view.taker_fee is None else text(view.taker_fee),
                "entries_refused": view.entries_refused,
            }
            for symbol, view in settings.items()
        },
    }
